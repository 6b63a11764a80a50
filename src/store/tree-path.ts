/** Paths below a snapshot's tree, as bytes. */
import { Fault } from '../fault.ts';
import { fileFault, isNotThere, lstat } from '../os/files.ts';
import { PATH_BYTES } from '../os/long-path.ts';
import { encodeName } from '../wire/text.ts';
import type { Snapshot } from './snapshot.ts';

/**
 * Finds where a PATH of the command line lies in a snapshot's tree. A stored tree contains no symlinks, so none is
 * followed.
 * @param path absolute, as on the client, in the form of `decodeName`
 * @param tried for the message
 * @returns the path below tree/ without a leading slash; empty for `/`
 * @throws Fault when the path is malformed, or not in the snapshot
 */
export function pathInside(snapshot: Pick<Snapshot, 'name' | 'tree'>, path: string, tried: string): Buffer {
  const inside = parsePath(path, tried);
  if (!isInside(snapshot, inside, tried))
    throw new Fault({ tried, found: `snapshot ${snapshot.name} does not have it` });
  return inside;
}

/**
 * Parses a PATH of the command line.
 * @returns as for `pathInside`
 * @throws Fault when it is not an absolute path in its shortest form
 */
export function parsePath(path: string, tried: string): Buffer {
  const inside = encodeName(path.replace(/^\/|\/+$/g, ''));
  const isPlain = path.startsWith('/') && !path.includes('\0') && inside.length <= PATH_BYTES;
  const names = path.replace(/^\/|\/+$/g, '').split('/');
  if (isPlain && (inside.length === 0 || names.every(name => !['', '.', '..'].includes(name)))) return inside;
  throw new Fault({
    tried,
    found: 'it is not an absolute path without ".", ".." or doubled slashes',
    exit: 'usage',
  });
}

/** Whether a snapshot has an entry at a path of `parsePath`. @throws Fault when that cannot be found out */
export function isInside({ tree }: Pick<Snapshot, 'tree'>, inside: Buffer, tried: string): boolean {
  try {
    lstat(joinPath(tree, inside));
    return true;
  } catch (error) {
    if (isNotThere(error)) return false;
    throw fileFault(error, tried);
  }
}

/** Whether a path is the folder itself or below it. The empty folder covers everything. */
export function covers(folder: Buffer, path: Buffer): boolean {
  if (folder.length === 0) return true;
  const head = path.subarray(0, folder.length);
  return head.equals(folder) && (path.length === folder.length || path[folder.length] === '/'.charCodeAt(0));
}

/**
 * Joins a folder's path and a path below it.
 * @param path any bytes, without a slash in front
 */
export function joinPath(folder: string, path: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${folder}/`), path]);
}
