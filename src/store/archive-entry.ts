/** Converts an entry of a stored tree to an entry of an archive. Pure. */
import type { Parsed } from '../fault.ts';
import type { TreeEntry } from './fake-super.ts';
import { type ArchiveEntry, type PaxRecord, textRecord, xattrRecord } from './pax.ts';
import { showRights } from './posix-acl.ts';

/** rsync's own attributes, which it could not parse. */
const RSYNC_OWN = 'user.rsync.%';
const TAGS: Record<string, string> = { u: 'user', g: 'group', m: 'mask', o: 'other' };

/**
 * Converts an entry. The caller adds the content of a file.
 * @param entry as it was on the client
 * @param first the path of the same file that the archive already has; undefined if there is none
 * @returns a reason if an archive cannot have the entry
 */
export function archiveEntryOf(entry: TreeEntry, first: Buffer | undefined): Parsed<ArchiveEntry> {
  const { path, type, mode, uid, gid, mtimeNs, device, target } = entry;
  if (type === 'socket') return { reason: 'it is a socket' };
  const base = { path, mode, uid, gid, mtimeNs, size: 0 };
  if (first !== undefined) return { value: { ...base, type: 'hard link', target: first } };
  if (type === 'symlink' && (target === null || target.length === 0 || target.includes(0)))
    return { reason: 'it is a symlink, and its stored target is not one' };
  const records = [...aclRecords(entry), ...xattrRecords(entry)];
  return { value: { ...base, type, device, target, records } };
}

function xattrRecords({ xattrs }: TreeEntry): PaxRecord[] {
  const isOwn = (name: Buffer): boolean => name.toString('latin1').startsWith(RSYNC_OWN);
  return xattrs.filter(({ name }) => !isOwn(name)).map(({ name, value }) => xattrRecord(name, value));
}

function aclRecords({ acl, mode }: TreeEntry): PaxRecord[] {
  const entries = acl === null ? [] : acl.split(',');
  const byDefault = entries.filter(each => each.startsWith('d:')).map(each => each.slice('d:'.length));
  const access = entries.filter(each => !each.startsWith('d:'));
  return [
    ...(access.length === 0 ? [] : [textRecord('SCHILY.acl.access', longForm(withMask(access, mode)))]),
    ...(byDefault.length === 0 ? [] : [textRecord('SCHILY.acl.default', longForm(byDefault))]),
  ];
}

/** rsync does not store a mask that equals the group's rights in the mode (acls.c, `rsync_acl_strip_perms()`). */
function withMask(entries: readonly string[], mode: number): readonly string[] {
  const isNamed = entries.some(each => /^[ug]:\d/.test(each));
  if (!isNamed || entries.some(each => each.startsWith('m:'))) return entries;
  return [...entries, `m::${showRights((mode >> 3) & 7)}`];
}

/** The form that every reader of archives knows: `user:1000:r-x`. */
function longForm(entries: readonly string[]): string {
  return entries.map(each => `${TAGS[each[0] ?? ''] ?? ''}${each.slice(1)}`).join(',');
}
