/** Where dialback works while it runs: the state folder, its lock, and one private folder a run. */

import { dirname } from 'node:path';
import { Fault } from '../fault.ts';
import { type Account, ownAccount } from './account.ts';
import {
  chmod,
  close,
  exists,
  fileFault,
  lstat,
  makeFolder,
  makeUniqueFolder,
  open,
  openFlags,
  readdir,
  readProc,
  realPath,
  removeAll,
  stat,
  statusExact,
} from './files.ts';
import { run, standard } from './process.ts';

/** Where state is kept unless told otherwise. Not XDG_RUNTIME_DIR, which vanishes at logout. */
export function defaultStateFolder(account: Account): string {
  return `${account.home}/.local/state/dialback`;
}

/**
 * Makes sure of the state folder: absolute, of characters that need no quoting in the config files of sshd, ssh
 * and rsyncd (blanks and UTF-8 are fine), ours, and nobody else's to change.
 */
export function prepareStateFolder(path: string): void {
  requireStateName(path);
  makeFolder(path, { parents: true });
  requireStateFolder(path);
}

function stateFault(path: string): (found: string, next?: string) => Fault {
  const tried = `use the state folder "${path}"`;
  return (found, next) => new Fault({ tried, found, exit: 'usage', ...(next ? { next } : {}) });
}

/** What is in the account's home can be given back to it; any other folder is somebody else's. */
function giveText(path: string, { name, home }: Account): string {
  return path.startsWith(`${home}/`)
    ? `as root: chown -R ${name} '${path}'`
    : 'name another folder in `state`';
}

