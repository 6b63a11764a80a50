import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type FolderSum, fromTreeOrder, heavyFolders, treeOrder } from '../src/store/heavy-folders.ts';

/** Sorts as the database does. */
function inOrder(sums: FolderSum[]): FolderSum[] {
  const key = ({ path }: FolderSum): Buffer => treeOrder(Buffer.from(path, 'latin1'));
  return [...sums].sort((one, other) => Buffer.compare(key(one), key(other)));
}

function chosen(sums: [path: string, files: number, bytes: number][], least: number): FolderSum[] {
  const all = sums.map(([path, files, bytes]) => ({ path, files, bytes }));
  return [...heavyFolders(inOrder(all), { files: least, bytes: least })];
}

describe('heavyFolders()', () => {
  it('chooses the deepest folder that is heavy, and gives the rest to the folders above it', () => {
    assert.deepEqual(
      chosen(
        [
          ['home/anna/photos', 1, 90],
          ['home/anna/mail', 1, 5],
          ['home/bob', 1, 5],
          ['etc', 1, 3],
          ['', 1, 1],
        ],
        10,
      ),
      [
        { path: 'home/anna/photos', files: 1, bytes: 90 },
        { path: 'home', files: 2, bytes: 10 },
        { path: '', files: 2, bytes: 4 },
      ],
    );
  });
  it('chooses the folder above many light ones', () => {
    const light = Array.from({ length: 100 }, (_, at): [string, number, number] => [`a/b/c ${at}/d`, 1, 1]);
    assert.deepEqual(chosen(light, 50), [{ path: 'a/b', files: 100, bytes: 100 }]);
  });
  it('keeps a folder apart from another one whose name begins with its name', () => {
    assert.deepEqual(
      chosen(
        [
          ['a/x', 20, 20],
          ['a-b', 20, 20],
          ['a', 20, 20],
        ],
        10,
      ).map(each => each.path),
      ['a/x', 'a', 'a-b'],
    );
  });
  it('chooses by files where the bytes are few, and nothing where there is nothing', () => {
    assert.deepEqual(chosen([['a/b', 30, 0]], 10), [{ path: 'a/b', files: 30, bytes: 0 }]);
    assert.deepEqual(chosen([], 10), []);
  });
  it('loses no file and no byte, and chooses few folders', () => {
    const name = fc.constantFrom('a', 'b', 'a-b', 'c');
    const sums = fc.uniqueArray(
      fc.record({
        path: fc.array(name, { maxLength: 5 }).map(parts => parts.join('/')),
        files: fc.integer({ min: 1, max: 9 }),
        bytes: fc.integer({ min: 0, max: 99 }),
      }),
      { selector: each => each.path },
    );
    fc.assert(
      fc.property(sums, all => {
        const total = (key: 'files' | 'bytes', of: FolderSum[]): number =>
          of.reduce((sum, each) => sum + each[key], 0);
        const least = { files: total('files', all) / 20, bytes: total('bytes', all) / 20 };
        const found = [...heavyFolders(inOrder(all), least)];
        assert.equal(total('files', found), total('files', all));
        assert.equal(total('bytes', found), total('bytes', all));
        assert.ok(found.length <= 41);
        assert.equal(new Set(found.map(each => each.path)).size, found.length);
      }),
    );
  });
});

describe('treeOrder()', () => {
  it('is undone by fromTreeOrder()', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 255 })), bytes => {
        const path = Buffer.from(bytes);
        assert.equal(fromTreeOrder(treeOrder(path)), path.toString('latin1'));
      }),
    );
  });
});
