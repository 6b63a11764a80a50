import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import { linkEnvironment } from '../src/os/link-library.ts';
import { IN_CLEAN_MACHINE } from './support/checkout.ts';

const TOP = join(import.meta.dirname, '..');
const AS_ROOT = process.getuid?.() === 0 ? false : 'needs root: it makes a file that refuses links';

/** What perl's link() comes to with the library: an errno, 0 for none; and what the library said. */
interface Linked {
  errno: number;
  said: string;
}

const EPERM = 1;
const ENOENT = 2;
const EEXIST = 17;

describe('linkat() of src/launcher/linkat.c', { skip: AS_ROOT || IN_CLEAN_MACHINE }, () => {
  let base: string;
  let tree: string;
  before(() => {
    base = realpathSync(mkdtempSync(join(tmpdir(), 'dialback-linkat-')));
    execFileSync(join(TOP, 'tools/linkat.sh'), [join(base, 'library')], { stdio: 'pipe' });
  });
  after(() => {
    rmSync(base, { recursive: true });
  });
  beforeEach(() => {
    tree = join(base, 'tree');
    rmSync(tree, { recursive: true, force: true });
    mkdirSync(join(tree, 'a folder'), { recursive: true });
    mkdirSync(join(tree, 'other'));
  });

  /** Relative names are as rsync has them: from the tree. */
  function link(old: string, name: string, from = tree): Linked {
    const preload = { ...linkEnvironment(9, from), LD_PRELOAD: join(base, 'library') };
    const program = 'print link($ARGV[0], $ARGV[1]) ? 0 : $! + 0';
    const { stdout, stderr } = spawnSync('/usr/bin/perl', ['-e', program, old, name], {
      cwd: tree,
      env: { PATH: '/usr/bin:/bin', ...preload },
      encoding: 'utf8',
    });
    return { errno: Number(stdout), said: stderr };
  }

  /** A file that takes no further link: EPERM. Its names are not changed either. */
  function fixed(path: string, act: () => void): void {
    execFileSync('/usr/bin/chattr', ['+i', path]);
    try {
      act();
    } finally {
      execFileSync('/usr/bin/chattr', ['-i', path]);
    }
  }

  it('makes a link when the file system does', () => {
    writeFileSync(join(tree, 'old'), 'content');
    assert.deepEqual(link('old', 'other/new'), { errno: 0, said: '' });
    assert.equal(lstatSync(join(tree, 'other/new')).ino, lstatSync(join(tree, 'old')).ino);
  });

  it('makes a copy with content, hole, mode, times and attributes when the link is refused', () => {
    const old = join(tree, 'a folder/old');
    writeFileSync(old, 'content');
    truncateSync(old, 4 * 1024 * 1024);
    writeFileSync(old, 'end', { flag: 'a' });
    execFileSync('/usr/bin/setfattr', ['-n', 'user.rsync.%stat', '-v', '100644 0,0 1:2', old]);
    chmodSync(old, 0o640);
    utimesSync(old, 1.5, 1_234_567.25);
    fixed(old, () => {
      const { errno, said } = link('a folder/old', 'other/new');
      assert.deepEqual([errno, said], [0, 'dialback-linkat: new inode\n']);
    });
    const [was, is] = [statSync(old, { bigint: true }), statSync(join(tree, 'other/new'), { bigint: true })];
    assert.notEqual(is.ino, was.ino);
    assert.deepEqual([is.size, is.mode, is.mtimeNs], [was.size, was.mode, was.mtimeNs]);
    assert.ok(is.blocks * 512n < 1024n * 1024n);
    assert.deepEqual(readFileSync(join(tree, 'other/new')), readFileSync(old));
    const names = ['-n', 'user.rsync.%stat', '--only-values', join(tree, 'other/new')];
    assert.equal(
      execFileSync('/usr/bin/getfattr', ['--absolute-names', ...names]).toString(),
      '100644 0,0 1:2',
    );
    assert.deepEqual(readdirSync(join(tree, 'other')), ['new']);
  });

  it('gives the old name to the copy too when that can be, and keeps the times of its folder', () => {
    // A file that takes no link and whose names may change: one whose owner and mode the kernel protects, for another user.
    const old = join(tree, 'a folder/old');
    writeFileSync(old, 'content', { mode: 0o644 });
    const kept = execFileSync('/usr/sbin/sysctl', ['-n', 'fs.protected_hardlinks']).toString().trim();
    assert.equal(kept, '1');
    for (const each of [base, tree, join(tree, 'a folder'), join(tree, 'other')]) chmodSync(each, 0o777);
    chownSync(join(tree, 'a folder'), 65534, 65534);
    utimesSync(join(tree, 'a folder'), 3, 4.5);
    const before = lstatSync(old).ino;
    const program = 'print link($ARGV[0], $ARGV[1]) ? 0 : $! + 0';
    const { stdout } = spawnSync('/usr/bin/perl', ['-e', program, 'a folder/old', 'other/new'], {
      cwd: tree,
      uid: 65534,
      gid: 65534,
      env: { PATH: '/usr/bin:/bin', DIALBACK_TREE: tree, LD_PRELOAD: join(base, 'library') },
      encoding: 'utf8',
    });
    assert.equal(stdout, '0');
    assert.equal(lstatSync(join(tree, 'a folder')).mtimeMs, 4500);
    assert.equal(lstatSync(old).ino, lstatSync(join(tree, 'other/new')).ino);
    assert.notEqual(lstatSync(old).ino, before);
    assert.equal(lstatSync(old).uid, 65534);
    assert.deepEqual(readdirSync(join(tree, 'other')), ['new']);
  });

  it('touches nothing outside of the tree', () => {
    const old = join(base, 'basis');
    mkdirSync(join(base, 'tree-2'), { recursive: true });
    for (const each of [old, join(base, 'tree-2/old')]) {
      writeFileSync(each, 'content');
      fixed(each, () => {
        assert.deepEqual(link(each, 'other/new'), { errno: EPERM, said: '' });
      });
      assert.ok(!existsSync(join(tree, 'other/new')));
    }
    writeFileSync(join(tree, 'old'), 'content');
    fixed(join(tree, 'old'), () => {
      assert.equal(link('old', 'other/new', '').errno, EPERM);
      assert.equal(link('old', 'other/new', 'tree').errno, EPERM);
    });
  });

  it('fails as the file system does where a copy is no answer', () => {
    for (const each of ['old', 'other/new']) writeFileSync(join(tree, each), each);
    assert.deepEqual(link('old', 'other/new'), { errno: EEXIST, said: '' });
    assert.deepEqual(link('none', 'other/newer'), { errno: ENOENT, said: '' });
    assert.deepEqual(link('old', 'none/new'), { errno: ENOENT, said: '' });
    assert.equal(readFileSync(join(tree, 'other/new'), 'utf8'), 'other/new');
  });

  it('takes another temporary name where the client has one like it', () => {
    const old = join(tree, 'old');
    writeFileSync(old, 'content');
    const taken = Array.from({ length: 3 }, (_, at) => at + 1);
    fixed(old, () => {
      const program = `for (1..3) { open(F, ">", "other/.dialback-linkat-$$-$_"); print F "theirs"; close(F) }
        print link("old", "other/new") ? 0 : $! + 0; print " $$"`;
      const { stdout } = spawnSync('/usr/bin/perl', ['-e', program], {
        cwd: tree,
        env: { PATH: '/usr/bin:/bin', DIALBACK_TREE: tree, LD_PRELOAD: join(base, 'library') },
        encoding: 'utf8',
      });
      const [errno, pid] = stdout.split(' ');
      assert.equal(errno, '0');
      const theirs = taken.map(each => `.dialback-linkat-${pid}-${each}`);
      assert.deepEqual(readdirSync(join(tree, 'other')).sort(), [...theirs, 'new'].sort());
      for (const each of theirs) assert.equal(readFileSync(join(tree, 'other', each), 'utf8'), 'theirs');
    });
  });

  it('works where the name of the folder is as long as a name can be', () => {
    const long = Array.from({ length: 15 }, () => 'f'.repeat(250)).join('/');
    mkdirSync(join(tree, long), { recursive: true });
    const name = 'n'.repeat(255);
    writeFileSync(join(tree, 'old'), 'content');
    fixed(join(tree, 'old'), () => {
      assert.equal(link('old', `${long}/${name}`).errno, 0);
    });
    linkSync(join(tree, 'old'), join(tree, 'another'));
    assert.deepEqual(readdirSync(join(tree, long)), [name]);
  });
});

