/**
 * Completes files that an interrupted run received in part, so that the next run has a better basis.
 *
 * rsync takes one file as the basis of a delta. There are two candidates: the front of the new version, which has
 * arrived, and the version of the last snapshot. With the first one only, rsync sends everything behind the front
 * again. With the second one only, it sends the front again each time, so that a large new version never arrives over
 * a line that fails again and again. So dialback appends to the front what the old version has behind that point.
 *
 * Correctness does not depend on the content of such a file. rsync uses only those parts of a basis that agree with
 * the checksums of the new version.
 */

import { Fault } from '../fault.ts';
import { abortable } from '../os/async.ts';
import { deadlineSignal, monotonicMs } from '../os/clock.ts';
import { close, exists, fstat, lstat, open, openFlags, rename, setFileTimes } from '../os/files.ts';
import { standard, start } from '../os/process.ts';
import { randomShare } from '../os/random.ts';
import { searchTree } from './find-records.ts';
import { joinPath } from './tree-path.ts';

/** Sending a smaller file again is faster than this search. */
const LEAST_BYTES = 64 * 1024;
/** The time limit for all files; the client waits meanwhile. Files that are complete by then are used as a basis too. */
const MOST_MS = 30_000;
/** A run leaves one. Several interrupted runs can leave more. */
const MOST_FILES = 16;

/**
 * Completes the files of a tree that arrived in part. The client's lock must be held, and no run of it may be active.
 * @param tree an interrupted tree
 * @param began when its run began
 * @param bases trees of snapshots, best first
 * @returns how many were completed
 */
export async function completePartials(tree: string, began: Date, bases: string[]): Promise<number> {
  const started = monotonicMs();
  const leftMs = (): number => MOST_MS - (monotonicMs() - started);
  let completed = 0;
  // If the search fails, rsync sends the files again. That is no reason not to back up.
  for (const path of await findPartials(tree, began, bases, leftMs).catch(() => [])) {
    for (const base of bases) {
      if (leftMs() <= 0) return completed;
      if (!(await complete(joinPath(tree, path), joinPath(base, path), leftMs()))) continue;
      completed += 1;
      break;
    }
  }
  return completed;
}

/**
 * rsync writes to `.NAME.` and six of these characters until the file is complete. If NAME begins with a dot, it adds
 * none.
 */
const TEMPORARY = /^((?:.*\/)?)\.([^/]+)\.[A-Za-z0-9]{6}$/s;

/**
 * Finds the largest partial files, as paths within the tree. With --partial, rsync gives such a file its name and a
 * time in the first second of 1970. If rsync was killed, the temporary file remains, with a time after the start of
 * the run; this function gives it its name.
 */
async function findPartials(
  tree: string,
  began: Date,
  bases: string[],
  leftMs: () => number,
): Promise<Buffer[]> {
  const found: { path: Buffer; size: number }[] = [];
  const is = ['-type', 'f', '-links', '1', '-size', `+${LEAST_BYTES - 1}c`];
  const kept = ['-newermt', '@-1', '!', '-newermt', '@1'];
  const left = ['-name', '.*.??????', '-newermt', `@${Math.floor(began.getTime() / 1000) - 1}`];
  const which = ['(', ...kept, '-o', ...left, ')'];
  const tests = ['-ignore_readdir_race', ...is, ...which];
  const tried = `find files in "${tree}" that arrived in part`;
  // Use what find listed before it failed.
  await searchTree(tree, { tests, fields: ['%s'], tried }, ([size], path) => {
    found.push({ path, size: Number(size) });
    if (found.length > 2 * MOST_FILES) keepLargest(found);
  }).catch(() => false);
  keepLargest(found);
  const paths: Buffer[] = [];
  for (const each of found) {
    const path = await named(tree, each.path, bases, leftMs);
    if (path) paths.push(path);
  }
  return paths;
}

/**
 * Gives a temporary file its name.
 * @returns the path it has then; undefined if a complete file already has that name
 */
async function named(
  tree: string,
  path: Buffer,
  bases: string[],
  leftMs: () => number,
): Promise<Buffer | undefined> {
  const [, folder, name] = TEMPORARY.exec(path.toString('latin1')) ?? [];
  if (folder === undefined || name === undefined) return path;
  const [plain, hidden] = [name, `.${name}`].map(each => Buffer.from(`${folder}${each}`, 'latin1'));
  if (plain === undefined || hidden === undefined) return undefined;
  const wasThere = (each: Buffer): boolean => bases.some(base => exists(joinPath(base, each)));
  const proper = wasThere(hidden) && !wasThere(plain) ? hidden : plain;
  if (exists(joinPath(tree, proper))) {
    // The file in place was rsync's basis. The front of the temporary file is newer, so what the other one has behind
    // it is appended.
    if (!isKept(joinPath(tree, proper)) || leftMs() <= 0) return undefined;
    await complete(joinPath(tree, path), joinPath(tree, proper), leftMs());
  }
  try {
    rename(joinPath(tree, path), joinPath(tree, proper));
    return proper;
  } catch {
    return undefined; // no reason not to back up
  }
}

/** Whether rsync kept the file by --partial, or it was made from such a file. */
function isKept(path: Buffer): boolean {
  const status = lstat(path);
  return status.isFile() && status.nlink === 1 && Math.abs(status.mtimeMs) < 1000;
}

function keepLargest(found: { size: number }[]): void {
  found.sort((one, other) => other.size - one.size).splice(MOST_FILES);
}

/**
 * Appends what the old version has behind the end of the partial file.
 * @returns whether there was such an old version
 */
async function complete(path: Buffer, oldPath: Buffer, mostMs: number): Promise<boolean> {
  const { O_RDONLY, O_RDWR, O_NOFOLLOW, O_NONBLOCK } = openFlags;
  const descriptors: number[] = [];
  try {
    const old = open(oldPath, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    descriptors.push(old);
    const partial = open(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK);
    descriptors.push(partial);
    const [oldStatus, status] = [fstat(old), fstat(partial)];
    // An inode with another name could belong to a finished snapshot. Never write to such an inode.
    if (!oldStatus.isFile() || !status.isFile() || status.nlink !== 1) return false;
    if (oldStatus.size <= status.size) return false;
    const at = [`skip=${status.size}`, `seek=${status.size}`, 'iflag=skip_bytes', 'oflag=seek_bytes'];
    const way = standard('dd', ['bs=1M', ...at, 'conv=sparse,notrunc', 'status=none']);
    const dd = await start(way, [old, partial, 'nothing']);
    using deadline = deadlineSignal(mostMs, () => new Fault({ tried: 'complete a file', found: 'timeout' }));
    await abortable(deadline.signal, dd.exited).catch(() => {});
    await dd.end();
    // rsync treats a file of equal size and time as unchanged. So give it a fraction that no file of a client has,
    // still in the first second of 1970.
    setFileTimes(partial, 0, randomShare());
    return true;
  } catch {
    return false; // the file stays a basis as it is; no reason not to back up
  } finally {
    for (const each of descriptors) close(each);
  }
}
