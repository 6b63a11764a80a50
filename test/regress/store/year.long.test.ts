// Goal: a year of three clients' backups, and a prune every Sunday: only what the policy keeps stays, each snapshot that is left
// verifies after every prune, and what a prune said that it frees is what the disk has got back.
import assert from 'node:assert/strict';
import { linkSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, before, describe, it } from 'node:test';
import { HOST_SCHEMA, type HostConfig, storeSettings } from '../../../src/host/config.ts';
import { parseConfig } from '../../../src/shared/toml.ts';
import type { Held } from '../../../src/store/index-room.ts';
import { makeManifests } from '../../../src/store/manifest-writer.ts';
import { prune } from '../../../src/store/prune.ts';
import { snapshotNames } from '../../../src/store/snapshot.ts';
import { type ClientStore, createClient, createStore } from '../../../src/store/store.ts';
import { isWell, verify } from '../../../src/store/verify.ts';
import { snapshotName } from '../../../src/wire/text.ts';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const START = Date.UTC(2027, 0, 3, 2, 17); // a Sunday
const NEVER = new AbortController().signal;
const DAYS = 365;

/** How a machine is used: when it calls, and how that ends. */
interface Habit {
  name: string;
  /** Between two calls. */
  everyMs: number;
  /** Whether it is switched on. */
  isOn(day: number): boolean;
  isFull(run: number): boolean;
}

const HABITS: Habit[] = [
  { name: 'server', everyMs: DAY_MS, isOn: () => true, isFull: () => true },
  // Asleep at weekends and all of August; each ninth run has something that it may not read.
  {
    name: 'laptop',
    everyMs: DAY_MS,
    isOn: day => day % 7 !== 6 && (day < 210 || day > 240),
    isFull: run => run % 9 !== 4,
  },
  { name: 'archive', everyMs: 7 * DAY_MS, isOn: () => true, isFull: run => run !== 20 },
];

const RETENTION = [
  'timezone = "UTC"\nmin_keep = 2\nmin_age = "1d"\nlast = 2\ndaily = 7\nweekly = 4\nmonthly = 6\nyearly = 1',
  '[client."archive".retention]\ndaily = 0\nweekly = 3',
].join('\n');

/** What the policy keeps of full runs at regular times, by hand: the newest of each day, week, month and year, so many of each. */
function expected(habit: Habit, runs: { name: string; isFull: boolean }[], now: number): Set<string> {
  const counts =
    habit.name === 'archive'
      ? { last: 2, day: 0, week: 3, month: 6, year: 1 }
      : { last: 2, day: 7, week: 4, month: 6, year: 1 };
  const bucketOf = {
    last: (time: number) => time,
    day: (time: number) => Math.floor(time / DAY_MS),
    week: (time: number) => Math.floor((time / DAY_MS + 3) / 7), // 1970 began on a Thursday
    month: (time: number) => new Date(time).toISOString().slice(0, 7),
    year: (time: number) => new Date(time).getUTCFullYear(),
  };
  const timeOf = (name: string): number => Date.parse(name.replace(/T(..)-(..)-(..)Z/, 'T$1:$2:$3Z'));
  const kept = new Set<string>();
  const newestFirst = [...runs].reverse();
  for (const rule of ['last', 'day', 'week', 'month', 'year'] as const) {
    const full = new Map<unknown, string>();
    for (const { name } of newestFirst.filter(each => each.isFull)) {
      const bucket = bucketOf[rule](timeOf(name));
      if (!full.has(bucket) && full.size < counts[rule]) full.set(bucket, name);
    }
    const any = new Map<unknown, string>();
    for (const { name } of newestFirst) {
      const bucket = bucketOf[rule](timeOf(name));
      if (!any.has(bucket) && any.size < counts[rule]) any.set(bucket, name);
    }
    for (const name of full.values()) kept.add(name);
    // An incomplete one stands for its span where no full one does.
    for (const [bucket, name] of any) if (!full.has(bucket)) kept.add(name);
  }
  for (const { name } of newestFirst.slice(0, 2)) kept.add(name);
  for (const { name } of runs) if (now - timeOf(name) < DAY_MS) kept.add(name);
  return kept;
}

