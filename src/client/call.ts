/** The client's one call to its host: ssh, with the request on its standard input and events on its standard error. */
import { Fault } from '../fault.ts';
import { abortable } from '../os/async.ts';
import { sleep } from '../os/clock.ts';
import { openLogPipe } from '../os/log-pipe.ts';
import {
  type Child,
  type Command,
  type Descriptor,
  type ExitResult,
  run,
  standard,
  start,
} from '../os/process.ts';
import { programPath } from '../os/programs.ts';
import { eachLine } from '../os/records.ts';
import type { DisposableHolder } from '../os/runfolder.ts';
import { opensshVersion } from '../os/versions.ts';
import { decodeEvent, EVENT_LINE_LIMIT, type HostEvent, type OutcomeEvent } from '../wire/events.ts';
import { type CallOptions, callArguments, LEAST_OPENSSH, WITHOUT_SSHD } from '../wire/ssh.ts';
import { escapeText, quoteForShell } from '../wire/text.ts';
import { type Called, parseResolved } from './ssh-settings.ts';

/** The program that a call starts: ssh to the host, or `dialback grab` on this machine (client/local.ts). */
export interface Callee {
  command: Command;
  /** Explains an end without an outcome. @param hasReported whether there was any event before */
  explainEnd(ending: ExitResult, hasReported: boolean): Fault | Promise<Fault>;
  /** Whether it works on after the outcome, so that the call waits for its exit. */
  worksOn: boolean;
}

/** The descriptors for a call's standard input and output if rsync uses the call as its connection (client/channel.ts). */
export interface CallEnds {
  input: number;
  output: number;
  /** Closes our copies of these two, once the callee has its own. */
  release(): void;
  /** Sends the request. */
  send(bytes: Buffer): Promise<void>;
  /** Closes the end towards the host. */
  hangUp(): void;
  /** Kills rsync, then hangs up. */
  end(): Promise<void>;
}

/**
 * Describes a call by ssh to the host.
 * @param held closes the log of ssh
 * @param options `logFile` is a new name in a private folder
 */
export async function overSsh(held: DisposableHolder, options: CallOptions): Promise<Callee> {
  const log = await openLogPipe(held, options.logFile);
  return {
    command: standard('ssh', callArguments(options)),
    explainEnd: async (ending, hasReported) => callFault(options, await log.words(), ending, hasReported),
    worksOn: false,
  };
}

/** A call under way. */
interface Call {
  /** Resolves with the outcome that the host reports. Rejects with a Fault when the callee exits without one. */
  outcome: Promise<OutcomeEvent>;
  /** Closes the input, for a callee that reads to its end. Not possible over a channel, where rsync has the connection. */
  closeInput(): void;
  /** Closes the input, which the host takes as our end. @param interrupt ends the wait for a callee that works on */
  hangUp(interrupt: AbortSignal): Promise<void>;
}

const HANG_UP_MS = 3_000;
/** grab abandons its snapshot within this time: it gives rsync the same time to exit. */
const ABANDON_MS = 10_000;

/**
 * Calls the host and sends the request. The input stays open until `hangUp`.
 * @param held kills the callee
 * @param receive is called for each event but the outcome
 * @param ends what the call is connected to over a channel; undefined: pipes of its own
 */
export async function placeCall(
  held: DisposableHolder,
  callee: Callee,
  request: Buffer,
  receive: (event: HostEvent) => void,
  ends?: CallEnds,
): Promise<Call> {
  const descriptors: Descriptor[] = ends ? [ends.input, ends.output] : ['pipe', 'nothing'];
  const child = await start(callee.command, [...descriptors, 'pipe']);
  held.defer(async () => {
    // A callee that works on sees a broken connection, and keeps the files that it has received.
    if (callee.worksOn) {
      await ends?.end();
      await Promise.race([child.exited, sleep(ABANDON_MS)]);
    }
    await child.end();
  });
  ends?.release();
  if (ends)
    ends.send(request).catch(() => {}); // The end of ssh explains a failure.
  // The request contains the private key, so its bytes are wiped. Not earlier: a pipe takes only a part at once.
  else child.stdin?.write(request, () => request.fill(0));
  return {
    outcome: awaitOutcome(child, callee, receive),
    closeInput: () => child.stdin?.end(),
    hangUp: async interrupt => {
      child.stdin?.end();
      ends?.hangUp();
      // The outcome is known, so a signal now is not a failure. The next run cleans up what remains.
      if (callee.worksOn) await abortable(interrupt, child.exited).catch(() => {});
      else
        await Promise.race([child.exited, new Promise(resolve => setTimeout(resolve, HANG_UP_MS).unref())]);
      await child.end();
    },
  };
}

function awaitOutcome(
  child: Child,
  callee: Callee,
  receive: (event: HostEvent) => void,
): Promise<OutcomeEvent> {
  const outcome = Promise.withResolvers<OutcomeEvent>();
  outcome.promise.catch(() => {}); // The caller may not wait for it yet when it fails.
  let hasReported = false;
  let isOver = false; // The outcome is the last event; later ones are ignored.
  readEvents(child, event => {
    if (isOver) return;
    hasReported = true;
    isOver = event.event === 'outcome';
    if (event.event === 'outcome') outcome.resolve(event);
    else receive(event);
  });
  void child.ended.then(async ending => outcome.reject(await callee.explainEnd(ending, hasReported)));
  return outcome.promise;
}

