/** The only code that starts, ends and becomes other programs. Never a shell, never the caller's environment. */
import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';
import type { Socket } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import { Fault } from '../fault.ts';
import { isTerminal, mayRun, mayWrite, openFifo, readdir, readProc, writeProc } from './files.ts';
import { beNice, dropGarbage, monotonicMs, sleep } from './machine.ts';

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

const PROGRAM_FOLDERS = ['/usr/bin', '/bin', '/usr/sbin', '/sbin', '/usr/local/bin', '/usr/local/sbin'];
const PACKAGES: Record<string, string> = {
  rsync: 'rsync',
  setpriv: 'util-linux',
  ssh: 'openssh-client',
  'ssh-add': 'openssh-client',
  'ssh-agent': 'openssh-client',
  'ssh-keygen': 'openssh-client',
  sshd: 'openssh-server',
  choom: 'util-linux',
  find: 'findutils',
  flock: 'util-linux',
  getfattr: 'attr',
  getcap: 'libcap2-bin',
  ionice: 'util-linux',
  xargs: 'findutils',
};

/**
 * Where a standard program is: the first of the system's folders that has it. PATH is not asked.
 * @throws Fault that names Debian's package
 */
export function programPath(name: string): string {
  for (const folder of PROGRAM_FOLDERS) {
    const path = `${folder}/${name}`;
    if (mayRun(path)) return path;
  }
  const pack = PACKAGES[name];
  throw new Fault({
    tried: `run "${name}"`,
    found: `it is in none of ${PROGRAM_FOLDERS.join(', ')}`,
    ...(pack ? { next: `apt-get install ${pack}` } : {}),
  });
}

/** Debian's package that has a program, where it is not one that every system has. */
export function packageOf(name: string): string | undefined {
  return PACKAGES[name];
}

/** Whether a program of this name is installed. */
export function hasProgram(name: string): boolean {
  return PROGRAM_FOLDERS.some(folder => mayRun(`${folder}/${name}`));
}

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

const DEFAULT_GRACE_MS = 3_000;
const KILL_PATIENCE_MS = 5_000;
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

/** A process that cannot be mistaken for a later one of the same number. */
export interface Process {
  pid: number;
  /** Field 22 of /proc/PID/stat: when it was started. */
  startTicks: string;
}

function statOf(
  pid: number,
): { parent: number; session: number; state: string; startTicks: string } | undefined {
  const text = readProc(`${pid}/stat`);
  if (text === undefined) return undefined;
  // The command's name is in parentheses and may hold anything; the fields that matter come after the last one.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const [state = '', parent, , session] = fields;
  return { state, parent: Number(parent), session: Number(session), startTicks: fields[19] ?? '' };
}

/** A process by its number, or undefined when there is none. */
export function processAt(pid: number): Process | undefined {
  const found = statOf(pid);
  return found ? { pid, startTicks: found.startTicks } : undefined;
}

/** Whether it still runs; one that has ended and waits for its parent does not. */
export function isAlive(process: Process): boolean {
  const found = statOf(process.pid);
  return found !== undefined && found.state !== 'Z' && found.startTicks === process.startTicks;
}

/**
 * A process and all that descends from it, parents first; where it leads a session, also what of that has lost its parent.
 */
function familyOf(pid: number): Process[] {
  const children = new Map<number, Process[]>();
  const orphans: Process[] = [];
  for (const name of readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const found = statOf(Number(name));
    if (!found) continue;
    const each = { pid: Number(name), startTicks: found.startTicks };
    const siblings = children.get(found.parent) ?? [];
    siblings.push(each);
    children.set(found.parent, siblings);
    if (found.session === pid && each.pid !== pid) orphans.push(each);
  }
  const top = processAt(pid);
  const family: Process[] = top ? [top] : [];
  for (const member of family) family.push(...(children.get(member.pid) ?? []));
  const known = new Set(family.map(each => each.pid));
  return [...family, ...orphans.filter(each => !known.has(each.pid))];
}

