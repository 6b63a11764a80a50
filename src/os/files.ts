/** The file system. This file alone imports node:fs; the other files of os/ build on it. */
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

/** open(2): no right to read the folder is needed. node does not name it. */
const O_PATH = 0o10000000;

const STEPS: Steps = {
  enter: path => openSync(path, O_PATH | constants.O_DIRECTORY),
  leave: closeSync,
};

/** Calls with a path that the kernel takes, whatever the length of this one (os/long-path.ts). */
export function reach<T>(path: Path, call: (path: Path) => T): T {
  return reachBy(STEPS, path, call);
}

/** A function of the file system's that takes a path first, for paths of any length. */
// biome-ignore lint/suspicious/noExplicitAny: it keeps the function's own type, with all of its overloads
function ofAnyLength<F extends (path: any, ...rest: any[]) => unknown>(call: F): F {
  return ((path: Path, ...rest: unknown[]) => reach(path, short => call(short, ...rest))) as F;
}

/** The same for one that takes two paths first. */
function bothOfAnyLength(call: (from: Path, to: Path) => void): typeof call {
  return (from, to) => reach(from, shortFrom => reach(to, shortTo => call(shortFrom, shortTo)));
}

// What is done to single entries of a snapshot's tree: a client decides how long their paths are.
export const exists = ofAnyLength(existsSync);
export const link = bothOfAnyLength(linkSync);
export const lstat = ofAnyLength(lstatSync);
export const makeBareFolder = ofAnyLength(mkdirSync);
export const open = ofAnyLength(openSync);
export const unlink = ofAnyLength(unlinkSync);
export const rename = bothOfAnyLength(renameSync);
export const setLinkTimes = ofAnyLength(lutimesSync);

/** A file's status with its times to the nanosecond, and whole numbers of any size. */
export function statusExact(path: string | Buffer): BigIntStats {
  return reach(path, short => lstatSync(short, { bigint: true }));
}

/** What the system said of a failed call, in words: `no such file or folder`, else errno's name and text. */
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

/** Whether a failed call failed with this errno name. */
export function failedWith(error: unknown, code: string): boolean {
  return (error as NodeJS.ErrnoException | undefined)?.code === code;
}

/** A Fault out of a failed call. */
export function fileFault(error: unknown, tried: string, more: Partial<FaultParts> = {}): Fault {
  const exit = failedWith(error, 'ENOSPC') ? ({ exit: 'noSpace' } as const) : {};
  return new Fault({ tried, found: whatFailed(error), cause: error, ...exit, ...more });
}

/** The path itself, or the nearest folder above it that is there and that this account can look at. */
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

/** Makes a folder (0700 unless told); the parents too when told. An existing one is left as it is. */
export function makeFolder(path: string, options: { parents?: boolean; mode?: number } = {}): void {
  const { parents = false, mode = 0o700 } = options;
  try {
    mkdirSync(path, { mode });
  } catch (error) {
    if (failedWith(error, 'EEXIST')) return;
    // Not mkdir's own `recursive`: where the parent is there and takes no folders (/proc), node 24 tries for ever.
    if (!parents || !failedWith(error, 'ENOENT')) throw fileFault(error, `create the folder "${path}"`);
    if (!existsSync(dirname(path))) makeFolder(dirname(path), options);
    makeFolder(path, { mode }); // also where another process has made the parent just now
  }
}

/** Makes a private folder with a name of its own; @param prefix the path up to the six random characters */
export function makeUniqueFolder(prefix: string): string {
  try {
    const path = mkdtempSync(prefix);
    chmodSync(path, 0o700); // whatever the umask
    return path;
  } catch (error) {
    throw fileFault(error, `create a folder "${prefix}…"`);
  }
}

/** Where a symlink leads, as bytes. */
export function readlink(path: string | Buffer): Buffer {
  return reach(path, short => readlinkSync(short, { encoding: 'buffer' }));
}

/** Removes a file's name; none there is fine. */
export function removeFileIfThere(path: string): void {
  rmSync(path, { force: true });
}

/**
 * Removes a file or a folder with all in it; none there is fine. Only for run folders and temporary ones.
 * @param retries tries again this often, where a process that is being killed still adds names
 */
export function removeAll(path: string, retries = 0): void {
  rmSync(path, { recursive: true, force: true, maxRetries: retries });
}

/**
 * Deletes a folder with all in it, as `rm -rf --one-file-system` does, a part at a time: whoever iterates may wait in
 * between, or leave off and go on another time. What somebody else has deleted meanwhile is fine.
 * @param namesAtOnce in a part, at most; Infinity: a folder without folders goes at once, which is a little faster, and is
 *   counted as one
 * @returns yields how many names have gone since the last time
 * @throws Fault where something is mounted in it, or a path is too long for the system: what is left, rm(1) may get
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
    // Its name and its own dot, and no folder's two dots: where a file system counts otherwise, it goes name by name.
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

/** Without a closure: it is called for each of hundreds of thousands of names. */
function unlinkUnlessGone(path: Buffer): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if (!failedWith(error, 'ENOENT')) throw error;
  }
}

/** @returns undefined where the name is gone */
function unlessGone<T>(action: () => T): T | undefined {
  try {
    return action();
  } catch (error) {
    if (failedWith(error, 'ENOENT')) return undefined;
    throw error;
  }
}

/** Whether there is a program that this account may run. */
export function mayRun(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Whether this account may write there (a read-only file system says no). */
export function mayWrite(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** Whether this account may read it; a folder: look into it. */
export function mayRead(path: string): boolean {
  try {
    accessSync(path, statSync(path).isDirectory() ? constants.R_OK | constants.X_OK : constants.R_OK);
    return true;
  } catch {
    return false;
  }
}

/** A file below /proc, or undefined when it is gone; names in it are bytes. */
export function readProc(name: string): string | undefined {
  try {
    return readFileSync(`/proc/${name}`, 'latin1');
  } catch {
    return undefined;
  }
}

/** Writes a setting of the kernel's below /proc. @returns whether it was taken */
export function writeProc(name: string, value: string): boolean {
  try {
    writeFileSync(`/proc/${name}`, value);
    return true;
  } catch {
    return false;
  }
}
