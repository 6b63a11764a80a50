/** The only code that starts, ends and becomes other programs. Never a shell, never the caller's environment. */
import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';
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

/** A program to run: everything that decides what it does. */
export interface Command {
  /** Absolute path. */
  program: string;
  args: string[];
  /** The whole environment; nothing is inherited. */
  environment: Record<string, string>;
  cwd?: string;
  /**
   * The signal that it gets when we die, however we die (PR_SET_PDEATHSIG, by setpriv(1)): SIGKILL, or SIGTERM for a
   * program that has something to put in order. A set-id program (ssh-agent) loses it.
   */
  deathSignal?: 'KILL' | 'TERM';
  /** In a session of its own: what a terminal sends to all that it runs (Ctrl-C) does not reach it. */
  ownSession?: true;
  /** Out of memory, the kernel ends it before all that matters more, and what it starts; as `endMeFirst()`. */
  endedFirst?: true;
  /**
   * As another account, with its groups; only root can. Always in a session of its own without a terminal, with pipes or
   * /dev/null for its descriptors and the environment that is named here: on root's terminal the account could type commands
   * (TIOCSTI) and read what root types.
   */
  account?: { uid: number; gid: number };
}

/** What one of a child's descriptors is: nothing (/dev/null), a pipe to us, one of ours, or a connection. */
export type Descriptor = 'nothing' | 'pipe' | number | Socket;

/** How a child ended. */
export interface ExitResult {
  status: number | null;
  signal: NodeJS.Signals | null;
}

/** A child under way. */
export interface Child {
  pid: number;
  program: string;
  stdin: Writable | null;
  stdout: Readable | null;
  stderr: Readable | null;
  /** Resolves when the program has ended and its pipes are read to their end. Never rejects. */
  ended: Promise<ExitResult>;
  /** Resolves as soon as the program itself has ended, whoever may still hold its pipes. Never rejects. */
  exited: Promise<ExitResult>;
  /** Ends it and all that descends from it: closes stdin, SIGTERM, `graceMs` later SIGKILL. Waits for it. */
  end(graceMs?: number): Promise<void>;
}

/** The environment that every child gets: constants only. */
export const PLAIN_ENVIRONMENT: Record<string, string> = {
  PATH: '/usr/bin:/bin:/usr/sbin:/sbin',
  LC_ALL: 'C', // messages in one language and names escaped one way
};

/** A command of a standard program with the plain environment and what is added to it. */
export function standard(name: string, args: string[], environment: Record<string, string> = {}): Command {
  return { program: programPath(name), args, environment: { ...PLAIN_ENVIRONMENT, ...environment } };
}

/**
 * Starts a program. Its descriptors are exactly those named, from 0 on; it is ended by `end()`.
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
    ...wayToAccount(command.account),
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
  child.on('error', () => {}); // a kill that came too late
  child.stdin?.on('error', () => {}); // a child that has stopped reading says why by its ending
  const pid = child.pid ?? 0;
  return {
    pid,
    program: command.program,
    stdin: child.stdin,
    stdout: child.stdout,
    stderr: child.stderr,
    ended,
    exited,
    end: (graceMs = DEFAULT_GRACE_MS) => killTree(child, ended, graceMs),
  };
}

/** What goes before a program of another account's; setpriv(1) sets the death signal after the account, which clears it. */
function wayToAccount(account: Command['account']): string[] {
  if (!account) return [];
  const who = ['--reuid', String(account.uid), '--regid', String(account.gid), '--init-groups'];
  return [...who, '--inh-caps=-all', '--ambient-caps=-all'];
}

/** `start()` is the one way to another account. */
function requireOwnAccount({ account, program }: Command): void {
  if (account)
    throw new Fault({ tried: `run "${program}" as another account`, found: 'only a child can be' });
}

/**
 * Starts a program whose standard output is another one's standard input, without a way round by us: a pipe to it, and one for
 * its complaints.
 * @param reader started with `pipe` as its standard input; it is ended where the other one cannot be started
 */
export async function startInto(reader: Child, command: Command): Promise<Child> {
  const { stdin } = reader;
  try {
    return await start(command, ['pipe', stdin as Socket, 'pipe']);
  } catch (error) {
    await reader.end();
    throw error;
  } finally {
    stdin?.destroy(); // closed, not shut down: the program has it
  }
}

const LAST_WORDS_MS = 500;

