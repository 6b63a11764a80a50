/**
 * Finds the files of a client's older snapshots that are equal to files of an arriving tree, by the client's index.
 *
 * All lists are in temporary tables, so that memory does not grow with the number of files. A client chooses names,
 * sizes and times; so each file is read at most once, however many others look like it.
 */
import { type Database, inTransaction, rowBatches, type Statement } from '../os/database.ts';
import type { NamedInode } from './inode-names.ts';

/** A file whose attributes or content are to be read. */
export interface WantedFile {
  inode: bigint;
  /** Below the arriving tree, or below the client's folder if the file is in a snapshot. */
  path: Buffer;
  size: number;
  mtime: string;
}

/** A file of the arriving tree, and the equal file of an older snapshot. */
export interface MovedPair {
  fresh: bigint;
  old: bigint;
  /** The older file's path below the client's folder. */
  oldPath: Buffer;
  /** The size of the client's file; 0 for a link, a device and the like. */
  bytes: bigint;
}

/** The two tables with one row for each inode: the files that have arrived, and those of snapshots. */
type Side = 'arrived' | 'older';

const NAMES = ['arrived', 'older', 'arrived_name', 'arrived_folder', 'pair'];

const TABLES = `
  ${NAMES.map(name => `DROP TABLE IF EXISTS temp.${name};`).join(' ')}
  CREATE TEMP TABLE arrived (ino INTEGER PRIMARY KEY, size INTEGER, mtime TEXT, attributes TEXT, digest BLOB);
  CREATE TEMP TABLE older (ino INTEGER PRIMARY KEY, size INTEGER, mtime TEXT, attributes TEXT, digest BLOB,
    known BLOB, -- the index's digest
    path BLOB);
  CREATE TEMP TABLE arrived_name (ino INTEGER, path BLOB, PRIMARY KEY (ino, path)) WITHOUT ROWID;
  CREATE TEMP TABLE arrived_folder (path BLOB PRIMARY KEY) WITHOUT ROWID;
  CREATE TEMP TABLE pair (fresh INTEGER PRIMARY KEY, old INTEGER, bytes INTEGER);
  CREATE INDEX temp.arrived_look ON arrived (size, mtime);
  CREATE INDEX temp.older_look ON older (size, mtime);`;

/** Made once all attributes and digests are there: it is faster to sort them than to add each one to an index. */
const DIGEST_INDEX = `
  DROP INDEX temp.arrived_look;
  CREATE INDEX temp.arrived_digest ON arrived (digest, size, mtime, attributes);`;

/** The first word of the attributes of a plain file of the client. */
export const PLAIN = 'plain';

/** Rows at once. */
const ROWS = 500;

/** The files of one arriving tree, and those that may be equal to them. */
export class MovedTable {
  readonly database: Database;
  readonly #pathOf: (id: number) => Buffer;
  readonly #names: Statement;
  readonly #oldName: Statement;