describe('a year', { skip: IN_CLEAN_MACHINE }, () => {
  let scratch: string;
  let config: HostConfig;
  const clients = new Map<string, ClientStore>();
  /** Names of what should be there, oldest first. */
  const runs = new Map<string, { name: string; isFull: boolean }[]>();

  before(() => {
    scratch = mkdtempSync(`${tmpdir()}/dialback year `);
    const store = `${scratch}/store`;
    createStore(store);
    config = parseConfig(`store = "${store}"\n[retention]\n${RETENTION}`, 'host.toml', HOST_SCHEMA);
    for (const { name } of HABITS) clients.set(name, createClient(store, name));
  });
  after(() => rmSync(scratch, { recursive: true, force: true }));

  const clientOf = (name: string): ClientStore => {
    const client = clients.get(name);
    assert.ok(client);
    return client;
  };

  /** A run as it leaves the store: a tree that links what has not changed, and its record. */
  function addRun(habit: Habit, time: number, number: number): void {
    const client = clientOf(habit.name);
    const [name, isFull] = [snapshotName(new Date(time)), habit.isFull(number)];
    const last = snapshotNames(client).at(-1);
    const folder = `${client.folder}/snapshots/${name}`;
    mkdirSync(`${folder}/tree/etc`, { recursive: true });
    for (let file = 0; file < 5; file += 1) {
      const isNew = last === undefined || (number + file) % 5 === 0;
      const path = `tree/etc/file ${file}`;
      if (isNew) writeFileSync(`${folder}/${path}`, `${name} ${file} `.repeat(1 + 40 * file));
      else linkSync(`${client.folder}/snapshots/${last}/${path}`, `${folder}/${path}`);
    }
    const counts = { files: 5, bytes: 1, new_bytes: 1, unreadable: isFull ? 0 : 1 };
    const times = { started: new Date(time).toISOString(), finished: new Date(time).toISOString() };
    const record = { version: 1, client: client.name, snapshot: name, ...times, counts };
    const state = isFull ? 'full' : 'incomplete';
    writeFileSync(
      `${folder}/snapshot.json`,
      JSON.stringify({ ...record, state, scope: { roots: ['/'] }, flags: [] }),
    );
    runs.set(habit.name, [...(runs.get(habit.name) ?? []), { name, isFull }]);
  }

  function heldBy(client: ClientStore): Held {
    const inodes = new Map<number, number>();
    const visit = (path: string): void => {
      const found = lstatSync(path);
      inodes.set(found.ino, found.blocks * 512);
      if (found.isDirectory()) for (const name of readdirSync(path)) visit(`${path}/${name}`);
    };
    for (const name of snapshotNames(client)) visit(`${client.folder}/snapshots/${name}`);
    return { inodes: inodes.size, bytes: [...inodes.values()].reduce((one, other) => one + other, 0) };
  }

  it('keeps what the policy says, frees what it said, and verifies after every prune', async () => {
    const numbers = new Map(HABITS.map(({ name }) => [name, 0]));
    let removed = 0;
    for (let day = 0; day < DAYS; day += 1) {
      for (const habit of HABITS) {
        if (!habit.isOn(day) || (day * DAY_MS) % habit.everyMs !== 0) continue;
        const number = numbers.get(habit.name) ?? 0;
        addRun(habit, START + day * DAY_MS, number);
        numbers.set(habit.name, number + 1);
      }
      if (day % 7 !== 0 || day === 0) continue;
      const at = new Date(START + day * DAY_MS + 20 * HOUR_MS);
      // What stands beside the trees is to be there before.
      for (const client of clients.values()) await makeManifests(client, NEVER);
      const before = HABITS.map(({ name }) => heldBy(clientOf(name)));
      const { clients: pruned } = await prune(
        storeSettings(config),
        { client: undefined, dryRun: false, at },
        NEVER,
      );
      for (const [index, habit] of HABITS.entries()) {
        const client = clientOf(habit.name);
        const wanted = expected(habit, runs.get(habit.name) ?? [], at.getTime());
        const left = (runs.get(habit.name) ?? []).filter(each => wanted.has(each.name));
        assert.deepEqual(
          snapshotNames(client),
          left.map(each => each.name),
          `${habit.name}, day ${day}`,
        );
        runs.set(habit.name, left);
        const gone =
          pruned.find(each => each.client === habit.name)?.snapshots.filter(each => !each.keep) ?? [];
        removed += gone.length;
        const after = heldBy(client);
        const sum = (of: keyof Held): number =>
          gone.reduce((total, each) => total + (each.frees?.[of] ?? 0), 0);
        assert.deepEqual(
          { inodes: sum('inodes'), bytes: sum('bytes') },
          {
            inodes: (before[index]?.inodes ?? 0) - after.inodes,
            bytes: (before[index]?.bytes ?? 0) - after.bytes,
          },
        );
      }
      const options = { store: config.store, client: undefined, snapshot: undefined, sample: 100 };
      const verified = await verify(options, NEVER);
      assert.ok(isWell(verified), JSON.stringify(verified));
      for (const each of verified) {
        assert.deepEqual(each.snapshots, snapshotNames(clientOf(each.client)));
        assert.deepEqual([...each.made, ...each.unmade], []);
      }
    }
    assert.ok(removed > 400, String(removed));
  });
});
