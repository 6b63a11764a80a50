// The versions suite, `make test-versions`: dialback with the rsync, OpenSSH, coreutils and glibc of Debian's and Ubuntu's suites,
// on one machine and between two, and `make try` on fresh machines. docs/versions.md has what runs, and must agree with it.
//
//     node_modules/.bin/node test/versions/run.ts [--write] [--width N] [--transcripts FOLDER] [--make-test] [FILTER…]
//
// A FILTER is a part of a printed name ("jammy", "trixie -> bookworm", "fresh"); only matching tests run.
// --write writes docs/versions.md instead of comparing it, after an interruption too. --width is the number of simultaneous tests.
// --transcripts keeps the output of fresh machines. --make-test runs only the fresh machines, with `make test` after `make try`: 15
// minutes each.
// The last line is "N passed, N failed[, N skipped]". A test is skipped if the mirror does not have its distribution.

import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { nameOf, runCombination, type Way } from './combination.ts';
import { type Debs, packDebs, runDeb } from './deb.ts';
import { checkDoctor } from './doctor.ts';
import { FRESH, runFresh, transcriptPath } from './fresh.ts';
import { runHostileHost } from './hostile-run.ts';
import { runPackages } from './packages.ts';
import { DEB_SUITES, listPairs, ONE_MACHINE, PACKAGES_SUITES, QUICKSTARTS, TWO_MACHINES } from './plan.ts';
import { runQuickstart } from './quickstart.ts';
import { RELEASE_PAIRS, RELEASE_TESTS, Releases, whyNoReleases } from './releases.ts';
import { endBuilds, endMachines, makeRoot, type Root, Unavailable } from './roots.ts';
import { connect, makePackage, type Package, Station } from './station.ts';
import { findSuite, SUITES } from './suites.ts';
import {
  cellKey,
  compareTable,
  formatTable,
  keepDocumented,
  readPart,
  replacePart,
  type Table,
} from './tables.ts';

const TOP = join(import.meta.dirname, '../..');
const DOCUMENT = join(TOP, 'docs/versions.md');
const WORKS = 'works';
const STILL_MS = 30_000;

const { values: options, positionals: filters } = parseArgs({
  allowPositionals: true,
  options: {
    write: { type: 'boolean', default: false },
    width: { type: 'string' },
    transcripts: { type: 'string' },
    'make-test': { type: 'boolean', default: false },
  },
});
/** More than two would wait for the processor on the machines that this runs on. */
const WIDTH = options.width === undefined ? Math.min(2, availableParallelism()) : Number(options.width);

/** One test. */
interface Case {
  name: string;
  /** The suites whose roots it needs. */
  suites: string[];
  /** Whether it works on those suites' machines; otherwise it makes its own. */
  usesStations: boolean;
  /** Whether these machines may then do nothing else: it changes their rsync. */
  isAlone?: boolean;
  run: () => Promise<void>;
  cell: { table: Table; row: string[]; column: string };
}

const suites = SUITES.filter(each => each.isTested);
const oneMachine: Table = {
  name: 'one machine',
  labels: ['client and host'],
  rows: suites.map(each => [each.name]),
  columns: ['`dialback try`', ...ONE_MACHINE.map(nameOf), '`dialback doctor`', 'a hostile host'],
  cells: new Map(),
};
const twoMachines: Table = {
  name: 'two machines',
  labels: ['client', 'host'],
  rows: listPairs(),
  columns: TWO_MACHINES.map(nameOf),
  cells: new Map(),
};
const freshMachines: Table = {
  name: 'fresh machines',
  labels: ['machine'],
  rows: FRESH.map(each => [each.title]),
  columns: ['`make try`', '`make test`'],
  cells: new Map(),
};
const withoutPackages: Table = {
  name: 'rebuilt from packages',
  labels: ['machine'],
  rows: PACKAGES_SUITES.map(each => [findSuite(each).title]),
  columns: ['`dialback packages`'],
  cells: new Map(),
};
const fromDeb: Table = {
  name: 'from the package',
  labels: ['machine'],
  rows: DEB_SUITES.map(each => [findSuite(each).title]),
  columns: ['`apt install`'],
  cells: new Map(),
};
const olderReleases: Table = {
  name: 'older releases',
  labels: ['client', 'host'],
  rows: RELEASE_PAIRS,
  columns: Object.keys(RELEASE_TESTS),
  cells: new Map(),
};
const quickstarts: Table = {
  name: 'first five minutes',
  labels: ['client', 'host'],
  rows: QUICKSTARTS.map(each => each.map(suite => findSuite(suite).title)),
  columns: ['quickstart.md'],
  cells: new Map(),
};
const tables = [oneMachine, twoMachines, freshMachines, withoutPackages, fromDeb, quickstarts, olderReleases];

