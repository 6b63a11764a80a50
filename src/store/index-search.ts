/**
 * Searches a client's index for names, some at a time. Unlike `StoreIndex` it only reads. It does not update the index, and uses no
 * temporary files. It stops after a number of names or a time, and the next search goes on from there.
 */
import { setImmediate as breathe } from 'node:timers/promises';
import { monotonicMs } from '../os/clock.ts';
import { type Database, openCache, type Statement } from '../os/database.ts';
import { cachePath } from './cache-place.ts';
import { Names } from './index-names.ts';
import { membersOf } from './index-runs.ts';
import { INDEX_SHAPE } from './index-tables.ts';
import { indexedSnapshots } from './index-update.ts';
import { snapshotNames } from './snapshot.ts';
import type { ClientStore } from './store.ts';

/** A name that was found, with its newest version. */
export interface FoundName {
  /** Below tree/. */
  path: Buffer;
  isFolder: boolean;
  /** The size of the stored file in bytes; 0 for a folder. */
  size: number;
  /** SECONDS.NANOSECONDS; undefined for a folder. */
  mtime: string | undefined;
  /** How many different inodes it has had. */
  versions: number;
  /** The snapshots that contain it, oldest first. */
  snapshots: string[];
}

interface SearchOptions {
  /** Is called with a path below tree/, or with the last name of it. */
  isWanted: (path: Buffer) => boolean;
  /** Whether `isWanted` needs the whole path. */
  needsPath: boolean;
  /** Names that the search before this one has looked at; 0 for the first. */
  from: number;
  /** The most names to return. */
  count: number;
  /** The longest time in milliseconds. */
  timeMs: number;
}

/** The result of a search. */
export interface SearchResult {
  found: FoundName[];
  /** `from` of the next search; undefined if this one has reached the end. */
  next: number | undefined;
  /** Snapshots that the index does not have yet, oldest first. */
  missing: string[];
}

/** Names that are read at once. */
const ROWS_AT_ONCE = 2000;
/** Paths of folders that are kept, as a whole. */
const FOLDERS_KEPT = 5000;

/**
 * Searches for names, in the order in which the index got them.
 * @throws Fault when there is no index or it cannot be read; the signal's reason
 */
export async function searchIndex(
  client: ClientStore,
  options: SearchOptions,
  signal: AbortSignal,
): Promise<SearchResult> {
  const database = openCache(cachePath(client.folder, 'index.sqlite'), INDEX_SHAPE, false);
  try {
    return await new Search(database, client).run(options, signal);
  } finally {
    database.close();
  }
}

interface NameRow {
  id: number;
  parent: number;
  name: Uint8Array;
}

/** The files and folders that had one name, the newest first. */
interface VersionRow {
  isFolder: number;
  runs: string;
  size: number | null;
  mtime: string | null;
}

class Search {
  readonly #database: Database;
  readonly #names: Names;
  readonly #versions: Statement;
  /** The names and ids of the snapshots in the index, in the order of their ids. */
  readonly #snapshots: string[];
  readonly #ids: number[];
  readonly #missing: string[];
  readonly #folders = new Map<number, Buffer>();

  constructor(database: Database, client: ClientStore) {
    this.#database = database;
    this.#names = new Names(database);
    this.#versions = database.prepare(
      `SELECT ino = 0 AS isFolder, group_concat(first || '-' || ifnull(last, '')) AS runs, size, mtime
         FROM file LEFT JOIN inode USING (ino) WHERE name = ? GROUP BY ino ORDER BY max(first) DESC LIMIT ?`,
    );
    const known = indexedSnapshots(database);
    this.#snapshots = known.map(each => each.name);
    this.#ids = known.map(each => each.id);
    const names = new Set(this.#snapshots);
    this.#missing = snapshotNames(client).filter(name => !names.has(name));
  }

  async run(
    { isWanted, needsPath, from, count, timeMs }: SearchOptions,
    signal: AbortSignal,
  ): Promise<SearchResult> {
    const read = this.#database.prepare('SELECT id, parent, name FROM name WHERE id > ? ORDER BY id LIMIT ?');
    const found: FoundName[] = [];
    const endsAtMs = monotonicMs() + timeMs;
    for (let last = from; ; ) {
      const rows = read.all(last, ROWS_AT_ONCE) as unknown as NameRow[];
      for (const row of rows) {
        last = row.id;
        const name = Buffer.from(row.name);
        if (!isWanted(needsPath ? this.#pathOf(row) : name)) continue;
        const result = this.#describe(row);
        if (result !== undefined) found.push(result);
        if (found.length >= count) return this.#result(found, last);
      }
      if (rows.length < ROWS_AT_ONCE) return this.#result(found, undefined);
      if (monotonicMs() > endsAtMs) return this.#result(found, last);
      await breathe();
      signal.throwIfAborted();
    }
  }

  #result(found: FoundName[], next: number | undefined): SearchResult {
    found.sort((one, other) => Buffer.compare(one.path, other.path));
    return { found, next, missing: this.#missing };
  }

  #pathOf({ parent, name }: NameRow): Buffer {
    if (parent === 0) return Buffer.from(name);
    let folder = this.#folders.get(parent);
    if (folder === undefined) {
      folder = this.#names.pathOf(parent);
      if (this.#folders.size >= FOLDERS_KEPT) this.#folders.clear();
      this.#folders.set(parent, folder);
    }
    return Buffer.concat([folder, SLASH, name]);
  }

  /** @returns undefined for a name that no snapshot of the index contains any more */
  #describe(row: NameRow): FoundName | undefined {
    const rows = this.#versions.all(row.id, VERSIONS_READ) as unknown as VersionRow[];
    const [newest] = rows;
    if (newest === undefined) return undefined;
    const places = new Set(rows.flatMap(({ runs }) => [...membersOf(runs, this.#ids)]));
    return {
      path: this.#pathOf(row),
      isFolder: newest.isFolder === 1,
      size: newest.size ?? 0,
      mtime: newest.mtime ?? undefined,
      versions: rows.length,
      snapshots: [...places].map(at => this.#snapshots[at] ?? '').sort(),
    };
  }
}

/** More versions of one name are not counted. */
const VERSIONS_READ = 1000;
const SLASH = Buffer.from('/');
