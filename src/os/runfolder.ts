/** Where dialback works while it runs: the state folder, its lock, and one private folder a run. */

import { Fault } from '../fault.ts';
import { close, linkStatus, makeFolder, makeUniqueFolder, open, openFlags, removeAll } from './files.ts';
import { type Account, ownAccount } from './machine.ts';
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
  const tried = `use the state folder "${path}"`;
  const fault = (found: string, next?: string): Fault =>
    new Fault({ tried, found, exit: 'usage', ...(next ? { next } : {}) });
  if (!path.startsWith('/')) throw fault('it must be an absolute path');
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused
  if (/[\u0000-\u001f\u007f"'\\%$`#]/.test(path)) {
    throw fault('its name has a character that sshd, ssh or rsync would read as more than a letter');
  }
  makeFolder(path, { parents: true });
  const found = linkStatus(path);
  const account = ownAccount();
  if (!found.isDirectory()) throw fault('it is not a folder');
  if (found.uid !== account.uid) throw fault(`it belongs to uid ${found.uid}, not to ${account.name}`);
  if ((found.mode & 0o077) !== 0) throw fault('others may look into it', `chmod 700 '${path}'`);
}

/** Makes this run's private folder (0700); it is removed, with all in it, when `held` is released. */
export function makeRunFolder(held: DisposableHolder, stateFolder: string): string {
  const path = makeUniqueFolder(`${stateFolder}/run-`);
  held.defer(() => removeAll(path));
  return path;
}

/** The part of AsyncDisposableStack that is needed: what is deferred last is done first. */
export interface DisposableHolder {
  defer(onRelease: () => void | Promise<void>): void;
}

/**
 * Takes a lock on a file by flock(1), without waiting. The lock belongs to the open descriptor: it lasts until
 * we and every child that was given the descriptor have closed it.
 * @returns the descriptor, or undefined when somebody else holds the lock
 */
export async function takeLock(held: DisposableHolder, path: string): Promise<number | undefined> {
  const descriptor = open(path, openFlags.O_RDWR | openFlags.O_CREAT | openFlags.O_NOFOLLOW, 0o600);
  const { status, stderr } = await run(standard('flock', ['--exclusive', '--nonblock', '3']), {
    more: [descriptor],
  });
  if (status !== 0) {
    close(descriptor);
    if (status === 1) return undefined;
    throw new Fault({ tried: `lock "${path}"`, found: stderr.trim() || `flock ended with status ${status}` });
  }
  held.defer(() => close(descriptor));
  return descriptor;
}
