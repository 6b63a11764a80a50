/**
 * The largest file that a store can hold. Its file system has a limit, and the account may have one (setrlimit(2),
 * RLIMIT_FSIZE).
 */
import { failedWith, removeFileIfThere, truncate } from '../os/files.ts';
import { writeNew } from '../os/replace.ts';

/**
 * Finds the largest size that a file can have, by means of a sparse file that takes no room.
 * @param folder where a temporary file may be made
 * @param most bytes
 * @returns `most`, or fewer bytes if ftruncate(2) fails with EFBIG
 */
export function largestFile(folder: string, most: number): number {
  const path = `${folder}/size`;
  try {
    writeNew(path, '');
    const takes = (size: number): boolean => {
      try {
        truncate(path, size);
        return true;
      } catch (error) {
        if (failedWith(error, 'EFBIG')) return false;
        throw error;
      }
    };
    if (takes(most)) return most;
    let [taken, refused] = [0, most];
    while (refused - taken > 1) {
      const middle = taken + Math.floor((refused - taken) / 2);
      if (takes(middle)) taken = middle;
      else refused = middle;
    }
    return taken;
  } catch {
    return most; // the run meets the same error and reports it
  } finally {
    removeFileIfThere(path);
  }
}
