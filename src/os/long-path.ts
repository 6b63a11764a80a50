/**
 * Paths of any length. The kernel accepts 4,095 bytes (PATH_MAX, path_resolution(7)). A client's path can be that long, and in a
 * snapshot it is below the store's own path. We walk such a path in pieces, each from a descriptor of the folder before it.
 */

/** PATH_MAX without its NUL. */
export const PATH_BYTES = 4095;
const SLASH = '/'.charCodeAt(0);
/** The most bytes of a piece, which follows `/proc/self/fd/N/`. */
const PIECE_BYTES = PATH_BYTES - 40;

/** A path that node accepts. */
export type Path = string | Buffer | URL;

/** The file system calls of a walk. */
export interface Steps {
  /** Opens a folder as the start of the next piece, without permission to read it. @returns its descriptor */
  enter(path: Buffer): number;
  leave(folder: number): void;
}

/**
 * Calls a function with a shorter path to the same place.
 * @param call must not use the path after it returns
 * @throws the error of `call`, or of open(2) for a folder on the way; ENAMETOOLONG when a single name is too long
 */
export function reachBy<T>({ enter, leave }: Steps, path: Path, call: (path: Path) => T): T {
  // A UTF-16 unit of a string has at most three bytes in UTF-8.
  if (path instanceof URL || path.length * 3 <= PATH_BYTES) return call(path);
  const bytes = typeof path === 'string' ? Buffer.from(path) : path;
  if (bytes.length <= PATH_BYTES) return call(path);
  let rest: Buffer = bytes;
  let folder: number | undefined;
  try {
    for (;;) {
      const at = folder === undefined ? Buffer.alloc(0) : Buffer.from(`/proc/self/fd/${folder}/`);
      const end = rest.length <= PIECE_BYTES ? -1 : rest.lastIndexOf(SLASH, PIECE_BYTES);
      // The last piece; or a name that is too long for any file system, which makes the call fail.
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

/** The index of the first name, after the slashes. */
function firstName(path: Buffer): number {
  let at = 0;
  while (path[at] === SLASH) at += 1;
  return at;
}
