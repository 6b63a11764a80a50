/**
 * The store: STORE/store.json and STORE/clients/NAME/{lock, snapshots/, arriving/, trash/, journal.jsonl}.
 *
 * What is under snapshots/ is finished, always: it gets there by one rename of a tree that is whole and on the disk.
 * rsync only ever writes into a fresh tree under arriving/; an interrupted one becomes one more --link-dest of the next
 * (in-place changes would reach into older snapshots through shared inodes; store/partial-files.ts writes to what is not shared).
 */
import { Fault } from '../fault.ts';
import { asUid, ownAccount } from '../os/account.ts';
import { monotonicMs, now, sleep } from '../os/clock.ts';
import { readWhole } from '../os/content.ts';
import {
  exists,
  failedWith,
  fileFault,
  lstat,
  makeFolder,
  readdir,
  removeEmptyFolder,
  removeFileIfThere,
  rename,
  stat,
} from '../os/files.ts';
import { appendJournal } from '../os/journal.ts';
import { randomHex } from '../os/random.ts';
import { replaceFile, syncFolder, writeNew } from '../os/replace.ts';
import { type DisposableHolder, takeLock } from '../os/runfolder.ts';
import { STORE_FILE } from '../wire/local.ts';
import {
  encodeName,
  escapeText,
  NAME,
  plainJson,
  quoteForShell,
  SNAPSHOT,
  snapshotName,
  snapshotTime,
} from '../wire/text.ts';
import { DOUBT_LIMIT_MS, doubtTree, isSynced, markSynced, syncFileSystem } from './arrival.ts';
import { type Doubtful, dropRechecks, findRecheck, listDoubtful, makeRecheck } from './doubtful-files.ts';
import { whyNotMounted } from './known-stores.ts';
import { linkMissing } from './link-limit.ts';
import { completePartials } from './partial-files.ts';
import { candidateOf } from './retention.ts';
import { emptyTrash } from './trash.ts';

const STORE_VERSION = 1;
const STORE_CONTENT = `${JSON.stringify({ version: STORE_VERSION })}\n`;

/** A client's part of the store. */
export interface ClientStore {
  name: string;
  /** STORE/clients/NAME */
  folder: string;
}

/**
 * Opens a store that is there. An unmounted disk must not become an empty store, so nothing is created.
 * @param verb what its owner is to run, where it is another account's
 * @throws Fault `noStore`
 */
export function openStore(store: string, verb = '…'): void {
  const tried = `use the store "${store}"`;
  const next = nextForAbsent(store, verb);
  const json = `${store}/${STORE_FILE}`;
  if (!exists(json)) {
    // exists() cannot tell "none" from "not allowed to look"
    const found = isReadable(store)
      ? 'there is no store.json in it'
      : 'it is not there, or this account may not read it';
    throw new Fault({ tried, found, next, exit: 'noStore', code: 'no-store' });
  }
  let version: unknown;
  try {
    version = (JSON.parse(readWhole(json, 4096).toString('utf8')) as { version?: unknown }).version;
  } catch (error) {
    const found = error instanceof Fault ? error.found : 'its store.json is not JSON';
    const isForeign = ownerOf(json) !== ownAccount().uid;
    const mend = isForeign ? { next: nextForForeign(store, verb, ownerOf(json)) } : {};
    throw new Fault({ tried, found, ...mend, exit: 'noStore', code: 'no-store' });
  }
  if (version !== STORE_VERSION) {
    const found = `its version is ${escapeText(String(version))}, and this program knows ${STORE_VERSION}`;
    throw new Fault({ tried, found, exit: 'noStore', code: 'no-store' });
  }
}

/** A folder that this account may not look into is somebody else's, rather than a disk that is not mounted. */
function nextForAbsent(store: string, verb: string): string {
  const absent = whyNotMounted(store)?.next ?? 'mount its disk';
  const owner = ownerOf(store);
  if (owner === undefined || isReadable(store) || absent.startsWith('as root: mount')) return absent;
  return nextForForeign(store, verb, owner);
}

