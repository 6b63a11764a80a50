/**
 * `dialback copy-store`: copies a store with everything in it, snapshot by snapshot, in the order of their dates.
 *
 * rsync copies one snapshot at a time, so its memory depends on the largest snapshot only. It copies into a fresh
 * folder, and links against older snapshots of the copy as the store's own files are linked. A snapshot is finished in
 * the copy by one rename, after all of it is on the disk. So a killed copy never shows a part of a snapshot.
 *
 * It takes no lock of a client: a finished snapshot does not change. If a prune removes a snapshot that is being
 * copied, the attempt is dropped.
 */
import { Fault } from '../fault.ts';
import { cannotWrite } from '../os/database.ts';
import { realPath } from '../os/files.ts';
import { beIdle } from '../os/priority.ts';
import { type DisposableHolder, takeFolderLock, takeLock } from '../os/runfolder.ts';
import { compareSnapshot, copyClient } from './copy-client.ts';
import {
  type CompareSnapshot,
  type CopyCheck,
  type CopyPlace,
  type PlaceFacts,
  whyNoCopy,
} from './copy-place.ts';
import { openIndex } from './file-index.ts';
import { keepScratchIn } from './scratch.ts';
import { snapshotNames } from './snapshot.ts';
import { type ClientStore, listClients, openClient, openStore, requireOwner } from './store.ts';
import { type CopyMark, storeId } from './store-mark.ts';
import type { Verified } from './verify.ts';

/** The result for one client. */
export interface CopiedClient {
  client: string;
  /** Snapshots that were copied, or would be; oldest first. */
  copied: string[];
  /** How many the copy had before. */
  present: number;
  /** Snapshots that only the copy has: the store has removed them. */
  kept: string[];
  /** Snapshots that a prune removed while they were copied. */
  removed: string[];
  /** Snapshots that could not be copied, and why. */
  failed: { snapshot: string; found: string }[];
  /** The room that the missing snapshots need; null if it is unknown. */
  needs_bytes: number | null;
  /** Bytes of file content that were written. */
  written_bytes: number;
}

/** The result of a copy or a dry run. */
export interface CopiedStore {
  dry_run: boolean;
  to: string;
  clients: CopiedClient[];
  /** Clients that only the copy has. */
  kept_clients: string[];
  /** How the copy was verified; null in a dry run. */
  verified_by: CopyCheck['by'] | null;
  /** The verification of the snapshots that had not been verified in the copy yet. */
  verified: Verified[];
}

/** A part of the progress. */
export interface CopyProgress {
  client: string;
  /** The number of the present snapshot among those to copy, from 1 on. */
  snapshot: number;
  snapshots: number;
}

interface CopyOptions {
  store: string;
  place: CopyPlace;
  dryRun: boolean;
}

/**
 * Copies a store, or brings a copy up to date.
 * @param tell receives the progress
 * @throws Fault when the store or the place cannot be used, or has no room; the signal's reason
 */
export async function copyStore(
  { store, place, dryRun }: CopyOptions,
  signal: AbortSignal,
  tell: (progress: CopyProgress) => void = () => {},
): Promise<CopiedStore> {
  openStore(store, 'copy-store …');
  requireOwner(store, 'copy-store');
  await using held = new AsyncDisposableStack();
  if (!dryRun) await lockSource(held, store);
  keepScratchIn(store);
  await beIdle();
  const source: CopyMark = { of: storeId(store, !dryRun) ?? null, path: realPath(store) };
  const facts = await place.look();
  const own = new Map(listClients(store).map(name => [name, snapshotNames(openClient(store, name))]));
  const refusal = whyNoCopy(place.name, facts, source, own);
  if (refusal !== undefined) throw refusal;
  const clients: CopiedClient[] = [];
  for (const name of own.keys()) clients.push(await planClient(store, name, facts, signal));
  const result: CopiedStore = {
    dry_run: dryRun,
    to: place.name,
    clients,
    kept_clients: [...facts.snapshots.keys()].filter(name => !own.has(name)),
    verified_by: null,
    verified: [],
  };
  requireSpace(place.name, facts, clients);
  if (dryRun) return result;
  await place.prepare(source);
  const { attempts } = await place.look();
  for (const each of clients) await copyClient({ store, place, facts, attempts, signal, tell }, each);
  const names = clients.map(each => each.client);
  const compare: CompareSnapshot = (client, snapshot) =>
    compareSnapshot(store, place, client, snapshot, signal);
  const { by, results } = await place.verify(names, signal, compare);
  return { ...result, verified_by: by, verified: results };
}

/** Excludes a second copy-store. A store that is mounted read-only takes no lock file, and is locked by its folder. */
async function lockSource(held: DisposableHolder, store: string): Promise<void> {
  let lock: number | undefined;
  try {
    lock = await takeLock(held, `${store}/copy.lock`);
  } catch (error) {
    if (!cannotWrite(error)) throw error;
    lock = await takeFolderLock(held, store);
  }
  if (lock !== undefined) return;
  throw new Fault({
    tried: `copy the store "${store}"`,
    found: 'another copy-store is running',
    exit: 'locked',
  });
}

/** Lists what the copy lacks of a client, and how much room that needs. */
async function planClient(
  store: string,
  name: string,
  facts: PlaceFacts,
  signal: AbortSignal,
): Promise<CopiedClient> {
  const client = openClient(store, name);
  const own = snapshotNames(client);
  const there = facts.snapshots.get(name) ?? [];
  const missing = own.filter(each => !there.includes(each));
  return {
    client: name,
    copied: missing,
    present: there.length,
    kept: there.filter(each => !own.includes(each)),
    removed: [],
    failed: [],
    needs_bytes: missing.length === 0 ? 0 : await roomOf(client, missing, signal),
    written_bytes: 0,
  };
}

/** The room of the files that only these snapshots have. */
async function roomOf(client: ClientStore, snapshots: string[], signal: AbortSignal): Promise<number | null> {
  await using held = new AsyncDisposableStack();
  try {
    const freed = (await openIndex(held, client, signal)).freedBy(snapshots);
    return [...freed.values()].reduce((sum, each) => sum + each.bytes, 0);
  } catch {
    signal.throwIfAborted();
    return null;
  }
}

/** Files that an interrupted copy has left need no room again, and how many they are is unknown. */
function requireSpace(name: string, { freeBytes, attempts }: PlaceFacts, clients: CopiedClient[]): void {
  const hasLeft = [...attempts.values()].some(each => each.length > 0);
  const needed = clients.reduce((sum, each) => sum + (each.needs_bytes ?? 0), 0);
  if (freeBytes === undefined || hasLeft || needed <= freeBytes) return;
  throw new Fault({
    tried: `copy the store to "${name}"`,
    found: `it needs ${needed} bytes there, and ${freeBytes} are free`,
    next: 'free space there, or name a folder on a larger disk',
    exit: 'noSpace',
  });
}
