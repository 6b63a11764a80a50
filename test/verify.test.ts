import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  appendFileSync,
  existsSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import type { Xattr } from '../src/store/fake-super.ts';
import { attributesDigest, changedRecords, manifestOf, readManifest } from '../src/store/manifest.ts';
import { makeManifests } from '../src/store/manifest-writer.ts';
import { type ClientStore, createClient, createStore } from '../src/store/store.ts';
import { lastVerified } from '../src/store/verified.ts';
import { isWell, verify } from '../src/store/verify.ts';
import { makeDeep } from './support/long-path.ts';
import { says } from './support/wording.ts';

const { signal } = new AbortController();
const FIRST = '2026-01-01T00-00-00Z';
const SECOND = '2026-01-02T00-00-00Z';

interface Made {
  store: string;
  client: ClientStore;
}

function makeStore(context: TestContext): Made {
  const scratch = mkdtempSync(`${tmpdir()}/dialback verify `);
  context.after(() => rmSync(scratch, { recursive: true, force: true }));
  const store = `${scratch}/store`;
  createStore(store);
  return { store, client: createClient(store, 'a') };
}

/** @param files path -> content, or what to link */
function put({ client }: Made, name: string, files: Record<string, string | { link: string }>): void {
  const folder = `${client.folder}/snapshots/${name}`;
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, 'tree', path)), { recursive: true });
    if (typeof content === 'string') writeFileSync(join(folder, 'tree', path), content);
    else linkSync(`${client.folder}/snapshots/${content.link}`, join(folder, 'tree', path));
  }
  writeFileSync(`${folder}/snapshot.json`, '{}\n');
}

async function reading({ client }: Made, name = FIRST): Promise<string> {
  const paths: string[] = [];
  try {
    for await (const { path } of readManifest(client, name, signal)) paths.push(path);
  } catch (error) {
    return String(error);
  }
  return paths.join();
}

async function timeOf({ client }: Made, path: string): Promise<number> {
  for await (const each of readManifest(client, FIRST, signal))
    if (each.path === path) return Number(each.mtimeNs / 1_000_000_000n);
  return 0;
}

const verifyAll = async ({ store }: Made) =>
  (await verify({ store, client: 'a', snapshot: undefined, sample: 100 }, signal))[0];

describe('attributesDigest()', () => {
  const xattr = (name: string, value: string): Xattr => ({
    name: Buffer.from(name),
    value: Buffer.from(value),
  });
  it('is what getfattr, sort and sha256sum make of it', context => {
    const { store } = makeStore(context);
    const path = `${store}/file`;
    writeFileSync(path, '');
    const xattrs = [
      xattr('user.rsync.%stat', '100644 0,0 1:2'),
      xattr('user.b', ''),
      xattr('user.B', 'x\0y'),
    ];
    for (const { name, value } of xattrs)
      spawnSync('/usr/bin/setfattr', ['-n', name.toString(), '-v', `0x${value.toString('hex')}`, path]);
    const script = `getfattr --absolute-names -h -d -e hex -- '${path}' | grep = | LC_ALL=C sort | sha256sum`;
    const { stdout } = spawnSync('/bin/sh', ['-c', script], { encoding: 'utf8' });
    assert.equal(`${attributesDigest(xattrs)}  -\n`, stdout);
  });

  it('differs with a name, a value, one more, and where one ends', () => {
    const sets = [
      [],
      [xattr('user.a', '')],
      [xattr('user.a', 'b')],
      [xattr('user.ab', '')],
      [xattr('user.a', ''), xattr('user.b', '')],
      [xattr('user.a', 'b'), xattr('user.b', '')],
    ];
    assert.equal(new Set(sets.map(attributesDigest)).size, sets.length);
  });
});

