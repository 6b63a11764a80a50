/**
 * `dialback prune`: removes the snapshots that no rule keeps (store/retention.ts decides), and says of each one why it stays
 * or goes and what its going frees. A dry run is the same with the last step left out.
 *
 * A removal is one rename into trash/, under the client's lock, so that no run links against what goes. The deletion comes after
 * all renames, and holds no lock that a run or another prune needs. It waits a while for a run of the same client, and never for
 * one of another.
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
import { type Held, openIndex, type StoreIndex } from './file-index.ts';
import { makeQuietly } from './manifest.ts';
import { candidateOf, decideRetention } from './retention.ts';
import { keepScratchIn } from './scratch.ts';
import type { StoreSettings } from './settings.ts';
import {
  type ClientStore,
  listClients,
  listSnapshots,
  openClient,
  openStore,
  recordEvent,
  removeSnapshot,
  requireOwner,
} from './store.ts';
import { emptyClientTrash, emptyTrash, MOST_WAIT_MS } from './trash.ts';

/** What becomes of one snapshot. */
export interface PrunedSnapshot {
  snapshot: string;
  state: 'full' | 'incomplete';
  keep: boolean;
  reasons: string[];
  /** What its going frees, after those above it have gone; null for one that stays, and where there is no room to find it out. */
  frees: Held | null;
}

/** What becomes of a client's snapshots, oldest first. */
export interface PrunedClient {
  client: string;
  /** A run of it is under way: nothing of it was removed. */
  busy: boolean;
  /** Why not all of it could be done; null where it was. */
  failed: string | null;
  /** What to do about that, where it is known. */
  next?: string;
  /** Why a removed snapshot could not be deleted, and still takes its room; left out where all of it was. The next prune tries again. */
  undeleted?: string;
  snapshots: PrunedSnapshot[];
  /** Names to delete, trash that was there before not counted. */
  names: number;
  /** About how long deleting them takes. */
  estimated_ms: number;
}

/** What a prune did, or would do. */
export interface PruneResult {
  dry_run: boolean;
  clients: PrunedClient[];
}

export interface PruneOptions {
  /** Undefined: all. */
  client: string | undefined;
  dryRun: boolean;
  /** When it is; undefined: now. */
  at?: Date;
  /** How long the deletion waits for runs that are under way, in all; for tests. */
  waitMs?: number;
}

/** Until a deletion here has shown how fast they are. */
const NAMES_PER_SECOND = 20_000;

/**
 * Removes what the policy of each client, or of one, wants removed.
 * @param signal ends it; what is in trash/ by then the next one deletes
 * @throws Fault `locked` when another one is under way
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

/** Moves what goes to the trash, of each client. */
async function pruneAll(
  settings: StoreSettings,
  clients: ClientStore[],
  options: PruneOptions,
  signal: AbortSignal,
): Promise<PrunedClient[]> {
  const { store } = settings;
  await using held = new AsyncDisposableStack();
  if ((await takeLockOrFolder(held, `${store}/prune.lock`, store)) === undefined) {
    throw new Fault({ tried: `prune "${store}"`, found: 'another prune is under way', exit: 'locked' });
  }
  keepScratchIn(store);
  return await pruneEach(settings, clients, options, signal);
}

/** Deletes what is in the trash of each client: first of those that have no run. */
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
  const waitsUntilMs = monotonicMs() + waitMs; // for all of them together
  for (const client of [...clients.filter(each => !running.has(each)), ...running]) {
    const pace = { namesPerSecond, lock: lockOf(client), waitsUntilMs, signal };
    const result = resultOf.get(client.name);
    try {
      const ms = await emptyTrash(client.folder, pace);
      if (result && result.names > 0 && !result.busy) noteDeleted(client, result.names, ms);
    } catch (error) {
      signal.throwIfAborted();
      // One bad entry stops no prune: the policy is met.
      if (result) result.undeleted = wordsOf(error);
    }
  }
  await emptyClientTrash(settings.store, signal);
}

/** One client after the other. What fails for one of them is told with it, and the others are pruned. */
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

function wordsOf(error: unknown): string {
  return error instanceof Fault ? error.message : escapeText(whatFailed(error), 2000);
}

/** The first failure of a client is the one that is told. */
function noteFailure(result: PrunedClient, error: unknown): void {
  if (result.failed !== null) return;
  result.failed = wordsOf(error);
  if (error instanceof Fault && error.next !== undefined) result.next = error.next;
}

/** What the kernel refused to do with a path, as a fault that shows that path; other errors as they are. */
function placeFault(error: unknown, tried: string): unknown {
  const { path } = error as NodeJS.ErrnoException;
  if (error instanceof Fault || path === undefined) return error;
  const found = `"${escapeText(path)}": ${whatFailed(error)}`;
  return new Fault({ tried, found, cause: error, next: inspectCommand(path) });
}

/** A removal is a rename: this account has to own both folders, and what it moves. */
function removalFault(error: unknown, { folder }: ClientStore, snapshot: string): Fault {
  const places = ['snapshots', `snapshots/${snapshot}`, 'trash'].map(each =>
    quoteForShell(`${folder}/${each}`),
  );
  return fileFault(error, `remove "${folder}/snapshots/${snapshot}"`, { next: `ls -ld ${places.join(' ')}` });
}

/** How fast it was, for the next estimate. */
function noteDeleted(client: ClientStore, names: number, ms: number): void {
  try {
    recordEvent(client, 'deleted', { names, duration_ms: Math.round(ms) });
  } catch {
    // a full disk: only the next estimate lacks it
  }
}

/** The index, or undefined where none can be made: what a removal frees is then unknown. */
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

/** On a full disk it stays in the index, and the next use of the index forgets it. */
function forget(index: StoreIndex | undefined, snapshot: string): void {
  try {
    index?.forget(snapshot);
  } catch (error) {
    if (!cannotWrite(error)) throw error;
  }
}

/** Names a second, as the last deletion of this client's went. */
function deletionRate(client: ClientStore): number {
  const last = readJournal(client.folder).findLast(each => each.event === 'deleted');
  const { names, duration_ms: ms } = last ?? {};
  return typeof names === 'number' && typeof ms === 'number' && ms > 0
    ? Math.max(1, (1000 * names) / ms)
    : NAMES_PER_SECOND;
}