/** Ends a child and its descendants; returns when none of them is left (or SIGKILL was of no use for 5 s). */
async function killTree(child: ChildProcess, ended: Promise<ExitResult>, graceMs: number): Promise<void> {
  // Once node has waited for it, its number may be somebody else's.
  const isOurs = child.exitCode === null && child.signalCode === null;
  const family = isOurs && child.pid !== undefined ? stopFamily(child.pid) : [];
  child.stdin?.destroy();
  // Where /proc does not show it (hidepid, and a program that is not dumpable) it is signalled all the same.
  const isHidden = isOurs && family.length === 0;
  if (isHidden) child.kill('SIGTERM');
  for (const signal of ['SIGTERM', 'SIGCONT'] as const) {
    for (const member of family) signalProcess(member, signal);
  }
  await waitForAll(family, graceMs);
  // Asked again, since a member that lives on can have had children in the meantime.
  const rest = family.filter(isAlive).flatMap(member => [member, ...stopFamily(member.pid)]);
  for (const member of rest) signalProcess(member, 'SIGKILL');
  await waitForAll(rest, KILL_PATIENCE_MS);
  if (isHidden) await Promise.race([ended, sleep(graceMs)]);
  if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
  // What it said last is read, unless somebody else holds its pipes.
  await Promise.race([ended, sleep(LAST_WORDS_MS)]);
  for (const stream of [child.stdout, child.stderr]) stream?.destroy();
}

/** What a short program left behind. */
export interface Result extends ExitResult {
  stdout: Buffer;
  stderr: string;
}

/** Bounds of a short program. */
export interface RunOptions {
  input?: string | Buffer;
  timeoutMs?: number;
  /** Bytes of standard output that are taken; more is a Fault. */
  limit?: number;
  /** Descriptors from 3 on. */
  more?: number[];
  /** Ends it, and makes `run` throw the signal's reason. */
  signal?: AbortSignal;
}

const RUN_TIMEOUT_MS = 60_000;
const RUN_LIMIT = 16 * 1024 * 1024;

export const STDERR_KEPT = 16 * 1024;

/** Runs a short program to its end and returns what it said. @throws Fault when it is late or too talkative */
export async function run(command: Command, options: RunOptions = {}): Promise<Result> {
  const input = options.input === undefined ? 'nothing' : 'pipe';
  const child = await start(command, [input, 'pipe', 'pipe', ...(options.more ?? [])]);
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
  if (options.input !== undefined) child.stdin?.end(options.input);
  const ending = await child.ended;
  clearTimeout(timer);
  options.signal?.removeEventListener('abort', abort);
  if (stopped !== undefined) throw stopped;
  return { ...ending, stdout: Buffer.concat(chunks), stderr };
}

/** Of this process. Anybody may raise his own, to 1000 at most; only root lowers it again. */
const OOM_SCORE = 'self/oom_score_adj';
const MOST_EXPENDABLE = '1000';

/**
 * Has the kernel end this process first when memory runs out (proc_pid_oom_score_adj(5)), and what it becomes or starts.
 * Where the kernel does not take that, nothing is changed.
 */
export function endMeFirst(): void {
  writeProc(OOM_SCORE, MOST_EXPENDABLE);
}

/**
 * What goes before a program that is to be ended first; nothing where it would not work. Not by writing to /proc once the
 * program runs: it can have children by then.
 */
function wayToEndFirst(): string[] {
  const isPossible = hasProgram('choom') && mayWrite(`/proc/${OOM_SCORE}`);
  return isPossible ? [programPath('choom'), '-n', MOST_EXPENDABLE, '--'] : [];
}

/**
 * Becomes another program: same process number, nothing of ours left. `env --default-signal` goes before it,
 * since node leaves SIGPIPE and SIGXFSZ ignored.
 * @throws Fault when the program cannot be run; execve's own failure would end us without a word
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
 * Starts a program that outlives us, in a session of its own, with nothing to read from or write to. The one exception to
 * the rule that a child dies with us: only for work that may be ended at any moment, and is then done by the next.
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
    child.once('error', () => resolve()); // whoever needs it done looks whether it was
  });
  child.unref();
}

/** Says how a program ended, in words. */
export function endingText(ending: ExitResult): string {
  if (ending.signal) return `ended by ${ending.signal}`;
  return ending.status === 0 ? 'ended well' : `ended with status ${ending.status ?? 'unknown'}`;
}
