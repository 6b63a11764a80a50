/** `dialback backup`: one run for each remote, with its locks, its hooks and as many attempts as it takes. */

import { EXIT, type ExitStatus, Fault, firstError } from '../fault.ts';
import { refuseRoot } from '../os/account.ts';
import { deadlineSignal, monotonicMs, now, sleep } from '../os/clock.ts';
import { appendJournal } from '../os/journal.ts';
import { randomShare } from '../os/random.ts';
import { awaitLock, prepareStateFolder, takeLock } from '../os/runfolder.ts';
import { requireHooks } from '../shared/hooks.ts';
import { configPath } from '../shared/toml.ts';
import { FAILURES, type FailureCode, type OutcomeEvent, type UnstoredEvent } from '../wire/events.ts';
import { escapeText } from '../wire/text.ts';
import { isChecksumDue, noteChecksum } from './checksum.ts';
import {
  type ClientConfig,
  type Remote,
  readClientConfig,
  remoteLock,
  remoteName,
  stateFolder,
} from './config.ts';
import { lookAtHeavyFiles } from './heavy-files.ts';
import { runWithHooks } from './hooks.ts';
import { adviceHere, awaitStore, isLocal, SKIPPED } from './local.ts';
import { decideRetry, isPassing, jitterWait } from './retry.ts';
import { makeAttempt } from './run.ts';
import { type Run, RunEvents, type RunNews, type RunOutcome, runFault } from './run-events.ts';
import { type LeftOutReport, noteLeftOut, reportLeftOut } from './tagged.ts';
import type { AttemptOutcome } from './transport.ts';

/** Ctrl-C kills our ssh too, and we can see that before our own signal. It arrives within this time. */
const LATE_SIGNAL_MS = 500;

interface BackupOptions {
  config: string | undefined;
  state: string | undefined;
  remote: string | undefined;
  dryRun: boolean;
  /** Whether a person waits for it. */
  isAttended: boolean;
}

/**
 * Backs up to each remote, one after the other, or to the named one. A run that fails does not stop the next one.
 * @param interrupt aborts on a signal: then the current run cleans up, and no other run begins
 * @param tell receives what the runs report
 * @throws Fault where the config, the named remote or the state folder cannot be used
 */
export async function backup(
  options: BackupOptions,
  interrupt: AbortSignal,
  tell: (news: RunNews) => void,
): Promise<RunOutcome[]> {
  refuseRoot('backup');
  const config = readClientConfig(configPath('client.toml', options.config));
  const remotes = chooseRemotes(config, options.remote);
  if (!options.dryRun) requireHooks(config.hooks);
  const state = stateFolder(config, options.state);
  prepareStateFolder(state);
  const { dryRun, isAttended } = options;
  const runs = remotes.map((remote): Run => {
    const events = new RunEvents(remoteName(remote), tell);
    return { config, remote, state, dryRun, interrupt, events };
  });
  const jitterMs = jitterWait(config.schedule.jitter, isAttended || dryRun, randomShare());
  if (jitterMs > 0) {
    for (const { events } of runs) events.waiting('jitter', jitterMs);
    await sleep(jitterMs, interrupt);
  }
  const outcomes: RunOutcome[] = [];
  for (const run of runs) {
    outcomes.push(await runOne(run));
    if (interrupt.aborted) break;
  }
  return outcomes;
}

function chooseRemotes(config: ClientConfig, named: string | undefined): Remote[] {
  const remotes = config.remote.filter(each => named === undefined || remoteName(each) === named);
  if (remotes.length > 0) return remotes;
  const known = config.remote.map(remoteName).join(', ');
  throw new Fault({ tried: `find the remote "${named}"`, found: `there are: ${known}`, exit: 'usage' });
}

/** Turns the end of an attempt into the outcome of the run. */
type EndRun = (end: Pick<AttemptEnd, 'outcome' | 'unstored' | 'fault' | 'skipped' | 'leftOut'>) => RunOutcome;

