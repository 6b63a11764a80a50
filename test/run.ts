// Runs the tests: `npm test` the suite that each change has to pass, `npm run test-long` the soaks (*.long.test.ts), and
// `npm test -- FILTER…` what has a part of its name in it, of both ("gate", "regress/", "lint"). The checks (lint and format,
// types, import directions, language) belong to the first.
// Ends with the reasons of skips, the failures and, as the last line, "N passed, N failed[, N skipped]". Exit 1 if anything
// failed, if a test was skipped for a reason that is not in EXPECTED_SKIPS, or if nothing ran at all. SIGINT, SIGTERM and
// SIGHUP kill all of it and remove what it has made.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ExpectedSkip, FileReport, seconds, summary, type Totals } from './runner/events.ts';
import { Patience, stretchOf } from './runner/patience.ts';
import { canMakePlaces, uidsOf } from './runner/place.ts';
import { isLong, matches, planFiles } from './runner/plan.ts';
import { FileRun } from './runner/run-file.ts';
import { fit, progressLines } from './runner/status.ts';

const TOP = join(import.meta.dirname, '..');

/** A file of which no test ends for that long is killed, and has failed (test/runner/patience.ts). */
const OWN_LIMIT_MS = Number(process.env.DIALBACK_TEST_LIMIT_SECONDS) * 1000;
const LIMITS_MS = { short: OWN_LIMIT_MS || 4 * 60_000, long: OWN_LIMIT_MS || 15 * 60_000 };

/** So many files at a time: most wait about twice as long as they work. Soaks work all the time. */
const WIDTH = { short: 3 * availableParallelism(), long: availableParallelism() };

const TICK_MS = 1000;
/** Where there is no terminal, a line says what runs when nothing was printed for that long. */
const QUIET_MS = 10_000;

const IN_CLEAN_MACHINE = process.env.DIALBACK_CLEAN_MACHINE === '1';
const IS_ROOT = process.getuid?.() === 0;
/** The reasons (their beginnings) for which a test may be skipped, and whether they hold: any other skip is a failure. */
const EXPECTED_SKIPS: ExpectedSkip[] = [
  // Two real users, restores with owners, loop devices: an ordinary user's run has none of them.
  { reason: 'needs root', isExpected: !IS_ROOT },
  // What the kernel refuses to an ordinary user, it does not refuse to root.
  { reason: 'needs an ordinary user', isExpected: IS_ROOT },
  // install/clean-machine runs the tests once more, in the machine that it makes: not itself, and not what no package decides.
  { reason: 'inside the clean machine', isExpected: IN_CLEAN_MACHINE },
];
/** Accounts of tests have numbers from there; those of the clean machine's tests others (test/support/world.ts). */
const FIRST_UID = IN_CLEAN_MACHINE ? 30_000 : 20_000;

/** Checks that are programs of their own; each counts as one test. */
const CHECKS: { name: string; args: string[] }[] = [
  { name: 'lint', args: ['node_modules/@biomejs/biome/bin/biome', 'check', '--error-on-warnings', '.'] },
  { name: 'types', args: ['node_modules/typescript/bin/tsc'] },
  { name: 'imports', args: ['tools/imports.ts'] },
  { name: 'language', args: ['tools/language.ts'] },
];

// Where mount and setcap are depends on whether /sbin and /usr/sbin are one folder, and a login's PATH may lead to neither.
process.env.PATH += ':/usr/local/sbin:/usr/sbin:/sbin';

/** What runs now: a file or a check. */
interface Job {
  report: FileReport;
  patience: Patience;
  startedMs: number;
  processorMs?: number | undefined;
  done: Promise<void>;
  kill(why: string): void;
}

/** A check as a job: its one test has its name. */
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

/** Standard output: reports, and on a terminal some lines below them that are replaced each second. */
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

  /** What takes the status off the terminal; the cursor is at the end of its last line. */
  #removal(): string {
    const up = '\x1b[A'.repeat(Math.max(0, this.#statusLines - 1));
    const removal = this.#statusLines > 0 ? `\r${up}\x1b[J` : '';
    this.#statusLines = 0;
    return removal;
  }
}

/** What figures of this run were measured with, as the programs say it. */
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
 * Has ext4 put each folder in this one into another part of the disk (chattr(1), T; elsewhere it does nothing). Without a journal
 * ext4 does not use an inode again for minutes after a removal: with all files in one part, it looked through thousands of them
 * for each new one, 0.3 ms of processor time in place of 0.02.
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
  readonly #waiting: (() => Job)[] = [];
  readonly #running = new Set<Job>();
  readonly #all: number;
  readonly #width: number;
  #done = 0;
  #processorMs = 0;
  #last: string | undefined;
  #stoppedBy: NodeJS.Signals | undefined;

  constructor(checks: typeof CHECKS, files: string[]) {
    // Another run beside this one should have other numbers.
    const first = Math.floor(Math.random() * 1000);
    for (const check of checks) this.#waiting.push(() => startCheck(check));
    for (const [at, file] of files.entries())
      this.#waiting.push(
        () =>
          new FileRun(file, isLong(file) ? LIMITS_MS.long : LIMITS_MS.short, {
            hasPlace: this.#hasPlaces,
            folder: join(this.#folder, String(at)),
            uids: uidsOf(FIRST_UID, first + at),
          }),
      );
    this.#all = this.#waiting.length;
    this.#width = files.some(isLong) ? WIDTH.long : WIDTH.short;
  }

  /** Runs all of it. @returns the exit status */
  async whole(): Promise<number> {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
      process.on(signal, () => this.#stop(signal));
    const ticks = setInterval(() => this.#tick(), TICK_MS);
    try {
      await Promise.all(Array.from({ length: this.#width }, () => this.#work()));
    } finally {
      clearInterval(ticks);
      rmSync(this.#folder, { recursive: true, force: true });
    }
    return this.#finish();
  }

  async #work(): Promise<void> {
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      const job = next();
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
// Also what is no *.test.ts, by its whole path: the tests of this runner have files for it.
const others = filters.filter(each => !each.endsWith('.test.ts') && existsSync(join(TOP, each)));
const files = globSync('test/**/*.test.ts', { cwd: TOP });
process.exitCode = await new Run(
  CHECKS.filter(({ name }) => hasChecks && matches(name, filters)),
  [...planFiles(files, filters, suite), ...others.filter(each => each.endsWith('.ts'))],
).whole();
