/** The client's one call: ssh to its backup host (or grab itself), the request on its standard input, events on its standard error. */
import { Fault } from '../fault.ts';
import { abortable } from '../os/async.ts';
import { sleep } from '../os/clock.ts';
import { openLogPipe } from '../os/log-pipe.ts';
import { type Child, type Command, type Descriptor, run, standard, start } from '../os/process.ts';
import { programPath } from '../os/programs.ts';
import { eachLine } from '../os/records.ts';
import type { DisposableHolder } from '../os/runfolder.ts';
import { opensshVersion } from '../os/versions.ts';
import { decodeEvent, EVENT_LINE_LIMIT, type HostEvent, type OutcomeEvent } from '../wire/events.ts';
import { type CallOptions, callArguments, LEAST_OPENSSH, WITHOUT_SSHD } from '../wire/ssh.ts';
import { escapeText, quoteForShell } from '../wire/text.ts';
import type { Channel } from './channel.ts';

/** What is called. */
export interface Callee {
  command: Command;
  /** Why it ended without an outcome. @param status its exit status; @param isHeard whether it has said anything */
  whyEnded(status: number | null, isHeard: boolean): Fault | Promise<Fault>;
  /** It works on after the outcome, and is waited for. */
  waitsForIt: boolean;
}

/** The backup host, by ssh, whose log is read until `held` is released. @param options `logFile` is a new name in the run folder */
export async function overSsh(held: DisposableHolder, options: CallOptions): Promise<Callee> {
  const log = await openLogPipe(held, options.logFile);
  return {
    command: standard('ssh', callArguments(options)),
    whyEnded: async (status, isHeard) => callFault(options, await log.words(), status, isHeard),
    waitsForIt: false,
  };
}

/** A call under way. */
export interface Call {
  /** Resolves with the outcome that the host tells; rejects when ssh ends without one. */
  outcome: Promise<OutcomeEvent>;
  /** Sends more behind the request; not on a channel, which has others to read it. */
  send(bytes: Buffer | string): void;
  /** Hangs up: the request's input ends, and with it the sign of life. @param interrupt ends the wait for one that works on */
  hangUp(interrupt: AbortSignal): Promise<void>;
}

const HANG_UP_MS = 3_000;
/** rsync has as long to end where grab ends it. */
const PUT_ASIDE_MS = 10_000;

/**
 * Calls. The request is sent at once; its input stays open until `hangUp`. What is called is named `ssh` here.
 * @param heard is called for each event but the outcome
 * @param channel what the call goes over where it is to become rsync's connection; undefined: it is ours alone
 */
export async function placeCall(
  held: DisposableHolder,
  callee: Callee,
  request: Buffer,
  heard: (event: HostEvent) => void,
  channel?: Channel,
): Promise<Call> {
  const ends: Descriptor[] = channel ? [channel.input, channel.output] : ['pipe', 'nothing'];
  const ssh = await start(callee.command, [...ends, 'pipe']);
  held.defer(async () => {
    // As if the line broke: then it keeps what has come, and puts it aside, all by itself.
    if (callee.waitsForIt) {
      await channel?.end();
      await Promise.race([ssh.exited, sleep(PUT_ASIDE_MS)]);
    }
    await ssh.end();
  });
  channel?.begun();
  // Wiped once it is written: it has the private key. Not before, since the pipe takes only so much at once.
  if (channel)
    channel.send(request).catch(() => {}); // ssh that ends says why
  else ssh.stdin?.write(request, () => request.fill(0));
  const outcome = Promise.withResolvers<OutcomeEvent>();
  outcome.promise.catch(() => {}); // the caller may be busy elsewhere when it fails
  let isHeard = false;
  let isOver = false; // the outcome is the last event: what comes after it is nothing
  readEvents(ssh, event => {
    if (isOver) return;
    isHeard = true;
    isOver = event.event === 'outcome';
    if (event.event === 'outcome') outcome.resolve(event);
    else heard(event);
  });
  void ssh.ended.then(async ({ status }) => outcome.reject(await callee.whyEnded(status, isHeard)));
  return {
    outcome: outcome.promise,
    send: bytes => ssh.stdin?.write(bytes),
    hangUp: async interrupt => {
      ssh.stdin?.end();
      channel?.hangUp();
      // A signal now is no failure: the outcome is here, and what is ended then the next run does.
      if (callee.waitsForIt) await abortable(interrupt, ssh.exited).catch(() => {});
      else await Promise.race([ssh.exited, new Promise(resolve => setTimeout(resolve, HANG_UP_MS).unref())]);
      await ssh.end();
    },
  };
}

/** Only events are taken from the host's standard error: other text may hold what a client should not learn. */
function readEvents(ssh: Child, take: (event: HostEvent) => void): void {
  // One character more than an event may have: what was cut is refused.
  eachLine(ssh.stderr, EVENT_LINE_LIMIT + 1, line => {
    const event = decodeEvent(line);
    if ('value' in event) take(event.value);
  });
}

/**
 * Why ssh ended without an outcome.
 * @param words its own, out of its log: apart from what the host said
 * @param isHeard whether the host had said something by then
 */
