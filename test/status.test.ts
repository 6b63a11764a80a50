import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { describe, it, type TestContext } from 'node:test';
import { parseConfig } from '../src/config.ts';
import { HOST_SCHEMA } from '../src/host/config.ts';
import { openIndex } from '../src/host/index.ts';
import type { Policy } from '../src/host/retention.ts';
import { nextRemoval, statusExit, statusOf } from '../src/host/status.ts';
import { createClient, createStore, openClient, type SnapshotRecord } from '../src/host/store.ts';
import { snapshotName } from '../src/wire/text.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

function makeStore(context: TestContext): string {
  const scratch = mkdtempSync(`${tmpdir()}/dialback status `);
  context.after(() => rmSync(scratch, { recursive: true, force: true }));
  createStore(`${scratch}/store`);
  return `${scratch}/store`;
}

const configOf = (store: string, more = '') =>
  parseConfig(`store = "${store}"\n${more}`, 'host.toml', HOST_SCHEMA);

function addSnapshot(
  store: string,
  client: string,
  ageMs: number,
  more: Partial<SnapshotRecord> = {},
): string {
  const name = snapshotName(new Date(Date.now() - ageMs));
  const folder = `${store}/clients/${client}/snapshots/${name}`;
  mkdirSync(`${folder}/tree`, { recursive: true });
  const counts = { files: 1, bytes: 7, new_bytes: 3, unreadable: 2 };
  const record = { version: 1, client, snapshot: name, state: 'full', started: '', finished: '', counts };
  writeFileSync(
    `${folder}/snapshot.json`,
    JSON.stringify({ ...record, scope: { roots: ['/'] }, flags: [], ...more }),
  );
  return name;
}

/** No look of `status` into a store is ended before its time here. */
const SIGNAL = new AbortController().signal;

describe('statusOf()', () => {
  const cases: [what: string, fill: (store: string) => void, level: string, problem: RegExp | undefined][] = [
    ['a young full one', store => addSnapshot(store, 'a', HOUR_MS), 'ok', undefined],
    ['none', () => {}, 'critical', /there is no full snapshot/],
    ['an old full one', store => addSnapshot(store, 'a', 40 * HOUR_MS), 'critical', /too old/],
    [
      'an old full one and young incomplete ones',
      store => {
        addSnapshot(store, 'a', 40 * HOUR_MS);
        addSnapshot(store, 'a', HOUR_MS, { state: 'incomplete' });
      },
      'critical',
      /too old/,
    ],
    [
      'a young full one and then an incomplete one',
      store => {
        addSnapshot(store, 'a', 2 * HOUR_MS);
        addSnapshot(store, 'a', HOUR_MS, { state: 'incomplete' });
      },
      'warning',
      /incomplete: 2 could not be read/,
    ],
    [
      'a flag',
      store => addSnapshot(store, 'a', HOUR_MS, { flags: ['less-confined'] }),
      'warning',
      /jail was weaker/,
    ],
    [
      'one from the future beside a young one',
      store => {
        addSnapshot(store, 'a', HOUR_MS);
        addSnapshot(store, 'a', -DAY_MS);
      },
      'warning',
      /from the future/,
    ],
    ['only one from the future', store => addSnapshot(store, 'a', -DAY_MS), 'critical', /no full snapshot/],
  ];
  for (const [what, fill, level, problem] of cases) {
    it(`is ${level} for a client with ${what}`, async t => {
      const store = makeStore(t);
      createClient(store, 'a');
      fill(store);
      const [only] = await statusOf(configOf(store), undefined, 36 * HOUR_MS, SIGNAL);
      assert.equal(only?.level, level);
      if (problem) assert.match(only?.problems.join() ?? '', problem);
      else assert.deepEqual(only?.problems, []);
    });
  }

  it('tells what all take together once the index is up to date, and makes none', async t => {
    const store = makeStore(t);
    createClient(store, 'a');
    addSnapshot(store, 'a', HOUR_MS);
    assert.equal((await statusOf(configOf(store), 'a', DAY_MS, SIGNAL))[0]?.held, null);
    {
      await using held = new AsyncDisposableStack();
      await openIndex(held, openClient(store, 'a'));
    }
    assert.equal((await statusOf(configOf(store), 'a', DAY_MS, SIGNAL))[0]?.held?.inodes, 3);
    addSnapshot(store, 'a', 2 * HOUR_MS);
    assert.equal((await statusOf(configOf(store), 'a', DAY_MS, SIGNAL))[0]?.held, null);
  });
});

describe('statusExit()', () => {
  it("is a monitoring plugin's, of the worst client", async t => {
    const store = makeStore(t);
    const exit = async (): Promise<number> =>
      statusExit(await statusOf(configOf(store), undefined, 36 * HOUR_MS, SIGNAL));
    assert.equal(await exit(), 1);
    createClient(store, 'a');
    addSnapshot(store, 'a', HOUR_MS);
    assert.equal(await exit(), 0);
    // What an old rsync cannot do stays for as long as it is there, and is for `doctor` to say.
    const flags = ['client-lists-names', 'client-rsync-vulnerable', 'host-rsync-vulnerable'];
    addSnapshot(store, 'a', HOUR_MS / 2, { flags });
    assert.equal(await exit(), 0);
    assert.deepEqual((await statusOf(configOf(store), 'a', DAY_MS, SIGNAL))[0]?.newest?.flags, flags);
    addSnapshot(store, 'a', HOUR_MS / 4, { flags: ['unusual'] });
    assert.equal(await exit(), 1);
    createClient(store, 'b');
    assert.equal(await exit(), 2);
  });
});

describe('nextRemoval()', () => {
  const policy = (more: Partial<Policy>): Policy => ({
    ...{ last: 0, hourly: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0 },
    ...{ minKeep: 0, minAgeMs: 0, givesRoom: true, zone: 'UTC' },
    ...more,
  });
  const start = Date.UTC(2026, 0, 1, 12);
  const days = (count: number, pinned: number[] = []) =>
    Array.from({ length: count }, (_, index) => ({
      name: snapshotName(new Date(start + index * DAY_MS)),
      record: { state: 'full', flags: [] as string[] } as SnapshotRecord,
      pinned: pinned.includes(index) ? 'x' : undefined,
    }));
  const at = (day: number): Date => new Date(start + day * DAY_MS + HOUR_MS);

  it('names what goes today, tomorrow or later', () => {
    const daily = policy({ daily: 5 });
    assert.deepEqual(nextRemoval(days(6), daily, at(5)), {
      snapshot: '2026-01-01T12-00-00Z',
      at: at(5).toISOString(),
    });
    assert.equal(nextRemoval(days(5), daily, at(4))?.at, at(5).toISOString());
    assert.equal(nextRemoval(days(3), daily, at(2))?.at, at(5).toISOString());
    assert.deepEqual(nextRemoval(days(5, [0]), daily, at(4)), {
      snapshot: '2026-01-02T12-00-00Z',
      at: at(6).toISOString(),
    });
  });

  it('knows of none where no rule lets go of any', () => {
    assert.equal(nextRemoval(days(5), policy({}), at(4)), null);
    assert.equal(nextRemoval([], policy({ daily: 1 }), at(4)), null);
    assert.equal(nextRemoval(days(3), policy({ last: 1000 }), at(4)), null);
  });
});
