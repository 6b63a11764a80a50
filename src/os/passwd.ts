/** The texts of /etc/passwd (passwd(5)) and /etc/group (group(5)). Pure. */

/** An account's entry in the password file. */
export interface PasswdEntry {
  name: string;
  uid: number;
  home: string;
}

/** Finds an entry. @param text the content of a password file (passwd(5)) @param key a name or a uid */
export function findEntry(text: string, key: string | number): PasswdEntry | undefined {
  for (const line of text.split('\n')) {
    const [name = '', , uid = '', , , home = ''] = line.split(':');
    const isWanted = typeof key === 'number' ? uid === String(key) : name === key;
    if (isWanted && /^\d{1,10}$/.test(uid) && home.startsWith('/')) return { name, uid: Number(uid), home };
  }
  return undefined;
}

/**
 * Whether an account's group is a user private group: it has the account's name, no other member, and is no other
 * account's first group. A group that only a directory service has is not one.
 * @param group the text of /etc/group
 * @param passwd the text of /etc/passwd
 */
export function isPrivateGroup(
  { name, gid }: { name: string; gid: number },
  group: string,
  passwd: string,
): boolean {
  const groups = linesOf(group).filter(([, , number]) => number === String(gid));
  const users = linesOf(passwd).filter(([, , , number]) => number === String(gid));
  const members = groups.flatMap(([, , , list = '']) => list.split(',')).filter(each => each !== '');
  const names = [...groups, ...users].map(([each]) => each);
  return groups.length === 1 && [...names, ...members].every(each => each === name);
}

function linesOf(text: string): string[][] {
  return text.split('\n').map(line => line.split(':'));
}