/** Root does not receive; any other account that owns the store does. */
function nextForForeign(store: string, verb: string, owner = 0): string {
  return owner === 0
    ? `as root: chown -R ${ownAccount().name} ${quoteForShell(store)}`
    : asUid(owner, `dialback ${verb}`);
}

function ownerOf(path: string): number | undefined {
  try {
    return stat(path).uid;
  } catch {
    return undefined;
  }
}

/** What writes into a store must leave files of its owner's there. @throws Fault that names the command */
export function requireOwner(store: string, verb: string): void {
  const { uid } = stat(`${store}/${STORE_FILE}`);
  if (ownAccount().uid === uid) return;
  throw new Fault({
    tried: `${verb} in "${store}"`,
    found: `the store belongs to uid ${uid}, and this is uid ${ownAccount().uid}`,
    next:
      uid === 0
        ? `as root: chown -R ${ownAccount().name} ${quoteForShell(store)}`
        : asUid(uid, `dialback ${verb} …`),
    exit: 'usage',
  });
}

function isReadable(folder: string): boolean {
  try {
    readdir(folder);
    return true;
  } catch {
    return false;
  }
}

/** Creates the store where there is none; only `enroll` does that. @returns whether it was created */
export function createStore(store: string): boolean {
  if (exists(`${store}/${STORE_FILE}`)) {
    openStore(store);
    return false;
  }
  makeStoreFolder(store);
  let names: string[];
  try {
    names = readdir(store);
  } catch (error) {
    throw fileFault(error, `create the store "${store}"`);
  }
  if (names.some(each => each !== 'lost+found')) {
    throw new Fault({
      tried: `create the store "${store}"`,
      found: 'the folder is not empty, and is no store',
      exit: 'usage',
    });
  }
  requirePrivate(store);
  makeFolder(`${store}/clients`);
  replaceFile(`${store}/${STORE_FILE}`, STORE_CONTENT);
  return true;
}

function makeStoreFolder(store: string): void {
  try {
    makeFolder(store, { parents: true });
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    const { tried, found, exit } = error;
    const next = `as root: install -d -o ${ownAccount().name} -m 700 ${quoteForShell(store)}`;
    throw new Fault({ tried, found, next, exit });
  }
}

function requirePrivate(store: string): void {
  const found = stat(store);
  if (found.uid !== ownAccount().uid || (found.mode & 0o077) !== 0) {
    throw new Fault({
      tried: `create the store "${store}"`,
      found: 'the folder is not private to this account',
      next:
        found.uid === ownAccount().uid
          ? `chmod 700 ${quoteForShell(store)}`
          : `as root: install -d -o ${ownAccount().name} -m 700 ${quoteForShell(`${store}/dialback`)}; and make that the store`,
      exit: 'usage',
    });
  }
}

/** A client's folder; @throws Fault when there is no such client */
export function openClient(store: string, name: string): ClientStore {
  const folder = `${store}/clients/${name}`;
  if (!NAME.test(name) || !exists(folder)) {
    throw new Fault({
      tried: `find the client "${escapeText(name)}"`,
      found: 'the store has none of that name',
      next: 'dialback list',
    });
  }
  return { name, folder };
}

/** Makes a client's folders; only `enroll` does that. */
export function createClient(store: string, name: string): ClientStore {
  const folder = `${store}/clients/${name}`;
  makeFolder(folder);
  for (const each of ['snapshots', 'arriving', 'trash']) makeFolder(`${folder}/${each}`);
  return { name, folder };
}

/** The names of all clients that the store has, sorted. */
export function listClients(store: string): string[] {
  return readdir(`${store}/clients`)
    .filter(each => NAME.test(each))
    .sort();
}

/**
 * One run a client at a time.
 * @returns the lock's descriptor: it is handed to rsync, so that the lock lasts as long as anything writes
 */
export async function lockClient(held: DisposableHolder, client: ClientStore): Promise<number> {
  const descriptor = await takeLock(held, `${client.folder}/lock`);
  if (descriptor !== undefined) return descriptor;
  throw new Fault({
    tried: `start a run of "${client.name}"`,
    found: 'another one is under way',
    exit: 'locked',
    code: 'busy',
  });
}

