/** What a restore has staged: whether all of it arrived, and how it gets into its place below DIR. */
import { Fault } from '../fault.ts';
import { ownAccount } from '../os/account.ts';
import { sameContent } from '../os/content.ts';
import { chmod, exists, failedWith, lstat, openFlags, readdir, realPath, rename } from '../os/files.ts';
import { isWithin } from '../os/mounts.ts';
import { breachOf } from '../os/trust.ts';
import { rsyncKnows } from '../os/versions.ts';
import { NANOSECONDS } from '../wire/rsync.ts';
import { escapeText, jsonName, showName } from '../wire/text.ts';
import {
  covers,
  listTree,
  readAttributes,
  readTree,
  type StoredEntry,
  type TreeOptions,
} from './fake-super.ts';
import { inBatches } from './manifest.ts';
import { asFileList, isDone, type Lines, rsyncFault, runRsync, type Telling } from './restore-copy.ts';
import { passesOf, type Selection } from './restore-selection.ts';
import { isInside } from './store.ts';

const NOT_WHOLE = 'update rsync, or restore to another file system';

/** What is missing after rsync has ended: a failure where rsync has not said so. */
class Lacking {
  readonly #tried: string;
  readonly #isStrict: boolean;
  readonly #lines: Lines;
  #first: string | undefined;
  #count = 0;

  /** @param isStrict whether rsync says that all is well */
  constructor(tried: string, isStrict: boolean, lines: Lines) {
    this.#tried = tried;
    this.#isStrict = isStrict;
    this.#lines = lines;
  }

