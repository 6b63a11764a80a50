/** The only code that touches the file system and the two output descriptors. */
import { createHash, type Hash, hash } from 'node:crypto';
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
import { Socket } from 'node:net';
import { basename, dirname, join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { setImmediate as breathe } from 'node:timers/promises';
import { isatty } from 'node:tty';
import { Fault, type FaultParts } from '../fault.ts';
import { errnoWords } from './errno.ts';
import { type Path, reachBy, type Steps } from './long-path.ts';

export { appendJournal, readJournal } from './journal.ts';

export {
  appendFileSync as appendText,
  chmodSync as chmod,
  chownSync as chown,
  closeSync as close,
  constants as openFlags,
  copyFileSync as copyFile,
  fstatSync as fstat,
  futimesSync as setFileTimes,
  readdirSync as readdir,
  realpathSync as realPath,
  rmdirSync as removeEmptyFolder,
  statfsSync as statfs,
  statSync as stat,
  symlinkSync as symlink,
  truncateSync as truncate,
  utimesSync as setTimes,
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

/** Reads a file whole. @param limit bytes; a larger one is a Fault, and so is anything but a plain file */
export function readWhole(path: string | Buffer, limit: number): Buffer {
  let descriptor: number;
  try {
    // O_NONBLOCK: a FIFO in the file's place must not hang us.
    descriptor = open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    throw fileFault(error, `read "${path}"`);
  }
  try {
    const { size } = requirePlain(descriptor, path);
    if (size > limit) {
      throw new Fault({ tried: `read "${path}"`, found: `it has ${size} bytes, at most ${limit} are taken` });
    }
    return readFileSync(descriptor);
  } catch (error) {
    throw error instanceof Fault ? error : fileFault(error, `read "${path}"`);
  } finally {
    closeSync(descriptor);
  }
}

/** Where a symlink leads, as bytes. */
export function readlink(path: string | Buffer): Buffer {
  return reach(path, short => readlinkSync(short, { encoding: 'buffer' }));
}

/** The content of a plain file, as a stream. */
export function readingStream(path: string): Readable {
  return createReadStream('', { fd: openQuietly(path) });
}

/** A new file (0600), as a stream; what was there is gone. `settleFile` puts it into its place. */
export function writingStream(path: string): Writable {
  return createWriteStream(path, { flags: 'w', mode: 0o600 });
}

/** Gives a file that was written whole its name: readers see it whole or not at all, after a power cut too. */
export function settleFile(fresh: string, path: string): void {
  const descriptor = openSync(fresh, constants.O_RDONLY);
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
  renameSync(fresh, path);
  syncFolder(dirname(path));
}

/** What a plain file holds, by its digest. */
export interface Digested {
  sha256: Buffer;
  /** Bytes that were read. */
  size: number;
  inode: bigint;
}

const CHUNK = 256 * 1024;
const BREATHE_MS = 50;
let chunk: Buffer | undefined;
let breathedMs = 0;

/**
 * Reads a plain file to its end, for its SHA-256. Its access time is left alone where the owner reads it.
 * @throws the failed call's error; the signal's reason
 */
export async function digestFile(path: string | Buffer, signal: AbortSignal): Promise<Digested> {
  const descriptor = openQuietly(path);
  try {
    const status = fstatSync(descriptor, { bigint: true });
    if (!status.isFile()) throw new Fault({ tried: 'read it', found: 'it is not a plain file' });
    chunk ??= Buffer.alloc(CHUNK);
    let size = 0;
    /** Only of a file that has more than one chunk: such an object costs more than reading a small file. */
    let digest: Hash | undefined;
    let kept = 0;
    for (;;) {
      // Small files are many: a turn of the event loop, which hears signals, for each would take longer than reading it.
      if (performance.now() - breathedMs > BREATHE_MS) {
        await breathe();
        breathedMs = performance.now();
      }
      signal.throwIfAborted();
      const got = readSync(descriptor, chunk, kept, CHUNK - kept, null);
      size += got;
      kept += got;
      if (got > 0 && kept < CHUNK) continue;
      const part = chunk.subarray(0, kept);
      if (got === 0 && digest === undefined)
        return { sha256: hash('sha256', part, 'buffer'), size, inode: status.ino };
      digest ??= createHash('sha256');
      digest.update(part);
      kept = 0;
      if (got === 0) return { sha256: digest.digest(), size, inode: status.ino };
    }
  } finally {
    closeSync(descriptor);
  }
}

const TAIL_BYTES = 4096;

/**
 * Whether the last block of a plain file reads as zeros.
 * @param size its bytes, more than 0
 * @throws the failed call's error
 */
export function endsInZeros(path: Buffer, size: number): boolean {
  const start = Math.floor((size - 1) / TAIL_BYTES) * TAIL_BYTES;
  const tail = Buffer.alloc(size - start);
  const descriptor = openQuietly(path);
  try {
    readSync(descriptor, tail, 0, tail.length, start);
    return tail.every(byte => byte === 0);
  } finally {
    closeSync(descriptor);
  }
}

/** open(2), O_NOATIME: only the owner may ask for it. */
function openQuietly(path: string | Buffer): number {
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  try {
    return open(path, flags | constants.O_NOATIME);
  } catch (error) {
    if (!failedWith(error, 'EPERM')) throw error;
    return open(path, flags);
  }
}

function requirePlain(
  descriptor: number,
  path: string | Buffer,
): { size: number; uid: number; mode: number } {
  const found = fstatSync(descriptor);
  if (!found.isFile()) throw new Fault({ tried: `read "${path}"`, found: 'it is not a plain file' });
  return found;
}

/**
 * Opens a plain file for another program to read; a symlink is not followed.
 * @returns the descriptor, which the caller closes
 * @throws what open(2) fails with; Fault when it is no plain file
 */
export function openPlain(path: Buffer): number {
  const descriptor = open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    requirePlain(descriptor, path);
    return descriptor;
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
}

const COMPARED_BYTES = 1024 * 1024;

/**
 * Whether two plain files hold the same bytes; holes are zeros. Signals are heard in between.
 * @throws what open(2) or read(2) fails with; the signal's reason
 */
export async function sameContent(one: Buffer, other: Buffer, signal: AbortSignal): Promise<boolean> {
  const descriptors: number[] = [];
  try {
    for (const path of [one, other]) descriptors.push(openPlain(path));
    const [a = -1, b = -1] = descriptors;
    if (fstatSync(a).size !== fstatSync(b).size) return false;
    const [left, right] = [Buffer.allocUnsafe(COMPARED_BYTES), Buffer.allocUnsafe(COMPARED_BYTES)];
    for (;;) {
      const got = readFull(a, left);
      if (got !== readFull(b, right) || !left.subarray(0, got).equals(right.subarray(0, got))) return false;
      if (got < COMPARED_BYTES) return true;
      await new Promise(resolve => setImmediate(resolve));
      signal.throwIfAborted();
    }
  } finally {
    for (const each of descriptors) closeSync(each);
  }
}

/** Fills the buffer, or reads to the file's end. */
function readFull(descriptor: number, buffer: Buffer): number {
  let size = 0;
  for (let got = 1; got > 0 && size < buffer.length; size += got)
    got = readSync(descriptor, buffer, size, buffer.length - size, null);
  return size;
}

/** Writes a new file (0600 unless told); an existing one is an error. Synced to the disk when told. */
export function writeNew(
  path: string,
  content: string | Buffer,
  options: { mode?: number; sync?: boolean } = {},
): void {
  try {
    writeFileSync(path, content, { mode: options.mode ?? 0o600, flag: 'wx', flush: options.sync ?? false });
  } catch (error) {
    throw fileFault(error, `write "${path}"`);
  }
}

/** Replaces a file whole: readers see the old content or the new one, after a power cut too. */
export function replaceFile(path: string, content: string | Buffer, mode = 0o600): void {
  const fresh = `${path}.new-${process.pid}`;
  try {
    writeFileSync(fresh, content, { mode, flush: true });
    chmodSync(fresh, mode);
    renameSync(fresh, path);
    removeAbandoned(path);
    syncFolder(dirname(path));
  } catch (error) {
    rmSync(fresh, { force: true });
    throw fileFault(error, `write "${path}"`);
  }
}

/** Removes what processes that were killed in `replaceFile` have left of the same file; where that cannot be, it stays. */
function removeAbandoned(path: string): void {
  const head = `${basename(path)}.new-`;
  try {
    for (const name of readdirSync(dirname(path))) {
      const pid = name.startsWith(head) ? name.slice(head.length) : '';
      if (/^[1-9]\d{0,9}$/.test(pid) && hasEnded(Number(pid))) rmSync(join(dirname(path), name));
    }
  } catch {
    // the next one tries again
  }
}

function hasEnded(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return failedWith(error, 'ESRCH');
  }
}

/**
 * Puts a new file into its place, whole or not at all; one that is there stays, and is an error. Only where the caller
 * holds a lock against its like: then what a killed one left is removed here, and nobody comes in between.
 */
export function placeFile(path: string, content: string | Buffer, mode = 0o600): void {
  const fresh = `${path}.new`;
  try {
    if (lstatSync(path, { throwIfNoEntry: false }))
      throw new Fault({ tried: `write "${path}"`, found: 'it is there already' });
    rmSync(fresh, { force: true });
    writeFileSync(fresh, content, { mode, flag: 'wx', flush: true });
    chmodSync(fresh, mode); // whatever the umask
    renameSync(fresh, path);
    syncFolder(dirname(path));
  } catch (error) {
    if (error instanceof Fault) throw error;
    rmSync(fresh, { force: true });
    throw fileFault(error, `write "${path}"`);
  }
}

/** Makes the names in a folder durable. */
export function syncFolder(path: string): void {
  const descriptor = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
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

/** A file or folder that somebody else can change, on the way to one that nobody else may. */
export interface Breach {
  at: string;
  /** A sentence that names it. */
  found: string;
  /** It belongs to somebody else; otherwise its mode lets others write. */
  isForeign: boolean;
}

/**
 * Who may write here besides its owner and root: the folder itself and each one above it, as sshd's StrictModes
 * looks at them. @returns the first path that others can change, or undefined
 */
export function findBreach(path: string, owner: number): Breach | undefined {
  for (let at = realpathSync(path); ; at = dirname(at)) {
    const breach = breachOf(at, statSync(at), owner, at !== path);
    if (breach || at === '/') return breach;
  }
}

/** `findBreach` as a sentence, or undefined. */
export function writableByOthers(path: string, owner: number): string | undefined {
  return findBreach(path, owner)?.found;
}

/** linux/namei.h, MAXSYMLINKS. */
const MOST_LINKS = 40;

/**
 * As `findBreach`, and for each link that the path goes by too: an account that can replace a link decides where it leads.
 *
 * Each component is looked at once, from `/` on, and never by a path with a link in it. So the answer stays true: below a
 * folder that only `owner` and root can change, no other account can put something else into a place that was looked at.
 * @param options isParent: the path is a folder for a new name, and may be sticky itself; privateGid: a group that has no member
 *   but `owner`
 * @throws the failed call's error
 */
export function findBreachOnTheWay(
  path: string,
  owner: number,
  { isParent = false, privateGid }: { isParent?: boolean; privateGid?: number | undefined } = {},
): Breach | undefined {
  let links = 0;
  let rest = path.split('/');
  let at = '/';
  let found = lstatSync(at);
  let breach = breachOf(at, found, owner, true, privateGid);
  while (breach === undefined && rest.length > 0) {
    const [name = '', ...after] = rest;
    rest = after;
    if (name === '' || name === '.') continue;
    const next = name === '..' ? dirname(at) : `${at === '/' ? '' : at}/${name}`;
    found = lstatSync(next);
    breach = breachOf(next, found, owner, true, privateGid);
    if (!found.isSymbolicLink()) {
      at = next;
      continue;
    }
    links += 1;
    if (links > MOST_LINKS) return { at: next, found: `"${next}" leads round in a circle`, isForeign: true };
    const target = readlinkSync(next);
    if (target.startsWith('/')) at = '/';
    rest = [...target.split('/'), ...rest];
    found = lstatSync(at);
  }
  return breach ?? breachOf(at, found, owner, isParent, privateGid);
}

/**
 * Whether others than `owner` and root can change one file or folder. A symlink has no mode of its own.
 * @param found as lstat(2) has it, with the bits of its type
 * @param isOnTheWay a sticky folder (/tmp) lets others add names, but not replace ours: on the way it is no breach
 * @param privateGid a group that may write, since it has no member but `owner`
 */
export function breachOf(
  at: string,
  found: { uid: number; gid: number; mode: number },
  owner: number,
  isOnTheWay: boolean,
  privateGid?: number,
): Breach | undefined {
  if (found.uid !== owner && found.uid !== 0)
    return { at, found: `"${at}" belongs to uid ${found.uid}`, isForeign: true };
  const type = found.mode & constants.S_IFMT;
  const others = found.gid === privateGid ? 0o002 : 0o022;
  if (type === constants.S_IFLNK || (found.mode & others) === 0) return undefined;
  if (isOnTheWay && type === constants.S_IFDIR && (found.mode & 0o1000) !== 0) return undefined;
  const mode = (found.mode & 0o7777).toString(8);
  return { at, found: `"${at}" can be written by others (mode ${mode})`, isForeign: false };
}

/**
 * Two descriptors of a FIFO, reading and writing, whose name is gone when this returns: a pipe that node does
 * not read from (facts: a child's stdio `pipe` is read by node at once).
 */
export function openFifo(path: string): { reading: number; writing: number } {
  const both = openSync(path, constants.O_RDWR); // so that neither of the next two blocks
  const reading = openSync(path, constants.O_RDONLY);
  const writing = openSync(path, constants.O_WRONLY);
  closeSync(both);
  unlinkSync(path);
  return { reading, writing };
}

/** Reads a FIFO to its end without blocking a thread; `close` gives up. @param limit bytes */
export function readFifo(path: string, limit: number): { content: Promise<Buffer>; close: () => void } {
  const socket = descriptorStream(openSync(path, constants.O_RDONLY | constants.O_NONBLOCK), {
    readable: true,
  });
  const content = new Promise<Buffer>((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    socket.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      size += chunk.length;
      if (size > limit) socket.destroy(new Error(`more than ${limit} bytes`));
    });
    socket.on('end', () => resolve(Buffer.concat(chunks)));
    socket.on('error', reject);
  });
  content.catch(() => {}); // the caller may have given up
  return { content, close: () => socket.destroy() };
}

