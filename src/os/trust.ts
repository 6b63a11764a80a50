/** Who, besides its owner and root, can change a path. */
import { dirname } from 'node:path';
import { lstat, openFlags, readlink, realPath, stat } from './files.ts';

/** A file or folder that another account can change, on the path to one that no other account may change. */
export interface Breach {
  at: string;
  /** A sentence that names it. */
  found: string;
  /** Another account owns it; otherwise its mode lets others write. */
  isForeign: boolean;
}

/**
 * Checks a folder and each folder above it, as sshd's StrictModes does.
 * @returns the first of them that an account other than `owner` and root can change, or undefined
 */
export function findBreach(path: string, owner: number): Breach | undefined {
  for (let at = realPath(path); ; at = dirname(at)) {
    const breach = breachOf(at, stat(at), owner, at !== path);
    if (breach || at === '/') return breach;
  }
}

/** The same as a sentence. */
export function writableByOthers(path: string, owner: number): string | undefined {
  return findBreach(path, owner)?.found;
}

/** linux/namei.h, MAXSYMLINKS. */
const MOST_LINKS = 40;

/**
 * As `findBreach()`, and checks each symlink on the path too: an account that can replace a symlink decides where it leads.
 *
 * It looks at each component once, from `/` on, and never through a path with a symlink in it. So the result stays true: below
 * a folder that only `owner` and root can change, no other account can replace a component that was checked.
 * @param options isParent: the path is the folder for a new file, and may itself be sticky; privateGid: a group whose only member
 *   is `owner`
 * @throws the error of the system call
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
 * Checks whether an account other than `owner` and root can change one file or folder. The mode of a symlink has no effect.
 * @param found the result of lstat(2), with the bits of the type
 * @param isOnTheWay accept a sticky folder (/tmp): others can add entries to it, but not replace ours
 * @param privateGid a group that may write, because its only member is `owner`
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
