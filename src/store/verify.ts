/**
 * `dialback verify`: reads a store back, and compares it with the manifests.
 *
 * Each inode is read once, however many snapshots share it; each name, size and time is looked at in every snapshot. What
 * was found so far stands in clients/NAME/verify.sqlite, so that a pass that was ended goes on; when a snapshot was last
 * verified, in clients/NAME/verified.json. Nothing under snapshots/ is written, but manifests that were missing. A store that
 * cannot be written (read-only, full) is verified all the same; then no record of it is kept.
 */
import { hash } from 'node:crypto';
import { Fault } from '../fault.ts';
import { monotonicMs, now } from '../os/clock.ts';
import { digestFile, readWhole } from '../os/content.ts';
import {
  cannotWrite,
  type Database,
  inTransaction,
  openCache,
  removeCache,
  type Statement,
} from '../os/database.ts';
import { exists, makeUniqueFolder, removeAll, removeFileIfThere, whatFailed } from '../os/files.ts';
import { beIdle } from '../os/priority.ts';
import { replaceFile } from '../os/replace.ts';
import { type DisposableHolder, takeLock } from '../os/runfolder.ts';
import { temporaryFolder } from '../os/scratch.ts';
import { escapeText, SNAPSHOT } from '../wire/text.ts';
import type { Doubtful } from './doubtful-files.ts';
import {
  BATCH,
  listTree,
  readXattrsOfEach,
  requireReaders,
  type StoredEntry,
  type Xattr,
} from './fake-super.ts';
import { openIndex, type StoreIndex } from './file-index.ts';
import { LOST_ATTRIBUTES, LostAttributes } from './lost-attributes.ts';
import {
  below,
  changedRecords,
  DamagedManifest,
  describeEntry,
  inBatches,
  MANIFEST,
  type MadeManifests,
  makeManifests,
  manifestOf,
  prepareRecheckQuietly,
  readManifest,
} from './manifest.ts';
import { encodeEntry, isUnread, type ManifestEntry } from './mtree.ts';
import { type Pair, pairEntries } from './pairs.ts';
import { keepScratchIn } from './scratch.ts';
import {
  type ClientStore,
  doubtfulFiles,
  findSnapshot,
  listClients,
  openClient,
  openStore,
  recordEvent,
  requireOwner,
  snapshotNames,
} from './store.ts';

export interface VerifyOptions {
  store: string;
  /** None: all clients. */
  client: string | undefined;
  /** As findSnapshot takes it; none: all of the client's. */
  snapshot: string | undefined;
  /** Percent of the files whose content and attributes are read: another part each time, until all had their turn. */
  sample: number;
}

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

/** What came of one client's snapshots. */
export interface Verified {
  client: string;
  /** Those that were compared with their manifests, oldest first. */
  snapshots: string[];
  /** Those whose manifest was made only now: they are not verified. */
  made: string[];
  /** Those whose manifest another process is making, or that cannot get one, since the store cannot be written. */
  unmade: string[];
  /** Why this store cannot take down what was found; null where it has. */
  unrecorded: string | null;
  /** Why the client could not be verified at all, or not to its end; null where it was. */
  failed: string | null;
  /** Names that were looked at, and files and bytes that were read, without what an earlier run of this pass did. */
  names: number;
  files_read: number;
  bytes_read: number;
  /** The part of the files that was read, in percent. */
  sample: number;
  resumed: boolean;
  /** At most DAMAGED_SHOWN of them. */
  damaged: Damage[];
  damaged_count: number;
  records: RecordDamage[];
  /**
   * Files that have holes or end in zeros, in snapshots of a version that did not make sure of their data: the next backup
   * compares them with the client.
   */
  doubtful: Doubtful[];
}

/** How far it is. How much there is to read nobody knows beforehand: what several snapshots share is read once. */
export interface VerifyProgress {
  client: string;
  /** Which of how many snapshots, from 1 on. */
  snapshot: number;
  snapshots: number;
  /** Read so far, of this client. */
  files: number;
  bytes: number;
}

/** So many damaged files are named; of all there is the number. */
export const DAMAGED_SHOWN = 10_000;
/** Another process that makes manifests is waited for; then the rest is left to it. */
const MANIFEST_WAIT_SECONDS = 30;

/** Whether all was verified, and nothing was found damaged. */
export function isWell(results: Verified[]): boolean {
  return results.every(each => each.failed === null && each.damaged_count + each.records.length === 0);
}

/**
 * Verifies one snapshot, one client's, or all. Of several clients, one that cannot be verified does not stop the others.
 * @param tell is told how far it is, where somebody wants to know
 * @throws Fault `locked` when another process verifies the client that was named
 */