/** Whether a state folder can be at this path, by the path alone. @throws Fault */
export function requireStateName(path: string): void {
  const fault = stateFault(path);
  if (!path.startsWith('/')) throw fault('it must be an absolute path');
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused
  if (/[\u0000-\u001f\u007f"'\\%$`#]/.test(path)) {
    throw fault('its name has a character that sshd, ssh or rsync would read as more than a letter');
  }
}

/** Whether a state folder that is there is ours, and nobody else's to change; changes nothing. @throws Fault */
export function requireStateFolder(path: string): void {
  const fault = stateFault(path);
  const found = lstat(path);
  const account = ownAccount();
  if (!found.isDirectory()) throw fault('it is not a folder', `mv '${path}' '${path}.old'`);
  if (found.uid !== account.uid)
    throw fault(`it belongs to uid ${found.uid}, not to ${account.name}`, giveText(path, account));
  if ((found.mode & 0o077) !== 0) throw fault('others may look into it', `chmod 700 '${path}'`);
  // sshd's StrictModes goes up to the home folder (auth_secure_path), and takes even a sticky folder for unsafe.
  const home = exists(account.home) ? realPath(account.home) : account.home;
  for (let at = dirname(realPath(path)); at !== home && at !== '/'; at = dirname(at)) {
    const { uid, mode } = stat(at);
    if (uid !== 0 && uid !== account.uid)
      throw fault(
        `"${at}" above it belongs to uid ${uid}, so sshd would not trust it`,
        giveText(at, { ...account, home }),
      );
    if ((mode & 0o022) !== 0) {
      throw fault(
        `"${at}" above it can be written by others, so sshd would not trust it`,
        `chmod go-w '${at}', or name another folder`,
      );
    }
  }
}

/**
 * Makes this run's private folder (0700), locked as long as we live; it is removed, with all in it, when `held` is
 * released. What a killed run left is removed first: its folder is there, and nobody holds its lock.
 * @param beforeRemoval is called with each such folder, to end what may still belong to it
 */
export async function makeRunFolder(
  held: DisposableHolder,
  stateFolder: string,
  beforeRemoval: (stale: string) => Promise<void> = async () => {},
): Promise<string> {
  // Between the making of a folder and its locking nobody else may take it for a stale one.
  await using admission = new AsyncDisposableStack();
  if ((await takeLock(admission, `${stateFolder}/folders.lock`, LOCK_WAIT_SECONDS)) === undefined) {
    throw new Fault({
      tried: 'begin a run',
      found: 'another one has been beginning for too long',
      exit: 'locked',
    });
  }
  for (const name of readdir(stateFolder)) {
    if (RUN_FOLDER.test(name)) await removeStale(`${stateFolder}/${name}`, beforeRemoval);
  }
  const path = makeUniqueFolder(`${stateFolder}/run-`);
  await takeLock(held, `${path}/lock`);
  held.defer(() => removeAll(path));
  return path;
}

/** Removes a run folder that nobody holds. What is none of ours, or cannot be removed, is no reason not to back up. */
async function removeStale(path: string, beforeRemoval: (stale: string) => Promise<void>): Promise<void> {
  try {
    const found = lstat(path);
    if (!found.isDirectory() || found.uid !== ownAccount().uid) return;
    chmod(path, 0o700); // a strange umask can have left it without
    await using check = new AsyncDisposableStack();
    // Whoever removes its own folder just now must not find a new file in it: the lock is taken, and never made. One
    // without a lock is being removed, or its maker was killed before it had one.
    const lock = `${path}/lock`;
    if (exists(lock) && (await takeLock(check, lock, 0, false)) === undefined) return;
    await beforeRemoval(path);
    removeAll(path);
  } catch {
    // it stays, as it would have anyway
  }
}

const RUN_FOLDER = /^run-[A-Za-z0-9]{6}$/;
const LOCK_WAIT_SECONDS = 15;

/** The part of AsyncDisposableStack that is needed: what is deferred last is done first. */
export interface DisposableHolder {
  defer(onRelease: () => void | Promise<void>): void;
}

/**
 * Takes a lock on a file by flock(1). The lock belongs to the open descriptor: it lasts until
 * we and every child that was given the descriptor have closed it.
 * @param waitSeconds how long to wait for it; 0: not at all
 * @param makesIt whether the file is made where there is none
 * @returns the descriptor, or undefined when somebody else holds the lock
 */
export async function takeLock(
  held: DisposableHolder,
  path: string,
  waitSeconds = 0,
  makesIt = true,
): Promise<number | undefined> {
  return await lockDescriptor(held, path, openLock(path, makesIt), waitSeconds);
}

/** The same on a folder, where no file can be made. Locks of this kind do not work on NFS. */
export async function takeFolderLock(held: DisposableHolder, path: string): Promise<number | undefined> {
  return await lockDescriptor(held, path, open(path, openFlags.O_RDONLY | openFlags.O_DIRECTORY), 0);
}

/** `takeLock()`, on a folder where a full disk has no inode for the file. */
export async function takeLockOrFolder(
  held: DisposableHolder,
  path: string,
  folder: string,
): Promise<number | undefined> {
  try {
    return await takeLock(held, path);
  } catch (error) {
    if (!(error instanceof Fault) || error.exit !== 'noSpace') throw error;
    return await takeFolderLock(held, folder);
  }
}

async function lockDescriptor(
  held: DisposableHolder,
  path: string,
  descriptor: number,
  waitSeconds: number,
): Promise<number | undefined> {
  const { status, stderr } = await run(
    standard('flock', ['--exclusive', '--timeout', String(waitSeconds), '3']),
    {
      more: [descriptor],
    },
  );
  if (status !== 0) {
    close(descriptor);
    if (status === 1) return undefined;
    throw new Fault({ tried: `lock "${path}"`, found: stderr.trim() || `flock ended with status ${status}` });
  }
  held.defer(() => close(descriptor));
  return descriptor;
}

function openLock(path: string, makesIt = true): number {
  try {
    const make = makesIt ? openFlags.O_CREAT : 0;
    return open(path, openFlags.O_RDWR | make | openFlags.O_NOFOLLOW, 0o600);
  } catch (error) {
    throw fileFault(error, `lock "${path}"`);
  }
}

/** `takeLock()`, as long as it takes. @throws the signal's reason */
export async function awaitLock(held: DisposableHolder, path: string, signal: AbortSignal): Promise<void> {
  const descriptor = openLock(path);
  held.defer(() => close(descriptor));
  const flock = standard('flock', ['--exclusive', '3']);
  const { status, stderr } = await run(flock, { more: [descriptor], signal, timeoutMs: MOST_TIMER_MS });
  if (status !== 0)
    throw new Fault({ tried: `lock "${path}"`, found: stderr.trim() || `flock ended with status ${status}` });
}
/** setTimeout's limit; the signal comes before. */
const MOST_TIMER_MS = 2 ** 31 - 1;

/**
 * Whether somebody holds a lock of flock(2) on a file, without touching it: taking it, if only for a moment, would get in
 * the way of a run that begins just then. By /proc/locks; where a file system has other device numbers there than in
 * stat(2) (btrfs), the answer is no.
 */
export function isLocked(path: string): boolean {
  if (!exists(path)) return false;
  const { dev, ino } = statusExact(path);
  const major = ((dev >> 8n) & 0xfffn) | ((dev >> 32n) & ~0xfffn);
  const minor = (dev & 0xffn) | ((dev >> 12n) & ~0xffn & 0xffffffffn);
  const pad = (number: bigint): string => number.toString(16).padStart(2, '0');
  const place = ` ${pad(major)}:${pad(minor)}:${ino} `;
  return (readProc('locks') ?? '').split('\n').some(line => line.includes(' FLOCK ') && line.includes(place));
}
