// The whole check, run as `npm test [-- FILTER…]`: lint and format, types, import directions, then the tests.
// A FILTER is a part of a name ("gate", "regress/", "lint"); only what matches one of them runs.
// Ends with the list of skips and, as the last line, "N passed, N failed[, N skipped]". Exit 1 if anything
// failed, if a test was skipped for a reason that is not in EXPECTED_SKIPS, or if nothing ran at all.

import { spawnSync } from 'node:child_process';
import { globSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { run } from 'node:test';
import { inspect } from 'node:util';

const TOP = join(import.meta.dirname, '..');

/** A file that has not ended by then is ended, and failed: it hangs, or leaves something running. */
const UNIT_DEADLINE_MS = 2 * 60_000;
const REGRESS_DEADLINE_MS = 15 * 60_000;

/**
 * So many scenarios at a time: each has its users, its folder and its ports to itself, waits as often as it works, and none
 * fails for being slow. More than two would be waiting for the processor on the machines that this runs on.
 */
const REGRESS_WIDTH = Math.min(2, availableParallelism());
/** By what they take, as the reports say. */
const LONGEST = ['15', '10', '25', '26', '29', '19', '18'];

/** The reasons (their beginnings) for which a test may be skipped, and when: any other skip is a failure. */
const EXPECTED_SKIPS: { reason: string; expected: () => boolean }[] = [
  // Two real users, restores with owners, loop devices: an ordinary user's run has none of them.
  { reason: 'needs root', expected: () => process.getuid?.() !== 0 },
  // What the kernel refuses to an ordinary user, it does not refuse to root.
  { reason: 'needs an ordinary user', expected: () => process.getuid?.() === 0 },
  // 15-clean-machine runs the tests once more, in the machine that it makes: not itself, and not what no package decides.
  { reason: 'inside the clean machine', expected: () => process.env.DIALBACK_CLEAN_MACHINE === '1' },
];

/** Checks that are programs of their own; each counts as one test. */
const CHECKS: { name: string; args: string[] }[] = [
  { name: 'lint', args: ['node_modules/@biomejs/biome/bin/biome', 'check', '--error-on-warnings', '.'] },
  { name: 'types', args: ['node_modules/typescript/bin/tsc'] },
  { name: 'imports', args: ['tools/imports.ts'] },
];

type Totals = { passed: number; failures: string[]; skips: string[]; unexpected: string[] };
const totals: Totals = { passed: 0, failures: [], skips: [], unexpected: [] };

// Where mount and setcap are depends on whether /sbin and /usr/sbin are one folder, and a login's PATH may lead to neither.
process.env.PATH += ':/usr/local/sbin:/usr/sbin:/sbin';

const filters = process.argv.slice(2);
function isWanted(name: string): boolean {
  return filters.length === 0 || filters.some(filter => name.includes(filter));
}

function runCheck({ name, args }: (typeof CHECKS)[number]): void {
  const startedMs = performance.now();
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: TOP, encoding: 'utf8' });
  const failed = status !== 0;
  process.stdout.write(`${failed ? '✖' : '✔'} ${name} (${seconds(performance.now() - startedMs)})\n`);
  if (failed) process.stdout.write(`${stdout}${stderr}`);
  if (failed) totals.failures.push(name);
  else totals.passed += 1;
}

/**
 * Runs one test file in a process of its own.
 * @param print takes the report piece by piece, in order
 */
