/** Takes new snapshots into a client's index, and drops those that are gone. */
import { type Database, inTransaction, type Statement } from '../os/database.ts';
import { exists, statusExact } from '../os/files.ts';
import { dropGarbage } from '../os/memory.ts';
import { timeOfFind } from './file-time.ts';
import { BLOCK_BYTES, searchTreeTexts, splitText, type TreeSearch } from './find-records.ts';
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

/** The sums of find's list. Its rows are in `fresh` and `fresh_folder`. */
interface Listed {
  /** The entries below the tree, folders too. */
  entries: number;
  folders: number;
  folderBytes: number;
  isWhole: boolean;
}

/**
 * `fresh` has the entries of a tree, each with the number of its folder; 0 is the tree itself. `other` has those that the newest
 * snapshot does not have in this form. It may be empty, however large the tree is.
 */
const FRESH_TABLES = `
  CREATE TEMP TABLE IF NOT EXISTS fresh
    (id INTEGER PRIMARY KEY, folder INTEGER, name BLOB, ino INTEGER, bytes INTEGER, size INTEGER, mtime TEXT);
  CREATE TEMP TABLE IF NOT EXISTS fresh_folder (number INTEGER PRIMARY KEY, depth INTEGER, name BLOB);
  CREATE TEMP TABLE IF NOT EXISTS folder_id (number INTEGER PRIMARY KEY, id INTEGER);
  CREATE TEMP TABLE IF NOT EXISTS other (fresh INTEGER PRIMARY KEY);
  CREATE TEMP TABLE IF NOT EXISTS seen (name INTEGER, ino INTEGER, PRIMARY KEY (name, ino)) WITHOUT ROWID;`;
const CLEAR_FRESH =
  'DELETE FROM fresh; DELETE FROM fresh_folder; DELETE FROM folder_id; DELETE FROM other; DELETE FROM seen;';

/** The folders and the names of the entries of `fresh`, which comes before it in the statement. */
const WITH_NAMES = `CROSS JOIN folder_id ON folder_id.number = fresh.folder
  CROSS JOIN name ON name.parent = folder_id.id AND name.name = fresh.name`;

/** Lists a tree into temporary tables. */
async function listFresh(
  { client, database }: OpenIndex,
  name: string,
  signal: AbortSignal | undefined,
): Promise<Listed> {
  database.exec(`${FRESH_TABLES} ${CLEAR_FRESH} BEGIN`);
  const listed: Listed = { entries: 0, folders: 0, folderBytes: 0, isWhole: false };
  try {
    const rows = new RowWriter(database, 'fresh', ['folder', 'name', 'ino', 'bytes', 'size', 'mtime']);
    const folder = database.prepare('INSERT INTO fresh_folder VALUES (?, ?, ?)');
    /** The numbers of the folders on the way to the entry, by depth. */
    const numbers: number[] = [];
    listed.isWhole = await walk(treeOf(client, name), signal, found => {
      const above = numbers[found.depth - 1] ?? 0;
      if (found.depth > 0) listed.entries += 1;
      if (!found.isFolder) {
        rows.add(above, found.name, found.inode, found.bytes, found.size, found.mtime);
        return;
      }
      numbers[found.depth] = listed.folders;
      listed.folders += 1;
      listed.folderBytes += found.bytes;
      if (found.depth === 0) return;
      folder.run(listed.folders - 1, found.depth, found.name);
      rows.add(above, found.name, 0, 0, 0, '');
    });
    rows.flush();
    database.exec('COMMIT');
    return listed;
  } catch (error) {
    if (database.isTransaction) database.exec('ROLLBACK');
    throw error;
  }
}

/** A value of a row. */
type Value = number | bigint | string | Uint8Array;

/** Inserts rows into a table, many with each statement: a statement for each row takes twice as long. */
class RowWriter {
  static readonly #ROWS = 100;
  readonly #many: Statement;
  readonly #one: Statement;
  readonly #columns: number;
  #values: Value[] = [];

  constructor(database: Database, table: string, columns: readonly string[]) {
    const into = `${table} (${columns.join()})`;
    const row = `(${columns.map(() => '?').join()})`;
    this.#columns = columns.length;
    this.#one = database.prepare(`INSERT INTO ${into} VALUES ${row}`);
    this.#many = database.prepare(`INSERT INTO ${into} VALUES ${Array(RowWriter.#ROWS).fill(row).join()}`);
  }

