// Two things are checked with each other: that the torture tree survives copies which are known to be whole,
// and that a manifest tells each single change, and nothing else.

import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import {
  appendFileSync,
  chmodSync,
  chownSync,
  closeSync,
  copyFileSync,
  ftruncateSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  renameSync,
  rmdirSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { test } from 'node:test';
import { some } from './support/long.ts';
import type { Manifest, ManifestField } from './support/manifest.ts';
import { callTool, diffManifests, escapePath, manifest } from './support/manifest.ts';
import { makeTortureTree, removeTree } from './support/tree.ts';

const isRoot = process.geteuid?.() === 0;
const onlyRoot = isRoot ? false : 'only root can do this';

/** A folder of this test's own, with a blank in its name, removed after it. */
function scratch(context: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'dialback manifest '));
  context.after(() => removeTree(folder));
  return folder;
}

/** @returns why not, or false: what `skip` takes */
function withoutTool(program: string, args: string[] = ['--version']): string | false {
  try {
    callTool(program, args);
    return false;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

test('makeTortureTree() counts what manifest() finds', t => {
  const folder = join(scratch(t), 'tree');
  const { counts, missing } = makeTortureTree(folder, { asRoot: isRoot });
  for (const { what, reason } of missing) t.diagnostic(`not made here: ${what}: ${reason}`);
  const entries = [...manifest(folder).values()];
  const count = (type: string): number => entries.filter(each => each.type === type).length;
  const groups = entries.flatMap(each => each.link ?? []);
  assert.deepEqual(
    {
      entries: entries.length,
      files: count('file'),
      folders: count('folder'),
      symlinks: count('symlink'),
      fifos: count('fifo'),
      sockets: count('socket'),
      charDevices: count('char device'),
      blockDevices: count('block device'),
      linkGroups: new Set(groups).size,
      linkedNames: groups.length,
      sparseFiles: entries.filter(each => each.holes).length,
      withCapability: entries.filter(each => each.xattrs?.has('security.capability')).length,
    },
    {
      entries: counts.entries,
      files: counts.files,
      folders: counts.folders,
      symlinks: counts.symlinks,
      fifos: counts.fifos,
      sockets: counts.sockets,
      charDevices: counts.charDevices,
      blockDevices: counts.blockDevices,
      linkGroups: counts.linkGroups,
      linkedNames: counts.linkedNames,
      sparseFiles: counts.sparseFiles,
      withCapability: counts.withCapability,
    },
  );
});

test('makeTortureTree() makes the same tree each time', t => {
  const folder = scratch(t);
  const options = isRoot ? { asRoot: true, owner: { uid: 4321, gid: 4322 } } : { asRoot: false };
  makeTortureTree(join(folder, 'one'), options);
  makeTortureTree(join(folder, 'two'), options);
  assert.deepEqual(diffManifests(manifest(join(folder, 'one')), manifest(join(folder, 'two'))), []);
});

test('makeTortureTree() gives the tree to its owner when it is told one', { skip: onlyRoot }, t => {
  const folder = join(scratch(t), 'tree');
  makeTortureTree(folder, { asRoot: true, owner: { uid: 4321, gid: 4322 } });
  const others = [...manifest(folder)].filter(([, { uid, gid }]) => uid !== 4321 || gid !== 4322);
  assert.ok(others.length > 0);
  assert.deepEqual(
    others.map(([path]) => path).filter(path => !path.startsWith('owners/')),
    [],
  );
});

test('makeTortureTree() refuses a folder that is not empty', t => {
  const folder = scratch(t);
  writeFileSync(join(folder, 'precious'), '');
  assert.throws(() => makeTortureTree(folder, { asRoot: false }), /it is not empty/);
  assert.deepEqual([...manifest(folder).keys()], ['.', 'precious']);
});

test('makeTortureTree() refuses to make what only root can when not root', {
  skip: isRoot && 'needs an ordinary user: root may',
}, t => {
  const folder = scratch(t);
  assert.throws(() => makeTortureTree(folder, { asRoot: true }), /not root/);
  assert.throws(() => makeTortureTree(folder, { asRoot: false, owner: { uid: 1, gid: 1 } }), /not root/);
});

const noRsync = withoutTool('rsync');

// Two programs that share no code: what both give back whole, and the manifest finds whole, is whole.
const copiers = [
  { program: 'cp', args: ['-a', '--sparse=always', '-T', '--'] },
  { program: 'rsync', args: ['-aHAXS', '--numeric-ids', '--modify-window=-1', '--'] },
];
for (const { program, args } of copiers) {
  test(`diffManifests() is empty when ${program} has copied the tree`, { skip: withoutTool(program) }, t => {
    const folder = scratch(t);
    makeTortureTree(join(folder, 'tree'), { asRoot: isRoot });
    callTool(program, [...args, `${join(folder, 'tree')}/`, `${join(folder, 'copy')}/`]);
    assert.deepEqual(diffManifests(manifest(join(folder, 'tree')), manifest(join(folder, 'copy'))), []);
  });
}

// A check of the tree more than of rsync: it must have in it what each option is there for.
const losses: [args: string, field: ManifestField][] = [
  ['-aHAX', 'holes'],
  ['-aAXS', 'link'],
  ['-aHXS', 'xattrs'],
  ['-aHAS', 'xattrs'],
];
for (const [args, field] of losses) {
  test(`diffManifests() tells ${field} alone when rsync has copied the tree by ${args}`, {
    skip: noRsync,
  }, t => {
    const folder = scratch(t);
    makeTortureTree(join(folder, 'tree'), { asRoot: isRoot });
    callTool('rsync', [args, '--numeric-ids', '--', `${join(folder, 'tree')}/`, `${join(folder, 'copy')}/`]);
    const differences = (without: ManifestField[]): string[] =>
      diffManifests(manifest(join(folder, 'tree'), { without }), manifest(join(folder, 'copy'), { without }));
    assert.ok(differences([]).length > 0);
    assert.deepEqual(differences([field]), []);
  });
}

/** Small enough to know by heart; all times are the same. */
function makeSample(folder: string): string {
  const top = join(folder, 'sample');
  mkdirSync(top);
  writeFileSync(join(top, 'file'), 'hello\n');
  mkdirSync(join(top, 'folder'));
  writeFileSync(join(top, 'folder', 'inside'), 'inside\n');
  writeFileSync(join(top, 'pair a'), 'pair\n');
  linkSync(join(top, 'pair a'), join(top, 'pair b'));
  writeFileSync(join(top, 'trio a'), 'trio\n');
  linkSync(join(top, 'trio a'), join(top, 'folder', 'trio b'));
  linkSync(join(top, 'trio a'), join(top, 'trio c'));
  symlinkSync('file', join(top, 'symlink'));
  callTool('mkfifo', ['--', join(top, 'fifo')]);
  const descriptor = openSync(join(top, 'sparse'), 'w');
  writeSync(descriptor, Buffer.alloc(65536, 'x'), 0, 65536, 262144);
  ftruncateSync(descriptor, 589824);
  closeSync(descriptor);
  for (const name of manifest(top, { without: ['xattrs', 'sha256', 'holes'] }).keys()) {
    if (name !== 'symlink') chmodSync(join(top, name), name === '.' || name === 'folder' ? 0o755 : 0o644);
  }
  if (isRoot) {
    callTool('mknod', ['-m', '644', '--', join(top, 'char'), 'c', '1', '3']);
    callTool('mknod', ['-m', '644', '--', join(top, 'block'), 'b', '7', '250']);
  }
  settle(top);
  return top;
}

/** Undoes what a change did to times on its way, those of the folders above it among them. */
function settle(top: string): void {
  for (const name of manifest(top, { without: ['xattrs', 'sha256', 'holes'] }).keys()) {
    lutimesSync(Buffer.concat([Buffer.from(`${top}/`), bytesOf(name)]), 1_767_225_600, 1_767_225_600);
  }
}

function bytesOf(path: string): Buffer {
  const bytes = path.replace(/\\(?:\\|x([0-9a-f]{2}))/g, (_, hex?: string) =>
    hex === undefined ? '\\' : String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return Buffer.from(bytes, 'latin1');
}

const uid = process.geteuid?.() ?? 0;
const gid = process.getegid?.() ?? 0;
const helloSum = hash('sha256', 'hello\n');
/** As the kernel keeps an ACL: version 2, then tag, permissions and id of each entry, little-endian. */
const acl = (...entries: [tag: number, permissions: number, id?: number][]): string =>
  `0x02000000${entries
    .map(([tag, permissions, id = 0xffffffff]) => {
      const entry = Buffer.alloc(8);
      entry.writeUInt16LE(tag, 0);
      entry.writeUInt16LE(permissions, 2);
      entry.writeUInt32LE(id, 4);
      return entry.toString('hex');
    })
    .join('')}`;

type Change = {
  name: string;
  skip?: string | false;
  /** What is there before the change, on top of the sample. */
  prepare?: (top: string) => void;
  change: (top: string) => void;
  /** For changes of times: do not undo them. */
  keepTimes?: true;
  expected: string[];
};

const noSetfattr = withoutTool('setfattr');
const noSetfacl = withoutTool('setfacl');
const setfattr = (top: string, path: string, name: string, value: string): void => {
  callTool('setfattr', ['-h', '-n', name, '-v', value, '--', join(top, path)]);
};
const capability = '0x0100000200040000000000000000000000000000';

const changes: Change[] = [
  { name: 'nothing', change: () => {}, expected: [] },
  {
    name: 'a mode',
    change: top => chmodSync(join(top, 'file'), 0o600),
    expected: ['file: mode: 0644 -> 0600'],
  },
  {
    name: 'setuid',
    change: top => chmodSync(join(top, 'file'), 0o4644),
    expected: ['file: mode: 0644 -> 4644'],
  },
  {
    name: 'sticky on the top folder',
    change: top => chmodSync(top, 0o1755),
    expected: ['.: mode: 0755 -> 1755'],
  },
  {
    name: 'the mode of a FIFO',
    change: top => chmodSync(join(top, 'fifo'), 0o600),
    expected: ['fifo: mode: 0644 -> 0600'],
  },
  {
    name: 'an owner',
    skip: onlyRoot,
    change: top => chownSync(join(top, 'file'), 12345, gid),
    expected: [`file: uid: ${uid} -> 12345`],
  },
  {
    name: 'a group',
    skip: onlyRoot,
    change: top => chownSync(join(top, 'folder'), uid, 54321),
    expected: [`folder: gid: ${gid} -> 54321`],
  },
  {
    name: 'the owner of a symlink',
    skip: onlyRoot,
    change: top => callTool('chown', ['-h', '12345', '--', join(top, 'symlink')]),
    expected: [`symlink: uid: ${uid} -> 12345`],
  },
  ...(['file', 'folder', 'symlink', 'fifo', '.'] as const).map(
    (path): Change => ({
      name: `the time of "${path}" by 1 ns`,
      change: top =>
        callTool('touch', ['-h', '-d', '2026-01-01 00:00:00.000000001 UTC', '--', join(top, path)]),
      keepTimes: true,
      expected: [`${path}: mtimeNs: 2026-01-01T00:00:00.000000000Z -> 2026-01-01T00:00:00.000000001Z`],
    }),
  ),
  {
    name: 'a time to before 1970',
    change: top => callTool('touch', ['-d', '1960-01-02 03:04:05.123456789 UTC', '--', join(top, 'file')]),
    keepTimes: true,
    expected: ['file: mtimeNs: 2026-01-01T00:00:00.000000000Z -> 1960-01-02T03:04:05.123456789Z'],
  },
  {
    name: 'a byte',
    change: top => writeFileSync(join(top, 'file'), 'hallo\n'),
    expected: [`file: sha256: ${helloSum} -> ${hash('sha256', 'hallo\n')}`],
  },
  {
    name: 'a byte more',
    change: top => appendFileSync(join(top, 'file'), '!'),
    expected: ['file: size: 6 -> 7', `file: sha256: ${helloSum} -> ${hash('sha256', 'hello\n!')}`],
  },
  {
    name: 'a symlink of the same length',
    change: top => {
      unlinkSync(join(top, 'symlink'));
      symlinkSync('fi\ne', join(top, 'symlink'));
    },
    expected: ['symlink: target: file -> fi\\x0ae'],
  },
  {
    name: 'a link broken out of a pair',
    change: top => breakLink(join(top, 'pair b')),
    expected: ['pair a: link: pair a -> none', 'pair b: link: pair a -> none'],
  },
  {
    name: 'a link broken out of three',
    change: top => breakLink(join(top, 'trio c')),
    expected: ['trio c: link: folder/trio b -> none'],
  },
  {
    name: 'two groups made one',
    change: top => {
      unlinkSync(join(top, 'trio c'));
      linkSync(join(top, 'pair a'), join(top, 'trio c'));
    },
    expected: [
      `trio c: sha256: ${hash('sha256', 'trio\n')} -> ${hash('sha256', 'pair\n')}`,
      'trio c: link: folder/trio b -> pair a',
    ],
  },
  {
    name: 'a link to outside of the tree: none within it',
    change: top => linkSync(join(top, 'file'), `${top} outside`),
    expected: [],
  },
  {
    name: 'the first hole filled with zeros',
    change: top => overwrite(join(top, 'sparse'), Buffer.alloc(262144), 0),
    expected: ['sparse: holes: 0-262144 327680-589824 -> 327680-589824'],
  },
  {
    name: 'the last hole half filled with zeros',
    change: top => overwrite(join(top, 'sparse'), Buffer.alloc(131072), 458752),
    expected: ['sparse: holes: 0-262144 327680-589824 -> 0-262144 327680-458752'],
  },
  {
    name: 'all holes filled',
    change: top => {
      overwrite(join(top, 'sparse'), Buffer.alloc(262144), 0);
      overwrite(join(top, 'sparse'), Buffer.alloc(262144), 327680);
    },
    expected: ['sparse: holes: 0-262144 327680-589824 -> none'],
  },
  {
    name: 'a file more, with a newline and a byte that is not UTF-8 in its name',
    change: top =>
      writeFileSync(Buffer.concat([Buffer.from(`${top}/folder/a\n\\`), Buffer.from([0xff])]), ''),
    expected: ['folder/a\\x0a\\\\\\xff: entry: none -> file'],
  },
  {
    name: 'a file less',
    change: top => unlinkSync(join(top, 'folder', 'inside')),
    expected: ['folder/inside: entry: file -> none'],
  },
  {
    name: 'a folder renamed',
    prepare: top => mkdirSync(join(top, 'old')),
    change: top => renameSync(join(top, 'old'), join(top, 'new')),
    expected: ['new: entry: none -> folder', 'old: entry: folder -> none'],
  },
  {
    name: 'an empty folder made an empty file',
    prepare: top => mkdirSync(join(top, 'empty'), { mode: 0o700 }),
    change: top => {
      rmdirSync(join(top, 'empty'));
      writeFileSync(join(top, 'empty'), '', { mode: 0o700 });
    },
    expected: [
      'empty: type: folder -> file',
      'empty: size: none -> 0',
      `empty: sha256: none -> ${hash('sha256', '')}`,
    ],
  },
  {
    name: 'a FIFO made a socket',
    change: top => {
      unlinkSync(join(top, 'fifo'));
      const program =
        'use Socket; chdir shift or die; socket(my $s, PF_UNIX, SOCK_STREAM, 0) or die; ' +
        'bind($s, pack_sockaddr_un("fifo")) or die;';
      callTool('perl', ['-e', program, top]);
      chmodSync(join(top, 'fifo'), 0o644);
    },
    expected: ['fifo: type: fifo -> socket'],
  },
  {
    name: 'a device number',
    skip: onlyRoot,
    change: top => {
      unlinkSync(join(top, 'char'));
      callTool('mknod', ['-m', '644', '--', join(top, 'char'), 'c', '4000', '1000000']);
    },
    expected: ['char: rdev: 1:3 -> 4000:1000000'],
  },
  {
    name: 'a block device made a character device',
    skip: onlyRoot,
    change: top => {
      unlinkSync(join(top, 'block'));
      callTool('mknod', ['-m', '644', '--', join(top, 'block'), 'c', '7', '250']);
    },
    expected: ['block: type: block device -> char device'],
  },
  {
    name: 'an attribute more',
    skip: noSetfattr,
    change: top => setfattr(top, 'file', 'user.a=b\n', '0x00ff0a'),
    expected: ['file: xattr user.a=b\\x0a: none -> 0x00ff0a'],
  },
  {
    name: 'an empty attribute more',
    skip: noSetfattr,
    change: top => setfattr(top, 'folder', 'user.empty', ''),
    expected: ['folder: xattr user.empty: none -> 0x'],
  },
  {
    name: 'an attribute of the top folder',
    skip: noSetfattr,
    prepare: top => setfattr(top, '.', 'user.a', '0x00'),
    change: top => setfattr(top, '.', 'user.a', '0x0000'),
    expected: ['.: xattr user.a: 0x00 -> 0x0000'],
  },
  {
    name: 'an attribute less',
    skip: noSetfattr,
    prepare: top => setfattr(top, 'file', 'user.a', '0x00'),
    change: top => callTool('setfattr', ['-x', 'user.a', '--', join(top, 'file')]),
    expected: ['file: xattr user.a: 0x00 -> none'],
  },
  {
    name: 'the last byte of a long attribute',
    skip: noSetfattr,
    prepare: top => setfattr(top, 'file', 'user.a', `0x${'00'.repeat(1000)}`),
    change: top => setfattr(top, 'file', 'user.a', `0x${'00'.repeat(999)}01`),
    expected: [
      `file: xattr user.a: 0x${'00'.repeat(16)}... (1000 bytes, sum ${sumOf(`0x${'00'.repeat(1000)}`)}) -> ` +
        `0x${'00'.repeat(16)}... (1000 bytes, sum ${sumOf(`0x${'00'.repeat(999)}01`)})`,
    ],
  },
  {
    name: "a symlink's own attribute",
    skip: onlyRoot || noSetfattr,
    change: top => setfattr(top, 'symlink', 'security.dialback', '0x01'),
    expected: ['symlink: xattr security.dialback: none -> 0x01'],
  },
  {
    name: 'a file capability',
    skip: onlyRoot || noSetfattr,
    change: top => setfattr(top, 'file', 'security.capability', capability),
    expected: [`file: xattr security.capability: none -> ${capability}`],
  },
  {
    name: 'an access ACL',
    skip: noSetfacl,
    change: top => callTool('setfacl', ['-n', '-m', 'u:12345:rw-,m::r--', '--', join(top, 'file')]),
    expected: [
      `file: xattr system.posix_acl_access: none -> ${acl([1, 6], [2, 6, 12345], [4, 4], [16, 4], [32, 4])}`,
    ],
  },
  {
    name: 'the id in an ACL',
    skip: noSetfacl,
    prepare: top => callTool('setfacl', ['-n', '-m', 'g:54321:r--,m::r--', '--', join(top, 'file')]),
    change: top => callTool('setfacl', ['-n', '-x', 'g:54321', '-m', 'g:54322:r--', '--', join(top, 'file')]),
    expected: [
      `file: xattr system.posix_acl_access: ${acl([1, 6], [4, 4], [8, 4, 54321], [16, 4], [32, 4])} -> ` +
        `${acl([1, 6], [4, 4], [8, 4, 54322], [16, 4], [32, 4])}`,
    ],
  },
  {
    name: 'a default ACL',
    skip: noSetfacl,
    change: top =>
      callTool('setfacl', [
        '-n',
        '-m',
        'd:u::rwx,d:u:12345:r-x,d:g::---,d:m::r-x,d:o::---',
        '--',
        join(top, 'folder'),
      ]),
    expected: [
      'folder: xattr system.posix_acl_default: none -> ' +
        acl([1, 7], [2, 5, 12345], [4, 0], [16, 5], [32, 0]),
    ],
  },
];

function sumOf(value: string): string {
  return hash('sha256', value).slice(0, 8);
}

/** Puts another inode with the same content and mode under this name. */
function breakLink(path: string): void {
  copyFileSync(path, `${path}.new`);
  chmodSync(`${path}.new`, 0o644);
  renameSync(`${path}.new`, path);
}

function overwrite(path: string, bytes: Buffer, offset: number): void {
  const descriptor = openSync(path, 'r+');
  writeSync(descriptor, bytes, 0, bytes.length, offset);
  closeSync(descriptor);
}

for (const { name, skip = false, prepare, change, keepTimes, expected } of some(changes, 3)) {
  test(`diffManifests() tells ${name}, and nothing else`, { skip }, t => {
    const top = makeSample(scratch(t));
    prepare?.(top);
    settle(top);
    const before = manifest(top);
    change(top);
    if (!keepTimes) settle(top);
    const after = manifest(top);
    assert.deepEqual(diffManifests(before, after), expected);
    assert.equal(diffManifests(after, before).length, expected.length);
  });
}

test('manifest() leaves out the fields that it is told to, and no other', t => {
  const top = makeSample(scratch(t));
  const whole = manifest(top, { includeInode: true });
  const fields: ManifestField[] = [
    'type',
    'mode',
    'uid',
    'gid',
    'size',
    'mtimeNs',
    'target',
    'sha256',
    'xattrs',
  ];
  for (const field of [...fields, 'link', 'holes', 'inode'] satisfies ManifestField[]) {
    const part = manifest(top, { includeInode: true, without: [field] });
    for (const [path, { [field]: _, ...rest }] of whole) assert.deepEqual(part.get(path), rest, field);
  }
});

test('manifest() leaves out attributes by name and by name space', { skip: noSetfattr }, t => {
  const top = makeSample(scratch(t));
  setfattr(top, 'file', 'user.a', '1');
  setfattr(top, 'file', 'user.ab', '1');
  setfattr(top, 'file', 'user.rsync.%stat', '1');
  const names = (found: Manifest): string[] => [...(found.get('file')?.xattrs?.keys() ?? [])].sort();
  assert.deepEqual(names(manifest(top)), ['user.a', 'user.ab', 'user.rsync.%stat']);
  assert.deepEqual(names(manifest(top, { without: ['xattr:user.a'] })), ['user.ab', 'user.rsync.%stat']);
  assert.deepEqual(names(manifest(top, { without: ['xattr:user.rsync.'] })), ['user.a', 'user.ab']);
  assert.deepEqual(names(manifest(top, { without: ['xattr:user.', 'xattr:user.a'] })), []);
});

test('manifest() shows with includeInode whether two trees share their inodes', t => {
  const folder = scratch(t);
  const top = makeSample(folder);
  const other = join(folder, 'other');
  callTool('cp', ['-al', '-T', '--', top, other]);
  const folders = ['.: inode', 'folder: inode'];
  const differing = (): string[] =>
    diffManifests(manifest(top, { includeInode: true }), manifest(other, { includeInode: true })).map(line =>
      line.slice(0, line.indexOf(': ', line.indexOf(': ') + 2)),
    );
  assert.deepEqual(differing(), folders);
  breakLink(join(other, 'file'));
  settle(other);
  assert.deepEqual(differing(), ['.: inode', 'file: inode', 'folder: inode']);
});

test('manifest() refuses what is not a folder', t => {
  const top = makeSample(scratch(t));
  symlinkSync('folder', join(top, 'to a folder'));
  for (const name of ['file', 'fifo', 'symlink', 'to a folder']) {
    assert.throws(() => manifest(join(top, name)), /not a folder/, name);
  }
  assert.throws(() => manifest(join(top, 'nowhere')), /ENOENT/);
});

test('manifest() is whole or is not when a file cannot be read', {
  skip: isRoot && 'needs an ordinary user: root reads it all',
}, t => {
  const top = makeSample(scratch(t));
  chmodSync(join(top, 'file'), 0o200);
  assert.throws(() => manifest(top), /denied/);
  assert.throws(() => manifest(top, { without: ['xattrs', 'holes'] }), /EACCES/);
  assert.ok(manifest(top, { without: ['xattrs', 'holes', 'sha256'] }).has('file'));
});

test('manifest() reads names of attributes that getfattr escapes', { skip: noSetfattr }, t => {
  const folder = join(scratch(t), 'tree');
  makeTortureTree(folder, { asRoot: false });
  const found = manifest(folder);
  assert.deepEqual(
    [...(found.get('attributes/names')?.xattrs?.keys() ?? [])].sort(),
    ['user.\\\\', 'user.\\xc3\\xa9', 'user.\\xff latin', 'user.a b', 'user.a=b', 'user.new\\x0aline'].sort(),
  );
  assert.equal(found.get('attributes/hostile\\x0aname\\xff*=\\\\')?.xattrs?.get('user.a'), '0x00ff0a5c2200');
});

test('escapePath() keeps different names different', () => {
  const names = ['a', '\\', '\\\\', '\\x0a', '\n', 'caf\u00e9', 'cafe\u0301', ' ', '\t', '', '\\xff'];
  const bytes = [Buffer.from([0xff]), Buffer.from([0xc3]), Buffer.from([0xe9]), Buffer.from([0x00])];
  const escaped = [...names, ...bytes].map(name => escapePath(name));
  assert.equal(new Set(escaped).size, escaped.length);
  for (const each of escaped) assert.match(each, /^[\x20-\x7e]*$/);
  assert.deepEqual(escaped.map(bytesOf), [...names.map(name => Buffer.from(name)), ...bytes]);
});
