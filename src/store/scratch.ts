/**
 * STORE/tmp/: temporary files of processes that work for a client. They use the store's room, which min_free and the
 * administrator watch, instead of the machine's /tmp or memory. SQLite's temporary files have no name. sort(1)
 * removes its own; this module removes those of a killed one.
 */

import { ownAccount } from '../os/account.ts';
import { now } from '../os/clock.ts';
import { lstat, makeFolder, readdir, stat, statfs, unlink } from '../os/files.ts';
import { useScratchFolder } from '../os/scratch.ts';

/** Below the store. */
export const SCRATCH_FOLDER = 'tmp';
/** With less free space, a prune that makes room must not depend on the store's own. */
const LEAST_BYTES = 256 * 1024 * 1024;
/** The names of sort(1)'s files. */
const LEFT = /^sort[A-Za-z0-9]{6}$/;
/** No sort takes this long. */
const LEFT_MS = 2 * 86_400_000;

/**
 * Makes temporary files in the store from now on. If the store cannot be written or is nearly full, they stay where
 * they were.
 */
export function keepScratchIn(store: string): void {
  const folder = `${store}/${SCRATCH_FOLDER}`;
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