describe('tools/launcher.sh', { skip: IN_CLEAN_MACHINE }, () => {
  for (const kind of ['launch', 'jail'])
    it(`compiles the library of ${kind} in a folder that no other user can write to, and removes it`, () => {
      const base = realpathSync(mkdtempSync(join(tmpdir(), 'dialback-launcher-')));
      try {
        const cc = join(base, 'cc');
        const seen = join(base, 'seen');
        // Beside the compiler: which folder a library goes into, and its mode.
        const script = `#!/bin/sh
previous=
for word do
  case $previous in -o) stat -c '%a %n' "$(dirname "$word")" >>'${seen}' ;; esac
  previous=$word
done
exec gcc "$@"
`;
        writeFileSync(cc, script, { mode: 0o755 });
        const output = join(base, kind);
        const env = { PATH: '/usr/bin:/bin', CC: cc, SERVICE_UID: '1234', TMPDIR: base };
        chmodSync(base, 0o1777);
        execFileSync(join(TOP, 'tools/launcher.sh'), [kind, output], { env, stdio: 'pipe' });
        const lines = readFileSync(seen, 'utf8').trimEnd().split('\n');
        assert.equal(lines.length, 2);
        assert.match(lines[0] ?? '', /^700 /);
        assert.deepEqual(readdirSync(base).sort(), ['cc', 'seen', kind].sort());
      } finally {
        rmSync(base, { recursive: true });
      }
    });
});

