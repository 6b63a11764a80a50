import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { describe, it, type TestContext } from 'node:test';
import { HOST_SCHEMA, storeSettings } from '../src/host/config.ts';
import { encodeMetrics } from '../src/output/open-metrics.ts';
import { overviewMetrics } from '../src/output/overview-metrics.ts';
import { parseConfig } from '../src/shared/toml.ts';
import { Catalog } from '../src/store/catalog.ts';
import { openIndex } from '../src/store/file-index.ts';
import { nextRemoval } from '../src/store/next-removal.ts';
import { type ClientOverview, type Overview, overviewOf } from '../src/store/overview.ts';
import { retire } from '../src/store/retirement.ts';
import { listSnapshots, pin, unpin } from '../src/store/snapshot.ts';
import { statusOf } from '../src/store/status.ts';
import { type ClientStore, createClient, createStore, recordEvent } from '../src/store/store.ts';
import { snapshotName } from '../src/wire/text.ts';
import { scratch } from './support/scratch.ts';

const NEEDS_ROOT = process.getuid?.() !== 0 && 'needs root';
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const SIGNAL = new AbortController().signal;
const START_MS = Date.now();

class Made {
  readonly store: string;
  rules = 'max_age = "36h"\n[retention]\ndaily = 3\n';

  constructor(context: TestContext) {
    this.store = `${scratch(context)}/store`;
    createStore(this.store);
  }

  client(name: string): ClientStore {
    return createClient(this.store, name);
  }

  get settings(): ReturnType<typeof storeSettings> {
    const text = `store = ${JSON.stringify(this.store)}\n${this.rules}`;
    return storeSettings(parseConfig(text, 'host.toml', HOST_SCHEMA));
  }

  async look(at = new Date(START_MS)): Promise<Overview> {
    return await overviewOf(this.settings, SIGNAL, at);
  }

  async of(name: string, at?: Date): Promise<ClientOverview> {
    const found = (await this.look(at)).clients.find(each => each.client === name);
    assert.ok(found);
    return found;
  }

  /** What the same overview is without a catalog. */
  async fresh(at?: Date): Promise<Overview> {
    for (const end of ['', '-wal', '-shm']) rmSync(`${this.store}/catalog.sqlite${end}`, { force: true });
    return await this.look(at);
  }
}

function add(client: ClientStore, ageMs: number, more: Record<string, unknown> = {}): string {
  const started = new Date(START_MS - ageMs);
  const name = snapshotName(started);
  const folder = `${client.folder}/snapshots/${name}`;
  mkdirSync(`${folder}/tree`, { recursive: true });
  const record = {
    ...{ version: 1, client: client.name, snapshot: name, state: 'full', flags: [], scope: { roots: ['/'] } },
    ...{ started: started.toISOString(), finished: new Date(START_MS - ageMs + 5000).toISOString() },
    counts: { files: 3, bytes: 70, new_bytes: 7, unreadable: 0, ...(more.counts as object) },
  };
  writeFileSync(`${folder}/snapshot.json`, JSON.stringify({ ...record, ...more, counts: record.counts }));
  recordEvent(client, 'committed', { snapshot: name, state: 'full', free_bytes: 10 ** 9 });
  return name;
}

/** The codes of a client's problems. */
const codes = ({ problems }: ClientOverview): string[] => problems.map(each => each.code);

