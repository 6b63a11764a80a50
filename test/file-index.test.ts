import assert from 'node:assert/strict';
import {
  appendFileSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, it, type TestContext } from 'node:test';
import fc from 'fast-check';
import { openIndex, type StoreIndex } from '../src/store/file-index.ts';
import type { Held } from '../src/store/index-room.ts';
import { snapshotNames } from '../src/store/snapshot.ts';
import { type ClientStore, createClient, createStore } from '../src/store/store.ts';
import { snapshotName } from '../src/wire/text.ts';

function makeClient(context: TestContext): ClientStore {
  const scratch = mkdtempSync(`${tmpdir()}/dialback index `);
  context.after(() => rmSync(scratch, { recursive: true, force: true }));
  createStore(`${scratch}/store`);
  return createClient(`${scratch}/store`, 'a');
}

const nameOf = (second: number): string => snapshotName(new Date(1_800_000_000_000 + second * 1000));

/** A snapshot by hand. @param files path -> content, or the path of an older file to link */
function snapshot(
  client: ClientStore,
  second: number,
  files: Record<string, { text: string } | { link: string }>,
) {
  const name = nameOf(second);
  const tree = `${client.folder}/snapshots/${name}/tree`;
  mkdirSync(tree, { recursive: true });
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(`${tree}/${path}`), { recursive: true });
    if ('link' in content) linkSync(`${client.folder}/snapshots/${content.link}`, `${tree}/${path}`);
    else writeFileSync(`${tree}/${path}`, content.text);
  }
  return name;
}

async function using<T>(client: ClientStore, action: (index: StoreIndex) => T): Promise<T> {
  await using held = new AsyncDisposableStack();
  return action(await openIndex(held, client));
}

/** What du would say: every inode below these folders once. */
function inodesBelow(folders: string[]): Map<number, number> {
  const found = new Map<number, number>();
  const visit = (path: string): void => {
    const status = lstatSync(path);
    found.set(status.ino, status.blocks * 512);
    if (status.isDirectory()) for (const name of readdirSync(path)) visit(`${path}/${name}`);
  };
  folders.forEach(visit);
  return found;
}

function heldBelow(folders: string[]): Held {
  const found = inodesBelow(folders);
  return { inodes: found.size, bytes: [...found.values()].reduce((one, other) => one + other, 0) };
}

const foldersOf = (client: ClientStore, names = snapshotNames(client)): string[] =>
  names.map(name => `${client.folder}/snapshots/${name}`);

const all = (index: StoreIndex) =>
  [...index.versions(() => true)]
    .filter(each => !each.isFolder)
    .map(each => [each.path.toString(), each.snapshots]);