/** A descriptor as a stream, read and written without blocking a thread. */
export function descriptorStream(
  descriptor: number,
  ways: { readable?: boolean; writable?: boolean },
): Socket {
  return new Socket({ fd: descriptor, readable: ways.readable ?? false, writable: ways.writable ?? false });
}

/**
 * Reads one line, byte by byte: what follows it belongs to somebody else. Not for standard streams of ours: a read that
 * never comes to its end would hold up the end of this process.
 * @returns without its newline; undefined when it has no end within `limit` bytes, or none at all
 */
export async function readLineAlone(descriptor: number, limit: number): Promise<string | undefined> {
  const byte = Buffer.alloc(1);
  let line = '';
  while (line.length <= limit) {
    const got = await new Promise<number>((resolve, reject) => {
      read(descriptor, byte, 0, 1, null, (error, count) => (error ? reject(error) : resolve(count)));
    });
    if (got === 0) return undefined;
    if (byte[0] === 0x0a) return line;
    line += byte.toString('latin1');
  }
  return undefined;
}

/** Writes all of it, without blocking this thread. */
export async function writeAll(descriptor: number, bytes: Buffer): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    done += await new Promise<number>((resolve, reject) => {
      write(descriptor, bytes, done, bytes.length - done, null, (error, count) =>
        error ? reject(error) : resolve(count),
      );
    });
  }
}

