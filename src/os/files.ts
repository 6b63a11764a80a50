/** File system calls. Only this file imports node:fs; the other files of os/ use it. */
import {
  accessSync,
  appendFileSync,
  type BigIntStats,
  chmodSync,
  chownSync,
  closeSync,
  constants,
  copyFileSync,
  createReadStream,
  createWriteStream,
  existsSync,
  type FSWatcher,
  fstatSync,
  fsyncSync,
  futimesSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  mkdtempSync,
  opendirSync,
  openSync,
  read,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  realpathSync,
  renameSync,
  rmdirSync,
  rmSync,
  statfsSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  watch,
  write,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { Fault, type FaultParts } from '../fault.ts';
import { errnoWords } from './errno.ts';
import { type Path, reachBy, type Steps } from './long-path.ts';

export {
  appendFileSync as appendText,
  chmodSync as chmod,
  chownSync as chown,
  closeSync as close,
  constants as openFlags,
  copyFileSync as copyFile,
  createReadStream,
  createWriteStream,
  type FSWatcher,
  fstatSync as fstat,
  fsyncSync as fsync,
  futimesSync as setFileTimes,
  read,
  readdirSync as readdir,
  readFileSync as readFile,
  readSync,
  realpathSync as realPath,
  rmdirSync as removeEmptyFolder,
  statfsSync as statfs,
  statSync as stat,
  symlinkSync as symlink,
  truncateSync as truncate,
  utimesSync as setTimes,
  watch,
  write,
  writeFileSync as writeFile,
  writeSync,
};

/** The file types of st_mode, and the bits that hold them (inode(7)). */
export const { S_IFMT, S_IFDIR, S_IFREG, S_IFBLK, S_IFCHR, S_IFIFO, S_IFSOCK } = constants;

/** open(2): works without permission to read the folder. node has no constant for it. */
const O_PATH = 0o10000000;

const STEPS: Steps = {
  enter: path => openSync(path, O_PATH | constants.O_DIRECTORY),
  leave: closeSync,
};

/** Calls a function with a path short enough for the kernel, for a path of any length (long-path.ts). */
function reach<T>(path: Path, call: (path: Path) => T): T {
  return reachBy(STEPS, path, call);
}

/** Makes a function that takes a path first accept paths of any length. */
// biome-ignore lint/suspicious/noExplicitAny: it keeps the function's own type, with all of its overloads
function ofAnyLength<F extends (path: any, ...rest: any[]) => unknown>(call: F): F {
  return ((path: Path, ...rest: unknown[]) => reach(path, short => call(short, ...rest))) as F;
}

/** The same for a function that takes two paths first. */
function bothOfAnyLength(call: (from: Path, to: Path) => void): typeof call {
  return (from, to) => reach(from, shortFrom => reach(to, shortTo => call(shortFrom, shortTo)));
}

// These are used on entries of a snapshot's tree, whose paths can be of any length: the client chooses them.
export const exists = ofAnyLength(existsSync);
export const link = bothOfAnyLength(linkSync);
export const lstat = ofAnyLength(lstatSync);
export const makeBareFolder = ofAnyLength(mkdirSync);
export const open = ofAnyLength(openSync);
export const unlink = ofAnyLength(unlinkSync);
export const rename = bothOfAnyLength(renameSync);
export const setLinkTimes = ofAnyLength(lutimesSync);

/** lstat(2) with times in nanoseconds and numbers as bigint. @throws the error of lstat(2) */
export function statusExact(path: string | Buffer): BigIntStats {
  return reach(path, short => lstatSync(short, { bigint: true }));
}

/** Names that readdir(3) reads at once. */
const NAMES_AT_ONCE = 1024;

/**
 * Reads the names of a folder in the order of its file system, without holding all of them in memory.
 * @param path of any length
 * @throws the error of opendir(3) or readdir(3)
 */
export async function* namesIn(path: Buffer): AsyncGenerator<Buffer> {
  // node has this encoding, and its types do not
  const options = { encoding: 'buffer' as BufferEncoding, bufferSize: NAMES_AT_ONCE };
  const folder = reach(path, short => opendirSync(short as Buffer, options));
  for await (const { name } of folder) yield name as unknown as Buffer;
}

/** Describes the error of a failed call for a message. */
export function whatFailed(error: unknown): string {
  const { code, errno, message } = error as NodeJS.ErrnoException;
  if (code?.startsWith('Unknown system error') && errno !== undefined) return errnoWords(-errno); // node does not list it
  switch (code) {
    case 'ENOENT':
      return 'there is no such file or folder';
    case 'EACCES':
    case 'EPERM':
      return 'permission denied';
    case 'ENOSPC':
      return 'no space left on the device';
    case 'EROFS':
      return 'the file system is read-only';
    default:
      return (message ?? String(error)).replace(/^(E[A-Z0-9]+: [^,]*),.*$/s, '$1');
  }
}

/** Whether an error has this errno name. */
export function failedWith(error: unknown, code: string): boolean {
  return (error as NodeJS.ErrnoException | undefined)?.code === code;
}

/** Whether an error means that a path has no entry; a name of the path can be no folder, or too long. */
export function isNotThere(error: unknown): boolean {
  return ['ENOENT', 'ENOTDIR', 'ENAMETOOLONG'].some(code => failedWith(error, code));
}

/** Makes a Fault of a failed call's error. Its exit status is `noSpace` for a full disk. @param more overrides parts */
export function fileFault(error: unknown, tried: string, more: Partial<FaultParts> = {}): Fault {
  const exit = failedWith(error, 'ENOSPC') ? ({ exit: 'noSpace' } as const) : {};
  return new Fault({ tried, found: whatFailed(error), cause: error, ...exit, ...more });
}

/** The path itself, or the nearest folder above it that exists and that this account may stat. */
export function lastVisible(path: string): string {
  let at = path;
  for (;;) {
    try {
      lstat(at);
      return at;
    } catch (error) {
      if (at === dirname(at)) throw error;
      at = dirname(at);
    }
  }
}

/**
 * Makes a folder. An existing one stays as it is.
 * @param options parents: make missing folders above it too; mode: 0700 by default
 * @throws Fault
 */
export function makeFolder(path: string, options: { parents?: boolean; mode?: number } = {}): void {
  const { parents = false, mode = 0o700 } = options;
  try {
    mkdirSync(path, { mode });
  } catch (error) {
    if (failedWith(error, 'EEXIST')) return;
    // Not mkdir's `recursive`: node 24 loops forever if the parent exists and accepts no folders (/proc).
    if (!parents || !failedWith(error, 'ENOENT')) throw fileFault(error, `create the folder "${path}"`);
    if (!existsSync(dirname(path))) makeFolder(dirname(path), options);
    makeFolder(path, { mode }); // the parent exists now, perhaps made by another process
  }
}

/** Makes a private folder with a unique name. @param prefix its path, without the six random characters @throws Fault */
export function makeUniqueFolder(prefix: string): string {
  try {
    const path = mkdtempSync(prefix);
    chmodSync(path, 0o700); // the umask can have removed bits
    return path;
  } catch (error) {
    throw fileFault(error, `create a folder "${prefix}…"`);
  }
}

/** The names in a folder, as bytes, in any order. @throws the error of opendir(3) */
export function readFolder(path: Buffer): Buffer[] {
  return reach(path, short => readdirSync(short, { encoding: 'buffer' }));
}

/** A symlink's target, as bytes. @throws the error of readlink(2) */
export function readlink(path: string | Buffer): Buffer {
  return reach(path, short => readlinkSync(short, { encoding: 'buffer' }));
}

/** Removes a file, if it exists. */
export function removeFileIfThere(path: string): void {
  rmSync(path, { force: true });
}

/**
 * Removes a file or a folder with its content, if it exists. Only for run folders and temporary folders.
 * @param retries how often to try again: a process that is being killed can still add files
 */
export function removeAll(path: string, retries = 0): void {
  rmSync(path, { recursive: true, force: true, maxRetries: retries });
}

/**
 * Deletes a folder and its content in parts, as `rm -rf --one-file-system` does. The caller can pause between two parts, or stop
 * and continue another time. Entries that another process deletes meanwhile are not an error.
 * @param namesAtOnce the most entries of a part; Infinity: a folder without subfolders goes at once, which is a little faster,
 *   and counts as one entry
 * @returns yields the number of entries deleted since the last part
 * @throws Fault when a file system is mounted in it, or a path is too long; rm(1) can remove the rest
 */
export function* removingTree(path: string, namesAtOnce: number): Generator<number, void> {
  const top = Buffer.from(path);
  const { dev } = lstatSync(top);
  let names = 0;
  function* remove(folder: Buffer): Generator<number, void> {
    const found = lstatSync(folder, { throwIfNoEntry: false });
    if (found === undefined) return;
    if (found.dev !== dev)
      throw new Fault({ tried: `delete "${path}"`, found: 'another file system is mounted in it' });
    // Two links: its name and its `.`, but no `..` of a subfolder. Elsewhere entries are deleted one by one.
    if (namesAtOnce === Number.POSITIVE_INFINITY && found.nlink === 2) {
      rmSync(folder, { recursive: true, force: true });
      yield 1;
      return;
    }
    const entries = unlessGone(() => readdirSync(folder, { withFileTypes: true, encoding: 'buffer' })) ?? [];
    const prefix = Buffer.concat([folder, SLASH]);
    for (const entry of entries) {
      const each = Buffer.concat([prefix, entry.name]);
      if (entry.isDirectory()) yield* remove(each);
      else unlinkUnlessGone(each);
      names += 1;
      if (names < namesAtOnce) continue;
      yield names;
      names = 0;
    }
    unlessGone(() => rmdirSync(folder));
  }
  try {
    yield* remove(top);
  } catch (error) {
    throw error instanceof Fault ? error : fileFault(error, `delete "${path}"`);
  }
  yield names + 1;
}
const SLASH = Buffer.from('/');

/** Has no closure, because it is called for hundreds of thousands of entries. */
function unlinkUnlessGone(path: Buffer): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if (!failedWith(error, 'ENOENT')) throw error;
  }
}

/** Calls a function. @returns undefined when the entry does not exist any more */
function unlessGone<T>(action: () => T): T | undefined {
  try {
    return action();
  } catch (error) {
    if (failedWith(error, 'ENOENT')) return undefined;
    throw error;
  }
}

/** Whether the path exists and this account may execute it. */
export function mayRun(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Whether this account may write to the path; false on a read-only file system. */
export function mayWrite(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** Whether this account may read a file, or list and enter a folder. */
export function mayRead(path: string): boolean {
  try {
    accessSync(path, statSync(path).isDirectory() ? constants.R_OK | constants.X_OK : constants.R_OK);
    return true;
  } catch {
    return false;
  }
}

/** Reads a file below /proc, one character per byte. @returns undefined when it does not exist */
export function readProc(name: string): string | undefined {
  try {
    return readFileSync(`/proc/${name}`, 'latin1');
  } catch {
    return undefined;
  }
}

/** Writes a kernel setting below /proc. @returns whether the kernel accepted it */
export function writeProc(name: string, value: string): boolean {
  try {
    writeFileSync(`/proc/${name}`, value);
    return true;
  } catch {
    return false;
  }
}
