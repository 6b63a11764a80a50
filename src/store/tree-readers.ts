/**
 * The other way to read a stored tree: without programs, for a process in a jail that cannot execute any (`dialback web`).
 * stored-tree.ts and archive-list.ts use it where it is set.
 */
import type { ListedEntry } from './archive-list.ts';
import type { Xattr } from './fake-super.ts';
import type { StoredEntry } from './find-records.ts';
import type { Complain } from './sorted-find.ts';
import type { TreeOptions } from './stored-tree.ts';

/** The functions that replace those with programs. */
export interface TreeReaders {
  /** As `listTree`. */
  list: (tree: string, options: TreeOptions) => AsyncIterable<StoredEntry>;
  /** As `listForArchive`. */
  listForArchive: (
    tree: string,
    passes: readonly Pick<TreeOptions, 'paths' | 'depth'>[],
    options: { complain: Complain; signal: AbortSignal },
  ) => AsyncIterable<ListedEntry>;
  /** The attributes of an entry by its absolute path; undefined if it is gone or cannot be read. */
  readXattrs: (path: Buffer) => Promise<Xattr[] | undefined>;
}

let chosen: TreeReaders | undefined;

/** Reads trees by these functions from now on, in this process. */
export function readTreesBy(readers: TreeReaders): void {
  chosen = readers;
}

/** @returns undefined where programs read trees */
export function treeReaders(): TreeReaders | undefined {
  return chosen;
}
