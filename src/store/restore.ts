/**
 * `dialback restore`: gives back files with all that they had. rsync does the work, out of the fake-super tree.
 *
 * As root everything comes back. What is restored is staged in a private folder (0700) inside DIR and moved into
 * place when it is whole: setuid files and devices become real there, half a tree must not be usable by others.
 */
import { dirname } from 'node:path';
import { Fault } from '../fault.ts';
import { ownAccount, ownGroups } from '../os/account.ts';
import { now } from '../os/clock.ts';
import { lstat, realPath } from '../os/files.ts';
import { hasLauncher } from '../os/launcher.ts';
import { takeFolderLock } from '../os/runfolder.ts';
import { escapeText, snapshotTime } from '../wire/text.ts';
import { readTree, type TreeEntry } from './fake-super.ts';
import { hasLostAttributes } from './lost-attributes.ts';
import {
  type Compared,
  compareRestored,
  type DifferenceCount,
  Differences,
  type Giver,
  lackingIn,
} from './restore-compare.ts';
import {
  copySelected,
  isDone,
  Lines,
  OTHER_SIDE,
  placeOf,
  type RestoreProgress,
  restoreArguments,
  rsyncFault,
  runRsync,
  type Telling,
} from './restore-copy.ts';
import { requireInert } from './restore-inert.ts';
import {
  beneath,
  mergeInto,
  moveAll,
  requireArrived,
  requireSafeMerge,
  requireStoreSpared,
} from './restore-place.ts';
import { passesOf, type RestoreOptions, type Selection, select } from './restore-selection.ts';
import { requireRoom } from './restore-space.ts';
import { findStages, hasLeftovers, type Purpose, removeUnmarked, Stage } from './restore-stage.ts';
import { checkTarget, modeForOthers, prepareTarget, type TargetOptions } from './restore-target.ts';
import type { Snapshot } from './store.ts';

export type { RestoreOptions, RestoreProgress };

export interface RestorePlan {
  snapshot: string;
  state: 'full' | 'incomplete';
  /** How long ago it was made, in milliseconds. */
  age_ms: number;
  /** Newer snapshots that were passed over, oldest first: they are incomplete, or from the future. Empty where one was named. */
  newer: string[];
  files: number;
  bytes: number;
  /** What could not be given back, a line each: messages of rsync, and names that are missing. Not all of many. */
  notGivenBack: string[];
  /** Entries that differ from the snapshot in something that matters, and all messages. */
  notGivenBackCount: number;
  /** What differs, by kinds. Owners and the like that this account may not set are in it too, and do not matter. */
  differences: DifferenceCount[];
  /** DIR's mode, where other accounts can get into it; null: they cannot. */
  openTo: string | null;
  /** Whether the files of the store have lost their attributes: it was copied without them. */
  lostAttributes: boolean;
}

/** What a restore has given back. */
export interface RestoreResult extends RestorePlan {
  /** Whether the contents were compared with the snapshot's manifest; false where it has none yet. */
  checked: boolean;
  /** Whether it was compared with the snapshot; false where getfattr(1) is missing. */
  compared: boolean;
  /**
   * Files that are not as they were when they were backed up: they are given back as they are in the store. At most
   * DAMAGED_SHOWN of them.
   */
  damaged: Compared['damaged'];
  damagedCount: number;
  /** The mode of the client's `/` (`0700 of uid 1000` where root has got another owner's), where DIR was made for this restore and
   * stays closed; null: DIR has it, or gets none. */
  closedTop: string | null;
}

function describeSnapshot({
  snapshot,
  newer,
}: Selection): Pick<RestorePlan, 'snapshot' | 'state' | 'age_ms' | 'newer'> {
  const made = snapshotTime(snapshot.name) ?? now();
  return {
    snapshot: snapshot.name,
    state: snapshot.record.state,
    age_ms: now().getTime() - made.getTime(),
    newer,
  };
}

/**
 * Restores, and finds out what could not be given back.
 * @param signal ends it in good order
 * @param tell is told how far it is, where somebody wants to know
 */
