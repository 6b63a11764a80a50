/**
 * Part of `make bench`: the overview and `metrics` on a store with 1,000 clients of 100 snapshots.
 *
 * It makes records, journals and verifications as runs leave them, without files in the trees, since an overview reads none. The
 * first overview has no catalog: it reads 100,000 records. Then come those with an unchanged store, and one after each client has
 * had another run and a snapshot was removed, as in the morning. It times the overview in this process, and `metrics` as a command.
 *
 * It leaves nothing behind. It prints times and fails no check: people judge.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HOST_SCHEMA, storeSettings } from '../src/host/config.ts';
import { parseConfig } from '../src/shared/toml.ts';
import { overviewOf } from '../src/store/overview.ts';
import { type ClientStore, createClient, createStore, recordEvent } from '../src/store/store.ts';
import { snapshotName } from '../src/wire/text.ts';

const DIALBACK = join(import.meta.dirname, '../dist/dialback');
const CLIENTS = Number(process.env.BENCH_CLIENTS ?? 1000);
const SNAPSHOTS = Number(process.env.BENCH_SNAPSHOTS ?? 100);
const ROUNDS = 5;
const DAY_MS = 86_400_000;
const RULES = 'max_age = "36h"\n[retention]\ndaily = 30\nweekly = 26\nmonthly = 60\n';

const startedMs = Date.now();

/** Makes a snapshot as a run does: its record, and its lines in the journal. @param day before today */
function addSnapshot(client: ClientStore, day: number, number: number): string {
  const started = new Date(startedMs - day * DAY_MS - (number % 60_000) * 1000);
  const finished = new Date(started.getTime() + 90_000);
  const name = snapshotName(started);
  const folder = `${client.folder}/snapshots/${name}`;
  mkdirSync(`${folder}/tree`, { recursive: true });
  const bytes = 40_000_000_000 + (SNAPSHOTS - day) * 20_000_000;
  const counts = {
    ...{ files: 54_000, folders: 6000, bytes, transferred_bytes: 12_000_000, new_bytes: 20_000_000 },
    ...{ linked: 53_500, new: 200, content_changed: 300, attributes_changed: 0 },
    ...{ vanished: 0, unreadable: 0, changed_during_run: 0 },
  };
  const record = {
    ...{ version: 1, client: client.name, snapshot: name, state: 'full', transport: 'direct', counts },
    ...{ started: started.toISOString(), finished: finished.toISOString(), basis: null, flags: [] },
    rsync: { client: '3.5.0', host: '3.5.0', exit: 0, options: ['-aHAXS', '--numeric-ids', '--fake-super'] },
    scope: { roots: ['/'], excludes_sha256: '0'.repeat(64) },
  };
  writeFileSync(`${folder}/snapshot.json`, JSON.stringify(record, null, 2));
  const time = finished.toISOString();
  const run = { event: 'run', peer: '192.0.2.1', outcome: 'full', code: null, snapshot: name };
  const lines = [
    { time, event: 'committed', snapshot: name, state: 'full', free_bytes: 10 ** 12 + day * 10 ** 9 },
    { time, ...run, files: 54_000, bytes, reason: null, duration_ms: 90_000 },
  ];
  writeFileSync(`${client.folder}/journal.jsonl`, lines.map(each => `${JSON.stringify(each)}\n`).join(''), {
    flag: 'a',
  });
  return name;
}

function makeClient(store: string, number: number): ClientStore {
  const client = createClient(store, `client-${String(number).padStart(4, '0')}`);
  const verified = { verified: new Date(startedMs).toISOString(), sampled: null, damaged: 0 };
  const names: string[] = [];
  for (let day = SNAPSHOTS; day >= 1; day -= 1) names.push(addSnapshot(client, day, number));
  const snapshots = Object.fromEntries(names.map(name => [name, verified]));
  writeFileSync(`${client.folder}/verified.json`, JSON.stringify({ slot: -1, snapshots }, null, 2));
  return client;
}

async function seconds(action: () => unknown): Promise<number> {
  const begunMs = performance.now();
  await action();
  return (performance.now() - begunMs) / 1000;
}

async function median(action: () => unknown): Promise<string> {
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) times.push(await seconds(action));
  return `${times.sort((a, b) => a - b)[Math.floor(ROUNDS / 2)]?.toFixed(2)} s`;
}

async function bench(scratch: string): Promise<void> {
  const store = `${scratch}/store`;
  createStore(store);
  const clients = Array.from({ length: CLIENTS }, (_, number) => makeClient(store, number));
  const config = `${scratch}/host.toml`;
  writeFileSync(config, `store = ${JSON.stringify(store)}\n${RULES}`, { mode: 0o600 });
  const settings = storeSettings(
    parseConfig(`store = ${JSON.stringify(store)}\n${RULES}`, config, HOST_SCHEMA),
  );
  const { signal } = new AbortController();
  const look = (): unknown => overviewOf(settings, signal);
  const metrics = (): unknown =>
    execFileSync(DIALBACK, ['metrics', '--config', config], {
      maxBuffer: 1e9,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
  console.log(`${CLIENTS} clients, ${SNAPSHOTS} snapshots each`);
  console.log(`  the first overview, without a catalog  ${(await seconds(look)).toFixed(2)} s`);
  console.log(`  overview, unchanged                    ${await median(look)}`);
  const before = process.cpuUsage();
  await look();
  const { user, system } = process.cpuUsage(before);
  console.log(`    of it processor time                 ${((user + system) / 1e6).toFixed(2)} s`);
  console.log(`  metrics, unchanged                     ${await median(metrics)}`);
  for (const [number, client] of clients.entries()) {
    const name = addSnapshot(client, 0, number + 3600);
    const oldest = snapshotName(new Date(startedMs - SNAPSHOTS * DAY_MS - (number % 60_000) * 1000));
    renameSync(
      `${client.folder}/snapshots/${oldest}`,
      `${client.folder}/trash/${oldest}-0000000${number % 10}`,
    );
    recordEvent(client, 'removed', { what: `snapshots/${oldest}`, after: name });
  }
  console.log(`  metrics, after a run of each           ${(await seconds(metrics)).toFixed(2)} s`);
  console.log(`  metrics, once more                     ${await median(metrics)}`);
}

const scratch = mkdtempSync(join(tmpdir(), 'dialback-bench-overview-'));
try {
  await bench(scratch);
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