export async function verify(
  options: VerifyOptions,
  signal: AbortSignal,
  tell?: (progress: VerifyProgress) => void,
): Promise<Verified[]> {
  openStore(options.store);
  requireOwner(options.store, 'verify');
  requireReaders(); // what it cannot read for want of a program is not damaged
  const clients = options.client === undefined ? listClients(options.store) : [options.client];
  keepScratchIn(options.store);
  await beIdle();
  const results: Verified[] = [];
  for (const name of clients) {
    const result = emptyResult(name, options.sample);
    results.push(result);
    try {
      const client = openClient(options.store, name);
      const only = options.snapshot === undefined ? undefined : findSnapshot(client, options.snapshot).name;
      await verifyClient(client, result, { only, sample: options.sample, signal, tell });
    } catch (error) {
      signal.throwIfAborted();
      if (options.client !== undefined) throw error;
      result.failed = error instanceof Fault ? error.message : escapeText(String(error), 2000);
    }
  }
  return results;
}

function emptyResult(client: string, sample: number): Verified {
  return {
    client,
    snapshots: [],
    made: [],
    unmade: [],
    unrecorded: null,
    failed: null,
    names: 0,
    files_read: 0,
    bytes_read: 0,
    sample,
    resumed: false,
    damaged: [],
    damaged_count: 0,
    records: [],
    doubtful: [],
  };
}

async function verifyClient(
  client: ClientStore,
  result: Verified,
  options: {
    only: string | undefined;
    sample: number;
    signal: AbortSignal;
    tell: ((progress: VerifyProgress) => void) | undefined;
  },
): Promise<void> {
  const { only, sample, signal, tell } = options;
  await using held = new AsyncDisposableStack();
  const unrecorded = await whyUnrecorded(held, client);
  const nothing: MadeManifests = { made: [], failed: new Map() };
  const { made, failed } =
    unrecorded === undefined ? await makeManifests(client, signal, MANIFEST_WAIT_SECONDS) : nothing;
  const index = await openIndex(held, client, signal);
  const pass = new Pass(held, client, {
    folder: unrecorded === undefined ? client.folder : temporaryPlace(held),
    only,
    slots: Math.max(1, Math.floor(100 / sample)),
  });
  const wanted = only === undefined ? snapshotNames(client) : [only];
  Object.assign(result, {
    made: made.filter(each => wanted.includes(each)),
    unrecorded: unrecorded ?? null,
    sample: pass.slots === 1 ? 100 : 100 / pass.slots,
    resumed: pass.isResumed,
  });
  if (unrecorded === undefined) await prepareRecheckQuietly(client, signal);
  result.doubtful = await doubtfulFiles(client, signal);
  for (const [index, name] of wanted.entries()) {
    if (made.includes(name)) {
      pass.drop(name);
      continue;
    }
    if (!exists(manifestOf(client, name))) {
      if (exists(`${client.folder}/snapshots/${name}`)) noteUnmade(result, pass, name, failed.get(name));
      continue;
    }
    const heard = (): void => {
      const { files_read: files, bytes_read: bytes } = result;
      tell?.({ client: client.name, snapshot: index + 1, snapshots: wanted.length, files, bytes });
    };
    if (!pass.isDone(name)) await new Comparison(client, name, pass, { result, heard }, signal).run();
    // What was removed meanwhile is not there to be damaged.
    if (!exists(`${client.folder}/snapshots/${name}`)) {
      pass.drop(name);
      continue;
    }
    pass.finish(name);
    result.snapshots.push(name);
  }
  Object.assign(result, pass.found(index));
  if (unrecorded === undefined) noteVerified(client, result, pass);
  pass.end();
  if (result.damaged_count + result.records.length > 0) noteDamage(client, result);
}

/** @param reason why its manifest cannot be made; undefined: another process makes it, or the store takes no files */
function noteUnmade(result: Verified, pass: Pass, snapshot: string, reason: string | undefined): void {
  pass.drop(snapshot);
  if (reason === undefined) result.unmade.push(snapshot);
  else pass.noteRecord(snapshot, MANIFEST, reason);
}

/**
 * Takes the lock that keeps two passes apart.
 * @returns why this store takes no files, in words, where it does not: then nothing else is written into it either
 * @throws Fault `locked` when another process verifies the client
 */
async function whyUnrecorded(held: DisposableHolder, client: ClientStore): Promise<string | undefined> {
  try {
    if ((await takeLock(held, `${client.folder}/verify.lock`)) !== undefined) {
      writeProbe(client.folder);
      return undefined;
    }
  } catch (error) {
    if (!cannotWrite(error)) throw error;
    return error instanceof Fault ? error.found : whatFailed(error);
  }
  throw new Fault({
    tried: `verify "${client.name}"`,
    found: 'another process does already',
    exit: 'locked',
  });
}