  add(...row: Value[]): void {
    this.#values.push(...row);
    if (this.#values.length < RowWriter.#ROWS * this.#columns) return;
    this.#many.run(...this.#values);
    this.#values = [];
  }

  /** Inserts the rest. */
  flush(): void {
    for (let at = 0; at < this.#values.length; at += this.#columns)
      this.#one.run(...this.#values.slice(at, at + this.#columns));
    this.#values = [];
  }
}

/** Adds the listed tree to the index, under a new snapshot. It writes only the differences from the newest one. */
function addFresh(
  index: OpenIndex,
  { name, tree }: { name: string; tree: TreeIdentity },
  { entries, folders, folderBytes, isWhole }: Listed,
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
  const others = findOthers(index);
  const last = database.prepare('SELECT count(*) AS count FROM file WHERE last IS NULL').get() as {
    count: number;
  };
  // Each other entry is a row of the newest snapshot. If the numbers agree, the tree has all of its rows.
  if (entries - others !== last.count) endGone(database, newest.id);
  database.exec(`
    INSERT OR IGNORE INTO name (parent, name)
      SELECT folder_id.id, fresh.name FROM other CROSS JOIN fresh ON fresh.id = other.fresh
        CROSS JOIN folder_id ON folder_id.number = fresh.folder;
    INSERT INTO inode (ino, bytes, size, mtime)
      SELECT ino, bytes, size, mtime FROM other CROSS JOIN fresh ON fresh.id = other.fresh WHERE ino <> 0
      ON CONFLICT DO UPDATE SET bytes = excluded.bytes, size = excluded.size, mtime = excluded.mtime, digest = NULL
        WHERE size <> excluded.size OR mtime <> excluded.mtime;`);
  database
    .prepare(
      `INSERT INTO file SELECT name.id, fresh.ino, ?, NULL
         FROM other CROSS JOIN fresh ON fresh.id = other.fresh ${WITH_NAMES}`,
    )
    .run(Number(added.lastInsertRowid));
  database.exec(CLEAR_FRESH);
}

/**
 * Finds the entries that the newest snapshot lacks, or has with another size or time: someone has changed the file, or its number is
 * of another file by now.
 * @returns how many there are
 */
function findOthers(index: OpenIndex): number {
  nameFolders(index);
  const found = index.database
    .prepare(
      `INSERT INTO other SELECT fresh.id FROM fresh CROSS JOIN folder_id ON folder_id.number = fresh.folder
         LEFT JOIN name ON name.parent = folder_id.id AND name.name = fresh.name
         LEFT JOIN file ON file.name = name.id AND file.ino = fresh.ino AND file.last IS NULL
         LEFT JOIN inode ON inode.ino = fresh.ino
         WHERE file.name IS NULL
           OR (fresh.ino <> 0 AND (inode.size IS NOT fresh.size OR inode.mtime IS NOT fresh.mtime))`,
    )
    .run();
  return Number(found.changes);
}

/** Ends the rows of files that the listed tree does not have. @param newest the number of the newest snapshot */
function endGone(database: Database, newest: number | null): void {
  database.exec(`INSERT INTO seen SELECT name.id, fresh.ino FROM fresh ${WITH_NAMES}
    WHERE fresh.id NOT IN (SELECT fresh FROM other)`);
  database
    .prepare(
      `UPDATE file SET last = ? WHERE last IS NULL
         AND NOT EXISTS (SELECT 1 FROM seen WHERE seen.name = file.name AND seen.ino = file.ino)`,
    )
    .run(newest);
}

/** Rows between two collections of garbage. */
const ROWS_AT_ONCE = 1000;

/** Finds the id of each listed folder, and adds the names that are new; a folder comes before its entries. */
function nameFolders({ database, names }: OpenIndex): void {
  const note = database.prepare('INSERT INTO folder_id VALUES (?, ?)');
  const listed = database.prepare('SELECT number, depth, name FROM fresh_folder ORDER BY number');
  /** The ids of the folders on the way to the row, by depth. */
  const ids = [0];
  note.run(0, 0);
  let count = 0;
  for (const row of listed.iterate() as Iterable<{ number: number; depth: number; name: Uint8Array }>) {
    const id = names().add(ids[row.depth - 1] ?? 0, row.name);
    ids[row.depth] = id;
    note.run(row.number, id);
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

const FIELDS = ['%y', '%i', '%b', '%s', '%T@', '%d'];

/** Lists a tree: the tree itself first, each folder before its entries. @returns whether all of it could be read */
async function walk(
  tree: string,
  signal: AbortSignal | undefined,
  take: (found: Found) => void,
): Promise<boolean> {
  const tried = `list "${tree}"`;
  const search: TreeSearch = { fields: FIELDS, name: '%f', allowsUnreadable: true, tried, signal };
  return await searchTreeTexts(tree, search, records => {
    for (const record of records) {
      const [type, inode = '0', blocks, size, mtime = '', depth, name = ''] = splitText(
        record,
        FIELDS.length,
      );
      take({
        isFolder: type === 'd',
        depth: Number(depth),
        name: Buffer.from(name, 'latin1'),
        inode: BigInt.asIntN(64, BigInt(inode)),
        bytes: Number(blocks) * BLOCK_BYTES,
        size: Number(size),
        mtime: timeOfFind(mtime),
      });
    }
  });
}