describe('openIndex()', () => {
  it('tells which snapshots have which version of a file', async context => {
    const client = makeClient(context);
    const first = snapshot(client, 1, { 'etc/a': { text: 'old' }, b: { text: 'b' } });
    const second = snapshot(client, 2, { 'etc/a': { link: `${first}/tree/etc/a` } });
    const third = snapshot(client, 3, { 'etc/a': { text: 'new!' }, b: { link: `${first}/tree/b` } });
    assert.deepEqual(await using(client, all), [
      ['b', [first, third]],
      ['etc/a', [first, second]],
      ['etc/a', [third]],
    ]);
    const sizes = await using(client, index => [...index.versions(path => path.toString() === 'etc/a')]);
    assert.deepEqual(
      sizes.map(each => each.size),
      [3, 4],
    );
    const [folder] = await using(client, index => [...index.versions(path => path.toString() === 'etc')]);
    assert.deepEqual([folder?.isFolder, folder?.snapshots], [true, [first, second, third]]);
  });

  it('takes in what came and drops what went, whoever did it', async context => {
    const client = makeClient(context);
    const [first, second, third] = [1, 2, 3].map(each =>
      snapshot(client, each, { [`f${each}`]: { text: 'x' } }),
    );
    await using(client, all);
    rmSync(`${client.folder}/snapshots/${second}`, { recursive: true });
    const earlier = snapshot(client, 0, { f0: { text: 'x' } });
    assert.deepEqual(await using(client, all), [
      ['f0', [earlier]],
      ['f1', [first]],
      ['f3', [third]],
    ]);
  });

  it('takes a file whose size or time is not that of its inode any more for another file', async context => {
    const client = makeClient(context);
    const first = snapshot(client, 1, { a: { text: 'old' }, b: { text: 'b' } });
    await using(client, index => {
      const digests = [...index.files(first)].map(({ inode }): [bigint, Uint8Array] => [
        inode,
        Buffer.alloc(32, 1),
      ]);
      index.setDigests(digests);
    });
    // As if the file had been removed, and its inode number were of a new one.
    writeFileSync(`${client.folder}/snapshots/${first}/tree/a`, 'newer');
    const second = snapshot(client, 2, { a: { link: `${first}/tree/a` }, b: { link: `${first}/tree/b` } });
    const found = await using(client, index => ({
      files: [...index.files(second)].map(each => [
        each.path.toString(),
        each.size,
        each.digest !== undefined,
      ]),
      changed: [...(index.compare(second, [first])?.paths() ?? [])].map(each => each.path.toString()),
      toRead: index.withoutDigest(second, 10).map(each => each.path.toString()),
    }));
    assert.deepEqual(found.files, [
      ['a', 5, false],
      ['b', 1, true],
    ]);
    assert.deepEqual(found.changed, ['', 'a']);
    assert.deepEqual(found.toRead, ['a']);
  });

  it('compares a snapshot with the newest older one that is wanted, and tells every path that they do not share', async context => {
    const client = makeClient(context);
    const files = {
      'd/kept': { text: 'x' },
      'd/gone': { text: 'x' },
      became: { text: 'x' },
      other: { text: 'x' },
    };
    const first = snapshot(client, 1, files);
    const second = snapshot(client, 2, { 'd/kept': { link: `${first}/tree/d/kept` } });
    const third = snapshot(client, 3, {
      'd/kept': { link: `${first}/tree/d/kept` },
      'd/linked': { link: `${first}/tree/d/kept` },
      'became/file': { text: 'y' },
      other: { text: 'x' },
    });
    await using(client, index => {
      const changes = index.compare(third, [first]);
      assert.equal(changes?.older, first);
      assert.equal(changes?.countFiles(), 4);
      assert.deepEqual(
        [...(changes?.paths() ?? [])].map(({ path, now }) => [
          path.toString(),
          typeof now === 'string' ? now : 'file',
        ]),
        [
          ['', 'folder'],
          ['became', 'folder'],
          ['became/file', 'file'],
          ['d', 'folder'],
          ['d/gone', 'gone'],
          ['d/linked', 'file'],
          ['other', 'file'],
        ],
      );
      assert.equal(index.compare(third, [first, second, third])?.older, second);
      assert.equal(index.compare(first, [first, second, third]), undefined);
    });
  });

  it('sees another tree under a name that it knows', async context => {
    const client = makeClient(context);
    const name = snapshot(client, 1, { old: { text: 'x' } });
    await using(client, all);
    renameSync(`${client.folder}/snapshots/${name}`, `${client.folder}/trash/moved`);
    snapshot(client, 1, { fresh: { text: 'x' } });
    assert.deepEqual(await using(client, all), [['fresh', [name]]]);
  });

  it('sees a tree that has the number of another one, as in a copy of the store', async context => {
    const client = makeClient(context);
    const name = snapshot(client, 1, { a: { text: 'x' } });
    await using(client, all);
    const change = (sql: string): void => {
      const database = new DatabaseSync(`${client.folder}/index.sqlite`);
      database.exec(sql);
      database.close();
    };
    const sizes = (index: StoreIndex): number[] => [...index.versions(() => true)].map(each => each.size);
    change('UPDATE inode SET size = 99');
    assert.deepEqual(await using(client, sizes), [99], 'a tree that is known is not looked through again');
    change('UPDATE snapshot SET made = made - 1');
    assert.deepEqual(await using(client, sizes), [1]);
    assert.deepEqual(await using(client, all), [['a', [name]]]);
  });

  for (const [kind, spoil] of Object.entries({
    lost: (path: string) => rmSync(path),
    'no database': (path: string) =>
      writeFileSync(path, 'this is no database, and longer than its header is '.repeat(99)),
    'cut short': (path: string) => truncateSync(path, 5000),
    'grown over': (path: string) => {
      truncateSync(path, 4096);
      appendFileSync(path, Buffer.alloc(40_960, 0xa5));
    },
    'of another program': (path: string) => {
      rmSync(path);
      const other = new DatabaseSync(path);
      other.exec('CREATE TABLE t (x); PRAGMA application_id = 7');
      other.close();
    },
    empty: (path: string) => writeFileSync(path, ''),
  })) {
    it(`makes a new one when it is ${kind}`, async context => {
      const client = makeClient(context);
      const names = [1, 2].map(each => snapshot(client, each, { [`f${each}`]: { text: 'x' } }));
      await using(client, all);
      spoil(`${client.folder}/index.sqlite`);
      assert.deepEqual(
        await using(client, all),
        names.map((name, at) => [`f${at + 1}`, [name]]),
      );
    });
  }

  it('keeps names of any bytes', async context => {
    const client = makeClient(context);
    const name = snapshot(client, 1, {});
    const odd = Buffer.from([0x61, 0x0a, 0xff, 0x20, 0x5c]);
    writeFileSync(Buffer.concat([Buffer.from(`${client.folder}/snapshots/${name}/tree/`), odd]), '');
    const [only] = await using(client, index => [...index.versions(() => true)]);
    assert.deepEqual(only?.path, odd);
  });
});

