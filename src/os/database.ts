/** Opens SQLite databases; no other file does. */
import { backup, DatabaseSync, type StatementSync as Statement } from 'node:sqlite';
import { pathToFileURL } from 'node:url';
import { Fault } from '../fault.ts';
import { isConfined } from './confinement.ts';
import { close, exists, fileFault, open, openFlags, removeFileIfThere, stat } from './files.ts';

export type { DatabaseSync as Database, StatementSync as Statement } from 'node:sqlite';

/** The tables of a database, and the marks by which we recognize it. */
export interface Shape {
  /** PRAGMA application_id: the kind of database. */
  application: number;
  /** PRAGMA user_version: a database with another version is replaced. */
  version: number;
  /** The statements that create its tables. */
  tables: string;
}

/** How long another process may write: it can be adding millions of files to an index. */
const BUSY_MS = 300_000;

/**
 * Opens a cache: a database that can be rebuilt at any time. It replaces a file that is damaged, has another version or is not
 * such a cache. Readers do not wait for the writer (WAL).
 * @param writable false: open it read-only, and neither create nor replace it
 * @throws Fault when it cannot be opened; when it is not writable, also when there is no usable file
 */
export function openCache(path: string, shape: Shape, writable: boolean): DatabaseSync {
  const tried = `open "${path}"`;
  if (writable) {
    const found = tryOpen(path, shape);
    if (found) return found;
    removeCache(path);
    const made = tryOpen(path, shape);
    if (made) return made;
    throw new Fault({ tried, found: 'SQLite cannot create it' });
  }
  if (!exists(path)) throw new Fault({ tried, found: 'it does not exist yet' });
  try {
    const database = openReadOnly(path, shape);
    if (database) return database;
  } catch (error) {
    throw new Fault({ tried, found: sqliteWords(error), cause: error });
  }
  throw new Fault({ tried, found: 'it has another version' });
}

/**
 * Opens a database of its own for temporary rows. SQLite keeps it in memory up to the size of its cache, and otherwise in a file without
 * a name in the folder for temporary files. The caller closes it.
 * @param tables the statements that create its tables
 * @throws Fault when it cannot be made
 */
export function openScratchDatabase(tables: string): DatabaseSync {
  try {
    const database = new DatabaseSync('');
    database.exec('PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA temp_store = FILE;');
    database.exec('PRAGMA cache_size = -2048; PRAGMA temp.cache_size = -1024;');
    database.exec(`${tables}; BEGIN;`);
    return database;
  } catch (error) {
    throw databaseFault(error, 'make a temporary database');
  }
}

/**
 * Opens a cache on a read-only file system or in a jail that forbids writing. SQLite cannot read a log (-wal)
 * there. Without a log the file is complete.
 * @returns undefined if there is a log, or no usable file
 */
export function openImmutable(path: string, shape: Shape): DatabaseSync | undefined {
  if (!exists(path) || !isComplete(path)) return undefined;
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(immutable(path), { readOnly: true });
    if (isOurs(database, shape)) return database;
  } catch {
    // a file that is damaged
  }
  if (database?.isOpen) database.close();
  return undefined;
}

/**
 * Opens a database read-only. In a jail SQLite cannot make the files for readers of a log (-wal, -shm). Without a log the file is
 * complete, and needs none of them.
 * @returns undefined if it is not ours
 * @throws SQLite's error
 */
function openReadOnly(path: string, shape: Shape): DatabaseSync | undefined {
  const place = isConfined() && isComplete(path) ? immutable(path) : path;
  const database = new DatabaseSync(place, {
    readOnly: true,
    timeout: BUSY_MS,
  });
  try {
    if (isConfined()) database.exec('PRAGMA temp_store = MEMORY');
    if (isOurs(database, shape)) return database;
  } catch (error) {
    database.close();
    throw error;
  }
  database.close();
  return undefined;
}

/** Whether all of a database is in its file. A writer that was killed can leave an empty log. */
function isComplete(path: string): boolean {
  return !exists(`${path}-wal`) || stat(`${path}-wal`).size === 0;
}

/** A name by which SQLite opens a database without its log and without locks. */
function immutable(path: string): URL {
  return new URL(`${pathToFileURL(path)}?immutable=1`);
}

/** Removes a cache and SQLite's files beside it, if they exist. */
export function removeCache(path: string): void {
  for (const each of ['', '-wal', '-shm']) removeFileIfThere(`${path}${each}`);
}

/** @returns undefined for a file that must be replaced */
function tryOpen(path: string, shape: Shape): DatabaseSync | undefined {
  let database: DatabaseSync | undefined;
  try {
    // SQLite would make it readable for all. The files that it makes beside it get the same mode.
    close(open(path, openFlags.O_RDWR | openFlags.O_CREAT, 0o600));
    database = new DatabaseSync(path, { timeout: BUSY_MS });
    // auto_vacuum has an effect only before the first table exists. The last setting shrinks a log to one MiB.
    database.exec(
      'PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;',
    );
    database.exec('PRAGMA journal_size_limit = 1048576');
    if (isOurs(database, shape)) return database;
    if (makeTables(database, shape)) return database;
    database.close();
  } catch (error) {
    database?.close();
    // Do not replace a file because the disk is full or the folder is read-only.
    if (!isSqlite(error)) throw fileFault(error, `open "${path}"`);
    if (!isDamage(error)) throw databaseFault(error, `open "${path}"`);
  }
  return undefined;
}

