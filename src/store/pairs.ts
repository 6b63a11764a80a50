/** A snapshot's manifest and its tree side by side: two lists in the order of the paths. */
import type { StoredEntry } from './fake-super.ts';
import type { ManifestEntry } from './mtree.ts';

/** One path: what the manifest says of it, and what the tree has. One of the two is there at least. */
export interface Pair {
  wanted: ManifestEntry | undefined;
  found: StoredEntry | undefined;
}

/** @param entries of `readManifest` @param stored of `listTree` @returns one pair for each path that either has */
export async function* pairEntries(
  entries: AsyncGenerator<ManifestEntry>,
  stored: AsyncGenerator<StoredEntry>,
): AsyncGenerator<Pair> {
  try {
    let [entry, there] = [await entries.next(), await stored.next()];
    while (!entry.done || !there.done) {
      const wanted = entry.done ? undefined : entry.value;
      const found = there.done ? undefined : there.value;
      const path = found?.path.toString('latin1');
      const isFound = path !== undefined && (wanted === undefined || path <= wanted.path);
      const isWanted = wanted !== undefined && (path === undefined || wanted.path <= path);
      yield { wanted: isWanted ? wanted : undefined, found: isFound ? found : undefined };
      if (isWanted) entry = await entries.next();
      if (isFound) there = await stored.next();
    }
  } finally {
    await Promise.all([entries.return(undefined), stored.return(undefined)]);
  }
}
