import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { describe, it, type TestContext } from 'node:test';
import { Fault } from '../src/fault.ts';
import { abandonSnapshot, beginSnapshot, commitSnapshot } from '../src/store/arrival.ts';
import { removeSnapshot } from '../src/store/remove.ts';
import {
  findSnapshot,
  pinSnapshot,
  readSnapshot,
  type SnapshotRecord,
  snapshotNames,
  unpinSnapshot,
} from '../src/store/snapshot.ts';
import {
  type ClientStore,
  createClient,
  createStore,
  listClients,
  lockClient,
  openClient,
  openStore,
} from '../src/store/store.ts';
import { emptyTrash } from '../src/store/trash.ts';
import { stateOf } from './support/inode.ts';

function scratch(context: TestContext): string {
  const path = mkdtempSync(`${tmpdir()}/dialback store `);
  context.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

function makeClient(context: TestContext): ClientStore {
  const store = `${scratch(context)}/store`;
  createStore(store);
  return createClient(store, 'a');
}

function fault(action: () => unknown): Fault {
  try {
    action();
  } catch (error) {
    assert.ok(error instanceof Fault, String(error));
    return error;
  }
  throw new Error('no fault');
}

const record = (snapshot: string, state: 'full' | 'incomplete' = 'full'): SnapshotRecord =>
  ({
    version: 1,
    client: 'a',
    snapshot,
    state,
    started: '',
    finished: '',
    counts: { files: 1, bytes: 1, new_bytes: 1 },
    scope: { roots: ['/'] },
    flags: [],
  }) as unknown as SnapshotRecord;

/** A finished snapshot, as commitSnapshot() leaves one. */
function addSnapshot(client: ClientStore, name: string, state: 'full' | 'incomplete' = 'full'): void {
  mkdirSync(`${client.folder}/snapshots/${name}/tree`, { recursive: true });
  writeFileSync(`${client.folder}/snapshots/${name}/snapshot.json`, JSON.stringify(record(name, state)));
}

/** An interrupted tree, of a run that ended in order. */
function addArriving(client: ClientStore, name: string, files: Record<string, string>): string {
  mkdirSync(`${client.folder}/arriving/${name}`);
  writeFileSync(`${client.folder}/arriving/${name}/synced`, '');
  const tree = `${client.folder}/arriving/${name}/tree`;
  mkdirSync(tree, { recursive: true });
  for (const [file, content] of Object.entries(files)) {
    mkdirSync(`${tree}/${file}`.slice(0, `${tree}/${file}`.lastIndexOf('/')), { recursive: true });
    writeFileSync(`${tree}/${file}`, content);
    utimesSync(`${tree}/${file}`, 1_000_000_000.5, 1_000_000_000.25);
  }
  return tree;
}

describe('createStore() and openStore()', () => {
  it('make a private store once, and open it', t => {
    const store = `${scratch(t)}/deep/store`;
    assert.equal(createStore(store), true);
    assert.equal(createStore(store), false);
    assert.equal(statSync(store).mode & 0o777, 0o700);
    assert.deepEqual(JSON.parse(readFileSync(`${store}/store.json`, 'utf8')), { version: 1 });
    openStore(store);
  });

  it('take an empty folder with lost+found, and refuse one with anything else or open to others', t => {
    const top = scratch(t);
    mkdirSync(`${top}/disk/lost+found`, { recursive: true });
    chmodSync(`${top}/disk`, 0o700);
    assert.equal(createStore(`${top}/disk`), true);
    mkdirSync(`${top}/full`, 0o700);
    writeFileSync(`${top}/full/.x`, '');
    assert.match(fault(() => createStore(`${top}/full`)).found, /not empty, and is no store/);
    mkdirSync(`${top}/open`);
    chmodSync(`${top}/open`, 0o755);
    assert.match(fault(() => createStore(`${top}/open`)).found, /not private to this account/);
    assert.deepEqual(readdirSync(`${top}/open`), []);
    writeFileSync(`${top}/file`, '');
    fault(() => createStore(`${top}/file`));
  });

  it('refuse a folder without store.json, and never make one of an unmounted disk', t => {
    const top = scratch(t);
    for (const path of [top, `${top}/none`]) {
      const { exit, code } = fault(() => openStore(path));
      assert.deepEqual([exit, code], ['noStore', 'no-store']);
    }
    assert.deepEqual(readdirSync(top), []);
  });

  for (const text of [
    '',
    '{',
    '[]',
    '{}',
    '{"version":0}',
    '{"version":2}',
    '{"version":"1"}',
    'null',
    'x'.repeat(5000),
  ])
    it(`refuse a store.json that is ${JSON.stringify(text).slice(0, 30)}`, t => {
      const top = scratch(t);
      writeFileSync(`${top}/store.json`, text);
      assert.equal(fault(() => openStore(top)).exit, 'noStore');
    });
});

describe('openClient()', () => {
  it('refuses a name that is none, or none of the store', t => {
    const { folder } = makeClient(t);
    const store = folder.replace('/clients/a', '');
    assert.equal(openClient(store, 'a').folder, folder);
    for (const name of ['', '.', '..', '../a', 'a/', 'a/snapshots', 'A', 'b', '-a', 'a\n'])
      assert.match(fault(() => openClient(store, name)).found, /none of that name/, name);
    mkdirSync(`${store}/clients/.hidden`);
    assert.deepEqual(listClients(store), ['a']);
  });
});

describe('findSnapshot()', () => {
  it('takes a name, a prefix that only one has, and `latest` for the newest full one', t => {
    const client = makeClient(t);
    addSnapshot(client, '2026-01-01T00-00-00Z');
    addSnapshot(client, '2026-01-02T00-00-00Z');
    addSnapshot(client, '2026-02-01T00-00-00Z', 'incomplete');
    mkdirSync(`${client.folder}/snapshots/2026-02-30T00-00-00Z`);
    mkdirSync(`${client.folder}/snapshots/2025-not-a-snapshot`);
    for (const [wanted, name] of [
      ['2026-01-01T00-00-00Z', '2026-01-01T00-00-00Z'],
      ['2026-01-02', '2026-01-02T00-00-00Z'],
      ['2026-02', '2026-02-01T00-00-00Z'],
      ['latest', '2026-01-02T00-00-00Z'],
    ] as const)
      assert.equal(findSnapshot(client, wanted).name, name);
    for (const [wanted, found] of [
      ['', /^there is no such snapshot$/],
      ['2025', /^there is no such snapshot$/],
      ['2026-02-30T00-00-00Z', /^there is no such snapshot$/],
      ['Latest', /^there is no such snapshot$/],
      ['2026-01-01T00-00-00Z ', /^there is no such snapshot$/],
      ['../a', /^there is no such snapshot$/],
      ['*', /^there is no such snapshot$/],
      ['2026', /^3 snapshots begin with that$/],
      ['2026-01', /^2 snapshots begin with that$/],
    ] as const)
      assert.match(fault(() => findSnapshot(client, wanted)).found, found, wanted);
  });

  it('passes over a snapshot from the future for `latest`', t => {
    const client = makeClient(t);
    addSnapshot(client, '2999-01-01T00-00-00Z');
    assert.match(fault(() => findSnapshot(client, 'latest')).found, /from the future/);
    assert.equal(findSnapshot(client, '2999').name, '2999-01-01T00-00-00Z');
    addSnapshot(client, '2026-01-02T00-00-00Z');
    assert.equal(findSnapshot(client, 'latest').name, '2026-01-02T00-00-00Z');
  });

  for (const text of [
    '',
    '{',
    'null',
    '[]',
    '{}',
    '{"version":2,"counts":{},"scope":{},"flags":[]}',
    '{"version":1,"state":"full"}',
  ])
    it(`finds a snapshot whose record is ${JSON.stringify(text)}, but takes it for no full one`, t => {
      const client = makeClient(t);
      addSnapshot(client, '2026-01-01T00-00-00Z');
      writeFileSync(`${client.folder}/snapshots/2026-01-01T00-00-00Z/snapshot.json`, text);
      const { state, flags } = findSnapshot(client, '2026').record;
      assert.deepEqual([state, flags], ['incomplete', ['damaged']]);
      assert.match(fault(() => findSnapshot(client, 'latest')).found, /none of its snapshots is full/);
    });

  it('tells no snapshot from no full one, when `latest` is wanted', t => {
    const client = makeClient(t);
    assert.equal(fault(() => findSnapshot(client, 'latest')).found, 'there is no snapshot yet');
    addSnapshot(client, '2026-01-01T00-00-00Z', 'incomplete');
    assert.equal(
      fault(() => findSnapshot(client, 'latest')).found,
      'none of its snapshots is full; name one',
    );
  });
});

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

describe('pinSnapshot()', () => {
  it('is seen by whoever reads the snapshot, until unpinSnapshot()', t => {
    const client = makeClient(t);
    addSnapshot(client, '2026-01-01T00-00-00Z');
    const read = (): string | undefined => readSnapshot(client, '2026-01-01T00-00-00Z').pinned;
    assert.equal(read(), undefined);
    pinSnapshot(client, readSnapshot(client, '2026-01-01T00-00-00Z'), 'before the move');
    assert.equal(read(), 'before the move');
    writeFileSync(`${client.folder}/snapshots/2026-01-01T00-00-00Z/pinned`, 'x'.repeat(5000));
    assert.match(read() ?? '', /cannot be read/);
    unpinSnapshot(client, readSnapshot(client, '2026-01-01T00-00-00Z'));
    assert.equal(read(), undefined);
  });
});

describe('lockClient()', () => {
  it('lets one run at a time have a client, and says which', async t => {
    const client = makeClient(t);
    await using held = new AsyncDisposableStack();
    await lockClient(held, client);
    await assert.rejects(
      lockClient(held, client),
      error =>
        error instanceof Fault &&
        error.exit === 'locked' &&
        error.code === 'busy' &&
        /"a"/.test(error.message),
    );
  });
});
