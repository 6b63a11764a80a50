/**
 * A tree of everything that a backup must give back: each type of inode, and the names, modes, owners,
 * times, attributes, links and sparse files that tools get wrong. The content is the same each time (seeded, no
 * clock in it), so two trees made with the same options differ only in their inode numbers.
 *
 * Left out on purpose:
 * - trusted.* attributes: reading them needs CAP_SYS_ADMIN, which dialback never lends; none is backed up.
 * - files that their owner cannot read: the tree must be readable by the plain user that rsync runs as.
 * - blocks of written zeros, even of one byte: `rsync -S` rightly makes them sparse.
 */

import { createHash } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  ftruncateSync,
  lchownSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  openSync,
  readdirSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { resolve } from 'node:path';
import { callTool, escapePath } from './manifest.ts';

export type TreeOptions = {
  /** Whether to make what only root can: devices, other owners, file capabilities. Needs root. */
  asRoot: boolean;
  /** The owner of the tree, except for the entries under 'owners'. Only for root; by default this process's account. */
  owner?: { uid: number; gid: number };
};

export type TreeCounts = {
  /** All names, the top included: the sum of the next seven. */
  entries: number;
  files: number;
  folders: number;
  symlinks: number;
  fifos: number;
  sockets: number;
  charDevices: number;
  blockDevices: number;
  /** Groups of names that share an inode, and the names in them. */
  linkGroups: number;
  linkedNames: number;
  /** Inodes that have what is named, not names. */
  sparseFiles: number;
  /** By setfacl, without those that only inherit. */
  withAcl: number;
  withXattrs: number;
  withCapability: number;
  otherOwners: number;
  withSetTime: number;
};

export type TortureTree = {
  counts: TreeCounts;
  /** Entries that the file system, the kernel, the privilege or a missing tool did not allow. */
  missing: { what: string; reason: string }[];
};

/** Neither exists in a usual passwd file: numeric ids must survive without a name. */
const stranger = { uid: 12345, gid: 54321 };

const holeBytes = 256 * 1024;
const dataBytes = 64 * 1024;

/** Each becomes a file, a folder with a file in it, and the target of a symlink. */
// biome-ignore format: one name a line would be two screens long
const hostileNames: readonly (string | Buffer)[] = [
  ' ', ' leading', 'trailing ', 'in the middle', ' . ', '. ', ' ..', '...', '.hidden', '..hidden',
  '~', '~root',
  '-', '--', '-rf', '--delete', '-e sh', '--rsync-path=false',
  'new\nline', '\n', 'ends in newline\n', 'tab\there', 'carriage\rreturn', '\x01\x1b[31mred\x7f',
  "single'quote", 'double"quote', "both'\"", 'back\\slash', '\\', 'ends in \\', '\\#123',
  '\\#012', '\\012', '\\n',
  'star*', '*', '**', 'what?', '?', '[abc]', '[', ']', '[!a]', '{a,b}', 'a*b?c[d]e\\f',
  '%', '%s%n', '%2F', '100%', '$HOME', '$(false)', '`false`', 'a;b', 'a|b', 'a&b', '#', '#comment', '!', '!!',
  '- x', '+ y', '- *', ': z', '. w', 'P p', 'R r', ', merge', 'exclude *', '.rsync-filter', '.cvsignore',
  'host:path', 'host::module', 'rsync:', 'C:\\', 'name=value', '# file: x',
  'dialback-event: {}', '{"event": "done"}', 'user.rsync.%stat',
  'caf\u00e9', 'cafe\u0301', '\u202egnp.exe', '\ufeffbom', '\u{1f4be}', '\u00a0',
  Buffer.from([0xff]), Buffer.from([0x66, 0xfc, 0x72]), Buffer.from([0xc3]), Buffer.from([0xc0, 0xaf]),
  Buffer.from([0xed, 0xa0, 0x80]), Buffer.from([0x80, 0x0a, 0xfe, 0x20]),
  'x'.repeat(255), '\u00e9'.repeat(127), Buffer.alloc(255, 0xe9), '\n'.repeat(255), '\\'.repeat(255),
];

