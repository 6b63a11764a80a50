/**
 * A client's index, clients/NAME/index.sqlite: which file is in which of its snapshots, and what only these hold.
 *
 * A cache, and nothing else: what is under snapshots/ is the truth, and each opening brings the index up to date with it;
 * one that is lost, damaged or of another version is made anew. Hard links never cross clients, so each has its own.
 *
 * A snapshot gets a number as it comes (`id`). A file (a path and an inode) that is in every snapshot from `first` to
 * `last` is one row, whatever their number; while it is in the newest, `last` is NULL. So an unchanged run writes next to
 * nothing, and so does a removal: the numbers of snapshots that are gone are stepped over, and rows that have no other are
 * deleted, and the file gets shorter. A path is a row for each name of it that is new (index-names.ts). Snapshots may come and go in
 * any order. A file that went away and came back (a run links against the newest
 * and the newest full one) has two rows.
 */
import { Fault } from '../fault.ts';
import { ownAccount } from '../os/account.ts';
import {
  cannotWrite,
  copyCache,
  type Database,
  databaseFault,
  inTransaction,
  isDamage,
  openCache,
  removeCache,
  type Shape,
  type Statement,
} from '../os/database.ts';
import { exists, makeUniqueFolder, readdir, removeAll, stat, statusExact } from '../os/files.ts';
import { dropGarbage } from '../os/memory.ts';
import { standard } from '../os/process.ts';
import { takeRecords } from '../os/records.ts';
import type { DisposableHolder } from '../os/runfolder.ts';
import { temporaryFolder } from '../os/scratch.ts';
import { escapeText } from '../wire/text.ts';
import { NAME_TABLE, Names, WITH_PATHS } from './index-names.ts';
import { type ClientStore, snapshotNames } from './store.ts';
import { TIME_LIMITS } from './time-limits.ts';

const SHAPE: Shape = {
  application: 0x6462_6978, // "dbix"
  version: 4,
  tables: `
    CREATE TABLE snapshot (
      id INTEGER PRIMARY KEY AUTOINCREMENT, -- none is given twice
      name TEXT NOT NULL UNIQUE,
      tree INTEGER NOT NULL,          -- the inode of tree/: another one is another snapshot of the same name
      made INTEGER NOT NULL,          -- and when that was made, in ns: in a copy of the store a tree/ can get the number that it had
      folders INTEGER NOT NULL,       -- each a folder of its own
      folder_bytes INTEGER NOT NULL,
      whole INTEGER NOT NULL          -- 0: something in it could not be read, and it is looked through again
    );
${NAME_TABLE}
    CREATE TABLE inode (
      ino INTEGER PRIMARY KEY,
      bytes INTEGER NOT NULL,         -- on the disk
      size INTEGER NOT NULL,
      mtime TEXT NOT NULL,            -- SECONDS.NANOSECONDS
      digest BLOB                     -- SHA-256 of its content, once it was read
    );
    CREATE TABLE file (
      name INTEGER NOT NULL,
      ino INTEGER NOT NULL,           -- 0: a folder
      first INTEGER NOT NULL,
      last INTEGER,
      PRIMARY KEY (name, ino, first)
    ) WITHOUT ROWID;
    CREATE INDEX file_ino ON file (ino, first, last);
    CREATE INDEX file_first ON file (first);
    CREATE INDEX file_last ON file (last);
  `,
};

/** An inode's number is kept in SQLite's signed 64 bits. */
const SMALLEST = -(2n ** 63n);

/** What tells the tree/ of a snapshot from every other one. */
interface Identity {
  inode: bigint;
  /** Nanoseconds; where the file system does not say, when its inode was changed. */
  madeNs: bigint;
}

/** What is on the disk. */
export interface Held {
  bytes: number;
  inodes: number;
}

/** A file as it is in some snapshots: the same path, the same inode. */
export interface Version {
  /** Below tree/, without a slash in front. */
  path: Buffer;
  isFolder: boolean;
  /** Of the stored file; 0 for a folder. */
  size: number;
  /** SECONDS.NANOSECONDS; of a folder the index has none. */
  mtime: string | undefined;
  /** The snapshots that hold it, oldest first. */
  snapshots: string[];
}