  /** @param pathOf the path of a name by its number */
  constructor(database: Database, pathOf: (id: number) => Buffer) {
    this.database = database;
    this.#pathOf = pathOf;
    database.exec(TABLES);
    this.#names = database.prepare('SELECT path FROM arrived_name WHERE ino = ? ORDER BY path');
    this.#oldName = database.prepare(
      `SELECT file.name AS name, snapshot.name AS snapshot FROM file
         JOIN snapshot ON snapshot.id >= file.first AND (file.last IS NULL OR snapshot.id <= file.last)
         WHERE file.ino = ? ORDER BY snapshot.id DESC LIMIT 1`,
    );
  }

  /** Adds files of the arriving tree that share no inode with a snapshot. */
  add(files: readonly NamedInode[]): void {
    const insert = this.database.prepare('INSERT INTO arrived (ino, size, mtime) VALUES (?, ?, ?)');
    const name = this.database.prepare('INSERT OR IGNORE INTO arrived_name VALUES (?, ?)');
    inTransaction(this.database, () => {
      for (const { inode, size, mtime, names } of files) {
        const ino = BigInt.asIntN(64, inode);
        insert.run(ino, size, mtime);
        for (const { path } of names) name.run(ino, path);
      }
    });
  }

  /** Finds the files of snapshots with the size and time of one that has arrived. @returns whether there are any */
  findAlike(): boolean {
    this.database.exec(`
      INSERT INTO older (ino, size, mtime, known) SELECT ino, size, mtime, digest FROM inode
        WHERE EXISTS (SELECT 1 FROM arrived AS a WHERE a.size = inode.size AND a.mtime = inode.mtime)
          AND NOT EXISTS (SELECT 1 FROM arrived AS a WHERE a.ino = inode.ino);`);
    return this.keepAlike('time');
  }

  /** Drops files of snapshots that the arriving tree has too: two files of the client must not become one. */
  dropPresent(inodes: readonly bigint[]): void {
    const remove = this.database.prepare('DELETE FROM older WHERE ino = ?');
    inTransaction(this.database, () => {
      for (const each of inodes) remove.run(BigInt.asIntN(64, each));
    });
  }

  /**
   * Drops the files that differ from all files of the other side.
   * @param by compares size and time, or attributes too
   * @returns whether any is left
   */
  keepAlike(by: 'time' | 'attributes'): boolean {
    const last = by === 'time' ? 'mtime' : 'attributes';
    const columns = ['size', 'mtime', ...(by === 'attributes' ? ['attributes'] : [])].join();
    for (const [one, other] of [
      ['older', 'arrived'],
      ['arrived', 'older'],
    ])
      this.database.exec(`DELETE FROM ${one} WHERE ${last} IS NULL
        OR (${columns}) NOT IN (SELECT ${columns} FROM ${other} WHERE ${last} IS NOT NULL);`);
    return this.database.prepare('SELECT 1 FROM arrived').get() !== undefined;
  }

  /** Lists the files of one side in batches, in the order of their inodes. */
  files(side: Side): Generator<WantedFile[]> {
    return side === 'arrived' ? this.#arrived() : this.#older('SELECT * FROM older');
  }

  /**
   * Lists the files of snapshots in the same way, without those whose known digest is that of no file that has arrived. Call this
   * once all digests of arrived files are stored.
   */
  olderToRead(): Generator<WantedFile[]> {
    this.database.exec(DIGEST_INDEX);
    return this.#older(
      `SELECT * FROM older WHERE known IS NULL OR EXISTS (SELECT 1 FROM arrived AS a WHERE a.size = older.size
         AND a.mtime = older.mtime AND a.attributes = older.attributes AND a.digest = older.known)`,
    );
  }

  *#arrived(): Generator<WantedFile[]> {
    const statement = this.database.prepare(
      `SELECT ino AS inode, size, mtime,
         (SELECT path FROM arrived_name AS n WHERE n.ino = arrived.ino ORDER BY path LIMIT 1) AS path
         FROM arrived WHERE ino > ? ORDER BY ino LIMIT ${ROWS}`,
    );
    for (const found of rowBatches<FileRow>(statement, each => each.inode)) yield found.flatMap(wantedOf);
  }

  /** Each path is looked up once, and kept in the table. */
  *#older(rows: string): Generator<WantedFile[]> {
    const statement = this.database.prepare(
      `SELECT ino AS inode, size, mtime, path FROM (${rows}) WHERE ino > ? ORDER BY ino LIMIT ${ROWS}`,
    );
    const keep = this.database.prepare('UPDATE older SET path = ? WHERE ino = ?');
    for (const found of rowBatches<FileRow>(statement, each => each.inode)) {
      const unknown = found.filter(each => each.path === null);
      inTransaction(this.database, () => {
        for (const each of unknown) {
          each.path = this.oldPath(each.inode) ?? null;
          keep.run(each.path, each.inode);
        }
      });
      yield found.flatMap(wantedOf);
    }
  }

  /** The paths of a file that has arrived, below the arriving tree. */
  names(inode: bigint): Buffer[] {
    const rows = this.#names.all(inode) as { path: Uint8Array }[];
    return rows.map(each => Buffer.from(each.path));
  }

  /** The path of a file in the newest snapshot that has it, below the client's folder; undefined if there is none. */
  oldPath(inode: bigint): Buffer | undefined {
    const found = this.#oldName.get(inode) as { name: number; snapshot: string } | undefined;
    if (found === undefined) return undefined;
    return Buffer.concat([Buffer.from(`snapshots/${found.snapshot}/tree/`), this.#pathOf(found.name)]);
  }

  /** Stores what was read of some files. @param column `attributes` or `digest` */
  set(
    side: Side,
    column: 'attributes' | 'digest',
    values: Iterable<[inode: bigint, value: Uint8Array | string]>,
  ): void {
    const update = this.database.prepare(`UPDATE ${side} SET ${column} = ? WHERE ino = ?`);
    inTransaction(this.database, () => {
      for (const [inode, value] of values) update.run(value, inode);
    });
  }

  /** Lays equal files beside each other. Each file is in one pair at most. @returns the number of pairs */
  makePairs(): number {
    const ranked = (side: Side): string =>
      `SELECT *, row_number() OVER (PARTITION BY size, mtime, attributes, digest ORDER BY ino) AS place
         FROM ${side} WHERE attributes IS NOT NULL AND digest IS NOT NULL`;
    this.database.exec(`
      INSERT INTO pair SELECT a.ino, o.ino, iif(a.attributes LIKE '${PLAIN} %', a.size, 0)
        FROM (${ranked('arrived')}) AS a JOIN (${ranked('older')}) AS o ON o.size = a.size AND o.mtime = a.mtime
          AND o.attributes = a.attributes AND o.digest = a.digest AND o.place = a.place;`);
    const found = this.database.prepare('SELECT count(*) AS count FROM pair').get() as { count: number };
    this.#noteFolders();
    return found.count;
  }

  #noteFolders(): void {
    const note = this.database.prepare('INSERT OR IGNORE INTO arrived_folder VALUES (?)');
    const names = this.database.prepare('SELECT path FROM pair JOIN arrived_name ON ino = fresh');
    // Files of one folder often follow each other.
    let last: Buffer | undefined;
    inTransaction(this.database, () => {
      for (const { path } of names.iterate() as Iterable<{ path: Uint8Array }>) {
        const folder = folderOf(Buffer.from(path));
        if (last?.equals(folder)) continue;
        note.run(folder);
        last = folder;
      }
    });
  }

  /** Lists the folders that hold a name of a file in a pair; empty for the top of the tree. */
  *folders(): Generator<Buffer> {
    const rows = this.database.prepare('SELECT path FROM arrived_folder').iterate();
    for (const { path } of rows as Iterable<{ path: Uint8Array }>) yield Buffer.from(path);
  }

  /** Lists the pairs in batches, in the order of the arrived inodes. */
  *pairs(): Generator<MovedPair[]> {
    const statement = this.database.prepare(
      `SELECT fresh, old, bytes, path FROM pair JOIN older ON ino = old
         WHERE fresh > ? AND path IS NOT NULL ORDER BY fresh LIMIT ${ROWS}`,
    );
    type Row = Omit<MovedPair, 'oldPath'> & { path: Uint8Array };
    for (const found of rowBatches<Row>(statement, each => each.fresh))
      yield found.map(({ path, ...pair }) => ({ ...pair, oldPath: Buffer.from(path) }));
  }
}

/** A row of a table with a path; null if there is none. */
interface FileRow {
  inode: bigint;
  size: bigint;
  mtime: string;
  path: Uint8Array | null;
}

function wantedOf({ inode, size, mtime, path }: FileRow): WantedFile[] {
  return path === null ? [] : [{ inode, path: Buffer.from(path), size: Number(size), mtime }];
}

function folderOf(path: Buffer): Buffer {
  return path.subarray(0, Math.max(0, path.lastIndexOf('/')));
}
