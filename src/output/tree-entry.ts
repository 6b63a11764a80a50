/** An entry of a snapshot's tree as a line of `ls` or as JSON. */
import type { EntryType, TreeEntry } from '../store/fake-super.ts';
import { jsonName, showName } from '../wire/text.ts';
import { clientPath } from './path.ts';
import { showTime } from './units.ts';

/** All that the store knows of an entry, for --json. */
export function entryJson(entry: TreeEntry): Record<string, unknown> {
  const { type, mode, uid, gid, device, size, mtimeNs, target, acl, xattrs } = entry;
  return {
    path: clientPath(entry.path),
    type,
    mode: modeText(mode),
    uid,
    gid,
    size: type === 'folder' ? null : size,
    device,
    mtime: showTime(mtimeNs, 9),
    target: target === null ? null : jsonName(target),
    acl,
    xattrs: xattrs.map(({ name, value }) => ({
      name: jsonName(name),
      value: { base64: value.toString('base64') },
    })),
  };
}

/** A mode as four octal digits. */
export function modeText(mode: number): string {
  return mode.toString(8).padStart(4, '0');
}

const TYPE_LETTERS: Record<EntryType, string> = {
  file: '-',
  folder: 'd',
  symlink: 'l',
  fifo: 'p',
  socket: 's',
  'char device': 'c',
  'block device': 'b',
};

/** Type and mode as ls(1) shows them: `-rwsr-xr-x`. */
export function showMode(type: EntryType, mode: number): string {
  const special = [0o4000, 0o2000, 0o1000].map(bit => (mode & bit) !== 0);
  const triples = [6, 3, 0].map((shift, index) => {
    const rights = (mode >> shift) & 7;
    const letter = index === 2 ? 't' : 's';
    const runs = (rights & 1) !== 0;
    const last = special[index] ? (runs ? letter : letter.toUpperCase()) : runs ? 'x' : '-';
    return `${rights & 4 ? 'r' : '-'}${rights & 2 ? 'w' : '-'}${last}`;
  });
  return `${TYPE_LETTERS[type]}${triples.join('')}`;
}

/**
 * An entry as a line. After the mode, `+` means an ACL and `@` xattrs. Columns have a minimum width, not a common one: a
 * listing of any length is printed while it is read.
 * @param folder the folder that is listed: entries in it are shown by their last name. Undefined: whole paths
 */
export function entryText(entry: TreeEntry, folder: Buffer | undefined): string {
  const { type, mode, uid, gid, device, size, mtimeNs, target, acl, xattrs } = entry;
  const marks = `${acl === null ? ' ' : '+'}${xattrs.length > 0 ? '@' : ' '}`;
  const amount = device ? `${device.major}, ${device.minor}` : type === 'folder' ? '-' : String(size);
  const isBelow = folder !== undefined && entry.path.length > folder.length;
  const start = isBelow && folder.length > 0 ? folder.length + 1 : 0;
  const name = isBelow ? jsonName(entry.path.subarray(start)) : clientPath(entry.path);
  const leads = target === null ? '' : ` -> ${showName(jsonName(target))}`;
  return `${showMode(type, mode)}${marks} ${`${uid}:${gid}`.padEnd(11)} ${amount.padStart(12)} ${showTime(mtimeNs, 0)} ${showName(name)}${leads}\n`;
}
