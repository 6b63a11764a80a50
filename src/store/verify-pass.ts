/**
 * One pass of `verify` over a client's snapshots: its position and its findings, in clients/NAME/verify.sqlite.
 * A pass that was killed continues there.
 */

import { monotonicMs, now } from '../os/clock.ts';
import { type Database, inTransaction, openCache, removeCache, type Statement } from '../os/database.ts';
import type { DisposableHolder } from '../os/runfolder.ts';
import type { StoreIndex } from './file-index.ts';
import type { ClientStore } from './store.ts';
import { readVerified } from './verified.ts';

/** How a file or folder differs from its manifest. */
export type Difference =
  | 'content'
  | 'attributes' // owner, mode, ACL and xattrs, including user.rsync.%stat
  | 'size'
  | 'time'
  | 'type'
  | 'missing'
  | 'extra'
  | 'unreadable';

/** A damaged file or folder. */
export interface Damage {
  /** Below the tree, one character per byte. */
  path: string;
  differences: Difference[];
  /** All snapshots that share it, oldest first. */
  snapshots: string[];
}

/** Damage to a file beside a snapshot's tree, such as its manifest, or to the tree as a whole. */
export interface RecordDamage {
  snapshot: string;
  name: string;
  found: string;
}

/** The damage that a pass found. */
interface PassDamage {
  /** At most DAMAGED_SHOWN. */
  damaged: Damage[];
  damaged_count: number;
  records: RecordDamage[];
}

/** The most damaged files to name; the number counts all. */
export const DAMAGED_SHOWN = 10_000;

/** An older pass is out of date, and a new one begins. */
const PASS_MS = 30 * 86_400_000;

/** The time between two commits; a kill loses at most this. */
const SAVE_MS = 2_000;

/** The stored state of a pass. */
export class Pass {
  readonly isResumed: boolean;
  /** The pass reads one file in this number. */
  readonly slots: number;
  /** Which files of the sample it reads, from 0 to slots - 1. */
  readonly slot: number;
  readonly #database: Database;
  readonly #path: string;
  readonly #scope: string;
  readonly #started: number;
  /** Prepared once, because they are used for each file. */
  readonly #known: Statement;
  readonly #note: Statement;
  #savedMs = monotonicMs();

