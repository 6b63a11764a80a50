/**
 * The catalog: STORE/catalog.sqlite, or below `cache_dir` (cache-place.ts). It is a cache of the facts of each client's snapshots and
 * journal. An overview of many clients would otherwise read the record of each snapshot.
 *
 * It can be removed at any time. Each use compares it with the store, and reads what is new: the names in snapshots/, the end of the
 * journal, and the status of verified.json and index.sqlite. It compares identities and never asks which of two times is later,
 * because a clock can be set back. A pin shows by its line in the journal. Each use also reads a few clients again as if they were
 * new, one after the other, so that a change by hand is noticed too. No command that removes or restores uses the catalog.
 */
import { ownAccount } from '../os/account.ts';
import {
  cannotWrite,
  type Database,
  databaseFault,
  inTransaction,
  isDamage,
  openCache,
  openImmutable,
  removeCache,
} from '../os/database.ts';
import { exists, readdir, stat, statusExact } from '../os/files.ts';
import { type JournalPosition, readJournalSince } from '../os/journal.ts';
import type { Entry } from '../os/journal-lines.ts';
import { snapshotTime } from '../wire/text.ts';
import { cachePath, makeCacheFolder } from './cache-place.ts';
import { type IndexSummary, summarizeIndex } from './index-summary.ts';
import { addEntries, type JournalFacts, NO_JOURNAL } from './journal-facts.ts';
import { readSnapshot, snapshotNames } from './snapshot.ts';
import { factsOf, type PackedFacts, packFacts, type SnapshotFacts, unpackFacts } from './snapshot-facts.ts';
import type { ClientStore } from './store.ts';
import { type LastVerification, lastVerification } from './verified.ts';

const SHAPE = {
  application: 0x64626361, // "dbca"
  version: 1,
  tables: 'CREATE TABLE client (name TEXT PRIMARY KEY, turn INTEGER NOT NULL, facts TEXT NOT NULL)',
};

/** A value that was taken from a file, and the status of the file at that time. */
interface Stamped<T> {
  stamp: string;
  value: T;
}

/** A prediction of the next removal, and the facts that it depends on. */
export interface KnownRemoval {
  key: string;
  /** When it was made, in milliseconds since 1970. */
  madeMs: number;
  value: { snapshot: string; at: string } | null;
}

/** The facts of one client. */
export interface CatalogEntry {
  /** Oldest first. */
  readonly snapshots: SnapshotFacts[];
  readonly journal: JournalFacts;
  /** The last verification; null if there was none. */
  readonly last_verify: LastVerification | null;
  /** The sums of the file index; null if it is out of date. */
  readonly index_summary: IndexSummary | null;
  /** The prediction of `keepRemoval`. It goes when the snapshots change. */
  readonly removal: KnownRemoval | undefined;
}

/** An entry with the data that tell whether it is current. */
interface Row extends CatalogEntry {
  position: JournalPosition | undefined;
  verified: Stamped<LastVerification | null>;
  index: Stamped<IndexSummary | null>;
}

/** Clients that are read again at each use. */
const READ_AGAIN = 5;
/** Changed rows that are held in memory. */
const ROWS_AT_ONCE = 200;

/** An open catalog. */
export class Catalog {
  readonly #store: string;
  #database: Database | undefined;
  readonly #isWritable: boolean;
  /** The clients to read again that were not asked for yet. */
  readonly #again: Set<string>;
  #turn: number;
  readonly #changed = new Map<string, string>();

  /**
   * Opens the catalog of a store. Another account than the store's owner uses it as it is, and writes nothing. Without a usable
   * file everything is read from the store.
   */
  constructor(store: string) {
    this.#store = store;
    const isOwner = stat(store).uid === ownAccount().uid;
    const found = (isOwner ? openQuietly(store, true) : undefined) ?? openQuietly(store, false);
    this.#database = found?.database;
    this.#isWritable = found?.isWritable ?? false;
    const turns = this.#rows<{ name: string; turn: number }>('SELECT name, turn FROM client ORDER BY turn');
    this.#again = new Set(this.#isWritable ? turns.slice(0, READ_AGAIN).map(each => each.name) : []);
    this.#turn = (turns.at(-1)?.turn ?? 0) + 1;
  }