describe('makeManifests()', () => {
  it('makes those that are missing, and reads nothing again that an older one shares', async context => {
    const made = makeStore(context);
    put(made, FIRST, { a: 'one', 'd/b': 'two' });
    assert.deepEqual((await makeManifests(made.client, signal)).made, [FIRST]);
    assert.deepEqual((await makeManifests(made.client, signal)).made, []);
    // Changed where nobody sees it but who reads: the second manifest says what it was.
    const path = `${made.client.folder}/snapshots/${FIRST}/tree/a`;
    spawnSync('touch', ['--reference', path, `${made.store}/times`]);
    writeFileSync(path, 'eno');
    spawnSync('touch', ['--reference', `${made.store}/times`, path]);
    put(made, SECOND, { a: { link: `${FIRST}/tree/a` }, c: 'three' });
    assert.deepEqual((await makeManifests(made.client, signal)).made, [SECOND]);
    const digests: string[][] = [[], []];
    for (const [at, name] of [FIRST, SECOND].entries())
      for await (const entry of readManifest(made.client, name, signal))
        if (entry.path === 'a') digests[at]?.push(entry.sha256);
    assert.deepEqual(digests[0], digests[1]);
    const result = await verifyAll(made);
    assert.deepEqual(result?.damaged, [{ path: 'a', differences: ['content'], snapshots: [FIRST, SECOND] }]);
  });

  it('ends at a signal, and leaves nothing half done', async context => {
    const made = makeStore(context);
    put(made, FIRST, { a: 'one' });
    const controller = new AbortController();
    controller.abort(new Error('now'));
    await assert.rejects(makeManifests(made.client, controller.signal), /now/);
    assert.deepEqual(readdirSync(`${made.client.folder}/snapshots/${FIRST}`), ['snapshot.json', 'tree']);
  });
});

describe('one entry that cannot be read', () => {
  it('is named in the manifest and the journal, and all else is described and verified', async context => {
    const made = makeStore(context);
    put(made, FIRST, { a: 'one', 'd/b': 'two' });
    // Neither can be opened as the plain file that a stored entry is.
    const tree = `${made.client.folder}/snapshots/${FIRST}/tree`;
    spawnSync('/usr/bin/mkfifo', [`${tree}/d/a pipe`]);
    symlinkSync('/etc/passwd', `${tree}/z`);
    put(made, SECOND, { c: 'three' });
    const { made: names, failed } = await makeManifests(made.client, signal);
    assert.deepEqual([names, [...failed]], [[FIRST, SECOND], []]);
    assert.equal(await reading(made), ',a,d,d/a pipe,d/b,z');
    assert.equal(await reading(made, SECOND), ',c');
    const journal = readFileSync(`${made.client.folder}/journal.jsonl`, 'utf8');
    assert.match(
      journal,
      /"event":"unread","snapshot":"2026-01-01T00-00-00Z","files":2,"names":\["d\/a pipe","z"\]/,
    );
    writeFileSync(`${tree}/d/b`, 'owt');
    const result = await verifyAll(made);
    assert.deepEqual(result?.snapshots, [FIRST, SECOND]);
    assert.deepEqual(
      result?.damaged.map(each => [each.path, each.differences.filter(one => one !== 'time')]),
      [
        ['d/a pipe', ['unreadable']],
        ['d/b', ['content']],
        ['z', ['unreadable']],
      ],
    );
    assert.ok(result && !isWell([result]));
  });

  it('is no damage once it can be read', async context => {
    const made = makeStore(context);
    put(made, FIRST, { a: 'one' });
    const path = `${made.client.folder}/snapshots/${FIRST}/tree/a`;
    const { mtime } = statSync(path);
    renameSync(path, `${made.store}/kept`);
    symlinkSync('one', path);
    lutimesSync(path, mtime, mtime);
    await makeManifests(made.client, signal);
    rmSync(path);
    renameSync(`${made.store}/kept`, path);
    utimesSync(path, mtime, mtime);
    const folder = dirname(path);
    spawnSync('touch', ['-d', `@${Number(await timeOf(made, ''))}`, folder]);
    const result = await verifyAll(made);
    assert.deepEqual(
      result?.damaged.filter(each => each.path === 'a'),
      [],
    );
  });

  it('may lie at a path that is longer than the kernel takes', async context => {
    const made = makeStore(context);
    put(made, FIRST, { a: 'one' });
    const deep = makeDeep(`${made.client.folder}/snapshots/${FIRST}/tree`, 16, {
      [`f${'f'.repeat(90)}`]: 'deep',
      g: 'deep too',
    });
    assert.deepEqual((await makeManifests(made.client, signal)).made, [FIRST]);
    const result = await verifyAll(made);
    assert.deepEqual([result?.damaged, result?.records, result?.files_read], [[], [], 3]);
    makeDeep(`${made.client.folder}/snapshots/${FIRST}/tree`, 16, { g: 'poor too' });
    const again = await verifyAll(made);
    assert.deepEqual(
      again?.damaged.map(each => each.path),
      [`${deep}g`],
    );
  });

  it('of one client stops no other client', async context => {
    const made = makeStore(context);
    put(made, FIRST, { a: 'one' });
    // No file can be made there, and no folder be listed: whatever is tried for this client fails.
    const other = createClient(made.store, 'b-damaged');
    rmSync(`${other.folder}/snapshots`, { recursive: true });
    writeFileSync(`${other.folder}/snapshots`, '');
    const last = createClient(made.store, 'zz');
    put({ ...made, client: last }, FIRST, { a: 'one' });
    for (const client of [made.client, last]) await makeManifests(client, signal);
    const options = { store: made.store, client: undefined, snapshot: undefined, sample: 100 };
    const results = await verify(options, signal);
    assert.deepEqual(
      results.map(each => [each.client, each.snapshots.length, each.failed === null]),
      [
        ['a', 1, true],
        ['b-damaged', 0, false],
        ['zz', 1, true],
      ],
    );
    assert.ok(!isWell(results));
    await assert.rejects(verify({ ...options, client: 'b-damaged' }, signal));
  });

  it('of one snapshot stops no other snapshot', async context => {
    const made = makeStore(context);
    put(made, FIRST, { a: 'one' });
    put(made, SECOND, { a: 'one' });
    // Nothing can be written beside the tree.
    mkdirSync(`${made.client.folder}/snapshots/${FIRST}/manifest.mtree.gz.new/x`, { recursive: true });
    const { made: names, failed } = await makeManifests(made.client, signal);
    assert.deepEqual([names, [...failed.keys()]], [[SECOND], [FIRST]]);
    const result = await verifyAll(made);
    assert.deepEqual(result?.snapshots, [SECOND]);
    assert.deepEqual(
      result?.records.map(each => [each.snapshot, each.name]),
      [[FIRST, 'manifest.mtree.gz']],
    );
  });
});