const roots = new Map<string, Root>();
const unavailable = new Map<string, string>();
const stations = new Map<string, Station>();
const doctorSays = new Map<string, string>();
const totals = { passed: 0, failed: [] as string[], skipped: [] as string[] };
const startedMs = performance.now();
let isInterrupted = false;
/** The package that all machines share, made when it is first needed. */
let installed: (() => Package) | undefined;
/** Two Debian packages, for the tests of them. */
let packaged: (() => Promise<Debs>) | undefined;
/** The older releases, built when they are first needed. */
let releases: Releases | undefined;

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

function seconds(sinceMs: number): string {
  return `${((performance.now() - sinceMs) / 1000).toFixed(1)} s`;
}

function isWanted(name: string): boolean {
  return filters.length === 0 || filters.some(filter => name.includes(filter));
}

function station(name: string): Station {
  const found = stations.get(name);
  if (!found) throw new Error(`there is no machine of ${name}`);
  return found;
}

/** One machine, which is client and host. */
function listOneMachine(suite: string): Case[] {
  const make = (column: string, run: Case['run']): Case => ({
    name: `${suite}: ${column.replaceAll('`', '')}`,
    suites: [suite],
    usesStations: true,
    run,
    cell: { table: oneMachine, row: [suite], column },
  });
  const ways = ONE_MACHINE.map(way => ({
    ...make(nameOf(way), () => combine(suite, suite, way)),
    isAlone: way.right === 'inherited',
  }));
  const tried = make('`dialback try`', async () => {
    const output = await station(suite).say('root', 'dialback try 2>&1');
    assert.match(output, /^All of it is removed again: /m);
  });
  // Last: it then finds a client and a host that work.
  const doctor = make('`dialback doctor`', async () => {
    doctorSays.set(suite, await checkDoctor(station(suite)));
  });
  const hostile = {
    ...make('a hostile host', () => runHostileHost(suite)),
    usesStations: false,
  };
  return [tried, ...ways, doctor, hostile];
}

/** The Debian package, on machines of their own. */
function listDebs(): Case[] {
  return DEB_SUITES.map((suite): Case => {
    const { title } = findSuite(suite);
    return {
      name: `deb: ${title}`,
      suites: [suite],
      usesStations: false,
      run: async () => {
        const root = roots.get(suite);
        assert.ok(root && packaged);
        await runDeb(root, await packaged());
      },
      cell: { table: fromDeb, row: [title], column: '`apt install`' },
    };
  });
}

/** Older releases with this version. They need no suite. */
function listReleaseCases(): Case[] {
  return RELEASE_PAIRS.flatMap(([client, host]) =>
    Object.entries(RELEASE_TESTS).map(
      ([column, test]): Case => ({
        name: `release ${client} -> ${host}: ${column.replaceAll('`', '')}`,
        suites: [],
        usesStations: false,
        run: async () => {
          const built = releases;
          assert.ok(built);
          await test(version => built.executable(version), client, host);
        },
        cell: { table: olderReleases, row: [client, host], column },
      }),
    ),
  );
}

/** docs/quickstart.md, on machines of their own. The first pair's output is the one in the document. */
function listQuickstarts(): Case[] {
  return QUICKSTARTS.map(([client, host], index): Case => {
    const titles = [client, host].map(each => findSuite(each).title);
    return {
      name: `quickstart: ${titles.join(' -> ')}`,
      suites: [client, host],
      usesStations: false,
      run: async () => {
        const [one, other] = [roots.get(client), roots.get(host)];
        assert.ok(one && other && packaged);
        await runQuickstart(one, other, await packaged(), { write: options.write, isShown: index === 0 });
      },
      cell: { table: quickstarts, row: titles, column: 'quickstart.md' },
    };
  });
}

