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

import type { Parsed } from '../fault.ts';
import type { StoredEntry } from './find-records.ts';
import { showRights } from './posix-acl.ts';

export type EntryType = 'file' | 'folder' | 'symlink' | 'fifo' | 'socket' | 'char device' | 'block device';

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

/** `user.rsync.security.capability` was `security.capability`. */
function trueName(name: Buffer): Buffer {
  const isDisguised =
    name.length > OWN.length && name.subarray(0, OWN.length).equals(OWN) && name[OWN.length] !== OWN_MARK;
  return isDisguised ? name.subarray(OWN.length) : name;
}