/** Runs the backup to one remote within its deadline: lock, wait for the disk, hooks, attempts. */
async function runOne(whole: Run): Promise<RunOutcome> {
  const { remote } = whole.events;
  const started = monotonicMs();
  const { deadline: deadlineMs } = whole.config.limits;
  const endRun: EndRun = ({ outcome, unstored, fault, skipped, leftOut }) => {
    const exit = exitStatus(outcome, fault);
    const durationMs = Math.round(monotonicMs() - started);
    return { remote, outcome, unstored, fault, skipped, leftOut, exit, durationMs };
  };
  await using held = new AsyncDisposableStack();
  using deadline = deadlineSignal(deadlineMs, () => runFault(remote, 'the deadline has passed'));
  const interrupt = AbortSignal.any([whole.interrupt, deadline.signal]);
  const run: Run = { ...whole, interrupt };
  let isAbsent: boolean;
  try {
    await lockRemote(held, whole, interrupt);
    const waits = (): void => run.events.waiting('disk', null);
    isAbsent = isLocal(run.remote) && (await awaitStore(run.remote, interrupt, waits)) !== undefined;
  } catch (error) {
    // An error in one run must not stop the other runs, even if it is a bug of ours.
    return endRun({
      outcome: undefined,
      unstored: undefined,
      fault: asFault(error, remote),
      skipped: undefined,
      leftOut: undefined,
    });
  }
  const attempts = async (): Promise<RunOutcome> =>
    await attemptAll(run, whole.interrupt, () => deadlineMs - (monotonicMs() - started), endRun);
  // A run that is skipped because its disk is absent has no hooks.
  if (run.dryRun || (isAbsent && run.remote.absent === 'skip')) return await attempts();
  return await runWithHooks(run, attempts);
}

function exitStatus(outcome: OutcomeEvent | undefined, fault: Fault | undefined): ExitStatus {
  if (fault) return EXIT[fault.exit];
  return outcome?.outcome === 'incomplete' ? EXIT.incomplete : EXIT.done;
}

/**
 * Makes attempts until one succeeds or no other one can help.
 * @param interrupted aborts on a signal, but not at the deadline
 * @param leftMs returns the milliseconds until the deadline
 */
async function attemptAll(
  run: Run,
  interrupted: AbortSignal,
  leftMs: () => number,
  endRun: EndRun,
): Promise<RunOutcome> {
  let failures = 0;
  let turns = 0;
  let failingSinceMs = 0;
  for (let count = 1; ; count += 1) {
    const attempt = await attemptOne(run);
    const last = endRun({ ...attempt, fault: countAttempts(attempt.fault, count) });
    if (run.interrupt.aborted) return last;
    failures = isPassing(attempt) ? failures + 1 : 0;
    if (failures === 1) failingSinceMs = monotonicMs();
    turns = attempt.code === 'full' ? turns + 1 : 0;
    const limits = {
      failures,
      turns,
      failingMs: monotonicMs() - failingSinceMs,
      retryMs: run.config.schedule.retry,
      leftMs: leftMs(),
    };
    const retry = decideRetry(attempt, limits, randomShare());
    if (retry === undefined) return last;
    run.events.waiting(retry.why, retry.waitMs, attempt.fault?.message ?? null);
    try {
      await sleep(retry.waitMs, run.interrupt);
    } catch (error) {
      return interrupted.aborted ? endRun({ ...attempt, fault: asFault(error, run.events.remote) }) : last;
    }
  }
}

/** Adds the number of attempts to a fault, where there were several. */
function countAttempts(fault: Fault | undefined, count: number): Fault | undefined {
  if (fault === undefined || count === 1) return fault;
  const { tried, found, next, exit, code } = fault;
  const more = { ...(next === undefined ? {} : { next }), ...(code === undefined ? {} : { code }) };
  return new Fault({ tried, found: `${found} (${count} attempts)`, exit, ...more });
}

function asFault(error: unknown, remote: string): Fault {
  const first = firstError(error);
  if (first instanceof Fault) return first.exit === 'interrupted' ? interruptedFault(remote, first) : first;
  return runFault(remote, describe(first));
}

/** Locks the remote. One other run may wait for the lock; a third run would only repeat what the second one does. */
async function lockRemote(held: AsyncDisposableStack, run: Run, interrupt: AbortSignal): Promise<void> {
  const path = remoteLock(run.state, run.remote);
  const locked = (found: string): Fault =>
    new Fault({ tried: `back up to "${run.events.remote}"`, found, exit: 'locked' });
  if ((await takeLock(held, path)) !== undefined) return;
  if (run.config.schedule.when_locked === 'fail') throw locked('another run is under way');
  await using waiting = new AsyncDisposableStack();
  if ((await takeLock(waiting, `${path}.next`)) === undefined)
    throw locked('another run is under way, and the next one waits for it already');
  run.events.waiting('lock', null);
  try {
    await awaitLock(held, path, interrupt);
  } catch (error) {
    if (!interrupt.aborted || run.interrupt.aborted) throw error;
    throw locked('another run has been under way until the deadline');
  }
}

/** How an attempt ended. */
interface AttemptEnd {
  outcome: OutcomeEvent | undefined;
  unstored: UnstoredEvent | undefined;
  fault: Fault | undefined;
  /** Why the attempt was skipped. */
  skipped: string | undefined;
  /** The folders that were left out by tags; undefined where there is no snapshot. */
  leftOut: LeftOutReport | undefined;
  code: FailureCode | null;
  /** Milliseconds that the host asked us to wait. */
  toldMs: number | undefined;
}

