/**
 * Files of older snapshots whose data may never have reached the disk, and how the next run comes to compare them.
 *
 * Up to 0.1.0 a power cut could put files with a size and no data into a snapshot (store/arrival.ts says how). They look like
 * files with holes of the client's: fewer blocks than bytes. A few have a block that was never written, and reads as zeros.
 * rsync --sparse never writes such a block, so a last block of zeros that is no hole tells as well (measured: 3 files of 270).
 * Both kinds are doubtful, in every snapshot
 * whose record does not say `durable`. A finished snapshot is never changed. Instead clients/NAME/recheck/SNAPSHOT/tree is made:
 * the same tree by hard links, without the doubtful names; in their place stand copies with another time, as far as there is
 * room. The next run links against that tree, and so rsync compares the doubtful files with the client's. The snapshot
 * of that run is `durable`, and recheck/SNAPSHOT goes to the trash.
 */
import { Fault } from '../fault.ts';
import { endsInZeros } from '../os/content.ts';
import { appendText, exists, lstat, makeFolder, readdir, rename, statfs, unlink } from '../os/files.ts';
import { run, standard } from '../os/process.ts';
import { randomHex } from '../os/random.ts';
import { takeRecords } from '../os/records.ts';
import { syncFolder } from '../os/replace.ts';
import { SNAPSHOT } from '../wire/text.ts';
import { syncFileSystem } from './arrival.ts';
import { linkMissing } from './link-limit.ts';

const RECHECK = 'recheck';
/** In recheck/SNAPSHOT: the doubtful names, a NUL behind each. Where it is, the tree beside it is complete. */
const DONE = 'done';
/** The blocks of stat(2). */
const BLOCK_BYTES = 512;
const BLOCK_AND_PATH_LIMIT = 4096 + 64;
const COPY_TIMEOUT_MS = 24 * 3_600_000;
/** Names that are kept in memory, for a person. */
const NAMES_LIMIT = 100;
const WRITE_BYTES = 64 * 1024;

/** The doubtful files of one snapshot. */
export interface Doubtful {
  snapshot: string;
  count: number;
  /** Below the tree, a character a byte; the first 100. */
  paths: string[];
}

/** What a run links against in place of a snapshot's own tree. */
export interface Recheck {
  /** Undefined where no file is doubtful: the snapshot's own tree is used. */
  tree: string | undefined;
}

/**
 * What was made for a snapshot, if it is complete.
 * @param folder clients/NAME
 * @returns undefined where nothing was made, or not all of it
 */
export function findRecheck(folder: string, snapshot: string): Recheck | undefined {
  const path = `${folder}/${RECHECK}/${snapshot}`;
  if (!exists(`${path}/${DONE}`)) return undefined;
  return { tree: exists(`${path}/tree`) ? `${path}/tree` : undefined };
}

/** find(1) could not read something. */
const COULD_NOT_READ = 1;

/**
 * Takes each doubtful file of a tree. What cannot be reached is passed over: it cannot be linked either.
 * @param isWhole whether that is a Fault
 * @throws Fault; the signal's reason
 */
async function takeDoubtful(
  tree: string,
  { signal, isWhole = false }: { signal: AbortSignal; isWhole?: boolean },
  take: (path: Buffer, allocatedBytes: number) => void,
): Promise<void> {
  const prefix = Buffer.from(`${tree}/`);
  const find = standard('find', [tree, '-type', 'f', '-size', '+0', '-printf', '%b %s %P\\0']);
  const found = await takeRecords(find, { limit: BLOCK_AND_PATH_LIMIT, signal }, record => {
    const [blocks = '', size = ''] = record.toString('latin1', 0, 64).split(' ', 2);
    const allocated = Number(blocks) * BLOCK_BYTES;
    const path = record.subarray(blocks.length + size.length + 2);
    if (allocated < Number(size) || lacksTail(Buffer.concat([prefix, path]), Number(size)))
      take(path, allocated);
  });
  if (found.status === 0 || (found.status === COULD_NOT_READ && !isWhole && exists(tree))) return;
  throw new Fault({ tried: `look through "${tree}"`, found: found.stderr.trim() || 'find failed' });
}

/** What cannot be read is doubtful too. */
function lacksTail(path: Buffer, size: number): boolean {
  try {
    return endsInZeros(path, size);
  } catch {
    return true;
  }
}

/**
 * The doubtful files of a snapshot, for a person: as `makeRecheck` found them, or found now where it has not run.
 * @param folder clients/NAME
 * @throws Fault when they cannot be read; the signal's reason
 */
export async function listDoubtful(folder: string, snapshot: string, signal: AbortSignal): Promise<Doubtful> {
  const result: Doubtful = { snapshot, count: 0, paths: [] };
  const take = (path: Buffer): void => {
    result.count += 1;
    if (result.paths.length < NAMES_LIMIT) result.paths.push(path.toString('latin1'));
  };
  if (findRecheck(folder, snapshot))
    await takeNames(`${folder}/${RECHECK}/${snapshot}/${DONE}`, signal, take);
  else await takeDoubtful(`${folder}/snapshots/${snapshot}/tree`, { signal }, take);
  return result;
}