describe('StoreIndex', () => {
  it('freedBy(), held() and versions() say what a look at the disk says, whatever comes and goes', async context => {
    const step = fc.record({
      remove: fc.option(fc.nat(9), { nil: undefined }),
      // For each of five names: absent, new content, a link to what an older snapshot has under that name, or a twin.
      files: fc.array(fc.constantFrom('none', 'new', 'link', 'twin'), { minLength: 5, maxLength: 5 }),
      from: fc.nat(9),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { minLength: 1, maxLength: 9 }),
        fc.array(fc.nat(20)),
        async (steps, order) => {
          const client = makeClient(context);
          for (const [second, { remove, files, from }] of steps.entries()) {
            const names = snapshotNames(client);
            const older = names[from % Math.max(1, names.length)];
            const wanted: Record<string, { text: string } | { link: string }> = {};
            for (const [at, what] of files.entries()) {
              const path = `d${at % 2}/f${at}`;
              const link = `${older}/tree/${path}`;
              if (what === 'none') continue;
              const canLink =
                what === 'link' && older !== undefined && existsSync(`${client.folder}/snapshots/${link}`);
              wanted[path] = canLink ? { link } : { text: 'x'.repeat(5000 * at) };
              if (what === 'twin') wanted[`${path}.twin`] = { link: `${nameOf(second)}/tree/${path}` };
            }
            snapshot(client, second, wanted);
            if (second % 2 === 0) await using(client, () => undefined);
            const removed = remove === undefined ? undefined : snapshotNames(client)[remove];
            if (removed !== undefined) {
              renameSync(`${client.folder}/snapshots/${removed}`, `${client.folder}/trash/x`);
              await using(client, () => rmSync(`${client.folder}/trash/x`, { recursive: true }));
            }
          }
          const names = snapshotNames(client);
          await using(client, index => {
            assert.deepEqual(index.held(), heldBelow(foldersOf(client)));
            const wanted = [...new Set(order.map(at => names[at % Math.max(1, names.length)]))].filter(
              each => each !== undefined,
            );
            const freed = index.freedBy(wanted);
            let left = names;
            for (const name of wanted) {
              const before = heldBelow(foldersOf(client, left));
              left = left.filter(each => each !== name);
              const after = heldBelow(foldersOf(client, left));
              assert.deepEqual(freed.get(name), {
                inodes: before.inodes - after.inodes,
                bytes: before.bytes - after.bytes,
              });
            }
            for (const { path, isFolder, snapshots } of index.versions(() => true)) {
              const inodes = snapshots.map(
                name => lstatSync(`${client.folder}/snapshots/${name}/tree/${path.toString()}`).ino,
              );
              assert.ok(snapshots.length > 0);
              if (!isFolder) assert.equal(new Set(inodes).size, 1);
            }
            for (const name of names) {
              const files = [...index.files(name)].map(each => each.path.toString());
              const there = (
                readdirSync(`${client.folder}/snapshots/${name}/tree`, {
                  recursive: true,
                  withFileTypes: true,
                }) as { isDirectory(): boolean; name: string; parentPath: string }[]
              )
                .filter(each => !each.isDirectory())
                .map(each => `${each.parentPath}/${each.name}`.split('/tree/')[1]);
              assert.deepEqual(files, there.sort());
              assert.equal(
                index.names().get(name),
                there.length + new Set(there.map(each => each?.split('/')[0])).size,
              );
            }
          });
        },
      ),
      { numRuns: 20 },
    );
  });

  it('takes no more than the names, however long their paths are, and gives back what is free', async context => {
    const client = makeClient(context);
    // 4 MB of paths with 320 names.
    const folders = Array<string>(15).fill('n'.repeat(250)).join('/');
    const files = Array.from({ length: 1000 }, (_, at) => [`${folders}/${at}`, { text: '' }] as const);
    snapshot(client, 1, Object.fromEntries(files));
    snapshot(client, 2, { a: { text: 'a' } });
    const path = `${client.folder}/index.sqlite`;
    const paths = await using(client, index => [...index.versions(() => true)].map(each => each.path));
    assert.equal(paths.length, 1000 + 15 + 1);
    assert.deepEqual(paths, paths.toSorted(Buffer.compare));
    const size = lstatSync(path).size;
    assert.ok(size < 400_000, `${size} bytes`);
    rmSync(`${client.folder}/snapshots/${nameOf(1)}`, { recursive: true });
    await using(client, () => {});
    assert.ok(lstatSync(path).size < size / 2, `${lstatSync(path).size} bytes of ${size}`);
  });

  it('has the order of the paths, and not of the names', async context => {
    const client = makeClient(context);
    const names = ['a', 'a-b/c', 'a-b/d/e', 'a.d', 'a/b', 'a/b-/c', 'a0', 'b/\xff', 'b/\u00e4/z'];
    const files = names.filter(name => name !== 'a').map(name => [name, { text: name }] as const);
    const name = snapshot(client, 1, Object.fromEntries(files));
    await using(client, index => {
      const found = [...index.files(name)].map(each => each.path);
      assert.equal(found.length, files.length);
      assert.deepEqual(found, found.toSorted(Buffer.compare));
      for (const { path, inode } of index.files(name))
        assert.deepEqual([...index.sharing(inode)], [{ path, snapshots: [name] }]);
    });
  });

  it('setDigests() is kept for what later snapshots share, and gone with the last that had it', async context => {
    const client = makeClient(context);
    const first = snapshot(client, 1, { a: { text: 'a' }, b: { text: 'b' } });
    await using(client, index => {
      const found = index.withoutDigest(first, 10);
      assert.deepEqual(found.map(each => each.path.toString()).sort(), ['a', 'b']);
      index.setDigests(found.map(each => [each.inode, Buffer.alloc(32, 7)]));
    });
    const second = snapshot(client, 2, { a: { link: `${first}/tree/a` }, c: { text: 'c' } });
    await using(client, index => {
      assert.deepEqual(
        index.withoutDigest(second, 10).map(each => each.path.toString()),
        ['c'],
      );
      assert.deepEqual(
        [...index.files(second)].map(each => each.digest?.[0]),
        [7, undefined],
      );
    });
  });
});