describe('overviewOf()', () => {
  it('says of each client what its snapshots and its journal say', async t => {
    const made = new Made(t);
    const client = made.client('a');
    const names = [5 * DAY_MS, 2 * DAY_MS, HOUR_MS].map(ageMs => add(client, ageMs));
    recordEvent(client, 'run', { outcome: 'full', code: null, snapshot: names[2], duration_ms: 5000.4 });
    const found = await made.of('a');
    assert.equal(found.level, 'ok');
    assert.deepEqual(found.last_full, {
      ...{ snapshot: names[2], age_ms: START_MS - Math.floor((START_MS - HOUR_MS) / 1000) * 1000 },
      at: new Date(Math.floor((START_MS - HOUR_MS) / 1000) * 1000).toISOString(),
      ...{ bytes: 70, new_bytes: 7, files: 3, duration_ms: 5000 },
    });
    assert.equal(found.last_run?.outcome, 'full');
    assert.equal(found.last_run.duration_ms, 5000);
    assert.equal(found.last_contact, found.last_run.at);
    assert.deepEqual(
      found.growth.map(each => each.snapshot),
      names,
    );
    assert.deepEqual([found.snapshots, found.incomplete, found.pinned, found.held], [3, 0, 0, null]);
    const { policy } = made.settings.settingsFor('a');
    assert.deepEqual(found.next_removal, nextRemoval(listSnapshots(client), policy, new Date(START_MS)));
  });

  it('is the same with a catalog as without one, after each kind of change', async t => {
    const made = new Made(t);
    const [client, other] = [made.client('a'), made.client('b')];
    const first = add(client, 3 * DAY_MS);
    add(client, 2 * DAY_MS);
    const changes: [what: string, change: () => unknown][] = [
      ['nothing', () => {}],
      ['a new snapshot', () => add(client, DAY_MS, { state: 'incomplete', counts: { unreadable: 4 } })],
      ['an older snapshot', () => add(client, 9 * DAY_MS)],
      ['a removed snapshot', () => rmSync(`${client.folder}/snapshots/${first}`, { recursive: true })],
      ['a first snapshot', () => add(other, HOUR_MS)],
      [
        'a failed run',
        () => recordEvent(client, 'run', { outcome: 'failed', code: 'internal', reason: 'x' }),
      ],
      ['a pin', () => pin(other, listSnapshots(other)[0] as never, 'why')],
      ['no pin', () => unpin(other, listSnapshots(other)[0] as never)],
      [
        'an index',
        async () => {
          await using held = new AsyncDisposableStack();
          await openIndex(held, other);
        },
      ],
      [
        'a verification',
        () => {
          const verified = { verified: new Date(START_MS).toISOString(), sampled: null, damaged: 2 };
          const snapshots = { [listSnapshots(other)[0]?.name ?? '']: verified };
          writeFileSync(`${other.folder}/verified.json`, JSON.stringify({ slot: -1, snapshots }));
        },
      ],
      [
        'other rules',
        () => {
          made.rules = '[retention]\ndaily = 1\nmin_keep = 0\nmin_age = "0s"\n';
        },
      ],
      ['a retirement', () => retire(client)],
      ['one client less', () => rmSync(client.folder, { recursive: true })],
      ['a new journal', () => rmSync(`${other.folder}/journal.jsonl`)],
      [
        'a damaged record',
        () => {
          add(other, 1000);
          writeFileSync(`${other.folder}/snapshots/${listSnapshots(other).at(-1)?.name}/snapshot.json`, '{');
        },
      ],
      ['a mended record', () => add(other, 1000)],
    ];
    for (const [what, change] of changes) {
      await made.look();
      await change();
      const quick = JSON.parse(JSON.stringify(await made.look())) as Overview;
      const slow = JSON.parse(JSON.stringify(await made.fresh())) as Overview;
      for (const each of [quick, slow]) Object.assign(each.disk, { free_bytes: 0, free_inodes: 0 });
      assert.deepEqual(quick, slow, what);
    }
  });

  it('finds the problems that status finds', async t => {
    const made = new Made(t);
    add(made.client('well'), HOUR_MS);
    const bad = made.client('bad');
    add(bad, 40 * HOUR_MS);
    add(bad, HOUR_MS, { state: 'incomplete', flags: ['host-errors', 'odd\u001b'] });
    for (let run = 0; run < 3; run += 1)
      recordEvent(bad, 'run', { outcome: 'failed', code: 'lost', reason: 'x' });
    made.client('none');
    const found = await made.look(new Date());
    const status = await statusOf(made.settings, undefined, undefined, SIGNAL);
    for (const [at, each] of found.clients.entries()) {
      assert.deepEqual(
        each.problems.map(one => one.text),
        status[at]?.problems,
      );
      assert.equal(each.level, status[at]?.level);
    }
    assert.deepEqual(found.clients.map(codes), [
      ['silent', 'failed-runs', 'flagged', 'flagged'],
      ['no-full-snapshot'],
      [],
    ]);
    assert.equal(found.level, 'critical');
  });

  it('tells of a silence that a clock hides, and of the clock', async t => {
    const made = new Made(t);
    const client = made.client('a');
    const last = add(client, 3 * DAY_MS);
    assert.deepEqual(codes(await made.of('a')), ['silent']);
    const told = { version: 1, last_full: last, told: new Date(START_MS).toISOString(), result: 'done' };
    writeFileSync(`${client.folder}/silence.json`, JSON.stringify(told));
    const back = new Date(START_MS - 2.5 * DAY_MS);
    assert.deepEqual(codes(await made.of('a', back)), ['silent']);
    recordEvent(client, 'refused', { outcome: 'failed', code: 'busy' });
    assert.deepEqual(
      (await made.look(back)).problems.map(each => each.code),
      ['clock-set-back'],
    );
    // A snapshot that a run makes by the wrong clock is seen, though its name is older than others.
    add(client, 2.6 * DAY_MS);
    assert.deepEqual(codes(await made.of('a', back)), []);
  });

  it('reads a store that it may not write, or whose catalog is damaged', async t => {
    const made = new Made(t);
    const name = add(made.client('a'), HOUR_MS);
    const path = `${made.store}/catalog.sqlite`;
    await made.look();
    assert.equal(statSync(path).mode & 0o777, 0o600);
    for (const damage of ['no database', readFileSync(path).subarray(0, 5000)]) {
      writeFileSync(path, damage);
      rmSync(`${path}-wal`, { force: true });
      assert.equal((await made.of('a')).last_full?.snapshot, name);
    }
    rmSync(path);
    mkdirSync(`${path}-wal`); // SQLite cannot make its log
    assert.equal((await made.of('a')).last_full?.snapshot, name);
    assert.equal(existsSync(`${path}-wal`), true);
  });

  it('uses a catalog in a folder that takes no new file', { skip: NEEDS_ROOT }, async t => {
    const made = new Made(t);
    const client = made.client('a');
    const name = add(client, HOUR_MS);
    await made.look();
    execFileSync('/usr/bin/chattr', ['+i', made.store]);
    try {
      // Only the catalog knows this record now.
      rmSync(`${client.folder}/snapshots/${name}/snapshot.json`);
      assert.equal((await made.of('a')).last_full?.files, 3);
    } finally {
      execFileSync('/usr/bin/chattr', ['-i', made.store]);
    }
    assert.deepEqual(
      readdirSync(made.store).filter(each => each.startsWith('catalog')),
      ['catalog.sqlite'],
    );
  });

  it('reports a client whose folder cannot be read, beside the others', async t => {
    const made = new Made(t);
    add(made.client('a'), HOUR_MS);
    const broken = made.client('b');
    rmSync(`${broken.folder}/snapshots`, { recursive: true });
    chmodSync(broken.folder, 0o700);
    assert.deepEqual((await made.look()).clients.map(codes), [[], ['unreadable']]);
    made.rules = '[space]\nmin_free = "1000T"\nmin_inodes = 0\n';
    assert.deepEqual((await made.look()).clients.map(codes), [['no-room'], ['unreadable']]);
  });

  it('reads only new entries of a journal, and all of them after a rotation', async t => {
    const made = new Made(t);
    const client = made.client('a');
    for (let client = 0; client < 20; client += 1) made.client(`z${client}`); // those that are read again
    recordEvent(client, 'run', { outcome: 'failed', code: 'lost', reason: 'x' });
    await made.look();
    await made.look();
    writeFileSync(`${client.folder}/journal.jsonl`, '{"event":"ru', { flag: 'a' });
    assert.equal((await made.of('a')).failures?.count, 1);
    const end = 'n","time":"2026-01-01T00:00:00.000Z","outcome":"failed","code":"lost"}\n';
    writeFileSync(`${client.folder}/journal.jsonl`, end, { flag: 'a' });
    assert.equal((await made.of('a')).failures?.count, 2);
    writeFileSync(`${client.folder}/journal.jsonl`, ' '.repeat(5_000_000), { flag: 'a' });
    recordEvent(client, 'run', { outcome: 'failed', code: 'lost', reason: 'x' });
    assert.equal((await made.of('a')).failures?.count, 3);
    using catalog = new Catalog(made.store);
    assert.equal(catalog.entry(client).journal.failures?.count, 3);
  });

  it('counts each entry once while a killed rotation has left no journal', async t => {
    const made = new Made(t);
    const client = made.client('a');
    for (let client = 0; client < 20; client += 1) made.client(`z${client}`); // those that are read again
    recordEvent(client, 'run', { outcome: 'failed', code: 'lost', reason: 'x' });
    renameSync(`${client.folder}/journal.jsonl`, `${client.folder}/journal.jsonl.1`);
    await made.look();
    for (let time = 0; time < 3; time += 1) {
      writeFileSync(`${client.folder}/verified.json`, `{"slot":${time},"snapshots":{}}`);
      assert.equal((await made.of('a')).failures?.count, 1);
    }
  });
});