/** What a portion-wise reader is told of: bytes, or the end (undefined). Its answer: whether to go on reading. */
export type Portion = (bytes: Buffer | undefined) => boolean;

/**
 * Standard input, read in portions; where `take` answers no, not a byte more is read. A stream would read
 * ahead, what it is told or not.
 */
export function readInPortions(take: Portion): { giveAway: () => void } {
  let isOver = false;
  const end = (): void => {
    if (isOver) return;
    isOver = true;
    take(undefined);
  };
  const options = {
    fd: 0,
    readable: true,
    writable: false,
    onread: {
      buffer: Buffer.alloc(65_536),
      callback: (count: number, bytes: Uint8Array) => take(Buffer.from(bytes.subarray(0, count))),
    },
  };
  const socket = new Socket(options).on('end', end).on('error', end);
  socket.resume();
  return {
    giveAway: () => {
      isOver = true;
      // It lets go of a standard stream without closing it (libuv); then ours is closed.
      socket.once('close', () => replaceStandardStreams()).destroy();
    },
  };
}

/** Closes standard input and output, which others have by now; what is opened later must not come into their place. */
function replaceStandardStreams(): void {
  for (const descriptor of [0, 1]) {
    closeSync(descriptor);
    openSync('/dev/null', constants.O_RDWR); // takes the lowest free number
  }
}

