/** Paths below a snapshot's tree, as bytes. */
import { Fault } from '../fault.ts';
import { failedWith, fileFault, lstat } from '../os/files.ts';
import { PATH_BYTES } from '../os/long-path.ts';
import { encodeName } from '../wire/text.ts';
import type { Snapshot } from './snapshot.ts';

/**
 * Where a PATH of the command line lies in a snapshot's tree. Nothing in a stored tree is a symlink, so none is followed.
 * @param path absolute, as on the client, as `decodeName` has it
 * @param tried for the message
 * @returns below tree/, without a slash in front; empty for `/`
 * @throws Fault when it is no such path, or the snapshot does not have it
 */
export function pathInside(snapshot: Pick<Snapshot, 'name' | 'tree'>, path: string, tried: string): Buffer {
  const inside = parsePath(path, tried);
  if (!isInside(snapshot, inside, tried))
    throw new Fault({ tried, found: `snapshot ${snapshot.name} does not have it` });
  return inside;
}

/** `pathInside` without a look at any snapshot. */
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

/** Whether a snapshot has something at a path of `parsePath`. */
export function isInside({ tree }: Pick<Snapshot, 'tree'>, inside: Buffer, tried: string): boolean {
  try {
    lstat(joinPath(tree, inside));
    return true;
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'ENAMETOOLONG'].some(code => failedWith(error, code))) return false;
    throw fileFault(error, tried);
  }
}

/** Whether a path is a folder's, or the folder itself; the empty path covers all. */
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