/** Takes only events from the host's standard error: other text may contain what a client should not learn. */
function readEvents(child: Child, take: (event: HostEvent) => void): void {
  // One character more than an event may have, so that a truncated line is refused.
  eachLine(child.stderr, EVENT_LINE_LIMIT + 1, line => {
    const event = decodeEvent(line);
    if ('value' in event) take(event.value);
  });
}

/**
 * Explains why ssh exited without an outcome.
 * @param words the log of ssh, without the output of the host
 */
export function callFault(
  options: CallOptions,
  words: string,
  ending: ExitResult,
  hasReported: boolean,
): Fault {
  const target = escapeText(options.target);
  const tried = `call the backup host "${target}"`;
  if (ending.signal !== null)
    return new Fault({
      tried: hasReported ? `continue with the backup host "${target}"` : tried,
      found: `ssh on this machine was killed by ${ending.signal}`,
      next: CONTINUE,
    });
  const refusal = refusalFault(options, words, tried);
  if (refusal !== undefined) return refusal;
  const last = escapeText(words.split('\n').at(-1) ?? '');
  // At this LogLevel ssh reports a reset connection, but not a timeout (ServerAliveInterval) or a SIGTERM.
  if (ending.status === 255 && hasReported)
    return new Fault({
      tried: `continue with the backup host "${target}"`,
      found: `the connection broke: ${last || 'it does not answer any more, or ssh on this machine was terminated'}`,
      next: CONTINUE,
      exit: 'unreachable',
    });
  if (ending.status === 255)
    return new Fault({
      tried,
      found: last || 'ssh exited without a message',
      next: 'see that this machine is online, that the host is up, and that `target` in client.toml names it',
      exit: 'unreachable',
    });
  return new Fault({
    tried,
    found: `it hung up without an outcome (status ${ending.status ?? 'unknown'})`,
    next: hasReported
      ? "ask its administrator; the host's log has the reason"
      : 'its sshd accepted the key, but dialback did not answer: have its administrator run dialback doctor, which tries the login shell and reads sshd_config',
  });
}

const CONTINUE = 'dialback backup, which continues where this run stopped';

/** Explains an exit by ssh's messages about keys; undefined if there are none. */
function refusalFault(
  { identity, knownHosts }: CallOptions,
  words: string,
  tried: string,
): Fault | undefined {
  if (/UNPROTECTED PRIVATE KEY FILE/.test(words))
    return new Fault({
      tried: `use the key "${identity}"`,
      found: 'others can read it, so ssh refuses it',
      next: `chmod 600 ${quoteForShell(identity)}`,
      exit: 'usage',
    });
  if (/Permission denied \(/.test(words))
    return new Fault({
      tried,
      found: `it does not accept the key "${identity}"`,
      next: `have the host's administrator run: dialback enroll NAME KEYFILE (with ${identity}.pub); where it is enrolled, dialback doctor there names what its sshd_config forbids`,
      exit: 'refused',
    });
  if (/host key is known/.test(words))
    return new Fault({
      tried,
      found: `"${knownHosts}" does not have its key`,
      next: "get the host's public key from its administrator and put it into that file",
      exit: 'unreachable',
    });
  if (/Host key verification failed|REMOTE HOST IDENTIFICATION HAS CHANGED/.test(words))
    return new Fault({
      tried,
      found: `its key is not the one that "${knownHosts}" has`,
      next: `get the host's public key from its administrator and put it into "${knownHosts}"`,
      exit: 'unreachable',
      code: 'wrong-key',
    });
  return undefined;
}

/**
 * Asks ssh which machine it would connect to (`ssh -G`, which connects to none).
 * @throws Fault where ssh does not accept an option
 */
export async function resolveCall(options: CallOptions): Promise<Called> {
  // No log: ssh creates the file, and the log of a run is a FIFO without a reader at this time.
  const ask = async (asked: CallOptions) =>
    await run(standard('ssh', ['-G', ...callArguments({ ...asked, logFile: '/dev/null' })]));
  const result = await ask(options);
  const called = result.status === 0 ? parseResolved(result.stdout.toString('utf8')) : undefined;
  if (called) return called;
  const words = escapeText(result.stderr.trim().split('\n').at(-1) ?? '');
  // If ssh also fails without anything of the config, the wrong option is one that dialback sets in every call.
  const plain = await ask({ ...options, target: 'localhost', more: [] });
  if (plain.status !== 0) throw await tooOld('ssh', words);
  throw new Fault({
    tried: 'use `target` and `ssh_options`',
    found: words || 'ssh does not accept them',
    exit: 'usage',
  });
}

/** Names an OpenSSH that is too old. @param words its message on an option that dialback sets in every run */
export async function tooOld(program: 'ssh' | 'sshd', words: string): Promise<Fault> {
  const install = `install OpenSSH ${LEAST_OPENSSH} or newer`;
  return new Fault({
    tried: `use "${programPath(program)}"`,
    found: `OpenSSH ${await opensshVersion()} does not accept an option that dialback needs: ${words || 'it says nothing'}`,
    next: program === 'sshd' ? `${install}; or ${WITHOUT_SSHD}` : install,
    code: 'config',
  });
}