const LOOK_MS = 100;

/**
 * Calls back each time a name comes or goes in a folder; where the kernel has no watch left for us (inotify(7),
 * max_user_instances) ten times a second. @returns the end of it
 */
export function watchFolder(path: string, changed: () => void): () => void {
  let timer: NodeJS.Timeout | undefined;
  const look = (): void => {
    timer ??= setInterval(changed, LOOK_MS);
  };
  let watcher: FSWatcher | undefined;
  try {
    watcher = watch(path, changed).on('error', look);
  } catch {
    look();
  }
  return () => {
    watcher?.close();
    clearInterval(timer);
  };
}

/** Reads at most `limit` bytes of standard input, to its end. */
export function readStandardInput(limit: number): Buffer {
  const chunks: Buffer[] = [];
  const chunk = Buffer.alloc(65_536);
  for (let size = 0; size <= limit; ) {
    const got = readSync(0, chunk, 0, chunk.length, null);
    if (got === 0) return Buffer.concat(chunks);
    chunks.push(Buffer.from(chunk.subarray(0, got)));
    size += got;
  }
  throw new Fault({ tried: 'read standard input', found: `more than ${limit} bytes came` });
}

const SLEEPER = new Int32Array(new SharedArrayBuffer(4));
const WRITE_PATIENCE_MS = 30_000;

let isOutputLost = false;

/** Whether standard output could not be written (a full disk, say): then a success is none. */
export function outputLost(): boolean {
  return isOutputLost;
}

/**
 * Writes text to standard output (1) or standard error (2), whole, and without node's streams: those leave a
 * pipe non-blocking for the program that `gate` becomes. A reader that has gone away is no error of ours; one
 * that reads nothing for 30 s is treated as gone.
 * @returns whether somebody still reads: who has more to say may stop
 */
export function say(descriptor: 1 | 2, text: string): boolean {
  let rest: Uint8Array = Buffer.from(text);
  let waitedMs = 0;
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(descriptor, rest));
      waitedMs = 0;
    } catch (error) {
      if (!failedWith(error, 'EAGAIN') || waitedMs >= WRITE_PATIENCE_MS) {
        if (descriptor === 1 && !failedWith(error, 'EPIPE')) isOutputLost = true;
        return false;
      }
      Atomics.wait(SLEEPER, 0, 0, 10);
      waitedMs += 10;
    }
  }
  return true;
}

/** Whether a person reads along. */
export function isTerminal(descriptor: number): boolean {
  return isatty(descriptor);
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