function callFault(options: CallOptions, words: string, status: number | null, isHeard: boolean): Fault {
  const last = escapeText(words.split('\n').at(-1) ?? '');
  const tried = `call the backup host "${escapeText(options.target)}"`;
  if (/UNPROTECTED PRIVATE KEY FILE/.test(words)) {
    return new Fault({
      tried: `use the key "${options.identity}"`,
      found: 'others can read it, and ssh takes no such key',
      next: `chmod 600 ${quoteForShell(options.identity)}`,
      exit: 'usage',
    });
  }
  if (/Permission denied \(/.test(words)) {
    const next = `have the host's administrator run: dialback enroll NAME KEYFILE (with ${options.identity}.pub); where it is enrolled, dialback doctor there names what its sshd_config forbids`;
    return new Fault({
      tried,
      found: `it does not accept the key "${options.identity}"`,
      next,
      exit: 'refused',
    });
  }
  if (/host key is known/.test(words)) {
    return new Fault({
      tried,
      found: `"${options.knownHosts}" has no key of it`,
      next: "get the host's public key from its administrator and put it into that file",
      exit: 'unreachable',
    });
  }
  if (/Host key verification failed|REMOTE HOST IDENTIFICATION HAS CHANGED/.test(words)) {
    const next = `get the host's public key from its administrator and put it into "${options.knownHosts}"`;
    return new Fault({
      tried,
      found: `its key is not the one that "${options.knownHosts}" has`,
      next,
      exit: 'unreachable',
      code: 'wrong-key',
    });
  }
  // Of keep-alives that are not answered ssh says nothing at this LogLevel; of a connection that is reset it does.
  if (status === 255 && isHeard) {
    return new Fault({
      tried: `go on with the backup host "${escapeText(options.target)}"`,
      found: `the connection broke: ${last || 'it does not answer any more'}`,
      next: 'dialback backup, which goes on from where this run was',
      exit: 'unreachable',
    });
  }
  if (status === 255)
    return new Fault({
      tried,
      found: last || 'ssh ended without a word',
      next: 'see that this machine is online, that the host is up, and that `target` in client.toml names it',
      exit: 'unreachable',
    });
  return new Fault({
    tried,
    found: `it hung up without an outcome (status ${status ?? 'unknown'})`,
    next: isHeard
      ? "ask its administrator; the host's log has the reason"
      : 'its sshd let the key in, and dialback did not answer: have its administrator run dialback doctor, which tries the login shell and reads sshd_config',
  });
}

/** Whom ssh would really call, once the config's ssh_options are applied. */
export interface Called {
  hostName: string;
  port: number;
  /** The name that the host's key has in known_hosts (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT). */
  knownAs: string;
  /** Through another program or machine: then the address is not one that this machine can reach itself. */
  isProxied: boolean;
}

/**
 * Whom ssh would call (`ssh -G`, which calls nobody).
 * @throws Fault when ssh does not understand an option
 */
export async function resolveCall(options: CallOptions): Promise<Called> {
  // No log: ssh makes the file, and the run's is a FIFO that nobody reads yet.
  const ask = async (asked: CallOptions) =>
    await run(standard('ssh', ['-G', ...callArguments({ ...asked, logFile: '/dev/null' })]));
  const result = await ask(options);
  const called = result.status === 0 ? parseResolved(result.stdout.toString('utf8')) : undefined;
  if (called) return called;
  const words = escapeText(result.stderr.trim().split('\n').at(-1) ?? '');
  // Without anything of the config: then it is an option that every call has.
  const plain = await ask({ ...options, target: 'localhost', more: [] });
  if (plain.status !== 0) throw await tooOld('ssh', words);
  throw new Fault({
    tried: 'use `target` and `ssh_options`',
    found: words || 'ssh does not accept them',
    exit: 'usage',
  });
}

/** Reads what `ssh -G` prints: an option a line, in lower case. */
export function parseResolved(text: string): Called | undefined {
  const options = new Map(
    text.split('\n').map(line => {
      const [, key = '', value = ''] = /^(\S+) (.*)$/.exec(line) ?? [];
      return [key, value] as const;
    }),
  );
  const hostName = options.get('hostname');
  const port = Number(options.get('port'));
  if (!hostName || !Number.isInteger(port)) return undefined;
  const alias = options.get('hostkeyalias');
  const isProxied = ['proxycommand', 'proxyjump'].some(
    key => !['none', '', undefined].includes(options.get(key)),
  );
  return { hostName, port, knownAs: alias ?? (port === 22 ? hostName : `[${hostName}]:${port}`), isProxied };
}

/** @param words what a program of OpenSSH says of an option that every run has */
export async function tooOld(program: 'ssh' | 'sshd', words: string): Promise<Fault> {
  const install = `install OpenSSH ${LEAST_OPENSSH} or newer`;
  return new Fault({
    tried: `use "${programPath(program)}"`,
    found: `OpenSSH ${await opensshVersion()} does not take an option that dialback needs: ${words || 'it says nothing'}`,
    next: program === 'sshd' ? `${install}; or ${WITHOUT_SSHD}` : install,
    code: 'config',
  });
}

/** The host name that ssh would really call. @throws as `resolveCall` */
export async function calledHostName(options: CallOptions): Promise<string> {
  return (await resolveCall(options)).hostName;
}