/** Makes one attempt, and records its start and its end in the journal. */
async function attemptOne(run: Run): Promise<AttemptEnd> {
  const { remote } = run.events;
  const journal = `${run.state}/journal.jsonl`;
  let end: AttemptEnd;
  try {
    appendJournal(journal, { time: now().toISOString(), event: 'started', remote, dry_run: run.dryRun });
    end = await attempt(run);
  } catch (error) {
    await sleep(LATE_SIGNAL_MS, run.interrupt).catch(() => {});
    end = failedAttempt(run, error);
  }
  const { outcome, fault, skipped } = end;
  try {
    appendJournal(journal, {
      time: now().toISOString(),
      event: 'finished',
      remote,
      outcome: skipped === undefined ? (outcome?.outcome ?? 'failed') : 'skipped',
      snapshot: outcome?.snapshot ?? null,
      transferred_bytes: outcome?.transferred_bytes ?? 0,
      reason: skipped ?? fault?.message ?? null,
    });
  } catch (error) {
    run.events.warning(error); // The outcome stays the same without a record.
  }
  return end;
}

async function attempt(run: Run): Promise<AttemptEnd> {
  const every = run.config.limits.checksum_every;
  const checksums = { every, remote: run.events.remote, state: run.state };
  const checksum = !run.dryRun && isChecksumDue(checksums);
  const reported = await makeAttempt(run, checksum);
  const { outcome, tagged } = reported;
  const leftOut = outcome.code === null ? reportLeftOut(run.state, run.events.remote, tagged) : undefined;
  if (outcome.code === null && !run.dryRun) {
    try {
      await noteChecksum(checksums, checksum);
      await noteLeftOut(run.state, run.events.remote, tagged);
      await lookAtHeavyFiles(run.state);
    } catch (error) {
      run.events.warning(error); // The outcome stays the same; the next run compares again.
    }
  }
  return {
    outcome,
    leftOut,
    unstored: outcome.outcome === 'incomplete' ? reported.unstored : undefined,
    fault: outcomeFault(run.config, run.remote, reported),
    skipped: undefined,
    code: outcome.code,
    toldMs: reported.waitMs,
  };
}

/**
 * The end of an attempt without an outcome of the host. If there was a signal, report that and not the failure of the
 * processes that it killed.
 */
function failedAttempt({ interrupt, events }: Run, error: unknown): AttemptEnd {
  const { reason } = interrupt;
  const isInterrupted = reason instanceof Fault && reason.exit === 'interrupted';
  const fault = asFault(isInterrupted ? reason : error, events.remote);
  const isSkipped = fault.code === SKIPPED;
  return {
    outcome: undefined,
    unstored: undefined,
    fault: isSkipped ? undefined : fault,
    skipped: isSkipped ? fault.found : undefined,
    leftOut: undefined,
    code: null,
    toldMs: undefined,
  };
}

function describe(error: unknown): string {
  return escapeText(error instanceof Error ? (error.stack ?? error.message) : String(error), 2000);
}

/** Ctrl-C loses nothing: the next run continues with the files that the host has received. */
function interruptedFault(remote: string, { found }: Fault): Fault {
  const next = 'dialback backup (it continues with the files that have arrived)';
  return new Fault({ tried: `back up to "${remote}"`, found, next, exit: 'interrupted' });
}

/** Describes a failed outcome. The sentence belongs to the code and is ours; text of the host is not shown. */
function outcomeFault(config: ClientConfig, remote: Remote, reported: AttemptOutcome): Fault | undefined {
  const { outcome, sshdWords, waitMs } = reported;
  if (outcome.code === null) return undefined;
  const [exit, sentence, usualNext] = FAILURES[outcome.code];
  const isTimed =
    ['too-early', 'full'].includes(outcome.code) && waitMs !== undefined && waitMs <= MOST_WAIT_MS;
  const here = isLocal(remote) ? adviceHere(outcome.code, config, remote) : undefined;
  const next = isTimed ? `try again in ${waitText(waitMs)}` : (here?.next ?? usualNext);
  const status =
    outcome.code !== 'rsync' || outcome.rsync_exit === null
      ? ''
      : ` (rsync's exit status ${outcome.rsync_exit})`;
  // Our own sshd often knows why it did not let the host in.
  const sshd = outcome.code === 'denied' && sshdWords !== '' ? ` (our sshd: ${escapeText(sshdWords)})` : '';
  const found = `${here?.found ?? sentence}${status}${sshd}`;
  return new Fault({ tried: `back up to "${remoteName(remote)}"`, found, exit, ...(next ? { next } : {}) });
}

/** A longer wait is not believed. */
const MOST_WAIT_MS = 1000 * 86_400_000;

/** Rounds up, so that a client that comes after this time is not too early again. */
function waitText(ms: number): string {
  if (ms < 60_000) return `${Math.ceil(ms / 1000)} s`;
  const minutes = Math.ceil(ms / 60_000);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
