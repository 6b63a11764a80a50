import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { describe, it, type TestContext } from 'node:test';
import { Fault } from '../src/fault.ts';
import { HOST_SCHEMA, storeSettings } from '../src/host/config.ts';
import { parseConfig } from '../src/shared/toml.ts';
import { prune } from '../src/store/prune.ts';
import { removeSnapshot } from '../src/store/remove.ts';
import type { StoreSettings } from '../src/store/settings.ts';
import { pinSnapshot, readSnapshot, snapshotNames } from '../src/store/snapshot.ts';
import { type ClientStore, createClient, createStore, lockClient } from '../src/store/store.ts';
import { snapshotName } from '../src/wire/text.ts';
import { says, wording } from './support/wording.ts';
import { until } from './support/world.ts';

interface Site {
  config: StoreSettings;
  client: ClientStore;
}

function makeSite(context: TestContext, retention: string): Site {
  const scratch = mkdtempSync(`${tmpdir()}/dialback prune `);
  context.after(() => rmSync(scratch, { recursive: true, force: true }));
  const store = `${scratch}/store`;
  createStore(store);
  const config = storeSettings(
    parseConfig(`store = "${store}"\n[retention]\n${retention}`, 'host.toml', HOST_SCHEMA),
  );
  return { config, client: createClient(store, 'a') };
}

const DAY_MS = 86_400_000;
const START = Date.UTC(2026, 0, 1, 12);
const NEVER = new AbortController().signal;
const day = (number: number): string => snapshotName(new Date(START + number * DAY_MS));

/** A snapshot by hand: `base` is shared with the day before, `own` is not. */
function addDay(client: ClientStore, number: number, state: 'full' | 'incomplete' = 'full'): string {
  const name = day(number);
  const folder = `${client.folder}/snapshots/${name}`;
  mkdirSync(`${folder}/tree`, { recursive: true });
  const before = `${client.folder}/snapshots/${day(number - 1)}/tree/base`;
  if (number === 0) writeFileSync(`${folder}/tree/base`, 'x'.repeat(10_000));
  else linkSync(before, `${folder}/tree/base`);
  writeFileSync(`${folder}/tree/own`, 'y'.repeat(5000));
  const counts = { files: 2, bytes: 15_000, new_bytes: 5000, unreadable: 0 };
  const record = { version: 1, client: 'a', snapshot: name, state, started: '', finished: '', counts };
  writeFileSync(`${folder}/snapshot.json`, JSON.stringify({ ...record, scope: { roots: ['/'] }, flags: [] }));
  return name;
}

const at = (number: number): Date => new Date(START + number * DAY_MS + 1000);