function listCases(): Case[] {
  const what = options['make-test'] ? 'test' : 'try';
  const fresh = FRESH.map(
    (each): Case => ({
      name: `fresh: ${each.title}`,
      suites: [each.suite],
      usesStations: false,
      run: async () => {
        const root = roots.get(each.suite);
        assert.ok(root);
        const output = await runFresh(each, root, what);
        if (options.transcripts === undefined) return;
        mkdirSync(options.transcripts, { recursive: true });
        writeFileSync(transcriptPath(options.transcripts, each), output);
      },
      cell: { table: freshMachines, row: [each.title], column: `\`make ${what}\`` },
    }),
  );
  if (what === 'test') return fresh;
  const pairs = listPairs().flatMap(([client, host]) =>
    TWO_MACHINES.map(
      (way): Case => ({
        name: `${client} -> ${host}: ${nameOf(way)}`,
        suites: [client, host],
        usesStations: true,
        run: () => combine(client, host, way),
        cell: { table: twoMachines, row: [client, host], column: nameOf(way) },
      }),
    ),
  );
  const rebuilt = PACKAGES_SUITES.map((suite): Case => {
    const { title } = findSuite(suite);
    return {
      name: `packages: ${title}`,
      suites: [suite],
      usesStations: false,
      run: async () => {
        const root = roots.get(suite);
        assert.ok(root && installed);
        say(`  ${title}: ${await runPackages(root, installed())}`);
      },
      cell: { table: withoutPackages, row: [title], column: '`dialback packages`' },
    };
  });
  return [
    ...fresh,
    ...rebuilt,
    ...listDebs(),
    ...listReleaseCases(),
    ...listQuickstarts(),
    ...suites.flatMap(({ name }) => listOneMachine(name)),
    ...pairs,
  ];
}

async function combine(clientName: string, hostName: string, way: Way): Promise<void> {
  const [client, host] = [station(clientName), station(hostName)];
  await using cable = connect(client, host);
  if (way.right !== 'inherited') return await runCombination(client, host, way, cable);
  await client.say('root', 'setcap cap_dac_read_search=ei /usr/bin/rsync');
  try {
    await runCombination(client, host, way, cable);
  } finally {
    await client.say('root', 'setcap -r /usr/bin/rsync');
  }
}

/** Prints now and then that a long case still runs. @returns a function that stops it */
function sayThatItRuns(name: string, begunMs: number): () => void {
  const timer = setInterval(() => say(`  ${name}: runs for ${seconds(begunMs)}`), STILL_MS);
  return () => clearInterval(timer);
}

/** Runs tasks side by side, WIDTH at a time; `may` says whether one can begin now. */
async function runSideBySide<T>(
  tasks: T[],
  run: (task: T) => Promise<void>,
  may: (task: T) => boolean = () => true,
): Promise<void> {
  const queue = [...tasks];
  const running = new Set<Promise<void>>();
  while (queue.length > 0 && !isInterrupted) {
    const at = running.size < WIDTH ? queue.findIndex(may) : -1;
    const [task] = at < 0 ? [] : queue.splice(at, 1);
    if (task === undefined) {
      await Promise.race(running);
      continue;
    }
    const one: Promise<void> = run(task).finally(() => running.delete(one));
    running.add(one);
  }
  await Promise.all(running);
}

async function buildRoots(names: string[]): Promise<void> {
  await runSideBySide(names, async name => {
    const begunMs = performance.now();
    try {
      const root = await makeRoot(findSuite(name), say);
      roots.set(name, root);
      const { rsync, 'openssh-server': ssh, libc6 } = root.versions;
      say(`  ${name}: rsync ${rsync}, OpenSSH ${ssh}, glibc ${libc6} (${seconds(begunMs)})`);
    } catch (error) {
      if (!(error instanceof Unavailable)) throw error;
      unavailable.set(name, error.message);
      say(`  ${name}: ${error.message}`);
    }
  });
}

async function runCase(one: Case): Promise<void> {
  const begunMs = performance.now();
  const { table, row, column } = one.cell;
  const end = (outcome: string): void => {
    table.cells.set(cellKey(row, column), outcome);
  };
  try {
    await one.run().finally(sayThatItRuns(one.name, begunMs));
    end(WORKS);
    totals.passed += 1;
    say(`✔ ${one.name} (${seconds(begunMs)})`);
  } catch (error) {
    if (isInterrupted) return;
    end('fails');
    totals.failed.push(one.name);
    say(`✖ ${one.name} (${seconds(begunMs)})`);
    say(`${error instanceof Error ? error.message : String(error)}\n`.replaceAll(/^(?=.)/gm, '    '));
  }
}

async function runCases(cases: Case[]): Promise<void> {
  const running = new Set<Case>();
  const mayBegin = (one: Case): boolean =>
    !one.usesStations ||
    [...running].every(
      each =>
        !each.usesStations ||
        !(one.isAlone || each.isAlone) ||
        !each.suites.some(suite => one.suites.includes(suite)),
    );
  await runSideBySide(
    cases,
    async one => {
      running.add(one);
      await runCase(one);
      running.delete(one);
    },
    mayBegin,
  );
}