export async function restore(
  options: RestoreOptions,
  signal: AbortSignal,
  tell?: (progress: RestoreProgress) => void,
): Promise<RestoreResult> {
  const selection = select(options);
  const target: TargetOptions = { ...options, account: ownAccount() };
  const purpose = purposeOf(options, selection);
  const giver = giverOf(options);
  const lines = new Lines();
  const place = giver.uid === 0 && hasLauncher() ? placeOf : () => undefined;
  await using held = new AsyncDisposableStack();
  const begun = await takeOver(held, target, purpose);
  if (begun !== undefined) {
    const telling = { signal, lines, place: place(options, selection.snapshot) };
    return await finish(begun, { selection, options, giver, telling }, compareInPlace);
  }
  const isMerge = checkTarget(target) === 'filled';
  if (isMerge) {
    requireStoreSpared(selection, options.store, options.to);
    await requireSafeMerge(selection, options.to, signal);
  }
  await requireRoom(selection, { to: options.to, where: nearest(options.to), isMerge, freed: [] }, signal);
  const { isEmpty, isNew } = prepareTarget(target);
  await lockTarget(held, options.to);

  // Private, and no part of what rsync writes: it would give the top the attributes of the client's `/` at once.
  const stage = Stage.make(options.to, purpose, isNew);
  const telling = { signal, lines, place: place(options, selection.snapshot) };
  return await finish(stage, { selection, options, giver, telling }, async work => {
    const compared = await fillStage(stage, work, tell);
    if (isEmpty) {
      stage.beginMoving();
      moveAll(stage.tree, options.to);
    } else await mergeInto(stage.tree, options.to, telling);
    return compared;
  });
}

/** Everything that one restore goes by. */
interface Work {
  selection: Selection;
  options: RestoreOptions;
  giver: Giver;
  telling: Telling;
}

function giverOf({ inert }: RestoreOptions): Giver {
  const { uid } = ownAccount();
  return { uid, groups: ownGroups(), inert };
}

/** What decides what a restore writes: the same again is the same restore. */
function purposeOf({ store, inert }: RestoreOptions, { client, snapshot, paths }: Selection): Purpose {
  const details = JSON.stringify([realPath(store), paths.map(path => path.toString('latin1')), inert]);
  return { client: client.name, snapshot: snapshot.name, details };
}

/** DIR, or the folder that it will be made in. */
function nearest(to: string): string {
  try {
    lstat(to);
    return to;
  } catch {
    return dirname(to);
  }
}

/**
 * @returns false where the file system knows no locks: then nothing keeps two restores apart
 * @throws Fault `locked` where another restore writes there
 */
async function lockTarget(held: AsyncDisposableStack, to: string): Promise<boolean> {
  let lock: number | undefined;
  try {
    lock = await takeFolderLock(held, to);
  } catch {
    return false;
  }
  if (lock !== undefined) return true;
  throw new Fault({
    tried: `restore to "${escapeText(to)}"`,
    found: 'another restore writes into it',
    exit: 'locked',
  });
}

/**
 * Removes what killed restores have left in DIR as their stages.
 * @returns the stage of the one that has begun to move its files into place, where it is this same restore
 */
async function takeOver(
  held: AsyncDisposableStack,
  target: TargetOptions,
  purpose: Purpose,
): Promise<Stage | undefined> {
  const { to, force } = target;
  if (checkTarget({ ...target, force: true }) === 'absent' || !hasLeftovers(to)) return undefined;
  await using check = new AsyncDisposableStack();
  const fault = (found: string, next: string): Fault =>
    new Fault({ tried: `restore to "${escapeText(to)}"`, found, next, exit: 'usage' });
  if (!(await lockTarget(check, to)))
    throw fault(
      'it has the stage of another restore, and on this file system it cannot be told whether that one still runs',
      'name an empty or new folder',
    );
  removeUnmarked(to);
  let begun: Stage | undefined;
  for (const stage of findStages(to)) {
    if (!stage.isMoving || force) await stage.remove();
    else if (stage.isOf(purpose)) begun = stage;
    else
      throw fault(
        `an interrupted restore of ${stage.source} has moved a part of its files there`,
        `the same command as then, with ${stage.source}, goes on with it; or name an empty or new folder`,
      );
  }
  if (begun !== undefined) held.use(check.move());
  return begun;
}

