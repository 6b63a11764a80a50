import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type FolderPage, readEntry, readFolderPage } from '../src/store/folder-page.ts';
import { scratch } from './support/scratch.ts';

const { signal } = new AbortController();
const namesOf = ({ entries }: FolderPage): string[] =>
  entries.map(each => each.path.toString('latin1').replace(/^f\//, ''));

/** A tree whose folder f has these names. */
function treeOf(folder: string, names: Iterable<string>): string {
  mkdirSync(`${folder}/f`, { recursive: true });
  for (const each of names) writeFileSync(Buffer.from(`${folder}/f/${each}`, 'latin1'), each);
  return folder;
}

const F = Buffer.from('f');

describe('readFolderPage()', () => {
  it('lists each entry once, part by part, in both directions', async context => {
    const top = scratch(context);
    const name = fc
      .string({ unit: 'binary-ascii', minLength: 1, maxLength: 3 })
      .filter(each => !/[/\0]/.test(each) && !['.', '..'].includes(each));
    let at = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(name, { maxLength: 25 }),
        fc.integer({ min: 1, max: 7 }),
        async (names, count) => {
          at += 1;
          const tree = treeOf(`${top}/${at}`, names);
          const sorted = names.toSorted((one, other) =>
            Buffer.compare(Buffer.from(one, 'latin1'), Buffer.from(other, 'latin1')),
          );
          const found: string[] = [];
          let last: Buffer | undefined;
          for (;;) {
            const page = await readFolderPage(tree, F, { after: last, count }, signal);
            assert.equal(page.total, names.length);
            assert.equal(page.hasEarlier, found.length > 0);
            found.push(...namesOf(page));
            assert.equal(page.hasLater, found.length < names.length);
            if (!page.hasLater) break;
            last = Buffer.from(found.at(-1) ?? '', 'latin1');
          }
          assert.deepEqual(found, sorted);
          const end = Buffer.from(sorted.at(-1) ?? 'x', 'latin1');
          const back = await readFolderPage(tree, F, { before: end, count }, signal);
          assert.deepEqual(namesOf(back), sorted.slice(0, -1).slice(-count));
          assert.equal(back.hasEarlier, sorted.length - 1 > count);
        },
      ),
      { numRuns: 25 },
    );
  });

  it('reads only the entries of its part', async context => {
    const tree = treeOf(
      scratch(context),
      Array.from({ length: 5000 }, (_, each) => String(each).padStart(5, '0')),
    );
    const page = await readFolderPage(tree, F, { after: Buffer.from('02499'), count: 100 }, signal);
    assert.deepEqual([page.entries.length, page.total], [100, 5000]);
    assert.deepEqual([namesOf(page)[0], namesOf(page).at(-1)], ['02500', '02599']);
  });

  it('fails for a file and for a missing folder', async context => {
    const tree = treeOf(scratch(context), ['a']);
    await assert.rejects(readFolderPage(tree, Buffer.from('f/a'), { count: 1 }, signal), { code: 'ENOTDIR' });
    await assert.rejects(readFolderPage(tree, Buffer.from('g'), { count: 1 }, signal), { code: 'ENOENT' });
  });

  it('stops when its reader has gone', async context => {
    const tree = treeOf(scratch(context), ['a']);
    await assert.rejects(readFolderPage(tree, F, { count: 1 }, AbortSignal.abort(new Error('gone'))), /gone/);
  });
});

describe('readEntry()', () => {
  it('reads an entry, and knows a path that is not there', async context => {
    const tree = treeOf(scratch(context), ['a']);
    chmodSync(`${tree}/f/a`, 0o640);
    const entry = await readEntry(tree, Buffer.from('f/a'), signal);
    assert.deepEqual([entry?.type, entry?.mode, entry?.size], ['file', 0o640, 1]);
    assert.equal((await readEntry(tree, Buffer.alloc(0), signal))?.type, 'folder');
    for (const path of ['f/b', 'f/a/b', 'g', 'x'.repeat(300)])
      assert.equal(await readEntry(tree, Buffer.from(path), signal), undefined);
  });
});
