import { failedWith, fileFault, link, makeBareFolder } from '../os/files.ts';

import { searchTree } from './find-records.ts';
import { joinPath } from './tree-path.ts';

const FATAL = ['ENOSPC', 'EDQUOT', 'EROFS'];

/**
 * Whether an error stops the work, because the store takes no more files. Any other error concerns one name, which is
 * left out.
 */
export function isFatal(error: unknown): boolean {
  return FATAL.some(code => failedWith(error, code));
}

/**
 * Links the names that only the older tree has into the newer one. Writes to no inode and copies no content. A name
 * that cannot be linked or reached is left out, and the next run gets it from the client.
 * @param from the older tree
 * @param to the newer tree
 * @param signal stops it
 * @throws Fault when it could not finish
 */
export async function linkMissing(from: string, to: string, signal?: AbortSignal): Promise<void> {
  const tried = `keep "${from}"`;
  // Leave out the tree itself. find lists a folder before its entries.
  const search = { tests: ['-mindepth', '1'], fields: ['%y'], allowsUnreadable: true, tried, signal };
  await searchTree(from, search, ([type], path) => {
    const target = joinPath(to, path);
    try {
      if (type === 'd') makeBareFolder(target, 0o700);
      else link(joinPath(from, path), target);
    } catch (error) {
      if (isFatal(error)) throw fileFault(error, tried);
    }
  });
}
