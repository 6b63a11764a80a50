/** Lists a tree that will be adopted, beside the one that was adopted before it. */

import type { StoredEntry } from './find-records.ts';
import { pairSorted } from './pairs.ts';
import { listTree } from './stored-tree.ts';

/** A tree compared with an older one. */
export interface TreeComparison {
  /** The entries that are no folders. */
  files: number;
  /** The bytes of the files that the older tree does not share; more than the true number if it has hard links beyond `MOST_LINKED`. */
  newBytes: number;
  /**
   * The files that are another inode than in the older tree, and have the same size and time. rsync would take them for unchanged,
   * and they may have other content.
   */
  doubtful: Buffer[];
}

/** Inodes with several names that are remembered, so that their bytes count once. */
const MOST_LINKED = 1_000_000;

/**
 * Compares two trees by their inodes, without a look at contents.
 * @param older undefined if there is none
 * @throws Fault if an entry cannot be read; the signal's reason
 */
export async function compareTrees(
  tree: string,
  older: string | undefined,
  signal: AbortSignal,
): Promise<TreeComparison> {
  const result: TreeComparison = { files: 0, newBytes: 0, doubtful: [] };
  const linked = new Set<bigint>();
  const olders = older === undefined ? nothing() : listTree(older, { signal });
  const pairs = pairSorted(listTree(tree, { signal }), olders, (one, other) =>
    Buffer.compare(one.path, other.path),
  );
  for await (const { one, other } of pairs) {
    if (one === undefined || one.isFolder) continue;
    result.files += 1;
    if (other?.inode === one.inode) continue;
    if (other !== undefined && isAlike(one, other)) result.doubtful.push(one.path);
    if (one.links > 1 && linked.has(one.inode)) continue;
    if (one.links > 1 && linked.size < MOST_LINKED) linked.add(one.inode);
    result.newBytes += one.size;
  }
  return result;
}

async function* nothing(): AsyncGenerator<StoredEntry> {}

function isAlike(one: StoredEntry, other: StoredEntry): boolean {
  return !other.isFolder && one.size === other.size && one.mtimeNs === other.mtimeNs;
}