async function runFile(file: string, deadlineMs: number, print: (text: string) => void): Promise<void> {
  print(`\n${file}\n`);
  const events = run({ cwd: TOP, files: [join(TOP, file)], signal: AbortSignal.timeout(deadlineMs) });
  for await (const event of events) {
    if (event.type === 'test:stdout' || event.type === 'test:stderr') print(event.data.message);
    if (event.type === 'test:diagnostic' && event.data.file !== undefined)
      print(`  ℹ ${event.data.message}\n`);
    if (event.type !== 'test:pass' && event.type !== 'test:fail') continue;

    const { name, nesting, skip, todo, details } = event.data;
    const isFile = name === join(TOP, file); // so node reports a file without tests, or one that ended badly
    const place = isFile ? file : `${file}: ${name}`;
    const indent = '  '.repeat(nesting + 1);

    if (skip !== undefined || todo !== undefined) {
      const reason = [skip, todo].find(it => typeof it === 'string') ?? 'no reason given';
      print(`${indent}﹣ ${name} (skipped: ${reason})\n`);
      noteSkip(place, reason);
    } else if (event.type === 'test:fail') {
      const { error, duration_ms } = event.data.details;
      print(`${indent}✖ ${isFile ? 'the file itself' : name} (${seconds(duration_ms)})\n`);
      // Where only something inside failed, that has its own line.
      const failure = 'failureType' in error ? error.failureType : undefined;
      if (failure === 'subtestsFailed') continue;
      const hung = `not ended after ${seconds(deadlineMs)}: it hangs, or left something running`;
      print(
        `${failure === 'testAborted' ? hung : inspect(error.cause ?? error)}\n`.replaceAll(
          /^(?=.)/gm,
          `${indent}  `,
        ),
      );
      totals.failures.push(place);
    } else if (isFile) {
      print(`${indent}✖ holds no test\n`);
      totals.failures.push(`${file}: holds no test`);
    } else if (details.type === 'suite') {
      print(`${indent}${name}\n`);
    } else {
      print(`${indent}✔ ${name} (${seconds(details.duration_ms)})\n`);
      totals.passed += 1;
    }
  }
}

function noteSkip(place: string, reason: string): void {
  const known = EXPECTED_SKIPS.find(skip => reason.startsWith(skip.reason));
  if (known?.expected()) totals.skips.push(`${place}: ${reason}`);
  else totals.unexpected.push(`${place}: ${reason}`);
}

/** Runs files side by side; each one's report is held back until it is whole, so that they do not mix. */
async function runSideBySide(files: string[], deadlineMs: number, width: number): Promise<void> {
  const queue = [...files];
  const worker = async () => {
    for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
      const report: string[] = [];
      const startedMs = performance.now();
      await runFile(file, deadlineMs, text => report.push(text));
      process.stdout.write(`${report.join('')}  (${seconds(performance.now() - startedMs)})\n`);
    }
  };
  await Promise.all(Array.from({ length: width }, worker));
}

/** So that none of the long ones is begun last, and runs alone. */
function longestFirst(files: string[]): string[] {
  const rank = (file: string): number => {
    const at = LONGEST.findIndex(each => file.includes(`/${each}-`));
    return at < 0 ? LONGEST.length : at;
  };
  return files.toSorted((one, other) => rank(one) - rank(other));
}

function seconds(ms: number): string {
  return ms < 1000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

const startedMs = performance.now();
for (const check of CHECKS) if (isWanted(check.name)) runCheck(check);
const files = globSync('test/**/*.test.ts', { cwd: TOP }).sort().filter(isWanted);
const isRegress = (file: string) => file.startsWith('test/regress/');
await runSideBySide(
  files.filter(file => !isRegress(file)),
  UNIT_DEADLINE_MS,
  availableParallelism(),
);
await runSideBySide(longestFirst(files.filter(isRegress)), REGRESS_DEADLINE_MS, REGRESS_WIDTH);

const { passed, failures, skips, unexpected } = totals;
const failed = failures.length + unexpected.length;
const list = (title: string, lines: string[]) =>
  lines.length > 0 ? `\n${title}:\n${lines.map(line => `  ${line}\n`).join('')}` : '';
process.stdout.write(
  `${list('skipped', skips)}${list('skipped, which was NOT expected', unexpected)}${list('failed', failures)}`,
);
if (passed + failed === 0) process.stdout.write('\nnothing ran: no check and no test file matches\n');
process.stdout.write(`\n${seconds(performance.now() - startedMs)}\n`);
process.stdout.write(
  `${passed} passed, ${failed} failed${skips.length > 0 ? `, ${skips.length} skipped` : ''}\n`,
);
process.exitCode = failed > 0 || passed === 0 ? 1 : 0;
