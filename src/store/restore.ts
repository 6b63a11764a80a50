/**
 * `dialback restore`: gives files back with all their attributes. rsync does the work, from the fake-super tree.
 *
 * As root everything comes back. The files are staged in a private folder (0700) inside DIR, and moved into place when
 * they are complete. In that folder setuid files and devices become real, and others must not use half a tree.
 */

import { dirname } from 'node:path';
import { Fault } from '../fault.ts';
import { ownAccount, ownGroups } from '../os/account.ts';
import { lstat, realPath } from '../os/files.ts';
import { hasJail } from '../os/launcher.ts';
import { takeFolderLock } from '../os/runfolder.ts';
import { escapeText } from '../wire/text.ts';
import type { TreeEntry } from './fake-super.ts';
import { hasLostAttributes } from './lost-attributes.ts';
import { type Compared, compareRestored } from './restore-compare.ts';
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
import { type DifferenceCount, Differences, type Giver, lackingIn } from './restore-difference.ts';
import { requireInert } from './restore-inert.ts';
import { mergeInto, moveAll, requireArrived, requireSafeMerge, requireStoreSpared } from './restore-place.ts';
import {
  describeSnapshot,
  passesOf,
  type RestoreOptions,
  type Selection,
  type SnapshotFacts,
  select,
} from './restore-selection.ts';
import { requireRoom } from './restore-space.ts';
import { findStages, hasLeftovers, type Purpose, removeUnmarked, Stage } from './restore-stage.ts';
import {
  checkTarget,
  modeForOthers,
  prepareTarget,
  removeInheritedAcls,
  type TargetOptions,
} from './restore-target.ts';
import { removeTemporary } from './restore-temporary.ts';
import type { Snapshot } from './snapshot.ts';
import { readTree } from './stored-tree.ts';
import { joinPath } from './tree-path.ts';

export type { RestoreOptions, RestoreProgress };

/** The prediction of a restore. */
export interface RestorePlan extends SnapshotFacts {
  files: number;
  bytes: number;
  /** Entries that could not be restored, one line each: messages of rsync, and missing names. Limited in number. */
  notGivenBack: string[];
  /** The number of entries with a difference that matters, and of all messages. */
  notGivenBackCount: number;
  /** The differences by kind. They include owners and the like that this account may not set, which do not matter. */
  differences: DifferenceCount[];
  /** DIR's mode, if other accounts can reach it; otherwise null. */
  openTo: string | null;
  /** Whether the store's files have lost their attributes, because the store was copied without them. */
  lostAttributes: boolean;
}

/** The result of a restore. */
export interface RestoreResult extends RestorePlan {
  /** Whether the contents were compared with the snapshot's manifest; false if it has none yet. */
  checked: boolean;
  /** Whether the files were compared with the snapshot; false if getfattr(1) is missing. */
  compared: boolean;
  /**
   * Files that have changed in the store since the backup. They were restored as they are in the store. At most
   * DAMAGED_SHOWN.
   */
  damaged: Compared['damaged'];
  damagedCount: number;
  /**
   * The mode of the client's `/` (`0700 of uid 1000` if its owner is not root) if DIR was made for this restore and
   * stays closed. Null if DIR has these attributes, or gets none.
   */
  closedTop: string | null;
}

/**
 * Restores files and reports what could not be restored.
 * @param signal stops it cleanly
 * @param tell receives the progress
 * @throws Fault when nothing, or not all, could be written; the signal's reason
 */
export async function restore(
  options: RestoreOptions,
  signal: AbortSignal,
  tell?: (progress: RestoreProgress) => void,
): Promise<RestoreResult> {
  const selection = select(options, 'restore');
  const target: TargetOptions = { ...options, account: ownAccount() };
  const purpose = purposeOf(options, selection);
  const giver = giverOf(options);
  const lines = new Lines();
  const place = giver.uid === 0 && hasJail() ? placeOf : () => undefined;
  await using held = new AsyncDisposableStack();
  const begun = await takeOver(held, target, { selection, purpose, signal });
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
  if (isNew) await removeInheritedAcls(options.to);
  await lockTarget(held, options.to);

  // The stage is private, and rsync does not write it: it would give the top the attributes of the client's `/` at
  // once.
  const stage = Stage.make(options.to, purpose, isNew);
  const telling = { signal, lines, place: place(options, selection.snapshot) };
  return await finish(stage, { selection, options, giver, telling }, async work => {
    const compared = await fillStage(stage, work, tell);
    if (isEmpty) {
      stage.beginMoving();
      moveAll(stage.tree, options.to);
    } else {
      stage.beginMerging();
      await mergeInto(stage.tree, options.to, telling);
    }
    return compared;
  });
}

/** The parameters of one restore. */
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

/** Identifies a restore: the same store, paths and options. */
function purposeOf({ store, inert }: RestoreOptions, { client, snapshot, paths }: Selection): Purpose {
  const details = JSON.stringify([realPath(store), paths.map(path => path.toString('latin1')), inert]);
  return { client: client.name, snapshot: snapshot.name, details };
}

