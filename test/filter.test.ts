import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { mountsLeftOut, parseExcludes, scopeFilter, splitExcludes } from '../src/client/filter.ts';
import { Fault } from '../src/fault.ts';
import { isWithin, type MountEntry, parseMountTable } from '../src/os/mounts.ts';
import { makeScratch, pull, removeTree } from './daemon.ts';
import { ANY_CHARACTER } from './support/any-character.ts';

/** The patterns of a list, without their places. */
const patternsOf = (lines: string[], home?: string): string[] =>
  parseExcludes(lines, '"list"', home).map(each => each.pattern);

describe('parseExcludes() with a home folder', () => {
  const cases: [string, string, string][] = [
    ['~/x/', '/home/me', '/home/me/x/'],
    ['$HOME/x', '/home/me', '/home/me/x'],
    ['$'.concat('{HOME}/*.o'), '/home/me', '/home/me/*.o'],
    ['~/x', '/home/[me]', '/home/\\[me]/x'],
    ['~/*', '/home/m\\e', '/home/m\\\\e/*'],
    ['~/x', '/home/m\\e', '/home/m\\e/x'],
    ['~', '/home/me', '~'],
    ['~x/y', '/home/me', '~x/y'],
    ['a/~/x', '/home/me', 'a/~/x'],
  ];
  for (const [pattern, home, expanded] of cases)
    it(`makes ${expanded} of ${pattern} in ${home}`, () =>
      assert.deepEqual(patternsOf([pattern], home), [expanded]));
  it('does not take another variable for $HOME', () =>
    assert.throws(() => patternsOf(['$HOMES/x'], '/home/me'), /"\$HOMES" is not expanded/));
});

