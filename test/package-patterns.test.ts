import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseExcludes } from '../src/client/filter.ts';
import { choosePatterns, type FolderEntry } from '../src/client/package-patterns.ts';

type Tree = { [name: string]: Tree | number };

/** The files of a tree are proven; `except` names those that are not. */
function choose(
  tree: Tree,
  options: { except?: string[]; special?: string[]; missing?: string[]; system?: string } = {},
) {
  const { except = [], special = [], missing = [], system = '/' } = options;
  const proven = new Map<string, number>();
  const plainFolders = new Set<string>();
  const walk = (folder: string, node: Tree): void => {
    for (const [name, child] of Object.entries(node)) {
      const path = `${folder}/${name}`;
      if (typeof child === 'number') {
        if (!except.includes(path)) proven.set(path, child);
        continue;
      }
      if (!special.includes(path)) plainFolders.add(path);
      walk(path, child);
    }
  };
  walk('', tree);
  const list = (folder: string): FolderEntry[] | undefined => {
    let node: Tree | number | undefined = tree;
    for (const name of folder.slice(1).split('/')) node = typeof node === 'object' ? node[name] : undefined;
    if (typeof node !== 'object') return undefined;
    return Object.entries(node).map(([name, child]) => ({ name, isFolder: typeof child === 'object' }));
  };
  return choosePatterns({ proven, plainFolders, missing: new Set(missing) }, system, list);
}

const names = (chosen: ReturnType<typeof choose>): string[] => chosen.patterns.map(each => each.pattern);

describe('choosePatterns()', () => {
  const tree = { usr: { share: { doc: { a: { x: 1, y: 2 }, b: { z: 3 } }, man: { m: 4 } }, bin: { ls: 5 } } };

  it('has one pattern for the highest folder below one of /usr', () => {
    const chosen = choose(tree);
    assert.deepEqual(names(chosen), ['/usr/bin/ls', '/usr/share/doc/*', '/usr/share/man/*']);
    assert.deepEqual(
      chosen.patterns.map(each => [each.files, each.bytes]),
      [
        [1, 5],
        [3, 6],
        [1, 4],
      ],
    );
    assert.deepEqual(chosen.unlisted, { files: 0, bytes: 0 });
  });

  it('has none for a folder with a file that cannot be put back', () => {
    assert.deepEqual(names(choose(tree, { except: ['/usr/share/doc/a/x'] })), [
      '/usr/bin/ls',
      '/usr/share/doc/a/y',
      '/usr/share/doc/b/*',
      '/usr/share/man/*',
    ]);
  });

  it('has none for a folder above one with other attributes', () => {
    const chosen = names(choose(tree, { special: ['/usr/share/doc/b'] }));
    assert.ok(chosen.includes('/usr/share/doc/a/*') && chosen.includes('/usr/share/doc/b/*'));
    assert.ok(!chosen.includes('/usr/share/doc/*'));
  });

  it('has none for a folder in which a path of a package is missing', () => {
    const chosen = names(choose(tree, { missing: ['/usr/share/doc/b/removed'] }));
    assert.ok(chosen.includes('/usr/share/doc/b/z') && chosen.includes('/usr/share/doc/a/*'));
  });

  it('names each file in /usr/local, /usr/src, /opt and below /', () => {
    const folder = { deep: { f: 1 } };
    const chosen = choose({
      usr: { local: { share: folder }, src: { linux: folder } },
      opt: folder,
      boot: { vmlinuz: 1 },
    });
    assert.ok(
      names(chosen).every(each => !each.includes('*')),
      String(names(chosen)),
    );
    assert.equal(chosen.patterns.length, 4);
  });

  it('writes names that would be wildcards so that they match only themselves, below the folder of a system', () => {
    const odd = { usr: { bin: { '[': 1, 'a*b': 2, 'back\\slash': 3 }, share: { '[x]': { f: 4 } } } };
    const chosen = names(choose(odd, { system: '/srv/a [b]' }));
    assert.deepEqual(chosen, [
      '/srv/a \\[b\\]/usr/bin/['.replace('\\]', ']').replace('usr/bin/[', 'usr/bin/\\['),
      '/srv/a \\[b]/usr/bin/a\\*b',
      '/srv/a \\[b]/usr/bin/back\\\\slash',
      '/srv/a \\[b]/usr/share/\\[x]/*',
    ]);
    assert.equal(parseExcludes(chosen, 'the list').length, 4);
  });

  it('leaves out names that an exclude list cannot have', () => {
    const chosen = choose({ bin: { 'a\nb': 1, [`${'x'.repeat(2001)}`]: 2, c: 3 } });
    assert.deepEqual(names(chosen), ['/bin/c']);
    assert.deepEqual(chosen.unlisted, { files: 2, bytes: 3 });
  });

  it('takes at most 3000 patterns: those that save most', () => {
    const bin = Object.fromEntries(Array.from({ length: 3010 }, (_, at) => [`f${at}`, at]));
    const chosen = choose({ bin });
    assert.equal(chosen.patterns.length, 3000);
    assert.deepEqual(chosen.unlisted, { files: 10, bytes: 45 });
    assert.ok(!names(chosen).includes('/bin/f9') && names(chosen).includes('/bin/f10'));
  });
});
