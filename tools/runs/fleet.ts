/** A store after a year of runs of many clients, made without a run: the records, journals and verifications that runs leave. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Candidate, DAY_MS, decideRetention, type Policy } from '../../src/store/retention.ts';
import { type ClientStore, openClient } from '../../src/store/store.ts';
import { snapshotName } from '../../src/wire/text.ts';

const RUN_MS = 90_000;
const SPREAD_MS = 3_600_000;
const PRUNE_DAYS = 7;

/** The policy of the fleet, as `decideRetention()` takes it. */
const POLICY: Policy = {
  ...{ last: 0, hourly: 0, daily: 14, weekly: 8, monthly: 12, yearly: 0 },
  ...{ minKeep: 2, minAgeMs: DAY_MS, givesRoom: false, zone: 'UTC' },
};
/** The same for host.toml. */
export const FLEET_RULES =
  'max_age = "36h"\n[retention]\ntimezone = "UTC"\ndaily = 14\nweekly = 8\nmonthly = 12\nmin_keep = 2\nmin_age = "1d"\n';

/** A run that ended full: its record, and its two lines in the client's journal. @param freeBytes of the store's disk after it */
export function describeRun(
  client: string,
  started: Date,
  bytes: number,
  freeBytes: number,
): { name: string; record: string; lines: string } {
  const finished = new Date(started.getTime() + RUN_MS);
  const name = snapshotName(started);
  const counts = {
    ...{ files: 54_000, folders: 6000, bytes, transferred_bytes: 12_000_000, new_bytes: 20_000_000 },
    ...{ linked: 53_500, new: 200, content_changed: 300, attributes_changed: 0 },
    ...{ vanished: 0, unreadable: 0, changed_during_run: 0 },
  };
  const record = {
    ...{ version: 1, client, snapshot: name, state: 'full', transport: 'direct', counts },
    ...{ started: started.toISOString(), finished: finished.toISOString(), basis: null, flags: [] },
    rsync: { client: '3.5.0', host: '3.5.0', exit: 0, options: ['-aHAXS', '--numeric-ids', '--fake-super'] },
    scope: { roots: ['/'], excludes_sha256: '0'.repeat(64) },
  };
  const time = finished.toISOString();
  const run = { event: 'run', peer: '192.0.2.1', outcome: 'full', code: null, snapshot: name };
  const lines = [
    { time, event: 'committed', snapshot: name, state: 'full', free_bytes: freeBytes },
    { time, ...run, files: 54_000, bytes, reason: null, duration_ms: RUN_MS },
  ];
  return {
    name,
    record: JSON.stringify(record, null, 2),
    lines: lines.map(each => `${JSON.stringify(each)}\n`).join(''),
  };
}

/** dialback's store commands are not for root; where this is root, they run as nobody. */
const NOBODY = 65_534;
const ACCOUNT = process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {};

/** How programs are started that use the store of a fleet in this folder. */
export function asOwner(folder: string): {
  uid?: number;
  gid?: number;
  cwd: string;
  env: Record<string, string>;
} {
  return { ...ACCOUNT, cwd: '/', env: { PATH: '/usr/bin:/bin:/usr/sbin:/sbin', HOME: folder, LC_ALL: 'C' } };
}

/** Gives all files below a folder to the account that `asOwner()` starts programs as. */
export function giveToOwner(folder: string): void {
  if ('uid' in ACCOUNT) execFileSync('chown', ['-R', `${ACCOUNT.uid}:${ACCOUNT.gid}`, folder]);
}

export interface Fleet {
  folder: string;
  store: string;
  config: string;
  authorizedKeys: string;
  names: string[];
  /** Finished snapshots of all clients. */
  snapshots: number;
  /** Decisions about one snapshot that the retention made in the year. */
  decisions: number;
}

/** A valid line of `enroll --from`. Nobody has the private key. */
export function enrollmentLine(name: string): string {
  const length = (bytes: Buffer): Buffer => {
    const prefix = Buffer.alloc(4);
    prefix.writeUInt32BE(bytes.length);
    return Buffer.concat([prefix, bytes]);
  };
  const key = createHash('sha256').update(name).digest();
  const blob = Buffer.concat([length(Buffer.from('ssh-ed25519')), length(key)]);
  return `${name} ssh-ed25519 ${blob.toString('base64')}`;
}

/**
 * Enrolls the clients with the executable, and lets a year of daily runs and weekly prunes pass.
 * @param folder is empty
 */
export function makeFleet(
  executable: string,
  folder: string,
  clients: number,
  days: number,
  endMs: number,
): Fleet {
  const [store, config] = [join(folder, 'store'), join(folder, 'host.toml')];
  const authorizedKeys = join(folder, 'authorized_keys');
  const names = Array.from({ length: clients }, (_, number) => `client-${String(number).padStart(5, '0')}`);
  mkdirSync(store, { mode: 0o700 });
  writeFileSync(config, `store = ${JSON.stringify(store)}\n${FLEET_RULES}`, { mode: 0o600 });
  giveToOwner(folder);
  execFileSync(
    executable,
    ['enroll', '--from', '-', '--config', config, '--authorized-keys', authorizedKeys],
    {
      ...asOwner(folder),
      input: names.map(each => `${enrollmentLine(each)}\n`).join(''),
      stdio: ['pipe', 'ignore', 'inherit'],
      maxBuffer: 1 << 30,
    },
  );
  const fleet: Fleet = { folder, store, config, authorizedKeys, names, snapshots: 0, decisions: 0 };
  for (const [number, name] of names.entries())
    addYear(fleet, openClient(store, name), days, endMs - ((number * 7919) % SPREAD_MS));
  giveToOwner(folder);
  return fleet;
}

/** @param lastMs the start of the last run */
function addYear(fleet: Fleet, client: ClientStore, days: number, lastMs: number): void {
  let kept: Candidate[] = [];
  const records = new Map<string, string>();
  let journal = '';
  for (let day = 0; day < days; day += 1) {
    const started = new Date(lastMs - (days - 1 - day) * DAY_MS);
    const run = describeRun(client.name, started, 4e10 + day * 2e7, 1e13 - day * 1e9);
    journal += run.lines;
    records.set(run.name, run.record);
    kept.push({ name: run.name, state: 'full', isPinned: false });
    if (day % PRUNE_DAYS !== PRUNE_DAYS - 1) continue;
    const decisions = decideRetention(kept, POLICY, started);
    fleet.decisions += decisions.length;
    const removed = new Set(decisions.filter(each => !each.keep).map(each => each.name));
    kept = kept.filter(each => !removed.has(each.name));
  }
  const verified = { verified: new Date(lastMs).toISOString(), sampled: null, damaged: 0 };
  for (const { name } of kept) {
    const folder = `${client.folder}/snapshots/${name}`;
    mkdirSync(`${folder}/tree`, { recursive: true });
    writeFileSync(`${folder}/snapshot.json`, records.get(name) ?? '');
  }
  writeFileSync(`${client.folder}/journal.jsonl`, journal);
  const snapshots = Object.fromEntries(kept.map(({ name }) => [name, verified]));
  writeFileSync(`${client.folder}/verified.json`, JSON.stringify({ slot: -1, snapshots }, null, 2));
  fleet.snapshots += kept.length;
}