describe('readManifest() and changedRecords()', () => {
  const CHANGES: [what: string, change: (path: string) => void, says: RegExp][] = [
    ['cut short', path => truncateSync(path, readFileSync(path).length - 10), /unexpected end of file/],
    ['empty', path => truncateSync(path, 0), /unexpected end/],
    ['no gzip', path => writeFileSync(path, '#mtree\n'), /incorrect header check/],
    ['gone', path => rmSync(path), says('there-is-no-such-file')],
  ];
  for (const [what, change, says] of CHANGES)
    it(`say of a manifest that is ${what} that it is`, async context => {
      const made = makeStore(context);
      put(made, FIRST, { b: 'one', 'a.b': 'x', 'a/c': 'y' });
      await makeManifests(made.client, signal);
      assert.equal(await reading(made), ',a,a.b,a/c,b');
      assert.deepEqual(await changedRecords(made.client, FIRST, signal), []);
      change(manifestOf(made.client, FIRST));
      assert.match(await reading(made), says);
      assert.deepEqual(await changedRecords(made.client, FIRST, signal), ['manifest.mtree.gz']);
    });

  it('say of one with something behind it that it is not what it was', async context => {
    const made = makeStore(context);
    put(made, FIRST, { b: 'one' });
    await makeManifests(made.client, signal);
    appendFileSync(manifestOf(made.client, FIRST), 'x');
    assert.deepEqual(await changedRecords(made.client, FIRST, signal), ['manifest.mtree.gz']);
  });

  it('say so where the sums are gone, or are none', async context => {
    const made = makeStore(context);
    put(made, FIRST, { b: 'one' });
    await makeManifests(made.client, signal);
    const sums = `${made.client.folder}/snapshots/${FIRST}/sha256sums`;
    const good = readFileSync(sums, 'latin1');
    for (const text of ['', 'x\n', good.slice(1), good.replace('manifest', '../../x'), good.trimEnd()]) {
      writeFileSync(sums, text);
      assert.deepEqual(await changedRecords(made.client, FIRST, signal), ['sha256sums'], text);
    }
    rmSync(sums);
    assert.deepEqual(await changedRecords(made.client, FIRST, signal), ['sha256sums']);
  });
});

describe('lastVerified()', () => {
  it('is of the snapshots that are there, and takes a damaged file for none', async context => {
    const made = makeStore(context);
    put(made, FIRST, { a: 'one' });
    put(made, SECOND, { a: 'one' });
    await makeManifests(made.client, signal);
    assert.deepEqual(lastVerified(made.client), new Map());
    await verifyAll(made);
    assert.deepEqual([...lastVerified(made.client).keys()], [FIRST, SECOND]);
    rmSync(`${made.client.folder}/snapshots/${FIRST}`, { recursive: true });
    assert.deepEqual([...lastVerified(made.client).keys()], [SECOND]);
    assert.ok(!existsSync(`${made.client.folder}/verify.sqlite`));
    writeFileSync(`${made.client.folder}/verified.json`, '{"slot":0,"snapshots":{"../x":{}}}');
    assert.deepEqual(lastVerified(made.client), new Map());
    writeFileSync(`${made.client.folder}/verified.json`, '[');
    assert.deepEqual(lastVerified(made.client), new Map());
  });
});
