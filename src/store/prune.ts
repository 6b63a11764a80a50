/**
 * `dialback prune`: removes the snapshots that no rule keeps (store/retention.ts decides), and reports for each
 * snapshot why it stays or goes and how much its removal frees. A dry run is the same without the last step.
 *
 * A removal is one rename into trash/, under the client's lock, so that no run links against the snapshot. The
 * deletion comes after all renames, and holds no lock that a run or another prune needs. It waits for a limited time
 * for a run of the same client, and never for a run of another one.
 */

import { Fault } from '../fault.ts';
import { inspectCommand } from '../os/access-advice.ts';
import { monotonicMs, now } from '../os/clock.ts';
import { cannotWrite } from '../os/database.ts';
import { fileFault, whatFailed } from '../os/files.ts';
import { readJournal } from '../os/journal.ts';
import { beIdle } from '../os/priority.ts';
import { type DisposableHolder, isLocked, takeLockOrFolder } from '../os/runfolder.ts';
import { escapeText, quoteForShell } from '../wire/text.ts';
import { openIndex, type StoreIndex } from './file-index.ts';
import type { Held } from './index-room.ts';
import { makeQuietly } from './manifest-writer.ts';
import { removeSnapshot } from './remove.ts';
import { candidateOf, decideRetention } from './retention.ts';
import { keepScratchIn } from './scratch.ts';
import type { StoreSettings } from './settings.ts';
import { listSnapshots } from './snapshot.ts';
import {
  type ClientStore,
  failureText,
  listClients,
  openClient,
  openStore,
  recordQuietly,
  requireOwner,
} from './store.ts';
import { emptyClientTrash, emptyTrash, MOST_WAIT_MS } from './trash.ts';

/** The decision about one snapshot. */
interface PrunedSnapshot {
  snapshot: string;
  state: 'full' | 'incomplete';
  keep: boolean;
  reasons: string[];
  /** The space that its removal frees after those above it are gone; null if it stays, or if this is unknown. */
  frees: Held | null;
}

/** The decisions about a client's snapshots, oldest first. */
interface PrunedClient {
  client: string;
  /** Whether a run is active. Then no snapshot of the client is removed. */
  busy: boolean;
  /** The first failure; null if there was none. */
  failed: string | null;
  /** The next step after that failure, if one is known. */
  next?: string;
  /**
   * Why a removed snapshot could not be deleted and still takes its room; left out on success. The next prune tries
   * again.
   */
  undeleted?: string;
  snapshots: PrunedSnapshot[];
  /** Directory entries to delete, without older trash. */
  names: number;
  /** The estimated time to delete them. */
  estimated_ms: number;
}

/** The result of a prune or a dry run. */
export interface PruneResult {
  dry_run: boolean;
  clients: PrunedClient[];
}

interface PruneOptions {
  /** If undefined, all clients. */
  client: string | undefined;
  dryRun: boolean;
  /** The time to decide by; if undefined, now. */
  at?: Date;
  /** How long the deletion waits for active runs, in total; for tests. */
  waitMs?: number;
}

/** The rate before a deletion of this client has been measured. */
const NAMES_PER_SECOND = 20_000;

/**
 * Removes the snapshots that the policy of one client, or of each, does not keep.
 * @param signal stops it; the next prune deletes what is in trash/ by then
 * @throws Fault `locked` when another prune is active; Fault when the store or the client is missing
 */
export async function prune(
  settings: StoreSettings,
  options: PruneOptions,
  signal: AbortSignal,
): Promise<PruneResult> {
  const { store } = settings;
  openStore(store);
  const names = options.client === undefined ? listClients(store) : [openClient(store, options.client).name];
  const clients = names.map(name => openClient(store, name));
  if (options.dryRun) {
    return { dry_run: true, clients: await pruneEach(settings, clients, options, signal) };
  }
  requireOwner(store, 'prune');
  await beIdle();
  const pruned = await pruneAll(settings, clients, options, signal);
  await deleteAll(settings, clients, pruned, options, signal);
  for (const client of clients) await makeQuietly(client, signal);
  return { dry_run: false, clients: pruned };
}

/** Moves snapshots to the trash, client by client. */
async function pruneAll(
  settings: StoreSettings,
  clients: ClientStore[],
  options: PruneOptions,
  signal: AbortSignal,
): Promise<PrunedClient[]> {
  const { store } = settings;
  await using held = new AsyncDisposableStack();
  if ((await takeLockOrFolder(held, `${store}/prune.lock`, store)) === undefined) {
    throw new Fault({ tried: `prune "${store}"`, found: 'another prune is running', exit: 'locked' });
  }
  keepScratchIn(store);
  return await pruneEach(settings, clients, options, signal);
}

/** Deletes the trash of each client, starting with those that have no active run. */
async function deleteAll(
  settings: StoreSettings,
  clients: ClientStore[],
  pruned: PrunedClient[],
  { waitMs = MOST_WAIT_MS }: PruneOptions,
  signal: AbortSignal,
): Promise<void> {
  const lockOf = (client: ClientStore): string => `${client.folder}/lock`;
  const { deleteRate: namesPerSecond } = settings;
  const resultOf = new Map(pruned.map(each => [each.client, each]));
  const running = new Set(clients.filter(each => isLocked(lockOf(each))));
  const waitsUntilMs = monotonicMs() + waitMs; // one limit for all clients together
  for (const client of [...clients.filter(each => !running.has(each)), ...running]) {
    const pace = { namesPerSecond, lock: lockOf(client), waitsUntilMs, signal };
    const result = resultOf.get(client.name);
    try {
      const ms = await emptyTrash(client.folder, pace);
      // For the next estimate.
      if (result && result.names > 0 && !result.busy)
        recordQuietly(client, 'deleted', { names: result.names, duration_ms: Math.round(ms) });
    } catch (error) {
      signal.throwIfAborted();
      // An entry that cannot be deleted does not stop the prune: the policy has been applied.
      if (result) result.undeleted = failureText(error);
    }
  }
  await emptyClientTrash(settings.store, signal);
}

