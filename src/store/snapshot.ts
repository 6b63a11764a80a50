/**
 * A finished snapshot: its tree, its record snapshot.json, and its pin.
 */
import { Fault } from '../fault.ts';
import { now } from '../os/clock.ts';
import { readWhole } from '../os/content.ts';
import { exists, readdir, removeFileIfThere } from '../os/files.ts';
import { replaceFile, syncFolder } from '../os/replace.ts';
import { escapeText, snapshotName, snapshotTime } from '../wire/text.ts';
import { type Kept, keptNow } from './kept-client.ts';
import { offeredSnapshots } from './offer.ts';
import { type ClientStore, openClient, openStore, recordEvent } from './store.ts';

/** The content of snapshot.json (docs/design.md, JSON). */
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
    /**
     * Files that arrived at a new path, and were linked to an equal file of an older snapshot (store/moved-files.ts),
     * and their bytes. `new_bytes` does not count them. Absent if there are none.
     */
    moved?: number;
    moved_bytes?: number;
    /** Files that share their blocks with an older file of other attributes (store/shared-extents.ts), and their bytes. */
    shared?: number;
    shared_bytes?: number;
  };
  basis: string | null;
  flags: string[];
  /**
   * Whether each file was sent, compared by its content, or linked from a snapshot with this flag. Snapshots of
   * version 0.1.0 lack it: see store/doubtful-files.ts.
   */
  durable?: boolean;
  /**
   * The snapshots that it was linked against and of which it has each shared file at the same path: with them, a run
   * can link against both (store/separate-trees.ts). Absent in snapshots of versions that linked no moved files.
   */
  same_paths?: string[];
  /** For a snapshot that `adopt` made: the folder that it was made from, and when. */
  adopted?: { from: string; at: string };
}

/** The flag of a snapshot that `adopt` has made of an existing tree. */
export const ADOPTED = 'adopted';

/** A finished snapshot. */
export interface Snapshot {
  name: string;
  folder: string;
  tree: string;
  record: SnapshotRecord;
  /** The reason of its pin; undefined if it is not pinned. */
  pinned: string | undefined;
  /** The last time (ISO 8601) at which an open offer of it expires; undefined without one. */
  offered: string | undefined;
  /** Why all snapshots of its client stay; set by `listSnapshots()` only. */
  kept?: Kept;
}

/** The names of a client's finished snapshots, oldest first. */
export function snapshotNames(client: ClientStore): string[] {
  return readdir(`${client.folder}/snapshots`)
    .filter(each => snapshotTime(each) !== undefined)
    .sort();
}

/**
 * Reads a finished snapshot by its exact name. If its record is damaged, this makes one from the certain facts: the
 * tree exists and can be restored, but may be incomplete.
 * @param offers of `offeredSnapshots`
 */
export function readSnapshot(
  client: ClientStore,
  name: string,
  offers = offeredSnapshots(client, now()),
): Snapshot {
  const folder = `${client.folder}/snapshots/${name}`;
  const offered = offers.get(name);
  const snapshot = { name, folder, tree: `${folder}/tree`, pinned: readPin(folder), offered };
  try {
    const record = JSON.parse(
      readWhole(`${folder}/snapshot.json`, 1024 * 1024).toString('utf8'),
    ) as SnapshotRecord;
    if (isRecord(record)) return { ...snapshot, record };
  } catch {
    // a damaged record, as below
  }
  return { ...snapshot, record: damagedRecord(client.name, name) };
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
  const offers = offeredSnapshots(client, now());
  const kept = keptNow(client, now());
  return snapshotNames(client).map(name => ({
    ...readSnapshot(client, name, offers),
    ...(kept === undefined ? {} : { kept }),
  }));
}

