/** Runs one test file in a process of its own, and kills everything that belongs to it. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pathToFileURL } from 'node:url';
import { type FileEvent, FileReport } from './events.ts';
import type { SharedExecutable } from './executable.ts';
import { Patience } from './patience.ts';
import { inPlace, parseSaid, tagOf, withoutPlace } from './place.ts';

const TOP = join(import.meta.dirname, '../..');
const REPORTER = pathToFileURL(join(import.meta.dirname, 'reporter.ts')).href;
const COMPILE_CACHE = pathToFileURL(join(import.meta.dirname, 'compile-cache.ts')).href;
/** Where tests make folders; outside of a place their names begin with DIALBACK_TEST_TAG. */
const OTHER_FOLDERS = ['/tmp', '/var/lib', '/root'];
/** A place ends at once; if it does not, its keeper is killed too. */
const PLACE_END_MS = 10_000;

export interface Surroundings {
  hasPlace: boolean;
  /** A folder for this file; the run makes and removes it. */
  folder: string;
  uids: string;
  executable?: SharedExecutable | undefined;
}

export class FileRun {
  readonly report: FileReport;
  readonly patience: Patience;
  readonly startedMs = performance.now();
  processorMs: number | undefined;
  readonly done: Promise<void>;
  readonly #child: ChildProcess;
  readonly #surroundings: Surroundings;
  readonly #left: string[] = [];
  #killed: string | undefined;
  #said = 0;