/** A file of one snapshot. */
export interface IndexedFile {
  path: Buffer;
  inode: bigint;
  size: number;
  mtime: string;
  digest: Uint8Array | undefined;
}

/**
 * Opens a client's index, up to date with its snapshots. Where it cannot be brought up to date in the store (a full disk, a
 * read-only file system, or root, which would leave files of its own there), a temporary one is made for this use of it.
 * @param signal ends the look through new snapshots; what was taken in stays
 * @throws Fault when the temporary one cannot be written either
 */
export async function openIndex(
  held: DisposableHolder,
  client: ClientStore,
  signal?: AbortSignal,
): Promise<StoreIndex> {
  const path = `${client.folder}/index.sqlite`;
  const { uid } = stat(client.folder);
  const isOwner = ownAccount().uid === uid;
  const open = (): StoreIndex => new StoreIndex(client, openCache(path, SHAPE, isOwner));
  const attempt = async (): Promise<StoreIndex> => {
    const index = open();
    try {
      if (isOwner) await index.update(signal);
      else index.requireCurrent();
      return index;
    } catch (error) {
      index.close();
      throw error;
    }
  };
  let index: StoreIndex;
  try {
    index = await attempt();
  } catch (error) {
    if (!isOwner || cannotWrite(error)) index = await openTemporary(held, client, signal);
    else if (!isDamage(error)) throw databaseFault(error, `use the index of "${client.name}"`);
    else {
      removeCache(path);
      index = await attempt();
    }
  }
  held.defer(() => index.close());
  return index;
}

/** An index beside the store, removed when `held` is released. It begins with what the store's own one knows. */
async function openTemporary(
  held: DisposableHolder,
  client: ClientStore,
  signal: AbortSignal | undefined,
): Promise<StoreIndex> {
  const folder = makeUniqueFolder(`${temporaryFolder()}/dialback-index-`);
  held.defer(() => removeAll(folder));
  const path = `${folder}/index.sqlite`;
  const own = `${client.folder}/index.sqlite`;
  if (exists(own)) await copyCache(own, path);
  try {
    const index = new StoreIndex(client, openCache(path, SHAPE, true));
    await index.update(signal);
    return index;
  } catch (error) {
    signal?.throwIfAborted();
    throw databaseFault(error, `make a temporary index of "${client.name}" in "${temporaryFolder()}"`);
  }
}

/** A client's index as it is, to be closed; undefined where it is not up to date, or cannot be read. */
export function peekIndex(client: ClientStore): StoreIndex | undefined {
  let index: StoreIndex | undefined;
  try {
    index = new StoreIndex(client, openCache(`${client.folder}/index.sqlite`, SHAPE, false));
    index.requireCurrent();
    return index;
  } catch {
    index?.close();
    return undefined;
  }
}

/** Names that are gone through before what they took is given back. */
const ROWS_AT_ONCE = 1000;

/** An open index. */
export class StoreIndex {
  readonly #client: ClientStore;
  readonly #database: Database;
  /** Made at its first use: a damaged database says so there. */
  #madeNames: Names | undefined;
  readonly #statements = new Map<string, Statement>();
  /** Snapshots that were looked through again, since something in them could not be read: once is enough. */
  readonly #tried = new Set<string>();
  /** Whether rows have been deleted. */
  #hasShrunk = false;

  constructor(client: ClientStore, database: Database) {
    this.#client = client;
    this.#database = database;
    // Inode numbers are 64 bits wide.
    database.exec('PRAGMA temp_store = FILE; PRAGMA cache_size = -1024; PRAGMA temp.cache_size = -512;');
  }

  /** Ends the use of it. */
  close(): void {
    if (!this.#database.isOpen) return;
    if (this.#hasShrunk) giveBack(this.#database);
    this.#database.close();
  }

  get #names(): Names {
    this.#madeNames ??= new Names(this.#database);
    return this.#madeNames;
  }

  /** For what is asked again and again: V8 keeps a statement for long after its last use. */
  #prepared(sql: string): Statement {
    const statement = this.#statements.get(sql) ?? this.#database.prepare(sql);
    this.#statements.set(sql, statement);
    return statement;
  }

