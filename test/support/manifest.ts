/**
 * A record of a tree on a disk, entry by entry. It allows to compare two trees, such as a source and its restored copy, to the
 * nanosecond, the bit and the sparse range. It does not rely on rsync, cp or find.
 *
 * Names are bytes. A path is kept relative to the tree's top ('.' is the top itself) and escaped by
 * `escapePath`, which is one-to-one: two names never share a key, and a key is always printable ASCII.
 */

import { spawnSync } from 'node:child_process';
import { createHash, hash } from 'node:crypto';
import type { BigIntStats } from 'node:fs';
import { closeSync, constants, lstatSync, openSync, readdirSync, readlinkSync, readSync } from 'node:fs';
import { resolve } from 'node:path';

export type EntryType = 'file' | 'folder' | 'symlink' | 'fifo' | 'socket' | 'char device' | 'block device';

/** One inode's name in the tree. A field that its type does not have, or that was left out, is absent. */
export type ManifestEntry = {
  type?: EntryType;
  /** Four octal digits: setuid, setgid and sticky, then the permissions. */
  mode?: string;
  uid?: number;
  gid?: number;
  /** In bytes; absent for folders, whose size depends on the file system and on former entries. */
  size?: number;
  mtimeNs?: bigint;
  /** Where a symlink leads, escaped as paths are. */
  target?: string;
  /** MAJOR:MINOR of a device. */
  rdev?: string;
  sha256?: string;
  /** Escaped name to 0x-hex value: user.*, security.*, system.posix_acl_*, and for root trusted.* too. */
  xattrs?: Map<string, string>;
  /** The hard-link group: its smallest path (by bytes) in this tree. Absent where no other name shares it. */
  link?: string;
  /** The sparse ranges of a regular file as 'START-END START-END' in bytes; '' if it has none. */
  holes?: string;
  /** DEVICE:INODE, only with `includeInode`. */
  inode?: string;
};

export type ManifestField = keyof ManifestEntry;

/** Keyed by escaped relative path, in the order of the paths' bytes. */
export type Manifest = Map<string, ManifestEntry>;

export type ManifestOptions = {
  /**
   * Fields to leave out, which are then not even read. 'xattr:NAME' leaves out one attribute, and with a dot
   * at its end ('xattr:trusted.') all of a name space.
   */
  without?: readonly (ManifestField | `xattr:${string}`)[];
  /** Adds DEVICE:INODE, to show that two snapshots share an inode, or that they do not. */
  includeInode?: boolean;
};

const chunkBytes = 1024 * 1024;
/** Does not follow a symlink, and does not wait for the other end of a FIFO, if a name changes meanwhile. */
const openFlags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/**
 * Prints the sparse ranges of all files named on standard input (NUL after each), one line per file. Whence 3 is SEEK_DATA and 4
 * SEEK_HOLE (lseek(2)). errno 6, ENXIO, means that no data follow. It ignores the hole that lseek(2) with SEEK_HOLE reports at the
 * end of every file. It is in perl, since node has no lseek, and one process, since 60,000 would take minutes. Fcntl is in perl-base,
 * which every Debian has.
 */
const holesProgram = `
use Fcntl;
$/ = "\\0";
while (my $name = <STDIN>) {
  chomp $name;
  sysopen(my $file, $name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK) or die "Cannot open \\"$name\\": $!\\n";
  my $size = -s $file;
  my $at = 0;
  my @holes;
  while ($at < $size) {
    my $data = sysseek($file, $at, 3);
    if (!defined $data) {
      die "Cannot seek in \\"$name\\": $!\\n" if $! != 6;
      push @holes, "$at-$size";
      last;
    }
    $data += 0;
    push @holes, "$at-$data" if $data > $at;
    $at = sysseek($file, $data, 4);
    die "Cannot seek in \\"$name\\": $!\\n" if !defined $at;
    $at += 0;
  }
  print "@holes\\n";
}
`;

/**
 * Runs a program to its end, in the C locale and in UTC, and returns what it wrote to its standard output.
 * @param input its whole standard input; how names that are not UTF-8 get in, since arguments are strings
 * @throws with the program's own words when it is not there or its status is not 0
 */