/** Writes a line of a client's journal. */
export function recordEvent(client: ClientStore, event: string, more: Record<string, unknown>): void {
  appendJournal(`${client.folder}/journal.jsonl`, { time: now().toISOString(), event, ...more });
}

/** What snapshot.json says (design: JSON). */
export interface SnapshotRecord {
  version: 1;
  client: string;
  snapshot: string;
  started: string;
  finished: string;
  state: 'full' | 'incomplete';
  transport: 'direct' | 'channel' | 'local';
  confined: { send: boolean; receive: boolean; landlock_abi: number | null; own_root: boolean };
  rsync: { client: string | null; host: string; exit: number; options: string[] };
  scope: { roots: string[]; excludes_sha256: string };
  counts: {
    files: number;
    folders: number;
    bytes: number;
    transferred_bytes: number;
    new_bytes: number;
    linked: number;
    new: number;
    content_changed: number;
    attributes_changed: number;
    vanished: number;
    unreadable: number;
    changed_during_run: number;
  };
  basis: string | null;
  flags: string[];
  /**
   * Each file was sent, compared by its content, or linked from a snapshot of which this is true. Snapshots of 0.1.0
   * do not have it: see store/doubtful-files.ts.
   */
  durable?: boolean;
}

/** A finished snapshot. */
export interface Snapshot {
  name: string;
  folder: string;
  tree: string;
  record: SnapshotRecord;
  /** Why it is kept whatever the policy says, or undefined where nobody has said so. */
  pinned: string | undefined;
}

/** The names of a client's finished snapshots, oldest first. */
export function snapshotNames(client: ClientStore): string[] {
  return readdir(`${client.folder}/snapshots`)
    .filter(each => snapshotTime(each) !== undefined)
    .sort();
}

/**
 * A finished snapshot by its exact name. Where its record is damaged, one is made of what is certain: the tree is there,
 * and can be restored; nothing says that it is full.
 */
export function readSnapshot(client: ClientStore, name: string): Snapshot {
  const folder = `${client.folder}/snapshots/${name}`;
  const snapshot = { name, folder, tree: `${folder}/tree`, pinned: readPin(folder) };
  try {
    const record = JSON.parse(
      readWhole(`${folder}/snapshot.json`, 1024 * 1024).toString('utf8'),
    ) as SnapshotRecord;
    if (isRecord(record)) return { ...snapshot, record };
  } catch {
    // as below
  }
  return { ...snapshot, record: damagedRecord(client.name, name) };
}

const PIN = 'pinned';
/** Bytes of a pin's reason. */
const REASON_LIMIT = 1000;

function readPin(folder: string): string | undefined {
  if (!exists(`${folder}/${PIN}`)) return undefined;
  try {
    return escapeText(readWhole(`${folder}/${PIN}`, REASON_LIMIT).toString('utf8').trim());
  } catch {
    return 'its reason cannot be read'; // it is pinned all the same
  }
}

/** Keeps a snapshot whatever the policy says, until it is unpinned. @param reason one line */
export function pinSnapshot(client: ClientStore, { name, folder }: Snapshot, reason: string): void {
  const line = reason
    .replace(/\s+/g, ' ')
    .trim()
    .slice(0, REASON_LIMIT / 4);
  replaceFile(`${folder}/${PIN}`, `${line}\n`);
  recordEvent(client, 'pinned', { snapshot: name, reason: line });
}

/** Leaves a snapshot to the policy again. */
export function unpinSnapshot(client: ClientStore, { name, folder }: Snapshot): void {
  removeFileIfThere(`${folder}/${PIN}`);
  syncFolder(folder);
  recordEvent(client, 'unpinned', { snapshot: name });
}

function isRecord(record: SnapshotRecord): boolean {
  return (
    record.version === 1 &&
    (record.state === 'full' || record.state === 'incomplete') &&
    [record.started, record.finished].every(each => typeof each === 'string') &&
    [record.flags, record.scope.roots].every(Array.isArray) &&
    [record.counts.files, record.counts.bytes, record.counts.new_bytes].every(Number.isSafeInteger)
  );
}