describe('prune()', () => {
  it('removes what no rule keeps, and says of each why it stays or goes', async t => {
    const { config, client } = makeSite(t, 'daily = 3\nmin_keep = 0\nmin_age = "0s"\ntimezone = "UTC"');
    for (let number = 0; number < 6; number += 1) addDay(client, number);
    const { clients } = await prune(config, { client: undefined, dryRun: false, at: at(6) }, NEVER);
    assert.deepEqual(
      clients[0]?.snapshots.map(each => [each.snapshot, each.keep, each.reasons.join()]),
      [
        [day(0), false, wording('no-rule-keeps-it')],
        [day(1), false, wording('no-rule-keeps-it')],
        [day(2), false, wording('no-rule-keeps-it')],
        [day(3), true, 'daily 2026-01-04'],
        [day(4), true, 'daily 2026-01-05'],
        [day(5), true, 'daily 2026-01-06,the last full one'],
      ],
    );
    assert.deepEqual(snapshotNames(client), [day(3), day(4), day(5)]);
    assert.deepEqual(readdirSync(`${client.folder}/trash`), []);
    const journal = readFileSync(`${client.folder}/journal.jsonl`, 'utf8').trim().split('\n');
    const events = journal.map(line => (JSON.parse(line) as { event: string }).event);
    assert.deepEqual(events, ['removed', 'removed', 'removed', 'deleted']);
  });

  it('keeps the usual ones as if the unusual ones were not there, whatever there is of these', async t => {
    const { config, client } = makeSite(t, 'last = 2\nmin_keep = 0\nmin_age = "0s"\ntimezone = "UTC"');
    for (let number = 0; number < 8; number += 1) {
      const name = addDay(client, number);
      if (number < 3) continue;
      const path = `${client.folder}/snapshots/${name}/snapshot.json`;
      const record = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
      writeFileSync(path, JSON.stringify({ ...record, flags: ['unusual'] }));
    }
    await prune(config, { client: undefined, dryRun: false, at: at(8) }, NEVER);
    assert.deepEqual(snapshotNames(client), [day(1), day(2), day(6), day(7)]);
    removeSnapshot(client, day(1), 'a test');
    assert.throws(() => removeSnapshot(client, day(2), 'a test'), says('it-is-the-last-full'));
    removeSnapshot(client, day(6), 'a test');
  });

  it('does in earnest what a dry run has said, and frees as much', async t => {
    const { config, client } = makeSite(t, 'daily = 1\nmin_keep = 0\nmin_age = "0s"\ntimezone = "UTC"');
    for (let number = 0; number < 4; number += 1) addDay(client, number);
    const blocksOf = (path: string): number => statSync(path).blocks * 512;
    const own = blocksOf(`${client.folder}/snapshots/${day(0)}/tree/own`);
    const base = blocksOf(`${client.folder}/snapshots/${day(0)}/tree/base`);
    const options = { client: 'a', at: at(4) };
    const said = await prune(config, { ...options, dryRun: true }, NEVER);
    assert.equal(snapshotNames(client).length, 4);
    const did = await prune(config, { ...options, dryRun: false }, NEVER);
    assert.deepEqual(did.clients, said.clients);
    assert.deepEqual(snapshotNames(client), [day(3)]);
    for (const { frees } of said.clients[0]?.snapshots.slice(0, 3) ?? []) {
      // own, two folders, the record; base stays, since the last one has it
      assert.equal(frees?.inodes, 4);
      assert.ok((frees?.bytes ?? 0) >= own && (frees?.bytes ?? 0) < own + base + 4 * 4096);
    }
    const again = await prune(config, { ...options, dryRun: false }, NEVER);
    assert.deepEqual(
      again.clients[0]?.snapshots.filter(each => !each.keep),
      [],
    );
  });

  it('keeps pins, and all without a rule', async t => {
    const pinned = makeSite(t, 'daily = 1\nmin_keep = 0\nmin_age = "0s"');
    for (let number = 0; number < 3; number += 1) addDay(pinned.client, number);
    pinSnapshot(pinned.client, readSnapshot(pinned.client, day(0)), 'before the move');
    await prune(pinned.config, { client: undefined, dryRun: false, at: at(3) }, NEVER);
    assert.deepEqual(snapshotNames(pinned.client), [day(0), day(2)]);
    const open = makeSite(t, '');
    for (let number = 0; number < 9; number += 1) addDay(open.client, number);
    await prune(open.config, { client: undefined, dryRun: false, at: at(900) }, NEVER);
    assert.equal(snapshotNames(open.client).length, 9);
  });

  it('leaves a client alone whose run is under way, and says so', async t => {
    const { config, client } = makeSite(t, 'daily = 1\nmin_keep = 0\nmin_age = "0s"');
    for (let number = 0; number < 3; number += 1) addDay(client, number);
    {
      await using held = new AsyncDisposableStack();
      await lockClient(held, client);
      const { clients } = await prune(config, { client: 'a', dryRun: false, at: at(3) }, NEVER);
      assert.equal(clients[0]?.busy, true);
      assert.equal(snapshotNames(client).length, 3);
    }
    await prune(config, { client: 'a', dryRun: false, at: at(3) }, NEVER);
    assert.equal(snapshotNames(client).length, 1);
  });

  it("deletes the trash of each client while another one's run is under way, and holds no lock meanwhile", async t => {
    const { config, client } = makeSite(t, 'daily = 1\nmin_keep = 0\nmin_age = "0s"');
    const other = createClient(config.store, 'b');
    for (let number = 0; number < 3; number += 1) {
      addDay(client, number);
      addDay(other, number);
    }
    const left = `${client.folder}/trash/${day(0)}-0123abcd`;
    mkdirSync(`${left}/tree`, { recursive: true });
    const run = spawn('flock', [`${client.folder}/lock`, 'sh', '-c', 'echo held; read end'], {
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    await once(run.stdout, 'data');
    const options = { client: undefined, dryRun: false, at: at(3) };
    const first = prune(config, { ...options, waitMs: 3_600_000 }, NEVER);
    await until('the trash of b is empty', () => {
      const names = snapshotNames(other);
      return names.length === 1 && readdirSync(`${other.folder}/trash`).length === 0;
    });
    assert.equal(existsSync(left), true);
    // The first one still waits for the run, and keeps nobody from anything.
    const second = await prune(config, { ...options, waitMs: 0 }, NEVER);
    assert.deepEqual(
      second.clients.map(each => each.busy),
      [true, false],
    );
    assert.equal(existsSync(left), false);
    run.stdin.end('\n');
    await first;
    assert.equal(snapshotNames(client).length, 3);
  });

  it('refuses a second one at the same time, an unknown client, and a store that is not there', async t => {
    const { config, client } = makeSite(t, 'daily = 1');
    addDay(client, 0);
    const failure = async (action: Promise<unknown>): Promise<Fault> => {
      const caught = await action.then(
        () => undefined,
        error => error,
      );
      assert.ok(caught instanceof Fault, String(caught));
      return caught;
    };
    await using held = new AsyncDisposableStack();
    await lockClient(held, { name: 'a', folder: `${config.store}/clients/a` });
    const { takeLock } = await import('../src/os/runfolder.ts');
    await takeLock(held, `${config.store}/prune.lock`);
    const options = { client: undefined, dryRun: false };
    assert.equal((await failure(prune(config, options, NEVER))).exit, 'locked');
    assert.match(
      (await failure(prune(config, { ...options, client: 'b' }, NEVER))).found,
      says('no-client-of-that-name'),
    );
    rmSync(`${config.store}/store.json`);
    assert.equal((await failure(prune(config, options, NEVER))).exit, 'noStore');
  });
});