/** Runs rsync into the stage, and compares what it has written. */
async function fillStage(
  stage: Stage,
  { selection, options, giver, telling }: Work,
  tell: ((progress: RestoreProgress) => void) | undefined,
): Promise<Compared> {
  const { signal } = telling;
  const tried = `restore to "${escapeText(options.to)}"`;
  const isRootUser = giver.uid === 0;
  const args = restoreArguments({ isRootUser, inert: giver.inert });
  const given = await copySelected(args, selection, `${stage.tree}/`, { ...telling, tell });
  if (!isDone(given)) throw rsyncFault(tried, given);
  const isStrict = given.status === 0;
  const givesDevices = isRootUser && !giver.inert;
  await requireArrived(selection, stage.tree, { ...telling, tried, isStrict, givesDevices });
  if (giver.inert) await requireInert(stage.tree, giver, { tried, signal });
  // Before anything is moved: what has become of it later is not the store's fault.
  return await compareRestored(selection, stage.tree, giver, {
    isLenient: !isStrict,
    isMissingTold: !isStrict,
    signal,
  });
}

/** The files are in place already, of a restore that was killed while it moved them. */
async function compareInPlace({ selection, options, giver, telling }: Work, stage: Stage): Promise<Compared> {
  moveAll(stage.tree, options.to);
  return await compareRestored(selection, options.to, giver, {
    isLenient: true,
    isMissingTold: false,
    signal: telling.signal,
  });
}

/** Fills DIR by `put`, removes the stage, and gives DIR what the client's `/` had. */
async function finish(
  stage: Stage,
  work: Work,
  put: (work: Work, stage: Stage) => Promise<Compared>,
): Promise<RestoreResult> {
  const { selection, options, telling } = work;
  let compared: Compared;
  try {
    compared = await put(work, stage);
  } catch (error) {
    // Once files were moved, the stage has the rest of them: the same command again goes on.
    if (!stage.isMoving) await stage.remove();
    throw error;
  }
  // Before DIR gets the attributes of the client's `/`: with these it can belong to another user.
  await stage.remove();
  const { lines } = telling;
  const { snapshot, client } = selection;
  if (compared.found !== undefined)
    lines.add(`the manifest of ${client.name}@${snapshot.name} cannot be trusted: ${compared.found}`);
  const closedTop = selection.isWholeMachine ? await applyTop(work, stage.isTargetNew) : null;
  const { differences, files, bytes } = compared;
  return {
    ...describeSnapshot(selection),
    files,
    bytes,
    notGivenBack: lines.kept,
    notGivenBackCount: lines.count + differences.lacking,
    differences: differences.list,
    openTo: modeForOthers({ to: options.to, account: ownAccount() }) ?? null,
    lostAttributes: compared.hasLostAttributes,
    checked: compared.isChecked,
    compared: compared.isCompared,
    damaged: compared.damaged,
    damagedCount: compared.damagedCount,
    closedTop,
  };
}

/** A name that a restore would write. */
export interface Planned {
  /** As on the client, without a slash in front; empty: DIR itself. */
  path: Buffer;
  type: TreeEntry['type'];
  /** Something of that name is below DIR already, and is no folder like this one. */
  isReplacing: boolean;
}

/**
 * What `restore` would do, and nothing of it: DIR is not made either. What could not be given back is told by what is
 * stored and who runs this, in words, and not by rsync's letters.
 * @param take is told of each name that would be written, parents first
 */
