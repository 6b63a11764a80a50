/**
 * `dialback drill`: a rehearsal of a restore. It restores random files and folders of a client's newest snapshot by the
 * code of `restore`, into a scratch folder in the store. It compares them with the manifest, and with the entries that
 * `ls` and `cat` show.
 *
 * It restores as an ordinary user and with --inert. That cannot give back owners, devices and set-id bits: they are
 * compared as the store has them, by their manifest.
 */
import { randomInt } from 'node:crypto';
import { Fault } from '../fault.ts';
import { now } from '../os/clock.ts';
import { exists } from '../os/files.ts';
import { PATH_BYTES } from '../os/long-path.ts';
import { beIdle } from '../os/priority.ts';
import type { DisposableHolder } from '../os/runfolder.ts';
import { decodeName } from '../wire/text.ts';
import { type Candidate, Candidates, type ChoiceLimits, isCovered } from './drill-choice.ts';
import { writeDrillRecord } from './drill-record.ts';
import { lockScratch, makeScratch } from './drill-scratch.ts';
import { amountOf, lackOf, readRoom } from './free-space.ts';
import { manifestOf, readManifest } from './manifest.ts';
import { makeManifests } from './manifest-writer.ts';
import { type RestoreResult, restore } from './restore.ts';
import type { Compared } from './restore-compare.ts';
import type { DifferenceCount } from './restore-difference.ts';
import { keepScratchIn } from './scratch.ts';
import type { StoreSettings } from './settings.ts';
import { latestFull, listSnapshots, type Snapshot } from './snapshot.ts';
import {
  type ClientStore,
  failureText,
  listClients,
  openClient,
  openStore,
  recordQuietly,
  requireOwner,
} from './store.ts';
import { requireReaders } from './stored-tree.ts';
import { isInside } from './tree-path.ts';

/** The options of `drill`. */
export interface DrillOptions {
  settings: StoreSettings;
  /** If undefined, all clients. */
  client: string | undefined;
  /** Entries to choose for each client. */
  sample: number;
  /** Bytes to restore for each client; a larger file is not chosen. */
  maxBytes: number;
}

/** The result for one client. */
export interface Drilled {
  client: string;
  /** Null if the client has no snapshot. */
  snapshot: string | null;
  /** The entries of the snapshot that could be chosen, and those that were. */
  entries: number;
  chosen: number;
  /** The restored and compared files, with everything below the chosen folders. */
  files: number;
  bytes: number;
  /** Files with more bytes than the limit, which may be lower than asked if the disk is nearly full. */
  too_large: number;
  max_bytes: number;
  /** Files that differ from the manifest. The first ones; the number counts all. */
  damaged: Compared['damaged'];
  damaged_count: number;
  /** Restored entries that differ from the stored ones in a way that matters. */
  differences: DifferenceCount[];
  /** Messages of rsync and about the manifest. */
  messages: string[];
  /** All of these together. */
  problems: number;
  /** Why the client could not be drilled; null if it was. */
  failed: string | null;
}

/** Names in the chosen folders of a client, so that a drill of a mail folder ends too. */
const MOST_NAMES = 10_000;
/** Bytes of all paths of a client: well below the kernel's limit for arguments. */
const MOST_PATHS = 256 * 1024;
/** How long to wait for another process that makes manifests. */
const MANIFEST_WAIT_SECONDS = 10;

/**
 * Drills one client or all, one after the other. A client that cannot be drilled does not stop the others.
 * @throws Fault `locked` when another drill runs; Fault when the store, the named client or a program is missing, or
 *   when the named client cannot be drilled; the signal's reason
 */
export async function drill(options: DrillOptions, signal: AbortSignal): Promise<Drilled[]> {
  const { store } = options.settings;
  openStore(store);
  requireOwner(store, 'drill');
  requireReaders(); // a missing program must not make a backup look damaged
  const named = options.client === undefined ? undefined : openClient(store, options.client).name;
  await using held = new AsyncDisposableStack();
  await lockScratch(held, store);
  keepScratchIn(store);
  await beIdle();
  const results: Drilled[] = [];
  for (const name of named === undefined ? listClients(store) : [named]) {
    const result = emptyResult(name, options.maxBytes);
    results.push(result);
    try {
      await drillAndRecord(openClient(store, name), result, options, signal);
    } catch (error) {
      signal.throwIfAborted();
      if (named !== undefined) throw error;
      result.failed = failureText(error);
    }
  }
  return results;
}

function emptyResult(client: string, maxBytes: number): Drilled {
  return {
    client,
    snapshot: null,
    entries: 0,
    chosen: 0,
    files: 0,
    bytes: 0,
    too_large: 0,
    max_bytes: maxBytes,
    damaged: [],
    damaged_count: 0,
    differences: [],
    messages: [],
    problems: 0,
    failed: null,
  };
}

/** Drills a client and records the result, also that of a drill that could not be done. */
async function drillAndRecord(
  client: ClientStore,
  result: Drilled,
  options: DrillOptions,
  signal: AbortSignal,
): Promise<void> {
  try {
    await drillClient(client, result, options, signal);
  } catch (error) {
    signal.throwIfAborted();
    if (!wasRemoved(client, result)) {
      record(client, { ...result, failed: failureText(error) });
      throw error;
    }
  }
  if (wasRemoved(client, result)) {
    Object.assign(result, emptyResult(client.name, options.maxBytes));
    await drillAndRecord(client, result, options, signal);
  } else if (result.snapshot !== null) record(client, result);
}

