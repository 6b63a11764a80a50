/** A tree that is being received: how it begins under arriving/, and how it is committed or abandoned. */
import { dirname } from 'node:path';
import { Fault } from '../fault.ts';
import { monotonicMs, now, sleep } from '../os/clock.ts';
import {
  exists,
  fileFault,
  makeFolder,
  readdir,
  removeEmptyFolder,
  removeFileIfThere,
  rename,
} from '../os/files.ts';
import { syncFolder, writeNew } from '../os/replace.ts';
import { escapeText, plainJson, SNAPSHOT, snapshotName, snapshotTime } from '../wire/text.ts';
import { dropWork } from './arrival-work.ts';
import { isDurable, notDurable, pickBasis } from './basis.ts';
import { dropRechecks, findRecheck } from './doubtful-files.ts';
import { freeBytesQuietly } from './free-space.ts';
import {
  DOUBT_LIMIT_MS,
  doubtTree,
  isSynced,
  markSynced,
  samePathsOf,
  syncFileSystem,
} from './interrupted-tree.ts';
import { linkMissing } from './link-limit.ts';
import { completePartials } from './partial-files.ts';
import { type LinkTree, separateTrees } from './separate-trees.ts';
import { readSnapshot, type SnapshotRecord } from './snapshot.ts';
import { type ClientStore, recordEvent } from './store.ts';
import { emptyTrash, moveToTrash } from './trash.ts';

/** A tree that is being received. */
export interface Arrival {
  name: string;
  started: Date;
  folder: string;
  tree: string;
  /** The name of the snapshot that its record compares it with; null for a client's first one. */
  basis: string | null;
  /** The names of the snapshots that it links against, the newest first. */
  bases: string[];
  /** The folders for rsync's --link-dest, best first. */
  linkDests: string[];
  /**
   * The names of the trees of which this one will have each shared file at the same path (separate-trees.ts). Empty
   * once files have been linked to moved ones.
   */
  samePaths: string[];
  /** Whether files have been linked to moved ones (moved-files.ts). */
  hasMoved?: boolean;
  /** Whether a sync has failed. The kernel reports lost data only once: a second sync can succeed without them. */
  isSyncFailed?: boolean;
  /** Names of older interrupted trees. */
  leftOver: string[];
  /** Whether every file that it links is known to be whole (SnapshotRecord.durable). */
  isDurable: boolean;
}

/** The most interrupted trees that a run links against. A killed run can leave one beside the one that is kept. */
const LEFT_OVER_LIMIT = 4;

/**
 * Begins a snapshot: makes a fresh, empty tree under arriving/ and chooses what to link it against. The client's lock
 * must be held. A name stands for a second; if it is taken, this waits for the next second.
 * @returns the tree, and everything that rsync links against
 * @throws Fault when the folders cannot be made
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
  left = await makeArrivalFolder(client, folder, left);
  const rechecks = basis.map(each => findRecheck(client.folder, each));
  const bases = basis
    .map((name, at) => ({ name, tree: rechecks[at]?.tree ?? `${client.folder}/snapshots/${name}/tree` }))
    .filter(each => exists(each.tree));
  const interrupted: LinkTree[] = [];
  const doubtedByMs = monotonicMs() + DOUBT_LIMIT_MS;
  const trees = bases.map(each => each.tree);
  for (const name of left) {
    const tree = `${client.folder}/arriving/${name}/tree`;
    if (!exists(tree)) continue;
    await completePartials(tree, snapshotTime(name) ?? started, trees);
    const samePaths = await makeUsable(client, name, doubtedByMs);
    if (samePaths !== undefined) interrupted.push({ name, tree, samePaths });
  }
  const chosen = await chooseTrees(client, folder, interrupted, bases);
  left = left.filter(each => exists(`${client.folder}/arriving/${each}`));
  return {
    name,
    started,
    folder,
    tree: `${folder}/tree`,
    basis: basis[0] ?? null,
    bases: basis,
    ...chosen,
    leftOver: left,
    isDurable: basis.every((each, at) => rechecks[at] !== undefined || isDurable(client, each)),
  };
}

/**
 * Chooses the trees for --link-dest, so that two files of the client stay two inodes. If that takes too long, only the
 * newest snapshot is used, or the newest interrupted tree if there is no snapshot; other interrupted trees go to the trash.
 */
async function chooseTrees(
  client: ClientStore,
  folder: string,
  interrupted: LinkTree[],
  bases: { name: string; tree: string }[],
): Promise<{ linkDests: string[]; samePaths: string[] }> {
  // For a changed file rsync uses the first match as the basis. An interrupted tree has a newer version of the file
  // than a snapshot.
  const trees = [
    ...interrupted,
    ...bases.map(each => ({ ...each, samePaths: samePathsIn(client, each.name) })),
  ];
  try {
    for (const { tree } of interrupted) await dropWork(dirname(tree));
    const linkDests = await separateTrees(trees, folder);
    const whole = trees.filter(({ tree }, at) => tree === linkDests[at]);
    return { linkDests, samePaths: whole.map(each => each.name) };
  } catch (error) {
    if (error instanceof Fault && error.exit === 'noSpace') throw error;
    const kept = bases[0] ?? trees[0];
    const reason = escapeText(error instanceof Error ? error.message : String(error));
    for (const { name } of interrupted)
      if (name !== kept?.name) moveToTrash(client, 'arriving', name, { reason });
    return kept === undefined
      ? { linkDests: [], samePaths: [] }
      : { linkDests: [kept.tree], samePaths: [kept.name] };
  }
}

/** Reads from the record of a snapshot with which older ones it shares files only at equal paths. */
function samePathsIn(client: ClientStore, name: string): LinkTree['samePaths'] {
  const { record } = readSnapshot(client, name);
  if (record.flags.includes('damaged')) return new Set();
  return record.same_paths === undefined ? 'unmoved' : new Set([record.same_paths].flat());
}