/**
 * Finds the snapshot that a command line names.
 * @param wanted its name, a unique prefix, or `latest` (the newest full one)
 * @throws Fault when there is no such snapshot, or several begin with `wanted`
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
      throw fault('all its full snapshots are from the future; check the clock, or name one');
    throw fault(names.length === 0 ? 'there is no snapshot yet' : 'none of its snapshots is full; name one');
  }
  const found = wanted === '' ? [] : names.filter(name => name.startsWith(wanted));
  const [only] = found;
  if (only === undefined) throw fault('there is no such snapshot');
  if (found.length > 1) throw fault(`${found.length} snapshots begin with that`);
  return readSnapshot(client, only);
}

/** Which snapshot a command line names. */
export interface SnapshotChoice {
  store: string;
  client: string;
  /** As `findSnapshot` takes it. */
  snapshot: string;
}

/**
 * Opens a store, and finds a client and one of its snapshots.
 * @throws Fault when one of them is missing
 */
export function openSnapshot(choice: SnapshotChoice): { client: ClientStore; snapshot: Snapshot } {
  openStore(choice.store);
  const client = openClient(choice.store, choice.client);
  return { client, snapshot: findSnapshot(client, choice.snapshot) };
}

function isFull({ record }: Snapshot): boolean {
  return record.state === 'full';
}

/**
 * Finds the newest full snapshot, which `latest` means in every command. A snapshot from the future is skipped: its
 * clock was wrong, so its age is unknown.
 * @param all a client's snapshots, oldest first
 */
export function latestFull(all: readonly Snapshot[], at: Date): Snapshot | undefined {
  return all.findLast(each => isFull(each) && each.name <= snapshotName(at));
}

/** The file of a pin, beside the tree. */
export const PIN = 'pinned';

/** Bytes of a pin's reason. */
const REASON_LIMIT = 1000;

function readPin(folder: string): string | undefined {
  if (!exists(`${folder}/${PIN}`)) return undefined;
  try {
    return escapeText(readWhole(`${folder}/${PIN}`, REASON_LIMIT).toString('utf8').trim());
  } catch {
    return 'its reason cannot be read'; // it is pinned, although its reason is unknown
  }
}

/** Pins a snapshot, so that it stays whatever the policy says. @param reason one line */
export function pinSnapshot(client: ClientStore, { name, folder }: Snapshot, reason: string): void {
  const line = reason
    .replace(/\s+/g, ' ')
    .trim()
    .slice(0, REASON_LIMIT / 4);
  replaceFile(`${folder}/${PIN}`, `${line}\n`);
  recordEvent(client, 'pinned', { snapshot: name, reason: line });
}

/** Unpins a snapshot. From now on the policy decides about it. */
export function unpinSnapshot(client: ClientStore, { name, folder }: Snapshot): void {
  removeFileIfThere(`${folder}/${PIN}`);
  syncFolder(folder);
  recordEvent(client, 'unpinned', { snapshot: name });
}

/** The beginning of the reason of a pin that the host sets by itself and that expires (host/admission.ts). */
export const BY_ITSELF = 'by itself:';

/** The default reason of a pin. */
export const BY_HAND = 'by hand';

/** The result of `pin`. */
export interface Pinning {
  did: 'pinned' | 'kept' | 'replaced';
  reason: string;
  /** The reason of the earlier pin; undefined if there was none. */
  before: string | undefined;
}

/**
 * Decides on the reason of a pin. Pure. A given reason replaces the earlier one. Without one the earlier reason
 * stays, unless that pin expires.
 */
function decidePin(before: string | undefined, given: string): Pinning {
  if (before === undefined) return { did: 'pinned', reason: given, before };
  const stays = given === before || (given === BY_HAND && !before.startsWith(BY_ITSELF));
  return stays ? { did: 'kept', reason: before, before } : { did: 'replaced', reason: given, before };
}

/** Pins a snapshot with the decided reason. */
export function pin(client: ClientStore, snapshot: Snapshot, given: string): Pinning {
  const decided = decidePin(snapshot.pinned, given);
  if (decided.did !== 'kept') pinSnapshot(client, snapshot, decided.reason);
  return decided;
}

/** Unpins a snapshot if it is pinned. @returns the reason of the pin; undefined if there was none */
export function unpin(client: ClientStore, snapshot: Snapshot): string | undefined {
  if (snapshot.pinned !== undefined) unpinSnapshot(client, snapshot);
  return snapshot.pinned;
}