function damagedRecord(client: string, snapshot: string): SnapshotRecord {
  const started = (snapshotTime(snapshot) ?? new Date(0)).toISOString();
  return {
    version: 1,
    client,
    snapshot,
    started,
    finished: started,
    state: 'incomplete',
    transport: 'direct',
    confined: { send: false, receive: false, landlock_abi: null, own_root: false },
    rsync: { client: null, host: 'unknown', exit: 255, options: [] },
    scope: { roots: [], excludes_sha256: '' },
    counts: {
      files: 0,
      folders: 0,
      bytes: 0,
      transferred_bytes: 0,
      new_bytes: 0,
      linked: 0,
      new: 0,
      content_changed: 0,
      attributes_changed: 0,
      vanished: 0,
      unreadable: 0,
      changed_during_run: 0,
    },
    basis: null,
    flags: ['damaged'],
  };
}

/** All finished snapshots of a client, oldest first. */
export function listSnapshots(client: ClientStore): Snapshot[] {
  return snapshotNames(client).map(name => readSnapshot(client, name));
}

/**
 * Finds the snapshot that a command line means.
 * @param wanted its name, a unique prefix, or `latest` (the newest full one)
 */
export function findSnapshot(client: ClientStore, wanted: string): Snapshot {
  const fault = (found: string): Fault =>
    new Fault({
      tried: `find "${client.name}@${escapeText(wanted)}"`,
      found,
      next: `dialback list ${client.name}`,
    });
  const names = snapshotNames(client);
  if (wanted === 'latest') {
    const all = names.map(name => readSnapshot(client, name));
    const found = latestFull(all, now());
    if (found) return found;
    if (all.some(isFull))
      throw fault('its full snapshots are all from the future: see the clock, or name one');
    throw fault(names.length === 0 ? 'there is no snapshot yet' : 'none of its snapshots is full; name one');
  }
  const found = wanted === '' ? [] : names.filter(name => name.startsWith(wanted));
  const [only] = found;
  if (only === undefined) throw fault('there is no such snapshot');
  if (found.length > 1) throw fault(`${found.length} snapshots begin with that`);
  return readSnapshot(client, only);
}

function isFull({ record }: Snapshot): boolean {
  return record.state === 'full';
}

/**
 * The newest full snapshot: what `latest` means for every command. One from the future was made while the clock was wrong, so
 * how old it is nobody knows.
 * @param all a client's snapshots, oldest first
 */
export function latestFull(all: readonly Snapshot[], at: Date): Snapshot | undefined {
  return all.findLast(each => isFull(each) && each.name <= snapshotName(at));
}

/** PATH_MAX of Linux, without its NUL. */
const PATH_LIMIT = 4095;

/**
 * Where a PATH of the command line lies in a snapshot's tree. Nothing in a stored tree is a symlink, so none is followed.
 * @param path absolute, as on the client, as `decodeName` has it
 * @param tried for the message
 * @returns below tree/, without a slash in front; empty for `/`
 * @throws Fault when it is no such path, or the snapshot does not have it
 */
export function pathInside(snapshot: Pick<Snapshot, 'name' | 'tree'>, path: string, tried: string): Buffer {
  const inside = parsePath(path, tried);
  if (!isInside(snapshot, inside, tried))
    throw new Fault({ tried, found: `snapshot ${snapshot.name} does not have it` });
  return inside;
}

/** `pathInside` without a look at any snapshot. */
export function parsePath(path: string, tried: string): Buffer {
  const inside = encodeName(path.replace(/^\/|\/+$/g, ''));
  const isPlain = path.startsWith('/') && !path.includes('\0') && inside.length <= PATH_LIMIT;
  const names = path.replace(/^\/|\/+$/g, '').split('/');
  if (isPlain && (inside.length === 0 || names.every(name => !['', '.', '..'].includes(name)))) return inside;
  throw new Fault({
    tried,
    found: 'it is not an absolute path without ".", ".." or doubled slashes',
    exit: 'usage',
  });
}