/** A process and all that descends from it, each of them stopped: so none can have a child that we do not see. */
function stopFamily(pid: number): Process[] {
  const stopped = new Map<number, Process>();
  for (;;) {
    const fresh = familyOf(pid).filter(member => !stopped.has(member.pid));
    if (fresh.length === 0) return [...stopped.values()];
    for (const member of fresh) {
      signalProcess(member, 'SIGSTOP');
      stopped.set(member.pid, member);
    }
  }
}

function signalProcess(target: Process, signal: NodeJS.Signals): void {
  if (!isAlive(target)) return;
  try {
    process.kill(target.pid, signal);
  } catch {
    // it has ended in between, or is not ours to signal: waitForAll tells
  }
}

/** Asks a process to end by its number alone; only for one that cannot have ended and given its number away. */
export function signalNumber(pid: number): void {
  try {
    process.kill(pid, 'SIGTERM');
  } catch {
    // it has ended
  }
}

/** Ends one process that is not our child: SIGTERM, `graceMs` later SIGKILL. */
export async function killProcess(target: Process, graceMs = DEFAULT_GRACE_MS): Promise<void> {
  signalProcess(target, 'SIGTERM');
  await waitForAll([target], graceMs);
  signalProcess(target, 'SIGKILL');
  await waitForAll([target], KILL_PATIENCE_MS);
}

async function waitForAll(processes: Process[], ms: number): Promise<void> {
  const end = monotonicMs() + ms;
  // The kernel tells only a parent of its children's end; descendants are looked at.
  for (let stepMs = 2; processes.some(isAlive) && monotonicMs() < end; stepMs = Math.min(stepMs * 2, 50)) {
    await sleep(stepMs);
  }
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
const STDERR_KEPT = 16 * 1024;

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

/** From here on we take only what processor and disk time nobody else wants; there is no way back. */
export async function beIdle(): Promise<void> {
  beNice(LEAST_NICE);
  // -t: a kernel without I/O classes is no reason not to go on
  await run(standard('ionice', ['-t', '-c3', '-p', String(process.pid)]));
}
const LEAST_NICE = 19;

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
 * Calls back with each line of a stream; a newline ends it, a carriage return too.
 * @param limit characters: of a longer line only these are kept, so that no peer can fill our memory
 */
export function eachLine(stream: Readable | null, limit: number, take: (line: string) => void): void {
  let rest = '';
  stream?.setEncoding('utf8');
  stream?.on('data', (chunk: string) => {
    dropGarbage();
    const lines = chunk.split(/[\n\r]/);
    for (const [index, piece] of lines.entries()) {
      rest = (rest + piece).slice(0, limit);
      if (index === lines.length - 1) break;
      take(rest);
      rest = '';
    }
  });
  stream?.on('end', () => {
    if (rest !== '') take(rest);
  });
}

/** Bounds of a program that prints records. */
export interface RecordOptions {
  /** Bytes that a record may have. */
  limit: number;
  /** Ends it, and makes `takeRecords` throw the signal's reason. */
  signal?: AbortSignal | undefined;
}

const RECORDS_END_MS = 3_000;

/**
 * Runs a program to its end and calls back with each record that it prints, as bytes; a NUL ends a record, and what stands
 * behind the last NUL is none. No more than one of them is held.
 * @returns how it ended, and what it said on standard error
 */
export async function takeRecords(
  command: Command,
  { limit, signal }: RecordOptions,
  take: (record: Buffer) => void,
): Promise<ExitResult & { stderr: string }> {
  const child = await start(command, ['nothing', 'pipe', 'pipe']);
  let stderr = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    if (stderr.length < STDERR_KEPT) stderr += chunk.toString('utf8');
  });
  const abort = (): void => void child.end(RECORDS_END_MS);
  signal?.addEventListener('abort', abort, { once: true });
  try {
    for await (const records of recordsOf(child, limit)) for (const record of records) take(record);
    const ending = await child.ended;
    signal?.throwIfAborted();
    return { ...ending, stderr };
  } finally {
    signal?.removeEventListener('abort', abort);
    await child.end(RECORDS_END_MS);
  }
}