describe('times in src/launcher/linkat.c', { skip: AS_ROOT || IN_CLEAN_MACHINE }, () => {
  let base: string;
  let small: string;
  before(() => {
    base = realpathSync(mkdtempSync(join(tmpdir(), 'dialback-times-')));
    execFileSync(join(TOP, 'tools/linkat.sh'), [join(base, 'library')], { stdio: 'pipe' });
    small = join(base, 'small');
    mkdirSync(small);
    // Inodes of 128 bytes end in 2038.
    execFileSync('truncate', ['-s', '8M', join(base, 'image')]);
    execFileSync('mkfs.ext4', ['-q', '-F', '-I', '128', join(base, 'image')], { stdio: 'pipe' });
    execFileSync('mount', ['-o', 'loop', join(base, 'image'), small]);
  });
  after(() => {
    execFileSync('umount', [small]);
    rmSync(base, { recursive: true });
  });

  const CUT = 'dialback-linkat: time cut\n';
  /** python3 sets times with utimensat() of a path, or with futimens(). @returns what the library said, and each time there then */
  function setTimes(
    folder: string,
    seconds: number[],
    call: 'path' | 'descriptor' | 'link',
  ): [string, number[]] {
    const script = `
import os, sys
for second in map(int, sys.argv[3:]):
    open(sys.argv[1], 'w').close()
    if sys.argv[2] == 'path': os.utime(sys.argv[1], (1, second))
    elif sys.argv[2] == 'link': os.utime(sys.argv[1], (1, second), follow_symlinks=False)
    else:
        fd = os.open(sys.argv[1], os.O_WRONLY)
        os.utime(fd, (1, second))
    print(int(os.stat(sys.argv[1]).st_mtime))
`;
    const words = ['-c', script, join(folder, 'file'), call, ...seconds.map(String)];
    const { stdout, stderr } = spawnSync('/usr/bin/python3', words, {
      env: { PATH: '/usr/bin:/bin', LD_PRELOAD: join(base, 'library') },
      encoding: 'utf8',
    });
    return [stderr, stdout.trim().split('\n').map(Number)];
  }

  const LAST = 2 ** 31 - 1;
  for (const call of ['path', 'descriptor', 'link'] as const) {
    it(`tells once when a time was cut, set by ${call}`, () => {
      assert.deepEqual(setTimes(small, [1, LAST + 1, LAST + 2], call), [CUT, [1, LAST, LAST]]);
      assert.deepEqual(setTimes(small, [-(2 ** 31) - 1], call), [CUT, [-(2 ** 31)]]);
    });
    it(`tells nothing of times that were kept, set by ${call}`, () => {
      const kept = [0, 1, LAST, -1, -(2 ** 31)];
      assert.deepEqual(setTimes(small, kept, call), ['', kept]);
      const late = [LAST + 1, 15_000_000_000];
      assert.deepEqual(setTimes(base, late, call), ['', late]);
    });
  }

  it('leaves it to the kernel to refuse', () => {
    const script = 'import os; os.utime("/not there", (1, 1 << 40))';
    const { stderr } = spawnSync('/usr/bin/python3', ['-c', script], {
      env: { PATH: '/usr/bin:/bin', LD_PRELOAD: join(base, 'library') },
      encoding: 'utf8',
    });
    assert.match(stderr, /FileNotFoundError/);
    assert.ok(!stderr.includes(CUT));
  });
});