/** Prunes one client after the other. A failure of one client is reported with it, and the others are pruned. */
async function pruneEach(
  settings: StoreSettings,
  clients: ClientStore[],
  options: PruneOptions,
  signal: AbortSignal,
): Promise<PrunedClient[]> {
  const pruned: PrunedClient[] = [];
  for (const client of clients) {
    try {
      pruned.push(await pruneClient(settings, client, options, signal));
    } catch (error) {
      signal.throwIfAborted();
      if (options.client !== undefined) throw placeFault(error, `prune "${client.name}"`);
      const nothing = { client: client.name, busy: false, failed: null };
      const result: PrunedClient = { ...nothing, snapshots: [], names: 0, estimated_ms: 0 };
      noteFailure(result, error);
      pruned.push(result);
    }
  }
  return pruned;
}

/** Reports only the first failure of a client. */
function noteFailure(result: PrunedClient, error: unknown): void {
  if (result.failed !== null) return;
  result.failed = failureText(error);
  if (error instanceof Fault && error.next !== undefined) result.next = error.next;
}

/** Converts an error of the kernel to a fault that shows the path. Returns other errors unchanged. */
function placeFault(error: unknown, tried: string): unknown {
  const { path } = error as NodeJS.ErrnoException;
  if (error instanceof Fault || path === undefined) return error;
  const found = `"${escapeText(path)}": ${whatFailed(error)}`;
  return new Fault({ tried, found, cause: error, next: inspectCommand(path) });
}

/** A removal is a rename, so this account must own both folders and the snapshot. */
function removalFault(error: unknown, { folder }: ClientStore, snapshot: string): Fault {
  const places = ['snapshots', `snapshots/${snapshot}`, 'trash'].map(each =>
    quoteForShell(`${folder}/${each}`),
  );
  return fileFault(error, `remove "${folder}/snapshots/${snapshot}"`, { next: `ls -ld ${places.join(' ')}` });
}

/** Opens the index; undefined if that fails. Then it is unknown what a removal frees. */
async function indexOf(
  held: DisposableHolder,
  client: ClientStore,
  signal: AbortSignal,
): Promise<StoreIndex | undefined> {
  try {
    return await openIndex(held, client, signal);
  } catch {
    signal.throwIfAborted();
    return undefined;
  }
}

async function pruneClient(
  settings: StoreSettings,
  client: ClientStore,
  options: PruneOptions,
  signal: AbortSignal,
): Promise<PrunedClient> {
  const { dryRun } = options;
  await using held = new AsyncDisposableStack();
  const isFree =
    dryRun || (await takeLockOrFolder(held, `${client.folder}/lock`, client.folder)) !== undefined;
  const index = await indexOf(held, client, signal);
  const { policy } = settings.settingsFor(client.name);
  const all = listSnapshots(client);
  const candidates = all.map(candidateOf);
  const decisions = decideRetention(candidates, policy, options.at ?? now());
  const going = decisions.filter(each => !each.keep).map(each => each.name);
  const frees = index?.freedBy(going);
  const namesOf = index?.names() ?? new Map<string, number>();
  const names = going.reduce((sum, name) => sum + (namesOf.get(name) ?? 0), 0);
  const stateOf = new Map(all.map(each => [each.name, each.record.state]));
  const pruned: PrunedClient = {
    client: client.name,
    busy: !isFree,
    failed: null,
    snapshots: decisions.map(({ name, keep, reasons }) => ({
      snapshot: name,
      state: stateOf.get(name) ?? 'incomplete',
      keep,
      reasons,
      frees: keep || frees === undefined ? null : (frees.get(name) ?? { bytes: 0, inodes: 0 }),
    })),
    names,
    estimated_ms: Math.round((1000 * names) / deletionRate(client)),
  };
  if (dryRun || !isFree) return pruned;
  for (const { snapshot, keep, reasons } of pruned.snapshots) {
    signal.throwIfAborted();
    if (keep) continue;
    try {
      removeSnapshot(client, snapshot, reasons.join(', '));
      forget(index, snapshot);
    } catch (error) {
      noteFailure(pruned, error instanceof Fault ? error : removalFault(error, client, snapshot));
    }
  }
  return pruned;
}

/** On a full disk the snapshot stays in the index, and the next use of the index drops it. */
function forget(index: StoreIndex | undefined, snapshot: string): void {
  try {
    index?.forget(snapshot);
  } catch (error) {
    if (!cannotWrite(error)) throw error;
  }
}

/** The rate of this client's last deletion, in names a second. */
function deletionRate(client: ClientStore): number {
  const last = readJournal(client.folder).findLast(each => each.event === 'deleted');
  const { names, duration_ms: ms } = last ?? {};
  return typeof names === 'number' && typeof ms === 'number' && ms > 0
    ? Math.max(1, (1000 * names) / ms)
    : NAMES_PER_SECOND;
}