  #rows<T>(sql: string, ...values: (string | number | bigint | Uint8Array | null)[]): T[] {
    return this.#database.prepare(sql).all(...values) as T[];
  }

  #snapshots(): { id: number; name: string; tree: Identity; isWhole: boolean }[] {
    const statement = this.#database.prepare('SELECT id, name, tree, made, whole FROM snapshot ORDER BY id');
    statement.setReadBigInts(true);
    type Row = { id: bigint; name: string; tree: bigint; made: bigint; whole: bigint };
    return (statement.all() as Row[]).map(each => ({
      id: Number(each.id),
      name: each.name,
      tree: { inode: each.tree, madeNs: each.made },
      isWhole: each.whole === 1n,
    }));
  }

  /** @throws Fault where a snapshot has come or gone since: an index that is not ours is not changed */
  requireCurrent(): void {
    const there = snapshotNames(this.#client);
    const known = new Set(this.#snapshots().map(each => each.name));
    if (there.length === known.size && there.every(name => known.has(name))) return;
    throw new Fault({
      tried: `use the index of "${this.#client.name}"`,
      found: 'it is out of date, and root does not write into the store',
      next: 'run the same as the account that owns the store',
    });
  }

  /** Drops what has gone, takes in what has come; each snapshot whole or not at all. */
  async update(signal?: AbortSignal): Promise<void> {
    const there = snapshotNames(this.#client);
    const trees = new Map(there.map(name => [name, identify(this.#client, name)]));
    for (const { name, tree, isWhole } of this.#snapshots()) {
      const isTriedAgain = !isWhole && !this.#tried.has(name);
      if (!isSame(trees.get(name), tree) || isTriedAgain) this.forget(name);
      this.#tried.add(name);
    }
    const known = new Set(this.#snapshots().map(each => each.name));
    for (const name of there) {
      signal?.throwIfAborted();
      const tree = trees.get(name);
      if (!known.has(name) && tree !== undefined) await this.#take(name, tree, signal);
    }
  }

  async #take(name: string, tree: Identity, signal: AbortSignal | undefined): Promise<void> {
    const database = this.#database;
    database.exec(`
      CREATE TEMP TABLE IF NOT EXISTS fresh
        (depth INTEGER, name BLOB, ino INTEGER, bytes INTEGER, size INTEGER, mtime TEXT);
      CREATE TEMP TABLE IF NOT EXISTS seen (name INTEGER, ino INTEGER, PRIMARY KEY (name, ino)) WITHOUT ROWID;
      DELETE FROM fresh; DELETE FROM seen; BEGIN`);
    let folders = 0;
    let folderBytes = 0;
    let isWhole = false;
    try {
      const insert = database.prepare('INSERT INTO fresh VALUES (?, ?, ?, ?, ?, ?)');
      isWhole = await walk(`${this.#client.folder}/snapshots/${name}/tree`, signal, found => {
        if (found.isFolder) {
          folders += 1;
          folderBytes += found.bytes;
          if (found.depth > 0) insert.run(found.depth, found.name, 0, 0, 0, '');
        } else insert.run(found.depth, found.name, found.inode, found.bytes, found.size, found.mtime);
      });
      database.exec('COMMIT');
    } catch (error) {
      if (database.isTransaction) database.exec('ROLLBACK');
      throw error;
    }
    // The tree can have gone to trash/ while it was looked through, and half of it with it.
    if (!isSame(identify(this.#client, name), tree)) return;
    inTransaction(database, () => {
      if (database.prepare('SELECT 1 FROM snapshot WHERE name = ?').get(name)) return; // another process was faster
      const previous = this.#rows<{ id: number | null }>('SELECT max(id) AS id FROM snapshot')[0]?.id ?? null;
      const id = Number(
        database
          .prepare(
            'INSERT INTO snapshot (name, tree, made, folders, folder_bytes, whole) VALUES (?, ?, ?, ?, ?, ?)',
          )
          .run(name, tree.inode, tree.madeNs, folders, folderBytes, Number(isWhole)).lastInsertRowid,
      );
      this.#nameFresh();
      database.exec(`
        INSERT OR IGNORE INTO inode (ino, bytes, size, mtime)
          SELECT ino, bytes, size, mtime FROM fresh WHERE ino <> 0;`);
      database
        .prepare(
          `UPDATE file SET last = ? WHERE last IS NULL
             AND NOT EXISTS (SELECT 1 FROM seen WHERE seen.name = file.name AND seen.ino = file.ino)`,
        )
        .run(previous);
      database
        .prepare(
          `INSERT INTO file SELECT name, ino, ?, NULL FROM seen WHERE NOT EXISTS
             (SELECT 1 FROM file WHERE file.name = seen.name AND file.ino = seen.ino AND last IS NULL)`,
        )
        .run(id);
      database.exec('DELETE FROM fresh; DELETE FROM seen;');
    });
  }

  /** Gives each of what was found its name's id: a folder comes before what is in it. */
  #nameFresh(): void {
    const note = this.#database.prepare('INSERT OR IGNORE INTO seen VALUES (?, ?)');
    const fresh = this.#database.prepare('SELECT depth, name, ino FROM fresh ORDER BY rowid');
    fresh.setReadBigInts(true);
    /** By depth: the folder that is being looked through. */
    const folders = [0];
    let count = 0;
    for (const row of fresh.iterate() as Iterable<{ depth: bigint; name: Uint8Array; ino: bigint }>) {
      const depth = Number(row.depth);
      const id = this.#names.add(folders[depth - 1] ?? 0, row.name);
      folders[depth] = id;
      note.run(id, row.ino);
      count += 1;
      if (count % ROWS_AT_ONCE === 0) dropGarbage();
    }
  }

  /**
   * Drops a snapshot that is no longer under snapshots/. Before its files are deleted: their inode numbers may then be
   * given to new files.
   */
  forget(name: string): void {
    const database = this.#database;
    inTransaction(database, () => {
      const found = this.#snapshots().findIndex(each => each.name === name);
      const all = this.#snapshots().map(each => each.id);
      const id = all[found];
      if (id === undefined) return;
      // Between the one before it and the one after it there is no other.
      const after = all[found - 1] ?? 0;
      const before = all[found + 1] ?? null;
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
    this.#names.forget();
    this.#hasShrunk = true;
  }

  /** What all snapshots of this client hold together; shared files once. */
  held(): Held {
    const files = this.#rows<Held>('SELECT count(*) AS inodes, total(bytes) AS bytes FROM inode')[0];
    const folders = this.#rows<Held>(
      'SELECT total(folders) AS inodes, total(folder_bytes) AS bytes FROM snapshot',
    )[0];
    const own = this.#snapshots().map(({ name }) => recordsOf(this.#client, name));
    return sum([files ?? NOTHING, folders ?? NOTHING, ...own]);
  }

  /** Files whose time is the first or last that a file system can hold: the client's is probably beyond it. */
  atTimeLimit(): number {
    const places = TIME_LIMITS.map(() => '?').join();
    const [found] = this.#rows<{ count: number }>(
      `SELECT count(*) AS count FROM inode WHERE mtime IN (${places})`,
      ...TIME_LIMITS,
    );
    return found?.count ?? 0;
  }

  /**
   * What removing snapshots frees, in bytes and inodes, if they are removed in this order: a file is freed with the last
   * snapshot that has it.
   * @returns by snapshot; those that the index does not know are left out
   */
  freedBy(order: string[]): Map<string, Held> {
    const snapshots = this.#snapshots();
    const ids = snapshots.map(each => each.id);
    const place = new Map(order.map((name, at) => [name, at]));
    /** By place in `ids`: when it is removed; Infinity: never. */
    const removedAt = snapshots.map(({ name }) => place.get(name) ?? Number.POSITIVE_INFINITY);
    const freed = new Map<string, Held>();
    for (const { name } of snapshots) {
      if (!place.has(name)) continue;
      const [own] = this.#rows<Held>(
        'SELECT folders AS inodes, folder_bytes AS bytes FROM snapshot WHERE name = ?',
        name,
      );
      freed.set(name, sum([own ?? NOTHING, recordsOf(this.#client, name)]));
    }
    const groups = this.#database
      .prepare(
        `SELECT runs, count(*) AS inodes, total(bytes) AS bytes FROM (
           SELECT group_concat(DISTINCT first || '-' || ifnull(last, '')) AS runs, inode.bytes
           FROM file JOIN inode USING (ino) GROUP BY ino) GROUP BY runs`,
      )
      .iterate() as Iterable<{ runs: string } & Held>;
    for (const { runs, inodes, bytes } of groups) {
      const at = lastRemoval(runs, ids, removedAt);
      const name = Number.isFinite(at) ? order[at] : undefined;
      if (name !== undefined) freed.set(name, sum([freed.get(name) ?? NOTHING, { inodes, bytes }]));
    }
    return freed;
  }

  /** How many names each snapshot has, folders too: what deleting it takes its time for. */
  names(): Map<string, number> {
    const snapshots = this.#snapshots();
    const ids = snapshots.map(each => each.id);
    const counts = new Array<number>(ids.length).fill(0);
    const groups = this.#rows<{ runs: string; count: number }>(
      "SELECT first || '-' || ifnull(last, '') AS runs, count(*) AS count FROM file GROUP BY first, last",
    );
    for (const { runs, count } of groups)
      for (const at of membersOf(runs, ids)) counts[at] = (counts[at] ?? 0) + count;
    return new Map(snapshots.map(({ name }, at) => [name, counts[at] ?? 0]));
  }

  /**
   * Each version of each file whose path is wanted, in the order of paths, the oldest version first.
   * @param isWanted gets the path below tree/
   */
  *versions(isWanted: (path: Buffer) => boolean): Generator<Version> {
    const snapshots = this.#snapshots();
    const ids = snapshots.map(each => each.id);
    const files = this.#database.prepare(`
      SELECT ino = 0 AS isFolder, group_concat(first || '-' || ifnull(last, '')) AS runs, size, mtime
      FROM file LEFT JOIN inode USING (ino) WHERE name = ? GROUP BY ino ORDER BY min(first)`);
    const names = this.#database.prepare(`${WITH_PATHS} SELECT id, path FROM paths ORDER BY path`);
    let count = 0;
    for (const row of names.iterate() as Iterable<{ id: number; path: Uint8Array }>) {
      count += 1;
      if (count % ROWS_AT_ONCE === 0) dropGarbage();
      const path = Buffer.from(row.path);
      if (!isWanted(path)) continue;
      const rows = files.all(row.id) as {
        isFolder: number;
        runs: string;
        size: number | null;
        mtime: string | null;
      }[];
      for (const { isFolder, runs, size, mtime } of rows) {
        yield {
          path,
          isFolder: isFolder === 1,
          size: size ?? 0,
          mtime: mtime ?? undefined,
          snapshots: [...membersOf(runs, ids)].map(at => snapshots[at]?.name ?? '').sort(),
        };
      }
    }
  }

  /** The files of one snapshot, no folders, in the order of their paths' bytes. */
  *files(snapshot: string): Generator<IndexedFile> {
    const statement = this.#database.prepare(
      `${WITH_PATHS} SELECT path, file.ino AS inode, size, mtime, digest FROM snapshot AS wanted
         CROSS JOIN paths CROSS JOIN file ON file.name = paths.id CROSS JOIN inode ON inode.ino = file.ino
         WHERE wanted.name = ? AND first <= wanted.id AND (last IS NULL OR last >= wanted.id) ORDER BY path`,
    );
    statement.setReadBigInts(true);
    for (const row of statement.iterate(snapshot)) {
      const { path, inode, size, mtime, digest } = row as unknown as {
        path: Uint8Array;
        inode: bigint;
        size: bigint;
        mtime: string;
        digest: Uint8Array | null;
      };
      yield { path: Buffer.from(path), inode, size: Number(size), mtime, digest: digest ?? undefined };
    }
  }

  /**
   * Some files of a snapshot whose content has no digest yet, each inode once, in the inodes' order.
   * @param limit how many at most
   * @param after inodes behind this one alone; left out: all
   */
  withoutDigest(
    snapshot: string,
    limit: number,
    after = SMALLEST,
  ): { path: Buffer; inode: bigint; size: number }[] {
    const statement = this.#prepared(
      `SELECT file.name AS name, file.ino AS inode, size FROM snapshot AS wanted, inode JOIN file USING (ino)
         WHERE digest IS NULL AND file.ino > ? AND wanted.name = ? AND first <= wanted.id
           AND (last IS NULL OR last >= wanted.id)
         GROUP BY file.ino ORDER BY file.ino LIMIT ?`,
    );
    statement.setReadBigInts(true);
    const rows = statement.all(after, snapshot, limit) as { name: bigint; inode: bigint; size: bigint }[];
    return rows.map(({ name, inode, size }) => ({
      path: this.#names.pathOf(Number(name)),
      inode,
      size: Number(size),
    }));
  }

  /** Under which paths and in which snapshots (oldest first) an inode is. */
  *sharing(inode: bigint): Generator<{ path: Buffer; snapshots: string[] }> {
    const snapshots = this.#snapshots();
    const ids = snapshots.map(each => each.id);
    const rows = this.#rows<{ name: number; runs: string }>(
      `SELECT name, group_concat(first || '-' || ifnull(last, '')) AS runs FROM file WHERE ino = ? GROUP BY name`,
      inode,
    );
    const found = rows.map(({ name, runs }) => ({ path: this.#names.pathOf(name), runs }));
    for (const { path, runs } of found.sort((one, other) => Buffer.compare(one.path, other.path))) {
      const names = [...membersOf(runs, ids)].map(at => snapshots[at]?.name ?? '');
      yield { path, snapshots: names.sort() };
    }
  }

  /**
   * Takes over what a manifest says of files that have no digest here (the index was made anew): where the file is still
   * of that size and time.
   */
  adoptDigests(
    snapshot: string,
    entries: Iterable<{ path: Buffer; size: number; mtime: string; sha256: Uint8Array }>,
  ): void {
    const adopt = this.#prepared(
      `UPDATE inode SET digest = ? WHERE digest IS NULL AND size = ? AND mtime = ? AND ino IN
         (SELECT file.ino FROM file, snapshot AS wanted
           WHERE file.name = ? AND wanted.name = ? AND file.ino <> 0
             AND first <= wanted.id AND (last IS NULL OR last >= wanted.id))`,
    );
    inTransaction(this.#database, () => {
      for (const { path, size, mtime, sha256 } of entries) {
        const id = this.#names.idOf(path);
        if (id !== undefined) adopt.run(sha256, size, mtime, id, snapshot);
      }
    });
  }

  /** Notes the SHA-256 of inodes' content; one that the index no longer has is passed over. */
  setDigests(digests: Iterable<[inode: bigint, sha256: Uint8Array]>): void {
    const update = this.#prepared('UPDATE inode SET digest = ? WHERE ino = ?');
    inTransaction(this.#database, () => {
      for (const [inode, sha256] of digests) update.run(sha256, inode);
    });
  }
}

const NOTHING: Held = { bytes: 0, inodes: 0 };

function sum(parts: Held[]): Held {
  return parts.reduce((one, other) => ({
    bytes: one.bytes + other.bytes,
    inodes: one.inodes + other.inodes,
  }));
}

/** The places in `ids` of the snapshots that a file with these runs is in. */
function* membersOf(runs: string, ids: number[]): Generator<number> {
  const seen = new Set<number>();
  for (const run of runs.split(',')) {
    const [first = '', last = ''] = run.split('-');
    const end = last === '' ? Number.POSITIVE_INFINITY : Number(last);
    for (let at = placeFrom(ids, Number(first)); at < ids.length && (ids[at] ?? 0) <= end; at += 1) {
      if (seen.has(at)) continue;
      seen.add(at);
      yield at;
    }
  }
}

/** The place of the first number that is not below `least`. */
function placeFrom(ids: number[], least: number): number {
  let [low, high] = [0, ids.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((ids[middle] ?? 0) < least) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** When the last of those that have it is removed; Infinity where one stays. */
function lastRemoval(runs: string, ids: number[], removedAt: number[]): number {
  let latest = -1;
  for (const at of membersOf(runs, ids)) {
    latest = Math.max(latest, removedAt[at] ?? Number.POSITIVE_INFINITY);
    if (latest === Number.POSITIVE_INFINITY) break;
  }
  return latest < 0 ? Number.POSITIVE_INFINITY : latest;
}

/** @returns undefined where the snapshot is not there */
function identify(client: ClientStore, name: string): Identity | undefined {
  const tree = `${client.folder}/snapshots/${name}/tree`;
  if (!exists(tree)) return undefined;
  const { ino, birthtimeNs } = statusExact(tree);
  return { inode: BigInt.asIntN(64, ino), madeNs: birthtimeNs };
}

function isSame(one: Identity | undefined, other: Identity): boolean {
  return one?.inode === other.inode && one.madeNs === other.madeNs;
}

/** What a snapshot's own folder and the files beside its tree take. */
function recordsOf(client: ClientStore, name: string): Held {
  const folder = `${client.folder}/snapshots/${name}`;
  try {
    const parts = readdir(folder).filter(each => each !== 'tree');
    const held = ['.', ...parts].map(each => ({
      bytes: stat(`${folder}/${each}`).blocks * 512,
      inodes: 1,
    }));
    return sum(held);
  } catch {
    return NOTHING; // it has just gone
  }
}

/** Lets the file of a database get shorter. A full disk has no room even for that: then the next one does it. */
function giveBack(database: Database): void {
  try {
    database.exec('PRAGMA incremental_vacuum');
  } catch (error) {
    if (!cannotWrite(error)) throw error;
  }
}

interface Found {
  isFolder: boolean;
  /** How far below the tree; 0: the tree itself. */
  depth: number;
  /** In its folder. */
  name: Buffer;
  inode: bigint;
  /** On the disk. */
  bytes: number;
  size: number;
  mtime: string;
}

/** The numbers in front, and a name. */
const RECORD_LIMIT = 1024;
/** find(1) could not read something. */
const COULD_NOT_READ = 1;

/**
 * Looks through a tree, by find(1): the tree itself first, each folder before what is in it.
 * @returns whether all of it could be read
 */
async function walk(
  tree: string,
  signal: AbortSignal | undefined,
  take: (found: Found) => void,
): Promise<boolean> {
  const find = standard('find', [tree, '-printf', '%y %i %b %s %T@ %d %f\\0']);
  const found = await takeRecords(find, { limit: RECORD_LIMIT, signal }, record => take(parseFound(record)));
  if (found.status === 0) return true;
  if (found.status === COULD_NOT_READ && exists(tree)) return false;
  throw new Fault({
    tried: `look through "${tree}"`,
    found: escapeText(found.stderr.trim()) || 'find failed',
  });
}

const FIELDS = 6;

function parseFound(record: Buffer): Found {
  const fields: string[] = [];
  let from = 0;
  for (let field = 0; field < FIELDS; field += 1) {
    const end = record.indexOf(0x20, from);
    fields.push(record.toString('latin1', from, end));
    from = end + 1;
  }
  const [type, inode = '0', blocks, size, mtime = '', depth] = fields;
  const [seconds, fraction = ''] = mtime.split('.');
  return {
    isFolder: type === 'd',
    depth: Number(depth),
    name: Buffer.from(record.subarray(from)),
    inode: BigInt.asIntN(64, BigInt(inode)),
    bytes: Number(blocks) * 512,
    size: Number(size),
    mtime: `${seconds}.${fraction.slice(0, 9).padEnd(9, '0')}`,
  };
}