/** DIR, or the folder in which it will be made. */
function nearest(to: string): string {
  try {
    lstat(to);
    return to;
  } catch {
    return dirname(to);
  }
}

/**
 * @returns false if the file system has no locks; then two restores are not kept apart
 * @throws Fault `locked` when another restore writes there
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
 * Removes the stages that killed restores left in DIR, and the temporary files that rsync left for this same restore.
 * @returns the stage that has begun to move its files, if it is of this same restore
 * @throws Fault when it is of another restore
 */
async function takeOver(
  held: AsyncDisposableStack,
  target: TargetOptions,
  { selection, purpose, signal }: { selection: Selection; purpose: Purpose; signal: AbortSignal },
): Promise<Stage | undefined> {
  const { to, force } = target;
  if (checkTarget({ ...target, force: true }) === 'absent' || !hasLeftovers(to)) return undefined;
  await using check = new AsyncDisposableStack();
  const fault = (found: string, next: string): Fault =>
    new Fault({ tried: `restore to "${escapeText(to)}"`, found, next, exit: 'usage' });
  if (!(await lockTarget(check, to)))
    throw fault(
      'it contains the stage of another restore, and this file system has no locks to show whether that one is still running',
      'name an empty or new folder',
    );
  removeUnmarked(to);
  let begun: Stage | undefined;
  for (const stage of findStages(to)) {
    if (stage.isMerging && stage.isOf(purpose)) await removeTemporary(selection, to, stage.markedNs, signal);
    if (!stage.isMoving || force) await stage.remove();
    else if (stage.isOf(purpose)) begun = stage;
    else
      throw fault(
        `an interrupted restore of ${stage.source} has moved a part of its files there`,
        `run the same command for ${stage.source} again to continue it, or name an empty or new folder`,
      );
  }
  if (begun !== undefined) held.use(check.move());
  return begun;
}

/** Runs rsync into the stage, and compares the result. */
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
  // Compare before moving: a later change of a file is not the store's fault.
  return await compareRestored(selection, stage.tree, giver, {
    isLenient: !isStrict,
    isMissingReported: !isStrict,
    signal,
  });
}

/** Moves the rest of the files of a killed restore into place, and compares them there. */
async function compareInPlace({ selection, options, giver, telling }: Work, stage: Stage): Promise<Compared> {
  moveAll(stage.tree, options.to);
  return await compareRestored(selection, options.to, giver, {
    isLenient: true,
    isMissingReported: false,
    signal: telling.signal,
  });
}

/** Fills DIR by `put`, removes the stage, and gives DIR the attributes of the client's `/`. */
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
    // After the first move the stage has the remaining files; the same command continues.
    if (!stage.isMoving) await stage.remove();
    throw error;
  }
  // Do this before DIR gets the attributes of the client's `/`, which may change its owner.
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
  /** As on the client, without a leading slash; empty for DIR itself. */
  path: Buffer;
  type: TreeEntry['type'];
  /** Whether DIR already has this name, and not as a folder for this folder. */
  isReplacing: boolean;
}

/**
 * Predicts a restore without changing anything; it does not make DIR. It uses the stored entries and the account, not
 * rsync, to predict the entries that could not be restored.
 * @param take receives each name that would be written, parents first
 * @throws Fault when the restore would be refused; the signal's reason
 */
export async function planRestore(
  options: RestoreOptions,
  signal: AbortSignal,
  take: (planned: Planned) => void,
): Promise<RestorePlan> {
  const selection = select(options, 'restore');
  const { snapshot } = selection;
  const { to } = options;
  const target = { ...options, account: ownAccount() };
  const left = checkTarget({ ...target, force: true }) === 'absent' ? [] : findStages(to);
  const purpose = purposeOf(options, selection);
  const isBegun = !options.force && left.some(each => each.isMoving && each.isOf(purpose));
  // A killed restore that had begun to move files continues. Its files do not count as entries of DIR.
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
    return !(lstat(joinPath(to, path)).isDirectory() && type === 'folder');
  } catch {
    return false;
  }
}

/** Options that keep DIR closed and its owner unchanged, whatever the attributes of the client's `/` say. */
const CLOSED_TOP = ['--no-acls', '--no-owner', '--chmod=Dgo-rwx'];

/** Reads the client's `/`, as it was. */
async function readTop({ tree }: Snapshot, signal: AbortSignal): Promise<TreeEntry | undefined> {
  for await (const entry of readTree(tree, { depth: 0, signal })) return entry;
  return undefined;
}

/**
 * Gives DIR the attributes of the client's `/`. A DIR that was made for this restore stays closed and root's if these
 * would admit other accounts, by the mode or as its owner. The reason: it may contain a hostile client's setuid files
 * and devices.
 * @returns the mode and the owner that DIR did not get for this reason; null if it has them
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
  if (isRootUser && !isGiven) telling.lines.add('/: its owner, group and mode were not set');
  return null;
}