/** Names of entries under 'times', and the time that each gets, as `touch -d` takes it. */
const setTimes: readonly (readonly [name: string, time: string])[] = [
  ['1960', '1960-02-03 04:05:06.987654321'],
  ['before-1970', '1969-12-31 23:59:59.999999999'],
  ['1970', '1970-01-01 00:00:00.000000000'],
  ['one-nanosecond', '1970-01-01 00:00:00.000000001'],
  ['whole-second', '2020-02-29 12:00:00.000000000'],
  ['plus-one-nanosecond', '2020-02-29 12:00:00.000000001'],
  ['nine-digits', '2024-06-30 23:59:59.123456789'],
  ['last-nanosecond', '2024-06-30 23:59:59.999999999'],
  ['after-2038', '2038-01-19 03:14:08.000000001'],
  ['2100', '2100-12-31 23:59:59.123456789'],
];

const nothingHad = {
  sparseFiles: 0,
  withAcl: 0,
  withXattrs: 0,
  withCapability: 0,
  otherOwners: 0,
  withSetTime: 0,
};

/** Bytes that look random and are the same each time. */
function seeded(seed: string, length: number): Buffer {
  return createHash('shake256', { outputLength: length }).update(seed).digest();
}

/**
 * Makes the tree.
 * @param folder absent or empty; becomes the top, with a mode, a time and an attribute
 * @throws when the folder is not empty, when root's share is asked for without being root, and when something
 *   fails that works on every file system
 */