  constructor(
    held: DisposableHolder,
    client: ClientStore,
    { folder, only, slots }: { folder: string; only: string | undefined; slots: number },
  ) {
    this.#path = `${folder}/verify.sqlite`;
    this.slots = slots;
    this.#scope = `${only ?? 'all'} 1/${slots}`;
    const database = openCache(this.#path, SHAPE, true);
    this.#database = database;
    this.#known = database.prepare('SELECT facts FROM seen WHERE ino = ? AND at >= ?');
    this.#note = database.prepare('INSERT OR REPLACE INTO seen VALUES (?, ?, ?)');
    held.defer(() => {
      if (!database.isOpen) return;
      if (database.isTransaction) database.exec('COMMIT');
      database.close();
    });
    const time = now().getTime();
    database.prepare('DELETE FROM pass WHERE started < ? OR started > ?').run(time - PASS_MS, time);
    const old = database.prepare('SELECT started, slot FROM pass WHERE scope = ?').get(this.#scope) as
      | { started: number; slot: number }
      | undefined;
    this.isResumed = old !== undefined;
    this.#started = old?.started ?? time;
    this.slot = old?.slot ?? (readVerified(client).slot + 1) % slots;
    if (!old) {
      for (const table of ['done', 'damage', 'record'])
        database.prepare(`DELETE FROM ${table} WHERE scope = ?`).run(this.#scope);
      database.prepare('INSERT INTO pass VALUES (?, ?, ?)').run(this.#scope, this.#started, this.slot);
    }
    database.exec('BEGIN');
  }

  #save(): void {
    this.#database.exec('COMMIT; BEGIN');
    this.#savedMs = monotonicMs();
  }

  isInSample(inode: bigint): boolean {
    return this.slots === 1 || Number(inode % BigInt(this.slots)) === this.slot;
  }

  isDone(snapshot: string): boolean {
    const row = this.#database.prepare('SELECT 1 FROM done WHERE scope = ? AND snapshot = ?');
    return row.get(this.#scope, snapshot) !== undefined;
  }

  /** Whether this pass has read the inode and found these facts. */
  isKnown(inode: bigint, facts: Uint8Array): boolean {
    const row = this.#known.get(BigInt.asIntN(64, inode), this.#started) as { facts: Uint8Array } | undefined;
    return row !== undefined && Buffer.compare(row.facts, facts) === 0;
  }

  noteRead(inode: bigint, facts: Uint8Array): void {
    this.#note.run(BigInt.asIntN(64, inode), facts, now().getTime());
    if (monotonicMs() - this.#savedMs > SAVE_MS) this.#save();
  }

  /** @param inode 0 for damage in this snapshot only */
  noteDamage(snapshot: string, path: Buffer, inode: bigint, difference: Difference): void {
    this.#database
      .prepare('INSERT OR IGNORE INTO damage VALUES (?, ?, ?, ?, ?)')
      .run(this.#scope, snapshot, path, BigInt.asIntN(64, inode), difference);
  }

  noteRecord(snapshot: string, name: string, found: string): void {
    this.#database.prepare('INSERT INTO record VALUES (?, ?, ?, ?)').run(this.#scope, snapshot, name, found);
  }

  /** Forgets the results of a snapshot. */
  drop(snapshot: string): void {
    for (const table of ['done', 'damage', 'record'])
      this.#database
        .prepare(`DELETE FROM ${table} WHERE scope = ? AND snapshot = ?`)
        .run(this.#scope, snapshot);
  }

  finish(snapshot: string): void {
    this.#database.prepare('INSERT OR IGNORE INTO done VALUES (?, ?)').run(this.#scope, snapshot);
    this.#save();
  }

  /** The number of damaged files and records of a snapshot. */
  damagedIn(snapshot: string): number {
    const row = this.#database
      .prepare(
        `SELECT (SELECT count(DISTINCT path) FROM damage WHERE scope = $scope AND snapshot = $snapshot)
           + (SELECT count(*) FROM record WHERE scope = $scope AND snapshot = $snapshot) AS count`,
      )
      .get({ scope: this.#scope, snapshot }) as { count: number };
    return row.count;
  }

  /** All damage that this pass found. @param index finds the other snapshots that share a damaged file */
  found(index: StoreIndex): PassDamage {
    const statement = this.#database.prepare(
      `SELECT path, ino, group_concat(DISTINCT difference) AS differences,
         group_concat(DISTINCT snapshot) AS snapshots
       FROM damage WHERE scope = ? GROUP BY path, ino ORDER BY path, min(snapshot) LIMIT ${DAMAGED_SHOWN}`,
    );
    statement.setReadBigInts(true);
    const rows = statement.all(this.#scope) as unknown as {
      path: Uint8Array;
      ino: bigint;
      differences: string;
      snapshots: string;
    }[];
    const count = this.#database
      .prepare('SELECT count(*) AS count FROM (SELECT 1 FROM damage WHERE scope = ? GROUP BY path, ino)')
      .get(this.#scope) as { count: number };
    const records = this.#database
      .prepare('SELECT snapshot, name, found FROM record WHERE scope = ? ORDER BY snapshot, name')
      .all(this.#scope) as unknown as RecordDamage[];
    return {
      damaged: rows.map(({ path, ino, differences, snapshots }) => {
        const sharing = ino === 0n ? [] : [...index.sharing(ino)].flatMap(each => each.snapshots);
        return {
          path: Buffer.from(path).toString('latin1'),
          differences: differences.split(',') as Difference[],
          snapshots: [...new Set([...snapshots.split(','), ...sharing])].sort(),
        };
      }),
      damaged_count: count.count,
      records: records.map(each => ({ ...each })),
    };
  }

  /** Ends the pass, so that the next call begins a new one. */
  end(): void {
    const database = this.#database;
    database.exec('COMMIT');
    inTransaction(database, () => {
      for (const table of ['pass', 'done', 'damage', 'record'])
        database.prepare(`DELETE FROM ${table} WHERE scope = ?`).run(this.#scope);
    });
    if (database.prepare('SELECT 1 FROM pass').get() !== undefined) return;
    database.close();
    removeCache(this.#path);
  }
}

const SHAPE = {
  application: 0x6462_7672, // "dbvr"
  version: 1,
  tables: `
    CREATE TABLE pass (scope TEXT PRIMARY KEY, started INTEGER NOT NULL, slot INTEGER NOT NULL);
    CREATE TABLE seen (
      ino INTEGER PRIMARY KEY,
      facts BLOB NOT NULL,
      at INTEGER NOT NULL             -- milliseconds since 1970
    );
    CREATE TABLE done (scope TEXT NOT NULL, snapshot TEXT NOT NULL, PRIMARY KEY (scope, snapshot));
    CREATE TABLE damage (
      scope TEXT NOT NULL,
      snapshot TEXT NOT NULL,
      path BLOB NOT NULL,
      ino INTEGER NOT NULL,           -- 0: only of this snapshot
      difference TEXT NOT NULL,
      PRIMARY KEY (scope, snapshot, path, difference)
    );
    CREATE TABLE record (scope TEXT NOT NULL, snapshot TEXT NOT NULL, name TEXT NOT NULL, found TEXT NOT NULL);
  `,
};
