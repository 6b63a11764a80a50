/**
 * `dialback remove` and `remove-client`: remove one snapshot, or an unenrolled client with all its snapshots. Both
 * require the name twice, move the folder to a trash by one rename, and delete it there. A dry run is the same
 * without the last steps.
 */
import { Fault } from '../fault.ts';
import { now } from '../os/clock.ts';
import { rename } from '../os/files.ts';
import { beIdle } from '../os/priority.ts';
import { randomHex } from '../os/random.ts';
import { syncFolder } from '../os/replace.ts';
import { escapeText } from '../wire/text.ts';
import { notDurable } from './basis.ts';
import { dropCaches } from './cache-place.ts';
import { dropRechecks } from './doubtful-files.ts';
import { openIndex, peekIndex } from './file-index.ts';
import type { Held } from './index-room.ts';
import { keptNow, renamingOf } from './kept-client.ts';
import { candidateOf } from './retention.ts';
import { retiredSince } from './retirement.ts';
import type { StoreSettings } from './settings.ts';
import { findSnapshot, listSnapshots, type Snapshot } from './snapshot.ts';
import { type ClientStore, lockClient, openClient, openStore, requireOwner } from './store.ts';
import { emptyClientTrash, emptyTrash, moveToTrash, trashOfClient } from './trash.ts';

/** The options of `remove` and `remove-client`. */
interface RemoveOptions {
  client: string;
  /** If undefined, the client with all its snapshots. */
  snapshot: string | undefined;
  /** The name again, in the form of `named`. */
  confirm: string | undefined;
  dryRun: boolean;
}

/** The things that were removed, or that would be removed. */
export interface Removal {
  dry_run: boolean;
  /** `NAME@SNAPSHOT`, or `NAME`. */
  named: string;
  /** The folder to remove. */
  folder: string;
  snapshots: number;
  pinned: number;
  /** The space that the removal frees; null if unknown. */
  frees: Held | null;
}

/**
 * Removes a snapshot or a client. Does nothing unless `confirm` names it, and nothing while a run of the client is
 * active.
 * @throws Fault that names the reason against it
 */
export async function remove(
  settings: StoreSettings,
  options: RemoveOptions,
  signal: AbortSignal,
): Promise<Removal> {
  const { store } = settings;
  const verb = options.snapshot === undefined ? 'remove-client' : 'remove';
  openStore(store);
  if (!options.dryRun) requireOwner(store, verb);
  const client = openClient(store, options.client);
  await using held = new AsyncDisposableStack();
  if (!options.dryRun) await lockClient(held, client);
  const planned =
    options.snapshot === undefined
      ? planClient(client)
      : await planSnapshot(client, options.snapshot, signal);
  const removal = { dry_run: options.dryRun, ...planned };
  if (options.dryRun) return removal;
  requireConfirmed(verb, removal, options.confirm);
  if (options.snapshot === undefined) moveClient(store, client);
  else removeSnapshot(client, planned.folder.split('/').at(-1) ?? '', `by hand: ${verb}`);
  await held.disposeAsync();
  await beIdle();
  if (options.snapshot === undefined) await emptyClientTrash(store, signal);
  else await emptyTrash(client.folder, { lock: `${client.folder}/lock`, signal });
  return removal;
}

function requireConfirmed(verb: string, { named, snapshots }: Removal, confirm: string | undefined): void {
  if (confirm === named) return;
  throw new Fault({
    tried: `${verb === 'remove' ? 'remove' : 'remove the client'} "${named}"`,
    found:
      confirm === undefined
        ? `${snapshots} ${snapshots === 1 ? 'snapshot' : 'snapshots'} would be deleted permanently, and --confirm does not name it`
        : '--confirm names something else',
    next: `dialback ${verb} ${named} --dry-run; then dialback ${verb} ${named} --confirm ${named}`,
    exit: 'usage',
  });
}

type Plan = Omit<Removal, 'dry_run'>;

