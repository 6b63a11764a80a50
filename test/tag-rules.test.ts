import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { scopeFilter } from '../src/client/filter.ts';
import { chooseLeftOut, doesCount } from '../src/client/tag-rules.ts';

describe('doesCount()', () => {
  const [anna, bert] = [1000, 1001];
  it('accepts the tag of the owner of the folder, and of root', () => {
    for (const mode of [0o755, 0o700, 0o775, 0o2775, 0o1755]) {
      assert.ok(doesCount({ uid: anna, mode: mode & 0o1777 }, { uid: anna }), mode.toString(8));
      assert.ok(doesCount({ uid: anna, mode: mode & 0o1777 }, { uid: 0 }), mode.toString(8));
    }
  });
  it('refuses the tag of any other user', () => {
    assert.ok(!doesCount({ uid: anna, mode: 0o755 }, { uid: bert }));
    assert.ok(!doesCount({ uid: 0, mode: 0o775 }, { uid: bert }));
  });
  it('refuses every tag in a folder to which others can write, where they could move one of root', () => {
    for (const mode of [0o1777, 0o777, 0o757, 0o1770, 0o1775])
      for (const uid of [0, anna]) assert.ok(!doesCount({ uid: anna, mode }, { uid }), mode.toString(8));
  });
  it('refuses a tag in a folder of which nothing is known', () => {
    assert.ok(!doesCount({ uid: undefined, mode: 0o755 }, { uid: 0 }));
    assert.ok(!doesCount({ uid: 0, mode: undefined }, { uid: 0 }));
  });
});

describe('chooseLeftOut()', () => {
  const choose = (paths: Record<string, string[]>, names: string[], roots = ['/']) => {
    const warnings: string[] = [];
    const tagged = Object.entries(paths).map(([path, tags]) => ({ path, tags }));
    const chosen = chooseLeftOut(tagged, names, roots, message => warnings.push(message));
    return { chosen: chosen.map(({ path, tag }) => `${path} ${tag}`), warnings };
  };
  it('takes the outermost folders with a tag that the config names', () => {
    const found = {
      '/a': ['.nobackup', 'CACHEDIR.TAG'],
      '/a/b': ['CACHEDIR.TAG'],
      '/ab': ['.nobackup'],
      '/c': ['x'],
    };
    assert.deepEqual(choose(found, ['CACHEDIR.TAG', '.nobackup']).chosen, ['/a .nobackup', '/ab .nobackup']);
    assert.deepEqual(choose(found, ['CACHEDIR.TAG']).chosen, ['/a CACHEDIR.TAG']);
    assert.deepEqual(choose(found, []).chosen, []);
  });
  it('keeps roots and the folders above them, and says so', () => {
    const found = { '/': ['t'], '/a': ['t'], '/a/b': ['t'], '/a/b/c': ['t'] };
    const { chosen, warnings } = choose(found, ['t'], ['/a/b', '/d']);
    assert.deepEqual(chosen, ['/a/b/c t']);
    assert.equal(warnings.length, 3);
  });
  it('has a limit, above which folders stay in the backup', () => {
    const many = Object.fromEntries(Array.from({ length: 1500 }, (_, at) => [`/f${at}`, ['t']]));
    const { chosen, warnings } = choose(many, ['t']);
    assert.equal(chosen.length, 1000);
    assert.match(warnings.join(), /500/);
  });
});

describe('scopeFilter() with tagged folders', () => {
  it('keeps the tag, after never and the excludes, and before the roots', () => {
    const filter = scopeFilter({
      roots: ['/r'],
      never: ['/r/n'],
      excludes: ['*.bak'],
      tagged: [{ path: '/r/a*', tag: '.nobackup' }],
    });
    assert.deepEqual(filter.split('\n').slice(3, 9), [
      '- *.bak',
      '- *.bak/**',
      '+ /r/a\\*/.nobackup',
      '- /r/a\\*/**',
      '+ /r',
      '+ /r/**',
    ]);
  });
});
