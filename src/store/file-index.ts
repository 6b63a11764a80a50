/**
 * A client's index: which snapshots contain which file. It is clients/NAME/index.sqlite, or below `cache_dir` (cache-place.ts).
 * index-room.ts, index-links.ts and
 * index-moved.ts answer other questions from it.
 *
 * It is only a cache. The folders under snapshots/ are the truth, and each opening brings the index up to date with
 * them. An index that is missing, damaged or of another version is made again. Hard links never cross clients, so
 * each client has its own index.
 *
 * Each new snapshot gets the next number (`id`). A file (a path and an inode) that is in every snapshot from `first`
 * to `last` is one row, however many snapshots these are. While it is in the newest one, `last` is NULL. So an
 * unchanged run writes very little, and so does a removal: queries skip the numbers of removed snapshots, and rows
 * without another snapshot are deleted. Then the file gets shorter. A path has one row for each new name in it
 * (index-names.ts). Snapshots may come and go in any order. A file that disappeared and came back has two rows, since
 * a run links against the newest snapshot and the newest full one.
 */
import { Fault } from '../fault.ts';
import { ownAccount } from '../os/account.ts';
import { isConfined } from '../os/confinement.ts';
import {
  cannotWrite,
  copyCache,
  type Database,
  databaseFault,
  inTransaction,
  isDamage,
  LEAST_NUMBER,
  openCache,
  removeCache,
  type Statement,
} from '../os/database.ts';
import { exists, makeUniqueFolder, removeAll, stat } from '../os/files.ts';
import { dropGarbage } from '../os/memory.ts';
import type { DisposableHolder } from '../os/runfolder.ts';
import { temporaryFolder } from '../os/scratch.ts';
import { cachePath, makeCacheFolder } from './cache-place.ts';
import { TIME_LIMITS } from './file-time.ts';
import { compareSnapshot, type IndexedFile, type SnapshotChanges } from './index-changes.ts';
import {
  alikeButUnlinked,
  type LinkedElsewhere,
  linkedElsewhere,
  olderInodes,
  sharedAcrossGap,
} from './index-links.ts';
import { MovedTable } from './index-moved.ts';
import { Names } from './index-names.ts';
import { freedBy, type Held, heldBy } from './index-room.ts';
import { membersOf } from './index-runs.ts';
import { INDEX_SHAPE, WITH_PATHS } from './index-tables.ts';
import { dropSnapshot, identifyTree, indexedSnapshots, isSameTree, takeSnapshot } from './index-update.ts';
import { snapshotNames } from './snapshot.ts';
import type { ClientStore } from './store.ts';

/** A path and an inode, and the snapshots that contain this pair. */
export interface Version {
  /** Below tree/, without a slash in front. */
  path: Buffer;
  isFolder: boolean;
  /** The size of the stored file in bytes; 0 for a folder. */
  size: number;
  /** SECONDS.NANOSECONDS; undefined for a folder. */
  mtime: string | undefined;
  /** Oldest first. */
  snapshots: string[];
}

/**
 * Opens a client's index and brings it up to date with the snapshots. If the store's own index cannot be updated,
 * this makes a temporary one. That happens on a full disk or a read-only file system. It also happens for root, who
 * would leave files of his own in the store.
 * @param signal ends the search through new snapshots; finished ones stay in the index
 * @throws Fault when the temporary index cannot be written either
 */