async function planSnapshot(client: ClientStore, wanted: string, signal: AbortSignal): Promise<Plan> {
  const { name, folder } = findSnapshot(client, wanted);
  requireRemovable(client, name);
  await using held = new AsyncDisposableStack();
  const frees = await openIndex(held, client, signal)
    .then(index => index.freedBy([name]).get(name) ?? null)
    .catch(() => null); // a full disk has no room for an index
  signal.throwIfAborted();
  return { named: `${client.name}@${name}`, folder, snapshots: 1, pinned: 0, frees };
}

function planClient(client: ClientStore): Plan {
  if (retiredSince(client) === undefined) {
    throw new Fault({
      tried: `remove the client "${client.name}"`,
      found: 'it is enrolled',
      next: `dialback unenroll ${client.name}`,
      exit: 'refused',
    });
  }
  const all = listSnapshots(client);
  const kept = keptNow(client, now());
  if (kept !== undefined)
    throw new Fault({
      tried: `remove the client "${client.name}"`,
      found: `its snapshots stay: ${kept.reason}`,
      next: nextForKept(client),
      exit: 'refused',
    });
  const index = peekIndex(client);
  const frees = index?.held() ?? null;
  index?.close();
  return {
    named: client.name,
    folder: client.folder,
    snapshots: all.length,
    pinned: all.filter(each => each.pinned !== undefined).length,
    frees,
  };
}

/** The step after which the rules decide about its snapshots again. */
function nextForKept({ name, folder }: ClientStore): string {
  const renaming = renamingOf(folder);
  return renaming === undefined
    ? `dialback retire ${name} --keep 0s`
    : `dialback rename ${renaming.from} ${renaming.to}, which completes it`;
}

/** Renames a client's folder, so that no list of clients contains it. The client's lock must be held. */
function moveClient(store: string, { name, folder }: ClientStore): void {
  rename(folder, `${store}/clients/${trashOfClient(name, randomHex(4))}`);
  syncFolder(`${store}/clients`);
  dropCaches(folder);
}

/** @throws Fault when a snapshot must not be removed: it does not exist, is pinned, offered or kept, or is the last full one */
function requireRemovable(client: ClientStore, name: string): void {
  const fault = (found: string, next: string): Fault =>
    new Fault({ tried: `remove "${client.name}@${escapeText(name)}"`, found, next });
  const all = listSnapshots(client);
  const wanted = all.find(each => each.name === name);
  if (wanted === undefined) throw fault('there is no such snapshot', `dialback list ${client.name}`);
  if (wanted.pinned !== undefined)
    throw fault(`it is pinned: ${wanted.pinned}`, `dialback unpin ${client.name}@${name}`);
  if (wanted.kept !== undefined) throw fault(wanted.kept.reason, nextForKept(client));
  if (wanted.offered !== undefined)
    throw fault(
      `it is offered to the client until ${wanted.offered}`,
      `dialback offer ${client.name} --list, then dialback offer ${client.name} --revoke ID`,
    );
  const isLast = (isFull: (each: Snapshot) => boolean): boolean =>
    isFull(wanted) && all.every(each => each === wanted || !isFull(each));
  // Keep the last full and usual one, and in any case the last full one.
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
 * Moves a finished snapshot to trash/ by one rename; `emptyTrash` deletes it. The client's lock must be held, so that
 * no run links against it. This checks again that the snapshot may go, whatever the caller has decided.
 * @param reason for the journal
 * @throws Fault when it does not exist, is pinned or offered, or is the last full one
 */
export function removeSnapshot(client: ClientStore, name: string, reason: string): void {
  requireRemovable(client, name);
  moveToTrash(client, 'snapshots', name, { reason });
  // Sync the new place first, so that after a power cut the tree is in one of them. Both come before the deletion.
  syncFolder(`${client.folder}/trash`);
  syncFolder(`${client.folder}/snapshots`);
  dropRechecks(client.folder, notDurable(client));
}
