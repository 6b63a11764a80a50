/**
 * The libraries that the executable carries for rsync, compiled: the one that lets it go on where the file system refuses a hard link inside a group, and tells of cut
 * times (src/launcher/linkat.c), and the one
 * that keeps it from mount points (mountpoints.c). Confined, the launcher has its own copies and gives those to rsync.
 */
import { close, open, openFlags, unlink } from './files.ts';
import { mountOf, mountTableInBytes } from './mounts.ts';
import { randomHex } from './random.ts';
import { writeAll } from './streams.ts';

/** The library in base64; empty where the build had no compiler. */
declare const DIALBACK_LINKAT: string | undefined;

declare const DIALBACK_MOUNTPOINTS: string | undefined;

/** Its name in a run folder. */
export const MOUNTPOINTS_LIBRARY = 'mountpoints.so';

/** The library of mountpoints.c; undefined where the build had no compiler. */
export function mountPointsLibrary(): Buffer | undefined {
  const isThere = typeof DIALBACK_MOUNTPOINTS === 'string' && DIALBACK_MOUNTPOINTS !== '';
  return isThere ? Buffer.from(DIALBACK_MOUNTPOINTS ?? '', 'base64') : undefined;
}

/** Whether the dynamic loader may map a file of this folder. */
export function isLoadable(folder: string): boolean {
  const table = mountTableInBytes();
  return !mountOf(table, Buffer.from(folder, 'utf8').toString('latin1'))?.options.includes('noexec');
}

/**
 * What makes rsync load it out of a run folder. By a relative path: LD_PRELOAD takes none with a blank or a colon.
 * @param folder where the library and its table are
 */
export function mountPointsEnvironment(folder: string): Record<string, string> {
  return { LD_PRELOAD: `./${MOUNTPOINTS_LIBRARY}`, DIALBACK_MOUNTS: folder };
}

/** Whether this executable was built with the library of linkat.c. */
export function hasLinkLibrary(): boolean {
  return typeof DIALBACK_LINKAT === 'string' && DIALBACK_LINKAT !== '';
}

/** What the library writes to standard error for each inode that it has made (COPIED in linkat.c). */
export const NEW_INODE = 'dialback-linkat: new inode';
/** What it writes once for each of rsync's processes that has set a time which the file system has cut (TIME_CUT). */
export const TIME_CUT = 'dialback-linkat: time cut';

/** Where the file can be for as long as it takes to open it. The dynamic loader maps it as code. */
const FOLDERS = ['/dev/shm', '/tmp', '/var/tmp'];

/**
 * Opens the library for reading; it has no name any more by then.
 * @returns a descriptor to hand to rsync, which the caller closes; undefined where there is no library, or no place for it
 */
export async function openLinkLibrary(): Promise<number | undefined> {
  if (!hasLinkLibrary()) return undefined;
  const library = Buffer.from(DIALBACK_LINKAT ?? '', 'base64');
  for (const folder of FOLDERS.filter(isLoadable)) {
    try {
      return await writeUnnamed(`${folder}/dialback-${randomHex(8)}`, library);
    } catch {
      // full, or not there: the next one
    }
  }
  return undefined;
}

async function writeUnnamed(path: string, content: Buffer): Promise<number> {
  const { O_WRONLY, O_RDONLY, O_CREAT, O_EXCL, O_NOFOLLOW } = openFlags;
  const writing = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
  try {
    await writeAll(writing, content);
    return open(`/proc/self/fd/${writing}`, O_RDONLY);
  } finally {
    close(writing);
    unlink(path);
  }
}

/**
 * What the dynamic loader reads.
 * @param descriptor the library's number in rsync
 * @param tree the folder that rsync writes into, by its path without links
 */
export function linkEnvironment(descriptor: number, tree: string): Record<string, string> {
  return { LD_PRELOAD: `/proc/self/fd/${descriptor}`, DIALBACK_TREE: tree };
}
