/**
 * Tests dialback on emulated machines, as root:
 *
 *   node_modules/.bin/node test/machines/run.ts [OPTION…] PART…
 *
 * PART: kernels (or one of bullseye, bookworm, trixie), timer, install, package, recover, recover-packages, arm64, ceph, gluster, cuts. Options: --results FILE writes the table of docs/versions.md;
 * --cuts 'FS:COPY:COMMIT…' says how many cuts (power-cuts.ts), --executable FILE which dialback they are for, --launcher FILE
 * that its rsync runs in jails, and --keep that a machine with a failed check or a difference stays. The last line is "N passed, N failed".
 */
import { parseArgs } from 'node:util';
import { CEPH, GLUSTER, storeOnCluster } from './cluster.ts';
import { changeInstallation } from './install.ts';
import { ARM64, backUpOnKernel, KERNELS } from './kernels.ts';
import { installPackage } from './package.ts';
import { cutPower, parsePlan } from './power-cuts.ts';
import { recoverMachine } from './recover.ts';
import { Report, seconds } from './report.ts';
import { type Row, writeResults } from './results.ts';
import { runByTimer } from './timer.ts';

const { values, positionals: parts } = parseArgs({
  options: {
    cuts: { type: 'string', default: 'ext4:5:10 xfs:2:3 btrfs:2:3' },
    executable: { type: 'string', default: 'dist/dialback' },
    launcher: { type: 'string' },
    keep: { type: 'boolean', default: false },
    results: { type: 'string' },
  },
  allowPositionals: true,
});

const report = new Report();
const { keep } = values;
const rows: Row[] = [];

const plans = values.cuts
  .split(/\s+/)
  .filter(each => each !== '')
  .map(parsePlan);

const PARTS: Record<string, (() => Promise<Row>)[]> = {
  kernels: KERNELS.map(kernel => () => backUpOnKernel(report, kernel, keep)),
  ...Object.fromEntries(KERNELS.map(kernel => [kernel.suite, [() => backUpOnKernel(report, kernel, keep)]])),
  timer: [() => runByTimer(report, keep)],
  install: [() => changeInstallation(report, keep)],
  package: [() => installPackage(report, keep)],
  recover: [() => recoverMachine(report, keep)],
  'recover-packages': [() => recoverMachine(report, keep, true)],
  arm64: [() => backUpOnKernel(report, ARM64, keep)],
  ceph: [() => storeOnCluster(report, CEPH, keep)],
  gluster: [() => storeOnCluster(report, GLUSTER, keep)],
  cuts: plans.map(plan => () => cutPower(report, { plan, ...values })),
};

const unknown = parts.filter(part => !Object.hasOwn(PARTS, part));
if (unknown.length > 0 || parts.length === 0) {
  console.error(`usage: run.ts [OPTION…] PART…; PART is one of ${Object.keys(PARTS).join(', ')}`);
  process.exit(2);
}
for (const part of parts) {
  const startedMs = performance.now();
  for (const run of PARTS[part] ?? []) {
    try {
      rows.push(await run());
    } catch (error) {
      report.count(`${part}: ended early`, [error instanceof Error ? error.message : String(error)]);
    }
  }
  report.say(`${part}: ${seconds(performance.now() - startedMs)}`);
}
if (values.results !== undefined) writeResults(values.results, rows, new Date());
process.exitCode = report.end();
