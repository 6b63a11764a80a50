// Runs the tests. `npm test` runs the suite that each change has to pass, with the checks: lint and format, types, import directions,
// language. `npm run test-long` runs the soaks (*.long.test.ts). `npm test -- FILTER…` runs the files and checks of both whose path
// contains a filter ("gate", "regress/", "lint").
// The output ends with the reasons of skips, the failures and, as the last line, "N passed, N failed[, N skipped]". The exit status
// is 1 if a test failed, if a test was skipped for a reason that is not in EXPECTED_SKIPS, or if no test ran. SIGINT, SIGTERM and
// SIGHUP kill the run and remove its files.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ExpectedSkip, FileReport, seconds, summary, type Totals } from './runner/events.ts';
import { SharedExecutable } from './runner/executable.ts';
import { Patience, stretchOf } from './runner/patience.ts';
import { canMakePlaces, RUN_EXECUTABLE, uidsOf } from './runner/place.ts';
import { isLong, matches, planFiles } from './runner/plan.ts';
import { FileRun } from './runner/run-file.ts';
import { fit, progressLines } from './runner/status.ts';

const TOP = join(import.meta.dirname, '..');

/** A file in which no test ends for this time is killed, and counts as failed (test/runner/patience.ts). */
const OWN_LIMIT_MS = Number(process.env.DIALBACK_TEST_LIMIT_SECONDS) * 1000;
const LIMITS_MS = { short: OWN_LIMIT_MS || 4 * 60_000, long: OWN_LIMIT_MS || 15 * 60_000 };

/** The number of files at a time. Most files wait about three times as long as they compute; soaks wait less. */
const WIDTH = { short: 3 * availableParallelism() + 1, long: 2 * availableParallelism() };

const TICK_MS = 1000;
/** Without a terminal, a status line follows after this time without output. */
const QUIET_MS = 10_000;

const IN_CLEAN_MACHINE = process.env.DIALBACK_CLEAN_MACHINE === '1';
const IS_ROOT = process.getuid?.() === 0;
/** The beginnings of reasons for which a test may be skipped, and whether they hold here. Any other skip is a failure. */
const EXPECTED_SKIPS: ExpectedSkip[] = [
  // Only root can have two real users, restores with owners, and loop devices.
  { reason: 'needs root', isExpected: !IS_ROOT },
  // The kernel refuses some calls only to an ordinary user.
  { reason: 'needs an ordinary user', isExpected: IS_ROOT },
  // install/clean-machine runs the tests again in its machine, without itself and without tests that do not depend on packages.
  { reason: 'inside the clean machine', isExpected: IN_CLEAN_MACHINE },
];
/** The first uid for accounts of tests (test/support/world.ts). The tests in the clean machine use other numbers. */
const FIRST_UID = IN_CLEAN_MACHINE ? 30_000 : 20_000;

/** Checks, which are programs; each counts as one test. */
const CHECKS: { name: string; args: string[] }[] = [
  { name: 'lint', args: ['node_modules/@biomejs/biome/bin/biome', 'check', '--error-on-warnings', '.'] },
  { name: 'types', args: ['node_modules/typescript/bin/tsc'] },
  { name: 'imports', args: ['tools/imports.ts'] },
  { name: 'language', args: ['tools/language.ts'] },
];

// mount and setcap can be in /sbin or in /usr/sbin, and a login's PATH may contain neither.
process.env.PATH += ':/usr/local/sbin:/usr/sbin:/sbin';

// A file starts in 0.1 s less processor time if node does not have to strip the types of all that it imports (module.enableCompileCache()).
process.env.NODE_COMPILE_CACHE ??= join(TOP, 'node_modules/.cache/dialback-modules');

/** A file or a check that runs. */
interface Job {
  report: FileReport;
  patience: Patience;
  startedMs: number;
  processorMs?: number | undefined;
  done: Promise<void>;
  kill(why: string): void;
}

