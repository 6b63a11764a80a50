/** Reads single entries of a tree as they are stored, by lstat(2). find-records.ts reads many by find(1). */
import { isNotThere, statusExact } from '../os/files.ts';
import type { StoredEntry } from './find-records.ts';
import { joinPath } from './tree-path.ts';

/** Makes an entry of a status. @param path below the tree */
export function storedEntryOf(path: Buffer, status: ReturnType<typeof statusExact>): StoredEntry {
  return {
    path,
    inode: status.ino,
    links: Number(status.nlink),
    isFolder: status.isDirectory(),
    mode: Number(status.mode & 0o7777n),
    uid: Number(status.uid),
    gid: Number(status.gid),
    size: Number(status.size),
    mtimeNs: status.mtimeNs,
  };
}

/** Reads an entry. @param path below the tree @throws the error of lstat(2) */
export function storedEntry(tree: string, path: Buffer): StoredEntry {
  return storedEntryOf(path, statusExact(joinPath(tree, path)));
}

/** Reads an entry that may be missing. @param path below the tree @throws the error of lstat(2) */
export function storedEntryIfThere(tree: string, path: Buffer): StoredEntry | undefined {
  try {
    return storedEntry(tree, path);
  } catch (error) {
    if (isNotThere(error)) return undefined;
    throw error;
  }
}
