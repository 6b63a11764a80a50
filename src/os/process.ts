/** Starts, kills and execs other programs; no other file does. It never uses a shell or the caller's environment. */
import { type ChildProcess, type StdioOptions, spawn, spawnSync } from 'node:child_process';
import type { Socket } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import { Fault } from '../fault.ts';
import { sleep } from './clock.ts';
import { mayRun, mayWrite, writeProc } from './files.ts';
import {
  DEFAULT_GRACE_MS,
  isAlive,
  KILL_PATIENCE_MS,
  signalProcess,
  stopFamily,
  waitForAll,
} from './process-table.ts';
import { hasProgram, programPath } from './programs.ts';
import { isTerminal } from './streams.ts';

/** A program to run, with everything that decides what it does. */
export interface Command {
  /** Absolute path. */
  program: string;
  args: string[];
  /** The whole environment; it inherits no variable. */
  environment: Record<string, string>;
  cwd?: string;
  /**
   * The signal that the kernel sends it when this process dies (PR_SET_PDEATHSIG, by setpriv(1)): SIGKILL, or SIGTERM for a
   * program that must clean up. The kernel clears it for a set-id program (ssh-agent).
   */
  deathSignal?: 'KILL' | 'TERM';
  /** Run it in a session of its own, so that a signal from the terminal (Ctrl-C) does not reach it. */
  ownSession?: true;
  /** Let the kernel kill it and its children first when memory runs out, as `endMeFirst()` does for this process. */
  endedFirst?: true;
  /**
   * Run it as another account, with that account's groups; only root can. It runs in a session of its own, without root's terminal,
   * where the account could type commands (TIOCSTI) or read root's input. Its descriptors are pipes or /dev/null.
   */
  account?: { uid: number; gid: number };
  /** With `account`: let it read every file (CAP_DAC_READ_SEARCH, capabilities(7)). It gets no other capability. */
  readsAll?: true;
}

/** One of a child's descriptors: nothing (/dev/null), a pipe to us, a descriptor of ours, or a connection. */
export type Descriptor = 'nothing' | 'pipe' | number | Socket;

/** How a child exited: its status, or the signal that killed it. */
export interface ExitResult {
  status: number | null;
  signal: NodeJS.Signals | null;
}

/** A child process. */
export interface Child {
  pid: number;
  program: string;
  stdin: Writable | null;
  stdout: Readable | null;
  stderr: Readable | null;
  /** Resolves when the program has exited and its pipes are read to their end. Never rejects. */
  ended: Promise<ExitResult>;
  /** Resolves when the program has exited, even if another process still holds its pipes. Never rejects. */
  exited: Promise<ExitResult>;
  /** Sends it a signal, if it has not ended. */
  signal(name: NodeJS.Signals): void;
  /** Kills it and its descendants: closes stdin, sends SIGTERM, and SIGKILL after `graceMs`. Waits until they are gone. */
  end(graceMs?: number): Promise<void>;
}

/** The environment of every child: constants only. */
export const PLAIN_ENVIRONMENT: Record<string, string> = {
  PATH: '/usr/bin:/bin:/usr/sbin:/sbin',
  LC_ALL: 'C', // messages in one language and names escaped one way
};

/**
 * A command for a standard program, with the plain environment.
 * @param environment variables to add
 * @throws Fault when the program is not installed
 */
export function standard(name: string, args: string[], environment: Record<string, string> = {}): Command {
  return { program: programPath(name), args, environment: { ...PLAIN_ENVIRONMENT, ...environment } };
}

/**
 * Starts a program.
 * @param descriptors its descriptors, from 0 on; it gets no others
 * @throws Fault when it cannot be started
 */
export async function start(command: Command, descriptors: Descriptor[]): Promise<Child> {
  if (command.account && descriptors.some(each => typeof each === 'number' && isTerminal(each)))
    throw new Fault({
      tried: `run "${command.program}" as another account`,
      found: 'it would have our terminal',
    });
  const stdio: StdioOptions = descriptors.map(each => (each === 'nothing' ? 'ignore' : each));
  if (!command.program.startsWith('/') || !mayRun(command.program))
    throw new Fault({ tried: `run "${command.program}"`, found: 'it is not a program that we may run' });
  const way = [
    ...wayToAccount(command),
    '--pdeathsig',
    command.deathSignal ?? 'KILL',
    '--',
    ...(command.endedFirst ? wayToEndFirst() : []),
  ];
  const args = [...way, command.program, ...command.args];
  const child: ChildProcess = spawn(programPath('setpriv'), args, {
    env: command.environment,
    cwd: command.cwd ?? '/',
    stdio,
    detached: command.ownSession === true || command.account !== undefined, // setsid(2)
    shell: false,
  });
  const exited = new Promise<ExitResult>(resolve => {
    child.once('exit', (status, signal) => resolve({ status, signal }));
  });
  const ended = new Promise<ExitResult>(resolve => {
    child.once('close', (status, signal) => resolve({ status, signal }));
  });
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve);
    child.once('error', error => {
      reject(
        new Fault({
          tried: `run "${command.program}"`,
          found: (error as NodeJS.ErrnoException).code ?? error.message,
        }),
      );
    });
  });
  child.on('error', () => {}); // kill(2) fails when the child has exited
  child.stdin?.on('error', () => {}); // a child that has stopped reading gives the reason by its exit status
  const pid = child.pid ?? 0;
  return {
    pid,
    program: command.program,
    stdin: child.stdin,
    stdout: child.stdout,
    stderr: child.stderr,
    ended,
    exited,
    signal: name => void child.kill(name),
    end: (graceMs = DEFAULT_GRACE_MS) => killTree(child, ended, graceMs),
  };
}

