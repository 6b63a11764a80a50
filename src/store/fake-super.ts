/**
 * What is true of an entry of a stored tree: its type, mode, owner, device, time, link target, ACL and xattrs as they
 * were on the client. In a fake-super tree these stand in xattrs of plain files (rsync(1), --fake-super):
 *
 * - `user.rsync.%stat` is `MODE MAJOR,MINOR UID:GID`, the mode in octal with its type bits; where it is absent, what the
 *   file itself has is true (rsync leaves it out where the two are the same).
 * - `user.rsync.%aacl` and `%dacl` are the access and the default ACL, packed (`parseAcl`).
 * - a name of another namespace than `user.` has `user.rsync.` before it.
 *
 * find(1) and getfattr(1) read the tree, xargs(1) gives them names of any bytes, sort(1) puts them in order without
 * holding them. Nothing is written. What is read here is the client's: every parser takes anything.
 */
import { Fault, type Parsed } from '../fault.ts';
import { readWhole } from '../os/content.ts';
import { fileFault } from '../os/files.ts';
import { PATH_BYTES } from '../os/long-path.ts';
import { dropGarbage } from '../os/memory.ts';
import { run, standard } from '../os/process.ts';
import { programPath } from '../os/programs.ts';
import { escapeText, jsonName, showName } from '../wire/text.ts';
import { type Complain, sortedRecords } from './sorted-find.ts';

export type EntryType = 'file' | 'folder' | 'symlink' | 'fifo' | 'socket' | 'char device' | 'block device';

/** An entry as it lies in the store. */
export interface StoredEntry {
  /** Below the tree, without a slash at its beginning; empty for the tree's top. */
  path: Buffer;
  inode: bigint;
  links: number;
  isFolder: boolean;
  /** The permission bits of the stored file, 0 to 07777. */
  mode: number;
  uid: number;
  gid: number;
  /** Bytes of the stored file: of a symlink its target's length, of a device 0. */
  size: number;
  mtimeNs: bigint;
}

export interface Xattr {
  /** With its namespace: `user.comment`, `security.capability`. Any bytes but NUL. */
  name: Buffer;
  value: Buffer;
}

/** An entry as it was on the client. */
export interface TreeEntry {
  path: Buffer;
  type: EntryType;
  /** 0 to 07777. */
  mode: number;
  uid: number;
  gid: number;
  device: { major: number; minor: number } | null;
  /** Bytes; of a symlink the target's. Of a folder what the store's file system says: it means nothing. */
  size: number;
  mtimeNs: bigint;
  /** In the store: two names (of two snapshots, too) with the same one are the same in everything. */
  inode: bigint;
  /** In the store, other snapshots' names included. */
  links: number;
  target: Buffer | null;
  /** acl(5)'s short text form with numbers, default entries behind with `d:`; null where the mode says it all. */
  acl: string | null;
  /** Sorted by name's bytes. */
  xattrs: Xattr[];
}

const DIGITS = '(\\d{1,20})';
const RECORD = new RegExp(`^${DIGITS} ${DIGITS} ([0-7]{1,4}) (\\S) ${DIGITS} (-?\\d{1,20})\\.(\\d{9})\\d* ${DIGITS}:${DIGITS} \\.(?:/(.*))?$`, 's'); // biome-ignore format: one record, one line
/** As RECORD reads it; the path comes last, since it may hold anything but NUL. */
const FIND_FORMAT = '%i %n %m %y %s %T@ %U:%G %p\\0';
const PATH_FIELD = 8;

/**
 * Reads one record of find's -printf with `FIND_FORMAT`. Of a time before 1970 find 4.9 prints the second below and the
 * nanoseconds above it: -1.999999999 is one nanosecond before 1970.
 */
export function parseFound(record: Buffer): Parsed<StoredEntry> {
  const found = RECORD.exec(record.toString('latin1'));
  if (!found) return { reason: 'it is not what find was asked for' };
  const [, inode = '', links, mode = '', type, size, seconds = '', nanoseconds = '', uid, gid, path = ''] =
    found;
  return {
    value: {
      path: Buffer.from(path, 'latin1'),
      inode: BigInt(inode),
      links: Number(links),
      isFolder: type === 'd',
      mode: Number.parseInt(mode, 8),
      uid: Number(uid),
      gid: Number(gid),
      size: Number(size),
      mtimeNs: BigInt(seconds) * 1_000_000_000n + BigInt(nanoseconds),
    },
  };
}

