/**
 * One pass of `verify` over a client's snapshots: how far it is and what it has found, in clients/NAME/verify.sqlite. A pass that was
 * killed continues there.
 */
import { type Database, inTransaction, openCache, removeCache, type Statement } from '../os/database.ts';
import { monotonicMs, now } from '../os/machine.ts';
import type { DisposableHolder } from '../os/runfolder.ts';
import type { StoreIndex } from './file-index.ts';
import type { ClientStore } from './store.ts';
import { readVerified } from './verified.ts';

/** In what a file or folder is not what it was. */
export type Difference =
  | 'content'
  | 'attributes' // owner, mode, ACL, xattrs: user.rsync.%stat too
  | 'size'
  | 'time'
  | 'type'
  | 'missing'
  | 'extra'
  | 'unreadable';

export interface Damage {
  /** Below the tree; a character a byte. */
  path: string;
  differences: Difference[];
  /** All that share it, oldest first. */
  snapshots: string[];
}

/** Something beside a snapshot's tree, its manifest above all, or the tree as a whole. */
export interface RecordDamage {
  snapshot: string;
  name: string;
  found: string;
}

/** All that a pass found. */
export interface PassDamage {
  /** At most DAMAGED_SHOWN of them. */
  damaged: Damage[];
  damaged_count: number;
  records: RecordDamage[];
}

/** So many damaged files are named; of all there is the number. */
export const DAMAGED_SHOWN = 10_000;

/** A pass that was begun so long ago says nothing of today: it begins anew. */
const PASS_MS = 30 * 86_400_000;

/** What a kill costs at most. */
const SAVE_MS = 2_000;

/** How far a pass is, on the disk. */
export class Pass {
  readonly isResumed: boolean;
  /** One file in so many is read. */
  readonly slots: number;
  /** Which of them. */
  readonly slot: number;
  readonly #database: Database;
  readonly #path: string;
  readonly #scope: string;
  readonly #started: number;
  /** Made once: they are used for each file. */
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

  /** Whether the inode was read in this pass, and was found to be this. */
  isKnown(inode: bigint, facts: Uint8Array): boolean {
    const row = this.#known.get(BigInt.asIntN(64, inode), this.#started) as { facts: Uint8Array } | undefined;
    return row !== undefined && Buffer.compare(row.facts, facts) === 0;
  }

  noteRead(inode: bigint, facts: Uint8Array): void {
    this.#note.run(BigInt.asIntN(64, inode), facts, now().getTime());
    if (monotonicMs() - this.#savedMs > SAVE_MS) this.#save();
  }

  /** @param inode 0 for what is of this snapshot alone */
  noteDamage(snapshot: string, path: Buffer, inode: bigint, difference: Difference): void {
    this.#database
      .prepare('INSERT OR IGNORE INTO damage VALUES (?, ?, ?, ?, ?)')
      .run(this.#scope, snapshot, path, BigInt.asIntN(64, inode), difference);
  }

  noteRecord(snapshot: string, name: string, found: string): void {
    this.#database.prepare('INSERT INTO record VALUES (?, ?, ?, ?)').run(this.#scope, snapshot, name, found);
  }

  /** Forgets what was found in a snapshot. */
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

  /** How many damaged files and records a snapshot has. */
  damagedIn(snapshot: string): number {
    const row = this.#database
      .prepare(
        `SELECT (SELECT count(DISTINCT path) FROM damage WHERE scope = $scope AND snapshot = $snapshot)
           + (SELECT count(*) FROM record WHERE scope = $scope AND snapshot = $snapshot) AS count`,
      )
      .get({ scope: this.#scope, snapshot }) as { count: number };
    return row.count;
  }

  /** All that was found in this pass. @param index tells who else shares a damaged file */
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

  /** It is over: the next one begins anew. */
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
      ino INTEGER NOT NULL,           -- 0: of this snapshot alone
      difference TEXT NOT NULL,
      PRIMARY KEY (scope, snapshot, path, difference)
    );
    CREATE TABLE record (scope TEXT NOT NULL, snapshot TEXT NOT NULL, name TEXT NOT NULL, found TEXT NOT NULL);
  `,
};