describe('parseExcludes()', () => {
  const refused = [
    '- ',
    '!',
    '! ',
    '-C',
    '+ keep',
    '+ /',
    '+ /**',
    '+\t*',
    '+! x',
    '+/ x',
    ': .rsync-filter',
    ':- .gitignore',
    ':e .x',
    ':C',
    '. /etc/passwd',
    '.- /etc/passwd',
    '- - x',
    '- + x',
    '- !',
    '-! x',
    '-s x',
    '-/ x',
    '-p x',
    'a\nb',
    'a\n+ /',
    'a\r',
    '\r\n+ /',
    'a\0b',
    'a\u001bb',
    'a\u007f',
    './x',
    '../x',
    'x/..',
    'x/./y',
    'a//b',
    'x/.',
    '[abc',
    'x[',
    '*[!]',
    '[\\]',
    '[[:alpha:]',
    '$'.concat('{HOME}x/y'),
    '$CACHE/x',
    '$'.concat('{XDG_CACHE_HOME}/x'),
    'x'.repeat(2001),
    'é'.repeat(1001),
  ];
  for (const line of refused)
    it(`refuses ${JSON.stringify(line).slice(0, 40)}`, () => {
      assert.throws(
        () => parseExcludes(['*.o', line], '"list"'),
        error =>
          error instanceof Fault && error.exit === 'usage' && /^use line 2 of "list"$/.test(error.tried),
      );
    });

  const accepted: [string, string[]][] = [
    ['', []],
    ['   ', []],
    ['\t', []],
    ['# comment', []],
    ['; comment', []],
    ['*.o', ['*.o']],
    ['- *.o', ['*.o']],
    ['-  x', [' x']],
    ['/home/*/.cache/', ['/home/*/.cache/']],
    [' # no comment', [' # no comment']],
    ['-x', ['-x']],
    ['+x', ['+x']],
    ['.x', ['.x']],
    ['!x', ['!x']],
    ['a b ', ['a b ']],
    ['[+] x', ['[+] x']],
    ['[]] x', ['[]] x']],
    ['[!]] x', ['[!]] x']],
    ['[[:alpha:]] x', ['[[:alpha:]] x']],
    ['\\[x', ['\\[x']],
    ['[\\]]', ['[\\]]']],
    ['.x', ['.x']],
    ['..x', ['..x']],
    ['$RECYCLE.BIN/', ['$RECYCLE.BIN/']],
    ['$x/y', ['$x/y']],
    ['~x/', ['~x/']],
    ['x'.repeat(2000), ['x'.repeat(2000)]],
    ['ä€😀', ['ä€😀']],
  ];
  for (const [line, patterns] of accepted)
    it(`reads ${JSON.stringify(line).slice(0, 40)}`, () => assert.deepEqual(patternsOf([line]), patterns));

  it('keeps the place of each pattern', () =>
    assert.deepEqual(parseExcludes(['# x', 'a', '', '- b'], '"list"'), [
      { pattern: 'a', where: 'line 2 of "list"' },
      { pattern: 'b', where: 'line 4 of "list"' },
    ]));

  it('takes 10000 patterns, and refuses one more', () => {
    const lines = (count: number): string[] => Array.from({ length: count }, (_, index) => `x${index}`);
    assert.equal(parseExcludes(lines(10_000), '"list"').length, 10_000);
    assert.throws(() => parseExcludes(lines(10_001), '"list"'), /more than 10000 patterns/);
  });

  it('lets nothing through that ends a line or is a rule, whatever the text', () => {
    const near = fc.string({
      unit: fc.constantFrom('+', '-', '!', ':', '.', ' ', '\n', '\r', '/', 'a', '#'),
      maxLength: 6,
    });
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: ANY_CHARACTER }), near), line => {
        let patterns: string[];
        try {
          patterns = patternsOf([line]);
        } catch (error) {
          assert.ok(error instanceof Fault);
          return;
        }
        for (const pattern of patterns) {
          assert.doesNotMatch(pattern, /[\n\r\0]/);
          assert.notEqual(pattern, '');
          assert.match(
            scopeFilter({ roots: ['/'], never: [], excludes: [pattern] }),
            // The dot of a RegExp is no U+2028, which is a character of a pattern like any other.
            /^- \/proc\/self\/root\/\*\*\n- [^\n]+\n- [^\n]*\/\*\*\n$/,
          );
        }
      }),
      { numRuns: 1000, examples: [['\u2028!']] },
    );
  });
});

const MOUNTINFO = `22 27 0:20 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw
23 27 0:21 / /proc rw,nosuid,nodev,noexec,relatime shared:14 - proc proc rw
24 27 0:5 / /dev rw,nosuid,relatime shared:2 - devtmpfs udev rw,size=8148732k
25 24 0:22 / /dev/pts rw,nosuid,noexec,relatime shared:3 - devpts devpts rw,gid=5
26 27 0:23 / /run rw,nosuid,nodev,noexec,relatime shared:5 - tmpfs tmpfs rw,size=1634812k
27 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw,errors=remount-ro
30 27 259:3 / /home rw,relatime - ext4 /dev/nvme0n1p3 rw
31 30 0:50 / /home/me/my\\040files rw,relatime shared:9 master:1 - fuse.sshfs me@there:/a\\040-\\040b rw
32 27 0:51 / /mnt/tab\\011new\\012line\\134back\\043hash rw - nfs4 there:/x rw
33 27 0:52 / /media/usb rw - vfat /dev/sda1 rw
34 27 0:53 /sub /srv/bound rw - ext4 /dev/nvme0n1p2 rw
35 27 0:54 / /var/lib/docker/ä rw - overlay overlay rw
36 27 0:23 / /home/chroot/proc rw - proc proc rw
37 27 0:55 / /homely rw - tmpfs tmpfs rw
38 26 0:23 / /run rw - tmpfs tmpfs rw`;