/** setpriv(1)'s arguments for another account. It sets the death signal after the account, since setuid(2) clears the signal. */
function wayToAccount({ account, readsAll }: Command): string[] {
  if (!account) return [];
  const who = ['--reuid', String(account.uid), '--regid', String(account.gid), '--init-groups'];
  const kept = readsAll ? '-all,+dac_read_search' : '-all';
  return [...who, `--inh-caps=${kept}`, `--ambient-caps=${kept}`];
}

/** Refuses a command for another account: only `start()` can run one. */
function requireOwnAccount({ account, program }: Command): void {
  if (account)
    throw new Fault({ tried: `run "${program}" as another account`, found: 'only a child can be' });
}

/**
 * Starts a program whose standard output is the standard input of another one, directly. Its standard input and error are pipes
 * to us.
 * @param reader the other program, started with `pipe` as its standard input; it is killed if this one cannot be started
 * @throws Fault when the program cannot be started
 */
export async function startInto(reader: Child, command: Command): Promise<Child> {
  const { stdin } = reader;
  try {
    return await start(command, ['pipe', stdin as Socket, 'pipe']);
  } catch (error) {
    await reader.end();
    throw error;
  } finally {
    stdin?.destroy(); // close(2), not shutdown(2): the program has the descriptor now
  }
}

const LAST_WORDS_MS = 500;

/** Kills a child and its descendants. Returns when all of them are gone, or 5 s after SIGKILL. */
async function killTree(child: ChildProcess, ended: Promise<ExitResult>, graceMs: number): Promise<void> {
  // After node has waited for it, another process may have its number.
  const isOurs = child.exitCode === null && child.signalCode === null;
  const family = isOurs && child.pid !== undefined ? stopFamily(child.pid) : [];
  child.stdin?.destroy();
  // With hidepid, /proc does not show a program that is not dumpable: node's own kill() still reaches the child.
  const isHidden = isOurs && family.length === 0;
  if (isHidden) child.kill('SIGTERM');
  for (const signal of ['SIGTERM', 'SIGCONT'] as const) {
    for (const member of family) signalProcess(member, signal);
  }
  await waitForAll(family, graceMs);
  // A member that is still alive can have started children since.
  const rest = family.filter(isAlive).flatMap(member => [member, ...stopFamily(member.pid)]);
  for (const member of rest) signalProcess(member, 'SIGKILL');
  await waitForAll(rest, KILL_PATIENCE_MS);
  if (isHidden) await Promise.race([ended, sleep(graceMs)]);
  if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
  // Read the last output, unless another process holds the pipes.
  await Promise.race([ended, sleep(LAST_WORDS_MS)]);
  for (const stream of [child.stdout, child.stderr]) stream?.destroy();
}

/** How a short program exited, and its output. */
export interface Result extends ExitResult {
  stdout: Buffer;
  stderr: string;
}

/** Limits of a short program. */
interface RunOptions {
  /** Its standard input; a number is a descriptor. */
  input?: string | Buffer | number;
  timeoutMs?: number;
  /** The most bytes of standard output; more is a Fault. */
  limit?: number;
  /** Its descriptors from 3 on. */
  more?: number[];
  /** Kills it, and makes `run` throw the signal's reason. */
  signal?: AbortSignal;
}

const RUN_TIMEOUT_MS = 60_000;
const RUN_LIMIT = 16 * 1024 * 1024;

export const STDERR_KEPT = 16 * 1024;

/**
 * Runs a short program to its end.
 * @returns how it exited, and its output
 * @throws Fault when it cannot be started, exceeds its timeout or prints too much; the signal's reason
 */
