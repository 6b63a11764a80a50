import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { describe, it } from 'node:test';
import { abandonSnapshot, beginSnapshot, commitSnapshot } from '../src/store/arrival.ts';
import { findSnapshot, snapshotNames } from '../src/store/snapshot.ts';
import type { ClientStore } from '../src/store/store.ts';
import { emptyTrash } from '../src/store/trash.ts';
import { addArriving, addSnapshot, makeClient, record } from './support/client-store.ts';
import { stateOf } from './support/inode.ts';
import { withoutOpening } from './support/scratch.ts';

describe('beginSnapshot()', () => {
  const linked = async (client: ClientStore): Promise<string[]> =>
    (await beginSnapshot(client)).linkDests.map(path => path.slice(client.folder.length + 1));

  it('links against nothing the first time, into an empty tree', async t => {
    const client = makeClient(t);
    const arrival = await beginSnapshot(client);
    assert.deepEqual([arrival.basis, arrival.linkDests, arrival.leftOver], [null, [], []]);
    assert.deepEqual(readdirSync(arrival.tree), []);
    assert.equal(statSync(arrival.folder).mode & 0o777, 0o700);
  });

  it('links against the newest, and the newest full one beside it when that is another', async t => {
    const client = makeClient(t);
    addSnapshot(client, '2026-01-01T00-00-00Z');
    addSnapshot(client, '2026-01-02T00-00-00Z');
    assert.deepEqual(await linked(client), ['snapshots/2026-01-02T00-00-00Z/tree']);
  });

  it('links against interrupted trees, newest first, then an incomplete one and the full one before it', async t => {
    const client = makeClient(t);
    addSnapshot(client, '2026-01-01T00-00-00Z');
    addSnapshot(client, '2026-01-02T00-00-00Z', 'incomplete');
    addSnapshot(client, '2026-01-03T00-00-00Z', 'incomplete');
    addArriving(client, '2026-01-04T00-00-00Z', { x: '' });
    addArriving(client, '2026-01-05T00-00-00Z', { x: '' });
    mkdirSync(`${client.folder}/arriving/not a tree`);
    const arrival = await beginSnapshot(client);
    assert.equal(arrival.basis, '2026-01-03T00-00-00Z');
    assert.deepEqual(
      arrival.linkDests.map(path => path.slice(client.folder.length + 1)),
      [
        'arriving/2026-01-05T00-00-00Z/tree',
        'arriving/2026-01-04T00-00-00Z/tree',
        'snapshots/2026-01-03T00-00-00Z/tree',
        'snapshots/2026-01-01T00-00-00Z/tree',
      ],
    );
  });

  it('takes one from the future only when there is no other', async t => {
    const client = makeClient(t);
    addSnapshot(client, '2999-01-01T00-00-00Z');
    assert.deepEqual(await linked(client), ['snapshots/2999-01-01T00-00-00Z/tree']);
    addSnapshot(client, '2026-01-01T00-00-00Z');
    const snapshots = (await linked(client)).filter(each => each.startsWith('snapshots/'));
    assert.equal(snapshots[0], 'snapshots/2026-01-01T00-00-00Z/tree');
  });

  it('keeps four interrupted trees, and moves older ones to the trash', async t => {
    const client = makeClient(t);
    for (let day = 1; day <= 6; day += 1) addArriving(client, `2026-01-0${day}T00-00-00Z`, { x: '' });
    const { leftOver } = await beginSnapshot(client);
    assert.deepEqual(
      leftOver,
      [6, 5, 4, 3].map(day => `2026-01-0${day}T00-00-00Z`),
    );
    assert.equal(readdirSync(`${client.folder}/trash`).length, 2);
    await emptyTrash(client.folder);
    assert.deepEqual(readdirSync(`${client.folder}/trash`), []);
  });

  it('waits for the next second, when the name of this one is taken', async t => {
    const client = makeClient(t);
    const first = await beginSnapshot(client);
    const second = await beginSnapshot(client);
    assert.ok(first.name < second.name);
  });
});