describe('mountsLeftOut()', () => {
  const mounts = parseMountTable(MOUNTINFO);
  const always = ['/dev', '/dev/pts', '/home/chroot/proc', '/proc', '/sys'];

  it('leaves out pseudo and network file systems, when the mode is local', () => {
    assert.deepEqual(mountsLeftOut(mounts, 'local', ['/']), [
      '/dev',
      '/dev/pts',
      '/home/chroot/proc',
      '/home/me/my files',
      '/homely',
      '/mnt/tab\tnew\nline\\back#hash',
      '/proc',
      '/run',
      '/sys',
    ]);
  });

  it('leaves out every mount below a root, when the mode is one', () => {
    assert.deepEqual(
      mountsLeftOut(mounts, 'one', ['/']),
      [...new Set(mounts.map(mount => mount.path))].filter(path => path !== '/').sort(),
    );
    assert.deepEqual(mountsLeftOut(mounts, 'one', ['/home']), [...always, '/home/me/my files'].sort());
  });

  it('leaves out devices, proc and sysfs alone, when the mode is all', () => {
    assert.deepEqual(mountsLeftOut(mounts, 'all', ['/']), always);
  });

  it('keeps a mount that is itself a root, in each mode; but not devices, proc and sysfs', () => {
    for (const mode of ['local', 'one', 'all'] as const) {
      for (const wanted of ['/home/me/my files', '/run', '/media/usb'])
        assert.ok(!mountsLeftOut(mounts, mode, ['/', wanted]).includes(wanted));
      for (const refused of always) assert.ok(mountsLeftOut(mounts, mode, ['/', refused]).includes(refused));
    }
  });

  it('leaves out devices, proc and sysfs, whatever the mode and the roots', () => {
    const path = fc.constantFrom(...mounts.map(mount => mount.path));
    fc.assert(
      fc.property(fc.constantFrom('local', 'one', 'all'), fc.array(path, { minLength: 1 }), (mode, roots) => {
        const left = mountsLeftOut(mounts, mode, roots);
        for (const each of always) assert.ok(left.includes(each));
        assert.deepEqual(left, [...new Set(left)].sort());
      }),
    );
  });
});

describe('scopeFilter() for one path', () => {
  for (const [path, pattern] of [
    ['/a b', '/a b'],
    ['/a\\b', '/a\\b'],
    ['/a*', '/a\\*'],
    ['/a*\\b', '/a\\*\\\\b'],
    ['/[x]?', '/\\[x]\\?'],
    ['/a\nb', '/a?b'],
    ['/a\r\n*\\', '/a??\\*\\\\'],
  ] as const)
    it(`writes ${JSON.stringify(path)} as ${pattern}`, () => {
      const filter = scopeFilter({ roots: ['/'], never: [path], excludes: [] });
      assert.equal(filter.split('\n')[1], `- ${pattern}`);
    });
});

describe('scopeFilter()', () => {
  it('has one line for a pattern of `packages`, and two for any other', () => {
    const list = [
      { pattern: '/usr/bin/ls', where: 'line 1', isLeaf: true },
      { pattern: '*.o', where: 'line 2' },
    ];
    const lines = scopeFilter({ roots: ['/'], never: [], ...splitExcludes(list) }).split('\n');
    assert.deepEqual(lines.slice(1), ['- /usr/bin/ls', '- *.o', '- *.o/**', '']);
  });

  it('is one rule a line, in the order of the policy', () => {
    const scope = { roots: ['/home/me', '/etc'], never: ['/etc/ssh*'], excludes: ['*.o'] };
    assert.equal(
      scopeFilter(scope),
      [
        '- /proc/self/root/**',
        '- /etc/ssh\\*',
        '- /etc/ssh\\*/**',
        '- *.o',
        '- *.o/**',
        '+ /home/',
        '+ /home/me',
        '+ /home/me/**',
        '+ /etc',
        '+ /etc/**',
        '- /**',
        '',
      ].join('\n'),
    );
  });

  it('begins every line with a rule of its own, whatever a mount point is called', () => {
    const path = fc.string({
      unit: fc.constantFrom('/', 'a', '\n', '\r', '+', ' ', '*', '\\', '!'),
      minLength: 1,
    });
    fc.assert(
      fc.property(
        fc.array(path),
        fc.array(path.map(each => `/${each.replace(/[\n\r]/g, '')}`)),
        (never, roots) => {
          const filter = scopeFilter({ roots, never, excludes: [] });
          const lines = filter.split(/[\n\r]/);
          assert.equal(lines.pop(), '');
          lines.forEach((line, index) => {
            assert.match(line, index < 1 + 2 * never.length ? /^- / : /^(\+ \/|- \/\*\*$)/);
          });
        },
      ),
      { numRuns: 500 },
    );
  });
});

