/**
 * STORE/tmp/: temporary files of processes that work for a client. They take the store's room, which min_free and the
 * administrator watch, and not that of the machine's /tmp or memory. SQLite's have no name; sort(1) removes its own, and what a
 * killed one left is removed here.
 */

import { ownAccount } from '../os/account.ts';
import { now } from '../os/clock.ts';
import { lstat, makeFolder, readdir, stat, statfs, unlink } from '../os/files.ts';
import { useScratchFolder } from '../os/scratch.ts';

const FOLDER = 'tmp';
/** With less, what makes room (a prune of a full disk) must not need the store's own. */
const LEAST_BYTES = 256 * 1024 * 1024;
/** What sort(1) calls its files. */
const LEFT = /^sort[A-Za-z0-9]{6}$/;
/** No sort takes so long. */
const LEFT_MS = 2 * 86_400_000;

/** Has temporary files made in the store from now on; where it takes none, or is nearly full, they stay where they were. */
export function keepScratchIn(store: string): void {
  const folder = `${store}/${FOLDER}`;
  try {
    const { bavail, bsize } = statfs(store);
    if (stat(store).uid !== ownAccount().uid || bavail * bsize < LEAST_BYTES) return;
    makeFolder(folder);
    removeLeft(folder);
  } catch {
    return;
  }
  useScratchFolder(folder);
}

function removeLeft(folder: string): void {
  const left = readdir(folder).filter(name => LEFT.test(name));
  for (const name of left)
    if (now().getTime() - lstat(`${folder}/${name}`).mtimeMs > LEFT_MS) unlink(`${folder}/${name}`);
}
