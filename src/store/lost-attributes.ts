/**
 * A store that was copied without its extended attributes. Types, owners and modes of all files are in them, and a tree
 * without them looks like a tree that never had any: only the manifests tell.
 */
import { exists } from '../os/files.ts';
import { hasProgram } from '../os/programs.ts';
import { readXattrsOfEach, type StoredEntry, type Xattr } from './fake-super.ts';
import { attributesDigest, DamagedManifest, manifestOf, readManifest } from './manifest.ts';
import type { ManifestEntry } from './mtree.ts';
import { type ClientStore, snapshotNames } from './store.ts';

export const LOST_ATTRIBUTES =
  'its files have lost their extended attributes: owners, modes, links and devices. The store was copied without them';

/** What repairs it: the copy lacks what the original still has. rsync copies attributes of its own names only with -X twice. */
export const COPY_AGAIN =
  'copy the store again from where it was, with its attributes: rsync -aHAXXS --numeric-ids OLD/ NEW/';

/** Of an entry without any; made when it is needed, since each start of the program would load node:crypto for it. */
let none: string | undefined;
function isBare({ xattrs }: Pick<ManifestEntry, 'xattrs'>): boolean {
  none ??= attributesDigest([]);
  return xattrs === none;
}

/** Counts the entries that should have attributes, and those of them that have none at all. */
export class LostAttributes {
  #expected = 0;
  #bare = 0;

  /** @param xattrs what the entry has now */
  take(wanted: Pick<ManifestEntry, 'xattrs'>, xattrs: readonly Xattr[]): void {
    if (isBare(wanted)) return;
    this.#expected += 1;
    if (xattrs.length === 0) this.#bare += 1;
  }

  get expected(): number {
    return this.#expected;
  }

  /** Whether none of them has any. */
  get areLost(): boolean {
    return this.#expected > 0 && this.#bare === this.#expected;
  }
}

/** Entries that are looked at: enough to tell an accident from one changed file, and few enough for `status`. */
const LOOKED_AT = 20;
/** Entries of a manifest that are read for these. A client that is the store's own account has few with attributes. */
const SEARCHED = 5_000;

/**
 * Looks at a few entries of a client's oldest and newest snapshots that have a manifest.
 * @returns the snapshots whose entries have lost their attributes
 */
export async function snapshotsWithoutAttributes(
  client: ClientStore,
  signal: AbortSignal,
): Promise<string[]> {
  const names = snapshotNames(client).filter(name => exists(manifestOf(client, name)));
  const ends = [...new Set([names[0], names.at(-1)])].filter(name => name !== undefined);
  const lost: string[] = [];
  for (const name of ends) if (await hasLostAttributes(client, name, signal)) lost.push(name);
  return lost;
}

/** Whether a snapshot's first entries with attributes have lost them; false where there is no manifest to go by, or no getfattr(1). */
export async function hasLostAttributes(
  client: ClientStore,
  name: string,
  signal: AbortSignal,
): Promise<boolean> {
  // Without getfattr(1) it cannot be known; `doctor` names a program that is missing.
  if (!exists(manifestOf(client, name)) || !hasProgram('getfattr')) return false;
  const entries: ManifestEntry[] = [];
  let searched = 0;
  try {
    for await (const entry of readManifest(client, name, signal)) {
      if (!isBare(entry)) entries.push(entry);
      searched += 1;
      if (entries.length === LOOKED_AT || searched === SEARCHED) break;
    }
  } catch (error) {
    if (!(error instanceof DamagedManifest)) throw error;
    return false; // `verify` names it
  }
  const tree = `${client.folder}/snapshots/${name}/tree`;
  const paths: Pick<StoredEntry, 'path'>[] = entries.map(({ path }) => ({
    path: Buffer.from(path, 'latin1'),
  }));
  const found = await readXattrsOfEach(tree, paths, signal);
  const lost = new LostAttributes();
  // One that is missing or cannot be read has not lost its attributes alone.
  for (const [at, entry] of entries.entries()) lost.take(entry, found[at] ?? [UNREADABLE]);
  return lost.areLost;
}

const UNREADABLE: Xattr = { name: Buffer.alloc(0), value: Buffer.alloc(0) };
