/**
 * Reads acl(5) as the kernel stores it in system.posix_acl_access and system.posix_acl_default
 * (linux/posix_acl_xattr.h).
 */

const VERSION = 2;
const HEAD_BYTES = 4;
const ENTRY_BYTES = 8;
/** The tags of entries, with and without an account or group. */
const LETTERS: Record<number, { letter: string; isNamed: boolean }> = {
  1: { letter: 'u', isNamed: false },
  2: { letter: 'u', isNamed: true },
  4: { letter: 'g', isNamed: false },
  8: { letter: 'g', isNamed: true },
  16: { letter: 'm', isNamed: false },
  32: { letter: 'o', isNamed: false },
};

/** @returns the entries in the short text form of acl(5), with numbers; none if the value is malformed */
function aclEntries(value: Buffer): string[] {
  if (value.length < HEAD_BYTES || (value.length - HEAD_BYTES) % ENTRY_BYTES !== 0) return [];
  if (value.readUInt32LE(0) !== VERSION) return [];
  const entries: string[] = [];
  for (let at = HEAD_BYTES; at < value.length; at += ENTRY_BYTES) {
    const tag = LETTERS[value.readUInt16LE(at)];
    const rights = value.readUInt16LE(at + 2);
    if (tag === undefined || rights > 7) return [];
    const id = tag.isNamed ? String(value.readUInt32LE(at + 4)) : '';
    entries.push(`${tag.letter}:${id}:${showRights(rights)}`);
  }
  return entries;
}

/**
 * Reads both ACLs of a file.
 * @param values xattrs by name
 * @returns the entries of both; those of the default ACL begin with `d:`
 */
export function readAcl(values: ReadonlyMap<string, Buffer>): string[] {
  const access = values.get('system.posix_acl_access');
  const byDefault = values.get('system.posix_acl_default');
  return [
    ...(access === undefined ? [] : aclEntries(access)),
    ...(byDefault === undefined ? [] : aclEntries(byDefault).map(each => `d:${each}`)),
  ];
}

/** Writes rights as letters: `rwx`. @param rights 0 to 7 */
export function showRights(rights: number): string {
  return `${rights & 4 ? 'r' : '-'}${rights & 2 ? 'w' : '-'}${rights & 1 ? 'x' : '-'}`;
}
