/** Atomic writes: a reader sees the old content or the new content, after a power failure too. */
import { basename, dirname, join } from 'node:path';
import type { Writable } from 'node:stream';
import { Fault } from '../fault.ts';
import {
  chmod,
  close,
  createWriteStream,
  failedWith,
  fileFault,
  fsync,
  lstat,
  open,
  openFlags,
  readdir,
  removeFileIfThere,
  rename,
  unlink,
  writeFile,
} from './files.ts';

/** Opens a file for writing as a stream (0600) and truncates it. `settleFile()` then gives it its final name. */
export function writingStream(path: string): Writable {
  return createWriteStream(path, { flags: 'w', mode: 0o600 });
}

/** Syncs a completely written file and renames it to its final name. */
export function settleFile(fresh: string, path: string): void {
  const descriptor = open(fresh, openFlags.O_RDONLY);
  try {
    fsync(descriptor);
  } finally {
    close(descriptor);
  }
  rename(fresh, path);
  syncFolder(dirname(path));
}

/** Writes a new file. @param options mode: 0600 by default; sync: fsync(2) it @throws Fault, also when the file exists */
export function writeNew(
  path: string,
  content: string | Buffer,
  options: { mode?: number; sync?: boolean } = {},
): void {
  try {
    writeFile(path, content, { mode: options.mode ?? 0o600, flag: 'wx', flush: options.sync ?? false });
  } catch (error) {
    throw fileFault(error, `write "${path}"`);
  }
}

/** Replaces a file's content atomically. @throws Fault */
export function replaceFile(path: string, content: string | Buffer, mode = 0o600): void {
  const fresh = `${path}.new-${process.pid}`;
  try {
    writeFile(fresh, content, { mode, flush: true });
    chmod(fresh, mode);
    rename(fresh, path);
    removeAbandoned(path);
    syncFolder(dirname(path));
  } catch (error) {
    removeFileIfThere(fresh);
    throw fileFault(error, `write "${path}"`);
  }
}

/** Removes temporary files of the same file that killed processes left behind. Ignores errors. */
function removeAbandoned(path: string): void {
  const head = `${basename(path)}.new-`;
  try {
    for (const name of readdir(dirname(path))) {
      const pid = name.startsWith(head) ? name.slice(head.length) : '';
      if (/^[1-9]\d{0,9}$/.test(pid) && hasEnded(Number(pid))) unlink(join(dirname(path), name));
    }
  } catch {
    // the next write tries again
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
 * Creates a file atomically. The caller must hold a lock against other writers of the file, because this removes the temporary
 * file that a killed writer left behind.
 * @throws Fault, also when the file exists
 */
export function placeFile(path: string, content: string | Buffer, mode = 0o600): void {
  const fresh = `${path}.new`;
  try {
    if (lstat(path, { throwIfNoEntry: false }))
      throw new Fault({ tried: `write "${path}"`, found: 'it is there already' });
    removeFileIfThere(fresh);
    writeFile(fresh, content, { mode, flag: 'wx', flush: true });
    chmod(fresh, mode); // whatever the umask
    rename(fresh, path);
    syncFolder(dirname(path));
  } catch (error) {
    if (error instanceof Fault) throw error;
    removeFileIfThere(fresh);
    throw fileFault(error, `write "${path}"`);
  }
}

/** Syncs a folder, so that its entries survive a power failure. */
export function syncFolder(path: string): void {
  const descriptor = open(path, openFlags.O_RDONLY | openFlags.O_DIRECTORY);
  try {
    fsync(descriptor);
  } finally {
    close(descriptor);
  }
}
