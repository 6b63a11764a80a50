/** The state folder, the private folder of each run in it, and locks. */

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

/** The default state folder. XDG_RUNTIME_DIR would not do: it is removed at logout. */
export function defaultStateFolder(account: Account): string {
  return `${account.home}/.local/state/dialback`;
}

/**
 * Creates the state folder if needed and checks it. Its name must need no quoting in the config files of sshd, ssh and rsyncd; blanks
 * and UTF-8 are allowed. No other account may be able to change it.
 * @throws Fault
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

/** The step for a folder of another account: inside the account's home it can be given back, elsewhere it cannot. */
function giveText(path: string, { name, home }: Account): string {
  return path.startsWith(`${home}/`)
    ? `as root: chown -R ${name} '${path}'`
    : 'name another folder in `state`';
}

/** Checks the path of a state folder without a look at the file system. @throws Fault */
export function requireStateName(path: string): void {
  const fault = stateFault(path);
  if (!path.startsWith('/')) throw fault('it must be an absolute path');
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused
  if (/[\u0000-\u001f\u007f"'\\%$`#]/.test(path)) {
    throw fault('its name has a character that sshd, ssh or rsync would read as more than a letter');
  }
}

/** Checks that a state folder is ours, and that no other account can change it. @throws Fault */
export function requireStateFolder(path: string): void {
  const fault = stateFault(path);
  const found = lstat(path);
  const account = ownAccount();
  if (!found.isDirectory()) throw fault('it is not a folder', `mv '${path}' '${path}.old'`);
  if (found.uid !== account.uid)
    throw fault(`it belongs to uid ${found.uid}, not to ${account.name}`, giveText(path, account));
  if ((found.mode & 0o077) !== 0) throw fault('others may look into it', `chmod 700 '${path}'`);
  // sshd's StrictModes checks up to the home folder (auth_secure_path), and refuses a sticky folder too.
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
 * Makes this run's private folder (0700) and locks it while this process lives. Releasing `held` removes it. First this removes
 * the folders of killed runs, which exist without a lock.
 * @param beforeRemoval called with each such folder, to kill processes that still belong to it
 * @throws Fault
 */
export async function makeRunFolder(
  held: DisposableHolder,
  stateFolder: string,
  beforeRemoval: (stale: string) => Promise<void> = async () => {},
): Promise<string> {
  // Until the new folder is locked, another run must not take it for one of a killed run.
  await using admission = new AsyncDisposableStack();
  if ((await takeLock(admission, `${stateFolder}/folders.lock`, LOCK_WAIT_SECONDS)) === undefined) {
    throw new Fault({
      tried: 'begin a run',
      found: 'another run is still beginning',
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

/** Removes a run folder without a lock. It ignores other folders and errors, since a backup can run all the same. */
async function removeStale(path: string, beforeRemoval: (stale: string) => Promise<void>): Promise<void> {
  try {
    const found = lstat(path);
    if (!found.isDirectory() || found.uid !== ownAccount().uid) return;
    chmod(path, 0o700); // an unusual umask can have removed these bits
    await using check = new AsyncDisposableStack();
    // Take the lock but do not create it: its run may be removing the folder. A folder without the file is being removed, or its
    // run was killed before it created the lock.
    const lock = `${path}/lock`;
    if (exists(lock) && (await takeLock(check, lock, 0, false)) === undefined) return;
    await beforeRemoval(path);
    removeAll(path);
  } catch {
    // the folder stays
  }
}

const RUN_FOLDER = /^run-[A-Za-z0-9]{6}$/;
const LOCK_WAIT_SECONDS = 15;

/** The part of AsyncDisposableStack that is needed: it releases in reverse order. */
export interface DisposableHolder {
  defer(onRelease: () => void | Promise<void>): void;
}

/**
 * Locks a file with flock(1). The lock belongs to the open descriptor: it lasts until this process and every child that
 * inherited the descriptor have closed it.
 * @param waitSeconds how long to wait; 0: do not wait
 * @param makesIt whether to create a missing file
 * @returns the descriptor, or undefined when another process holds the lock
 * @throws Fault
 */
export async function takeLock(
  held: DisposableHolder,
  path: string,
  waitSeconds = 0,
  makesIt = true,
): Promise<number | undefined> {
  return await lockDescriptor(held, path, openLock(path, makesIt), waitSeconds);
}

/** The same for a folder in which no file can be created. Locks on folders do not work on NFS. */
export async function takeFolderLock(held: DisposableHolder, path: string): Promise<number | undefined> {
  return await lockDescriptor(held, path, open(path, openFlags.O_RDONLY | openFlags.O_DIRECTORY), 0);
}

/** `takeLock()`; if a full disk has no inode for the file, it locks the folder. */
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

/** `takeLock()` without a time limit. @throws the signal's reason; Fault */
export async function awaitLock(held: DisposableHolder, path: string, signal: AbortSignal): Promise<void> {
  const descriptor = openLock(path);
  held.defer(() => close(descriptor));
  const flock = standard('flock', ['--exclusive', '3']);
  const { status, stderr } = await run(flock, { more: [descriptor], signal, timeoutMs: MOST_TIMER_MS });
  if (status !== 0)
    throw new Fault({ tried: `lock "${path}"`, found: stderr.trim() || `flock ended with status ${status}` });
}
/** The limit of setTimeout(): the signal aborts earlier. */
const MOST_TIMER_MS = 2 ** 31 - 1;

/**
 * Whether a process holds a flock(2) lock on a file, read from /proc/locks. Taking the lock for a moment would disturb a run that
 * begins just then. On a file system whose device numbers there differ from stat(2) (btrfs) the result is false.
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
