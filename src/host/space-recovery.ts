/**
 * Frees space in the store for a run: before the run, and while it writes.
 *
 * The host removes in this order, until enough space is free:
 * 1. the trash of all clients;
 * 2. the trees of interrupted runs, if their client has no run now; those of this client come last;
 * 3. the snapshots that may be removed (store/retention.ts, `mayGoAtLowWater`), from the client whose snapshots take most space, oldest first.
 *
 * Each snapshot is chosen right before its removal, with its client's lock held.
 */

import { now, sleep } from '../os/clock.ts';
import { readdir } from '../os/files.ts';
import { takeLock } from '../os/runfolder.ts';
import { discardInterrupted } from '../store/arrival.ts';
import { isFarBelow, lackOf, msToNextLook, readRoom } from '../store/free-space.ts';
import type { removeSnapshot } from '../store/remove.ts';
import { candidateOf, decideRetention } from '../store/retention.ts';
import type { ClientSettings } from '../store/settings.ts';
import { listSnapshots } from '../store/snapshot.ts';
import { type ClientStore, listClients, openClient } from '../store/store.ts';
import { emptyClientTrash, emptyTrash } from '../store/trash.ts';
import { failure } from '../wire/events.ts';
import { type HostConfig, settingsFor } from './config.ts';

/** The longest time between two looks at the free space during a run. */
export const LOOK_MS = 3_000;

/** The run that needs space. */
export interface SpaceRequest {
  config: HostConfig;
  /** The run's client. Its lock must be held. */
  client: ClientStore;
  /** The client's settings. */
  settings: ClientSettings;
  /** Whether snapshots may be removed for it. */
  mayRemove: boolean;
  /** The snapshots of the client that the run links against; undefined before it has started. */
  inUse: Set<string> | undefined;
  signal: AbortSignal;
}

/** @returns which free space is lacking in the store, as text; undefined if there is enough */
export function lackingSpace({ config, settings }: SpaceRequest): string | undefined {
  return lackOf(readRoom(config.store), settings);
}

/** @returns the fault for a lack that `freeSpace()` could not end */
export function spaceFailure(lack: string): ReturnType<typeof failure> {
  return failure('no-space', `${lack}, and nothing more may be removed`);
}

/**
 * Removes data until enough space is free, or nothing more may be removed.
 * @returns which space is still lacking, as text; undefined if there is enough
 * @throws Fault if something cannot be removed; or the signal's reason
 */
export async function freeSpace(request: SpaceRequest): Promise<string | undefined> {
  const { config, client: own, signal } = request;
  const isEnough = (): boolean => lackingSpace(request) === undefined;
  await emptyClientTrash(config.store, signal).catch(() => signal.throwIfAborted());
  const clients = listClients(config.store).flatMap(name => readableClient(config.store, name));
  for (const client of clients) {
    if (isEnough()) return undefined;
    await empty(client, signal);
  }
  const others = clients.filter(client => client.name !== own.name);
  for (const client of [...others, ...(request.inUse === undefined ? [own] : [])]) {
    if (isEnough()) return undefined;
    if (readdir(`${client.folder}/arriving`).length === 0) continue;
    await withLock(request, client, () => discardInterrupted(client, 'free space was needed'));
    await empty(client, signal);
  }
  if (request.mayRemove) await removeSnapshots(request, clients, isEnough);
  return lackingSpace(request);
}

/** Empties a client's trash. A client whose folder is damaged is passed over, so that it does not stop the others. */
async function empty(client: ClientStore, signal: AbortSignal): Promise<void> {
  await emptyTrash(client.folder, { signal }).catch(() => signal.throwIfAborted());
}

async function removeSnapshots(
  request: SpaceRequest,
  clients: ClientStore[],
  isEnough: () => boolean,
): Promise<void> {
  const { removeSnapshot } = await import('../store/remove.ts'); // most runs need no memory for it
  const exhausted = new Set<string>();
  while (!isEnough()) {
    request.signal.throwIfAborted();
    const remaining = clients.filter(each => !exhausted.has(each.name));
    const client = await largestClient(request, remaining);
    if (client === undefined) return;
    const removeOne = (): boolean => removeOldest(request, client, removeSnapshot);
    if (!(await withLock(request, client, removeOne))) exhausted.add(client.name);
    await empty(client, request.signal);
  }
}

