/**
 * Decodes the entries of a stored tree: type, mode, owner, device, time, link target, ACL and xattrs as they were on the
 * client. A fake-super tree keeps these in xattrs of plain files (rsync(1), --fake-super):
 *
 * - `user.rsync.%stat` is `MODE MAJOR,MINOR UID:GID`, the mode in octal with its type bits. If it is absent, the file's
 *   own values are true; rsync leaves it out when both are equal.
 * - `user.rsync.%aacl` and `%dacl` are the access ACL and the default ACL, packed (`parseAcl`).
 * - A name of another namespace than `user.` begins with `user.rsync.`.
 *
 * A client chooses these values, so every parser accepts any input and returns a value or a reason.
 */
import type { Parsed } from '../fault.ts';
import type { StoredEntry } from './find-records.ts';
import { showRights } from './posix-acl.ts';

/** The type of an entry on the client. */
export type EntryType = 'file' | 'folder' | 'symlink' | 'fifo' | 'socket' | 'char device' | 'block device';

/** An extended attribute. */
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
  /**
   * Bytes. For a symlink, the length of its target. For a folder, a number of the store's file system without
   * meaning.
   */
  size: number;
  mtimeNs: bigint;
  /** In the store. Two names with the same inode are equal in everything, even in different snapshots. */
  inode: bigint;
  /** In the store, including the names in other snapshots. */
  links: number;
  target: Buffer | null;
  /** The short text form of acl(5) with numbers; default entries follow with `d:`. Null if the mode says everything. */
  acl: string | null;
  /** Sorted by the bytes of the names. */
  xattrs: Xattr[];
}

/** The content of `user.rsync.%stat`. */
interface FakeStat {
  type: EntryType;
  mode: number;
  uid: number;
  gid: number;
  device: { major: number; minor: number } | null;
}

/** The entry's type by the bits above the permissions in its mode (inode(7)), in octal. */
const TYPES: Record<string, EntryType> = {
  '1': 'fifo',
  '2': 'char device',
  '4': 'folder',
  '6': 'block device',
  '10': 'file',
  '12': 'symlink',
  '14': 'socket',
};

/** The largest uid, gid, and part of a device number. */
export const ID_LIMIT = 0xffff_ffff;

/** Parses `user.rsync.%stat`. @param value as rsync writes it: `100644 0,0 1000:1000` */
function parseStat(value: Buffer): Parsed<FakeStat> {
  const found = /^([0-7]{1,7}) (\d{1,10}),(\d{1,10}) (\d{1,10}):(\d{1,10})\0?$/.exec(
    value.toString('latin1'),
  );
  if (!found) return { reason: 'it is not MODE MAJOR,MINOR UID:GID' };
  const bits = Number.parseInt(found[1] ?? '', 8);
  const [major = 0, minor = 0, uid = 0, gid = 0] = found.slice(2).map(Number);
  const type = TYPES[(bits >> 12).toString(8)];
  if (type === undefined) return { reason: 'unknown type' };
  if ([major, minor, uid, gid].some(each => each > ID_LIMIT)) return { reason: 'a number is too large' };
  const device = type === 'char device' || type === 'block device' ? { major, minor } : null;
  return { value: { type, mode: bits & 0o7777, uid, gid, device } };
}

const NO_ENTRY = 0x80;

const IS_USER = 0x8000_0000;

/**
 * Parses a packed ACL (rsync 3.5.0, acls.c, `get_rsync_acl()`). It begins with four little-endian 32-bit numbers: owner,
 * group, mask, others; 0x80 means "as in the mode". Pairs of an id and its rights follow. A user's id has the highest
 * bit set.
 * @param mode the entry's true mode; a default ACL does not use it
 * @param prefix in front of each entry: empty or `d:`
 * @returns the short text form of acl(5)
 */
function parseAcl(packed: Buffer, mode: number, prefix: '' | 'd:'): Parsed<string> {
  if (packed.length < 16 || packed.length % 8 !== 0)
    return { reason: 'the length is not that of a packed ACL' };
  const [owner = 0, group = 0, mask = 0, others = 0] = [0, 4, 8, 12].map(at => packed.readUInt32LE(at));
  const named: { isUser: boolean; id: number; rights: number }[] = [];
  for (let at = 16; at < packed.length; at += 8) {
    const access = packed.readUInt32LE(at + 4);
    named.push({ isUser: access >= IS_USER, id: packed.readUInt32LE(at), rights: access & ~IS_USER });
  }
  const plain = [owner, group, mask, others].filter(each => each !== NO_ENTRY);
  if ([...plain, ...named.map(each => each.rights)].some(each => each > 7))
    return { reason: 'unknown rights' };
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

const OWN = Buffer.from('user.rsync.');

const OWN_MARK = '%'.charCodeAt(0);

/**
 * Derives an entry as it was on the client from its stored form. An xattr that rsync cannot have written stays as it
 * is.
 * @param xattrs as getfattr prints them, `user.` names only
 * @param target the content of a symlink's stored file; null for other entries
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

/** Separates the stat from the other xattrs. A stat that contradicts the stored file's type is ignored. */
export function takeStat(xattrs: readonly Xattr[], isFolder: boolean): { stat?: FakeStat; rest: Xattr[] } {
  const rest = [...xattrs];
  const index = rest.findIndex(each => each.name.toString('latin1') === 'user.rsync.%stat');
  const found = rest[index];
  if (!found) return { rest };
  const parsed = parseStat(found.value);
  if ('reason' in parsed || (parsed.value.type === 'folder') !== isFolder) return { rest };
  rest.splice(index, 1);
  return { stat: parsed.value, rest };
}

/** Restores the name of an xattr: `user.rsync.security.capability` was `security.capability`. */
function trueName(name: Buffer): Buffer {
  const isDisguised =
    name.length > OWN.length && name.subarray(0, OWN.length).equals(OWN) && name[OWN.length] !== OWN_MARK;
  return isDisguised ? name.subarray(OWN.length) : name;
}