/** More than the smallest files need: a store with less room takes no manifest and no database. */
const PROBE_BYTES = 1024 * 1024;

/** @throws Fault where a folder has no room for files */
function writeProbe(folder: string): void {
  const path = `${folder}/.verify-probe`;
  try {
    replaceFile(path, Buffer.alloc(PROBE_BYTES));
  } finally {
    removeFileIfThere(path);
  }
}

function temporaryPlace(held: DisposableHolder): string {
  const folder = makeUniqueFolder(`${temporaryFolder()}/dialback-verify-`);
  held.defer(() => removeAll(folder));
  return folder;
}

/** The journal has it too: who lets cron verify finds it there. */
function noteDamage(client: ClientStore, result: Verified): void {
  try {
    recordEvent(client, 'damaged', { files: result.damaged_count, records: result.records.length });
  } catch {
    // a full disk: the caller says it all the same
  }
}

/** One snapshot, compared with its manifest. */
class Comparison {
  readonly #client: ClientStore;
  readonly #name: string;
  readonly #tree: string;
  readonly #pass: Pass;
  readonly #result: Verified;
  readonly #heard: () => void;
  readonly #signal: AbortSignal;
  readonly #lost = new LostAttributes();
  /** What of the tree could not be listed. */
  #unlisted: string | undefined;

  /** @param count where it is counted, and what is called whenever it was */
  constructor(
    client: ClientStore,
    name: string,
    pass: Pass,
    count: { result: Verified; heard: () => void },
    signal: AbortSignal,
  ) {
    this.#client = client;
    this.#name = name;
    this.#tree = `${client.folder}/snapshots/${name}/tree`;
    this.#pass = pass;
    this.#result = count.result;
    this.#heard = count.heard;
    this.#signal = signal;
  }

