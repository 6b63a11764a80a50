/**
 * Files of older snapshots whose data may never have reached the disk, and how the next run compares them.
 *
 * Up to version 0.1.0 a power cut could leave files with a size and no data in a snapshot (see interrupted-tree.ts).
 * Such files look like sparse files of the client: they have fewer blocks than bytes. A few have an allocated block
 * that was never written, and reads as zeros. rsync --sparse never writes a block of zeros, so an allocated last
 * block of zeros is also a sign (measured: 3 files of 270). Both kinds are doubtful, in every snapshot whose record
 * does not say `durable`.
 *
 * A finished snapshot is never changed. Instead, dialback makes clients/NAME/recheck/SNAPSHOT/tree: the same tree by
 * hard links, without the doubtful names. If there is room, copies with a different time stand in their place. The
 * next run links against that tree, so rsync compares the doubtful files with the client's. The snapshot of that run
 * is `durable`, and recheck/SNAPSHOT goes to the trash.
 */
import { Fault } from '../fault.ts';
import { endsInZeros } from '../os/content.ts';
import { appendText, exists, lstat, makeFolder, readdir, rename, statfs, unlink } from '../os/files.ts';
import { run, standard } from '../os/process.ts';
import { randomHex } from '../os/random.ts';
import { takeRecords } from '../os/records.ts';
import { syncFolder } from '../os/replace.ts';
import { SNAPSHOT } from '../wire/text.ts';
import { BLOCK_BYTES, searchTree } from './find-records.ts';
import { syncFileSystem } from './interrupted-tree.ts';
import { linkMissing } from './link-limit.ts';
import { joinPath } from './tree-path.ts';

const RECHECK = 'recheck';
/**
 * In recheck/SNAPSHOT: the doubtful names, each ended by a NUL. If this file exists, the tree beside it is complete.
 */
const DONE = 'done';
const NAME_LIMIT = 8 * 1024;
const COPY_TIMEOUT_MS = 24 * 3_600_000;
/** The most names that are kept in memory, for a person. */
const NAMES_LIMIT = 100;
const WRITE_BYTES = 64 * 1024;

/** The doubtful files of one snapshot. */
export interface Doubtful {
  snapshot: string;
  count: number;
  /** Below the tree, one character per byte; the first 100. */
  paths: string[];
}

/** The tree that a run links against instead of a snapshot's own tree. */
interface Recheck {
  /** Undefined if no file is doubtful: the run uses the snapshot's own tree. */
  tree: string | undefined;
}

/**
 * Finds the recheck tree of a snapshot.
 * @param folder clients/NAME
 * @returns undefined if there is none, or only a part of one
 */
export function findRecheck(folder: string, snapshot: string): Recheck | undefined {
  const path = `${folder}/${RECHECK}/${snapshot}`;
  if (!exists(`${path}/${DONE}`)) return undefined;
  return { tree: exists(`${path}/tree`) ? `${path}/tree` : undefined };
}

/**
 * Calls back with each doubtful file of a tree. Skips names that find cannot reach; they cannot be linked either.
 * @param isWhole makes an unreachable name a Fault
 * @throws Fault when find fails; the signal's reason
 */
async function takeDoubtful(
  tree: string,
  { signal, isWhole = false }: { signal: AbortSignal; isWhole?: boolean },
  take: (path: Buffer, allocatedBytes: number) => void,
): Promise<void> {
  const tests = ['-type', 'f', '-size', '+0'];
  const tried = `list "${tree}"`;
  const search = { tests, fields: ['%b', '%s'], allowsUnreadable: !isWhole, tried, signal };
  await searchTree(tree, search, ([blocks, size], path) => {
    const allocatedBytes = Number(blocks) * BLOCK_BYTES;
    if (allocatedBytes < Number(size) || lacksTail(joinPath(tree, path), Number(size)))
      take(path, allocatedBytes);
  });
}

/** Treats a file that cannot be read as doubtful. */
function lacksTail(path: Buffer, size: number): boolean {
  try {
    return endsInZeros(path, size);
  } catch {
    return true;
  }
}

/**
 * Lists the doubtful files of a snapshot for a person: those that `makeRecheck` wrote down, otherwise by reading the
 * tree.
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
 * Makes the recheck tree of a snapshot. Makes and removes names only below recheck/, and copies only to free names.
 * It writes to no inode of the snapshot.
 * @param folder clients/NAME. The caller must hold the lock of recheck/.
 * @throws Fault when the tree could not be completed. The next run then compares nothing, and this can be called
 *   again.
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
  // Otherwise a power cut could leave the names without the tree, and the next run would use the snapshot's own tree.
  await syncFileSystem(fresh);
  discard(folder, snapshot, snapshot);
  rename(fresh, `${folder}/${RECHECK}/${snapshot}`);
  syncFolder(`${folder}/${RECHECK}`);
}

/** Writes the doubtful names into a file, each ended by a NUL. */
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
  await takeNames(names, signal, name => {
    const path = joinPath(`${fresh}/tree`, name);
    if (exists(path)) unlink(path);
  });
  // Check the result: a doubtful file that is still there would be linked unread.
  await takeDoubtful(`${fresh}/tree`, { signal, isWhole: true }, name => {
    throw new Fault({ tried, found: `"${name.toString('latin1')}" is still in it` });
  });
  const { bavail, bsize } = statfs(fresh);
  if (allocatedBytes > (bavail * bsize) / 2) return; // without copies, rsync sends these files whole
  // --no-clobber writes only to free names. Times are not kept, so rsync compares contents.
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
  // rsync sends a file whole if it cannot be copied.
  await run({ ...standard('xargs', words), cwd: tree }, bounds);
}

/** Calls back with each name of a file that `writeNames` wrote. */
async function takeNames(path: string, signal: AbortSignal, take: (name: Buffer) => void): Promise<void> {
  const cat = standard('cat', ['--', path]);
  const { status } = await takeRecords(cat, { limit: NAME_LIMIT, signal }, take);
  if (status !== 0) throw new Fault({ tried: `read "${path}"`, found: `cat exited with status ${status}` });
}

/**
 * Moves recheck trees that are no longer needed to the trash.
 * @param folder clients/NAME
 * @param kept the snapshots that still need theirs
 * @param unfinished also removes incomplete ones. The caller must hold the lock of recheck/.
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
