import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { unmountedAbove } from '../src/os/fstab.ts';
import { isElsewhere, parseKnownStores } from '../src/store/store-record.ts';

type KnownStore = Parameters<typeof isElsewhere>[0];
const KNOWN: KnownStore = { path: '/mnt/disk/store', mount: '/mnt/disk', config: '/h/host.toml 7 1' };

describe('parseKnownStores()', () => {
  it('gives the stores of a record', () => {
    assert.deepEqual(parseKnownStores(JSON.stringify({ version: 1, stores: [KNOWN] })), [KNOWN]);
  });
  it('gives none for what is no record', () => {
    for (const text of ['', '{', '[]', 'null', '{"version":2,"stores":[]}', '{"version":1,"stores":"/a"}'])
      assert.deepEqual(parseKnownStores(text), [], text);
    for (const other of ['/a', null, {}, { ...KNOWN, mount: 1 }, { ...KNOWN, path: 'store' }])
      assert.deepEqual(parseKnownStores(JSON.stringify({ version: 1, stores: [KNOWN, other] })), [KNOWN]);
  });
});

describe('isElsewhere()', () => {
  const cases: [what: string, now: Partial<KnownStore>, known: Partial<KnownStore>, expected: boolean][] = [
    ['its disk is not mounted', { mount: '/' }, {}, true],
    [
      'its disk is not mounted, and host.toml was changed',
      { mount: '/', config: '/h/host.toml 8 2' },
      {},
      true,
    ],
    ['its folder is gone from its file system', {}, {}, true],
    ['it was moved away on the system disk', { mount: '/' }, { mount: '/' }, true],
    ['it was removed, and host.toml was written anew', { config: '/h/host.toml 8 2' }, {}, false],
    ['a new disk is mounted in its place', { mount: '/mnt/disk/store' }, { mount: '/' }, false],
    ['a new disk is mounted above it', { mount: '/mnt/disk' }, { mount: '/' }, false],
    [
      'another disk is mounted where it was itself mounted',
      { mount: KNOWN.path },
      { mount: KNOWN.path },
      false,
    ],
  ];
  for (const [what, now, known, expected] of cases)
    it(`is ${expected} when ${what}`, () =>
      assert.equal(isElsewhere({ ...KNOWN, ...known }, { ...KNOWN, ...now }), expected));
});

const FSTAB = [
  '# /etc/fstab',
  'UUID=1 / ext4 defaults 0 1',
  'UUID=2 none swap sw 0 0',
  '  UUID=3\t/mnt/my\\040disk/ ext4 noauto 0 2',
  '#UUID=4 /old ext4 defaults 0 2',
  'UUID=5 /srv ext4',
].join('\n');

describe('unmountedAbove()', () => {
  const mounted = (...paths: string[]): string =>
    paths.map((path, at) => `${at} 1 8:${at} / ${path} rw - ext4 none rw`).join('\n');
  it('names the mount point of a disk that is not mounted', () => {
    assert.equal(unmountedAbove('/mnt/my disk/store', FSTAB, mounted('/', '/srv')), '/mnt/my disk');
    assert.equal(unmountedAbove('/srv', FSTAB, mounted('/', '/mnt/my\\040disk')), '/srv');
  });
  it('reads the mount points of fstab, without comments and swap', () => {
    const points = ['/', '/mnt/my disk', '/srv'];
    const table = (paths: string[]): string => mounted(...paths.map(each => each.replace(' ', '\\040')));
    for (const path of points) assert.equal(unmountedAbove(path, FSTAB, table(points)), undefined, path);
    for (const path of points) {
      const others = points.filter(each => each !== path);
      assert.equal(unmountedAbove(path, FSTAB, table(others)), path);
    }
    for (const path of ['/old/store', '/none/store'])
      assert.equal(unmountedAbove(path, FSTAB, mounted('/')), undefined, path);
  });
  it('gives nothing where all is mounted, or no disk belongs there', () => {
    assert.equal(unmountedAbove('/mnt/my disk/store', FSTAB, mounted('/', '/mnt/my\\040disk')), undefined);
    for (const path of ['/home/store', '/mnt/my diskette', '/srv2'])
      assert.equal(unmountedAbove(path, FSTAB, mounted('/')), undefined, path);
  });
});
