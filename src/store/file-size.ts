/** How large a file can be in a store: its file system has a limit, and so may the account (setrlimit(2), RLIMIT_FSIZE). */
import { failedWith, removeFileIfThere, truncate } from '../os/files.ts';
import { writeNew } from '../os/replace.ts';

/**
 * The largest size up to a given one that a file can have. It is tried with a file that is all holes, which takes no room.
 * @param folder where a file may be made for a moment
 * @param most bytes
 * @returns `most`, or fewer bytes where ftruncate(2) gives EFBIG
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
    return most; // whatever it is, the run meets it too, and tells
  } finally {
    removeFileIfThere(path);
  }
}
