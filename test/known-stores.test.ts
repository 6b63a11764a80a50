import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseFstab, parseKnownStores, unmountedAbove } from '../src/store/known-stores.ts';

describe('parseKnownStores()', () => {
  it('gives the paths of a record', () => {
    assert.deepEqual(parseKnownStores('{"version":1,"stores":["/a","/b c"]}'), ['/a', '/b c']);
  });
  it('gives none for what is no record', () => {
    for (const text of [
      '',
      '{',
      '[]',
      'null',
      '{"version":2,"stores":["/a"]}',
      '{"version":1,"stores":"/a"}',
    ])
      assert.deepEqual(parseKnownStores(text), [], text);
    assert.deepEqual(parseKnownStores('{"version":1,"stores":["/a",1]}'), ['/a']);
  });
});

const FSTAB = [
  '# /etc/fstab',
  'UUID=1 / ext4 defaults 0 1',
  'UUID=2 none swap sw 0 0',
  '  UUID=3\t/mnt/my\\040disk/ ext4 noauto 0 2',
  '#UUID=4 /old ext4 defaults 0 2',
  'UUID=5 /srv ext4',
].join('\n');

describe('parseFstab()', () => {
  it('gives the mount points, without comments and swap', () => {
    assert.deepEqual(parseFstab(FSTAB), ['/', '/mnt/my disk', '/srv']);
  });
});

describe('unmountedAbove()', () => {
  const mounted = (...paths: string[]): string =>
    paths.map((path, at) => `${at} 1 8:${at} / ${path} rw - ext4 none rw`).join('\n');
  it('names the mount point of a disk that is not mounted', () => {
    assert.equal(unmountedAbove('/mnt/my disk/store', FSTAB, mounted('/', '/srv')), '/mnt/my disk');
    assert.equal(unmountedAbove('/srv', FSTAB, mounted('/', '/mnt/my\\040disk')), '/srv');
  });
  it('gives nothing where all is mounted, or no disk belongs there', () => {
    assert.equal(unmountedAbove('/mnt/my disk/store', FSTAB, mounted('/', '/mnt/my\\040disk')), undefined);
    for (const path of ['/home/store', '/mnt/my diskette', '/srv2'])
      assert.equal(unmountedAbove(path, FSTAB, mounted('/')), undefined, path);
  });
});
