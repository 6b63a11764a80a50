/**
 * Hard links where the file system refuses more of them. rsync's own links are the library's work (src/launcher/linkat.c);
 * here are those that grab makes itself.
 */
import { Fault } from '../fault.ts';
import { exists, failedWith, fileFault, link, makeBareFolder } from '../os/files.ts';
import { standard } from '../os/process.ts';
import { takeRecords } from '../os/records.ts';

/** Bytes of a name that find(1) prints: PATH_MAX of Linux, and the type in front of it. */
const RECORD_LIMIT = 8 * 1024;
/** What ends it: the store takes nothing more. All else concerns one name, and that name is left out. */
const FATAL = ['ENOSPC', 'EDQUOT', 'EROFS'];
/** find(1) could not read something. */
const COULD_NOT_READ = 1;

/**
 * Links what an interrupted tree has, and a newer one has not, into the newer one. No inode is written to, and no content is
 * copied: a name that cannot be linked or reached is left out, and the next run gets it from the client.
 * @param from the older tree
 * @param to the newer tree
 * @param signal ends it
 * @throws Fault when it did not come to its end
 */
export async function linkMissing(from: string, to: string, signal?: AbortSignal): Promise<void> {
  const tried = `keep "${from}"`;
  // Without the tree itself; a folder comes before what is in it.
  const find = standard('find', [from, '-mindepth', '1', '-printf', '%y%P\\0']);
  const ending = await takeRecords(find, { limit: RECORD_LIMIT, signal }, record => {
    const path = record.subarray(1);
    const target = Buffer.concat([Buffer.from(`${to}/`), path]);
    try {
      if (record[0] === FOLDER) makeBareFolder(target, 0o700);
      else link(Buffer.concat([Buffer.from(`${from}/`), path]), target);
    } catch (error) {
      if (FATAL.some(code => failedWith(error, code))) throw fileFault(error, tried);
    }
  });
  const isDone = ending.status === 0 || (ending.status === COULD_NOT_READ && exists(from));
  if (!isDone) throw new Fault({ tried, found: ending.stderr.trim() || 'find failed' });
}

const FOLDER = 'd'.charCodeAt(0);