describe('commitSnapshot()', () => {
  it('makes a finished snapshot of the tree, and moves interrupted ones to the trash', async t => {
    const client = makeClient(t);
    addArriving(client, '2026-01-01T00-00-00Z', { x: '' });
    const arrival = await beginSnapshot(client);
    writeFileSync(`${arrival.tree}/file`, 'x');
    await commitSnapshot(client, arrival, record(arrival.name), Buffer.from('*.o\n'));
    assert.deepEqual(snapshotNames(client), [arrival.name]);
    assert.deepEqual(readdirSync(`${client.folder}/arriving`), []);
    const found = findSnapshot(client, 'latest');
    assert.equal(readFileSync(`${found.tree}/file`, 'utf8'), 'x');
    assert.equal(readFileSync(`${found.folder}/excludes`, 'utf8'), '*.o\n');
    assert.equal(readdirSync(`${client.folder}/trash`).length, 1);
  });

  it('does not trust the tree after a sync that failed, even if the next one succeeds', async t => {
    const client = makeClient(t);
    const arrival = await beginSnapshot(client);
    writeFileSync(`${arrival.tree}/file`, 'x');
    await withoutOpening(arrival.folder, async () => {
      const made = record(arrival.name);
      await assert.rejects(commitSnapshot(client, arrival, made, Buffer.alloc(0)));
    });
    await abandonSnapshot(client, arrival);
    assert.deepEqual(readdirSync(arrival.folder), ['tree']);
    assert.deepEqual(snapshotNames(client), []);
  });

  it('trusts the tree after a rename that failed', async t => {
    const client = makeClient(t);
    const arrival = await beginSnapshot(client);
    writeFileSync(`${arrival.tree}/file`, 'x');
    addSnapshot(client, arrival.name);
    await assert.rejects(commitSnapshot(client, arrival, record(arrival.name), Buffer.alloc(0)));
    await abandonSnapshot(client, arrival);
    assert.deepEqual(readdirSync(arrival.folder).sort(), ['synced', 'tree']);
  });
});

describe('abandonSnapshot()', () => {
  it('leaves nothing of a run that received nothing', async t => {
    const client = makeClient(t);
    const arrival = await beginSnapshot(client);
    await abandonSnapshot(client, arrival);
    assert.deepEqual(readdirSync(`${client.folder}/arriving`), []);
  });

  it('merges two interrupted trees by links alone, and writes to no inode of the older one', async t => {
    const client = makeClient(t);
    const snapshotFile = `${client.folder}/snapshots/2026-01-01T00-00-00Z/tree/shared`;
    addSnapshot(client, '2026-01-01T00-00-00Z');
    writeFileSync(snapshotFile, 'shared with a snapshot');
    chmodSync(snapshotFile, 0o444);
    const older = addArriving(client, '2026-01-02T00-00-00Z', {
      'only old': 'old',
      both: 'from the older one',
      'deep/er/file': 'deep',
      'name\nwith [*] ü': 'odd',
      'same size': 'AAAA',
      empty: '',
    });
    linkSync(snapshotFile, `${older}/shared`);
    symlinkSync('target', `${older}/symlink`);
    chmodSync(`${older}/only old`, 0o400);
    chmodSync(`${older}/deep/er/file`, 0o640);
    spawnSync('setfattr', ['-n', 'user.rsync.%stat', '-v', '100644 0,0 5:6', `${older}/only old`]);
    const names = ['only old', 'deep/er/file', 'name\nwith [*] ü', 'shared', 'empty'];
    const before = new Map([...names, 'both', 'same size'].map(name => [name, stateOf(`${older}/${name}`)]));

    const arrival = await beginSnapshot(client);
    const newer = { both: 'from the newer one', 'same size': 'BBBB', 'only new': 'new' };
    for (const [name, content] of Object.entries(newer)) writeFileSync(`${arrival.tree}/${name}`, content);
    utimesSync(`${arrival.tree}/same size`, 1_000_000_000.5, 1_000_000_000.25);
    const kept = Object.keys(newer).map(name => [name, stateOf(`${arrival.tree}/${name}`)] as const);
    await abandonSnapshot(client, arrival);

    assert.deepEqual(readdirSync(`${client.folder}/arriving`), [arrival.name]);
    for (const name of names) assert.deepEqual(stateOf(`${arrival.tree}/${name}`), before.get(name), name);
    for (const [name, state] of kept) assert.deepEqual(stateOf(`${arrival.tree}/${name}`), state, name);
    const [trashed] = readdirSync(`${client.folder}/trash`);
    const old = `${client.folder}/trash/${trashed}/tree`;
    for (const [name, state] of before) assert.deepEqual(stateOf(`${old}/${name}`), state, name);
    assert.deepEqual(stateOf(snapshotFile).content, 'shared with a snapshot');
    await emptyTrash(client.folder);
    assert.equal(readFileSync(`${arrival.tree}/only old`, 'latin1'), 'old');
    assert.ok(existsSync(snapshotFile));
  });

  it('keeps one tree of three', async t => {
    const client = makeClient(t);
    addArriving(client, '2026-01-01T00-00-00Z', { a: '1' });
    addArriving(client, '2026-01-02T00-00-00Z', { b: '2' });
    const arrival = await beginSnapshot(client);
    writeFileSync(`${arrival.tree}/c`, '3');
    await abandonSnapshot(client, arrival);
    assert.deepEqual(readdirSync(`${client.folder}/arriving`), [arrival.name]);
    assert.deepEqual(readdirSync(arrival.tree).sort(), ['b', 'c']);
  });
});