export function callTool(program: string, args: readonly string[], input: Buffer = Buffer.alloc(0)): Buffer {
  const { status, signal, error, stdout, stderr } = spawnSync(program, args, {
    input,
    maxBuffer: Infinity,
    // sbin: where a plain user's PATH does not lead, and where some of the tools are.
    env: { PATH: `${process.env.PATH ?? ''}:/usr/sbin:/usr/bin:/sbin:/bin`, LC_ALL: 'C', TZ: 'UTC' },
  });
  if (status === 0) return stdout;
  const end = signal === null ? `exit status ${status}` : `ended by ${signal}`;
  const said = stderr === null ? '' : escapePath(stderr.subarray(0, 1000)).replaceAll('\\x0a', '; ');
  const missing = (error as NodeJS.ErrnoException | undefined)?.code === 'ENOENT';
  throw new Error(`Cannot run "${program}": ${missing ? 'not installed' : said || (error?.message ?? end)}`);
}

/**
 * Printable ASCII as it is; a backslash doubled; every other byte as \xHH. Composed and decomposed letters,
 * which look alike, thus differ in a report too.
 */
export function escapePath(path: Uint8Array | string): string {
  return escapeLatin1(Buffer.from(path as Uint8Array).toString('latin1'));
}

/**
 * Reads a tree. Never follows a symlink (not even the top one), never opens a FIFO, socket or device.
 * @throws when the top is not a folder, or when anything in it cannot be read: a manifest is whole or is not
 */
export function manifest(folder: string, options: ManifestOptions = {}): Manifest {
  const without = new Set<string>(options.without ?? []);
  const wanted = (field: ManifestField): boolean => !without.has(field);
  const top = Buffer.from(resolve(folder));
  const found = walk(top);

  const xattrs = wanted('xattrs') ? readXattrs(top, without) : undefined;
  const holes = wanted('holes') ? readHoles(found.filter(each => each.stats.isFile())) : undefined;
  const links = wanted('link') ? groupLinks(found) : undefined;
  const chunk = Buffer.allocUnsafe(chunkBytes);

  const result: Manifest = new Map();
  for (const each of found) {
    const { stats } = each;
    const type = typeOf(stats);
    const entry: ManifestEntry = {};
    if (wanted('type')) entry.type = type;
    if (wanted('mode')) entry.mode = (Number(stats.mode) & 0o7777).toString(8).padStart(4, '0');
    if (wanted('uid')) entry.uid = Number(stats.uid);
    if (wanted('gid')) entry.gid = Number(stats.gid);
    if (wanted('size') && type !== 'folder') entry.size = Number(stats.size);
    if (wanted('mtimeNs')) entry.mtimeNs = stats.mtimeNs;
    if (wanted('target') && type === 'symlink') entry.target = escapePath(readlinkSync(each.path, 'buffer'));
    if (wanted('rdev') && type.endsWith('device')) entry.rdev = deviceNumber(stats.rdev);
    if (wanted('sha256') && type === 'file') entry.sha256 = sha256(each.path, Number(stats.size), chunk);
    if (xattrs) entry.xattrs = xattrs.get(each.name) ?? new Map<string, string>();
    const link = links?.get(each.name);
    if (link !== undefined) entry.link = escapeLatin1(link);
    const hole = holes?.get(each.name);
    if (hole !== undefined) entry.holes = hole;
    if (options.includeInode && wanted('inode')) entry.inode = `${stats.dev}:${stats.ino}`;
    result.set(escapeLatin1(each.name), entry);
  }
  return result;
}

/**
 * One line a difference, 'PATH: FIELD: BEFORE -> AFTER', in the order of the paths; empty when the trees are
 * alike. An entry that only one has is one line ('PATH: entry: none -> file'); each xattr that differs is
 * one ('PATH: xattr user.a: 0x00 -> none'). Both manifests must have been made with the same options.
 */