/** Whether a snapshot has something at a path of `parsePath`. */
export function isInside({ tree }: Pick<Snapshot, 'tree'>, inside: Buffer, tried: string): boolean {
  try {
    lstat(Buffer.concat([Buffer.from(`${tree}/`), inside]));
    return true;
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'ENAMETOOLONG'].some(code => failedWith(error, code))) return false;
    throw fileFault(error, tried);
  }
}

/** A tree that is being received. */
export interface Arrival {
  name: string;
  started: Date;
  folder: string;
  tree: string;
  /** The snapshot it is compared with, or null. */
  basis: string | null;
  /** The snapshots that it links against, the newest first. */
  bases: string[];
  /** What rsync links against, best first. */
  linkDests: string[];
  /** Names of older interrupted trees. */
  leftOver: string[];
  /** Whether every file that it links is known to be whole (SnapshotRecord.durable). */
  isDurable: boolean;
}

/** Interrupted trees that a run links against at most (a run that is killed can leave one beside the kept one). */
const LEFT_OVER_LIMIT = 4;

/**
 * Begins a snapshot: a fresh, empty tree under arriving/, and what to link it against. The lock must be held.
 * A name is a second; where it is taken already, the next second is waited for.
 */
export async function beginSnapshot(client: ClientStore): Promise<Arrival> {
  let started = now();
  while (isTaken(client, snapshotName(started))) {
    await sleep(1000 - (started.getTime() % 1000));
    started = now();
  }
  const name = snapshotName(started);
  let left = readdir(`${client.folder}/arriving`)
    .filter(each => SNAPSHOT.test(each))
    .sort()
    .reverse();
  for (const each of left.splice(LEFT_OVER_LIMIT)) moveToTrash(client, 'arriving', each);
  const basis = pickBasis(client, name);
  const folder = `${client.folder}/arriving/${name}`;
  try {
    makeFolder(folder);
    makeFolder(`${folder}/tree`);
  } catch (error) {
    // A full disk, and it may be full of what interrupted runs left: that goes first.
    if (!(error instanceof Fault) || error.exit !== 'noSpace' || left.length === 0) throw error;
    for (const each of left) moveToTrash(client, 'arriving', each);
    left = [];
    await emptyTrash(client.folder).catch(() => {}); // whether there is room now, the next line tells
    makeFolder(folder);
    makeFolder(`${folder}/tree`);
  }
  const rechecks = basis.map(each => findRecheck(client.folder, each));
  const bases = basis
    .map((each, at) => rechecks[at]?.tree ?? `${client.folder}/snapshots/${each}/tree`)
    .filter(exists);
  const interrupted: string[] = [];
  const doubtedByMs = monotonicMs() + DOUBT_LIMIT_MS;
  for (const each of left) {
    const tree = `${client.folder}/arriving/${each}/tree`;
    if (!exists(tree)) continue;
    await completePartials(tree, snapshotTime(each) ?? started, bases);
    if (await isUsable(client, each, doubtedByMs)) interrupted.push(tree);
  }
  left = left.filter(each => exists(`${client.folder}/arriving/${each}`));
  return {
    name,
    started,
    folder,
    tree: `${folder}/tree`,
    basis: basis[0] ?? null,
    bases: basis,
    // Of a name that has changed rsync builds on the first one: what has arrived is nearer to it than what was before.
    linkDests: [...interrupted, ...bases],
    leftOver: left,
    isDurable: basis.every((each, at) => rechecks[at] !== undefined || isDurable(client, each)),
  };
}

function isDurable(client: ClientStore, name: string): boolean {
  return readSnapshot(client, name).record.durable === true;
}

/** Of the snapshots that the next run links against: those whose files it does not know to be whole. */
function notDurable(client: ClientStore): string[] {
  // A run can begin and commit within one second: the one that ended just now counts.
  const soon = snapshotName(new Date(now().getTime() + 1000));
  return pickBasis(client, soon).filter(each => !isDurable(client, each));
}

/** Whether the next run would link files that are not known to be whole, and nothing was prepared to compare them. */
export function hasDoubtfulBasis(client: ClientStore): boolean {
  return notDurable(client).some(each => findRecheck(client.folder, each) === undefined);
}

