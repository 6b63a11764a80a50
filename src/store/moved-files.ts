/**
 * Moved and renamed files are stored once: links files of an arriving tree to equal files of older snapshots.
 *
 * rsync links a file only to the file at the same path. So a folder that the client has renamed arrives as a whole.
 * This happens between the end of rsync and the commit, so no finished snapshot is changed. A file is linked if its
 * content and all its stored attributes are those of a file in a snapshot of the same client. Both contents are read
 * for that. A file of a snapshot is not used if the arriving tree has it too. Then the client has two files, and must
 * get two back. (separate-trees.ts does the same for the trees that later runs link against.)
 *
 * Each new link is made beside the tree and renamed over the arrived file. A killed run leaves a tree in which some
 * files are linked and others are not, as an interrupted run does in any case.
 */
import { setImmediate as breathe } from 'node:timers/promises';
import { digestFile } from '../os/content.ts';
import { appendText, statusExact } from '../os/files.ts';
import type { Arrival } from './arrival.ts';
import { makeWork } from './arrival-work.ts';
import { takeStat, type Xattr } from './fake-super.ts';
import { openIndex } from './file-index.ts';
import { formatTime } from './file-time.ts';
import { copyFolderTimes } from './folder-times.ts';
import { type MovedPair, type MovedTable, PLAIN, type WantedFile } from './index-moved.ts';
import { inodesIn, type NamedInode } from './inode-names.ts';
import { isFatal } from './link-limit.ts';
import { attributesDigest } from './manifest.ts';
import { replaceNames } from './replace-names.ts';
import { canShareExtents, type SharedExtents, shareExtents } from './shared-extents.ts';
import { type ClientStore, failureText, recordQuietly } from './store.ts';
import { inBatches, readAhead, readXattrsOfEach } from './stored-tree.ts';
import { joinPath } from './tree-path.ts';

/** The files of a run that were linked to older ones. */
export interface MovedFiles {
  /** A group of hard links counts once. */
  files: number;
  /** The bytes of the client's plain files among them. */
  bytes: number;
  /** Files that are not linked, but share their blocks with an older one (shared-extents.ts), and their bytes. */
  shared: SharedExtents;
}

/** A search for moved files in one arriving tree. */
interface Search {
  client: ClientStore;
  arrival: Arrival;
  table: MovedTable;
  signal: AbortSignal;
}

/**
 * Links the files of an arriving tree that have another path in an older snapshot. The client's lock must be held, and
 * rsync must have ended. A failure that leaves the tree as good as before is only written to the journal.
 * @returns the number of linked files, and their bytes
 * @throws Fault when the times of folders could not be kept; the signal's reason. Then the tree must not be committed.
 */
export async function linkMoved(
  client: ClientStore,
  arrival: Arrival,
  signal: AbortSignal,
): Promise<MovedFiles> {
  const moved: MovedFiles = { files: 0, bytes: 0, shared: { files: 0, bytes: 0 } };
  const state = { areTimesKept: true };
  try {
    await using held = new AsyncDisposableStack();
    const index = await openIndex(held, client, signal);
    const search = { client, arrival, table: index.movedTable(), signal };
    if (await findEqual(search)) await linkPairs(search, moved, state);
    if (canShareExtents(arrival.folder)) {
      const { database } = search.table;
      const oldPath = (inode: bigint) => search.table.oldPath(inode);
      const place = { folder: client.folder, tree: arrival.tree, work: makeWork(arrival.folder) };
      moved.shared = await shareExtents({ database, oldPath, ...place, signal }, freshFiles(search));
    }
  } catch (error) {
    signal.throwIfAborted();
    if (!state.areTimesKept) throw error;
    recordQuietly(client, 'not-linked', { snapshot: arrival.name, reason: failureText(error) });
  }
  return moved;
}

/** Fills the table with pairs of equal files. @returns whether there are any */
async function findEqual(search: Search): Promise<boolean> {
  const { client, arrival, table, signal } = search;
  for await (const batch of freshFiles(search)) table.add(batch);
  if (!table.findAlike()) return false;
  for await (const batch of inBatches(inodesOfArrival(search)))
    table.dropPresent(batch.filter(isInTree).map(each => each.inode));
  if (!table.keepAlike('time')) return false;
  await readAttributes(search, 'arrived');
  await readAttributes(search, 'older');
  if (!table.keepAlike('attributes')) return false;
  for (const files of table.files('arrived'))
    table.set('arrived', 'digest', await digestsOf(arrival.tree, files, signal));
  for (const files of table.olderToRead())
    table.set('older', 'digest', await digestsOf(client.folder, files, signal));
  return table.makePairs() > 0;
}

/** Lists the files of the arriving tree that are in no snapshot. */
async function* freshFiles(search: Search): AsyncGenerator<NamedInode[]> {
  for await (const batch of inBatches(inodesOfArrival(search, true)))
    yield batch.filter(isInTree).map(ofTree);
}

/**
 * Lists the arriving tree (tree 0) together with the interrupted ones, whose files it can share.
 * @param isAlone only files that are in no snapshot
 */
