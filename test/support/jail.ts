/**
 * The launcher built for a test: with a temporary user for its service, in a folder of root's own, and with
 * the probe program (probe.c) in rsync's place. An attempt is made in the jail, and once more without it,
 * where it must succeed.
 */
import { type ChildProcess, execFileSync, type SpawnOptions, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { addUser, processesOf, removeUser } from './accounts.ts';
import { compileProgram } from './compiled.ts';
import { IS_LONG } from './long.ts';
import { compileJail, compileLauncher, makeFolder, ROOTS_FOLDER } from './world.ts';

const ATTEMPT_MS = 20_000;
const SPOTS_AT_ONCE = 30;

/** The exit and the output of a program. */
export interface Ended {
  status: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

export interface StartOptions {
  /** Standard input; it stays open until the program's end where `whenReady` is given. */
  input?: string;
  /** Is called when the program says "ready"; then its input gets one more byte, and ends. */
  whenReady?: (child: ChildProcess) => void | Promise<void>;
  environment?: Record<string, string>;
  /** A file for standard input, open for reading and writing. It begins with the input. */
  inputFile?: string;
  /** Open descriptors from 3 on. */
  more?: number[];
  timeoutMs?: number;
}

/** The account that starts a program. */
export interface Account {
  uid: number;
  gid: number;
}

/**
 * The Landlock ABIs to try: the oldest that will do, one before ABI 6 and its scopes, and one that is newer than the kernel's.
 * ALL_ABIS=1 tries every one, which takes some minutes.
 */
export function abisToTry(least: number, newest: number): number[] {
  const every = Array.from({ length: newest - least + 1 }, (_, index) => least + index);
  const tried = every.filter(abi => process.env.ALL_ABIS === '1' || abi === least || (IS_LONG && abi === 5));
  return IS_LONG ? [...tried, newest + 100] : tried;
}

/** A user, a folder of root's with both programs of the launcher and the probe, and a home; removed by `dispose()`. */
export class Jail {
  /**
   * Root's, with a blank in its name. In a folder that is root's up to the top, as an installed launcher is.
   */
  readonly base: string;
  readonly launch: string;
  /** The launcher's program without a capability. */
  readonly jailPath: string;
  readonly probe: string;
  readonly never: string;
  readonly home: string;
  readonly login: string;
  readonly account: Account;
  /** Another process of the same user, of the same program. */
  victim: ChildProcess | undefined;
  readonly #children = new Set<ChildProcess>();
  #prepared: string[] = [];

  private constructor() {
    this.base = makeFolder(ROOTS_FOLDER);
    this.launch = join(this.base, 'bin/launch');
    this.jailPath = join(this.base, 'bin/jail');
    this.probe = join(this.base, 'bin/probe');
    this.never = join(this.base, 'etc/never');
    this.home = join(this.base, 'home');
    this.login = `dbtest-jail-${randomBytes(2).toString('hex')}`;
    this.account = addUser(this.login, { home: this.home });
  }

  /** Makes all of it. Needs root. */
  static make(): Jail {
    const jail = new Jail();
    try {
      for (const name of ['bin', 'etc']) mkdirSync(join(jail.base, name), { mode: 0o755 });
      jail.folder(jail.home, 0o700);
      writeFileSync(jail.never, '# nothing yet\n');
      const flags = ['-std=gnu17', '-O1', '-static', '-no-pie', '-Wall', '-Wextra', '-Werror'];
      compileProgram(join(import.meta.dirname, 'probe.c'), jail.probe, flags);
      compileLauncher({
        to: jail.launch,
        serviceUid: jail.account.uid,
        rsync: jail.probe,
        dialback: jail.probe,
        never: jail.never,
      });
      jail.lend(jail.launch);
      compileJail({ to: jail.jailPath, rsync: jail.probe, dialback: jail.probe });
    } catch (error) {
      jail.dispose();
      throw error;
    }
    return jail;
  }

  /** Gives a launcher what `make install` gives it. A change of the owner takes the capability off. */
  lend(path: string): void {
    chownSync(path, 0, this.account.gid);
    chmodSync(path, 0o750);
    execFileSync('setcap', ['cap_dac_read_search=ep', path], { stdio: 'pipe' });
  }

  /** A folder of the user's. */
  folder(path: string, mode = 0o755): string {
    mkdirSync(path, { recursive: true });
    chmodSync(path, mode);
    chownSync(path, this.account.uid, this.account.gid);
    return path;
  }

  /** A file of the user's. */
  file(path: string, content: string | Buffer = 'a text\n', mode = 0o640): string {
    writeFileSync(path, content);
    chmodSync(path, mode);
    chownSync(path, this.account.uid, this.account.gid);
    return path;
  }

  /** A run folder with a scope. @param records `root PATH`, `never PATH`, `library PATH` */
  run(name: string, records: string[]): string {
    const run = this.folder(join(this.home, 'state', name), 0o700);
    this.folder(join(run, 'rsyncd'), 0o700);
    this.file(join(run, 'rsyncd/rsyncd.conf'), 'read only = yes\n', 0o600);
    this.file(join(run, 'key'), 'a host key\n', 0o600);
    this.file(join(run, 'scope'), records.map(each => `${each}\0`).join(''), 0o600);
    this.folder(join(this.home, 'state'), 0o700);
    return run;
  }

  /**
   * Folders with the things that attempts are made on, fresh: `file` and `input` (with the xattr user.there),
   * `other`, `empty/`. The name `new` is free. @param input what `input` begins with
   */
  freshSpots(spots: string[], input: string): void {
    for (const spot of spots) {
      rmSync(spot, { recursive: true, force: true });
      mkdirSync(dirname(spot), { recursive: true });
      renameSync(this.#preparedSpot(), spot);
      this.file(join(spot, 'input'), input.padEnd(8192, 'y'));
    }
  }

  /** setfattr(1) sets the attribute of many files at once: starting it for each attempt takes a fifth of the time of a suite. */
  #preparedSpot(): string {
    const ready = this.#prepared.pop();
    if (ready !== undefined) return ready;
    const parent = join(this.base, 'prepared');
    mkdirSync(parent, { recursive: true, mode: 0o700 });
    this.#prepared = Array.from({ length: SPOTS_AT_ONCE }, (_, index) => join(parent, String(index)));
    for (const spot of this.#prepared) {
      this.folder(spot);
      this.file(join(spot, 'file'), 'x'.repeat(8192));
      this.file(join(spot, 'other'));
      this.file(join(spot, 'input'), '');
      this.folder(join(spot, 'empty'));
    }
    const marked = this.#prepared.flatMap(spot => [join(spot, 'file'), join(spot, 'input')]);
    execFileSync('/usr/bin/setfattr', ['-n', 'user.there', '-v', '1', ...marked]);
    return this.#preparedSpot();
  }

  /**
   * Starts the victim where there is none (an attempt without a jail may have ended it). @returns its number
   */
  async needVictim(): Promise<number> {
    const { victim } = this;
    if (victim?.pid !== undefined && !this.#isEnding(victim)) return victim.pid;
    return await new Promise((resolve, reject) => {
      const child = spawn(this.probe, ['--victim'], {
        ...this.account,
        cwd: '/',
        env: { SECRET: 'of the victim' },
        stdio: ['pipe', 'pipe', 'ignore'],
        detached: true, // the leader of a group
      });
      this.#children.add(child);
      this.victim = child;
      child.once('error', reject);
      child.stdout.once('data', () => resolve(child.pid ?? 0));
    });
  }

  /** A signal is pending when the sender's call returns, however long the victim, or node, then takes to react. */
  #isEnding(victim: ChildProcess): boolean {
    if (victim.exitCode !== null || victim.signalCode !== null) return true;
    try {
      const status = readFileSync(`/proc/${victim.pid}/status`, 'latin1');
      return /^State:\t[ZX]|^S(?:ig|hd)Pnd:\t0*[1-9a-f]/m.test(status);
    } catch {
      return true; // it has gone
    }
  }

  /** Whether the victim ends, or has ended, by a signal. */
  async victimEnds(): Promise<boolean> {
    const { victim } = this;
    if (victim === undefined || this.#isEnding(victim)) return true;
    return await Promise.race([
      new Promise<true>(resolve => victim.once('exit', () => resolve(true))),
      new Promise<false>(resolve => setTimeout(resolve, 200, false)),
    ]);
  }

  /**
   * A mount namespace of the user's own in which `folder` is at `place`, too; until the end. @returns its process: the folder is
   * /proc/PID/root/PLACE, /proc/PID/cwd and /proc/PID/fd/3
   */
  async hold(place: string, folder: string): Promise<number> {
    const child = spawn(this.probe, ['--hold', place, folder], {
      ...this.account,
      cwd: '/',
      env: {},
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#children.add(child);
    return await new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', () => reject(new Error('the user may have no namespaces of his own')));
      child.stdout.once('data', () => resolve(child.pid ?? 0));
    });
  }

  /** Runs a program to its end. */
  async start(
    account: Account | 'root',
    program: string,
    args: string[],
    options: StartOptions = {},
  ): Promise<Ended> {
    const { inputFile } = options;
    const inputFd = inputFile === undefined ? undefined : openSync(inputFile, 'r+');
    const stdio: SpawnOptions['stdio'] = [inputFd ?? 'pipe', 'pipe', 'pipe', ...(options.more ?? [])];
    const child = spawn(program, args, {
      ...(account === 'root' ? {} : { uid: account.uid, gid: account.gid }),
      cwd: '/',
      env: options.environment ?? {},
      stdio,
    });
    this.#children.add(child);
    let stdout = '';
    let stderr = '';
    child.stdin?.on('error', () => {});
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      const wasReady = /^ready$/m.test(stdout);
      stdout += text;
      if (wasReady || !/^ready$/m.test(stdout)) return;
      void (async () => {
        try {
          await options.whenReady?.(child);
        } finally {
          child.stdin?.end('!');
        }
      })();
    });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    if (options.whenReady) child.stdin?.write(options.input ?? '');
    else child.stdin?.end(options.input ?? '');
    const timer = setTimeout(() => child.kill('SIGKILL'), options.timeoutMs ?? ATTEMPT_MS);
    const [status, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (...how) => resolve(how));
    });
    clearTimeout(timer);
    this.#children.delete(child);
    if (inputFd !== undefined) closeSync(inputFd);
    return { status, signal, stdout, stderr };
  }

  /** Ends the victim and removes all; every process of the user's is one of ours. */
  dispose(): void {
    for (const child of this.#children) child.kill('SIGKILL');
    for (const pid of this.processes()) process.kill(pid, 'SIGKILL');
    rmSync(this.base, { recursive: true, force: true });
    removeUser(this.login);
  }

  /** The processes of the user. */
  processes(): number[] {
    return processesOf(this.account.uid);
  }
}

/** The outcome of an attempt: 'works', the errno's name, 'killed by SIGNAL', or 'not started' if the launcher refused. */
export function outcomeOf(name: string, { status, signal, stdout, stderr }: Ended): string {
  if (signal) return `killed by ${signal}`;
  const answer = new RegExp(`^${name}\\t(\\w+)$`, 'm').exec(stdout)?.[1];
  if (answer === 'OK') return 'works';
  if (answer !== undefined) return answer;
  if (/^executed\b/m.test(stdout)) return 'works';
  // The dynamic loader was executed, but could not read the program to run.
  if (/cannot open shared object file: Permission denied/.test(stderr)) return 'the loader: EACCES';
  if (/cannot open shared object file: No such file or directory/.test(stderr)) return 'the loader: ENOENT';
  // Where standard error is what it refuses, its line is lost.
  if (status === 126 && stdout === '' && /^(dialback-launch: Cannot use "[^\n]+\n)?$/.test(stderr))
    return 'not started';
  if (status !== null && status > 128 && stdout === '') return `killed by signal ${status - 128}`;
  return `no answer: status ${status}, "${stdout}", "${stderr}"`;
}
