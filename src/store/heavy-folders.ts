/** Chooses the folders that explain most of a sum. Pure. */

/** The files of a folder. */
export interface FolderSum {
  /** Its path as bytes, one character (latin1) each; empty for the top. */
  path: string;
  files: number;
  bytes: number;
}

/**
 * Chooses folders so that each file counts in one of them: in the nearest chosen folder above it. A folder is chosen if what is below
 * it, without the chosen folders in it, reaches one of the limits. The top takes the rest. So there are few rows, however many folders
 * there are, and the memory depends only on the depth of a path.
 * @param sums what is directly in each folder, each folder before those in it (`treeOrder`)
 * @param least the limits
 */
export function* heavyFolders(
  sums: Iterable<FolderSum>,
  least: { files: number; bytes: number },
): Generator<FolderSum> {
  /** The folders on the way from the top to the one that was read last. */
  const open: FolderSum[] = [{ path: '', files: 0, bytes: 0 }];
  const isHeavy = ({ files, bytes }: FolderSum): boolean =>
    (bytes > 0 && bytes >= least.bytes) || (files > 0 && files >= least.files);
  const close = function* (): Generator<FolderSum> {
    const folder = open.pop();
    const above = open.at(-1);
    if (folder === undefined) return;
    if (above === undefined ? folder.files > 0 : isHeavy(folder)) yield folder;
    else if (above !== undefined) {
      above.files += folder.files;
      above.bytes += folder.bytes;
    }
  };
  for (const { path, files, bytes } of sums) {
    while (!isBelow(open.at(-1)?.path ?? '', path)) yield* close();
    for (let top = open.at(-1); top !== undefined && top.path !== path; top = open.at(-1)) {
      const from = top.path === '' ? 0 : top.path.length + 1;
      const slash = path.indexOf('/', from);
      open.push({ path: slash === -1 ? path : path.slice(0, slash), files: 0, bytes: 0 });
    }
    const top = open.at(-1);
    if (top === undefined) continue;
    top.files += files;
    top.bytes += bytes;
  }
  while (open.length > 0) yield* close();
}

/** Whether a path is the folder or below it. */
function isBelow(folder: string, path: string): boolean {
  return folder === '' || path === folder || path.startsWith(`${folder}/`);
}

/** A folder's path in the form whose bytes sort each folder before those in it, and directly after them what is beside it. */
export function treeOrder(path: Buffer): Buffer {
  const order = Buffer.from(path);
  for (let at = order.indexOf(SLASH); at !== -1; at = order.indexOf(SLASH, at + 1)) order[at] = 0;
  return order;
}

/** The path of `treeOrder`. */
export function fromTreeOrder(order: Uint8Array): string {
  return Buffer.from(order).toString('latin1').replaceAll('\0', '/');
}

const SLASH = '/'.charCodeAt(0);
