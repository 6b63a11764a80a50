/** Why a snapshot does not share a file with the snapshot that it is compared with. Pure. */
import { takeStat, truthOf, type Xattr } from './fake-super.ts';
import type { StoredEntry } from './find-records.ts';
import { isPlainFile } from './manifest.ts';
import type { ManifestEntry } from './mtree.ts';
import type { SnapshotRecord } from './snapshot.ts';

/** The attributes of a file. A change of one of them makes a new file in the store. */
export type ChangedAttribute = 'mode' | 'owner' | 'time' | 'acl' | 'xattrs';

/**
 * The causes:
 * - `new`: the older snapshot does not have the path, nor the content at a path that is gone; `moved`: at such a path it has.
 * - `content`: another content, type, link target or device; `content-same-time`: with the same size and time.
 * - `attributes`: the same content with other attributes.
 * - The rest is about identical files. `link-limit`: the file system refused another link. `other-basis`: the run did not link against
 *   the older snapshot. `rechecked`: the older files were not known to be on the disk, and came again. `rsync`: another rsync on the
 *   host or on the client. `checksum`: the run compared contents. `unknown`: the records give no reason.
 * - `first`: there is no older snapshot. `unreadable`: one of the two files cannot be read.
 */
export type Cause =
  | 'new'
  | 'moved'
  | 'content'
  | 'content-same-time'
  | 'attributes'
  | 'link-limit'
  | 'other-basis'
  | 'rechecked'
  | 'rsync'
  | 'checksum'
  | 'unknown'
  | 'first'
  | 'unreadable';

/** A cause, and for `attributes` which ones. */
export interface Why {
  cause: Cause;
  what: ChangedAttribute[];
}

/** A cause without attributes. */
export function because(cause: Cause): Why {
  return { cause, what: [] };
}

/** A stored file, with its manifest line and its xattrs. Both are undefined if they are not known. */
export interface KnownFile {
  stored: StoredEntry;
  line: ManifestEntry | undefined;
  xattrs: readonly Xattr[] | undefined;
}

/** Whether the xattrs of both files must be read, because their manifest lines do not tell all of their metadata. */
export function needsXattrs(old: Omit<KnownFile, 'xattrs'>, fresh: Omit<KnownFile, 'xattrs'>): boolean {
  if (hasOtherContent(old, fresh) === true) return false;
  return [old, fresh].some(({ line }) => line === undefined || !isPlainFile(line));
}

/** Compares contents by size and digest. @returns undefined if they must be read */
export function hasOtherContent(
  old: Omit<KnownFile, 'xattrs'>,
  fresh: Omit<KnownFile, 'xattrs'>,
): boolean | undefined {
  if (old.stored.isFolder !== fresh.stored.isFolder || old.stored.size !== fresh.stored.size) return true;
  if (old.line === undefined || fresh.line === undefined) return undefined;
  return old.line.sha256 !== fresh.line.sha256;
}

/** The metadata of a file: its type and device as one text, its true mode and owner, and the raw values of its attributes. */
interface Metadata {
  kind: string;
  mode: number;
  owner: string;
  acl: string;
  xattrs: string;
}

/**
 * Compares the metadata of two files with the same content.
 * @returns the changed attributes; `other` if they differ in type or device; undefined if one cannot be read
 */
export function compareMetadata(old: KnownFile, fresh: KnownFile): ChangedAttribute[] | 'other' | undefined {
  const [before, after] = [metadataOf(old), metadataOf(fresh)];
  if (before === undefined || after === undefined) return undefined;
  if (before.kind !== after.kind) return 'other';
  const hasOtherAcl = before.acl !== after.acl;
  const bits = before.mode ^ after.mode;
  const differs: [ChangedAttribute, boolean][] = [
    // The group's bits of a file with an ACL are the mask of the ACL (acl(5)). They change with it.
    ['mode', (hasOtherAcl ? bits & ~GROUP_BITS : bits) !== 0],
    ['owner', before.owner !== after.owner],
    ['time', old.stored.mtimeNs !== fresh.stored.mtimeNs],
    ['acl', hasOtherAcl],
    ['xattrs', before.xattrs !== after.xattrs],
  ];
  return differs.filter(([, is]) => is).map(([name]) => name);
}

const GROUP_BITS = 0o070;

function metadataOf({ stored, line, xattrs }: KnownFile): Metadata | undefined {
  if (line !== undefined && isPlainFile(line)) {
    const { mode, uid, gid } = line;
    return { kind: 'file', mode, owner: `${uid}:${gid}`, acl: '', xattrs: '' };
  }
  if (xattrs === undefined) return undefined;
  const { type, device, mode, uid, gid } = truthOf(stored, xattrs, null);
  const { rest } = takeStat(xattrs, stored.isFolder);
  const isAcl = ({ name }: Xattr): boolean => ACLS.includes(name.toString('latin1'));
  return {
    kind: device === null ? type : `${type} ${device.major}:${device.minor}`,
    mode,
    owner: `${uid}:${gid}`,
    acl: textOf(rest.filter(isAcl)),
    xattrs: textOf(rest.filter(each => !isAcl(each))),
  };
}

const ACLS = ['user.rsync.%aacl', 'user.rsync.%dacl'];

function textOf(xattrs: readonly Xattr[]): string {
  const lines = xattrs.map(({ name, value }) => `${name.toString('latin1')}=${value.toString('hex')}`);
  return lines.sort().join('\n');
}

/** Facts about a run, from the records of the two snapshots. */
export interface RunFacts {
  /** Whether the run linked against the older snapshot. */
  isBasis: boolean;
  /** Whether a group of hard links was split (flag `hard-links-split`). */
  hasSplitLinks: boolean;
  /** Whether files of the older snapshot were not known to be on the disk, and the run compared them again. */
  wasRechecked: boolean;
  hasOtherRsync: boolean;
  isChecksumRun: boolean;
}

/** Reads the facts from the two records. */
export function runFacts(older: SnapshotRecord, newer: SnapshotRecord): RunFacts {
  return {
    isBasis: newer.basis === older.snapshot,
    hasSplitLinks: newer.flags.includes('hard-links-split'),
    wasRechecked: older.durable !== true && newer.durable === true,
    hasOtherRsync: older.rsync?.host !== newer.rsync?.host || older.rsync?.client !== newer.rsync?.client,
    isChecksumRun: newer.rsync?.options?.includes('--checksum') === true,
  };
}

/** ext4 takes 65,000 links, and Btrfs 65,535 in a folder. An inode with this number of links has reached the limit. */
const NEAR_THE_LIMIT = 64_000;

/** Why identical files are not linked. @param links how many links the older one has */
export function identicalCause(facts: RunFacts, links: number): Cause {
  if (!facts.isBasis) return 'other-basis';
  if (facts.hasSplitLinks || links >= NEAR_THE_LIMIT) return 'link-limit';
  if (facts.wasRechecked) return 'rechecked';
  if (facts.hasOtherRsync) return 'rsync';
  return facts.isChecksumRun ? 'checksum' : 'unknown';
}
