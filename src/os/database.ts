/** The only code that opens a database: SQLite, as node brings it. */
import { backup, DatabaseSync } from 'node:sqlite';
import { pathToFileURL } from 'node:url';
import { Fault } from '../fault.ts';
import { close, exists, fileFault, open, openFlags, removeFileIfThere, stat } from './files.ts';

export type { DatabaseSync as Database, StatementSync as Statement } from 'node:sqlite';

/** What a database is made of, and how one is known to be ours. */
export interface Shape {
  /** PRAGMA application_id: whose file it is. */
  application: number;
  /** PRAGMA user_version: another one is made anew. */
  version: number;
  /** The statements that make its tables. */
  tables: string;
}

/** Another process may be writing for so long: a snapshot of millions of files being taken into an index. */
const BUSY_MS = 300_000;

/**
 * Opens a database that can be made anew at any time (a cache): one that is damaged, of another version, or somebody
 * else's is thrown away. Readers do not wait for the writer (WAL).
 * @param writable where not, it is opened as it is: nothing is made, and nothing thrown away
 * @throws Fault when it cannot be opened, or, not writable, when there is none that can be used
 */
export function openCache(path: string, shape: Shape, writable: boolean): DatabaseSync {
  const tried = `open "${path}"`;
  if (writable) {
    const found = tryOpen(path, shape);
    if (found) return found;
    removeCache(path);
    const made = tryOpen(path, shape);
    if (made) return made;
    throw new Fault({ tried, found: 'SQLite cannot make one there' });
  }
  if (!exists(path)) throw new Fault({ tried, found: 'there is none yet' });
  try {
    const database = new DatabaseSync(path, { readOnly: true, timeout: BUSY_MS });
    if (isOurs(database, shape)) return database;
    database.close();
  } catch (error) {
    throw new Fault({ tried, found: sqliteWords(error), cause: error });
  }
  throw new Fault({ tried, found: 'it is of another version' });
}

/** Removes a cache, and what SQLite lays beside it; none there is fine. */
export function removeCache(path: string): void {
  for (const each of ['', '-wal', '-shm']) removeFileIfThere(`${path}${each}`);
}

/** @returns undefined for one that is of no use */
function tryOpen(path: string, shape: Shape): DatabaseSync | undefined {
  let database: DatabaseSync | undefined;
  try {
    // SQLite would make it readable to all; what it lays beside it gets the same mode.
    close(open(path, openFlags.O_RDWR | openFlags.O_CREAT, 0o600));
    database = new DatabaseSync(path, { timeout: BUSY_MS });
    // Before there is a table: later it has no effect. The log goes back to a megabyte when it was larger.
    database.exec(
      'PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;',
    );
    database.exec('PRAGMA journal_size_limit = 1048576');
    if (isOurs(database, shape)) return database;
    if (makeTables(database, shape)) return database;
    database.close();
  } catch (error) {
    database?.close();
    // A full disk, or a folder that may not be written to, is no reason to throw anything away.
    if (!isSqlite(error)) throw fileFault(error, `open "${path}"`);
    if (!isDamage(error)) throw databaseFault(error, `open "${path}"`);
  }
  return undefined;
}

/** @returns whether it is ours now: made here, or by another process in between; not where it has somebody else's tables */
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

/** Whether a failure says that the file itself is of no use: a cache is then made anew. */
export function isDamage(error: unknown): boolean {
  return [CORRUPT, NOT_A_DATABASE].includes(codeOf(error));
}

/** errno names of a place that takes no files: read-only, full, or of someone else. */
const NO_WRITING = new Set(['EROFS', 'ENOSPC', 'EDQUOT', 'EACCES', 'EPERM']);

/** Whether a failure says that nothing can be written there: a full disk, a read-only file system, no permission. */
export function cannotWrite(error: unknown): boolean {
  const cause = error instanceof Fault ? error.cause : error;
  if (NO_WRITING.has((cause as { code?: string } | undefined)?.code ?? '')) return true;
  const codes = [PERMISSION, READ_ONLY, INPUT_OUTPUT, FULL, CANNOT_OPEN];
  return isSqlite(cause) && codes.includes(codeOf(cause));
}

/**
 * Copies a cache that cannot be written where it is. Nothing is copied where that cannot be done safely: the copy is then
 * made anew.
 * @param to a path without a file
 */
export async function copyCache(from: string, to: string): Promise<void> {
  // Beside a read-only file SQLite cannot make what it needs to read a log (-wal). Without a log the file alone is whole.
  const isWhole = !exists(`${from}-wal`) || stat(`${from}-wal`).size === 0;
  const places = [from, ...(isWhole ? [new URL(`${pathToFileURL(from)}?immutable=1`)] : [])];
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

/** A failure of SQLite's as a Fault that names what was tried. */
export function databaseFault(error: unknown, tried: string): Fault {
  return error instanceof Fault
    ? error
    : new Fault({ tried, found: sqliteWords(error), cause: error, ...exitOf(error) });
}

/** Does all of it or nothing; nobody else writes meanwhile. */
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