export function makeTortureTree(folder: string, options: TreeOptions): TortureTree {
  const isRoot = process.geteuid?.() === 0;
  if ((options.asRoot || options.owner) && !isRoot) throw new Error('Cannot make the tree: not root');
  const { asRoot, owner } = options;
  const top = resolve(folder);
  mkdirSync(top, { recursive: true });
  if (readdirSync(top).length > 0)
    throw new Error(`Cannot make the tree in "${escapePath(top)}": it is not empty`);

  const missing: TortureTree['missing'] = [];
  const had = { ...nothingHad };

  /** Does what may not be possible here, and notes why it was not. */
  const attempt = (what: string, make: () => void): boolean => {
    try {
      make();
      return true;
    } catch (error) {
      missing.push({ what, reason: error instanceof Error ? error.message : String(error) });
      return false;
    }
  };

  const at = (...names: (string | Buffer)[]): Buffer =>
    Buffer.concat([
      Buffer.from(top),
      ...names.flatMap(name => [Buffer.from('/'), Buffer.from(name as Buffer)]),
    ]);

  /** The owner before the mode: chown(2) clears setuid, setgid and capabilities. */
  const own = (path: Buffer): void => {
    if (owner) lchownSync(path, owner.uid, owner.gid);
  };
  const makeFolder = (path: Buffer, mode = 0o755): void => {
    mkdirSync(path, 0o700);
    own(path);
    chmodSync(path, mode);
  };
  const makeFile = (
    path: Buffer,
    content: string | Buffer = seeded(escapePath(path.subarray(top.length)), 300),
    mode = 0o644,
  ): void => {
    writeFileSync(path, content, { flag: 'wx', mode: 0o600 });
    own(path);
    chmodSync(path, mode);
  };
  const makeSymlink = (path: Buffer, target: string | Buffer): void => {
    symlinkSync(target, path);
    own(path);
  };
  /** Nodes that node cannot make itself. */
  const makeNode = (path: Buffer, program: string, args: string[], mode: number): void => {
    callTool('xargs', ['-0', '-I{}', program, '--', '{}', ...args], path);
    own(path);
    chmodSync(path, mode);
  };

  own(at());
  chmodSync(at(), 0o755);

  makeFolder(at('contents'));
  makeFile(at('contents', 'empty'), '');
  makeFile(at('contents', 'one byte'), 'x');
  makeFile(at('contents', 'one MiB'), seeded('one MiB', 1024 * 1024));
  makeFile(at('contents', '128 KiB and one byte'), seeded('odd', 128 * 1024 + 1));

  makeFolder(at('sparse'));
  const makeSparse = (name: string, pieces: ('hole' | 'data')[]): void => {
    const path = at('sparse', name);
    makeFile(path, '');
    const descriptor = openSync(path, 'r+');
    let offset = 0;
    for (const piece of pieces) {
      if (piece === 'data')
        writeSync(descriptor, seeded(`${name} ${offset}`, dataBytes), 0, dataBytes, offset);
      offset += piece === 'data' ? dataBytes : holeBytes;
    }
    ftruncateSync(descriptor, offset);
    closeSync(descriptor);
    had.sparseFiles += 1;
  };
  makeSparse('hole first', ['hole', 'data']);
  makeSparse('hole in the middle', ['data', 'hole', 'data']);
  makeSparse('hole last', ['data', 'hole']);
  makeSparse('holes everywhere', ['hole', 'data', 'hole', 'data', 'hole', 'hole', 'data', 'hole']);
  makeSparse(
    'holes only',
    Array.from({ length: 32 }, () => 'hole'),
  );
  makeSparse('one block', ['hole']);
  attempt('a hole punched into data', () => {
    // Made last in the file's life, unlike the others: the file's blocks were there once.
    const path = at('sparse', 'punched');
    makeFile(path, seeded('punched', 4 * dataBytes));
    callTool('fallocate', ['-p', '-o', String(dataBytes), '-l', String(dataBytes), '--', path.toString()]);
    had.sparseFiles += 1;
  });

  makeFolder(at('modes'));
  for (const mode of [
    0o400, 0o440, 0o444, 0o600, 0o640, 0o644, 0o666, 0o711, 0o755, 0o777, 0o4755, 0o2755, 0o6755, 0o4400,
    0o1644,
  ]) {
    makeFile(at('modes', `file ${mode.toString(8)}`), undefined, mode);
  }
  for (const mode of [0o500, 0o555, 0o700, 0o711, 0o755, 0o777, 0o1777, 0o2755, 0o2770, 0o3777]) {
    const path = at('modes', `folder ${mode.toString(8)}`);
    makeFolder(path);
    makeFile(Buffer.concat([path, Buffer.from('/inside')]));
    chmodSync(path, mode);
  }

  makeFolder(at('symlinks'));
  makeFile(at('symlinks', 'target'));
  makeFolder(at('symlinks', 'target folder'));
  makeFile(at('symlinks', 'target folder', 'inside'));
  const symlinks: [name: string, target: string | Buffer][] = [
    ['relative', 'target'],
    ['absolute', '/etc/passwd'],
    ['to the root', '/'],
    ['dangling', 'nowhere/at all'],
    ['to a folder', 'target folder'],
    ['to a folder, slash', 'target folder/'],
    ['up', '../../../../../../..'],
    ['self', 'self'],
    ['loop a', 'loop b'],
    ['loop b', 'loop a'],
    ['to its folder', '.'],
    ['to a symlink', 'relative'],
    ['newline', 'new\nline\n'],
    ['blank', ' '],
    ['arrow', 'a -> b'],
    ['munged', '/rsyncd-munged/target'],
    ['proc', '/proc/self/root'],
    ['255 bytes', 'x'.repeat(255)],
    ['not UTF-8', Buffer.from([0xff, 0xfe, 0x0a, 0x80])],
    ['4000 bytes', 'long/'.repeat(800)],
    ['x'.repeat(255), 'target'],
  ];
  for (const [name, target] of symlinks) makeSymlink(at('symlinks', name), target);

  makeFolder(at('links'));
  makeFolder(at('links', 'a'));
  makeFolder(at('links', 'b'));
  makeFile(at('links', 'pair'), seeded('pair', 5000));
  linkSync(at('links', 'pair'), at('links', 'a', 'pair'));
  makeFile(at('links', 'b', 'five'), seeded('five', 5000), 0o640);
  linkSync(at('links', 'b', 'five'), at('links', 'five'));
  linkSync(at('links', 'b', 'five'), at('links', 'a', 'five'));
  linkSync(at('links', 'b', 'five'), at('links', 'a', 'five\nof five'));
  linkSync(at('links', 'b', 'five'), at('links', 'zz'));
  // As large as the pair and of the same bytes, but a file of its own.
  makeFile(at('links', 'not one of the pair'), seeded('pair', 5000));
  makeFile(at('links', 'empty'), '');
  linkSync(at('links', 'empty'), at('links', 'b', 'empty'));
  // link(2) as Linux has it names the symlink itself, not what it leads to.
  makeSymlink(at('links', 'symlink'), 'pair');
  attempt('a hard-linked symlink', () => linkSync(at('links', 'symlink'), at('links', 'a', 'symlink')));

  makeFolder(at('nodes'));
  attempt('FIFOs', () => {
    makeNode(at('nodes', 'fifo'), 'mkfifo', [], 0o644);
    makeNode(at('nodes', 'fifo\nwith newline'), 'mkfifo', [], 0o600);
    makeNode(at('links', 'fifo'), 'mkfifo', [], 0o644);
    linkSync(at('links', 'fifo'), at('links', 'b', 'fifo'));
  });
  attempt('a socket', () => {
    // perl, since node's listener removes its socket at its end; relative, since a name has 107 bytes.
    const program =
      'use Socket; chdir shift or die $!; socket(my $s, PF_UNIX, SOCK_STREAM, 0) or die $!; ' +
      'bind($s, pack_sockaddr_un("socket")) or die $!;';
    callTool('perl', ['-e', program, at('nodes').toString()]);
    own(at('nodes', 'socket'));
    chmodSync(at('nodes', 'socket'), 0o755);
  });
  if (asRoot) {
    attempt('devices', () => {
      makeNode(at('nodes', 'char'), 'mknod', ['c', '1', '3'], 0o666);
      makeNode(at('nodes', 'char, large numbers'), 'mknod', ['c', '4000', '1000000'], 0o600);
      makeNode(at('nodes', 'block'), 'mknod', ['b', '7', '250'], 0o660);
      makeNode(at('links', 'block'), 'mknod', ['b', '7', '251'], 0o640);
      linkSync(at('links', 'block'), at('links', 'a', 'block'));
    });
  } else {
    missing.push({ what: 'devices', reason: 'not asked to make what only root can' });
  }

  makeFolder(at('empty folders'));
  makeFolder(at('empty folders', 'one'));
  makeFolder(at('empty folders', 'one', 'in another'));
  makeFolder(at('empty folders', 'read only'), 0o555);

  const deep: string[] = ['deep'];
  makeFolder(at(...deep));
  for (let level = 1; level <= 20; level += 1) {
    deep.push(`level ${level}`);
    makeFolder(at(...deep));
  }
  makeFile(at(...deep, 'at the bottom'));

  makeFolder(at('many'));
  for (let index = 0; index < 300; index += 1) makeFile(at('many', `file ${index}`), `${index}\n`);

  makeFolder(at('names'));
  makeFolder(at('names', 'files'));
  makeFolder(at('names', 'folders'));
  makeFolder(at('names', 'symlinks'));
  for (const [index, name] of hostileNames.entries()) {
    attempt(`the name "${escapePath(name as Buffer)}"`, () => {
      makeFile(at('names', 'files', name));
      makeFolder(at('names', 'folders', name));
      makeFile(at('names', 'folders', name, 'inside'));
      makeSymlink(at('names', 'symlinks', String(index)), name);
    });
  }

  makeFolder(at('attributes'));
  /** user.* attributes, which only files and folders can have (xattr(7)): empty, binary, text. */
  const withXattrs: [path: Buffer, attributes: [name: string | Buffer, value: Buffer][]][] = [];
  const attributed = (
    name: string | Buffer,
    ...attributes: [name: string | Buffer, value: Buffer][]
  ): void => {
    makeFile(at('attributes', name));
    withXattrs.push([at('attributes', name), attributes]);
  };
  const binary = Buffer.from([0x00, 0xff, 0x0a, 0x5c, 0x22, 0x00]);
  attributed('binary', ['user.binary', binary]);
  attributed('empty value', ['user.empty', Buffer.alloc(0)]);
  attributed('text', ['user.text', Buffer.from('text with a \\ and a "quote"\n')]);
  attributed(
    'names',
    ['user.a b', binary],
    ['user.new\nline', binary],
    ['user.a=b', binary],
    ['user.\\', binary],
    ['user.\u00e9', binary],
    [Buffer.from('user.\xff latin', 'latin1'), binary],
  );
  attributed('long name', [`user.${'n'.repeat(250)}`, binary]);
  attributed(
    'many',
    ...Array.from({ length: 60 }, (_, index): [string, Buffer] => [
      `user.many.${index}`,
      seeded(String(index), 1 + (index % 20)),
    ]),
  );
  attributed('1 KiB', ['user.large', seeded('1 KiB', 1024)]);
  attributed(Buffer.from('hostile\nname\xff*=\\', 'latin1'), ['user.a', binary]);
  makeFolder(at('attributes', 'folder'));
  withXattrs.push([
    at('attributes', 'folder'),
    [
      ['user.folder', binary],
      ['user.empty', Buffer.alloc(0)],
    ],
  ]);
  withXattrs.push([at(), [['user.top', Buffer.from('top')]]]);
  for (const [path, attributes] of withXattrs) {
    if (
      attempt(`user.* attributes on "${escapePath(path.subarray(top.length))}"`, () =>
        setXattrs(path, attributes),
      )
    ) {
      had.withXattrs += 1;
    }
  }
  makeFile(at('attributes', '3 KiB'));
  makeFile(at('attributes', '4 KiB'));
  for (const kib of [3, 4]) {
    // ext4 keeps an inode's attributes in one block of 4 KiB, header included: 4096 bytes do not fit.
    const value = seeded(`${kib} KiB`, kib * 1024);
    const path = at('attributes', `${kib} KiB`);
    if (attempt(`a user.* attribute of ${kib} KiB`, () => setXattrs(path, [['user.large', value]]))) {
      had.withXattrs += 1;
    }
  }

  makeFolder(at('acls'));
  const withAcl = (name: string, kind: 'file' | 'folder', mode: number, ...entries: string[]): void => {
    const path = at('acls', name);
    if (kind === 'file') makeFile(path, undefined, mode);
    else makeFolder(path, mode);
    const given = attempt(`the ACL on "acls/${name}"`, () => {
      callTool('setfacl', ['-n', '-m', entries.join(','), '--', path.toString()]);
    });
    if (given) had.withAcl += 1;
  };
  withAcl('user and group', 'file', 0o644, 'u:12345:rwx', 'g:54321:r-x', 'm::r-x');
  withAcl('no right', 'file', 0o644, 'u:12345:---', 'g:54321:---', 'm::r--');
  withAcl('mask narrower', 'file', 0o640, 'u:12345:rwx', 'u:4000000000:r--', 'm::---');
  withAcl('setuid too', 'file', 0o4755, 'u:0:r-x', 'm::r-x');
  withAcl('folder', 'folder', 0o755, 'u:12345:rwx', 'm::rwx');
  withAcl(
    'default',
    'folder',
    0o755,
    'd:u::rwx',
    'd:u:12345:rwx',
    'd:g::r-x',
    'd:g:54321:r--',
    'd:m::rwx',
    'd:o::---',
  );
  withAcl(
    'both',
    'folder',
    0o2750,
    'u:12345:r-x',
    'm::r-x',
    'd:u::rwx',
    'd:g::---',
    'd:u:54321:rwx',
    'd:m::rwx',
    'd:o::r--',
  );
  // These inherit from the default ACL; the mode that they are given then becomes their mask.
  makeFile(at('acls', 'default', 'inherits'));
  makeFolder(at('acls', 'default', 'folder inherits'));
  makeFile(at('acls', 'both', 'inherits'), undefined, 0o640);

  if (asRoot) {
    makeFolder(at('owners'));
    const owners: [name: string, uid: number, gid: number][] = [
      ['root', 0, 0],
      ['stranger', stranger.uid, stranger.gid],
      ['root, group of a stranger', 0, stranger.gid],
      ['nobody', 65534, 65534],
      ['largest', 4294967294, 4294967294],
    ];
    for (const [name, uid, gid] of owners) {
      attempt(`entries of owner ${uid}:${gid}`, () => {
        makeFile(at('owners', `file of ${name}`), undefined, 0o644);
        makeFolder(at('owners', `folder of ${name}`));
        makeFile(at('owners', `folder of ${name}`, 'inside'));
        makeSymlink(at('owners', `symlink of ${name}`), 'nowhere');
        makeFile(at('owners', `setuid of ${name}`));
        makeNode(at('owners', `fifo of ${name}`), 'mkfifo', [], 0o644);
        for (const kind of ['file', 'folder', 'symlink', 'setuid', 'fifo']) {
          lchownSync(at('owners', `${kind} of ${name}`), uid, gid);
          had.otherOwners += 1;
        }
        chmodSync(at('owners', `setuid of ${name}`), 0o6755);
      });
    }
    makeFile(at('attributes', 'capability'), undefined, 0o755);
    makeFile(at('attributes', 'capability and more'), undefined, 0o755);
    for (const [name, capability] of [
      ['capability', 10],
      ['capability and more', 2],
    ] as const) {
      // As `setcap NAME=ep` writes it (struct vfs_cap_data, version 2); not every machine has setcap.
      const value = Buffer.alloc(20);
      value.writeUInt32LE(0x02000001, 0);
      value.writeUInt32LE(2 ** capability, 4);
      const given = attempt(`security.capability on "attributes/${name}"`, () =>
        setXattrs(at('attributes', name), [['security.capability', value]]),
      );
      if (given) had.withCapability += 1;
    }
    attempt('security.capability with a user.* attribute', () =>
      setXattrs(at('attributes', 'capability and more'), [['user.more', binary]]),
    );
    attempt('security.* on a symlink', () => {
      // The one name space but trusted.* that a symlink's own attributes can be in.
      makeSymlink(at('attributes', 'symlink'), 'text');
      setXattrs(at('attributes', 'symlink'), [['security.dialback', binary]]);
    });
  } else {
    missing.push({ what: 'other owners', reason: 'not asked to make what only root can' });
    missing.push({ what: 'security.capability', reason: 'not asked to make what only root can' });
  }

  makeFolder(at('times'));
  for (const [name] of setTimes) {
    makeFile(at('times', `file ${name}`));
    makeFolder(at('times', `folder ${name}`));
    makeFile(at('times', `folder ${name}`, 'inside'));
    makeSymlink(at('times', `symlink ${name}`), `file ${name}`);
  }
  // Each entry a time of its own, none from the clock; last of all, since making entries changes folders'.
  const counts = countEntries(top, (path, index) =>
    lutimesSync(path, 1_600_000_000, 1_700_000_000 + index * 1.0009765),
  );
  for (const [name, time] of setTimes) {
    // touch, since node takes times as doubles (no nanoseconds), and any before 1970 for "now".
    const paths = ['file', 'folder', 'symlink'].map(kind => at('times', `${kind} ${name}`));
    attempt(`the time ${time}`, () => {
      callTool(
        'xargs',
        ['-0', 'touch', '-h', '-d', `${time} UTC`, '--'],
        Buffer.concat(paths.flatMap(path => [path, Buffer.from('\0')])),
      );
      const [seconds, nanoseconds] = time.split('.');
      const wanted = BigInt(Date.parse(`${seconds}Z`)) * 1_000_000n + BigInt(nanoseconds ?? 0);
      for (const path of paths) {
        const { mtimeNs } = lstatSync(path, { bigint: true });
        if (mtimeNs !== wanted) throw new Error(`the file system made ${mtimeNs} ns of ${wanted} ns`);
        had.withSetTime += 1;
      }
    });
  }

  return { counts: { ...counts, ...had }, missing };
}