/** Starts a check. Its only test has its name. */
function startCheck({ name, args }: (typeof CHECKS)[number]): Job {
  const report = new FileReport(name);
  const startedMs = performance.now();
  const child: ChildProcess = spawn('setpriv', ['--pdeathsig', 'KILL', '--', process.execPath, ...args], {
    cwd: TOP,
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  let text = '';
  let killed: string | undefined;
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding('utf8').on('data', (more: string) => {
      text += more;
    });
  const done = new Promise<void>(resolve => {
    child.once('error', () => resolve());
    child.once('close', () => resolve());
  }).then(() => {
    const told = { name, nesting: 0, durationMs: performance.now() - startedMs, isSuite: false };
    if (child.exitCode === 0) report.add({ type: 'pass', ...told });
    else report.add({ type: 'fail', ...told, why: killed ?? text });
  });
  const kill = (why: string): void => {
    killed = why;
    if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
  };
  return { report, patience: new Patience(LIMITS_MS.short), startedMs, done, kill };
}

/** Standard output: reports, and on a terminal some status lines below them, which are replaced each second. */
class Screen {
  readonly #hasTerminal = process.stdout.isTTY && process.env.TERM !== 'dumb';
  #statusLines = 0;
  #quietSinceMs = performance.now();

  print(text: string): void {
    process.stdout.write(`${this.#removal()}${text}`);
    this.#quietSinceMs = performance.now();
  }

  showStatus(lines: string[]): void {
    if (this.#hasTerminal) {
      const shown = lines.map(line => fit(line, process.stdout.columns));
      process.stdout.write(`${this.#removal()}${shown.join('\n')}`);
      this.#statusLines = shown.length;
    } else if (performance.now() - this.#quietSinceMs >= QUIET_MS) this.print(`${lines.join(' | ')}\n`);
  }

  /** The escape sequence that removes the status, if the cursor is at the end of its last line. */
  #removal(): string {
    const up = '\x1b[A'.repeat(Math.max(0, this.#statusLines - 1));
    const removal = this.#statusLines > 0 ? `\r${up}\x1b[J` : '';
    this.#statusLines = 0;
    return removal;
  }
}

/** The versions of the programs with which this run measured its times. */
function measuredWith(): string {
  const words = [
    ['rsync', '--version'],
    ['ssh', '-V'],
  ] as const;
  const said = words.map(([program, word]) => {
    const { stdout, stderr } = spawnSync(program, [word], { encoding: 'utf8' });
    return /^(?:rsync +version \S+|OpenSSH_[^ ,]+)/m.exec(`${stdout}${stderr}`)?.[0] ?? `no ${program}`;
  });
  return `${said.join(', ')}, Linux ${release()}, ${availableParallelism()} processors`;
}

/**
 * Makes ext4 spread the folders in this one over the disk (chattr(1), T; other file systems ignore it). Without a journal ext4 does
 * not reuse an inode for minutes after a removal. With all files in one part of the disk, it searched thousands of inodes for each
 * new file: 0.3 ms of CPU time instead of 0.02.
 * @returns the folder
 */
function spreadFolder(folder: string): string {
  spawnSync('chattr', ['+T', folder], { stdio: 'ignore' });
  return folder;
}

/** One run, from its plan to its last line. */
class Run {
  readonly #folder = spreadFolder(mkdtempSync(join(tmpdir(), 'dialback-run-')));
  readonly #screen = new Screen();
  readonly #startedMs = performance.now();
  readonly #hasPlaces = canMakePlaces();
  readonly #totals: Totals = { passed: 0, failures: [], skips: [] };
  /** Each receives the number of the slot that it runs in. */
  readonly #waiting: ((slot: number) => Job)[] = [];
  readonly #executable: SharedExecutable | undefined;
  readonly #running = new Set<Job>();
  readonly #all: number;
  readonly #width: number;
  #done = 0;
  #processorMs = 0;
  #last: string | undefined;
  #stoppedBy: NodeJS.Signals | undefined;

  constructor(checks: typeof CHECKS, files: string[]) {
    this.#width = files.some(isLong) ? WIDTH.long : WIDTH.short;
    if (this.#hasPlaces && files.some(file => file.includes('/regress/')))
      this.#executable = SharedExecutable.make(
        join(TOP, 'dist/dialback'),
        join(this.#folder, RUN_EXECUTABLE),
      );
    // A run beside this one should use other numbers.
    const first = Math.floor(Math.random() * 1000) * this.#width;
    for (const check of checks) this.#waiting.push(() => startCheck(check));
    for (const [at, file] of files.entries())
      this.#waiting.push(
        slot =>
          new FileRun(file, isLong(file) ? LIMITS_MS.long : LIMITS_MS.short, {
            hasPlace: this.#hasPlaces,
            folder: join(this.#folder, String(at)),
            uids: uidsOf(FIRST_UID, this.#hasPlaces ? 0 : first + slot),
            executable: this.#executable,
          }),
      );
    this.#all = this.#waiting.length;
  }

  /** Runs everything. @returns the exit status */
  async whole(): Promise<number> {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
      process.on(signal, () => this.#stop(signal));
    const ticks = setInterval(() => this.#tick(), TICK_MS);
    try {
      await Promise.all(Array.from({ length: this.#width }, (_, slot) => this.#work(slot)));
    } finally {
      clearInterval(ticks);
      rmSync(this.#folder, { recursive: true, force: true });
    }
    return this.#finish();
  }

  async #work(slot: number): Promise<void> {
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      const job = next(slot);
      this.#running.add(job);
      await job.done;
      this.#running.delete(job);
      this.#take(job);
    }
  }

  #take({ report, startedMs, processorMs }: Job): void {
    if (this.#stoppedBy !== undefined) return;
    this.#done += 1;
    this.#last = report.last ?? this.#last;
    this.#totals.passed += report.passed;
    this.#totals.failures.push(...report.failures);
    this.#totals.skips.push(...report.skips);
    this.#processorMs += processorMs ?? 0;
    const took = seconds(performance.now() - startedMs);
    const worked = processorMs === undefined ? '' : `, ${seconds(processorMs)} of processor time`;
    this.#screen.print(`\n${report.file}\n${report.text}  (${took}${worked})\n`);
  }

  #tick(): void {
    const stretch = stretchOf(readFileSync('/proc/loadavg', 'latin1'), availableParallelism());
    for (const job of this.#running) {
      if (!job.patience.spend(TICK_MS, stretch)) continue;
      const limit = `${seconds(job.patience.limitMs)} (more on a busy machine)`;
      job.kill(`no test has ended for ${limit}: it hangs, or left something running`);
    }
    const running = [...this.#running];
    this.#last = running.findLast(job => job.report.last !== undefined)?.report.last ?? this.#last;
    this.#screen.showStatus(
      progressLines({
        nowMs: performance.now(),
        startedMs: this.#startedMs,
        done: this.#done,
        all: this.#all,
        passed: this.#totals.passed + sum(running, ({ report }) => report.passed),
        failed: this.#totals.failures.length + sum(running, ({ report }) => report.failures.length),
        running: running.map(({ report, startedMs }) => ({ name: report.file, sinceMs: startedMs })),
        last: this.#last,
      }),
    );
  }

  #stop(signal: NodeJS.Signals): void {
    if (this.#stoppedBy !== undefined) return;
    this.#stoppedBy = signal;
    this.#screen.print(`\n${signal}: all is killed and removed\n`);
    this.#waiting.length = 0;
    for (const job of this.#running) {
      if (job.report.failures.length > 0) this.#screen.print(`\n${job.report.file}\n${job.report.text}`);
      job.kill(signal);
    }
  }

  #finish(): number {
    const { text, failed } = summary(this.#totals, EXPECTED_SKIPS);
    const { passed, skips } = this.#totals;
    const worked = this.#processorMs > 0 ? `, ${seconds(this.#processorMs)} of processor time` : '';
    if (passed + failed + skips.length === 0 && this.#stoppedBy === undefined)
      this.#screen.print('\nnothing ran: no check and no test file matches\n');
    const took = `${seconds(performance.now() - this.#startedMs)}${worked}`;
    this.#screen.print(`\n${took} (${measuredWith()})\n`);
    if (this.#stoppedBy !== undefined) {
      this.#screen.print(`stopped by ${this.#stoppedBy} after ${this.#done} of ${this.#all} files\n${text}`);
      return this.#stoppedBy === 'SIGINT' ? 130 : 143;
    }
    this.#screen.print(text);
    return failed > 0 || passed === 0 ? 1 : 0;
  }
}

function sum<T>(all: T[], of: (each: T) => number): number {
  return all.reduce((total, each) => total + of(each), 0);
}

const words = process.argv.slice(2);
const suite = words.includes('--long') ? 'test-long' : 'test';
const filters = words.filter(word => word !== '--long');
const hasChecks = suite === 'test' || filters.length > 0;
// The tests of this runner name files that are not *.test.ts, by their whole path.
const others = filters.filter(each => !each.endsWith('.test.ts') && existsSync(join(TOP, each)));
const files = globSync('test/**/*.test.ts', { cwd: TOP });
process.exitCode = await new Run(
  CHECKS.filter(({ name }) => hasChecks && matches(name, filters)),
  [...planFiles(files, filters, suite), ...others.filter(each => each.endsWith('.ts'))],
).whole();
