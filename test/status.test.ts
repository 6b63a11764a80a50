import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { describe, it, type TestContext } from 'node:test';
import { HOST_SCHEMA, storeSettings } from '../src/host/config.ts';
import { parseConfig } from '../src/shared/toml.ts';
import { openIndex } from '../src/store/file-index.ts';
import { areAlarming, failuresOf, failuresText } from '../src/store/health.ts';
import { nextRemoval } from '../src/store/next-removal.ts';
import type { Policy } from '../src/store/retention.ts';
import { retire } from '../src/store/retirement.ts';
import type { SnapshotRecord } from '../src/store/snapshot.ts';
import { statusExit, statusOf } from '../src/store/status.ts';
import { createClient, createStore, openClient, recordEvent } from '../src/store/store.ts';
import { snapshotName } from '../src/wire/text.ts';
import { printedOfStore } from './support/command-line.ts';
import { matching, matchingLines, says } from './support/wording.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

function makeStore(context: TestContext): string {
  const scratch = mkdtempSync(`${tmpdir()}/dialback status `);
  context.after(() => rmSync(scratch, { recursive: true, force: true }));
  createStore(`${scratch}/store`);
  return `${scratch}/store`;
}

const configOf = (store: string, more = '') =>
  storeSettings(parseConfig(`store = "${store}"\n${more}`, 'host.toml', HOST_SCHEMA));

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
    ['none', () => {}, 'critical', says('there-is-no-full-snapshot')],
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
      matching`incomplete: 2 ${says('could-not-be-read')}`,
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

describe('failuresOf()', () => {
  const failed = (code: string, event = 'run') => ({
    event,
    outcome: 'failed',
    code,
    reason: `because: ${code}`,
    time: code,
  });
  const committed = { event: 'committed', snapshot: '2026-01-01T00-00-00Z' };
  const run = { event: 'run', outcome: 'full', code: null, snapshot: '2026-01-01T00-00-00Z' };
  const dry = { event: 'run', outcome: 'full', code: null, snapshot: null };

  it('counts what failed since the last snapshot, and knows the last of them', () => {
    assert.equal(failuresOf([]), null);
    assert.equal(failuresOf([failed('rsync'), committed, run]), null);
    const found = failuresOf([
      failed('idle'),
      committed,
      run,
      failed('rsync'),
      dry,
      failed('name', 'refused'),
    ]);
    assert.deepEqual(found, { count: 2, at: 'name', code: 'name', reason: 'because: name' });
  });

  it('does not count what is meant to be so', () => {
    const calls = [failed('busy'), failed('full', 'queued'), failed('too-early', 'refused')];
    assert.equal(failuresOf([...calls, failed('unenrolled', 'refused'), dry]), null);
    assert.equal(failuresOf([failed('broken'), ...calls])?.count, 1);
  });

  it('takes three of them for an alarm, or one for want of room', () => {
    const of = (...codes: string[]) => failuresOf([run, ...codes.map(code => failed(code))]) ?? assert.fail();
    assert.equal(areAlarming(of('rsync', 'rsync')), false);
    assert.equal(areAlarming(of('rsync', 'idle', 'broken')), true);
    assert.equal(areAlarming(of('no-space')), true);
    assert.equal(failuresText(of('rsync')), 'the last run failed at rsync: because: rsync');
    assert.match(
      failuresText(of('rsync', 'idle', 'broken')),
      matching`^the last 3 ${says('runs-failed-the-newest-at')} broken`,
    );
  });
});

describe('statusOf(), of runs that fail', () => {
  const fail = (store: string, times: number, code: string): void => {
    const client = openClient(store, 'a');
    for (let number = 0; number < times; number += 1)
      recordEvent(client, 'run', {
        outcome: 'failed',
        code,
        snapshot: null,
        reason: 'Cannot go on\u001b[2J',
      });
  };

  it('is a warning with the reason from the third on, and tells of one all the same', async t => {
    const store = makeStore(t);
    createClient(store, 'a');
    addSnapshot(store, 'a', HOUR_MS);
    const only = async () => (await statusOf(configOf(store), 'a', DAY_MS, SIGNAL))[0] ?? assert.fail();
    fail(store, 2, 'broken');
    assert.deepEqual(
      [(await only()).level, (await only()).problems, (await only()).failures?.count],
      ['ok', [], 2],
    );
    assert.match(
      await printedOfStore(store, 'status', 'a'),
      matchingLines`^a: the last 2 ${says('runs-failed-the-newest-at')} .*: Cannot go on`,
    );
    fail(store, 1, 'broken');
    assert.equal((await only()).level, 'warning');
    assert.match((await only()).problems.join(), /the last 3 runs failed/);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what must not be there
    assert.doesNotMatch(await printedOfStore(store, 'status', 'a'), /\u001b/);
    assert.equal((await printedOfStore(store, 'status', 'a')).match(/runs failed/g)?.length, 1);
    retire(openClient(store, 'a'));
    assert.deepEqual([(await only()).level, (await only()).problems], ['ok', []]);
    assert.match(await printedOfStore(store, 'status', 'a'), /^a: retired/m);
  });

  it('prints the problems of all clients before the lines that are none', async t => {
    const store = makeStore(t);
    createClient(store, 'a');
    addSnapshot(store, 'a', HOUR_MS);
    fail(store, 2, 'broken'); // no alarm
    createClient(store, 'b');
    assert.match(await printedOfStore(store, 'status'), /^b: .*\na: .*\n$/m);
  });

  it('is critical where requests are refused for want of room, and not where room can be made', async t => {
    const store = makeStore(t);
    createClient(store, 'a');
    for (let number = 1; number < 6; number += 1) addSnapshot(store, 'a', number * HOUR_MS);
    const only = async (more: string) =>
      (await statusOf(configOf(store, more), 'a', DAY_MS, SIGNAL))[0] ?? assert.fail();
    const full = '[space]\nmin_free = "1000T"\nmin_inodes = 0';
    assert.equal((await only(full)).level, 'critical');
    assert.match(
      (await only(full)).problems.join(),
      matching`${says('the-host-refuses-its-requests')}: \d+ ${says('bytes-are-free-and-min')}`,
    );
    assert.equal((await only(`${full}\n[retention]\nmin_keep = 1\nmin_age = "0s"`)).level, 'ok');
    // The host passes over a client that is damaged.
    const damaged = createClient(store, 'b').folder;
    rmSync(`${damaged}/trash`, { recursive: true });
    assert.match((await only(full)).problems.join(), says('the-host-refuses-its-requests'));
    mkdirSync(`${store}/clients/a/trash/2026-01-01T00-00-00Z-01234567`);
    assert.equal((await only(full)).level, 'ok');
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
    addSnapshot(store, 'a', HOUR_MS / 8, { flags: ['few-linked-mode', 'few-linked-rsync'] });
    assert.equal(await exit(), 1);
    const problems = (await statusOf(configOf(store), 'a', DAY_MS, SIGNAL))[0]?.problems ?? [];
    assert.equal(
      problems.filter(each => /another mode; dialback explain|another rsync; /.test(each)).length,
      2,
    );
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
