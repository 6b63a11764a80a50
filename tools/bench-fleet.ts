/**
 * A host with 1,000, 3,000 and 10,000 clients after a year of daily runs: the cost of its commands, and its growth.
 *
 *     node tools/bench-fleet.ts [--clients 1000,3000,10000] [--days N] [--rounds N] [--json FILE]
 *
 * No rsync runs. The clients are enrolled with the executable. The year is made of the records, journals and verifications that runs
 * leave, and the retention of the program decides each week what stays. Then it runs commands on the store. It prints medians and
 * the slope between the last two numbers: 1 is linear. It needs about 200 kB of disk for each client, and judges nothing.
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { takeSlot } from '../src/host/slots.ts';
import { takeLock } from '../src/os/runfolder.ts';
import { MemoryWatch } from '../test/support/memory.ts';
import { asOwner, enrollmentLine, type Fleet, makeFleet } from './runs/fleet.ts';
import {
  describeCommand,
  describeCommit,
  describeMachine,
  median,
  pointTable,
  type TableRecord,
  writeRecord,
} from './runs/results.ts';

const DIALBACK = join(import.meta.dirname, '../dist/dialback');
const { values } = parseArgs({
  options: {
    clients: { type: 'string', default: '1000,3000,10000' },
    days: { type: 'string', default: '365' },
    rounds: { type: 'string', default: '5' },
    json: { type: 'string' },
  },
});
const ROUNDS = Number(values.rounds);
const DAYS = Number(values.days);
const SAMPLE_MS = 20;
const KIBIBYTE = 1024;
/** Clock ticks of proc_pid_stat(5) in a second, the same on all architectures of today. */
const TICKS = 100;
const QUEUE_WAIT_MS = 3_600_000;

/** Seconds of processor time of this process and of its children that have ended. */
function processorSeconds(): number {
  const [, rest = ''] = /\) (.*)/.exec(readFileSync('/proc/self/stat', 'latin1')) ?? [];
  const [user = 0, system = 0, childUser = 0, childSystem = 0] = rest.split(' ').slice(11, 15).map(Number);
  return (user + system + childUser + childSystem) / TICKS;
}

/** Runs a command of the executable. @returns its seconds of processor time, and bytes of private memory */
async function command(
  folder: string,
  words: string[],
  input = '',
): Promise<{ processor: number; memory: number }> {
  const watch = new MemoryWatch(new Map([[DIALBACK, 'dialback']]), SAMPLE_MS);
  const before = processorSeconds();
  const child = spawn(DIALBACK, words, { ...asOwner(folder), stdio: ['pipe', 'ignore', 'inherit'] });
  child.stdin?.end(input);
  await once(child, 'close');
  watch.end();
  // status exits with the level of the worst client.
  if (child.exitCode === null || child.exitCode > 2) throw new Error(`${words[0]}: ${child.exitCode}`);
  const most = Math.max(0, ...[...watch.peaks.values()].map(each => each.own));
  return { processor: processorSeconds() - before, memory: most * KIBIBYTE };
}

async function measure(clients: number, scratch: string): Promise<Record<string, number>> {
  const results: Record<string, number> = {};
  const before = processorSeconds();
  const fleet = makeFleet(DIALBACK, scratch, clients, DAYS, Date.now());
  results['making the year, processor s'] = processorSeconds() - before;
  results['snapshots that stay'] = fleet.snapshots;
  const config = ['--config', fleet.config];
  const measureCommand = async (name: string, rounds: number, words: string[]): Promise<void> => {
    const costs: { processor: number; memory: number }[] = [];
    for (let round = 0; round < rounds; round += 1) costs.push(await command(scratch, [...words, ...config]));
    results[`${name}, processor s`] = median(costs.map(each => each.processor));
    results[`${name}, MB of memory`] = median(costs.map(each => each.memory)) / 1e6;
    process.stderr.write(`${clients} clients: ${name}\n`);
  };
  await measureCommand('metrics without a catalog', 1, ['metrics']);
  await measureCommand('metrics', ROUNDS, ['metrics']);
  await measureCommand('status', ROUNDS, ['status']);
  await measureCommand('list', ROUNDS, ['list']);
  await measureCommand('prune --dry-run without an index', 1, ['prune', '--dry-run']);
  await measureCommand('prune --dry-run', ROUNDS, ['prune', '--dry-run']);
  const more: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const [name = '', ...key] = enrollmentLine(`more-${round}`).split(' ');
    const words = ['enroll', name, '-', '--authorized-keys', fleet.authorizedKeys, ...config];
    more.push((await command(scratch, words, key.join(' '))).processor);
  }
  results['enroll one more, processor s'] = median(more);
  Object.assign(results, await measureQueue(fleet));
  return results;
}

/** A request that finds all clients but itself waiting for the only slot. */
async function measureQueue({ store, names }: Fleet): Promise<Record<string, number>> {
  const folder = join(store, 'turns');
  if (!existsSync(folder)) mkdirSync(folder);
  const untilMs = Date.now() + QUEUE_WAIT_MS;
  const places = names.map(client => ({ client, untilMs: Math.min(untilMs, Date.now() + 300_000) }));
  writeFileSync(join(folder, 'queue.json'), JSON.stringify({ places, lately: [] }));
  await using slot = new AsyncDisposableStack();
  await takeLock(slot, join(folder, '0'));
  const took: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const before = processorSeconds();
    await using held = new AsyncDisposableStack();
    const { signal } = new AbortController();
    let retryMs = 0;
    const options = { store, concurrent: 1, client: `late-${round}`, signal };
    await takeSlot(held, options, ms => (retryMs = ms)).catch(() => {});
    if (retryMs === 0) throw new Error('Cannot measure the queue: the client got a slot');
    took.push(processorSeconds() - before);
  }
  return { 'a request that must wait, processor s': median(took) };
}

const record: TableRecord = {
  kind: 'fleet',
  title: `A host with many clients, after ${DAYS} days`,
  of: 'clients',
  hasSlope: true,
  date: new Date().toISOString(),
  command: describeCommand('bench-fleet.ts'),
  machine: describeMachine(),
  versions: { commit: describeCommit() },
  points: [],
};
const json =
  values.json ?? join(import.meta.dirname, `../dist/bench/fleet-${record.date.replaceAll(':', '-')}.json`);
// Until a fresh executable is on the disk, its pages look like private memory of the process.
execFileSync('sync');
for (const clients of values.clients.split(',').map(Number)) {
  const scratch = mkdtempSync(join(tmpdir(), 'dialback-fleet-'));
  try {
    record.points.push({ at: clients, values: await measure(clients, scratch) });
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  writeRecord(json, record);
}
console.log(`${record.title}\n\n${pointTable(record)}\n\nAll samples: ${json}`);
