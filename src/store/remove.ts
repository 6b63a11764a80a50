/**
 * `dialback remove` and `remove-client`: one snapshot, or a client that was unenrolled with all that it has, by hand. Both want the
 * name once more, go by one rename into a trash, and delete from there; a dry run is the same without that.
 */
import { Fault } from '../fault.ts';
import { rename } from '../os/files.ts';
import { beIdle } from '../os/priority.ts';
import { randomHex } from '../os/random.ts';
import { syncFolder } from '../os/replace.ts';
import { type Held, openIndex, peekIndex } from './file-index.ts';
import { retiredSince } from './retirement.ts';
import type { StoreSettings } from './settings.ts';
import {
  type ClientStore,
  findSnapshot,
  listSnapshots,
  lockClient,
  openClient,
  openStore,
  removeSnapshot,
  requireOwner,
  requireRemovable,
} from './store.ts';
import { emptyClientTrash, emptyTrash, trashOfClient } from './trash.ts';

export interface RemoveOptions {
  client: string;
  /** Undefined: the client with all that it has. */
  snapshot: string | undefined;
  /** The name once more, as `named` has it. */
  confirm: string | undefined;
  dryRun: boolean;
}

/** What goes, or would go. */
export interface Removal {
  dry_run: boolean;
  /** `NAME@SNAPSHOT`, or `NAME`. */
  named: string;
  /** The folder that goes. */
  folder: string;
  snapshots: number;
  pinned: number;
  /** What that frees; null where it is not known. */
  frees: Held | null;
}

/**
 * Removes a snapshot, or a client. Nothing is done unless `confirm` names it, and nothing while a run of the client is under way.
 * @throws Fault that names what stands against it
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
        ? `${snapshots} ${snapshots === 1 ? 'snapshot' : 'snapshots'} would be gone for good, and --confirm does not name it`
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

/** One rename; no list of clients has it any more. The client's lock is held. */
function moveClient(store: string, { name, folder }: ClientStore): void {
  rename(folder, `${store}/clients/${trashOfClient(name, randomHex(4))}`);
  syncFolder(`${store}/clients`);
}