/**
 * Reads what `getfattr --absolute-names -d -e hex` prints: of each file that has xattrs a line `# file: PATH`, then
 * NAME=0xHEX lines, then an empty one; in PATH and NAME some bytes are \ooo, the backslash always.
 * @returns by path, one character a byte, as getfattr was asked for it
 */
export function parseAttributes(output: Buffer): Map<string, Xattr[]> {
  const files = new Map<string, Xattr[]>();
  let current: Xattr[] = [];
  for (const line of output.toString('latin1').split('\n')) {
    const path = /^# file: (.*)$/s.exec(line)?.[1];
    if (path !== undefined) {
      current = [];
      files.set(unescapeOctal(path), current);
      continue;
    }
    const found = /^([^=]+)(?:=0x((?:[0-9a-f]{2})*))?$/s.exec(line);
    if (!found) continue;
    const name = Buffer.from(unescapeOctal(found[1] ?? ''), 'latin1');
    current.push({ name, value: Buffer.from(found[2] ?? '', 'hex') });
  }
  return files;
}

function unescapeOctal(text: string): string {
  return text.replace(/\\([0-3][0-7]{2})/g, (_, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  );
}

/** `user.rsync.%stat`, read. */
export interface FakeStat {
  type: EntryType;
  mode: number;
  uid: number;
  gid: number;
  device: { major: number; minor: number } | null;
}

/** By a mode's bits above the permissions (inode(7)), in octal. */
const TYPES: Record<string, EntryType> = {
  '1': 'fifo',
  '2': 'char device',
  '4': 'folder',
  '6': 'block device',
  '10': 'file',
  '12': 'symlink',
  '14': 'socket',
};
const ID_LIMIT = 0xffff_ffff;

/** @param value as rsync writes it: `100644 0,0 1000:1000` */
export function parseStat(value: Buffer): Parsed<FakeStat> {
  const found = /^([0-7]{1,7}) (\d{1,10}),(\d{1,10}) (\d{1,10}):(\d{1,10})\0?$/.exec(
    value.toString('latin1'),
  );
  if (!found) return { reason: 'it is not MODE MAJOR,MINOR UID:GID' };
  const bits = Number.parseInt(found[1] ?? '', 8);
  const [major = 0, minor = 0, uid = 0, gid = 0] = found.slice(2).map(Number);
  const type = TYPES[(bits >> 12).toString(8)];
  if (type === undefined) return { reason: 'there is no such type' };
  if ([major, minor, uid, gid].some(each => each > ID_LIMIT)) return { reason: 'a number is too large' };
  const device = type === 'char device' || type === 'block device' ? { major, minor } : null;
  return { value: { type, mode: bits & 0o7777, uid, gid, device } };
}

const NO_ENTRY = 0x80;
const IS_USER = 0x8000_0000;

/**
 * A packed ACL as text: four little-endian numbers of 32 bits (owner, group, mask, others; 0x80: as the mode says), then
 * pairs of an id and its rights, with the highest bit set for a user (rsync 3.5.0, acls.c, `get_rsync_acl()`).
 * @param mode the entry's true mode; a default ACL stands for itself
 * @param prefix before each entry: `` or `d:`
 */
export function parseAcl(packed: Buffer, mode: number, prefix: '' | 'd:'): Parsed<string> {
  if (packed.length < 16 || packed.length % 8 !== 0) return { reason: 'its length is none of a packed ACL' };
  const [owner = 0, group = 0, mask = 0, others = 0] = [0, 4, 8, 12].map(at => packed.readUInt32LE(at));
  const named: { isUser: boolean; id: number; rights: number }[] = [];
  for (let at = 16; at < packed.length; at += 8) {
    const access = packed.readUInt32LE(at + 4);
    named.push({ isUser: access >= IS_USER, id: packed.readUInt32LE(at), rights: access & ~IS_USER });
  }
  const plain = [owner, group, mask, others].filter(each => each !== NO_ENTRY);
  if ([...plain, ...named.map(each => each.rights)].some(each => each > 7))
    return { reason: 'there are no such rights' };
  const or = (rights: number, shift: number): number => (rights === NO_ENTRY ? (mode >> shift) & 7 : rights);
  const list = (isUser: boolean, letter: string): string[] =>
    named
      .filter(each => each.isUser === isUser)
      .map(each => `${letter}:${each.id}:${showRights(each.rights)}`);
  const entries = [
    `u::${showRights(or(owner, 6))}`,
    ...list(true, 'u'),
    `g::${showRights(or(group, 3))}`,
    ...list(false, 'g'),
    ...(mask === NO_ENTRY ? [] : [`m::${showRights(mask)}`]),
    `o::${showRights(or(others, 0))}`,
  ];
  return { value: entries.map(each => prefix + each).join(',') };
}

function showRights(rights: number): string {
  return `${rights & 4 ? 'r' : '-'}${rights & 2 ? 'w' : '-'}${rights & 1 ? 'x' : '-'}`;
}

const OWN = Buffer.from('user.rsync.');
const OWN_MARK = '%'.charCodeAt(0);

/**
 * What was true of an entry, out of what is stored. What rsync could not have written is shown as the xattr that it is.
 * @param stored of getfattr, `user.` names alone
 * @param target what the stored file of a symlink holds; null for others
 */
export function truthOf(stored: StoredEntry, xattrs: readonly Xattr[], target: Buffer | null): TreeEntry {
  const plain: FakeStat = {
    type: stored.isFolder ? 'folder' : 'file',
    mode: stored.mode,
    uid: stored.uid,
    gid: stored.gid,
    device: null,
  };
  const { stat = plain, rest } = takeStat(xattrs, stored.isFolder);
  const acls: string[] = [];
  const shown: Xattr[] = [];
  for (const xattr of rest) {
    const name = xattr.name.toString('latin1');
    const prefix = name === 'user.rsync.%aacl' ? '' : name === 'user.rsync.%dacl' ? 'd:' : undefined;
    const acl = prefix === undefined ? undefined : parseAcl(xattr.value, stat.mode, prefix);
    if (acl && 'value' in acl) acls.push(acl.value);
    else shown.push({ name: trueName(xattr.name), value: xattr.value });
  }
  const { path, size, mtimeNs, inode, links } = stored;
  return {
    path,
    ...stat,
    size,
    mtimeNs,
    inode,
    links,
    target: stat.type === 'symlink' ? target : null,
    acl: acls.length > 0 ? acls.sort(accessFirst).join(',') : null,
    xattrs: shown.sort((one, other) => Buffer.compare(one.name, other.name)),
  };
}

function accessFirst(one: string, other: string): number {
  return Number(one.startsWith('d:')) - Number(other.startsWith('d:'));
}

/** The stat, and the other xattrs; one that does not fit the stored file is none. */
function takeStat(xattrs: readonly Xattr[], isFolder: boolean): { stat?: FakeStat; rest: Xattr[] } {
  const rest = [...xattrs];
  const index = rest.findIndex(each => each.name.toString('latin1') === 'user.rsync.%stat');
  const found = rest[index];
  if (!found) return { rest };
  const parsed = parseStat(found.value);
  if ('reason' in parsed || (parsed.value.type === 'folder') !== isFolder) return { rest };
  rest.splice(index, 1);
  return { stat: parsed.value, rest };
}

/** `user.rsync.security.capability` was `security.capability`. */
function trueName(name: Buffer): Buffer {
  const isDisguised =
    name.length > OWN.length && name.subarray(0, OWN.length).equals(OWN) && name[OWN.length] !== OWN_MARK;
  return isDisguised ? name.subarray(OWN.length) : name;
}

export interface TreeOptions {
  /** Below the tree, without a slash at the beginning; each must be there. None: the tree's top. */
  paths?: Buffer[];
  /** How far below these: 0 themselves, 1 a folder's entries too. Left out: all. */
  depth?: number;
  /** Is told in words what cannot be read, and the rest is given; left out: the first such entry is a Fault. */
  complain?: Complain | undefined;
  signal: AbortSignal;
}

/**
 * What lies in a stored tree, sorted by the bytes of the paths, each once; not held in memory.
 * @throws Fault when something in it cannot be read; the signal's reason
 */
export async function* listTree(tree: string, options: TreeOptions): AsyncGenerator<StoredEntry> {
  const { paths = [Buffer.alloc(0)], complain, signal } = options;
  const tried = `read "${tree}"`;
  const starts = paths.map(startOf);
  // Then more is found than was asked for.
  const isLonger = starts.some((start, at) => start !== paths[at]);
  const steps = isLonger ? Math.max(...paths.map((path, at) => stepsFrom(starts[at] ?? path, path))) : 0;
  const limit = options.depth === undefined ? [] : ['-maxdepth', String(options.depth + steps)];
  const find = ['-0', '-I{}', programPath('find'), '-P', '{}', ...limit, '-printf', FIND_FORMAT];
  const order = ['-u', '-k', String(PATH_FIELD)];
  const input = Buffer.concat(starts.flatMap(path => [asArgument(path), Buffer.from([0])]));
  const finder = { ...standard('xargs', find), cwd: tree };
  for await (const record of sortedRecords(finder, { order, input, complain, signal, tried })) {
    const parsed = parseFound(record);
    if ('reason' in parsed) throw new Fault({ tried, found: parsed.reason });
    if (!isLonger || isAskedFor(parsed.value.path, paths, options.depth)) yield parsed.value;
  }
}

/** Nothing that find or getfattr could take for an option. */
function asArgument(path: Buffer): Buffer {
  return path.length === 0 ? Buffer.from('.') : Buffer.concat([Buffer.from('./'), path]);
}

/** Where find(1) begins, which takes no path that is longer than the kernel does: a folder above, if need be. */
function startOf(path: Buffer): Buffer {
  const most = PATH_BYTES - './'.length;
  return path.length <= most ? path : path.subarray(0, Math.max(0, path.lastIndexOf('/', most)));
}

/** How far a path is below a folder. */
function stepsFrom(folder: Buffer, path: Buffer): number {
  return path.subarray(folder.length).toString('latin1').split('/').length - 1;
}

function isAskedFor(path: Buffer, asked: Buffer[], depth = Number.POSITIVE_INFINITY): boolean {
  return asked.some(each => covers(each, path) && stepsFrom(each, path) <= depth);
}

/** Whether a path is a folder's, or the folder itself; the empty path covers all. */
export function covers(folder: Buffer, path: Buffer): boolean {
  if (folder.length === 0) return true;
  const head = path.subarray(0, folder.length);
  return head.equals(folder) && (path.length === folder.length || path[folder.length] === '/'.charCodeAt(0));
}

/** The programs that read a tree, some of which a system can lack. */
export const READER_NEEDS = ['find', 'sort', 'xargs', 'getfattr'];

/** @throws Fault that names the package of one that is missing */
export function requireReaders(): void {
  for (const program of READER_NEEDS) programPath(program);
}

/** Entries whose xattrs are read by one getfattr, and held: with more at once the garbage outlives V8's young generation. */
export const BATCH = 250;
/** More than any file system's xattrs of so many files, in hex. */
const XATTR_LIMIT = 512 * 1024 * 1024;
const BATCH_TIMEOUT_MS = 3_600_000;
/** PATH_MAX. */
const TARGET_LIMIT = 4096;

/**
 * The xattrs of some entries as they are stored, in their order.
 * @param stored of `listTree` of the same tree; not many more than BATCH at once
 * @param names a regular expression; unless told `user.` names alone, since a store has no others
 * @throws Fault when one has gone, or cannot be read
 */
export async function readXattrs(
  tree: string,
  stored: readonly Pick<StoredEntry, 'path'>[],
  signal: AbortSignal,
  names = '^user\\.',
): Promise<Xattr[][]> {
  if (stored.length === 0) return [];
  const args = [
    '-0',
    programPath('getfattr'),
    '-P',
    '-h',
    '-d',
    '-m',
    names,
    '-e',
    'hex',
    '--absolute-names',
    '--',
  ];
  const input = Buffer.concat(stored.flatMap(({ path }) => [asName(path), Buffer.from([0])]));
  const options = { input, limit: XATTR_LIMIT, timeoutMs: BATCH_TIMEOUT_MS, signal };
  const result = await run({ ...standard('xargs', args), cwd: tree }, options);
  if (result.status !== 0) {
    const line = result.stderr.split('\n').find(each => each !== '') ?? 'getfattr failed';
    throw new Fault({ tried: `read the attributes in "${tree}"`, found: escapeText(line) });
  }
  const xattrs = parseAttributes(result.stdout);
  return stored.map(each => xattrs.get(asName(each.path).toString('latin1')) ?? []);
}

/** As an argument behind `--`: the longest paths leave no room for anything before them. */
function asName(path: Buffer): Buffer {
  const argument = asArgument(path);
  return argument.length <= PATH_BYTES ? argument : path;
}

/**
 * `readXattrs` where a single entry may be unreadable: it costs the others nothing.
 * @returns undefined for those that have gone, or cannot be read
 * @throws the signal's reason; Fault where a program is missing: then none can be read, and nothing is known of any entry
 */
export async function readXattrsOfEach(
  tree: string,
  stored: readonly Pick<StoredEntry, 'path'>[],
  signal: AbortSignal,
  names?: string,
): Promise<(Xattr[] | undefined)[]> {
  requireReaders();
  try {
    return await readXattrs(tree, stored, signal, names);
  } catch {
    signal.throwIfAborted();
    if (stored.length === 1) return [undefined];
  }
  const half = Math.ceil(stored.length / 2);
  const first = await readXattrsOfEach(tree, stored.slice(0, half), signal, names);
  return [...first, ...(await readXattrsOfEach(tree, stored.slice(half), signal, names))];
}

/**
 * What was true of some entries, in their order; as `readXattrs`.
 * @param complain is told of what cannot be read: then it is shown as it is stored, a link without its target
 */
export async function readAttributes(
  tree: string,
  stored: readonly StoredEntry[],
  signal: AbortSignal,
  complain?: Complain,
): Promise<TreeEntry[]> {
  const xattrs =
    complain === undefined
      ? await readXattrs(tree, stored, signal)
      : await readXattrsOfEach(tree, stored, signal);
  return stored.map((each, at) => {
    const own = xattrs[at];
    if (own === undefined) complain?.(`the attributes of "/${showName(jsonName(each.path))}" cannot be read`);
    return entryOf(tree, each, own ?? [], complain);
  });
}

/**
 * What was true of one entry.
 * @param xattrs as they are stored
 * @param complain as for `readAttributes`
 * @throws Fault where a link's target cannot be read and nobody is told
 */
export function entryOf(
  tree: string,
  stored: StoredEntry,
  xattrs: readonly Xattr[],
  complain?: Complain,
): TreeEntry {
  const { stat } = takeStat(xattrs, stored.isFolder);
  const isLink = stat?.type === 'symlink' && stored.size <= TARGET_LIMIT;
  return truthOf(stored, xattrs, isLink ? readTarget(tree, stored.path, complain) : null);
}

/** A symlink lies in the store as a file that holds where it leads. */
function readTarget(tree: string, path: Buffer, complain: Complain | undefined): Buffer | null {
  try {
    return readWhole(Buffer.concat([Buffer.from(`${tree}/`), path]), TARGET_LIMIT);
  } catch (error) {
    const tried = `read the link "/${showName(jsonName(path))}"`;
    const fault = error instanceof Fault ? new Fault({ tried, found: error.found }) : fileFault(error, tried);
    if (complain === undefined) throw fault;
    complain(fault.message);
    return null;
  }
}

/** `listTree` with all that was true of each entry. */
export async function* readTree(tree: string, options: TreeOptions): AsyncGenerator<TreeEntry> {
  let batch: StoredEntry[] = [];
  for await (const entry of listTree(tree, options)) {
    batch.push(entry);
    if (batch.length < BATCH) continue;
    yield* await readAttributes(tree, batch, options.signal, options.complain);
    batch = [];
    dropGarbage();
  }
  yield* await readAttributes(tree, batch, options.signal, options.complain);
}
