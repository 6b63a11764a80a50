/**
 * A tree that is being received, from its beginning to its commit.
 */
import { Fault } from '../fault.ts';
import {
  exists,
  fileFault,
  makeFolder,
  readdir,
  removeEmptyFolder,
  removeFileIfThere,
  rename,
  syncFolder,
  writeNew,
} from '../os/files.ts';
import { monotonicMs, now, sleep } from '../os/machine.ts';
import { escapeText, plainJson, SNAPSHOT, snapshotName, snapshotTime } from '../wire/text.ts';
import { isDurable, notDurable, pickBasis } from './basis.ts';
import { dropRechecks, findRecheck } from './doubtful-files.ts';
import { DOUBT_LIMIT_MS, doubtTree, isSynced, markSynced, syncFileSystem } from './interrupted-tree.ts';
import { linkMissing } from './link-limit.ts';
import { completePartials } from './partial-files.ts';
import type { SnapshotRecord } from './snapshot.ts';
import { type ClientStore, recordEvent } from './store.ts';
import { emptyTrash, moveToTrash } from './trash.ts';

/** A tree that is being received. */
export interface Arrival {
  name: string;
  started: Date;
  folder: string;
  tree: string;
  /** The snapshot it is compared with, or null. */
  basis: string | null;
  /** The snapshots that it links against, the newest first. */
  bases: string[];
  /** What rsync links against, best first. */
  linkDests: string[];
  /** Names of older interrupted trees. */
  leftOver: string[];
  /** Whether every file that it links is known to be whole (SnapshotRecord.durable). */
  isDurable: boolean;
}

/** Interrupted trees that a run links against at most (a run that is killed can leave one beside the kept one). */
const LEFT_OVER_LIMIT = 4;

/**
 * Begins a snapshot: a fresh, empty tree under arriving/, and what to link it against. The lock must be held.
 * A name is a second; where it is taken already, the next second is waited for.
 */
export async function beginSnapshot(client: ClientStore): Promise<Arrival> {
  let started = now();
  while (isTaken(client, snapshotName(started))) {
    await sleep(1000 - (started.getTime() % 1000));
    started = now();
  }
  const name = snapshotName(started);
  let left = readdir(`${client.folder}/arriving`)
    .filter(each => SNAPSHOT.test(each))
    .sort()
    .reverse();
  for (const each of left.splice(LEFT_OVER_LIMIT)) moveToTrash(client, 'arriving', each);
  const basis = pickBasis(client, name);
  const folder = `${client.folder}/arriving/${name}`;
  try {
    makeFolder(folder);
    makeFolder(`${folder}/tree`);
  } catch (error) {
    // A full disk, and it may be full of what interrupted runs left: that goes first.
    if (!(error instanceof Fault) || error.exit !== 'noSpace' || left.length === 0) throw error;
    for (const each of left) moveToTrash(client, 'arriving', each);
    left = [];
    await emptyTrash(client.folder).catch(() => {}); // whether there is room now, the next line tells
    makeFolder(folder);
    makeFolder(`${folder}/tree`);
  }
  const rechecks = basis.map(each => findRecheck(client.folder, each));
  const bases = basis
    .map((each, at) => rechecks[at]?.tree ?? `${client.folder}/snapshots/${each}/tree`)
    .filter(exists);
  const interrupted: string[] = [];
  const doubtedByMs = monotonicMs() + DOUBT_LIMIT_MS;
  for (const each of left) {
    const tree = `${client.folder}/arriving/${each}/tree`;
    if (!exists(tree)) continue;
    await completePartials(tree, snapshotTime(each) ?? started, bases);
    if (await isUsable(client, each, doubtedByMs)) interrupted.push(tree);
  }
  left = left.filter(each => exists(`${client.folder}/arriving/${each}`));
  return {
    name,
    started,
    folder,
    tree: `${folder}/tree`,
    basis: basis[0] ?? null,
    bases: basis,
    // Of a name that has changed rsync builds on the first one: what has arrived is nearer to it than what was before.
    linkDests: [...interrupted, ...bases],
    leftOver: left,
    isDurable: basis.every((each, at) => rechecks[at] !== undefined || isDurable(client, each)),
  };
}

