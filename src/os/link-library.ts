/**
 * The libraries for rsync that this executable contains, compiled. src/launcher/linkat.c lets rsync go on if the file system refuses a
 * hard link inside a group, and reports cut times. mountpoints.c keeps rsync from mount points. In a jail rsync gets the copies of
 * the launcher instead.
 */
import { mountOf, mountTableInBytes } from './mounts.ts';
import { writeUnnamed } from './scratch.ts';

/** Each library in base64; empty if the build had no compiler. */
declare const DIALBACK_LINKAT: string | undefined;
declare const DIALBACK_MOUNTPOINTS: string | undefined;

/** The name of mountpoints.c's library in a run folder. */
export const MOUNTPOINTS_LIBRARY = 'mountpoints.so';

/** @returns the library of mountpoints.c; undefined if the build had no compiler */
export function mountPointsLibrary(): Buffer | undefined {
  const isThere = typeof DIALBACK_MOUNTPOINTS === 'string' && DIALBACK_MOUNTPOINTS !== '';
  return isThere ? Buffer.from(DIALBACK_MOUNTPOINTS ?? '', 'base64') : undefined;
}

/** Whether the dynamic loader may map a file of this folder, that is, whether it is not on a noexec mount. */
export function isLoadable(folder: string): boolean {
  const table = mountTableInBytes();
  return !mountOf(table, Buffer.from(folder, 'utf8').toString('latin1'))?.options.includes('noexec');
}

/**
 * The variables that have rsync load it from a run folder. The path is relative, because LD_PRELOAD accepts no blank or colon in one.
 * @param folder where the library and its table are
 */
export function mountPointsEnvironment(folder: string): Record<string, string> {
  return { LD_PRELOAD: `./${MOUNTPOINTS_LIBRARY}`, DIALBACK_MOUNTS: folder };
}

/** Whether this executable was built with the library of linkat.c. */
export function hasLinkLibrary(): boolean {
  return typeof DIALBACK_LINKAT === 'string' && DIALBACK_LINKAT !== '';
}

/** linkat.c's library prints this on standard error for each inode that it has made (COPIED there). */
export const NEW_INODE = 'dialback-linkat: new inode';
/** It prints this once for each process of rsync that has set a time which the file system has cut (TIME_CUT there). */
export const TIME_CUT = 'dialback-linkat: time cut';

/** Where the file can stand until it is open. The dynamic loader maps it as code. */
const FOLDERS = ['/dev/shm', '/tmp', '/var/tmp'];

/**
 * Opens linkat.c's library for reading, as a file without a name.
 * @returns a descriptor for rsync, which the caller closes; undefined if there is no library, or no folder for it
 */
export function openLinkLibrary(): number | undefined {
  if (!hasLinkLibrary()) return undefined;
  const library = Buffer.from(DIALBACK_LINKAT ?? '', 'base64');
  for (const folder of FOLDERS.filter(isLoadable)) {
    try {
      return writeUnnamed([library], folder);
    } catch {
      // it is full, or does not exist: try the next one
    }
  }
  return undefined;
}

/**
 * The variables that have rsync load it.
 * @param descriptor the library's number in rsync
 * @param tree the folder that rsync writes into, by its path without links
 */
export function linkEnvironment(descriptor: number, tree: string): Record<string, string> {
  return { LD_PRELOAD: `/proc/self/fd/${descriptor}`, DIALBACK_TREE: tree };
}
