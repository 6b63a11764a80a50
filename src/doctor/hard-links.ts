/** Files that have another hard link outside of a tree. */
import { failedWith, lstat, readdir } from '../os/files.ts';

/** How many names a finding shows. */
const SHOWN = 3;

/** The files of a tree that have a hard link outside of it. */
export interface OutsideLinks {
  /** The first three of them. */
  linked: string[];
  linkedCount: number;
  /** Whether the whole tree was read: this account may not be allowed to, or the tree is too large. */
  isSeen: boolean;
}

/**
 * Walks a file or a tree, and compares each file's number of links with the names found in the tree.
 * @param limit the most names that are looked at
 */
export function findOutsideLinks(path: string, limit: number): OutsideLinks {
  const inodes = new Map<string, { name: string; seen: number; links: number }>();
  let isSeen = true;
  let left = limit;
  const waiting = [path];
  for (let at = waiting.pop(); at !== undefined; at = waiting.pop()) {
    left -= 1;
    if (left < 0) {
      isSeen = false;
      break;
    }
    try {
      const found = lstat(at);
      if (found.isDirectory()) {
        for (const name of readdir(at)) waiting.push(`${at === '/' ? '' : at}/${name}`);
      } else if (found.isFile() && found.nlink > 1) {
        const key = `${found.dev}:${found.ino}`;
        const known = inodes.get(key) ?? { name: at, seen: 0, links: found.nlink };
        known.seen += 1;
        inodes.set(key, known);
      }
    } catch (error) {
      if (!failedWith(error, 'ENOENT')) isSeen = false; // a file that is gone has no other name
    }
  }
  const linked = [...inodes.values()].filter(each => each.links > each.seen).map(each => each.name);
  return { linked: linked.sort().slice(0, SHOWN), linkedCount: linked.length, isSeen };
}