describe('overviewMetrics()', () => {
  it('has a line for each fact, with escaped text', async t => {
    const made = new Made(t);
    const client = made.client('a');
    add(client, 2 * HOUR_MS, { flags: ['odd"} 1\n\u202e'] });
    recordEvent(client, 'run', { outcome: 'failed', code: 'x"\n\\y', reason: 'z' });
    made.client('b');
    const lines = encodeMetrics(overviewMetrics(await made.look(), '1"2')).split('\n');
    const labels = `store="${made.store}",client="a"`;
    assert.ok(lines.includes(`dialback_client_last_full_bytes{${labels}} 70`));
    assert.ok(lines.includes(`dialback_client_newest_flag{${labels},flag="odd\\"} 1\\\\n\\\\u202e"} 1`));
    assert.ok(
      lines.includes(
        'dialback_client_problem{store="' +
          made.store +
          '",client="b",code="no-full-snapshot",level="critical"} 1',
      ),
    );
    assert.ok(
      lines.some(each =>
        each.startsWith(`dialback_client_last_run{${labels},outcome="failed",code="x\\"\\\\n\\\\\\\\y"} 1`),
      ),
    );
    assert.ok(lines.includes(`dialback_info{store="${made.store}",version="1\\"2"} 1`));
    assert.equal(lines.at(-2), '# EOF');
    for (const line of lines.slice(0, -2))
      assert.match(line, /^(?:# (?:HELP|TYPE) |dialback_[a-z_]+\{.*\} -?[\d.e+]+$)/);
  });
});