/**
 * Whether a run may link against an interrupted tree. One that was not synced loses its times first; one that cannot be
 * doubted file by file goes to the trash.
 */
async function isUsable(client: ClientStore, name: string, doubtedByMs: number): Promise<boolean> {
  const folder = `${client.folder}/arriving/${name}`;
  if (isSynced(folder)) return true;
  try {
    await doubtTree(`${folder}/tree`, doubtedByMs);
    return true;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    moveToTrash(client, 'arriving', name, { reason: escapeText(reason) });
    return false;
  }
}

function isTaken(client: ClientStore, name: string): boolean {
  return exists(`${client.folder}/snapshots/${name}`) || exists(`${client.folder}/arriving/${name}`);
}

/**
 * Commits: what has arrived goes to the disk, its record beside it, and one rename makes it a finished snapshot.
 * @param excludes the exclude list as the client sent it
 * @returns what failed after the rename, where nothing can undo the snapshot any more; undefined: nothing
 */
export async function commitSnapshot(
  client: ClientStore,
  arrival: Arrival,
  record: SnapshotRecord,
  excludes: Buffer,
): Promise<Fault | undefined> {
  try {
    writeNew(`${arrival.folder}/excludes`, excludes, { sync: true });
    writeNew(`${arrival.folder}/snapshot.json`, `${plainJson(record, 2)}\n`, { sync: true });
    await syncFileSystem(arrival.folder);
    rename(arrival.folder, `${client.folder}/snapshots/${arrival.name}`);
  } catch (error) {
    for (const name of ['excludes', 'snapshot.json']) removeFileIfThere(`${arrival.folder}/${name}`);
    throw error instanceof Fault ? error : fileFault(error, `commit "${arrival.name}"`);
  }
  try {
    syncFolder(`${client.folder}/snapshots`);
    syncFolder(`${client.folder}/arriving`);
    recordEvent(client, 'committed', { snapshot: arrival.name, state: record.state });
    for (const each of arrival.leftOver) moveToTrash(client, 'arriving', each);
    dropRechecks(client.folder, notDurable(client));
    return undefined;
  } catch (error) {
    return error instanceof Fault
      ? error
      : fileFault(error, `put the store in order after "${arrival.name}"`);
  }
}

/**
 * Ends a run that did not make a snapshot. What has arrived is kept for the next run, as one tree: names that only
 * the older interrupted tree has are linked into the newer one (only links are made; no inode is written to).
 * @param isFull where the disk is full nothing is kept: an unfinished tree must not take the room from all later runs
 */
export async function abandonSnapshot(client: ClientStore, arrival: Arrival, isFull = false): Promise<void> {
  if (isFull) {
    for (const each of [arrival.name, ...arrival.leftOver]) moveToTrash(client, 'arriving', each);
    return;
  }
  const [older, ...oldest] = arrival.leftOver;
  if (!exists(arrival.tree)) return; // the store has gone, or it was committed after all
  if (readdir(arrival.tree).length === 0) {
    removeEmptyFolder(arrival.tree);
    removeEmptyFolder(arrival.folder);
    return;
  }
  if (older !== undefined) {
    try {
      await linkMissing(`${client.folder}/arriving/${older}/tree`, arrival.tree);
    } catch {
      return; // both stay, and the next run links against both
    }
    moveToTrash(client, 'arriving', older);
  }
  for (const each of oldest) moveToTrash(client, 'arriving', each);
  // Last: all that was put into the tree is covered. Where it fails, the next run compares contents.
  await markSynced(arrival.folder).catch(() => {});
}

/**
 * Gives up what interrupted runs left, for want of room. The client's lock must be held, and no run of it be under way.
 * @returns whether there was any
 */
export function discardInterrupted(client: ClientStore, reason: string): boolean {
  const left = readdir(`${client.folder}/arriving`).filter(each => SNAPSHOT.test(each));
  for (const each of left) moveToTrash(client, 'arriving', each, { reason });
  return left.length > 0;
}