function describeVersions(): string {
  const rows = [...roots.values()].map(({ suite, versions }) => [
    suite.name,
    suite.title,
    versions.rsync,
    versions['openssh-server'],
    versions.libc6,
    versions.coreutils,
    doctorSays.get(suite.name) ?? '',
  ]);
  const header = ['suite', 'distribution', 'rsync', 'OpenSSH', 'glibc', 'coreutils', '`doctor` on the two'];
  return [
    `Run on ${new Date().toISOString().slice(0, 10)}, Linux ${release()}.`,
    '',
    ...[header, header.map(() => '---'), ...rows].map(cells => `| ${cells.join(' | ')} |`),
  ].join('\n');
}

function document(isWhole: boolean): void {
  const text = readFileSync(DOCUMENT, 'utf8');
  if (options.write) {
    let written = text;
    for (const table of tables) {
      const kept = isWhole ? table : keepDocumented(readPart(text, table.name), table);
      written = replacePart(written, table.name, formatTable(kept));
    }
    if (isWhole) written = replacePart(written, 'versions', describeVersions());
    writeFileSync(DOCUMENT, written);
    return;
  }
  const differences = tables.flatMap(table =>
    compareTable(readPart(text, table.name), table).map(each => `  ${table.name}: ${each}`),
  );
  if (differences.length === 0) {
    totals.passed += 1;
    say('✔ docs/versions.md says what ran');
    return;
  }
  totals.failed.push('docs/versions.md');
  say(`✖ docs/versions.md does not say what ran:\n${differences.join('\n')}\n  next: make versions-doc`);
}

async function main(): Promise<void> {
  const cases = listCases().filter(each => isWanted(each.name));
  const needed = [...new Set(cases.flatMap(each => each.suites))];
  const folder = mkdtempSync(join(tmpdir(), 'dbv-'));
  let made: Package | undefined;
  installed = () => {
    made ??= makePackage(join(folder, 'package'));
    return made;
  };
  let debs: Promise<Debs> | undefined;
  packaged = () => {
    debs ??= packDebs(join(folder, 'debs'));
    return debs;
  };
  try {
    say('root file systems');
    await buildRoots(needed);
    releases = new Releases(join(folder, 'releases'));
    const noReleases = cases.some(each => each.cell.table === olderReleases) ? whyNoReleases() : undefined;
    const possible = cases.filter(({ name, suites: its, cell }) => {
      const reason =
        cell.table === olderReleases
          ? noReleases
          : its.map(each => unavailable.get(each)).find(each => each !== undefined);
      if (reason !== undefined) totals.skipped.push(`${name}: ${reason}`);
      return reason === undefined;
    });
    const used = new Set(possible.filter(each => each.usesStations).flatMap(each => each.suites));
    if (used.size > 0 && !isInterrupted) {
      say('machines');
      const shared = installed();
      await runSideBySide([...used], async name => {
        const root = roots.get(name);
        if (root) stations.set(name, await Station.make(root, shared));
      });
    }
    await runCases(possible);
  } finally {
    await Promise.all([...stations.values()].map(each => each.end()));
    rmSync(folder, { recursive: true, force: true });
  }
  if (!isInterrupted || options.write)
    document(filters.length === 0 && unavailable.size === 0 && !isInterrupted);
}

// A case fails when its machine has ended. An interrupted build removes its files.
function interrupt(): void {
  if (isInterrupted) return;
  isInterrupted = true;
  say('interrupted');
  void endMachines();
  void endBuilds();
}

process.on('SIGINT', interrupt).on('SIGTERM', interrupt);
let fault: unknown;
try {
  await main();
} catch (error) {
  fault = error;
}
if (fault !== undefined && !isInterrupted) {
  totals.failed.push('the suite itself');
  say(`✖ ${fault instanceof Error ? fault.stack : String(fault)}`);
}
for (const [title, lines] of [
  ['skipped', totals.skipped],
  ['failed', totals.failed],
] as const)
  if (lines.length > 0) say(`\n${title}:\n${lines.map(each => `  ${each}`).join('\n')}`);
if (totals.passed + totals.failed.length === 0 && !isInterrupted) say('\nnothing ran: no test matches');
say(`\n${seconds(startedMs)}`);
const skipped = totals.skipped.length > 0 ? `, ${totals.skipped.length} skipped` : '';
say(`${totals.passed} passed, ${totals.failed.length} failed${skipped}`);
// exit() and not only exitCode: processes of a machine that are still awaited have exited, or will.
process.exit(isInterrupted ? 130 : totals.failed.length > 0 || totals.passed === 0 ? 1 : 0);
