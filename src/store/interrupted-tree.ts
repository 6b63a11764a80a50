/**
 * Decides which interrupted trees under arriving/ a run may trust.
 *
 * rsync treats a file with the right size and time as unchanged, and links it unread. After a power cut, the size and
 * time can be on the disk without the data. ftruncate(2) and utimensat(2) change the inode, which a journal writes
 * within seconds; the data follow up to half a minute later. On ext4 this affects every file that ends in NULs,
 * because `rsync --sparse` sets its size by ftruncate(2) (measured: 147 of 150 files). Other file systems, a removed
 * disk and a kernel panic have the same effect. No attribute of a file tells afterwards whether the file is whole.
 *
 * So there is one rule: trust an interrupted tree only if the file `synced` lies beside it. dialback writes that file
 * after the run has ended and the whole file system has been synced. A killed run leaves none. In any other tree
 * every file loses its time, so that rsync compares its content.
 */
import { Fault } from '../fault.ts';
import { monotonicMs } from '../os/clock.ts';
import { readWhole } from '../os/content.ts';
import { exists, lstat, setLinkTimes, unlink } from '../os/files.ts';
import { run, standard } from '../os/process.ts';
import { randomShare } from '../os/random.ts';
import { syncFolder, writeNew } from '../os/replace.ts';
import { plainJson } from '../wire/text.ts';
import { searchTree } from './find-records.ts';
import { joinPath } from './tree-path.ts';

/** In the folder of an interrupted tree. When this file was written, the whole tree was on the disk. */
const SYNCED = 'synced';
const SYNC_TIMEOUT_MS = 3_600_000;
/** For all trees of a client together. The client waits meanwhile, and gives up 90 s after its call. */
export const DOUBT_LIMIT_MS = 30_000;

/**
 * Writes all data of a file system to the disk (syncfs(2)).
 * @param folder on that file system
 * @throws Fault when sync fails or takes longer than an hour
 */
export async function syncFileSystem(folder: string): Promise<void> {
  const tried = `write "${folder}" to the disk`;
  // fsync(2) of each of a million files would take hours.
  const synced = await run(standard('sync', ['--file-system', '--', folder]), { timeoutMs: SYNC_TIMEOUT_MS });
  if (synced.status !== 0) throw new Fault({ tried, found: synced.stderr.trim() || 'sync failed' });
}

/**
 * Records that an interrupted tree is on the disk. Its rsync must have ended.
 * @param folder arriving/SNAPSHOT
 * @param samePaths the trees of which it has each shared file at the same path (separate-trees.ts)
 * @throws Fault or the failed call's error; then the tree stays untrusted
 */
export async function markSynced(folder: string, samePaths: readonly string[]): Promise<void> {
  await syncFileSystem(folder);
  writeNew(`${folder}/${SYNCED}`, `${plainJson({ same_paths: samePaths })}\n`, { sync: true });
  syncFolder(folder);
}

/** Whether an interrupted tree was on the disk when its run ended. @param folder arriving/SNAPSHOT */
export function isSynced(folder: string): boolean {
  return exists(`${folder}/${SYNCED}`);
}

const SYNCED_LIMIT = 64 * 1024;

/** The trees of which a synced tree has each shared file at the same path; none if that is not known. @param folder arriving/SNAPSHOT */
export function samePathsOf(folder: string): ReadonlySet<string> {
  try {
    const { same_paths: found } = JSON.parse(
      readWhole(`${folder}/${SYNCED}`, SYNCED_LIMIT).toString('utf8'),
    ) as { same_paths: unknown };
    return new Set(Array.isArray(found) ? found.filter(each => typeof each === 'string') : []);
  } catch {
    return new Set(); // an older version wrote an empty file
  }
}

/**
 * Removes the times of all files of an interrupted tree, so that rsync compares their contents with the client's.
 * rsync still sends only what differs, and checks the whole file by its own checksum. No inode of a finished snapshot
 * is written to: a name whose inode has other names is removed instead. The snapshot that shares it has the file, and
 * is linked against too. If all names of an inode are in the tree, one of them stays. The client's lock must be held.
 * @param tree arriving/SNAPSHOT/tree
 * @param endMs the deadline, by the monotonic clock
 * @throws Fault or the failed call's error when a file could not be reached or the deadline has passed. Then the tree
 *   must not be used.
 */
export async function doubtTree(tree: string, endMs: number): Promise<void> {
  const tried = `remove the times of "${tree}"`;
  // Between one hour and one day after the start of 1970. No file of a client has this time, even where nanoseconds are
  // lost.
  const seconds = 3_600 + 82_800 * randomShare();
  const search = { tests: ['-type', 'f'], fields: [], tried };
  await searchTree(tree, search, (_, path) => {
    const file = joinPath(tree, path);
    if (lstat(file).nlink > 1) unlink(file);
    else setLinkTimes(file, seconds, seconds);
    if (monotonicMs() > endMs) throw new Fault({ tried, found: `timeout after ${DOUBT_LIMIT_MS / 1000} s` });
  });
}
