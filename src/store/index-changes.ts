/** The differences between two snapshots in a client's index. The list is in a temporary table, so that memory does not grow with it. */
import { type Database, inTransaction } from '../os/database.ts';
import { dropGarbage } from '../os/memory.ts';
import { indexedSnapshots } from './index-update.ts';

/** A file of one snapshot. */
export interface IndexedFile {
  path: Buffer;
  inode: bigint;
  size: number;
  /** SECONDS.NANOSECONDS */
  mtime: string;
  /** SHA-256 of its content, if it was read. */
  digest: Uint8Array | undefined;
}

/** A path that a newer snapshot does not share with an older one. */
export interface ChangedPath {
  path: Buffer;
  /** The newer snapshot's file or folder there. A folder always counts as changed; `gone` is the path of a file. */
  now: IndexedFile | 'folder' | 'gone';
}

/** `ino` is 0 for a folder, and NULL for a path that is gone. */
const TABLES = `
  CREATE TEMP TABLE IF NOT EXISTS changed (path BLOB PRIMARY KEY, ino INTEGER) WITHOUT ROWID;
  DELETE FROM changed;
  INSERT INTO changed VALUES (x'', 0);`;

/** Rows between two collections of garbage. */
const ROWS_AT_ONCE = 1000;

/**
 * Chooses the snapshot that another one is compared with: the newest of the candidates that the index took in before it.
 * @param candidates names
 * @param pathOf the path of a name by its number
 * @returns undefined if there is none, or if the tree of the snapshot could not be read completely
 */
export function compareSnapshot(
  database: Database,
  snapshot: string,
  candidates: readonly string[],
  pathOf: (id: number) => Buffer,
): SnapshotChanges | undefined {
  const all = indexedSnapshots(database);
  const own = all.find(each => each.name === snapshot);
  if (!own?.isWhole) return undefined;
  const older = all.findLast(each => each.id < own.id && each.isWhole && candidates.includes(each.name));
  return older && new SnapshotChanges(database, { older, newer: own }, pathOf);
}

/** A snapshot by its number in the index. */
interface Numbered {
  id: number;
  name: string;
}

/**
 * The paths that two snapshots do not share: all folders, since each snapshot has its own, and the files that differ. A file is the
 * same if its path and its inode are.
 */
export class SnapshotChanges {
  readonly #database: Database;
  readonly #older: Numbered;
  readonly #newer: Numbered;
  readonly #pathOf: (id: number) => Buffer;

  constructor(
    database: Database,
    { older, newer }: { older: Numbered; newer: Numbered },
    pathOf: (id: number) => Buffer,
  ) {
    this.#database = database;
    this.#older = older;
    this.#newer = newer;
    this.#pathOf = pathOf;
  }

  /** The name of the older snapshot. */
  get older(): string {
    return this.#older.name;
  }

  /** How many files the newer snapshot has. */
  countFiles(): number {
    // The signs keep SQLite from an index: reading all rows is faster.
    const statement = this.#database.prepare(
      'SELECT count(*) AS count FROM file WHERE +first <= $own AND (+last IS NULL OR +last >= $own) AND +ino <> 0',
    );
    return (statement.get({ own: this.#newer.id }) as { count: number }).count;
  }

  /** Writes the paths into the table. */
  #list(): void {
    this.#database.exec(TABLES);
    // A file that went and came back between the two has a row in both lists. It counts as changed, which costs only time.
    this.#note(
      `SELECT name, NULL AS ino FROM file
         WHERE ino <> 0 AND first <= $older AND last >= $older AND last < $newer`,
    );
    this.#note(
      `SELECT name, ino FROM file
         WHERE ino <> 0 AND first > $older AND first <= $newer AND (last IS NULL OR last >= $newer)`,
    );
    // The order: a file can have become a folder.
    this.#note(
      `SELECT name, ino FROM file
         WHERE ino = 0 AND +first <= $newer AND (+last IS NULL OR +last >= $newer) AND $older`,
    );
  }

  /** Writes paths to the list, over those that it has. */
  #note(select: string): void {
    const put = this.#database.prepare('INSERT OR REPLACE INTO changed VALUES (?, ?)');
    const files = this.#database.prepare(select);
    files.setReadBigInts(true);
    let count = 0;
    inTransaction(this.#database, () => {
      const rows = files.iterate({ older: this.#older.id, newer: this.#newer.id });
      for (const { name, ino } of rows as Iterable<{ name: bigint; ino: bigint | null }>) {
        put.run(this.#pathOf(Number(name)), ino);
        count += 1;
        if (count % ROWS_AT_ONCE === 0) dropGarbage();
      }
    });
  }

  /** Lists the paths, sorted by their bytes. */
  *paths(): Generator<ChangedPath> {
    this.#list();
    const statement = this.#database.prepare(
      `SELECT path, changed.ino AS inode, size, mtime, digest
         FROM changed LEFT JOIN inode ON inode.ino = changed.ino ORDER BY path`,
    );
    statement.setReadBigInts(true);
    for (const row of statement.iterate() as unknown as Iterable<ChangedRow>) {
      const path = Buffer.from(row.path);
      const { inode, size, mtime, digest } = row;
      if (inode === null) yield { path, now: 'gone' };
      else if (inode === 0n) yield { path, now: 'folder' };
      else yield { path, now: { path, inode, size: Number(size), mtime, digest: digest ?? undefined } };
    }
  }
}

interface ChangedRow {
  path: Uint8Array;
  inode: bigint | null;
  size: bigint;
  mtime: string;
  digest: Uint8Array | null;
}