function inodesOfArrival({ client, arrival, signal }: Search, isAlone = false): AsyncGenerator<NamedInode> {
  const trees = [arrival.name, ...arrival.leftOver].map(each => `${client.folder}/arriving/${each}/tree`);
  return inodesIn(trees, { isAlone, signal, tried: `read "${arrival.tree}"` });
}

const isInTree = ({ names }: NamedInode): boolean => names.some(each => each.tree === 0);

const ofTree = (found: NamedInode): NamedInode => ({
  ...found,
  names: found.names.filter(each => each.tree === 0),
});

/** Reads all attributes of files, and puts them into one text each. Leaves out files that cannot be read or have changed. */
async function readAttributes(
  { client, arrival, table, signal }: Search,
  side: 'arrived' | 'older',
): Promise<void> {
  const top = side === 'arrived' ? arrival.tree : client.folder;
  const read = async (files: readonly WantedFile[]): Promise<[bigint, string][]> => {
    const known = files.flatMap(each => {
      const rights = rightsOf(joinPath(top, each.path), each);
      return rights === undefined ? [] : [{ ...each, rights }];
    });
    const xattrs = await readXattrsOfEach(top, known, signal);
    return known.flatMap(({ inode, rights }, at): [bigint, string][] => {
      const own = xattrs[at];
      return own === undefined ? [] : [[inode, attributesText(own, rights)]];
    });
  };
  for await (const { result } of readAhead(table.files(side), read)) table.set(side, 'attributes', result);
}

function attributesText(xattrs: readonly Xattr[], rights: string): string {
  const { stat } = takeStat(xattrs, false);
  const type = stat === undefined || stat.type === 'file' ? PLAIN : stat.type;
  return `${type} ${rights} ${attributesDigest(xattrs)}`;
}

/** The stored file's own mode and owner; undefined if it is not the file that the table has. */
function rightsOf(path: Buffer, wanted: WantedFile): string | undefined {
  try {
    const { ino, size, mtimeNs, mode, uid, gid } = statusExact(path);
    const isSame =
      BigInt.asIntN(64, ino) === wanted.inode &&
      Number(size) === wanted.size &&
      formatTime(mtimeNs) === wanted.mtime;
    return isSame ? `${mode.toString(8)}:${uid}:${gid}` : undefined;
  } catch {
    return undefined; // removed meanwhile
  }
}

/** Reads the digests of files. Leaves out files that cannot be read or have changed. */
async function digestsOf(
  top: string,
  files: readonly WantedFile[],
  signal: AbortSignal,
): Promise<[bigint, Uint8Array][]> {
  const digests: [bigint, Uint8Array][] = [];
  for (const { path, inode, size } of files) {
    try {
      const found = await digestFile(joinPath(top, path), signal);
      if (BigInt.asIntN(64, found.inode) === inode && found.size === size)
        digests.push([inode, found.sha256]);
    } catch {
      signal.throwIfAborted();
    }
  }
  return digests;
}

const NUL = Buffer.from([0]);
const TREE = Buffer.from('tree');
const WRITE_BYTES = 64 * 1024;

/**
 * Writes the folders above the arrived files of all pairs into a file, each with a NUL behind it. The paths are below
 * the run's folder: rsync would copy the files in `.`, but not those in `tree`.
 */
function writeFolders(list: string, table: MovedTable): void {
  let parts: Buffer[] = [];
  let bytes = 0;
  const flush = (): void => {
    appendText(list, Buffer.concat(parts), { mode: 0o600 });
    [parts, bytes] = [[], 0];
  };
  for (const path of table.folders()) {
    parts.push(path.length === 0 ? TREE : joinPath('tree', path), NUL);
    bytes += path.length;
    if (bytes > WRITE_BYTES) flush();
  }
  flush();
}

/** Links the files of all pairs, and keeps the times of the folders above them. */
async function linkPairs(search: Search, moved: MovedFiles, state: { areTimesKept: boolean }): Promise<void> {
  const { arrival, table, signal } = search;
  const work = makeWork(arrival.folder);
  const [list, times] = [`${work}/folders`, `${work}/times`];
  writeFolders(list, table);
  await copyFolderTimes({ from: arrival.folder, to: times, list }, signal);
  Object.assign(arrival, { samePaths: [], hasMoved: true });
  state.areTimesKept = false;
  try {
    for (const pairs of table.pairs()) {
      for (const pair of pairs) {
        if (!linkPair(search, work, pair)) continue;
        moved.files += 1;
        moved.bytes += Number(pair.bytes);
      }
      await breathe();
      signal.throwIfAborted();
    }
  } finally {
    await copyFolderTimes({ from: times, to: arrival.folder, list }, signal);
    state.areTimesKept = true;
  }
}

/** @returns whether all names of the arrived file are now names of the old one; otherwise none is */
function linkPair(
  { client, arrival, table }: Search,
  work: string,
  { fresh, old, oldPath }: MovedPair,
): boolean {
  const names = table.names(fresh).map(each => joinPath(arrival.tree, each));
  try {
    return replaceNames(names, joinPath(client.folder, oldPath), { inode: old, work });
  } catch (error) {
    if (isFatal(error)) throw error;
    return false; // for example, the old file has as many names as the file system allows
  }
}