  async run(): Promise<void> {
    const pass = this.#pass;
    pass.drop(this.#name);
    const changed = await changedRecords(this.#client, this.#name, this.#signal);
    for (const each of changed) pass.noteRecord(this.#name, each, 'it does not agree with its SHA-256');
    // What a damaged manifest says would name files that are well.
    if (changed.includes(MANIFEST)) return;
    try {
      const wanted = readManifest(this.#client, this.#name, this.#signal);
      const complain = (found: string): void => {
        this.#unlisted ??= found;
      };
      const stored = listTree(this.#tree, { signal: this.#signal, complain });
      for await (const batch of inBatches(pairEntries(wanted, stored), BATCH)) await this.#compare(batch);
      if (this.#unlisted !== undefined) pass.noteRecord(this.#name, 'tree', this.#unlisted);
      if (this.#lost.areLost) pass.noteRecord(this.#name, 'tree', LOST_ATTRIBUTES);
    } catch (error) {
      this.#signal.throwIfAborted();
      if (!(error instanceof Fault)) throw error;
      const isManifest = error instanceof DamagedManifest;
      if (isManifest) pass.drop(this.#name);
      pass.noteRecord(this.#name, isManifest ? MANIFEST : 'tree', error.found);
    }
  }

  async #compare(batch: Pair[]): Promise<void> {
    this.#heard();
    const toRead: { wanted: ManifestEntry; found: StoredEntry }[] = [];
    for (const { wanted, found } of batch) {
      this.#result.names += 1;
      if (wanted === undefined || found === undefined) this.#noteAlone(wanted, found);
      else if (this.#isWell(wanted, found)) toRead.push({ wanted, found });
    }
    const entries = toRead.map(each => each.found);
    const xattrs = await readXattrsOfEach(this.#tree, entries, this.#signal);
    for (const [at, { wanted, found }] of toRead.entries()) {
      const own = xattrs[at];
      if (own === undefined) this.#note(found, 'unreadable');
      else await this.#read(wanted, found, own);
    }
  }

  #noteAlone(wanted: ManifestEntry | undefined, found: StoredEntry | undefined): void {
    if (found) this.#note(found, 'extra');
    else if (wanted) this.#pass.noteDamage(this.#name, Buffer.from(wanted.path, 'latin1'), 0n, 'missing');
  }

  #note(found: StoredEntry, difference: Difference): void {
    const inode = found.isFolder || difference === 'extra' ? 0n : found.inode;
    this.#pass.noteDamage(this.#name, found.path, inode, difference);
  }

  /** Notes what lstat(2) tells. @returns whether the rest has to be read too */
  #isWell(wanted: ManifestEntry, found: StoredEntry): boolean {
    if ((wanted.type === 'dir') !== found.isFolder) {
      this.#note(found, 'type');
      return false;
    }
    if (wanted.mtimeNs !== found.mtimeNs) this.#note(found, 'time');
    if (found.isFolder) return true;
    if (wanted.size !== found.size) this.#note(found, 'size');
    return this.#pass.isInSample(found.inode) && !this.#pass.isKnown(found.inode, factsOf(wanted));
  }

  async #read(wanted: ManifestEntry, found: StoredEntry, xattrs: Xattr[]): Promise<void> {
    let sha256 = '';
    if (!found.isFolder) {
      try {
        const digested = await digestFile(below(this.#tree, found.path), this.#signal);
        sha256 = digested.sha256.toString('hex');
        this.#result.files_read += 1;
        this.#result.bytes_read += digested.size;
        this.#heard();
      } catch {
        this.#signal.throwIfAborted();
        this.#note(found, 'unreadable');
        return;
      }
    }
    this.#lost.take(wanted, xattrs);
    const is = describeEntry(found, xattrs, sha256);
    // When its manifest was made it could not be read, so there is nothing to compare it with.
    if (isUnread(wanted)) return;
    if (is.sha256 !== wanted.sha256) this.#note(found, 'content');
    const attributes = ({ mode, uid, gid, xattrs: all }: ManifestEntry): string =>
      [mode, uid, gid, all].join();
    if (attributes(is) !== attributes(wanted)) this.#note(found, 'attributes');
    if (!found.isFolder) this.#pass.noteRead(found.inode, factsOf(is));
  }
}

/** All that an entry's line says but its path, in a few bytes. */
function factsOf(entry: ManifestEntry): Uint8Array {
  return hash('sha256', encodeEntry({ ...entry, path: 'x' }), 'buffer');
}

/** A pass that was begun so long ago says nothing of today: it begins anew. */
const PASS_MS = 30 * 86_400_000;
/** What a kill costs at most. */
const SAVE_MS = 2_000;

/** How far a pass is, on the disk. */
class Pass {
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
  found(index: StoreIndex): Pick<Verified, 'damaged' | 'damaged_count' | 'records'> {
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

/** When a snapshot was verified last, and what came of it. */
export interface LastVerified {
  /** All of it, RFC 3339; null: never. */
  verified: string | null;
  /** Names, sizes, times, and a part of the contents. */
  sampled: string | null;
  /** How many files and records were damaged then. */
  damaged: number;
}

interface VerifiedFile {
  /** Which part of the files the last sample was. */
  slot: number;
  snapshots: Map<string, LastVerified>;
}

const VERIFIED_LIMIT = 16 * 1024 * 1024;

/** When each snapshot of a client was verified last; those that never were are not in it. */
export function lastVerified(client: ClientStore): Map<string, LastVerified> {
  const there = new Set(snapshotNames(client));
  return new Map([...readVerified(client).snapshots].filter(([name]) => there.has(name)));
}

function readVerified(client: ClientStore): VerifiedFile {
  const none: VerifiedFile = { slot: -1, snapshots: new Map() };
  const path = `${client.folder}/verified.json`;
  if (!exists(path)) return none;
  try {
    const { slot, snapshots } = JSON.parse(readWhole(path, VERIFIED_LIMIT).toString('utf8')) as {
      slot: number;
      snapshots: Record<string, LastVerified>;
    };
    const isWhole = ([name, each]: [string, LastVerified]): boolean =>
      SNAPSHOT.test(name) &&
      [each.verified, each.sampled].every(time => time === null || typeof time === 'string') &&
      Number.isSafeInteger(each.damaged);
    return {
      slot: Number.isSafeInteger(slot) ? slot : -1,
      snapshots: new Map(Object.entries(snapshots).filter(isWhole)),
    };
  } catch {
    return none; // nothing but a memory: it begins anew
  }
}

function noteVerified(client: ClientStore, { snapshots }: Verified, pass: Pass): void {
  const old = readVerified(client);
  const all = lastVerified(client);
  const time = now().toISOString();
  for (const name of snapshots) {
    const last = all.get(name) ?? { verified: null, sampled: null, damaged: 0 };
    const damaged = pass.damagedIn(name);
    const isWhole = pass.slots === 1;
    // A sample that found nothing does not take back what was found.
    all.set(name, {
      verified: isWhole ? time : last.verified,
      sampled: isWhole ? last.sampled : time,
      damaged: isWhole ? damaged : Math.max(damaged, last.damaged),
    });
  }
  const slot = pass.slots === 1 ? old.slot : pass.slot;
  try {
    const json = { slot, snapshots: Object.fromEntries([...all].sort()) };
    replaceFile(`${client.folder}/verified.json`, `${JSON.stringify(json, null, 2)}\n`);
  } catch (error) {
    throw new Fault({
      tried: `note that "${client.name}" was verified`,
      found: escapeText(whatFailed(error)),
    });
  }
}
