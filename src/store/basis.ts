/**
 * The snapshots that the next run links against, and whether the data of all their files is known to be on the disk.
 */
import { now } from '../os/machine.ts';
import { takeLock } from '../os/runfolder.ts';
import { snapshotName } from '../wire/text.ts';
import { type Doubtful, dropRechecks, findRecheck, listDoubtful, makeRecheck } from './doubtful-files.ts';
import { candidateOf } from './retention.ts';
import { readSnapshot, snapshotNames } from './snapshot.ts';
import type { ClientStore } from './store.ts';

/**
 * The newest finished snapshot, and the newest full one that is not unusual if that is another. One from the future is the
 * last choice.
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

export function isDurable(client: ClientStore, name: string): boolean {
  return readSnapshot(client, name).record.durable === true;
}

/** Of the snapshots that the next run links against: those whose files it does not know to be whole. */
export function notDurable(client: ClientStore): string[] {
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