  /** @param path below the tree */
  add(path: Buffer): void {
    const name = `/${showName(jsonName(path))}`;
    this.#first ??= name;
    this.#count += 1;
    if (!this.#isStrict) this.#lines.add(`${name}: missing`);
  }

  /** @throws Fault that names the first one */
  end(): void {
    if (!this.#isStrict || this.#first === undefined) return;
    const more = this.#count > 1 ? ` and ${this.#count - 1} more are` : ' is';
    const found = `rsync reported success, and "${this.#first}"${more} missing or not whole`;
    throw new Fault({ tried: this.#tried, found, next: NOT_WHOLE });
  }
}

/**
 * Compares what has arrived with what was selected: rsync's exit status does not prove that it wrote anything, or where.
 * @param telling isStrict: whether rsync says that all is well; givesDevices: whether it had to make devices
 */
export async function requireArrived(
  selection: Selection,
  staged: string,
  {
    tried,
    isStrict,
    givesDevices,
    signal,
    lines,
  }: Telling & { tried: string; isStrict: boolean; givesDevices: boolean },
): Promise<void> {
  const { tree } = selection.snapshot;
  if (!exists(staged))
    throw new Fault({
      tried,
      found: 'rsync has written nothing into the folder that it was given',
      next: NOT_WHOLE,
    });
  const lacks = new Lacking(tried, isStrict, lines);
  async function* absent(pass: TreeOptions): AsyncGenerator<StoredEntry> {
    for await (const entry of listTree(tree, pass))
      if (!isThere(beneath(staged, entry.path), entry)) yield entry;
  }
  for (const pass of passesOf(selection))
    for await (const batch of inBatches(
      absent({ ...pass, complain: isStrict ? undefined : () => {}, signal }),
    )) {
      // compareRestored() counts the devices that are left out.
      const entries = givesDevices ? batch : await readAttributes(tree, batch, signal);
      for (const each of entries) if (!('device' in each && each.device)) lacks.add(each.path);
    }
  lacks.end();
}

/** Whether a path has what the entry is: a folder, or no folder; and a file of that size. */
function isThere(path: Buffer, { isFolder, size }: StoredEntry): boolean {
  try {
    const found = lstat(path);
    return found.isDirectory() === isFolder && (!found.isFile() || found.size === size);
  } catch (error) {
    return failedWith(error, 'EACCES'); // an ordinary account may not look into what it has just got
  }
}

/**
 * Refuses to let root's rsync write through folders that another account controls, where rsync follows a link that this
 * account puts into the place of one of them meanwhile. From 3.5.0 on it does not, unless `--insecure-links` says so: an rsync
 * that knows this option is one of these.
 * @throws Fault that names the first such folder
 */
export async function requireSafeMerge(selection: Selection, to: string, signal: AbortSignal): Promise<void> {
  if (ownAccount().uid !== 0 || (await rsyncKnows('--insecure-links'))) return;
  for (const pass of passesOf(selection))
    for await (const { path, type, uid, gid, mode } of readTree(selection.snapshot.tree, {
      ...pass,
      signal,
    })) {
      if (type !== 'folder' || path.length === 0) continue;
      const place = beneath(to, path);
      const name = escapeText(`${to}/${showName(jsonName(path))}`);
      const isFolder = exists(place) && lstat(place).isDirectory();
      const breach =
        (isFolder ? breachOf(name, lstat(place), 0, false) : undefined) ??
        breachOf(name, { uid, gid, mode }, 0, false);
      if (breach === undefined) continue;
      throw new Fault({
        tried: `restore to "${escapeText(to)}"`,
        found: `${breach.found}, now or in the snapshot, and this rsync would follow a link that is put there`,
        next: 'restore into an empty folder and copy from there as that user, or install rsync 3.5.0 or later',
        exit: 'usage',
      });
    }
}

/**
 * Refuses to write over the store, where it lies in DIR and the snapshot has something in its place: a client decides what that is.
 * @throws Fault
 */
export function requireStoreSpared({ snapshot, paths }: Selection, store: string, to: string): void {
  const [inner, outer] = [realPath(store), realPath(to)];
  if (!isWithin(outer, inner)) return;
  const tried = `restore to "${escapeText(to)}"`;
  const place = Buffer.from(inner.slice(outer === '/' ? 1 : outer.length + 1));
  const isSelected = paths.length === 0 || paths.some(path => covers(path, place) || covers(place, path));
  if (!isSelected || !isInside(snapshot, place, tried)) return;
  throw new Fault({
    tried,
    found: `the snapshot has "/${showName(jsonName(place))}", and the store is in that place`,
    next: 'name a folder that the store is not in, or PATHs beside it',
    exit: 'usage',
  });
}

/** Into an empty folder by renames. @throws Fault where a name is in the way */
export function moveAll(staged: string, to: string): void {
  for (const name of exists(staged) ? readdir(staged, { encoding: 'buffer' }) : []) {
    const place = beneath(to, name);
    if (isThereAtAll(place))
      throw new Fault({
        tried: `restore to "${escapeText(to)}"`,
        found: `"${showName(jsonName(name))}" is there already`,
        next: 'name an empty or new folder, or say --force: then what is restored replaces what has the same name',
        exit: 'usage',
      });
    moveEntry(beneath(staged, name), place);
  }
}

function isThereAtAll(path: Buffer): boolean {
  try {
    lstat(path);
    return true;
  } catch (error) {
    if (failedWith(error, 'ENOENT')) return false;
    throw error;
  }
}

/** Into a folder that is not empty, by rsync, which links what it would copy. */
export async function mergeInto(staged: string, to: string, telling: Telling): Promise<void> {
  const names = readdir(staged, { encoding: 'buffer' });
  // The top, DIR's own, is not among the names.
  const args = ['-aHAXS', '--recursive', '--numeric-ids', '--relative', NANOSECONDS, `--link-dest=${staged}`];
  const result = await runRsync([...args, '--from0', '--files-from=-', '--', `${staged}/`, `${to}/`], {
    ...telling,
    input: asFileList(names),
  });
  const tried = `put what was restored into "${escapeText(to)}"`;
  if (!isDone(result)) throw rsyncFault(tried, result);
  const isStrict = result.status === 0;
  const { signal, lines } = telling;
  const lacks = new Lacking(tried, isStrict, lines);
  for await (const { path } of listTree(staged, { complain: isStrict ? undefined : () => {}, signal })) {
    const state = await stateInPlace(beneath(to, path), beneath(staged, path), signal);
    if (state === 'missing') lacks.add(path);
    // No failure: in a folder that is in use another process may have replaced it since.
    if (state === 'other') lines.add(`/${showName(jsonName(path))}: its content is not what was restored`);
  }
  lacks.end();
}

/** Whether a path has what was staged: a link to it, or the same type and, of a file, the same content. */
async function stateInPlace(
  path: Buffer,
  staged: Buffer,
  signal: AbortSignal,
): Promise<'same' | 'missing' | 'other'> {
  try {
    const [found, wanted] = [lstat(path), lstat(staged)];
    if (typeBits(found.mode) !== typeBits(wanted.mode)) return 'missing';
    if (!wanted.isFile() || (found.ino === wanted.ino && found.dev === wanted.dev)) return 'same';
    return (await sameContent(path, staged, signal)) ? 'same' : 'other';
  } catch (error) {
    signal.throwIfAborted();
    // An ordinary account may not look into, or read, what it has just got without that right.
    if (failedWith(error, 'EACCES')) return 'same';
    if (failedWith(error, 'ENOENT') || failedWith(error, 'ENOTDIR')) return 'missing';
    return 'other'; // it cannot be read: that one is named
  }
}

function typeBits(mode: number): number {
  return mode & openFlags.S_IFMT;
}

/** A path below a folder, as bytes. */
export function beneath(folder: string, name: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${folder}/`), name]);
}

/** To move a folder to another one, an ordinary user must be allowed to write into it. */
function moveEntry(from: Buffer, to: Buffer): void {
  const { mode } = lstat(from);
  const isLocked = lstat(from).isDirectory() && (mode & 0o200) === 0;
  if (isLocked) chmod(from, (mode & 0o7777) | 0o200);
  rename(from, to);
  if (isLocked) chmod(to, mode & 0o7777);
}