  /** The facts of a client, as they are in the store now. @throws the error of a folder that cannot be read */
  entry(client: ClientStore): CatalogEntry {
    const known = this.#again.delete(client.name) ? undefined : this.#read(client.name);
    const row = refresh(client, known);
    if (row !== known) this.#change(client.name, row);
    return row;
  }

  /** Keeps a prediction for the next use. */
  keepRemoval(client: ClientStore, entry: CatalogEntry, removal: KnownRemoval): void {
    this.#change(client.name, { ...(entry as Row), removal });
  }

  /** Writes the changes, and drops clients that are gone. A full disk is no failure: the next use reads the store again. */
  save(clients: readonly string[]): void {
    this.#flush();
    const there = new Set(clients);
    const gone = this.#rows<{ name: string }>('SELECT name FROM client').filter(
      each => !there.has(each.name),
    );
    this.#write(database => {
      const drop = database.prepare('DELETE FROM client WHERE name = ?');
      for (const { name } of gone) drop.run(name);
    }, gone.length);
  }

  [Symbol.dispose](): void {
    this.#flush();
    this.#database?.close();
  }

  #read(name: string): Row | undefined {
    const changed = this.#changed.get(name);
    const text =
      changed ?? this.#rows<{ facts: string }>('SELECT facts FROM client WHERE name = ?', name)[0]?.facts;
    return text === undefined ? undefined : decodeRow(text);
  }

  #change(name: string, row: Row): void {
    if (!this.#isWritable) return;
    this.#changed.set(name, encodeRow(row));
    if (this.#changed.size >= ROWS_AT_ONCE) this.#flush();
  }

  #flush(): void {
    const changed = [...this.#changed];
    this.#changed.clear();
    this.#write(database => {
      const put = database.prepare('INSERT OR REPLACE INTO client (name, turn, facts) VALUES (?, ?, ?)');
      for (const [name, facts] of changed) put.run(name, this.#turn, facts);
    }, changed.length);
  }

  #write(action: (database: Database) => void, count: number): void {
    const database = this.#database;
    if (database === undefined || !this.#isWritable || count === 0) return;
    this.#guarded(() => inTransaction(database, () => action(database)));
  }

  #rows<T>(sql: string, ...values: string[]): T[] {
    const database = this.#database;
    if (database === undefined) return [];
    return this.#guarded(() => database.prepare(sql).all(...values) as T[]) ?? [];
  }

  /** Stops the use of a file that is damaged, or that cannot be written. */
  #guarded<T>(action: () => T): T | undefined {
    try {
      return action();
    } catch (error) {
      if (!isDamage(error) && !cannotWrite(error)) throw databaseFault(error, `use "${pathOf(this.#store)}"`);
      this.#database?.close();
      this.#database = undefined;
      if (isDamage(error) && this.#isWritable) removeCache(pathOf(this.#store));
      return undefined;
    }
  }
}

function pathOf(store: string): string {
  return cachePath(store, 'catalog.sqlite');
}

/** @returns undefined if there is no usable file, and none can be made */
function openQuietly(
  store: string,
  isWritable: boolean,
): { database: Database; isWritable: boolean } | undefined {
  const path = pathOf(store);
  try {
    if (isWritable) makeCacheFolder(store);
    return { database: openCache(path, SHAPE, isWritable), isWritable };
  } catch (error) {
    if (isWritable && !cannotWrite(error)) throw error;
    const database = isWritable ? undefined : openImmutable(path, SHAPE);
    return database && { database, isWritable };
  }
}

