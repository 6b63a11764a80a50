/**
 * Paths of any length. The kernel takes 4,095 bytes at once (PATH_MAX, path_resolution(7)), and a snapshot's tree can have names
 * that are as long below a store that has a path of its own. Such a path is walked in pieces, each from a descriptor of the
 * folder before it.
 */

/** PATH_MAX without its NUL. */
export const PATH_BYTES = 4095;
const SLASH = '/'.charCodeAt(0);
/** Of a piece: what is left beside `/proc/self/fd/N/`. */
const PIECE_BYTES = PATH_BYTES - 40;

/** A path as node takes it. */
export type Path = string | Buffer | URL;

/** What a walk needs of the file system. */
export interface Steps {
  /** Opens a folder to go on from, without the right to read it. @returns its descriptor */
  enter(path: Buffer): number;
  leave(folder: number): void;
}

/**
 * Calls with a path that the kernel takes, which means the same place. It is good for the call alone.
 * @param call uses the path before it returns
 * @throws what `call` throws; the failed call's error where a folder on the way cannot be opened; ENAMETOOLONG where one name alone
 *   is too long
 */
export function reachBy<T>({ enter, leave }: Steps, path: Path, call: (path: Path) => T): T {
  // A character of a string has three bytes at most, for each of its UTF-16 units.
  if (path instanceof URL || path.length * 3 <= PATH_BYTES) return call(path);
  const bytes = typeof path === 'string' ? Buffer.from(path) : path;
  if (bytes.length <= PATH_BYTES) return call(path);
  let rest: Buffer = bytes;
  let folder: number | undefined;
  try {
    for (;;) {
      const at = folder === undefined ? Buffer.alloc(0) : Buffer.from(`/proc/self/fd/${folder}/`);
      const end = rest.length <= PIECE_BYTES ? -1 : rest.lastIndexOf(SLASH, PIECE_BYTES);
      // The last piece, or a name that no file system takes: the call says so.
      if (end <= 0) return call(Buffer.concat([at, rest]));
      const next = enter(Buffer.concat([at, rest.subarray(0, end)]));
      if (folder !== undefined) leave(folder);
      folder = next;
      rest = rest.subarray(end).subarray(firstName(rest.subarray(end)));
    }
  } finally {
    if (folder !== undefined) leave(folder);
  }
}

/** Where the first name begins: behind the slashes. */
function firstName(path: Buffer): number {
  let at = 0;
  while (path[at] === SLASH) at += 1;
  return at;
}