// ---- against real rsync -------------------------------------------------------------------------------------

/** All files below a folder, by their paths from it. */
function filesBelow(folder: string, at = ''): string[] {
  return readdirSync(`${folder}${at}`, { withFileTypes: true }).flatMap(entry =>
    entry.isDirectory() ? filesBelow(folder, `${at}/${entry.name}`) : [`${at}/${entry.name}`],
  );
}

/** Makes the files (paths from `top`), pulls the scope (paths from `top` too), and tells which files arrived. */
function arriving(
  top: string,
  files: string[],
  scope: Parameters<typeof scopeFilter>[0],
): { arrived: string[]; said: string } {
  for (const file of files) {
    mkdirSync(dirname(`${top}${file}`), { recursive: true });
    writeFileSync(`${top}${file}`, file);
  }
  const below = (path: string): string => (path === '/' ? top : `${top}${path}`);
  const filter = scopeFilter({
    roots: scope.roots.map(below),
    never: scope.never.map(below),
    excludes: scope.excludes,
  });
  const work = `${dirname(top)}/work  of ü`;
  const { tree, stderr } = pull({ work, roots: scope.roots.map(below), filter });
  const all = filesBelow(tree);
  for (const file of all) assert.ok(file.startsWith(`${top}/`), `"${file}" came from outside`);
  return { arrived: all.map(file => file.slice(top.length)).sort(), said: stderr };
}

/** A folder for the source, and one beside it for the rest. */
function workplace(): { top: string } & Disposable {
  const scratch = makeScratch('scope');
  mkdirSync(`${scratch.path}/work  of ü`);
  mkdirSync(`${scratch.path}/top [x] *?`);
  return { top: `${scratch.path}/top [x] *?`, [Symbol.dispose]: () => scratch[Symbol.dispose]() };
}

const HARD = [
  'star*',
  'question?',
  'bracket[a]',
  '[',
  ']',
  '[!a]',
  'back\\slash',
  'back\\',
  '\\*',
  '\\\\',
  'two  blanks',
  ' leading',
  'trailing ',
  '#hash',
  ';semicolon',
  '-dash',
  '- dash',
  '+ plus',
  '! bang',
  '!',
  ': colon',
  '. dot',
  '**',
  '***',
  'äöü€😀',
  "quote'",
  'quote"',
  '%n',
  '...',
  '{a,b}',
  '~',
  '$HOME',
];
/** Names that a hard name, read as a pattern, would match too. */
const DECOYS = ['starx', 'questionx', 'bracketa', 'b', 'backslash', 'x', '*', 'back', 'a', '\\x', '\\'];

