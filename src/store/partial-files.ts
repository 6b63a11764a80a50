/**
 * What an interrupted run leaves of a file that had arrived in part, made into more for the next run to build on.
 *
 * rsync takes one file as the basis of a delta. The front of the new version, which has arrived, is one; the version of the
 * last snapshot is another. With the first alone, what has not changed behind it is sent again; with the second alone, what
 * has arrived is, each time, so that a large new version never comes through a link that is cut again and again. So behind
 * the front that has arrived comes what the old version has there.
 *
 * Nothing relies on what such a file holds: rsync builds on a basis only what agrees with the checksums of what it is sent.
 */
import { Fault } from '../fault.ts';
import { abortable } from '../os/async.ts';
import { deadlineSignal, monotonicMs } from '../os/clock.ts';
import { close, exists, fstat, lstat, open, openFlags, rename, setFileTimes } from '../os/files.ts';
import { standard, start } from '../os/process.ts';
import { randomShare } from '../os/random.ts';
import { takeRecords } from '../os/records.ts';
import { PATH_LIMIT } from '../wire/request.ts';

/** Below this it is sent again sooner than it is looked for. */
const LEAST_BYTES = 64 * 1024;
/** In all; the client waits meanwhile. What is there by then is a basis as well. */
const MOST_MS = 30_000;
/** A run leaves one; one that was cut off in another way can have left some more. */
const MOST_FILES = 16;

/**
 * Completes what has arrived in part. The client's lock must be held, and no run of it be under way.
 * @param tree an interrupted one
 * @param began when its run did
 * @param bases trees of snapshots, best first
 * @returns how many were completed
 */
export async function completePartials(tree: string, began: Date, bases: string[]): Promise<number> {
  const started = monotonicMs();
  const leftMs = (): number => MOST_MS - (monotonicMs() - started);
  let completed = 0;
  // What cannot be found is sent again: no reason not to back up.
  for (const path of await findPartials(tree, began, bases, leftMs).catch(() => [])) {
    for (const base of bases) {
      if (leftMs() <= 0) return completed;
      if (!(await complete(join(tree, path), join(base, path), leftMs()))) continue;
      completed += 1;
      break;
    }
  }
  return completed;
}

/** A file that rsync was writing: `.NAME.` and six of these, until it has all of it; a NAME with a dot gets no second one. */
const TEMPORARY = /^((?:.*\/)?)\.([^/]+)\.[A-Za-z0-9]{6}$/s;

/**
 * The largest ones, as paths within the tree. What rsync keeps by --partial is of the first second of 1970. Where it was not
 * let finish its dying there is what it was writing to, with a time that is later than the run's start: it gets its name.
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
  const find = standard('find', [tree, '-ignore_readdir_race', ...is, ...which, '-printf', '%s %P\\0']);
  await takeRecords(find, { limit: PATH_LIMIT + 32 }, record => {
    const blank = record.indexOf(0x20);
    const size = Number(record.toString('latin1', 0, blank));
    found.push({ path: Buffer.from(record.subarray(blank + 1)), size });
    if (found.length > 2 * MOST_FILES) keepLargest(found);
  });
  keepLargest(found);
  const paths: Buffer[] = [];
  for (const each of found) {
    const path = await named(tree, each.path, bases, leftMs);
    if (path) paths.push(path);
  }
  return paths;
}

/** @returns the path that it has then; undefined where there is a file of that name that has arrived, which is kept */
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
  const wasThere = (each: Buffer): boolean => bases.some(base => exists(join(base, each)));
  const proper = wasThere(hidden) && !wasThere(plain) ? hidden : plain;
  if (exists(join(tree, proper))) {
    // What rsync was building on: its own front is newer than what is there, and behind it comes what is there.
    if (!isKept(join(tree, proper)) || leftMs() <= 0) return undefined;
    await complete(join(tree, path), join(tree, proper), leftMs());
  }
  try {
    rename(join(tree, path), join(tree, proper));
    return proper;
  } catch {
    return undefined; // no reason not to back up
  }
}

/** Whether it is what rsync keeps by --partial, or made of that. */
function isKept(path: Buffer): boolean {
  const status = lstat(path);
  return status.isFile() && status.nlink === 1 && Math.abs(status.mtimeMs) < 1000;
}

function keepLargest(found: { size: number }[]): void {
  found.sort((one, other) => other.size - one.size).splice(MOST_FILES);
}

function join(folder: string, path: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${folder}/`), path]);
}

/** @returns whether there was an old version that goes further */
async function complete(path: Buffer, oldPath: Buffer, mostMs: number): Promise<boolean> {
  const { O_RDONLY, O_RDWR, O_NOFOLLOW, O_NONBLOCK } = openFlags;
  const descriptors: number[] = [];
  try {
    const old = open(oldPath, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    descriptors.push(old);
    const partial = open(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK);
    descriptors.push(partial);
    const [oldStatus, status] = [fstat(old), fstat(partial)];
    // With another name it could be a finished snapshot's: such an inode is never written to.
    if (!oldStatus.isFile() || !status.isFile() || status.nlink !== 1) return false;
    if (oldStatus.size <= status.size) return false;
    const at = [`skip=${status.size}`, `seek=${status.size}`, 'iflag=skip_bytes', 'oflag=seek_bytes'];
    const way = standard('dd', ['bs=1M', ...at, 'conv=sparse,notrunc', 'status=none']);
    const dd = await start(way, [old, partial, 'nothing']);
    using deadline = deadlineSignal(
      mostMs,
      () => new Fault({ tried: 'complete a file', found: 'it is late' }),
    );
    await abortable(deadline.signal, dd.exited).catch(() => {});
    await dd.end();
    // rsync takes a file of the same size and time for the same file. Still of that second, and like no file of a client's.
    setFileTimes(partial, 0, randomShare());
    return true;
  } catch {
    return false; // it stays a basis as it is: no reason not to back up
  } finally {
    for (const each of descriptors) close(each);
  }
}
