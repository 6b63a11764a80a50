import assert from 'node:assert/strict';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { describe, it, type TestContext } from 'node:test';
import { Fault } from '../src/fault.ts';
import { HOST_SCHEMA, storeSettings } from '../src/host/config.ts';
import { parseConfig } from '../src/shared/toml.ts';
import { prune } from '../src/store/prune.ts';
import { type Removal, remove, removeSnapshot } from '../src/store/remove.ts';
import { retire } from '../src/store/retirement.ts';
import type { StoreSettings } from '../src/store/settings.ts';
import { pinSnapshot, readSnapshot, snapshotNames, unpinSnapshot } from '../src/store/snapshot.ts';
import { type ClientStore, createClient, createStore, listClients, lockClient } from '../src/store/store.ts';
import { addSnapshot, makeClient } from './support/client-store.ts';
import { fault } from './support/scratch.ts';

const NEVER = new AbortController().signal;
const NAMES = ['2026-01-01T00-00-00Z', '2026-01-02T00-00-00Z', '2026-01-03T00-00-00Z'] as const;

function makeSite(context: TestContext): { config: StoreSettings; client: ClientStore } {
  const scratch = mkdtempSync(`${tmpdir()}/dialback remove `);
  context.after(() => rmSync(scratch, { recursive: true, force: true }));
  const store = `${scratch}/store`;
  createStore(store);
  const client = createClient(store, 'a');
  for (const name of NAMES) {
    const folder = `${client.folder}/snapshots/${name}`;
    mkdirSync(`${folder}/tree`, { recursive: true });
    writeFileSync(`${folder}/tree/own`, 'y'.repeat(5000));
    const counts = { files: 1, bytes: 5000, new_bytes: 5000, unreadable: 0 };
    const record = {
      version: 1,
      client: 'a',
      snapshot: name,
      state: 'full',
      started: '',
      finished: '',
      counts,
    };
    writeFileSync(
      `${folder}/snapshot.json`,
      JSON.stringify({ ...record, scope: { roots: ['/'] }, flags: [] }),
    );
  }
  return { config: storeSettings(parseConfig(`store = "${store}"`, 'host.toml', HOST_SCHEMA)), client };
}

type RemoveOptions = Parameters<typeof remove>[1];
const one = (snapshot: string, more: Partial<RemoveOptions> = {}): RemoveOptions => ({
  ...{ client: 'a', snapshot, confirm: `a@${snapshot}`, dryRun: false },
  ...more,
});
const all = (more: Partial<RemoveOptions> = {}): RemoveOptions => ({
  ...{ client: 'a', snapshot: undefined, confirm: 'a', dryRun: false },
  ...more,
});

async function refusal(action: Promise<Removal>): Promise<Fault> {
  const caught: unknown = await action.then(
    () => undefined,
    error => error,
  );
  assert.ok(caught instanceof Fault, String(caught));
  return caught;
}

describe('remove(), of a snapshot', () => {
  it('removes what is named twice, says what that frees, and leaves no trash', async t => {
    const { config, client } = makeSite(t);
    const dry = await remove(config, one('2026-01-02', { dryRun: true, confirm: undefined }), NEVER);
    assert.equal(dry.named, `a@${NAMES[1]}`);
    assert.equal((dry.frees?.bytes ?? 0) >= 5000, true);
    assert.equal(snapshotNames(client).length, 3);
    const done = await remove(config, one('2026-01-02', { confirm: `a@${NAMES[1]}` }), NEVER);
    assert.deepEqual({ ...done, dry_run: true }, dry);
    assert.deepEqual(snapshotNames(client), [NAMES[0], NAMES[2]]);
    assert.deepEqual(readdirSync(`${client.folder}/trash`), []);
  });

  it('refuses without the whole name, a pinned one, the last full one, during a run, and what is not there', async t => {
    const { config, client } = makeSite(t);
    for (const confirm of [undefined, 'a', 'a@2026-01-01', `b@${NAMES[0]}`, `a@${NAMES[1]}`]) {
      const { exit, next } = await refusal(remove(config, one('2026-01-01', { confirm }), NEVER));
      assert.equal(exit, 'usage');
      assert.match(next ?? '', new RegExp(`remove a@${NAMES[0]} --confirm a@${NAMES[0]}$`));
    }
    pinSnapshot(client, readSnapshot(client, NAMES[0]), 'the move');
    const pinned = await refusal(remove(config, one(NAMES[0]), NEVER));
    assert.match(pinned.found, /^it is pinned: the move$/);
    assert.equal(pinned.next, `dialback unpin a@${NAMES[0]}`);
    assert.match((await refusal(remove(config, one('2025'), NEVER))).found, /no such snapshot/);
    {
      await using held = new AsyncDisposableStack();
      await lockClient(held, client);
      assert.equal((await refusal(remove(config, one(NAMES[1]), NEVER))).exit, 'locked');
    }
    assert.equal(snapshotNames(client).length, 3);
    for (const name of NAMES.slice(0, 2)) rmSync(`${client.folder}/snapshots/${name}`, { recursive: true });
    const last = await refusal(remove(config, one(NAMES[2]), NEVER));
    assert.match(last.found, /last full one/);
    assert.match(last.next ?? '', /dialback remove-client a/);
    assert.deepEqual(snapshotNames(client), [NAMES[2]]);
  });
});

