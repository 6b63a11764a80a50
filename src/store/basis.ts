/** The snapshots that the next run links against, and whether all their data is known to be on the disk. */
import { now } from '../os/clock.ts';
import { takeLock } from '../os/runfolder.ts';
import { snapshotName } from '../wire/text.ts';
import { type Doubtful, dropRechecks, findRecheck, listDoubtful, makeRecheck } from './doubtful-files.ts';
import { candidateOf } from './retention.ts';
import { readSnapshot, snapshotNames } from './snapshot.ts';
import type { ClientStore } from './store.ts';

/**
 * Chooses the newest finished snapshot, and also the newest full and usual one if that is a different one. A snapshot
 * from the future is used only if there is no other.
 * @param before the name of the snapshot that is about to begin
 * @returns names, the newest first
 */
export function pickBasis(client: ClientStore, before: string): string[] {
  const names = snapshotNames(client);
  const past = names.filter(name => name < before);
  const candidates = (past.length > 0 ? past : names).reverse();
  const newest = candidates[0];
  if (newest === undefined) return [];
  const full = candidates.find(name => candidateOf(readSnapshot(client, name)).state === 'full');
  return full === undefined || full === newest ? [newest] : [newest, full];
}

/** Whether all files of a snapshot are known to be on the disk (SnapshotRecord.durable). */
export function isDurable(client: ClientStore, name: string): boolean {
  return readSnapshot(client, name).record.durable === true;
}

/** The snapshots that the next run links against and whose files are not known to be whole. */
export function notDurable(client: ClientStore): string[] {
  // A run can begin and commit within one second. This includes the one that has just ended.
  const soon = snapshotName(new Date(now().getTime() + 1000));
  return pickBasis(client, soon).filter(each => !isDurable(client, each));
}

/** Whether the next run would link files that are not known to be whole, with no recheck tree to compare them. */
export function hasDoubtfulBasis(client: ClientStore): boolean {
  return notDurable(client).some(each => findRecheck(client.folder, each) === undefined);
}

/**
 * Prepares the recheck trees, so that the next run compares the files whose data may never have reached the disk.
 * Does nothing if all snapshots are known to be whole, or if another process is doing it.
 * @throws Fault when a tree could not be made; the signal's reason
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

/**
 * Lists the doubtful files of each snapshot that the next run links against; snapshots without any are left out.
 * @throws Fault when they cannot be read; the signal's reason
 */
export async function doubtfulFiles(client: ClientStore, signal: AbortSignal): Promise<Doubtful[]> {
  const doubtful: Doubtful[] = [];
  for (const each of notDurable(client)) doubtful.push(await listDoubtful(client.folder, each, signal));
  return doubtful.filter(each => each.count > 0);
}