export async function planRestore(
  options: RestoreOptions,
  signal: AbortSignal,
  take: (planned: Planned) => void,
): Promise<RestorePlan> {
  const selection = select(options);
  const { snapshot } = selection;
  const { to } = options;
  const target = { ...options, account: ownAccount() };
  const left = checkTarget({ ...target, force: true }) === 'absent' ? [] : findStages(to);
  const purpose = purposeOf(options, selection);
  const isBegun = !options.force && left.some(each => each.isMoving && each.isOf(purpose));
  // One that was killed while it moved its files goes on: what it has moved is not in the way.
  const state = checkTarget(isBegun ? { ...target, force: true } : target);
  if (state === 'filled' && !isBegun) {
    requireStoreSpared(selection, options.store, to);
    await requireSafeMerge(selection, to, signal);
  }
  const freed = left.map(each => each.path);
  const room = { to, where: nearest(to), isMerge: state === 'filled', freed };
  if (!isBegun) await requireRoom(selection, room, signal);
  const giver = giverOf(options);
  const result = { ...describeSnapshot(selection), files: 0, bytes: 0 };
  const differences = new Differences();
  for (const pass of passesOf(selection)) {
    for await (const entry of readTree(snapshot.tree, { ...pass, signal })) {
      const { path, type, size } = entry;
      if (path.length === 0 && !selection.isWholeMachine) continue;
      if (type !== 'folder') result.files += 1;
      if (type === 'file' || type === 'symlink') result.bytes += size;
      differences.add(path, lackingIn(entry, giver));
      take({ path, type, isReplacing: !isBegun && isInTheWay(to, entry) });
    }
  }
  return {
    ...result,
    notGivenBack: [],
    notGivenBackCount: differences.lacking,
    differences: differences.list,
    openTo: (state === 'absent' ? undefined : modeForOthers(target)) ?? null,
    lostAttributes: await hasLostAttributes(selection.client, snapshot.name, signal),
  };
}

function isInTheWay(to: string, { path, type }: TreeEntry): boolean {
  try {
    return !(lstat(beneath(to, path)).isDirectory() && type === 'folder');
  } catch {
    return false;
  }
}

/** For a DIR that stays closed and its maker's, whatever rsync reads out of the attributes of the client's `/`. */
const CLOSED_TOP = ['--no-acls', '--no-owner', '--chmod=Dgo-rwx'];

/** The client's `/`, as it was. */
async function readTop({ tree }: Snapshot, signal: AbortSignal): Promise<TreeEntry | undefined> {
  for await (const entry of readTree(tree, { depth: 0, signal })) return entry;
  return undefined;
}

/**
 * Gives DIR itself the attributes of the client's `/`. A DIR that was made for this restore stays closed and root's, where these
 * would let others in, by the mode or as its owner: a hostile client's setuid files and devices are in it.
 * @returns the mode, and the owner that is not root, which a DIR has not got for this reason; null: it has them
 */
async function applyTop(
  { selection, options, giver, telling }: Work,
  isNew: boolean,
): Promise<string | null> {
  const { snapshot } = selection;
  const { to } = options;
  const isRootUser = giver.uid === 0;
  const top = await readTop(snapshot, telling.signal);
  const hasOtherOwner = isRootUser && top !== undefined && top.uid !== giver.uid;
  if (isNew && top !== undefined && ((top.mode & 0o077) !== 0 || hasOtherOwner))
    return `${top.mode.toString(8).padStart(4, '0')}${hasOtherOwner ? ` of uid ${top.uid}` : ''}`;
  const all = restoreArguments({ isRootUser, inert: giver.inert });
  const args = all.filter(each => each !== '--relative' && each !== '--stats');
  if (isNew) args.push(...CLOSED_TOP);
  const words = ['--exclude=/*', '--', `${snapshot.tree}/`, `${OTHER_SIDE}${to}/`];
  const result = await runRsync([...args, ...words], telling);
  if (!isDone(result)) throw rsyncFault(`give "${to}" its attributes`, result);
  const found = lstat(to);
  const isGiven = found.uid === top?.uid && found.gid === top.gid && (found.mode & 0o7777) === top.mode;
  if (isRootUser && !isGiven) telling.lines.add('/: it has not got its owner, group and mode');
  return null;
}