/**
 * Makes the folders of a new tree.
 * @param left the names of interrupted trees
 * @returns those of them that are still there
 * @throws Fault when the folders cannot be made
 */
async function makeArrivalFolder(client: ClientStore, folder: string, left: string[]): Promise<string[]> {
  const make = (): void => {
    makeFolder(folder);
    makeFolder(`${folder}/tree`);
  };
  try {
    make();
    return left;
  } catch (error) {
    if (!(error instanceof Fault) || error.exit !== 'noSpace' || left.length === 0) throw error;
  }
  // The disk is full, perhaps because of interrupted trees. Delete them, and try again.
  for (const each of left) moveToTrash(client, 'arriving', each);
  await emptyTrash(client.folder).catch(() => {});
  make();
  return [];
}

/**
 * Prepares an interrupted tree, so that a run may link against it. A tree that was not synced loses its times first,
 * and the names that it shares with a snapshot. If that fails, the tree goes to the trash.
 * @returns undefined if it is not usable
 */
async function makeUsable(
  client: ClientStore,
  name: string,
  doubtedByMs: number,
): Promise<LinkTree['samePaths'] | undefined> {
  const folder = `${client.folder}/arriving/${name}`;
  if (isSynced(folder)) return samePathsOf(folder);
  try {
    await doubtTree(`${folder}/tree`, doubtedByMs);
    return 'any';
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    moveToTrash(client, 'arriving', name, { reason: escapeText(reason) });
    return undefined;
  }
}

function isTaken(client: ClientStore, name: string): boolean {
  return exists(`${client.folder}/snapshots/${name}`) || exists(`${client.folder}/arriving/${name}`);
}

/**
 * Commits a snapshot: writes its record beside the tree, syncs the file system, and renames the folder into
 * snapshots/.
 * @param excludes the exclude list as the client sent it
 * @returns the error of a step after the rename, when the snapshot can no longer be undone; undefined when all steps
 *   succeeded
 * @throws Fault when the snapshot was not committed
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
    arrival.isSyncFailed = true;
    await syncFileSystem(arrival.folder);
    arrival.isSyncFailed = false;
    rename(arrival.folder, `${client.folder}/snapshots/${arrival.name}`);
  } catch (error) {
    for (const name of ['excludes', 'snapshot.json']) removeFileIfThere(`${arrival.folder}/${name}`);
    throw error instanceof Fault ? error : fileFault(error, `commit "${arrival.name}"`);
  }
  try {
    syncFolder(`${client.folder}/snapshots`);
    syncFolder(`${client.folder}/arriving`);
    recordEvent(client, 'committed', {
      ...{ snapshot: arrival.name, state: record.state, ...savedBy(record) },
      free_bytes: freeBytesQuietly(client.folder), // for a prediction (store/disk-forecast.ts)
    });
    for (const each of arrival.leftOver) moveToTrash(client, 'arriving', each);
    dropRechecks(client.folder, notDurable(client));
    return undefined;
  } catch (error) {
    return error instanceof Fault ? error : fileFault(error, `finish the commit of "${arrival.name}"`);
  }
}

/** For the journal: the moved files that were linked to older ones, and the files that share blocks with older ones. */
function savedBy({ counts }: SnapshotRecord): Record<string, number> {
  const { moved = 0, moved_bytes = 0, shared = 0, shared_bytes = 0 } = counts;
  return { ...(moved > 0 ? { moved, moved_bytes } : {}), ...(shared > 0 ? { shared, shared_bytes } : {}) };
}

/**
 * Ends a run that did not make a snapshot. Keeps what arrived for the next run, as one tree: hard links add the names
 * that only the older interrupted tree has. No inode is written to.
 * @param isFull whether the disk is full: then this deletes all that arrived, because an unfinished tree must not take
 *   the room of all later runs
 */
export async function abandonSnapshot(client: ClientStore, arrival: Arrival, isFull = false): Promise<void> {
  if (isFull) {
    for (const each of [arrival.name, ...arrival.leftOver]) moveToTrash(client, 'arriving', each);
    return;
  }
  const [older, ...oldest] = arrival.leftOver;
  if (!exists(arrival.tree)) return; // the store is gone, or the snapshot was committed after all
  await dropWork(arrival.folder);
  if (readdir(arrival.tree).length === 0) {
    removeEmptyFolder(arrival.tree);
    removeEmptyFolder(arrival.folder);
    return;
  }
  // A tree with linked moved files is complete. A file of the older tree could be one of them, under its old name.
  if (arrival.hasMoved) oldest.unshift(...(older === undefined ? [] : [older]));
  else if (older !== undefined) {
    try {
      await linkMissing(`${client.folder}/arriving/${older}/tree`, arrival.tree);
    } catch {
      return; // both trees stay, and the next run links against both
    }
    moveToTrash(client, 'arriving', older);
  }
  for (const each of oldest) moveToTrash(client, 'arriving', each);
  if (arrival.isSyncFailed) return; // the next run compares contents
  // This comes last, so that the sync covers every link. If it fails, the next run compares contents.
  await markSynced(arrival.folder, arrival.samePaths).catch(() => {});
}

/**
 * Moves what interrupted runs left to the trash, to make room. The client's lock must be held, and no run of it may
 * be active.
 * @param reason for the journal
 * @returns whether there was any
 */
export function discardInterrupted(client: ClientStore, reason: string): boolean {
  const left = readdir(`${client.folder}/arriving`).filter(each => SNAPSHOT.test(each));
  for (const each of left) moveToTrash(client, 'arriving', each, { reason });
  return left.length > 0;
}