/** Whether `prune` has removed the snapshot during the drill. Its files are not damaged; another snapshot is drilled. */
function wasRemoved({ folder }: ClientStore, { snapshot }: Drilled): boolean {
  return snapshot !== null && !exists(`${folder}/snapshots/${snapshot}`);
}

function record(client: ClientStore, result: Drilled): void {
  const { snapshot, chosen, files, bytes, problems, failed } = result;
  writeDrillRecord(client, { at: now().toISOString(), snapshot, chosen, files, bytes, problems, failed });
  if (problems > 0 || failed !== null) recordQuietly(client, 'drill', { snapshot, problems, failed });
}

/** Fills the result. Leaves its snapshot null if the client has none. */
async function drillClient(
  client: ClientStore,
  result: Drilled,
  options: DrillOptions,
  signal: AbortSignal,
): Promise<void> {
  const snapshot = await newestWithManifest(client, signal);
  if (snapshot === undefined) return;
  result.snapshot = snapshot.name;
  result.max_bytes = allowedBytes(client, options);
  const candidates = await readCandidates(client, snapshot, limitsOf(snapshot, result, options), signal);
  const chosen = candidates.choose();
  Object.assign(result, {
    entries: candidates.entries,
    chosen: chosen.length,
    too_large: candidates.tooLarge,
  });
  const there = chosen.filter(each => isThere(snapshot, each));
  await using held = new AsyncDisposableStack();
  const restored =
    there.length === 0 ? undefined : await restoreInto(held, options, snapshot, client, there, signal);
  // The restore of a folder reports what is missing in it.
  const missing = chosen
    .filter(each => !there.includes(each) && !isCovered(each, there))
    .map(({ path }) => path);
  takeResult(result, missing, restored);
}

/**
 * Finds the snapshot that `restore` takes, or if none is full, the newest one. Makes its manifest if it is missing.
 * @returns undefined if the client has no snapshot
 * @throws Fault when there is no manifest
 */
async function newestWithManifest(client: ClientStore, signal: AbortSignal): Promise<Snapshot | undefined> {
  const all = listSnapshots(client);
  const newest = latestFull(all, now()) ?? all.at(-1);
  if (newest === undefined || exists(manifestOf(client, newest.name))) return newest;
  const { failed } = await makeManifests(client, signal, MANIFEST_WAIT_SECONDS);
  if (exists(manifestOf(client, newest.name))) return newest;
  throw new Fault({
    tried: `drill "${client.name}"`,
    found: `snapshot ${newest.name} has no manifest to compare with: ${failed.get(newest.name) ?? 'another process is making it'}`,
    next: `dialback verify ${client.name}`,
  });
}

/** A drill uses at most half of the space above min_free, because runs of clients need it at the same time. */
function allowedBytes(client: ClientStore, { settings, maxBytes }: DrillOptions): number {
  const room = readRoom(settings.store);
  const marks = settings.settingsFor(client.name);
  const lack = lackOf(room, marks);
  if (lack !== undefined)
    throw new Fault({
      tried: `drill "${client.name}"`,
      found: lack,
      next: 'dialback prune; or a larger disk',
      exit: 'noSpace',
    });
  const spare = room.freeBytes - amountOf(marks.minFree, room.bytes);
  return Math.min(maxBytes, Math.floor(spare / 2));
}

function limitsOf({ tree }: Snapshot, { max_bytes: bytes }: Drilled, { sample }: DrillOptions): ChoiceLimits {
  const path = PATH_BYTES - Buffer.byteLength(`${tree}/./`);
  return { count: sample, bytes, names: MOST_NAMES, path, paths: MOST_PATHS };
}

/** Reads the manifest, and a second time to measure the folders. The entries of a folder do not follow it directly. */
async function readCandidates(
  client: ClientStore,
  { name }: Snapshot,
  limits: ChoiceLimits,
  signal: AbortSignal,
): Promise<Candidates> {
  const candidates = new Candidates(limits, below => randomInt(below));
  for await (const entry of readManifest(client, name, signal)) candidates.take(entry);
  for await (const entry of readManifest(client, name, signal)) candidates.measure(entry);
  return candidates;
}

/** Restore refuses a path that the tree does not have. */
function isThere(snapshot: Snapshot, { path }: Candidate): boolean {
  return isInside(snapshot, Buffer.from(path, 'latin1'), `drill "${snapshot.name}"`);
}

/** Runs the restore. Releasing `held` removes what it has written. */
async function restoreInto(
  held: DisposableHolder,
  { settings: { store } }: DrillOptions,
  snapshot: Snapshot,
  client: ClientStore,
  chosen: readonly Candidate[],
  signal: AbortSignal,
): Promise<RestoreResult> {
  const to = makeScratch(held, store);
  const paths = chosen.map(({ path }) => `/${decodeName(Buffer.from(path, 'latin1'))}`);
  const options = {
    store,
    client: client.name,
    snapshot: snapshot.name,
    paths,
    to,
    force: false,
    inert: true,
  };
  return await restore({ ...options, isScratch: true }, signal);
}

function takeResult(result: Drilled, missing: string[], restored: RestoreResult | undefined): void {
  const damaged = missing.map(path => ({ path, difference: 'missing' as const }));
  const differences = restored?.differences.filter(each => each.lacking > 0) ?? [];
  Object.assign(result, {
    files: restored?.files ?? 0,
    bytes: restored?.bytes ?? 0,
    damaged: [...damaged, ...(restored?.damaged ?? [])],
    damaged_count: damaged.length + (restored?.damagedCount ?? 0),
    differences,
    messages: restored?.notGivenBack ?? [],
  });
  result.problems = result.damaged_count + (restored?.notGivenBackCount ?? 0);
}