/** Compares a row with the store. @returns the same object if it is still true; else a new one */
function refresh(client: ClientStore, known: Row | undefined): Row {
  const names = namesOf(client, known);
  const more = readJournalSince(client.folder, known?.position);
  // A rotation that was killed can leave entries in the older files, and no journal.
  const hasJournal = (known?.position ?? more.position) !== undefined || more.entries.length > 0;
  const isReplaced = known === undefined || (more.isWhole && hasJournal);
  const isSame = !isReplaced && areTrue(known.snapshots, more.entries) && areSame(known.snapshots, names);
  const verified = stamped(isSame ? known.verified : undefined, [`${client.folder}/verified.json`], () =>
    lastVerification(client),
  );
  const database = cachePath(client.folder, 'index.sqlite');
  const index = stamped(isSame ? known.index : undefined, [database, `${database}-wal`], () =>
    summarizeIndex(client),
  );
  const isUnchanged = isSame && verified === known.verified && index === known.index;
  if (isUnchanged && (!hasJournal || more.position === known.position)) return known;
  return {
    snapshots: isSame
      ? known.snapshots
      : readNew(client, names, isReplaced ? [] : known.snapshots, more.entries),
    position: more.position,
    journal: addEntries(isReplaced ? NO_JOURNAL : known.journal, more.entries),
    verified,
    index,
    last_verify: verified.value,
    index_summary: index.value,
    removal: isSame ? known.removal : undefined,
  };
}

const NO_OFFERS = new Map<string, string>();

function readFacts(client: ClientStore, name: string): SnapshotFacts {
  return factsOf(readSnapshot(client, name, NO_OFFERS));
}

/** Reads the facts of the snapshots that are new, that were pinned or unpinned since, or whose record could not be read. */
function readNew(
  client: ClientStore,
  names: string[],
  known: SnapshotFacts[],
  later: Entry[],
): SnapshotFacts[] {
  const pinned = new Set(later.filter(isPin).map(({ snapshot }) => snapshot));
  const kept = new Map(known.filter(each => !isDamaged(each)).map(each => [each.name, each]));
  return names.map(name => (pinned.has(name) ? undefined : kept.get(name)) ?? readFacts(client, name));
}

const isPin = ({ event }: Entry): boolean => event === 'pinned' || event === 'unpinned';
const isDamaged = ({ flags }: SnapshotFacts): boolean => flags.includes('damaged');

function areTrue(snapshots: SnapshotFacts[], later: Entry[]): boolean {
  return !later.some(isPin) && !snapshots.some(isDamaged);
}

/** `snapshotNames()`, without a look at the names that are known. */
function namesOf(client: ClientStore, known: Row | undefined): string[] {
  if (known === undefined) return snapshotNames(client);
  const names = readdir(`${client.folder}/snapshots`).sort();
  return areSame(known.snapshots, names) ? names : names.filter(name => snapshotTime(name) !== undefined);
}

function areSame(snapshots: SnapshotFacts[], names: string[]): boolean {
  return snapshots.length === names.length && snapshots.every((each, at) => each.name === names[at]);
}

/** @returns the known value if the files have the same status; else a new one */
function stamped<T>(known: Stamped<T> | undefined, paths: string[], read: () => T): Stamped<T> {
  const stamp = paths.map(statusText).join(' ');
  return known?.stamp === stamp ? known : { stamp, value: read() };
}

/** The status of a file as text; SQLite's empty log is like a missing one. */
function statusText(path: string): string {
  if (!exists(path)) return '-';
  const { ino, size, mtimeNs, ctimeNs } = statusExact(path);
  return size === 0n ? '-' : `${ino}.${size}.${mtimeNs}.${ctimeNs}`;
}

function encodeRow({ snapshots, position, journal, verified, index, removal }: Row): string {
  return JSON.stringify([
    snapshots.map(packFacts),
    journal,
    verified,
    index,
    position ?? null,
    removal ?? null,
  ]);
}

/** @returns undefined for text of another form, which only a damaged file has */
function decodeRow(text: string): Row | undefined {
  try {
    const [packed, journal, verified, index, position, removal] = JSON.parse(text) as [
      PackedFacts[],
      JournalFacts,
      Row['verified'],
      Row['index'],
      JournalPosition | null,
      KnownRemoval | null,
    ];
    return {
      snapshots: packed.map(unpackFacts),
      position: position ?? undefined,
      journal,
      verified,
      index,
      last_verify: verified.value,
      index_summary: index.value,
      removal: removal ?? undefined,
    };
  } catch {
    return undefined;
  }
}