describe('scopeFilter() before real rsync', () => {
  it('lets each root arrive, and nothing beside it, when its name is hard', () => {
    for (const name of HARD) {
      using place = workplace();
      const files = [...new Set([...HARD, ...DECOYS])].map(each => `/${each}/file`);
      const { arrived, said } = arriving(place.top, files, { roots: [`/${name}`], never: [], excludes: [] });
      assert.deepEqual({ arrived, said }, { arrived: [`/${name}/file`], said: '' }, name);
    }
  });

  it('keeps each path of `never` back with all below it, and nothing else, when its name is hard', () => {
    using place = workplace();
    const files = [...new Set([...HARD, ...DECOYS])].flatMap(each => [`/${each}/file`, `/${each}/deep/file`]);
    const never = HARD.map(name => `/${name}`);
    const expected = files.filter(file => !never.some(path => isWithin(path, file))).sort();
    const { arrived, said } = arriving(place.top, files, { roots: ['/'], never, excludes: [] });
    assert.deepEqual(arrived, expected, said);
  });

  it('keeps back one file of `never` alone, for each hard name at a time', () => {
    for (const name of HARD.filter(each => /[\\*?[]/.test(each))) {
      using place = workplace();
      const files = [...new Set([...HARD, ...DECOYS])].map(each => `/in/${each}`);
      const { arrived } = arriving(place.top, files, {
        roots: ['/in'],
        never: [`/in/${name}`],
        excludes: [],
      });
      assert.deepEqual(arrived, files.filter(file => file !== `/in/${name}`).sort(), name);
    }
  });

  it('puts never before excludes, and excludes before roots', () => {
    using place = workplace();
    const files = [
      '/r/a.o',
      '/r/a.c',
      '/r/secret/a.c',
      '/r/keep/x',
      '/s/a.c',
      '/r2/a.c',
      '/file',
      '/r/sub/deep/a.c',
    ];
    const scope = { roots: ['/r', '/s'], never: ['/r/secret'], excludes: ['*.o', 'keep/'] };
    const { arrived } = arriving(place.top, files, scope);
    assert.deepEqual(arrived, ['/r/a.c', '/r/sub/deep/a.c', '/s/a.c']);
  });

  it('takes excludes as rsync does: anchored, folders alone, wildcards, blanks at either end', () => {
    using place = workplace();
    const files = [
      '/x/cache/a',
      '/y/x/cache/a',
      '/x/core',
      '/x/core.1',
      '/x/ lead',
      '/x/lead',
      '/x/trail ',
      '/x/trail',
      '/x/f/core/a',
    ];
    const anchored = `${place.top.replace(/[\\*?[]/g, '\\$&')}/x/cache`;
    const scope = { roots: ['/'], never: [], excludes: [anchored, 'core/', 'core.?', ' lead', 'trail '] };
    const { arrived } = arriving(place.top, files, scope);
    assert.deepEqual(arrived, ['/x/core', '/x/lead', '/x/trail', '/y/x/cache/a'].sort());
  });

  it('takes a backslash in an exclude literally, when there is no wildcard', () => {
    using place = workplace();
    const files = ['/a\\b', '/ab', '/c\\d/x', '/cd/x'];
    const { arrived } = arriving(place.top, files, { roots: ['/'], never: [], excludes: ['a\\b', 'c\\d'] });
    assert.deepEqual(arrived, ['/ab', '/cd/x']);
  });

  it('keeps a root within a root, and a root that is a file', () => {
    using place = workplace();
    const files = ['/a/b/c', '/a/d', '/e/f', '/e/g'];
    const { arrived } = arriving(place.top, files, {
      roots: ['/a', '/a/b', '/e/f'],
      never: [],
      excludes: [],
    });
    assert.deepEqual(arrived, ['/a/b/c', '/a/d', '/e/f']);
  });

  it('lets nothing arrive from outside the roots, when a peer asks for all', () => {
    using place = workplace();
    const { top } = place;
    const work = `${dirname(top)}/work  of ü`;
    for (const file of ['/in/a', '/out/b', '/c']) {
      mkdirSync(dirname(`${top}${file}`), { recursive: true });
      writeFileSync(`${top}${file}`, 'x');
    }
    const filter = scopeFilter({ roots: [`${top}/in`], never: [], excludes: [] });
    for (const roots of [
      ['/'],
      [top],
      [`${top}/out`],
      [`${top}/c`],
      [`${top}/in/../out`],
      [`${top}/./out`],
      ['/etc/passwd'],
    ]) {
      for (const more of [[], ['--filter=!'], ['--include=*'], ['--exclude=!', '--include=*']]) {
        const { tree } = pull({ work, roots, filter, more });
        assert.deepEqual(
          filesBelow(tree).filter(file => file !== `${top}/in/a`),
          [],
          `${roots} ${more}`,
        );
      }
    }
  });

  it('keeps a path of `never` back, when its name is all wildcards and as long as can be', () => {
    using place = workplace();
    // Each star is escaped: a path that fits into PATH_MAX becomes a pattern that does not (rsync's MAXPATHLEN).
    for (const names of [Array(10).fill('*'.repeat(250)), Array(14).fill('é*'.repeat(80))]) {
      const long = `/${names.join('/')}`;
      const scope = { roots: ['/'], never: [long], excludes: [] };
      const { arrived, said } = arriving(place.top, [`${long}/secret`, '/open'], scope);
      assert.deepEqual(arrived, ['/open'], said);
      removeTree(`${place.top}/${names[0]}`);
    }
  });

  it('lets exactly the scope arrive, for random small trees', () => {
    const name = fc.oneof(
      { weight: 3, arbitrary: fc.constantFrom('a', 'b', 'c') },
      { weight: 2, arbitrary: fc.constantFrom(...HARD) },
      {
        weight: 1,
        arbitrary: fc
          .string({
            unit: fc.constantFrom('*', '?', '[', ']', '\\', ' ', '#', '-', 'a', 'ä', '!', '^'),
            minLength: 1,
            maxLength: 4,
          })
          .filter(each => each !== '.'),
      },
    );
    const path = fc.array(name, { minLength: 1, maxLength: 3 }).map(names => `/${names.join('/')}`);
    const scopes = fc.record({
      files: fc.array(
        path.map(each => `${each}/+file`),
        { minLength: 1, maxLength: 12 },
      ),
      roots: fc.array(path, { minLength: 1, maxLength: 3 }),
      never: fc.array(path, { maxLength: 3 }),
    });
    fc.assert(
      fc.property(scopes, ({ files, roots, never }) => {
        using place = workplace();
        // Some of each are taken from the files, else nothing would ever be in the scope.
        const some = (list: string[], step: number): string[] => [
          ...list,
          ...files.filter((_, index) => index % step === 1).map(file => file.slice(0, file.indexOf('/', 1))),
        ];
        const scope = { roots: some(roots, 2), never: some(never, 4), excludes: [] };
        const isAskable = (root: string): boolean =>
          !root.split('/').some(each => each.includes('\\') && /[*?[\]]/.test(each)); // client/config.ts refuses them
        scope.roots = scope.roots
          .filter(root => isAskable(root) && !scope.never.includes(root))
          .concat('/none');
        const expected = [...new Set(files)].filter(
          file =>
            scope.roots.some(root => isWithin(root, file)) && !scope.never.some(each => isWithin(each, file)),
        );
        assert.deepEqual(arriving(place.top, files, scope).arrived, expected.sort());
      }),
      { numRuns: 36 },
    );
  });
});

describe('MountEntry', () => {
  it('is what the filter is made from, so that a mount point with a line end in its name opens nothing', () => {
    using place = workplace();
    const mount: MountEntry = {
      path: `${place.top}/m\n+ ${place.top.replace(/[*?[]/g, '?')}/out***`,
      root: '/',
      type: 'nfs',
      device: '0:1',
      options: ['rw'],
    };
    const [left = ''] = mountsLeftOut([mount], 'local', [`${place.top}`]);
    const { arrived } = arriving(place.top, ['/in/a', '/out/b'], {
      roots: ['/in', '/out/none'],
      never: [left.slice(place.top.length)],
      excludes: [],
    });
    assert.deepEqual(arrived, ['/in/a']);
  });
});