/**
 * Has the next run compare those files of older snapshots whose data may never have reached the disk. Nothing is done where the
 * snapshots are known to be whole, or where another process does it already.
 * @throws Fault when it could not be prepared; the signal's reason
 */
export async function prepareRecheck(client: ClientStore, signal: AbortSignal): Promise<void> {
  if (!hasDoubtfulBasis(client)) return;
  await using held = new AsyncDisposableStack();
  if ((await takeLock(held, `${client.folder}/recheck.lock`)) === undefined) return;
  const names = notDurable(client);
  dropRechecks(client.folder, names, true);
  for (const each of names)
    if (!findRecheck(client.folder, each)) await makeRecheck(client.folder, each, signal);
}

/** What is doubtful, of each snapshot that the next run links against. @throws Fault; the signal's reason */
export async function doubtfulFiles(client: ClientStore, signal: AbortSignal): Promise<Doubtful[]> {
  const doubtful: Doubtful[] = [];
  for (const each of notDurable(client)) doubtful.push(await listDoubtful(client.folder, each, signal));
  return doubtful.filter(each => each.count > 0);
}

/**
 * Whether a run may link against an interrupted tree. One that was not synced loses its times first; one that cannot be
 * doubted file by file goes to the trash.
 */
async function isUsable(client: ClientStore, name: string, doubtedByMs: number): Promise<boolean> {
  const folder = `${client.folder}/arriving/${name}`;
  if (isSynced(folder)) return true;
  try {
    await doubtTree(`${folder}/tree`, doubtedByMs);
    return true;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    moveToTrash(client, 'arriving', name, { reason: escapeText(reason) });
    return false;
  }
}

function isTaken(client: ClientStore, name: string): boolean {
  return exists(`${client.folder}/snapshots/${name}`) || exists(`${client.folder}/arriving/${name}`);
}

/**
 * The newest finished snapshot, and the newest full one that is not unusual if that is another. One from the future is the
 * last choice.
 */
function pickBasis(client: ClientStore, before: string): string[] {
  const names = snapshotNames(client);
  const past = names.filter(name => name < before);
  const candidates = (past.length > 0 ? past : names).reverse();
  const newest = candidates[0];
  if (newest === undefined) return [];
  const full = candidates.find(name => candidateOf(readSnapshot(client, name)).state === 'full');
  return full === undefined || full === newest ? [newest] : [newest, full];
}

/**
 * Commits: what has arrived goes to the disk, its record beside it, and one rename makes it a finished snapshot.
 * @param excludes the exclude list as the client sent it
 * @returns what failed after the rename, where nothing can undo the snapshot any more; undefined: nothing
 */
export async function commitSnapshot(
  client: ClientStore,
  arrival: Arrival,
  record: SnapshotRecord,
  excludes: Buffer,
): Promise<Fault | undefined> {
  try {
    writeNew(`${arrival.folder}/excludes`, excludes, { sync: true });
    writeNew(`${arrival.folder}/snapshot.json`, `${plainJson(record, 2)}\n`, { sync: true });
    await syncFileSystem(arrival.folder);
    rename(arrival.folder, `${client.folder}/snapshots/${arrival.name}`);
  } catch (error) {
    for (const name of ['excludes', 'snapshot.json']) removeFileIfThere(`${arrival.folder}/${name}`);
    throw error instanceof Fault ? error : fileFault(error, `commit "${arrival.name}"`);
  }
  try {
    syncFolder(`${client.folder}/snapshots`);
    syncFolder(`${client.folder}/arriving`);
    recordEvent(client, 'committed', { snapshot: arrival.name, state: record.state });
    for (const each of arrival.leftOver) moveToTrash(client, 'arriving', each);
    dropRechecks(client.folder, notDurable(client));
    return undefined;
  } catch (error) {
    return error instanceof Fault
      ? error
      : fileFault(error, `put the store in order after "${arrival.name}"`);
  }
}

/**
 * Ends a run that did not make a snapshot. What has arrived is kept for the next run, as one tree: names that only
 * the older interrupted tree has are linked into the newer one (only links are made; no inode is written to).
 * @param isFull where the disk is full nothing is kept: an unfinished tree must not take the room from all later runs
 */
