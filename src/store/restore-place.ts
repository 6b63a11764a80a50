/** Checks that all selected files have arrived in the stage, and moves them into their place below DIR. */
import { Fault } from '../fault.ts';
import { ownAccount } from '../os/account.ts';
import { sameContent } from '../os/content.ts';
import { chmod, exists, failedWith, lstat, openFlags, readdir, realPath, rename } from '../os/files.ts';
import { isWithin } from '../os/mounts.ts';
import { breachOf } from '../os/trust.ts';
import { rsyncKnows } from '../os/versions.ts';
import { INSECURE_LINKS, NANOSECONDS } from '../wire/rsync.ts';
import { escapeText, jsonName, showName } from '../wire/text.ts';
import type { StoredEntry } from './find-records.ts';
import { asFileList, isDone, type Lines, rsyncFault, runRsync, type Telling } from './restore-copy.ts';
import { passesOf, type Selection } from './restore-selection.ts';
import { inBatches, listTree, readAttributes, readTree, type TreeOptions } from './stored-tree.ts';
import { covers, isInside, joinPath } from './tree-path.ts';

const NOT_WHOLE = 'update rsync, or restore to another file system';

/** Collects missing names after rsync has ended. They are a failure if rsync has not reported them. */
class Lacking {
  readonly #tried: string;
  readonly #isStrict: boolean;
  readonly #lines: Lines;
  #first: string | undefined;
  #count = 0;

  /** @param isStrict whether rsync reported success */
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
    const found = `rsync reported success, and "${this.#first}"${more} missing or incomplete`;
    throw new Fault({ tried: this.#tried, found, next: NOT_WHOLE });
  }
}

/**
 * Compares what has arrived with the selection: rsync's exit status does not prove that it wrote anything, or where.
 * @param telling isStrict: whether rsync reported success; givesDevices: whether it had to make devices
 * @throws Fault when something is missing although rsync reported success
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
      found: 'rsync did not write into its target folder',
      next: NOT_WHOLE,
    });
  const lacks = new Lacking(tried, isStrict, lines);
  async function* absent(pass: TreeOptions): AsyncGenerator<StoredEntry> {
    for await (const entry of listTree(tree, pass))
      if (!isThere(joinPath(staged, entry.path), entry)) yield entry;
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

/** Whether a path has the entry's type (folder or not) and, for a file, its size. */
function isThere(path: Buffer, { isFolder, size }: StoredEntry): boolean {
  try {
    const found = lstat(path);
    return found.isDirectory() === isFolder && (!found.isFile() || found.size === size);
  } catch (error) {
    return failedWith(error, 'EACCES'); // an ordinary account may not enter a folder that it has just restored
  }
}

/**
 * Refuses a merge in which root's rsync would write through folders that another account controls. That account could
 * replace such a folder with a link, and rsync would follow it. rsync 3.5.0 and later does not follow it unless
 * `--insecure-links` is given, so a version that knows this option is safe.
 * @throws Fault that names the first such folder
 */
export async function requireSafeMerge(selection: Selection, to: string, signal: AbortSignal): Promise<void> {
  if (ownAccount().uid !== 0 || (await rsyncKnows(INSECURE_LINKS))) return;
  for (const pass of passesOf(selection))
    for await (const { path, type, uid, gid, mode } of readTree(selection.snapshot.tree, {
      ...pass,
      signal,
    })) {
      if (type !== 'folder' || path.length === 0) continue;
      const place = joinPath(to, path);
      const name = escapeText(`${to}/${showName(jsonName(path))}`);
      const isFolder = exists(place) && lstat(place).isDirectory();
      const breach =
        (isFolder ? breachOf(name, lstat(place), 0, false) : undefined) ??
        breachOf(name, { uid, gid, mode }, 0, false);
      if (breach === undefined) continue;
      throw new Fault({
        tried: `restore to "${escapeText(to)}"`,
        found: `${breach.found}, now or in the snapshot, and this rsync would follow a symlink in its place`,
        next: 'restore into an empty folder and copy from there as that user, or install rsync 3.5.0 or later',
        exit: 'usage',
      });
    }
}

/**
 * Refuses to write over the store. A client decides which names its snapshot has, and one could be the store's.
 * @throws Fault when the store is in DIR and the selection has something in its place
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
    found: `the snapshot has "/${showName(jsonName(place))}", and that is the place of the store`,
    next: 'name another folder, or PATHs outside the store',
    exit: 'usage',
  });
}

/** Moves the staged files into an empty folder by renames. @throws Fault when a name exists already */
export function moveAll(staged: string, to: string): void {
  for (const name of exists(staged) ? readdir(staged, { encoding: 'buffer' }) : []) {
    const place = joinPath(to, name);
    if (isThereAtAll(place))
      throw new Fault({
        tried: `restore to "${escapeText(to)}"`,
        found: `"${showName(jsonName(name))}" is there already`,
        next: 'name an empty or new folder, or use --force to replace files of the same name',
        exit: 'usage',
      });
    moveEntry(joinPath(staged, name), place);
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

/**
 * Moves the staged files into a folder with other files. rsync links the files instead of copying them.
 * @throws Fault when rsync fails, or when something is missing although it reported success
 */
export async function mergeInto(staged: string, to: string, telling: Telling): Promise<void> {
  const names = readdir(staged, { encoding: 'buffer' });
  // The top, DIR's own, is not among the names.
  const args = ['-aHAXS', '--recursive', '--numeric-ids', '--relative', NANOSECONDS, `--link-dest=${staged}`];
  const result = await runRsync([...args, '--from0', '--files-from=-', '--', `${staged}/`, `${to}/`], {
    ...telling,
    input: asFileList(names),
  });
  const tried = `move the restored files into "${escapeText(to)}"`;
  if (!isDone(result)) throw rsyncFault(tried, result);
  const isStrict = result.status === 0;
  const { signal, lines } = telling;
  const lacks = new Lacking(tried, isStrict, lines);
  for await (const { path } of listTree(staged, { complain: isStrict ? undefined : () => {}, signal })) {
    const state = await stateInPlace(joinPath(to, path), joinPath(staged, path), signal);
    if (state === 'missing') lacks.add(path);
    // This is not a failure: in a folder that is in use, another process may have replaced the file since.
    if (state === 'other')
      lines.add(`/${showName(jsonName(path))}: its content differs from the restored file`);
  }
  lacks.end();
}

/** Whether a path has what was staged: a link to the file, or the same type and, for a file, the same content. */
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
    // An ordinary account may not enter or read what it has just restored without that right.
    if (failedWith(error, 'EACCES')) return 'same';
    if (failedWith(error, 'ENOENT') || failedWith(error, 'ENOTDIR')) return 'missing';
    return 'other'; // report a file that cannot be read
  }
}

function typeBits(mode: number): number {
  return mode & openFlags.S_IFMT;
}

/** Renames an entry. An ordinary user needs the right to write into a folder to move it to another one. */
function moveEntry(from: Buffer, to: Buffer): void {
  const { mode } = lstat(from);
  const isLocked = lstat(from).isDirectory() && (mode & 0o200) === 0;
  if (isLocked) chmod(from, (mode & 0o7777) | 0o200);
  rename(from, to);
  if (isLocked) chmod(to, mode & 0o7777);
}