/**
 * Removes the tree of `makeTortureTree()`, or a copy of it, as its owner: a plain user must first get write
 * permission on folders of mode 0500. Absent is fine.
 */
export function removeTree(folder: string): void {
  const path = resolve(folder);
  try {
    callTool('rm', ['-rf', '--', path]);
  } catch {
    // -R does not follow symlinks (chmod(1)). rm reports entries of other accounts.
    callTool('sh', ['-c', 'chmod -R u+rwx -- "$1" 2>/dev/null; rm -rf -- "$1"', 'sh', path]);
  }
}

/** By setfattr's restore form on its standard input, where names and paths need not be UTF-8. */
function setXattrs(
  path: Buffer,
  attributes: readonly (readonly [name: string | Buffer, value: Buffer])[],
): void {
  const octal = (bytes: Buffer): string =>
    [...bytes]
      .map(byte =>
        byte < 0x30 || byte > 0x7a || byte === 0x5c || byte === 0x3d
          ? `\\${byte.toString(8).padStart(3, '0')}`
          : String.fromCharCode(byte),
      )
      .join('');
  const lines = attributes.map(
    ([name, value]) => `${octal(Buffer.from(name as Buffer))}=0x${value.toString('hex')}`,
  );
  callTool('setfattr', ['-h', '--restore=-'], Buffer.from(`# file: ${octal(path)}\n${lines.join('\n')}\n\n`));
}

