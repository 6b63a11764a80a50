/**
 * Which interrupted trees under arriving/ a run may believe.
 *
 * rsync takes a file of the right size and time for unchanged and links it unread. After a power cut, size and time can be on the
 * disk without the data: ftruncate(2) and utimensat(2) change the inode, which a journal writes within seconds, and the data
 * follow up to half a minute later. On ext4 this hits every file that ends in NULs, since `rsync --sparse` sets its size by
 * ftruncate(2) (measured: 147 of 150 files). Other file systems, a disk that is pulled out, and a kernel that panics have the
 * same effect, and nothing that can be read afterwards tells which files are whole.
 *
 * So there is one rule: an interrupted tree is believed only if the file `synced` lies beside it. That file is written after the
 * run has ended and the whole file system has been synced. A run that was killed leaves none. In any other tree every file
 * loses its time, so that rsync compares its content.
 */
import { Fault } from '../fault.ts';
import { monotonicMs } from '../os/clock.ts';
import { exists, lstat, setLinkTimes, unlink } from '../os/files.ts';
import { run, standard } from '../os/process.ts';
import { randomShare } from '../os/random.ts';
import { takeRecords } from '../os/records.ts';
import { syncFolder, writeNew } from '../os/replace.ts';

/** In the folder of an interrupted tree: all of the tree was on the disk when this file was written. */
const SYNCED = 'synced';
const SYNC_TIMEOUT_MS = 3_600_000;
/** Linux's PATH_MAX, and room for its NUL. */
const RECORD_LIMIT = 4096;
/** For all trees of a client: it waits meanwhile, and gives up 90 s after its call. */
export const DOUBT_LIMIT_MS = 30_000;

/**
 * Writes all that its file system holds to the disk (syncfs(2)).
 * @throws Fault when that failed or took longer than an hour
 */
export async function syncFileSystem(folder: string): Promise<void> {
  const tried = `write "${folder}" to the disk`;
  // The whole file system at once: fsync(2) of each of a million files takes hours.
  const synced = await run(standard('sync', ['--file-system', '--', folder]), { timeoutMs: SYNC_TIMEOUT_MS });
  if (synced.status !== 0) throw new Fault({ tried, found: synced.stderr.trim() || 'sync failed' });
}

/**
 * Records that an interrupted tree is on the disk. Its rsync must have ended.
 * @param folder arriving/SNAPSHOT
 * @throws Fault or the failed call's error; then the tree stays one that is not believed
 */
export async function markSynced(folder: string): Promise<void> {
  await syncFileSystem(folder);
  writeNew(`${folder}/${SYNCED}`, '', { sync: true });
  syncFolder(folder);
}

/** Whether all of an interrupted tree was on the disk when its run ended. @param folder arriving/SNAPSHOT */
export function isSynced(folder: string): boolean {
  return exists(`${folder}/${SYNCED}`);
}

/**
 * Takes the times off all files of an interrupted tree, so that rsync compares their contents with the client's. It still
 * sends only what differs, and checks the whole file by its own checksum. No inode of a finished snapshot is
 * written to: a name whose inode has other names is removed (the snapshot that shares it has the file, and is linked
 * against as well; of a group within the tree one name stays). The client's lock must be held.
 * @param tree arriving/SNAPSHOT/tree
 * @param endMs when it must be done, by the monotonic clock
 * @throws Fault or the failed call's error when a file could not be reached or it was not done in time: then the tree must
 *   not be used
 */
export async function doubtTree(tree: string, endMs: number): Promise<void> {
  const tried = `take the times off "${tree}"`;
  // Between one hour and one day after the start of 1970: no file of a client's has it, on a file system without nanoseconds either.
  const seconds = 3_600 + 82_800 * randomShare();
  const prefix = Buffer.from(`${tree}/`);
  const find = standard('find', [tree, '-type', 'f', '-printf', '%P\\0']);
  const found = await takeRecords(find, { limit: RECORD_LIMIT }, path => {
    const file = Buffer.concat([prefix, path]);
    if (lstat(file).nlink > 1) unlink(file);
    else setLinkTimes(file, seconds, seconds);
    if (monotonicMs() > endMs)
      throw new Fault({ tried, found: `it was not done within ${DOUBT_LIMIT_MS / 1000} s` });
  });
  if (found.status !== 0) throw new Fault({ tried, found: found.stderr.trim() || 'find failed' });
}
