/**
 * The three transports behind one signature, `OpenTransport`: direct.ts (the host connects back), channel.ts (rsync uses the
 * call itself) and local.ts (the store is on this machine). This file has their parameters and the functions that they share.
 */
import { Fault } from '../fault.ts';
import { abortable, withTimeout } from '../os/async.ts';
import { exists } from '../os/files.ts';
import { requireInheritance, tryConfinement } from '../os/launcher.ts';
import type { OutcomeEvent, UnstoredEvent } from '../wire/events.ts';
import type { CommonHeader } from '../wire/request.ts';
import type { CallOptions } from '../wire/ssh.ts';
import type { placeCall } from './call.ts';
import { type Capability, callFiles, keygenText, type Remote } from './config.ts';
import type { HostEvents } from './host-events.ts';
import { type Run, runFault } from './run-events.ts';
import type { GateOrders } from './ticket.ts';

/** ssh gives up connecting after this. */
const CONNECT_SECONDS = 30;
/** The host must have taken the ticket this long after the call was placed. */
export const TAKEN_MS = 90_000;
/** A host that sends no event for this long, or for idle_timeout if that is longer, is given up. */
const SILENCE_MS = 60_000;

/** One attempt of a run, ready to be carried to the host. */
export interface Attempt {
  run: Run;
  /** The run folder, with all that rsync reads. */
  runFolder: string;
  capability: Capability;
  /** For the gate. */
  orders: GateOrders;
  /** The request, except for the parts that differ between the transports. */
  header: Omit<CommonHeader, 'key_bytes'>;
  /** The exclude patterns, one a line. */
  excludes: Buffer;
  /** Receives the events of the host. */
  host: HostEvents;
}

/** How an attempt ended, by the host. */
export interface AttemptOutcome {
  outcome: OutcomeEvent;
  /** The last error of our own one-time sshd; '' where there was none. */
  sshdWords: string;
  /** Milliseconds until the host accepts the next run, where it has said so. */
  waitMs: number | undefined;
  /** The files that the host could not store. */
  unstored: UnstoredEvent | undefined;
}

/** The options of a call of this run; the command is added for each call. */
export type CallPlan = Omit<CallOptions, 'command'>;

/** Carries an attempt to the host and waits for its outcome. @param held releases everything that it opens */
type Carry = (held: AsyncDisposableStack, attempt: Attempt) => Promise<AttemptOutcome>;

/** A transport that is ready for an attempt. */
interface Transport {
  /** Checks the programs that it needs, before any call. @throws Fault with the program's name and the next step */
  prepare(runFolder: string): Promise<Carry>;
}

/**
 * Checks what the transport needs of this account, the config and the disks. Every transport has this signature.
 * @param hung mount points of file systems that do not answer: paths below them are not looked at
 * @throws Fault where the config or this machine must be changed first
 */
export type OpenTransport = (run: Run, hung: readonly string[]) => Promise<Transport>;

/** The calls of a run to its host. @throws Fault (exit 2) where the key or the known_hosts file does not exist */
export function planCalls({ config, remote }: Run): (runFolder: string) => CallPlan {
  const files = requireCallFiles(remote);
  return runFolder => ({
    target: remote.target,
    ...files,
    logFile: `${runFolder}/ssh.log`,
    connectSeconds: CONNECT_SECONDS,
    idleSeconds: Math.ceil(config.limits.idle_timeout / 1000),
    more: remote.ssh_options,
  });
}

function requireCallFiles(remote: Remote): { identity: string; knownHosts: string } {
  const files = callFiles(remote);
  if (!exists(files.identity))
    throw new Fault({
      tried: `use the key "${files.identity}"`,
      found: 'it does not exist',
      next: `${keygenText(files.identity)}, or set \`identity\` in client.toml`,
      exit: 'usage',
    });
  if (!exists(files.knownHosts))
    throw new Fault({
      tried: `verify the backup host by "${files.knownHosts}"`,
      found: 'this file does not exist',
      next: "put the line `HOST KEYTYPE KEY` into it, with the key from the host's administrator",
      exit: 'usage',
    });
  return files;
}

/** Starts rsync once as this attempt will start it, so that a jail or capability that fails is known before the call. */
export async function requireCapability({ capability, runFolder }: Attempt): Promise<void> {
  if (capability === 'confined') await tryConfinement(runFolder);
  if (capability === 'inherited') await requireInheritance();
}

/**
 * Waits for the outcome, then hangs up.
 * @param letIn resolves when the host has taken the ticket, or rejects with the reason why it has not
 * @throws Fault where the call ends without an outcome, the host makes no progress, or the run is interrupted
 */
export async function awaitOutcome(
  attempt: Attempt,
  call: Awaited<ReturnType<typeof placeCall>>,
  letIn: Promise<unknown>,
): Promise<Omit<AttemptOutcome, 'sshdWords'>> {
  const { interrupt } = attempt.run;
  const stalled = watchProgress(attempt, letIn);
  const outcome = await abortable(interrupt, Promise.race([call.outcome, stalled]));
  await call.hangUp(interrupt);
  const { waitMs, unstored } = attempt.host;
  return { outcome, waitMs, unstored };
}

/** Never resolves. @throws Fault where the host copies no file after it was let in, or sends no more events */
async function watchProgress({ run, host }: Attempt, letIn: Promise<unknown>): Promise<never> {
  const { interrupt, events } = run;
  await letIn;
  events.phase('admitted');
  // rsync can take minutes to start where disks or processors are busy. The host waits as long for it as for any other byte.
  const silenceMs = Math.max(SILENCE_MS, run.config.limits.idle_timeout);
  await withTimeout(interrupt, silenceMs, host.copying, () =>
    runFault(
      events.remote,
      `the backup host copied no data within ${silenceMs / 1000} s after it was let in`,
    ),
  );
  for (;;)
    await withTimeout(interrupt, silenceMs, host.nextEvent(), () =>
      runFault(events.remote, `the backup host said nothing for ${silenceMs / 1000} s`),
    );
}