export async function openIndex(
  held: DisposableHolder,
  client: ClientStore,
  signal?: AbortSignal,
): Promise<StoreIndex> {
  const path = cachePath(client.folder, 'index.sqlite');
  const { uid } = stat(client.folder);
  const isOwner = ownAccount().uid === uid;
  const open = (): StoreIndex => {
    if (isOwner) makeCacheFolder(client.folder);
    return new StoreIndex(client, openCache(path, INDEX_SHAPE, isOwner));
  };
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

/** Makes an index outside the store, from a copy of the store's own one. It is removed when `held` is released. */
async function openTemporary(
  held: DisposableHolder,
  client: ClientStore,
  signal: AbortSignal | undefined,
): Promise<StoreIndex> {
  const folder = makeUniqueFolder(`${temporaryFolder()}/dialback-index-`);
  held.defer(() => removeAll(folder));
  const path = `${folder}/index.sqlite`;
  const own = cachePath(client.folder, 'index.sqlite');
  if (exists(own)) await copyCache(own, path);
  try {
    const index = new StoreIndex(client, openCache(path, INDEX_SHAPE, true));
    await index.update(signal);
    return index;
  } catch (error) {
    signal?.throwIfAborted();
    throw databaseFault(error, `make a temporary index of "${client.name}" in "${temporaryFolder()}"`);
  }
}

/**
 * Opens a client's index without updating it. The caller must close it.
 * @returns undefined if it is out of date or cannot be read
 */
export function peekIndex(client: ClientStore): StoreIndex | undefined {
  let index: StoreIndex | undefined;
  try {
    index = new StoreIndex(client, openCache(cachePath(client.folder, 'index.sqlite'), INDEX_SHAPE, false));
    index.requireCurrent();
    return index;
  } catch {
    index?.close();
    return undefined;
  }
}

/** Rows between two collections of garbage. */
const ROWS_AT_ONCE = 1000;

/** An open index. */
export class StoreIndex {
  readonly #client: ClientStore;
  readonly #database: Database;
  /** Made at first use, because a damaged database throws there. */
  #madeNames: Names | undefined;
  readonly #statements = new Map<string, Statement>();
  /** Incomplete snapshots that were listed again. Once per use is enough. */
  readonly #tried = new Set<string>();
  /** Whether rows have been deleted. */
  #hasShrunk = false;

  constructor(client: ClientStore, database: Database) {
    this.#client = client;
    this.#database = database;
    // Inode numbers are 64 bits wide.
    const temporary = isConfined() ? 'MEMORY' : 'FILE';
    database.exec(
      `PRAGMA temp_store = ${temporary}; PRAGMA cache_size = -1024; PRAGMA temp.cache_size = -512;`,
    );
  }

  /** Closes the index, and shortens its file after deletions. */
  close(): void {
    if (!this.#database.isOpen) return;
    if (this.#hasShrunk) shortenFile(this.#database);
    this.#database.close();
  }

  get #names(): Names {
    this.#madeNames ??= new Names(this.#database);
    return this.#madeNames;
  }

  /** Prepares a statement once. V8 keeps each statement for long after its last use. */
  #prepared(sql: string): Statement {
    const statement = this.#statements.get(sql) ?? this.#database.prepare(sql);
    this.#statements.set(sql, statement);
    return statement;
  }

  #rows<T>(sql: string, ...values: (string | number | bigint | Uint8Array | null)[]): T[] {
    return this.#database.prepare(sql).all(...values) as T[];
  }

  /** @throws Fault when a snapshot has come or gone since the last update. Another account's index is not changed. */
  requireCurrent(): void {
    const there = snapshotNames(this.#client);
    const known = new Set(indexedSnapshots(this.#database).map(each => each.name));
    if (there.length === known.size && there.every(name => known.has(name))) return;
    throw new Fault({
      tried: `use the index of "${this.#client.name}"`,
      found: 'it is out of date, and root does not write into the store',
      next: 'run the same as the account that owns the store',
    });
  }

  /** Drops snapshots that are gone and takes in new ones; each snapshot whole or not at all. */
  async update(signal?: AbortSignal): Promise<void> {
    const there = snapshotNames(this.#client);
    const trees = new Map(there.map(name => [name, identifyTree(this.#client, name)]));
    for (const { name, tree, isWhole } of indexedSnapshots(this.#database)) {
      const isTriedAgain = !isWhole && !this.#tried.has(name);
      if (!isSameTree(trees.get(name), tree) || isTriedAgain) this.forget(name);
      this.#tried.add(name);
    }
    const known = new Set(indexedSnapshots(this.#database).map(each => each.name));
    for (const name of there) {
      signal?.throwIfAborted();
      const tree = trees.get(name);
      if (known.has(name) || tree === undefined) continue;
      const names = (): Names => this.#names;
      await takeSnapshot({ client: this.#client, database: this.#database, names }, { name, tree }, signal);
    }
  }

  /**
   * Drops a snapshot that is no longer under snapshots/. Call this before its files are deleted, because new files
   * can get their inode numbers.
   */
  forget(name: string): void {
    dropSnapshot(this.#database, name);
    this.#names.forget();
    this.#hasShrunk = true;
  }

  /** Calls `heldBy()`. */
  held(): Held {
    return heldBy(this.#database, this.#client);
  }

  /**
   * Counts the files with the first or the last time that a file system can hold. The client's own times are probably
   * beyond it.
   */
  atTimeLimit(): number {
    const places = TIME_LIMITS.map(() => '?').join();
    const [found] = this.#rows<{ count: number }>(
      `SELECT count(*) AS count FROM inode WHERE mtime IN (${places})`,
      ...TIME_LIMITS,
    );
    return found?.count ?? 0;
  }

  /** Calls `freedBy()`. */
  freedBy(order: readonly string[]): Map<string, Held> {
    return freedBy(this.#database, this.#client, order);
  }

  /** How many names each snapshot has, including folders. The time of a deletion depends on it. */
  names(): Map<string, number> {
    const snapshots = indexedSnapshots(this.#database);
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
   * Lists each version of each wanted file, in the order of the paths, the oldest version first.
   * @param isWanted is called with the path below tree/
   */
  *versions(isWanted: (path: Buffer) => boolean): Generator<Version> {
    const snapshots = indexedSnapshots(this.#database);
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

  /** Lists the files of one snapshot, without folders, sorted by the bytes of the paths. */
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
   * Lists files of a snapshot whose content has no digest yet, each inode once, ordered by inode.
   * @param limit how many at most
   * @param after only inodes behind this one; if left out, all
   */
  withoutDigest(
    snapshot: string,
    limit: number,
    after = LEAST_NUMBER,
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

  /** Lists the paths of an inode, with the snapshots that contain each, oldest first. */
  *sharing(inode: bigint): Generator<{ path: Buffer; snapshots: string[] }> {
    const snapshots = indexedSnapshots(this.#database);
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
   * Takes digests from a manifest, for files that have none here because the index was made again. A file must still
   * have the manifest's size and time.
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

  /** Calls `compareSnapshot()`. */
  compare(snapshot: string, candidates: readonly string[]): SnapshotChanges | undefined {
    return compareSnapshot(this.#database, snapshot, candidates, id => this.#names.pathOf(id));
  }

  /** Calls `sharedAcrossGap()`. */
  sharedAcrossGap(snapshot: string, limit: number): string[] {
    return sharedAcrossGap(this.#database, snapshot, limit);
  }

  /** Calls `alikeButUnlinked()`. */
  alikeButUnlinked(snapshot: string, others: readonly string[], limit: number): Buffer[] {
    const wanted = { snapshot, others, limit };
    return alikeButUnlinked(this.#database, wanted, id => this.#names.pathOf(id));
  }

  /** Calls `linkedElsewhere()`. */
  linkedElsewhere(
    wanted: { snapshot: string; base: string; there: ReadonlySet<string> },
    isWanted: (path: Buffer) => boolean,
  ): Iterable<LinkedElsewhere> {
    return linkedElsewhere(this.#database, wanted, isWanted, id => this.#names.pathOf(id));
  }

  /** Calls `olderInodes()`. */
  olderInodes(snapshot: string): (inode: bigint) => boolean {
    return olderInodes(this.#database, snapshot);
  }

  /** Makes empty lists for the search for moved files. */
  movedTable(): MovedTable {
    return new MovedTable(this.#database, id => this.#names.pathOf(id));
  }

  /** Stores the SHA-256 of inodes' contents. Skips inodes that the index no longer has. */
  setDigests(digests: Iterable<[inode: bigint, sha256: Uint8Array]>): void {
    const update = this.#prepared('UPDATE inode SET digest = ? WHERE ino = ?');
    inTransaction(this.#database, () => {
      for (const [inode, sha256] of digests) update.run(sha256, inode);
    });
  }
}

/** Shortens the file of a database. If a full disk has no room for that, the next use does it. */
function shortenFile(database: Database): void {
  try {
    database.exec('PRAGMA incremental_vacuum');
  } catch (error) {
    if (!cannotWrite(error)) throw error;
  }
}