/** @returns whether it is ours now, made here or by another process meanwhile; false if it has other tables */
function makeTables(database: DatabaseSync, shape: Shape): boolean {
  return inTransaction(database, () => {
    if (isOurs(database, shape)) return true;
    if (database.prepare('SELECT 1 FROM sqlite_schema').get() !== undefined) return false;
    database.exec(shape.tables);
    database.exec(`PRAGMA application_id = ${shape.application}; PRAGMA user_version = ${shape.version};`);
    return true;
  });
}

function isOurs(database: DatabaseSync, shape: Shape): boolean {
  const pragma = (name: string): unknown => Object.values(database.prepare(`PRAGMA ${name}`).get() ?? {})[0];
  return pragma('application_id') === shape.application && pragma('user_version') === shape.version;
}

/** SQLite's primary result codes (sqlite.org/rescode.html). */
const PERMISSION = 3;
const READ_ONLY = 8;
const INPUT_OUTPUT = 10;
const CORRUPT = 11;
const FULL = 13;
const CANNOT_OPEN = 14;
const NOT_A_DATABASE = 26;

function codeOf(error: unknown): number {
  return ((error as { errcode?: number } | undefined)?.errcode ?? 0) & 0xff;
}

function isSqlite(error: unknown): boolean {
  return (error as { code?: unknown } | undefined)?.code === 'ERR_SQLITE_ERROR';
}

/** Whether an error means that the file is damaged, so that the cache must be rebuilt. */
export function isDamage(error: unknown): boolean {
  return [CORRUPT, NOT_A_DATABASE].includes(codeOf(error));
}

/** Errors of a place where we cannot create files: it is read-only, full, or owned by another account. */
const NO_WRITING = new Set(['EROFS', 'ENOSPC', 'EDQUOT', 'EACCES', 'EPERM']);

/** Whether an error means that we cannot write there: a full disk, a read-only file system, no permission. */
export function cannotWrite(error: unknown): boolean {
  const cause = error instanceof Fault ? error.cause : error;
  if (NO_WRITING.has((cause as { code?: string } | undefined)?.code ?? '')) return true;
  const codes = [PERMISSION, READ_ONLY, INPUT_OUTPUT, FULL, CANNOT_OPEN];
  return isSqlite(cause) && codes.includes(codeOf(cause));
}

/**
 * Copies a cache that is in a place where we cannot write. The copy may fail: then the caller builds a new
 * cache.
 * @param to a path that does not exist
 */
export async function copyCache(from: string, to: string): Promise<void> {
  // On a read-only file system SQLite cannot read a log (-wal). Without a log the file is complete.
  const isWhole = isComplete(from);
  const places = [from, ...(isWhole ? [immutable(from)] : [])];
  for (const place of places) {
    let database: DatabaseSync | undefined;
    try {
      database = new DatabaseSync(place, { readOnly: true, timeout: BUSY_MS });
      await backup(database, to);
      return;
    } catch {
      removeCache(to);
    } finally {
      if (database?.isOpen) database.close();
    }
  }
}

function exitOf(error: unknown): { exit?: 'noSpace' } {
  return codeOf(error) === FULL ? { exit: 'noSpace' } : {};
}

function sqliteWords(error: unknown): string {
  return error instanceof Error ? `SQLite says: ${error.message}` : String(error);
}

/** Makes a Fault of an error of SQLite's. @param tried as in a Fault */
export function databaseFault(error: unknown, tried: string): Fault {
  return error instanceof Fault
    ? error
    : new Fault({ tried, found: sqliteWords(error), cause: error, ...exitOf(error) });
}

/** The smallest number of SQLite, which stores numbers in 64 signed bits. */
export const LEAST_NUMBER = -(2n ** 63n);

/**
 * Reads rows in batches, in the order of a number. No query is open between two batches, so that rows can be changed
 * meanwhile.
 * @param statement selects some rows that have a greater number than its parameter, in the order of that number
 */
export function* rowBatches<Row>(statement: Statement, numberOf: (row: Row) => bigint): Generator<Row[]> {
  statement.setReadBigInts(true);
  for (let after = LEAST_NUMBER; ; ) {
    const rows = statement.all(after) as Row[];
    const last = rows.at(-1);
    if (last === undefined) return;
    after = numberOf(last);
    yield rows;
  }
}

/** Runs an action in a transaction, during which no other process writes. @throws the action's error, after a rollback */
export function inTransaction<T>(database: DatabaseSync, action: () => T): T {
  database.exec('BEGIN IMMEDIATE');
  let result: T;
  try {
    result = action();
    database.exec('COMMIT');
  } catch (error) {
    if (database.isTransaction) database.exec('ROLLBACK');
    throw error;
  }
  return result;
}
