/**
 * Hard links where the file system refuses more of them. rsync's own links are the library's work (src/launcher/linkat.c);
 * here are those that grab makes itself.
 */

import { failedWith, fileFault, link, makeBareFolder } from '../os/files.ts';
import { searchTree } from './find-records.ts';
import { joinPath } from './tree-path.ts';

/** What ends it: the store takes nothing more. All else concerns one name, and that name is left out. */
const FATAL = ['ENOSPC', 'EDQUOT', 'EROFS'];

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
  const search = { tests: ['-mindepth', '1'], fields: ['%y'], allowsUnreadable: true, tried, signal };
  await searchTree(from, search, ([type], path) => {
    const target = joinPath(to, path);
    try {
      if (type === 'd') makeBareFolder(target, 0o700);
      else link(joinPath(from, path), target);
    } catch (error) {
      if (FATAL.some(code => failedWith(error, code))) throw fileFault(error, tried);
    }
  });
}
