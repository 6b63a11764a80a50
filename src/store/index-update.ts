/** Takes new snapshots into a client's index, and drops those that are gone. */
import { type Database, inTransaction } from '../os/database.ts';
import { exists, statusExact } from '../os/files.ts';
import { dropGarbage } from '../os/memory.ts';
import { formatTime, parseTime } from './file-time.ts';
import { BLOCK_BYTES, searchTree, type TreeSearch } from './find-records.ts';
import type { Names } from './index-names.ts';
import type { ClientStore } from './store.ts';

/** Values that distinguish the tree/ of a snapshot from all others. */
interface TreeIdentity {
  inode: bigint;
  /** When the inode was made, in nanoseconds; its last change if the file system does not record that. */
  madeNs: bigint;
}

/** @returns undefined if the snapshot does not exist */
export function identifyTree(client: ClientStore, name: string): TreeIdentity | undefined {
  const tree = treeOf(client, name);
  if (!exists(tree)) return undefined;
  const { ino, birthtimeNs } = statusExact(tree);
  return { inode: BigInt.asIntN(64, ino), madeNs: birthtimeNs };
}

/** Whether two identities are of the same tree. */
export function isSameTree(one: TreeIdentity | undefined, other: TreeIdentity): boolean {
  return one?.inode === other.inode && one.madeNs === other.madeNs;
}

function treeOf(client: ClientStore, name: string): string {
  return `${client.folder}/snapshots/${name}/tree`;
}

/** A snapshot that an index has. */
interface IndexedSnapshot {
  /** Its number in the table `file`. */
  id: number;
  name: string;
  tree: TreeIdentity;
  /** Whether all of the tree could be read. */
  isWhole: boolean;
}

/** The snapshots that an index has, in the order in which it took them in. */
export function indexedSnapshots(database: Database): IndexedSnapshot[] {
  const statement = database.prepare('SELECT id, name, tree, made, whole FROM snapshot ORDER BY id');
  statement.setReadBigInts(true);
  type Row = { id: bigint; name: string; tree: bigint; made: bigint; whole: bigint };
  return (statement.all() as Row[]).map(each => ({
    id: Number(each.id),
    name: each.name,
    tree: { inode: each.tree, madeNs: each.made },
    isWhole: each.whole === 1n,
  }));
}

/** An index that is open for writing. */
interface OpenIndex {
  client: ClientStore;
  database: Database;
  names: () => Names;
}

/**
 * Takes a snapshot into the index, whole or not at all.
 * @throws Fault when its tree cannot be listed; the signal's reason; SQLite's error
 */
export async function takeSnapshot(
  index: OpenIndex,
  { name, tree }: { name: string; tree: TreeIdentity },
  signal: AbortSignal | undefined,
): Promise<void> {
  const listed = await listFresh(index, name, signal);
  // The tree may have gone to trash/ while find listed it, and a part of it may be deleted.
  if (!isSameTree(identifyTree(index.client, name), tree)) return;
  inTransaction(index.database, () => addFresh(index, { name, tree }, listed));
}

/** The sums of find's list. Its rows are in `fresh`. */
interface Listed {
  folders: number;
  folderBytes: number;
  isWhole: boolean;
}

/** Lists a tree into the temporary table `fresh`. */
async function listFresh(
  { client, database }: OpenIndex,
  name: string,
  signal: AbortSignal | undefined,
): Promise<Listed> {
  database.exec(`
    CREATE TEMP TABLE IF NOT EXISTS fresh
      (depth INTEGER, name BLOB, ino INTEGER, bytes INTEGER, size INTEGER, mtime TEXT);
    CREATE TEMP TABLE IF NOT EXISTS seen (name INTEGER, ino INTEGER, PRIMARY KEY (name, ino)) WITHOUT ROWID;
    DELETE FROM fresh; DELETE FROM seen; BEGIN`);
  const listed: Listed = { folders: 0, folderBytes: 0, isWhole: false };
  try {
    const insert = database.prepare('INSERT INTO fresh VALUES (?, ?, ?, ?, ?, ?)');
    listed.isWhole = await walk(treeOf(client, name), signal, found => {
      if (found.isFolder) {
        listed.folders += 1;
        listed.folderBytes += found.bytes;
        if (found.depth > 0) insert.run(found.depth, found.name, 0, 0, 0, '');
      } else insert.run(found.depth, found.name, found.inode, found.bytes, found.size, found.mtime);
    });
    database.exec('COMMIT');
    return listed;
  } catch (error) {
    if (database.isTransaction) database.exec('ROLLBACK');
    throw error;
  }
}