export async function abandonSnapshot(client: ClientStore, arrival: Arrival, isFull = false): Promise<void> {
  if (isFull) {
    for (const each of [arrival.name, ...arrival.leftOver]) moveToTrash(client, 'arriving', each);
    return;
  }
  const [older, ...oldest] = arrival.leftOver;
  if (!exists(arrival.tree)) return; // the store has gone, or it was committed after all
  if (readdir(arrival.tree).length === 0) {
    removeEmptyFolder(arrival.tree);
    removeEmptyFolder(arrival.folder);
    return;
  }
  if (older !== undefined) {
    try {
      await linkMissing(`${client.folder}/arriving/${older}/tree`, arrival.tree);
    } catch {
      return; // both stay, and the next run links against both
    }
    moveToTrash(client, 'arriving', older);
  }
  for (const each of oldest) moveToTrash(client, 'arriving', each);
  // Last: all that was put into the tree is covered. Where it fails, the next run compares contents.
  await markSynced(arrival.folder).catch(() => {});
}

/** @throws Fault when a snapshot is not there, pinned, or the last full one: it must not go */
export function requireRemovable(client: ClientStore, name: string): void {
  const fault = (found: string, next: string): Fault =>
    new Fault({ tried: `remove "${client.name}@${escapeText(name)}"`, found, next });
  const all = listSnapshots(client);
  const wanted = all.find(each => each.name === name);
  if (wanted === undefined) throw fault('there is no such snapshot', `dialback list ${client.name}`);
  if (wanted.pinned !== undefined)
    throw fault(`it is pinned: ${wanted.pinned}`, `dialback unpin ${client.name}@${name}`);
  const isLast = (isFull: (each: Snapshot) => boolean): boolean =>
    isFull(wanted) && all.every(each => each === wanted || !isFull(each));
  // The last full one that is not unusual, and, whatever else, the last full one.
  if (
    all.length === 1 ||
    isLast(each => candidateOf(each).state === 'full') ||
    isLast(each => each.record.state === 'full')
  )
    throw fault(
      'it is the last full one that this client has',
      `dialback remove-client ${client.name}, if the client is to have none`,
    );
}

/**
 * Takes a finished snapshot out of snapshots/, by one rename; `emptyTrash` deletes it. The client's lock must be held, so
 * that no run links against it. What must never go is looked at here once more, whatever the caller has decided.
 * @param reason for the journal
 * @throws Fault when it is not there, pinned, or the last full one
 */
export function removeSnapshot(client: ClientStore, name: string, reason: string): void {
  requireRemovable(client, name);
  moveToTrash(client, 'snapshots', name, { reason });
  // The new place first: after a power cut the tree is in one of them. And before anything in it is deleted.
  syncFolder(`${client.folder}/trash`);
  syncFolder(`${client.folder}/snapshots`);
  dropRechecks(client.folder, notDurable(client));
}

/**
 * Gives up what interrupted runs left, for want of room. The client's lock must be held, and no run of it be under way.
 * @returns whether there was any
 */
export function discardInterrupted(client: ClientStore, reason: string): boolean {
  const left = readdir(`${client.folder}/arriving`).filter(each => SNAPSHOT.test(each));
  for (const each of left) moveToTrash(client, 'arriving', each, { reason });
  return left.length > 0;
}

/** Moves a tree to trash/, whence `emptyTrash` removes it. */
function moveToTrash(
  client: ClientStore,
  from: 'arriving' | 'snapshots',
  name: string,
  more: Record<string, unknown> = {},
): void {
  if (!SNAPSHOT.test(name))
    throw new Fault({ tried: `remove "${name}"`, found: 'that is not the name of a tree' });
  const path = `${client.folder}/${from}/${name}`;
  if (!exists(path)) return;
  rename(path, `${client.folder}/trash/${name}-${randomHex(4)}`);
  try {
    recordEvent(client, 'removed', { what: `${from}/${name}`, ...more });
  } catch {
    // a rename needs no room on a full disk, a line in the journal does
  }
}
