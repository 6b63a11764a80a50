/** The entries of an offer, as they were on the client, with the digests of the manifest. Only reads. */

import { jsonPath } from '../os/byte-path.ts';
import type { OfferedEntry } from '../wire/fetch.ts';
import { jsonName } from '../wire/text.ts';
import type { TreeEntry, Xattr } from './fake-super.ts';
import type { StoredEntry } from './find-records.ts';
import { type ManifestPair, metadataDifferences, pairEntries, readManifestPart } from './manifest.ts';
import { isUnread, type ManifestEntry } from './mtree.ts';
import { passesOf, type Selection } from './restore-selection.ts';
import {
  BATCH,
  entryOf,
  inBatches,
  listTree,
  readAhead,
  readXattrsOfEach,
  type TreeOptions,
} from './stored-tree.ts';

/** The errors of a reading; filled while the entries are read. */
export interface EntryProblems {
  /** Why the manifest cannot be trusted. From there on entries have no digest. */
  manifest: string | undefined;
  /** The first entry that cannot be read, as text. */
  unreadable: string | undefined;
}

/**
 * Reads the entries of a selection, the folders above its paths first.
 * @throws Fault when the tree cannot be read; the signal's reason
 */
export async function* offeredEntries(
  selection: Selection,
  problems: EntryProblems,
  signal: AbortSignal,
): AsyncGenerator<OfferedEntry> {
  const { tree } = selection.snapshot;
  const complain = (text: string): void => {
    problems.unreadable ??= text;
  };
  for (const pass of passesOf(selection)) {
    const stored = listTree(tree, { ...pass, complain, signal });
    const pairs = pairEntries(manifestEntries(selection, pass, problems, signal), stored);
    const read = async (batch: readonly ManifestPair[]): Promise<(Xattr[] | undefined)[]> =>
      await readXattrsOfEach(
        tree,
        batch.flatMap(({ found }) => found ?? []),
        signal,
      );
    for await (const { batch, result } of readAhead(inBatches(pairs, BATCH), read))
      for (const entry of describeBatch(tree, batch, result, complain))
        if (entry.path !== '' || selection.isWholeMachine) yield entry;
  }
}

/** The manifest's entries for a pass; none where an earlier pass found that it cannot be trusted. */
async function* manifestEntries(
  { client, snapshot }: Selection,
  pass: Pick<TreeOptions, 'paths' | 'depth'>,
  problems: EntryProblems,
  signal: AbortSignal,
): AsyncGenerator<ManifestEntry> {
  if (problems.manifest !== undefined) return;
  yield* readManifestPart(client, snapshot.name, pass, signal, found => {
    problems.manifest = found;
  });
}

/** @param xattrs of the entries that were found, in their order */
function describeBatch(
  tree: string,
  batch: readonly ManifestPair[],
  xattrs: readonly (Xattr[] | undefined)[],
  complain: (text: string) => void,
): OfferedEntry[] {
  let at = 0;
  return batch.map(({ wanted, found }) => {
    if (found === undefined) return missingEntry(wanted as ManifestEntry);
    const own = xattrs[at++];
    if (own === undefined) complain(`the attributes of "${found.path.toString('latin1')}" cannot be read`);
    return toOffered(entryOf(tree, found, own ?? [], complain), wanted, damageOf(wanted, found, own));
  });
}

function damageOf(
  wanted: ManifestEntry | undefined,
  found: StoredEntry,
  xattrs: readonly Xattr[] | undefined,
): OfferedEntry['damage'] {
  if (wanted === undefined || isUnread(wanted)) return null;
  if ((wanted.type === 'dir') !== found.isFolder) return 'type';
  return metadataDifferences(wanted, found, xattrs)[0] ?? null;
}

function toOffered(
  entry: TreeEntry,
  wanted: ManifestEntry | undefined,
  damage: OfferedEntry['damage'],
): OfferedEntry {
  const hasContent = entry.type === 'file' || entry.type === 'symlink';
  return {
    path: jsonName(entry.path),
    type: entry.type,
    mode: entry.mode,
    uid: entry.uid,
    gid: entry.gid,
    size: hasContent ? entry.size : 0,
    mtime: String(entry.mtimeNs),
    device: entry.device === null ? null : [entry.device.major, entry.device.minor],
    target: entry.target === null ? null : jsonName(entry.target),
    acl: entry.acl,
    xattrs: entry.xattrs.map(({ name, value }) => [jsonName(name), value.toString('base64')]),
    sha256: hasContent && wanted !== undefined && wanted.sha256 !== '' ? wanted.sha256 : null,
    damage,
  };
}

function missingEntry({ path, type, mode, uid, gid, size, mtimeNs }: ManifestEntry): OfferedEntry {
  return {
    path: jsonPath(path),
    type: type === 'dir' ? 'folder' : 'file',
    mode,
    uid,
    gid,
    size,
    mtime: String(mtimeNs),
    device: null,
    target: null,
    acl: null,
    xattrs: [],
    sha256: null,
    damage: 'missing',
  };
}