/** Moves the rows of `fresh` into the index, under a new snapshot. */
function addFresh(
  index: OpenIndex,
  { name, tree }: { name: string; tree: TreeIdentity },
  { folders, folderBytes, isWhole }: Listed,
): void {
  const { database } = index;
  // Another process may have taken it in meanwhile.
  if (database.prepare('SELECT 1 FROM snapshot WHERE name = ?').get(name)) return;
  const newest = database.prepare('SELECT max(id) AS id FROM snapshot').get() as { id: number | null };
  const added = database
    .prepare(
      'INSERT INTO snapshot (name, tree, made, folders, folder_bytes, whole) VALUES (?, ?, ?, ?, ?, ?)',
    )
    .run(name, tree.inode, tree.madeNs, folders, folderBytes, Number(isWhole));
  nameFresh(index);
  database.exec(`
    INSERT OR IGNORE INTO inode (ino, bytes, size, mtime)
      SELECT ino, bytes, size, mtime FROM fresh WHERE ino <> 0;`);
  database
    .prepare(
      `UPDATE file SET last = ? WHERE last IS NULL
         AND NOT EXISTS (SELECT 1 FROM seen WHERE seen.name = file.name AND seen.ino = file.ino)`,
    )
    .run(newest.id);
  database
    .prepare(
      `INSERT INTO file SELECT name, ino, ?, NULL FROM seen WHERE NOT EXISTS
         (SELECT 1 FROM file WHERE file.name = seen.name AND file.ino = seen.ino AND last IS NULL)`,
    )
    .run(Number(added.lastInsertRowid));
  database.exec('DELETE FROM fresh; DELETE FROM seen;');
}

/** Rows between two collections of garbage. */
const ROWS_AT_ONCE = 1000;

/** Gives each row of `fresh` the id of its name; a folder comes before its entries. */
function nameFresh({ database, names }: OpenIndex): void {
  const note = database.prepare('INSERT OR IGNORE INTO seen VALUES (?, ?)');
  const fresh = database.prepare('SELECT depth, name, ino FROM fresh ORDER BY rowid');
  fresh.setReadBigInts(true);
  /** The ids of the folders on the way to the row, by depth. */
  const folders = [0];
  let count = 0;
  for (const row of fresh.iterate() as Iterable<{ depth: bigint; name: Uint8Array; ino: bigint }>) {
    const depth = Number(row.depth);
    const id = names().add(folders[depth - 1] ?? 0, row.name);
    folders[depth] = id;
    note.run(id, row.ino);
    count += 1;
    if (count % ROWS_AT_ONCE === 0) dropGarbage();
  }
}

/** Drops a snapshot, and the rows that no other snapshot needs. One that the index does not have is no error. */
export function dropSnapshot(database: Database, name: string): void {
  inTransaction(database, () => {
    const all = indexedSnapshots(database);
    const at = all.findIndex(each => each.name === name);
    const id = all[at]?.id;
    if (id === undefined) return;
    // The ids between its neighbors' are of snapshots that are gone.
    const after = all[at - 1]?.id ?? 0;
    const before = all[at + 1]?.id ?? null;
    database.exec(`
      CREATE TEMP TABLE IF NOT EXISTS gone (name INTEGER, ino INTEGER, first INTEGER);
      DELETE FROM gone;`);
    const isEnding = before === null ? '(last >= $id OR last IS NULL)' : 'last >= $id AND last < $before';
    database
      .prepare(
        `INSERT INTO gone SELECT name, ino, first FROM file
           WHERE first > $after AND first <= $id AND ${isEnding}`,
      )
      .run({ id, after, ...(before === null ? {} : { before }) });
    database.exec(`
      DELETE FROM file WHERE (name, ino, first) IN (SELECT name, ino, first FROM gone);`);
    database.prepare('DELETE FROM snapshot WHERE id = ?').run(id);
    database.exec(`
      DELETE FROM inode WHERE ino IN (SELECT ino FROM gone)
        AND NOT EXISTS (SELECT 1 FROM file WHERE file.ino = inode.ino);
      DELETE FROM name WHERE id IN (SELECT name FROM gone)
        AND NOT EXISTS (SELECT 1 FROM file WHERE file.name = name.id);
      DELETE FROM gone;`);
  });
}

/** An entry of a tree. */
interface Found {
  isFolder: boolean;
  /** How far below the tree; 0: the tree itself. */
  depth: number;
  /** In its folder. */
  name: Buffer;
  /** As SQLite's signed 64 bits. */
  inode: bigint;
  /** On the disk. */
  bytes: number;
  size: number;
  /** SECONDS.NANOSECONDS */
  mtime: string;
}

/** Lists a tree: the tree itself first, each folder before its entries. @returns whether all of it could be read */
async function walk(
  tree: string,
  signal: AbortSignal | undefined,
  take: (found: Found) => void,
): Promise<boolean> {
  const tried = `list "${tree}"`;
  const fields = ['%y', '%i', '%b', '%s', '%T@', '%d'];
  const search: TreeSearch = { fields, name: '%f', allowsUnreadable: true, tried, signal };
  return await searchTree(tree, search, (values, name) => {
    const [type, inode = '0', blocks, size, mtime = '', depth] = values;
    take({
      isFolder: type === 'd',
      depth: Number(depth),
      name,
      inode: BigInt.asIntN(64, BigInt(inode)),
      bytes: Number(blocks) * BLOCK_BYTES,
      size: Number(size),
      mtime: formatTime(parseTime(mtime)),
    });
  });
}
