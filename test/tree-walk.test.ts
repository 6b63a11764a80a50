import assert from 'node:assert/strict';
import { linkSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { describe, it, type TestContext } from 'node:test';
import { listForArchive } from '../src/store/archive-list.ts';
import { listTree } from '../src/store/stored-tree.ts';
import { walkForArchive, walkTree } from '../src/store/tree-walk.ts';
import { scratch } from './support/scratch.ts';

const { signal } = new AbortController();

/** Names around the slash, which decides the two orders, and bytes that are not UTF-8. */
function plant(context: TestContext): string {
  const tree = `${scratch(context)}/tree`;
  for (const folder of ['a', 'a b', 'a.d', 'a/c', 'a/c/deep', 'a-', 'empty', 'z\n'])
    mkdirSync(`${tree}/${folder}`, { recursive: true });
  for (const file of ['a.b', 'a/b', 'a/c/x', 'a/c.x', 'a/c/deep/\u202e', 'a b/one', 'z\n/\t', '0', '~'])
    writeFileSync(`${tree}/${file}`, file.repeat(3));
  writeFileSync(Buffer.concat([Buffer.from(`${tree}/a/`), Buffer.from([0xff, 0xfe])]), 'bytes');
  writeFileSync(Buffer.concat([Buffer.from(`${tree}/a`), Buffer.from([1])]), 'control');
  for (const [from, to] of [
    ['a.b', 'a/linked'],
    ['a/b', '0b'],
    ['a/b', 'z\n/b'],
  ])
    linkSync(`${tree}/${from}`, `${tree}/${to}`);
  symlinkSync('/etc', `${tree}/link`); // a store has none; it is not followed
  return tree;
}

async function all<T>(entries: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const each of entries) found.push(each);
  return found;
}

const bytes = (...paths: string[]): Buffer[] => paths.map(each => Buffer.from(each));

const PARTS = [
  {},
  { depth: 0 },
  { depth: 1 },
  { paths: bytes('a') },
  { paths: bytes('a'), depth: 1 },
  { paths: bytes('a.b'), depth: 0 },
  { paths: bytes('z\n', 'a.b', 'a', 'a/c', 'a', 'a b') },
  { paths: bytes('empty') },
];

describe('walkTree()', () => {
  it('lists what find lists, in the same order', async context => {
    const tree = plant(context);
    for (const part of PARTS) {
      const walked = await all(walkTree(tree, { ...part, signal }));
      const expected = await all(listTree(tree, { ...part, signal }));
      assert.deepEqual(
        walked.map(({ path, inode, links, isFolder, mode, uid, gid, size, mtimeNs }) => ({
          ...{ path, inode, links, isFolder, mode, uid, gid, size, mtimeNs },
        })),
        expected,
        JSON.stringify(part),
      );
    }
  });

  it('names what is missing, as a Fault or a complaint', async context => {
    const tree = plant(context);
    await assert.rejects(all(walkTree(tree, { paths: bytes('none'), signal })), /"\/none"/);
    const complaints: string[] = [];
    const options = {
      paths: bytes('none', 'a.b'),
      signal,
      complain: (text: string) => void complaints.push(text),
    };
    assert.equal((await all(walkTree(tree, options))).length, 1);
    assert.equal(complaints.length, 1);
    await assert.rejects(all(walkTree(`${tree}/none`, { signal, complain: () => {} })));
  });

  it('stops at the signal', async context => {
    const tree = plant(context);
    await assert.rejects(all(walkTree(tree, { signal: AbortSignal.abort(new Error('stopped')) })), /stopped/);
  });
});

describe('walkForArchive()', () => {
  it('lists what find and sort list for an archive, with the first names of hard links', async context => {
    const tree = plant(context);
    // listForArchive() writes 1 for the slash, and so has such a name in another place.
    rmSync(`${tree}/a\u0001`);
    const complain = (text: string): void => assert.fail(text);
    for (const passes of [
      [{}],
      [{ paths: bytes('a') }],
      [{ paths: bytes('a', 'a/c'), depth: 0 }, { paths: bytes('a/c/deep', 'a.b', 'z\n') }],
    ]) {
      const walked = await all(walkForArchive(tree, passes, { complain, signal }));
      const expected = await all(listForArchive(tree, passes, { complain, signal }));
      assert.deepEqual(
        walked.map(each => ({ ...each })),
        expected,
        JSON.stringify(passes),
      );
    }
  });
});