/** Opens a client; a list of one, or an empty one if its folders cannot be read. */
function readableClient(store: string, name: string): ClientStore[] {
  try {
    const client = openClient(store, name);
    for (const each of ['snapshots', 'arriving', 'trash']) readdir(`${client.folder}/${each}`);
    return [client];
  } catch {
    return [];
  }
}

/** Acts with a client's lock held, so that no other run of the client is active. @returns false if it is locked, or the result of `action` */
async function withLock(request: SpaceRequest, client: ClientStore, action: () => boolean): Promise<boolean> {
  if (client.name === request.client.name) return action();
  await using held = new AsyncDisposableStack();
  const lock = await takeLock(held, `${client.folder}/lock`);
  return lock !== undefined && action();
}

/** Lists the snapshots that may be removed now, oldest first, with the reason. */
function removable(
  { config, client: own, inUse }: SpaceRequest,
  client: ClientStore,
): { name: string; why: string }[] {
  const candidates = listSnapshots(client).map(candidateOf);
  const isUsed = (name: string): boolean => client.name === own.name && (inUse?.has(name) ?? false);
  return decideRetention(candidates, settingsFor(config, client.name).policy, now())
    .filter(each => each.mayGoAtLowWater && !isUsed(each.name))
    .map(({ name, reasons }) => ({ name, why: reasons.join(', ') }));
}

function removeOldest(request: SpaceRequest, client: ClientStore, remove: typeof removeSnapshot): boolean {
  const [oldest] = removable(request, client);
  if (oldest === undefined) return false;
  remove(client, oldest.name, `free space was needed (${oldest.why})`);
  return true;
}

/** @returns the client whose snapshots take most space, of those that have a removable one */
async function largestClient(
  request: SpaceRequest,
  clients: ClientStore[],
): Promise<ClientStore | undefined> {
  const candidates = clients.filter(client => removable(request, client).length > 0);
  if (candidates.length <= 1) return candidates[0];
  const sizes = new Map<ClientStore, number>();
  for (const client of candidates) sizes.set(client, await snapshotBytes(client, request.signal));
  return candidates.reduce((most, each) => ((sizes.get(each) ?? 0) > (sizes.get(most) ?? 0) ? each : most));
}

async function snapshotBytes(client: ClientStore, signal: AbortSignal): Promise<number> {
  try {
    const { openIndex } = await import('../store/file-index.ts');
    await using held = new AsyncDisposableStack();
    return (await openIndex(held, client, signal)).held().bytes;
  } catch {
    signal.throwIfAborted();
    // The index cannot be updated on a full disk. The records are exact enough.
    return listSnapshots(client).reduce((sum, { record }) => sum + record.counts.new_bytes, 0);
  }
}

/**
 * Watches the free space until the run ends, and frees space if there is too little. The run continues meanwhile and stays watched.
 * @param stop is aborted with a Fault `no-space` if the run has to end
 * @throws the reason of the request's signal, when that is aborted; or Fault if the store cannot be read
 */
export async function watchSpace(request: SpaceRequest, stop: AbortController): Promise<void> {
  const { config, settings, signal } = request;
  let freeing: Promise<void> | undefined;
  const free = async (lack: string): Promise<void> => {
    // If freeing fails, for any reason, the run ends.
    const still = await freeSpace(request).catch(() => lack);
    if (still && !signal.aborted) stop.abort(spaceFailure(still));
  };
  try {
    while (!stop.signal.aborted) {
      await sleep(msToNextLook(readRoom(config.store), settings, LOOK_MS), signal);
      const room = readRoom(config.store);
      const lack = lackOf(room, settings);
      if (lack === undefined) continue;
      if (isFarBelow(room, settings)) return stop.abort(spaceFailure(lack));
      freeing ??= free(lack).finally(() => {
        freeing = undefined;
      });
    }
  } finally {
    await freeing;
  }
}
