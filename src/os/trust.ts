/** Who, besides its owner and root, can change a path. */
import { dirname } from 'node:path';
import { lstat, openFlags, readlink, realPath, stat } from './files.ts';

/** A file or folder that somebody else can change, on the way to one that nobody else may. */
export interface Breach {
  at: string;
  /** A sentence that names it. */
  found: string;
  /** It belongs to somebody else; otherwise its mode lets others write. */
  isForeign: boolean;
}

/**
 * Who may write here besides its owner and root: the folder itself and each one above it, as sshd's StrictModes
 * looks at them. @returns the first path that others can change, or undefined
 */
export function findBreach(path: string, owner: number): Breach | undefined {
  for (let at = realPath(path); ; at = dirname(at)) {
    const breach = breachOf(at, stat(at), owner, at !== path);
    if (breach || at === '/') return breach;
  }
}

/** `findBreach` as a sentence, or undefined. */
export function writableByOthers(path: string, owner: number): string | undefined {
  return findBreach(path, owner)?.found;
}

/** linux/namei.h, MAXSYMLINKS. */
const MOST_LINKS = 40;

/**
 * As `findBreach`, and for each link that the path goes by too: an account that can replace a link decides where it leads.
 *
 * Each component is looked at once, from `/` on, and never by a path with a link in it. So the answer stays true: below a
 * folder that only `owner` and root can change, no other account can put something else into a place that was looked at.
 * @param options isParent: the path is a folder for a new name, and may be sticky itself; privateGid: a group that has no member
 *   but `owner`
 * @throws the failed call's error
 */
export function findBreachOnTheWay(
  path: string,
  owner: number,
  { isParent = false, privateGid }: { isParent?: boolean; privateGid?: number | undefined } = {},
): Breach | undefined {
  let links = 0;
  let rest = path.split('/');
  let at = '/';
  let found = lstat(at);
  let breach = breachOf(at, found, owner, true, privateGid);
  while (breach === undefined && rest.length > 0) {
    const [name = '', ...after] = rest;
    rest = after;
    if (name === '' || name === '.') continue;
    const next = name === '..' ? dirname(at) : `${at === '/' ? '' : at}/${name}`;
    found = lstat(next);
    breach = breachOf(next, found, owner, true, privateGid);
    if (!found.isSymbolicLink()) {
      at = next;
      continue;
    }
    links += 1;
    if (links > MOST_LINKS) return { at: next, found: `"${next}" leads round in a circle`, isForeign: true };
    const target = readlink(next).toString();
    if (target.startsWith('/')) at = '/';
    rest = [...target.split('/'), ...rest];
    found = lstat(at);
  }
  return breach ?? breachOf(at, found, owner, isParent, privateGid);
}

/**
 * Whether others than `owner` and root can change one file or folder. A symlink has no mode of its own.
 * @param found as lstat(2) has it, with the bits of its type
 * @param isOnTheWay a sticky folder (/tmp) lets others add names, but not replace ours: on the way it is no breach
 * @param privateGid a group that may write, since it has no member but `owner`
 */
export function breachOf(
  at: string,
  found: { uid: number; gid: number; mode: number },
  owner: number,
  isOnTheWay: boolean,
  privateGid?: number,
): Breach | undefined {
  if (found.uid !== owner && found.uid !== 0)
    return { at, found: `"${at}" belongs to uid ${found.uid}`, isForeign: true };
  const type = found.mode & openFlags.S_IFMT;
  const others = found.gid === privateGid ? 0o002 : 0o022;
  if (type === openFlags.S_IFLNK || (found.mode & others) === 0) return undefined;
  if (isOnTheWay && type === openFlags.S_IFDIR && (found.mode & 0o1000) !== 0) return undefined;
  const mode = (found.mode & 0o7777).toString(8);
  return { at, found: `"${at}" can be written by others (mode ${mode})`, isForeign: false };
}