type EntryCounts = Omit<TreeCounts, keyof typeof nothingHad>;

/** Counts what is there, not what was meant to be, and hands each entry to `visit` in the bytes' order. */
function countEntries(top: string, visit: (path: Buffer, index: number) => void): EntryCounts {
  const counts: EntryCounts = {
    entries: 0,
    files: 0,
    folders: 0,
    symlinks: 0,
    fifos: 0,
    sockets: 0,
    charDevices: 0,
    blockDevices: 0,
    linkGroups: 0,
    linkedNames: 0,
  };
  const linked = new Set<bigint>();
  const enter = (path: Buffer): void => {
    const stats = lstatSync(path, { bigint: true });
    visit(path, counts.entries);
    counts.entries += 1;
    if (stats.isFile()) counts.files += 1;
    else if (stats.isSymbolicLink()) counts.symlinks += 1;
    else if (stats.isFIFO()) counts.fifos += 1;
    else if (stats.isSocket()) counts.sockets += 1;
    else if (stats.isCharacterDevice()) counts.charDevices += 1;
    else if (stats.isBlockDevice()) counts.blockDevices += 1;
    else {
      counts.folders += 1;
      for (const name of readdirSync(path, 'buffer').sort(Buffer.compare)) {
        enter(Buffer.concat([path, Buffer.from('/'), name]));
      }
      return;
    }
    if (stats.nlink > 1n) {
      linked.add(stats.ino);
      counts.linkedNames += 1;
    }
  };
  enter(Buffer.from(top));
  return { ...counts, linkGroups: linked.size };
}
