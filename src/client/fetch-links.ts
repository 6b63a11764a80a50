/** Symlinks in the place of folders that a fetch has written: a hostile host can send them. */
import { lstat } from '../os/files.ts';
import { covers, joinPath } from '../store/tree-path.ts';

const SLASH = '/'.charCodeAt(0);

/**
 * Whether one of the folders that were fetched is a symlink. Links above them are this machine's own.
 * @param base the folder that paths are joined to; '' for `/`
 * @param tops the paths that rsync has written: the offered ones, or the empty one for everything below the base
 * @param folder below the base, without a leading slash
 */
export function leadsThroughLink(base: string, tops: readonly Buffer[], folder: Buffer): boolean {
  const top = tops.find(each => covers(each, folder));
  if (top === undefined) return false;
  for (let end = top.length; end <= folder.length; end += 1) {
    if (end === 0 || (end < folder.length && folder[end] !== SLASH)) continue;
    try {
      if (lstat(joinPath(base, folder.subarray(0, end))).isSymbolicLink()) return true;
    } catch {
      return false; // it is missing, or closed: nothing below it can be reached
    }
  }
  return false;
}
