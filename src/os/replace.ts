/** New files and new contents, whole or not at all: readers see the old content or the new one, after a power cut too. */
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

/** A new file (0600), as a stream; what was there is gone. `settleFile` puts it into its place. */
export function writingStream(path: string): Writable {
  return createWriteStream(path, { flags: 'w', mode: 0o600 });
}

/** Gives a file that was written whole its name: readers see it whole or not at all, after a power cut too. */
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

/** Writes a new file (0600 unless told); an existing one is an error. Synced to the disk when told. */
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

/** Replaces a file whole: readers see the old content or the new one, after a power cut too. */
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

/** Removes what processes that were killed in `replaceFile` have left of the same file; where that cannot be, it stays. */
function removeAbandoned(path: string): void {
  const head = `${basename(path)}.new-`;
  try {
    for (const name of readdir(dirname(path))) {
      const pid = name.startsWith(head) ? name.slice(head.length) : '';
      if (/^[1-9]\d{0,9}$/.test(pid) && hasEnded(Number(pid))) unlink(join(dirname(path), name));
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

/** Makes the names in a folder durable. */
export function syncFolder(path: string): void {
  const descriptor = open(path, openFlags.O_RDONLY | openFlags.O_DIRECTORY);
  try {
    fsync(descriptor);
  } finally {
    close(descriptor);
  }
}