describe('remove(), of a client', () => {
  it('removes one that is unenrolled and named twice, pins too', async t => {
    const { config, client } = makeSite(t);
    createClient(config.store, 'ab');
    pinSnapshot(client, readSnapshot(client, NAMES[0]), 'the move');
    retire(client);
    const dry = await remove(config, all({ dryRun: true, confirm: undefined }), NEVER);
    assert.deepEqual([dry.named, dry.snapshots, dry.pinned], ['a', 3, 1]);
    assert.equal(existsSync(client.folder), true);
    await remove(config, all(), NEVER);
    assert.deepEqual(readdirSync(`${config.store}/clients`), ['ab']);
  });

  it('refuses one that is enrolled, another name, one whose run is under way, and one that is not there', async t => {
    const { config, client } = makeSite(t);
    assert.equal((await refusal(remove(config, all(), NEVER))).next, 'dialback unenroll a');
    retire(client);
    for (const confirm of [undefined, 'b', `a@${NAMES[0]}`])
      assert.equal((await refusal(remove(config, all({ confirm }), NEVER))).exit, 'usage');
    await refusal(remove(config, all({ client: 'b', confirm: 'b' }), NEVER));
    await refusal(remove(config, all({ client: '../clients/a', confirm: '../clients/a' }), NEVER));
    await using held = new AsyncDisposableStack();
    await lockClient(held, client);
    assert.equal((await refusal(remove(config, all(), NEVER))).exit, 'locked');
    assert.equal(snapshotNames(client).length, 3);
  });

  it('is finished by prune where it was killed, which leaves other names alone', async t => {
    const { config } = makeSite(t);
    const clients = `${config.store}/clients`;
    mkdirSync(`${clients}/.removed-b-01234567/snapshots/x/tree`, { recursive: true });
    for (const other of ['.removed-b', '.removed-..-01234567', '.removed-b-0123456', 'removed-b-01234567'])
      mkdirSync(`${clients}/${other}`);
    assert.deepEqual(listClients(config.store), ['a', 'removed-b-01234567']);
    await prune(config, { client: 'a', dryRun: false }, NEVER);
    assert.deepEqual(readdirSync(clients).sort(), [
      '.removed-..-01234567',
      '.removed-b',
      '.removed-b-0123456',
      'a',
      'removed-b-01234567',
    ]);
  });
});

describe('removeSnapshot()', () => {
  const names = ['2026-01-01T00-00-00Z', '2026-01-02T00-00-00Z', '2026-01-03T00-00-00Z'] as const;

  it('takes a snapshot out by one rename, and says why in the journal', t => {
    const client = makeClient(t);
    for (const name of names) addSnapshot(client, name);
    removeSnapshot(client, names[0], 'no rule wants it');
    assert.deepEqual(snapshotNames(client), names.slice(1));
    const [trash] = readdirSync(`${client.folder}/trash`);
    assert.match(trash ?? '', /^2026-01-01T00-00-00Z-[0-9a-f]{8}$/);
    const journal = readFileSync(`${client.folder}/journal.jsonl`, 'utf8');
    assert.match(journal, /"removed","what":"snapshots\/2026-01-01T00-00-00Z","reason":"no rule wants it"/);
  });

  it('refuses what is not there, what is pinned, and the last full one, whoever asks', t => {
    const client = makeClient(t);
    addSnapshot(client, names[0]);
    addSnapshot(client, names[1], 'incomplete');
    addSnapshot(client, names[2], 'incomplete');
    const refusal = (name: string): string => fault(() => removeSnapshot(client, name, 'x')).found;
    for (const name of ['../../b/snapshots/x', '2026-01-09T00-00-00Z', '', '.']) {
      assert.match(refusal(name), /no such snapshot/);
    }
    assert.match(refusal(names[0]), /last full one/);
    pinSnapshot(client, readSnapshot(client, names[1]), 'before the\nmove');
    assert.match(refusal(names[1]), /^it is pinned: before the move$/);
    assert.equal(snapshotNames(client).length, 3);
    unpinSnapshot(client, readSnapshot(client, names[1]));
    removeSnapshot(client, names[1], 'x');
    assert.deepEqual(snapshotNames(client), [names[0], names[2]]);
  });

  it('refuses the only snapshot, full or not', t => {
    const client = makeClient(t);
    addSnapshot(client, names[0], 'incomplete');
    assert.match(fault(() => removeSnapshot(client, names[0], 'x')).found, /last/);
  });
});