/**
 * Makes what the next run links against in place of a snapshot. Only names are made and removed below recheck/, and copies
 * under names that are free: no inode of the snapshot is written to.
 * @param folder clients/NAME; nothing else may be at work in recheck/ (its lock is the caller's)
 * @throws Fault when it could not be made whole: then the next run compares nothing, and this can be called again
 */
export async function makeRecheck(folder: string, snapshot: string, signal: AbortSignal): Promise<void> {
  const tree = `${folder}/snapshots/${snapshot}/tree`;
  makeFolder(`${folder}/${RECHECK}`);
  const fresh = `${folder}/${RECHECK}/${snapshot}.new`;
  discard(folder, `${snapshot}.new`, snapshot);
  makeFolder(fresh);
  const names = `${fresh}/${DONE}`;
  const { count, allocatedBytes } = await writeNames(tree, names, signal);
  if (count > 0) await makeTree(tree, fresh, { names, allocatedBytes, signal });
  // Else a power cut could leave the names without the tree, and the snapshot's own tree would be used.
  await syncFileSystem(fresh);
  discard(folder, snapshot, snapshot);
  rename(fresh, `${folder}/${RECHECK}/${snapshot}`);
  syncFolder(`${folder}/${RECHECK}`);
}

/** Writes the doubtful names into a file, a NUL behind each. */
async function writeNames(
  tree: string,
  path: string,
  signal: AbortSignal,
): Promise<{ count: number; allocatedBytes: number }> {
  let [count, allocatedBytes, bytes] = [0, 0, 0];
  let held: Buffer[] = [];
  const flush = (): void => {
    appendText(path, Buffer.concat(held), { mode: 0o600 });
    held = [];
    bytes = 0;
  };
  await takeDoubtful(tree, { signal }, (name, allocated) => {
    count += 1;
    allocatedBytes += allocated;
    held.push(Buffer.from(name), Buffer.alloc(1));
    bytes += name.length + 1;
    if (bytes > WRITE_BYTES) flush();
  });
  flush();
  return { count, allocatedBytes };
}

async function makeTree(
  tree: string,
  fresh: string,
  { names, allocatedBytes, signal }: { names: string; allocatedBytes: number; signal: AbortSignal },
): Promise<void> {
  const tried = `make "${fresh}"`;
  const bounds = { timeoutMs: COPY_TIMEOUT_MS, signal };
  makeFolder(`${fresh}/tree`);
  // A name that cannot be linked is left out, and rsync sends the file.
  await linkMissing(tree, `${fresh}/tree`, signal);
  const prefix = Buffer.from(`${fresh}/tree/`);
  await takeNames(names, signal, name => {
    const path = Buffer.concat([prefix, name]);
    if (exists(path)) unlink(path);
  });
  // Looked at, and not concluded: what is doubtful still would be linked unread.
  await takeDoubtful(`${fresh}/tree`, { signal, isWhole: true }, name => {
    throw new Fault({ tried, found: `"${name.toString('latin1')}" is still in it` });
  });
  const { bavail, bsize } = statfs(fresh);
  if (allocatedBytes > (bavail * bsize) / 2) return; // without copies these files are sent whole
  // --no-clobber: only names that are free; no time is kept, so rsync compares contents.
  const copy = ['--no-clobber', '--parents', '--sparse=always', '--no-preserve=all'];
  const words = [
    '--null',
    `--arg-file=${names}`,
    '--',
    'cp',
    ...copy,
    `--target-directory=${fresh}/tree`,
    '--',
  ];
  // One that cannot be copied is sent whole.
  await run({ ...standard('xargs', words), cwd: tree }, bounds);
}

/** Takes each name of a file that `writeNames` wrote. */
async function takeNames(path: string, signal: AbortSignal, take: (name: Buffer) => void): Promise<void> {
  const cat = standard('cat', ['--', path]);
  const { status } = await takeRecords(cat, { limit: BLOCK_AND_PATH_LIMIT, signal }, take);
  if (status !== 0) throw new Fault({ tried: `read "${path}"`, found: `cat ended with status ${status}` });
}

/**
 * Moves to the trash what was made for snapshots that need it no more.
 * @param folder clients/NAME
 * @param kept snapshots that still do
 * @param unfinished what was not finished goes too: the caller has the lock of recheck/
 */
export function dropRechecks(folder: string, kept: string[], unfinished = false): void {
  if (!exists(`${folder}/${RECHECK}`)) return;
  for (const name of readdir(`${folder}/${RECHECK}`)) {
    const snapshot = name.replace(/\.new$/, '');
    if (!SNAPSHOT.test(snapshot) || (name === snapshot ? kept.includes(name) : !unfinished)) continue;
    discard(folder, name, snapshot);
  }
}

function discard(folder: string, name: string, snapshot: string): void {
  const path = `${folder}/${RECHECK}/${name}`;
  if (!exists(path) || !lstat(path).isDirectory()) return;
  rename(path, `${folder}/trash/${snapshot}-${randomHex(4)}`);
}