/**
 * What a child prints, as bytes, cut at each NUL: what came at once at a time. What stands behind the last NUL is none.
 * @param limit bytes that a record may have
 * @throws Fault where one has more
 */
export async function* recordsOf(child: Child, limit: number): AsyncGenerator<Buffer[]> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of (child.stdout ?? []) as AsyncIterable<Buffer>) {
    dropGarbage();
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    const records: Buffer[] = [];
    let from = 0;
    for (let end = bytes.indexOf(0); end >= 0; end = bytes.indexOf(0, from)) {
      records.push(bytes.subarray(from, end));
      from = end + 1;
    }
    yield records;
    rest = bytes.subarray(from);
    if (rest.length > limit)
      throw new Fault({
        tried: `run "${child.program}"`,
        found: `it printed more than ${limit} bytes at once`,
      });
  }
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

/** Ends every process that has this word on its command line, such as what `startApart` started. */
export async function endCommand(word: string): Promise<void> {
  const found: Process[] = [];
  const ending: Process[] = [];
  for (const name of readdir('/proc')) {
    const commandLine = /^\d+$/.test(name) ? readProc(`${name}/cmdline`) : undefined;
    const each = commandLine === undefined ? undefined : processAt(Number(name));
    if (commandLine?.split('\0').includes(word) && each) found.push(each);
    // One that ends just now has no command line any more; nor has a kernel thread.
    if (commandLine === '' && each && ![0, KTHREADD].includes(statOf(each.pid)?.parent ?? 0))
      ending.push(each);
  }
  await Promise.all([...found.map(each => killProcess(each)), waitForAll(ending, KILL_PATIENCE_MS)]);
}
const KTHREADD = 2;

/** Makes FIFOs, for this account alone. @throws Fault */
export async function makeFifos(...paths: string[]): Promise<void> {
  const made = await run(standard('mkfifo', ['-m', '600', '--', ...paths]));
  if (made.status !== 0)
    throw new Fault({ tried: `create the FIFO "${paths.join('", "')}"`, found: made.stderr.trim() });
}

/**
 * A pipe that node does not read from or write to by itself (os/files.ts, `openFifo`): for another program's descriptors.
 * @param path a name in a private folder; it is gone when this returns
 */
export async function makePipe(path: string): Promise<{ reading: number; writing: number }> {
  await makeFifos(path);
  return openFifo(path);
}

/** What the rsync that is installed here says of itself: its version and what it was built with. */
export async function rsyncWords(): Promise<string> {
  const { stdout } = await run(standard('rsync', ['--version']));
  return stdout.toString('utf8');
}

/** Whether the rsync that is installed here knows an option; its version would not tell, since distributions mend without a new one. */
export async function rsyncKnows(option: string): Promise<boolean> {
  return (await run(standard('rsync', [option, '--version']))).status === 0;
}

/** The version of the rsync that is installed here, or `unknown`. @param words what it says of itself, where that is known */
export async function rsyncVersion(words?: string): Promise<string> {
  return /^rsync +version ([0-9A-Za-z.+~-]{1,40}) /.exec(words ?? (await rsyncWords()))?.[1] ?? 'unknown';
}

/** What `ssh -V` and an sshd's greeting have in common: `OpenSSH_9.2p1 Debian-2+deb12u10`. */
export function parseOpensshVersion(text: string): string | undefined {
  return /OpenSSH_(\d+(?:\.\d+)+(?:p\d+)?)/.exec(text)?.[1];
}

/** The version of the OpenSSH client that is installed here, or `unknown`. */
export async function opensshVersion(): Promise<string> {
  const { stderr } = await run(standard('ssh', ['-V']), { timeoutMs: 10_000 });
  return parseOpensshVersion(stderr) ?? 'unknown';
}

/** Says how a program ended, in words. */
export function endingText(ending: ExitResult): string {
  if (ending.signal) return `ended by ${ending.signal}`;
  return ending.status === 0 ? 'ended well' : `ended with status ${ending.status ?? 'unknown'}`;
}
