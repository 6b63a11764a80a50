/** Makes all names of a file names of another file with the same content. */
import { link, rename, statusExact, unlink } from '../os/files.ts';

/**
 * Replaces all names, or none. Each name refers to one of the two files at any time.
 * @param names all names of a file
 * @param old a name of the other file, which is not the same inode
 * @param options.inode the inode that `old` must have
 * @param options.work a folder on the same file system, for temporary names
 * @returns false if `old` is another file by now
 * @throws the failed call's error; all names are as before
 */
export function replaceNames(
  names: readonly Buffer[],
  old: Buffer,
  { inode, work }: { inode: bigint; work: string },
): boolean {
  const [first] = names;
  if (first === undefined) return false;
  const kept = `${work}/kept`;
  const temporary = (at: number): string => `${work}/new-${at}`;
  const made = new Set<string>();
  const make = (from: Buffer | string, to: string): void => {
    link(from, to);
    made.add(to);
  };
  const moveOver = (from: string, name: Buffer): void => {
    rename(from, name);
    made.delete(from);
  };
  let done = 0;
  try {
    // Make all links first: the file system can refuse one of them.
    if (names.length > 1) make(first, kept); // a single rename succeeds or changes nothing
    for (const at of names.keys()) {
      make(old, temporary(at));
      if (BigInt.asIntN(64, statusExact(temporary(at)).ino) !== inode) return false;
    }
    for (const [at, name] of names.entries()) {
      moveOver(temporary(at), name);
      done += 1;
    }
    return true;
  } catch (error) {
    for (const name of names.slice(0, done)) {
      make(kept, `${work}/back`);
      moveOver(`${work}/back`, name);
    }
    throw error;
  } finally {
    for (const each of made) unlink(each);
  }
}
