/**
 * `dialback grab`: serves one request, as the forced command of a client's key.
 *
 * The client only gets events (wire/events.ts): codes, counts, and its own names. The text of a failure goes to the client's journal in
 * the store, and to the system's log.
 */
import { EXIT, type ExitStatus, Fault, firstError } from '../fault.ts';
import { findSubject, ownAccount, refuseRoot } from '../os/account.ts';
import { monotonicMs } from '../os/clock.ts';
import { ownExecutable } from '../os/executable.ts';
import { PLAIN_ENVIRONMENT, startApart } from '../os/process.ts';
import { findPrinter, printedWords } from '../shared/startup-files.ts';
import { lacksManifest } from '../store/manifest.ts';
import { type ClientStore, failureText } from '../store/store.ts';
import { emptyTrash } from '../store/trash.ts';
import { FAILURES, type FailureCode, failedOutcome, failure, type OutcomeEvent } from '../wire/events.ts';
import { CHANNEL, escapeText } from '../wire/text.ts';
import { settleKey } from './client-keys.ts';
import { readHostConfig } from './config.ts';
import { EventStream } from './event-stream.ts';
import type { CallOrigin } from './receive-request.ts';
import { RunLog } from './run-log.ts';
import { type Served, type ServedCall, serveRequest } from './served-run.ts';

interface GrabOptions extends CallOrigin {
  /** The path of host.toml. */
  config: string;
}

/**
 * Serves one request.
 * @param interrupt aborts the run
 * @returns the exit status; the client has got the outcome by then
 * @throws Fault `usage` if grab was not started by sshd or `backup`, or if this is root
 */
export async function grab(options: GrabOptions, interrupt: AbortSignal): Promise<ExitStatus> {
  refuseRoot('grab');
  if (options.environment.SSH_CONNECTION === undefined && !options.isLocal) {
    throw new Fault({
      tried: 'run "grab" by hand',
      found: 'there is no SSH_CONNECTION: sshd runs it for an enrolled key',
      next: 'dialback enroll NAME KEYFILE; then, on the client, dialback backup',
      exit: 'usage',
    });
  }
  const log = new RunLog(options.client);
  const events = new EventStream();
  await using held = new AsyncDisposableStack();
  const call: ServedCall = { ...options, interrupt, log, events, held, hooks: undefined };
  const startedMs = monotonicMs();
  const served = await serveToOutcome(call);
  if (served === undefined) return EXIT.done;
  const { fault } = served;
  let { outcome } = served;
  const durationMs = Math.round(monotonicMs() - startedMs);
  // Before the client gets the outcome, so that the old key is refused from then on.
  if (options.key !== undefined && log.client && outcome.code === null && outcome.snapshot !== null)
    await settleKey(log.client, options.key).catch(error => log.writeSyslog(failureText(error)));
  const isRecorded = await log.writeOutcome(outcome, fault, durationMs);
  // A disk that is removed during the run can make any step fail.
  if ((outcome.code === 'internal' || outcome.code === 'rsync') && !isRecorded)
    outcome = failedOutcome('no-store', outcome.rsync_exit);
  await events.finish(outcome);
  const exit = exitOf(outcome);
  // The client does not wait for the hooks, and gets nothing from them.
  const late = await call.hooks?.end(outcome, fault, { exit, durationMs });
  if (late) await log.writeSyslog(escapeText(late.message, 1000));
  await held.disposeAsync();
  // While others wait for the disk, leave the rest to the client's next request.
  if (outcome.code === 'full') return EXIT[FAILURES.full[0]];
  if (log.client && log.fetch === undefined && !interrupt.aborted)
    await tidyUp(log.client, options, interrupt);
  return exit;
}

/** Serves the request, and turns what it throws into an outcome. @returns undefined for a probe */
async function serveToOutcome(call: ServedCall): Promise<Served | undefined> {
  try {
    return await serveRequest(call);
  } catch (caught) {
    const error = firstError(caught);
    let fault =
      error instanceof Fault
        ? error
        : new Fault({ tried: 'serve the request', found: stackText(error), code: 'internal' });
    if (fault.code === 'gone' && isEarly(call)) fault = await withStartupFile(fault);
    return { outcome: failedOutcome(failureCode(fault)), fault };
  }
}

function exitOf({ code, outcome }: OutcomeEvent): ExitStatus {
  if (code !== null) return EXIT[FAILURES[code][0]];
  return outcome === 'incomplete' ? EXIT.incomplete : EXIT.done;
}

function stackText(error: unknown): string {
  return escapeText(error instanceof Error ? (error.stack ?? error.message) : String(error), 2000);
}

/** The code that the client gets for a fault. The text of the fault stays here. */
function failureCode(fault: Fault): FailureCode {
  if (fault.code !== undefined && Object.hasOwn(FAILURES, fault.code)) return fault.code as FailureCode;
  if (fault.exit === 'noSpace') return 'no-space';
  if (fault.exit === 'interrupted') return 'interrupted';
  return 'internal';
}

/** Whether the call is a channel, and rsync has not been started. */
function isEarly({ environment, events }: ServedCall): boolean {
  return events.phase === undefined && (environment.SSH_ORIGINAL_COMMAND ?? '').endsWith(`:${CHANNEL}`);
}

/** Adds the start-up file of this account that prints, if there is one: the client may have disconnected because of that output. */
async function withStartupFile(fault: Fault): Promise<Fault> {
  const { uid, name } = ownAccount();
  const subject = await findSubject(uid);
  const printed = subject && (await findPrinter(subject));
  if (printed === undefined) return fault;
  return failure('gone', `${fault.found}: ${printedWords(printed, name)} into the connection`);
}

/**
 * Removes what interrupted runs left, and makes the manifests that are missing, after the client has got the outcome. The outcome stands
 * if this fails: the next run does it, or `verify`.
 */
async function tidyUp(client: ClientStore, options: GrabOptions, interrupt: AbortSignal): Promise<void> {
  await emptyTrash(client.folder).catch(() => {});
  if (!interrupt.aborted) await makeManifests(client, options, interrupt).catch(() => {});
}

/**
 * Makes the manifests in a process of its own: the client's ssh ends with this process, and need not wait. If the store is on the
 * client's own disk, `backup` does wait, so that the disk can be removed when it has ended.
 */
async function makeManifests(
  client: ClientStore,
  { config, isLocal }: GrabOptions,
  interrupt: AbortSignal,
): Promise<void> {
  if (!lacksManifest(client)) return;
  if (isLocal) {
    const { describeClient } = await import('../store/manifest-writer.ts');
    await describeClient({ client: client.name, store: readHostConfig(config).store }, interrupt);
    return;
  }
  const args = ['manifest', '--client', client.name, '--config', config];
  const environment = { ...PLAIN_ENVIRONMENT, HOME: ownAccount().home };
  await startApart({ program: ownExecutable(), args, environment });
}