  /** @param limitMs how long it may go without a test that ends, on a quiet machine */
  constructor(file: string, limitMs: number, surroundings: Surroundings) {
    this.report = new FileReport(file);
    this.patience = new Patience(limitMs);
    this.#surroundings = surroundings;
    const { folder, hasPlace, uids } = surroundings;
    const own = join(folder, 'own');
    mkdirSync(own, { recursive: true });
    const reporter = [`--test-reporter=${REPORTER}`, '--test-reporter-destination=stdout'];
    const command = [process.execPath, '--import', COMPILE_CACHE, ...reporter, join(TOP, file)];
    const [program = '', ...args] = hasPlace ? inPlace(folder, TOP, command) : withoutPlace(command);
    this.#child = spawn(program, args, {
      cwd: TOP,
      env: {
        ...process.env,
        // Only a place sets these; this run can be in a place of another one.
        DIALBACK_TEST_EXECUTABLE: undefined,
        DIALBACK_TEST_ROOTS_FOLDER: undefined,
        DIALBACK_TEST_UIDS: uids,
        DIALBACK_TEST_TAG: tagOf(folder),
        DIALBACK_TEST_PLACE: hasPlace ? '1' : '0',
        ...(hasPlace ? {} : { DIALBACK_TEST_USERS: usersOf(folder), TMPDIR: own }),
      },
      stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
      // A session of its own, so that Ctrl-C reaches only the runner.
      detached: true,
    });
    for (const stream of [this.#child.stdout, this.#child.stderr])
      stream?.setEncoding('utf8').on('data', (text: string) => this.report.print(text));
    let rest = '';
    // node:readline would also split at U+2028, which JSON does not escape.
    (this.#child.stdio[3] as Readable).setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) this.#hear(line);
    });
    this.done = new Promise<void>(resolve => {
      this.#child.once('error', error => {
        this.report.print(`${error}\n`);
        resolve();
      });
      this.#child.once('close', () => resolve());
    }).then(() => this.#finish());
  }

  #hear(line: string): void {
    if (line.startsWith('{')) {
      const event = JSON.parse(line) as FileEvent;
      if (event.type === 'end') this.patience.renew();
      this.report.add(event);
      return;
    }
    const said = parseSaid(line, this.#said);
    if (said && 'left' in said) this.#left.push(said.left);
    else this.#said += 1;
    if (said && 'processorMs' in said) this.processorMs = said.processorMs;
  }

  /** Kills it, and whatever it has started. @param why goes into the report */
  kill(why: string): void {
    this.#killed ??= why;
    const { pid } = this.#child;
    if (pid === undefined) return;
    const [keeper, ...others] = descendantsOf(pid);
    for (const each of others) kill(each);
    // In a place it waits until the kernel has killed all that is in there.
    if (!this.#surroundings.hasPlace || others.length === 0) kill(keeper ?? pid);
    else setTimeout(() => kill(pid), PLACE_END_MS).unref();
  }

  #finish(): void {
    const { folder, hasPlace, executable } = this.#surroundings;
    const { exitCode: status, signalCode: signal } = this.#child;
    if (!hasPlace) removeAccounts(usersOf(folder));
    for (const parent of OTHER_FOLDERS)
      for (const path of foldersIn(parent, tagOf(folder))) {
        // A file that has ended by itself should have removed it.
        if (this.#killed === undefined) this.#left.push(path);
        removeFolder(path);
      }
    removeFolder(folder);
    if (executable?.hasChanged()) this.#left.push('a change of the executable that all files of the run use');
    this.report.finish({ status, signal, killed: this.#killed, left: this.#left });
  }
}

const usersOf = (folder: string): string => join(folder, 'users');

/** Folders of tests, as makeFolder() of test/support/world.ts names them. */
function foldersIn(parent: string, tag: string): string[] {
  try {
    return readdirSync(parent)
      .filter(name => ['dialback test-', 'db test-'].some(start => name.startsWith(start + tag)))
      .map(name => join(parent, name));
  } catch {
    return []; // an ordinary user cannot read /root
  }
}

/** Removes a folder, and the mounts below it. */
function removeFolder(path: string): void {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map(line => line.split(' ')[4]?.replaceAll('\\040', ' ') ?? '')
    .filter(mount => mount.startsWith(`${path}/`));
  for (const mount of mounts.reverse()) spawnSync('umount', ['--lazy', mount], { stdio: 'ignore' });
  rmSync(path, { recursive: true, force: true });
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // it has ended in between
  }
}

interface Process {
  pid: number;
  parent: number;
  /** Real. */
  uid: number;
}

/** All that run, by /proc/PID/status (proc_pid_status(5)). */
function processes(): Process[] {
  const found: Process[] = [];
  for (const name of readdirSync('/proc').filter(each => /^\d+$/.test(each))) {
    try {
      const text = readFileSync(`/proc/${name}/status`, 'latin1');
      const number = (key: string): number => Number(new RegExp(`^${key}:\\s+(\\d+)`, 'm').exec(text)?.[1]);
      found.push({ pid: Number(name), parent: number('PPid'), uid: number('Uid') });
    } catch {
      // it has ended in between
    }
  }
  return found;
}

/** The process itself and all that come of it. Orphans are not found. */
function descendantsOf(pid: number): number[] {
  const all = processes();
  const found = [pid];
  for (let at = 0; at < found.length; at += 1)
    found.push(...all.filter(({ parent }) => parent === found[at]).map(each => each.pid));
  return found;
}

const END_MS = 10_000;

/** Kills all processes of a user, and waits until they are gone: until then userdel(8) refuses to remove the account. */
function endProcessesOf(uid: number): void {
  const limit = performance.now() + END_MS;
  for (;;) {
    const left = processes().filter(each => each.uid === uid);
    if (left.length === 0 || performance.now() > limit) return;
    for (const each of left) kill(each.pid);
    spawnSync('sleep', ['0.05'], { stdio: 'ignore' });
  }
}

/** Removes the accounts that a file has made and not removed, with all that still runs as one of them. */
function removeAccounts(list: string): void {
  let logins: string[];
  try {
    logins = readFileSync(list, 'utf8').split('\n').filter(Boolean);
  } catch {
    return; // it has made none
  }
  for (const login of logins) {
    const { status, stdout } = spawnSync('id', ['-u', login], { encoding: 'utf8' });
    if (status !== 0) continue;
    endProcessesOf(Number(stdout));
    spawnSync('userdel', [login], { stdio: 'ignore' });
  }
}