export function diffManifests(before: Manifest, after: Manifest): string[] {
  const lines: string[] = [];
  const paths = [...new Set([...before.keys(), ...after.keys()])].sort((a, b) => (a < b ? -1 : 1));
  for (const path of paths) {
    const a = before.get(path);
    const b = after.get(path);
    if (!a || !b) {
      lines.push(
        `${path}: entry: ${a ? (a.type ?? 'there') : 'none'} -> ${b ? (b.type ?? 'there') : 'none'}`,
      );
      continue;
    }
    for (const field of fields) {
      if (field === 'xattrs') {
        for (const line of diffXattrs(a.xattrs, b.xattrs)) lines.push(`${path}: ${line}`);
      } else if (a[field] !== b[field]) {
        const [was, is] = [show(field, a[field]), show(field, b[field])];
        // A folder and an empty file have no sparse ranges.
        if (was !== is) lines.push(`${path}: ${field}: ${was} -> ${is}`);
      }
    }
  }
  return lines;
}

/** In the order in which differences are reported. */
// biome-ignore format: as a list it is a screen long
const fields: readonly ManifestField[] = [
  'type', 'mode', 'uid', 'gid', 'size', 'mtimeNs', 'target', 'rdev',
  'sha256', 'xattrs', 'link', 'holes', 'inode',
];

/** `name` is the path relative to the top, one character a byte: quick to compare, in the bytes' order. */
type Found = { name: string; path: Buffer; stats: BigIntStats };

function walk(top: Buffer): Found[] {
  const stats = lstatSync(top, { bigint: true });
  if (!stats.isDirectory()) throw new Error(`Cannot read "${escapePath(top)}": not a folder`);
  const found: Found[] = [{ name: '.', path: top, stats }];
  const folders: { prefix: string; path: Buffer }[] = [{ prefix: '', path: top }];
  for (let folder = folders.pop(); folder; folder = folders.pop()) {
    for (const base of readdirSync(folder.path, 'buffer')) {
      const path = Buffer.concat([folder.path, slash, base]);
      const each = {
        name: folder.prefix + base.toString('latin1'),
        path,
        stats: lstatSync(path, { bigint: true }),
      };
      found.push(each);
      if (each.stats.isDirectory()) folders.push({ prefix: `${each.name}/`, path });
    }
  }
  return found.sort((a, b) => (a.name < b.name ? -1 : 1));
}

const slash = Buffer.from('/');

function typeOf(stats: BigIntStats): EntryType {
  if (stats.isFile()) return 'file';
  if (stats.isDirectory()) return 'folder';
  if (stats.isSymbolicLink()) return 'symlink';
  if (stats.isFIFO()) return 'fifo';
  if (stats.isSocket()) return 'socket';
  return stats.isCharacterDevice() ? 'char device' : 'block device';
}

