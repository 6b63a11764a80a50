/**
 * The library that lets rsync go on where the file system refuses a hard link inside a group (src/launcher/linkat.c). The
 * executable carries it, compiled. Confined, the launcher has its own copy and gives that to rsync; this is for the rest.
 */
import { close, open, openFlags, readProc, removeFile, writeAll } from './files.ts';
import { randomHex } from './machine.ts';
import { mountOf, parseMountTable } from './mounts.ts';

/** The library in base64; empty where the build had no compiler. */
declare const DIALBACK_LINKAT: string | undefined;

/** Whether this executable was built with the library. */
export function hasLinkLibrary(): boolean {
  return typeof DIALBACK_LINKAT === 'string' && DIALBACK_LINKAT !== '';
}

/** What the library writes to standard error for each inode that it has made (COPIED in linkat.c). */
export const NEW_INODE = 'dialback-linkat: new inode';

/** Where the file can be for as long as it takes to open it. The dynamic loader maps it as code. */
const FOLDERS = ['/dev/shm', '/tmp', '/var/tmp'];

/**
 * Opens the library for reading; it has no name any more by then.
 * @returns a descriptor to hand to rsync, which the caller closes; undefined where there is no library, or no place for it
 */
export async function openLinkLibrary(): Promise<number | undefined> {
  if (!hasLinkLibrary()) return undefined;
  const library = Buffer.from(DIALBACK_LINKAT ?? '', 'base64');
  const table = parseMountTable(readProc('self/mountinfo') ?? '');
  const folders = FOLDERS.filter(folder => !mountOf(table, folder)?.options.includes('noexec'));
  for (const folder of folders) {
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
    removeFile(path);
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
