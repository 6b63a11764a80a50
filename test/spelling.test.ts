import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type FolderView, otherSpellings } from '../src/client/spelling.ts';

/** A disk at /disk that takes "A" for "a", beside others that do not. */
const FILES = [
  '/disk',
  '/disk/Data',
  '/disk/Data/Private',
  '/disk/Data/Open',
  '/disk/Секрет',
  '/disk/123',
  '/srv',
  '/srv/data',
  '/srv/data/x',
];
const view: FolderView = {
  identify: path => {
    const isSame = (each: string): boolean =>
      each === path || (path.startsWith('/disk/') && each.toLowerCase() === path.toLowerCase());
    const ino = FILES.findIndex(isSame) + 1;
    return ino === 0 ? undefined : { dev: path.startsWith('/disk') ? 1 : 2, ino };
  },
  list: folder =>
    FILES.filter(each => each.toLowerCase().startsWith(`${folder.toLowerCase()}/`))
      .map(each => each.slice(folder.length + 1))
      .filter(each => !each.includes('/')),
};
const spellings = (never: string, ...roots: string[]): string[] => otherSpellings(never, roots, view);

describe('otherSpellings()', () => {
  it('has the names as the folders list them', () => {
    assert.deepEqual(spellings('/disk/data/private', '/'), ['/disk/Data/Private']);
    assert.deepEqual(spellings('/disk/Data/PRIVATE', '/disk'), ['/disk/Data/Private']);
  });
  it('has names without ASCII letters too', () => {
    assert.deepEqual(spellings('/disk/секрет', '/'), ['/disk/Секрет']);
    assert.deepEqual(spellings('/disk/123', '/'), []);
  });
  it('has the root as it is configured', () => {
    const found = spellings('/disk/Data/Private', '/disk/DATA');
    assert.ok(found.includes('/disk/DATA/Private'), found.join());
    assert.ok(spellings('/disk/data/private', '/disk/DATA').includes('/disk/Data/Private'));
  });
  it('has none where there is but one', () => {
    assert.deepEqual(spellings('/disk/Data/Private', '/'), []);
    assert.deepEqual(spellings('/srv/DATA/x', '/'), []);
    assert.deepEqual(spellings('/srv/data/x', '/srv/DATA'), []);
    assert.deepEqual(spellings('/nothing/there', '/', '/disk'), []);
  });
});