/** How the C library packs a device number on Linux: gnu_dev_major and gnu_dev_minor. */
function deviceNumber(rdev: bigint): string {
  const major = ((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & 0xfffff000n);
  const minor = (rdev & 0xffn) | ((rdev >> 12n) & 0xffffff00n);
  return `${major}:${minor}`;
}

/** `size` only chooses the way: a small file by one call, which is a good deal cheaper than a hash object. */
function sha256(path: Buffer, size: number, chunk: Buffer): string {
  const descriptor = openSync(path, openFlags);
  try {
    const first = readSync(descriptor, chunk);
    if (first === size && size < chunk.length) return hash('sha256', chunk.subarray(0, first));
    const sum = createHash('sha256');
    for (let count = first; count > 0; count = readSync(descriptor, chunk))
      sum.update(chunk.subarray(0, count));
    return sum.digest('hex');
  } finally {
    closeSync(descriptor);
  }
}

function groupLinks(found: readonly Found[]): Map<string, string> {
  const groups = new Map<string, string[]>();
  for (const { name, stats } of found) {
    if (stats.isDirectory() || stats.nlink < 2n) continue;
    const inode = `${stats.dev}:${stats.ino}`;
    const group = groups.get(inode);
    if (group) group.push(name);
    else groups.set(inode, [name]);
  }
  const result = new Map<string, string>();
  for (const names of groups.values()) {
    // `found` is sorted, so the first is the smallest. A single name has its partners outside the tree.
    const [smallest] = names;
    if (names.length > 1 && smallest !== undefined) for (const name of names) result.set(name, smallest);
  }
  return result;
}

/** The output's form: '# file: PATH', then NAME=0xHEX lines, then an empty line; \ooo in PATH and NAME. */
function readXattrs(top: Buffer, without: ReadonlySet<string>): Map<string, Map<string, string>> {
  const excluded = [...without].filter(each => each.startsWith('xattr:')).map(each => each.slice(6));
  const isExcluded = (name: string): boolean =>
    excluded.some(each => (each.endsWith('.') ? name.startsWith(each) : name === each));
  const args = [
    '-R',
    '-P', // the walk is physical: a symlink to a folder is not gone into
    '-h', // a symlink's own attributes
    '-d', // values too
    '-m',
    '-', // every name space, not only user.*
    '-e',
    'hex',
    '--absolute-names', // else the leading slash is cut off, with a warning
    '--',
    top.toString(),
  ];
  const result = new Map<string, Map<string, string>>();
  let current = new Map<string, string>();
  const prefixLength = top.length + 1;
  for (const line of callTool('getfattr', args).toString('latin1').split('\n')) {
    if (line === '') continue;
    if (line.startsWith('# file: ')) {
      current = new Map();
      result.set(unescapeOctal(line.slice(8)).slice(prefixLength) || '.', current);
      continue;
    }
    const equals = line.indexOf('=');
    const name = escapeLatin1(unescapeOctal(equals < 0 ? line : line.slice(0, equals)));
    if (!isExcluded(name)) current.set(name, equals < 0 ? '0x' : line.slice(equals + 1));
  }
  return result;
}

function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(parseInt(digits, 8)));
}

function readHoles(files: readonly Found[]): Map<string, string> {
  const names = Buffer.concat(files.flatMap(({ path }) => [path, nul]));
  const lines = callTool('perl', ['-e', holesProgram], names).toString('latin1').split('\n');
  if (lines.length !== files.length + 1) {
    throw new Error(`Cannot read the holes: ${lines.length - 1} answers for ${files.length} files`);
  }
  return new Map(files.map(({ name }, index) => [name, lines[index] ?? '']));
}

const nul = Buffer.from('\0');

function escapeLatin1(text: string): string {
  return text.replace(/[^\x20-\x7e]|\\/g, character =>
    character === '\\' ? '\\\\' : `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );
}

function diffXattrs(
  before: Map<string, string> = new Map(),
  after: Map<string, string> = new Map(),
): string[] {
  const names = [...new Set([...before.keys(), ...after.keys()])].sort();
  return names
    .filter(name => before.get(name) !== after.get(name))
    .map(name => `xattr ${name}: ${showValue(before.get(name))} -> ${showValue(after.get(name))}`);
}

/** Long values are cut, with a checksum so that two that begin alike still look different. */
function showValue(value: string | undefined): string {
  if (value === undefined) return 'none';
  if (value.length <= 130) return value;
  const sum = hash('sha256', value).slice(0, 8);
  return `${value.slice(0, 34)}... (${(value.length - 2) / 2} bytes, sum ${sum})`;
}

function show(field: ManifestField, value: ManifestEntry[ManifestField]): string {
  if (value === undefined || value === '') return 'none';
  if (field === 'mtimeNs' && typeof value === 'bigint') return showTime(value);
  return String(value);
}

/** RFC 3339 with all nine digits. BigInt division rounds towards zero, and 1960 is below it. */
function showTime(ns: bigint): string {
  const rest = ((ns % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
  const seconds = (ns - rest) / 1_000_000_000n;
  const date = new Date(Number(seconds) * 1000);
  if (Number.isNaN(date.getTime())) return `${seconds}.${String(rest).padStart(9, '0')}`;
  return date.toISOString().replace(/\.\d+Z$/, `.${String(rest).padStart(9, '0')}Z`);
}
