/**
 * Removes the temporary files of an rsync that was killed while it moved staged files into a folder with other files. It
 * writes `.NAME.XXXXXX` beside NAME, where it cannot link from the stage or replaces a file (rsync 3.5.0, receiver.c,
 * `get_tmpname()`).
 *
 * A file is removed only if NAME is in the selection and the snapshot has no file of the temporary name. Its last change
 * must not be older than the mark of the killed restore. DIR may have folders that other accounts can change, so no symlink is
 * followed.
 */
import { close, exists, lstat, open, openFlags, readdir, statusExact, unlink } from '../os/files.ts';
import { passesOf, type Selection } from './restore-selection.ts';
import { listTree } from './stored-tree.ts';
import { covers, joinPath } from './tree-path.ts';

const TEMPORARY = /^\.(.+)\.[A-Za-z0-9]{6}$/s;
/** rsync cuts longer names (NAME_MAX), at a character of UTF-8. */
const CUT_BYTES = 250;

/** @param sinceNs nanoseconds since 1970 @throws Fault when the store cannot be read; the signal's reason */
export async function removeTemporary(
  selection: Selection,
  to: string,
  sinceNs: bigint,
  signal: AbortSignal,
): Promise<void> {
  const { tree } = selection.snapshot;
  removeFrom(selection, to, Buffer.alloc(0), sinceNs);
  for (const pass of passesOf(selection))
    for await (const { path, isFolder } of listTree(tree, { ...pass, complain: () => {}, signal }))
      if (isFolder && path.length > 0) removeFrom(selection, to, path, sinceNs);
}

/** @param folder below the tree and below DIR */
function removeFrom(selection: Selection, to: string, folder: Buffer, sinceNs: bigint): void {
  const descriptor = openInside(to, folder);
  if (descriptor === undefined) return;
  try {
    const own = `/proc/self/fd/${descriptor}`;
    for (const name of readdir(own, { encoding: 'buffer' })) {
      if (!isTemporary(selection, folder, name)) continue;
      const path = joinPath(own, name);
      if (!lstat(path).isDirectory() && statusExact(path).ctimeNs >= sinceNs) unlink(path);
    }
  } catch {
    // Another process has changed the folder, or this account may not. Then the file stays.
  } finally {
    close(descriptor);
  }
}

/** Opens a folder below DIR without following a symlink. @returns undefined if there is none */
function openInside(to: string, folder: Buffer): number | undefined {
  const flags = openFlags.O_RDONLY | openFlags.O_DIRECTORY;
  let descriptor: number | undefined;
  try {
    descriptor = open(to, flags);
    for (const name of folder.length === 0 ? [] : folder.toString('latin1').split('/')) {
      const path = joinPath(`/proc/self/fd/${descriptor}`, Buffer.from(name, 'latin1'));
      const next = open(path, flags | openFlags.O_NOFOLLOW);
      close(descriptor);
      descriptor = next;
    }
    return descriptor;
  } catch {
    if (descriptor !== undefined) close(descriptor);
    return undefined;
  }
}

function isTemporary({ snapshot, paths }: Selection, folder: Buffer, name: Buffer): boolean {
  const base = TEMPORARY.exec(name.toString('latin1'))?.[1];
  if (base === undefined) return false;
  const pathOf = (each: string): Buffer =>
    Buffer.concat([folder, Buffer.from(`${folder.length === 0 ? '' : '/'}${each}`, 'latin1')]);
  const isThere = (each: string): boolean => exists(joinPath(snapshot.tree, pathOf(each)));
  if (isThere(name.toString('latin1'))) return false;
  const isSelected = (each: string): boolean =>
    paths.length === 0 || paths.some(selected => covers(selected, pathOf(each)));
  // rsync leaves out a dot in front of the name.
  const likely = [base, `.${base}`].filter(isThere);
  const cut = name.length < CUT_BYTES ? [] : readdir(joinPath(snapshot.tree, folder), { encoding: 'latin1' });
  const isCut = (each: string): boolean => each.replace(/^\./, '').startsWith(base);
  return [...likely, ...cut.filter(isCut)].some(isSelected);
}