describe('StoreIndex', () => {
  it('tells where an inode is, under which paths and in which snapshots', async context => {
    const client = makeClient(context);
    const first = snapshot(client, 1, { a: { text: 'x' } });
    const second = snapshot(client, 2, { a: { link: `${first}/tree/a` }, b: { link: `${first}/tree/a` } });
    const third = snapshot(client, 3, { a: { text: 'y' } });
    const inode = BigInt(lstatSync(`${client.folder}/snapshots/${first}/tree/a`).ino);
    const other = BigInt(lstatSync(`${client.folder}/snapshots/${third}/tree/a`).ino);
    const found = await using(client, index =>
      [inode, other, 1n].map(each =>
        [...index.sharing(each)].map(({ path, snapshots }) => [path.toString(), snapshots]),
      ),
    );
    assert.deepEqual(found, [
      [
        ['a', [first, second]],
        ['b', [second]],
      ],
      [['a', [third]]],
      [],
    ]);
  });

  it('adopts a digest where it has none, and the file is still of that size and time', async context => {
    const client = makeClient(context);
    const name = snapshot(client, 1, {
      a: { text: 'x' },
      b: { text: 'x' },
      c: { text: 'x' },
      d: { text: 'x' },
    });
    const [good, wrong] = [1, 2].map(each => new Uint8Array(32).fill(each));
    assert.ok(good && wrong);
    const digests = await using(client, index => {
      const files = [...index.files(name)];
      const [a, b, c, d] = files;
      assert.ok(a && b && c && d);
      index.setDigests([[d.inode, good]]);
      index.adoptDigests(name, [
        { path: a.path, size: 1, mtime: a.mtime, sha256: good },
        { path: b.path, size: 2, mtime: b.mtime, sha256: wrong },
        { path: c.path, size: 1, mtime: '1.000000000', sha256: wrong },
        { path: d.path, size: 1, mtime: d.mtime, sha256: wrong },
        { path: Buffer.from('nowhere'), size: 1, mtime: a.mtime, sha256: wrong },
      ]);
      index.adoptDigests(nameOf(9), [{ path: b.path, size: 1, mtime: b.mtime, sha256: wrong }]);
      return [...index.files(name)].map(each => each.digest?.[0]);
    });
    assert.deepEqual(digests, [1, undefined, undefined, 1]);
  });
});
