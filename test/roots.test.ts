import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Entry, Look } from '../src/client/never.ts';
import { followExcludes, refuseNeverRoots, resolveRoots } from '../src/client/roots.ts';
import { Fault } from '../src/fault.ts';
import { matching, says } from './support/wording.ts';

const FOLDER = 0o040755;
const ME = 1000;
const OTHER = 1001;

/** A machine with these entries; a folder of root where nothing else is said. */
function machine(entries: Record<string, Partial<Entry>>): Look {
  return path => {
    const entry = entries[path];
    if (entry === undefined && path !== '/') return 'ENOENT';
    return { uid: 0, mode: FOLDER, nlink: 1, ...entry };
  };
}

const link = (target: string, uid = 0): Partial<Entry> => ({ uid, mode: 0o120777, target });
const resolve = (names: string[], look: Look) => resolveRoots(names, [0, ME], look);

describe('resolveRoots()', () => {
  const look = machine({
    '/real': {},
    '/real/data': {},
    '/real/file': { mode: 0o100644 },
    '/absolute': link('/real'),
    '/relative': link('real'),
    '/data': link('/real/data'),
    '/dangling': link('/nowhere'),
    '/mine': { uid: ME },
    '/mine/link': link('/real', ME),
    '/theirs': { uid: OTHER },
    '/theirs/link': link('/real', OTHER),
    '/pipe': { mode: 0o010600 },
    '/socket': { mode: 0o140600 },
    '/disk': { mode: 0o060660 },
  });

  it('leaves a root without symbolic links as it is', () =>
    assert.deepEqual(resolve(['/', '/real/data', '/real/file', '/disk'], look), [
      { name: '/', path: '/' },
      { name: '/real/data', path: '/real/data' },
      { name: '/real/file', path: '/real/file' },
      { name: '/disk', path: '/disk' },
    ]));

  for (const above of ['/absolute', '/relative', '/mine/link'])
    it(`follows the link ${above} above a root`, () =>
      assert.deepEqual(resolve([`${above}/data`], look), [{ name: `${above}/data`, path: '/real/data' }]));

  it('makes one root of two names for one folder', () =>
    assert.deepEqual(resolve(['/real/data', '/absolute/data'], look), [
      { name: '/real/data', path: '/real/data' },
    ]));

  it('leaves a missing root to the run', () =>
    assert.deepEqual(resolve(['/absent', '/absolute/absent'], look), [
      { name: '/absent', path: '/absent' },
      { name: '/absolute/absent', path: '/real/absent' },
    ]));

  const refused: [string, RegExp, RegExp | undefined][] = [
    ['/data', /symbolic link to "\/real\/data"/, /"\/real\/data"$/],
    ['/mine/link', /symbolic link to "\/real"/, /"\/real"$/],
    ['/dangling', /symbolic link to "\/nowhere"/, undefined],
    ['/theirs/link/data', matching`${says('other-users-can-replace-the')} "\/theirs\/link"`, undefined],
    ['/pipe', /a FIFO/, undefined],
    ['/socket', /a socket/, undefined],
  ];
  for (const [root, found, next] of refused)
    it(`refuses ${root}`, () =>
      assert.throws(
        () => resolve(['/real', root], look),
        error =>
          error instanceof Fault &&
          error.exit === 'usage' &&
          error.tried.includes(root) &&
          found.test(error.found) &&
          (next === undefined || next.test(error.next ?? '')),
      ));

  it('refuses a real path that is not UTF-8', () =>
    assert.throws(
      () => resolve(['/odd/data'], machine({ '/odd': link('/\xff'), '/\xff': {}, '/\xff/data': {} })),
      /not UTF-8/,
    ));
});

describe('refuseNeverRoots()', () => {
  const roots = [{ name: '/a/b', path: '/a/b' }];
  for (const never of ['/a/b', '/a', '/'])
    it(`refuses a root that ${never} covers`, () =>
      assert.throws(() => refuseNeverRoots(roots, [never]), { name: 'Fault', exit: 'usage' }));
  for (const never of ['/a/b/c', '/a/bb', '/b'])
    it(`takes a root beside or above ${never}`, () =>
      assert.doesNotThrow(() => refuseNeverRoots(roots, [never])));
});

describe('followExcludes()', () => {
  it('adds the real path to patterns that begin with a root by another name', () => {
    const roots = [
      { name: '/link/data', path: '/real/data' },
      { name: '/srv', path: '/srv' },
    ];
    const patterns = ['*.o', '/srv/x', '/link/data/tmp/', '/link/data', '/link/database/x'];
    const all = followExcludes(
      patterns.map(pattern => ({ pattern, where: 'line 1' })),
      roots,
    );
    assert.deepEqual(
      all.map(each => each.pattern),
      ['*.o', '/srv/x', '/link/data/tmp/', '/real/data/tmp/', '/link/data', '/real/data', '/link/database/x'],
    );
  });
});