export async function run(command: Command, options: RunOptions = {}): Promise<Result> {
  const { input } = options;
  const stdin = input === undefined ? 'nothing' : typeof input === 'number' ? input : 'pipe';
  const child = await start(command, [stdin, 'pipe', 'pipe', ...(options.more ?? [])]);
  const limit = options.limit ?? RUN_LIMIT;
  const chunks: Buffer[] = [];
  let size = 0;
  let stderr = '';
  let stopped: unknown;
  const end = (reason: unknown): void => {
    stopped ??= reason;
    void child.end(500);
  };
  const stop = (found: string): void => end(new Fault({ tried: `run "${command.program}"`, found }));
  const abort = (): void => end(options.signal?.reason);
  if (options.signal?.aborted) abort();
  options.signal?.addEventListener('abort', abort, { once: true });
  child.stdout?.on('data', (chunk: Buffer) => {
    size += chunk.length;
    if (size > limit) stop(`it printed more than ${limit} bytes`);
    else chunks.push(chunk);
  });
  child.stderr?.on('data', (chunk: Buffer) => {
    if (stderr.length < STDERR_KEPT) stderr += chunk.toString('utf8');
  });
  const timeoutMs = options.timeoutMs ?? RUN_TIMEOUT_MS;
  const timer = setTimeout(() => stop(`it did not end within ${timeoutMs / 1000} s`), timeoutMs);
  if (typeof input !== 'number' && input !== undefined) child.stdin?.end(input);
  const ending = await child.ended;
  clearTimeout(timer);
  options.signal?.removeEventListener('abort', abort);
  if (stopped !== undefined) throw stopped;
  return { ...ending, stdout: Buffer.concat(chunks), stderr };
}

/**
 * Runs a short program to its end while nothing else in this process goes on: for a fact that a message needs.
 * @param timeoutMs then it is killed
 * @returns its standard output; undefined if it could not be started, did not exit with 0 or was killed
 */
export function outputNow({ program, args, environment }: Command, timeoutMs: number): string | undefined {
  const words = ['--pdeathsig', 'KILL', '--', program, ...args];
  const { status, stdout } = spawnSync(programPath('setpriv'), words, {
    env: environment,
    cwd: '/',
    stdio: ['ignore', 'pipe', 'ignore'],
    timeout: timeoutMs,
    killSignal: 'SIGKILL',
    encoding: 'utf8',
    shell: false,
  });
  return status === 0 ? stdout : undefined;
}

/** This process's score. A process may raise its own score, up to 1000; only root may lower it. */
const OOM_SCORE = 'self/oom_score_adj';
const MOST_EXPENDABLE = '1000';

/**
 * Makes the kernel kill this process first when memory runs out (proc_pid_oom_score_adj(5)). Programs that it starts or execs
 * inherit that. Does not fail if the kernel refuses.
 */
export function endMeFirst(): void {
  writeProc(OOM_SCORE, MOST_EXPENDABLE);
}

/**
 * choom(1)'s command line for a program that the kernel should kill first; empty where choom cannot work. A write to /proc after the
 * start would come too late for children of the program.
 */
function wayToEndFirst(): string[] {
  const isPossible = hasProgram('choom') && mayWrite(`/proc/${OOM_SCORE}`);
  return isPossible ? [programPath('choom'), '-n', MOST_EXPENDABLE, '--'] : [];
}

/**
 * Replaces this process by another program (execve(2)). `env --default-signal` comes first, because node ignores SIGPIPE and
 * SIGXFSZ and the program would inherit that.
 * @throws Fault when the program cannot be run; if execve itself fails, node aborts without a message
 */
export function exec(command: Command): never {
  requireOwnAccount(command);
  const env = programPath('env');
  if (!command.program.startsWith('/') || !mayRun(command.program)) {
    throw new Fault({ tried: `run "${command.program}"`, found: 'it is not a program that we may run' });
  }
  const args = [env, '--default-signal=PIPE,XFSZ', command.program, ...command.args];
  if (!process.execve)
    throw new Fault({ tried: `run "${command.program}"`, found: 'this node has no execve' });
  if (command.cwd !== undefined) process.chdir(command.cwd);
  process.execve(env, args, command.environment);
  throw new Fault({ tried: `become "${command.program}"`, found: 'execve came back' });
}

/**
 * Starts a program that outlives this process, in a session of its own, with /dev/null as its standard streams. No other
 * child outlives its parent: use it only for work that may be killed at any time, and that the next run completes. Does not report whether the program could be started.
 */
export async function startApart(command: Command): Promise<void> {
  requireOwnAccount(command);
  const child = spawn(command.program, command.args, {
    env: command.environment,
    cwd: command.cwd ?? '/',
    stdio: 'ignore',
    detached: true,
    shell: false,
  });
  await new Promise<void>(resolve => {
    child.once('spawn', resolve);
    child.once('error', () => resolve());
  });
  child.unref();
}

/** Describes how a program exited, for a message. */
export function endingText(ending: ExitResult): string {
  if (ending.signal) return `ended by ${ending.signal}`;
  return ending.status === 0 ? 'ended well' : `ended with status ${ending.status ?? 'unknown'}`;
}
