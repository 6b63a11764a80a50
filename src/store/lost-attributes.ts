/**
 * Detects a store that was copied without its extended attributes. They hold the types, owners and modes of all
 * files. A tree that lost them looks like a tree that never had any; only the manifests show the difference.
 */
import { exists, lstat } from '../os/files.ts';
import { hasProgram } from '../os/programs.ts';
import type { Xattr } from './fake-super.ts';
import type { StoredEntry } from './find-records.ts';
import { attributesDigest, DamagedManifest, manifestOf, readManifest } from './manifest.ts';
import type { ManifestEntry } from './mtree.ts';
import { snapshotNames } from './snapshot.ts';
import type { ClientStore } from './store.ts';
import { readXattrsOfEach } from './stored-tree.ts';
import { joinPath } from './tree-path.ts';

/** The problem, for a message. */
export const LOST_ATTRIBUTES =
  'its files have lost their extended attributes: owners, modes, links and devices. The store was copied without them';

/**
 * The next step: the original store still has the attributes. rsync copies attributes with its own prefix only with
 * -X twice.
 */
export const COPY_AGAIN =
  'copy the store again from where it was, with its attributes: rsync -aHAXXS --numeric-ids OLD/ NEW/';

/** The digest of an entry without attributes. Computed at first use, because node:crypto takes time to load. */
let none: string | undefined;
function isBare({ xattrs }: Pick<ManifestEntry, 'xattrs'>): boolean {
  none ??= attributesDigest([]);
  return xattrs === none;
}

/** The parts of a manifest's line that say what attributes the entry should have. */
type Expected = Pick<ManifestEntry, 'xattrs' | 'uid' | 'gid' | 'mode'>;

/** The stored file's own owner and mode. */
type StoredOwner = Pick<StoredEntry, 'uid' | 'gid' | 'mode'>;

/** Entries without their attributes that show a wrong copy, however many have theirs. */
const MANY = 20;

/** Counts the entries that should have attributes, and those of them that have none. */
export class LostAttributes {
  #expected = 0;
  #bare = 0;

  /**
   * @param wanted of the manifest
   * @param found the entry as it is stored now; undefined if it cannot be read
   * @param xattrs the entry's own now
   */
  take(wanted: Expected, found: StoredOwner | undefined, xattrs: readonly Xattr[]): void {
    if (isBare(wanted)) return;
    this.#expected += 1;
    if (found === undefined || xattrs.length > 0) return;
    // In a copy of the store that belongs to another account, the stored file itself can have the right owner.
    const isTrue = found.uid === wanted.uid && found.gid === wanted.gid && found.mode === wanted.mode;
    if (!isTrue) this.#bare += 1;
  }

  get expected(): number {
    return this.#expected;
  }

  /** Whether every such entry has lost its attributes, or so many that this is no accident of single files. */
  get areLost(): boolean {
    return this.#bare > 0 && (this.#bare === this.#expected || this.#bare >= MANY);
  }
}

/** Entries to check: enough to tell an accident from one changed file, and few enough for `status`. */
const LOOKED_AT = 20;
/**
 * Entries of a manifest to read for that. If the client's files belong to the store's own account, few have
 * attributes.
 */
const SEARCHED = 5_000;

/**
 * Checks a few entries of a client's oldest and newest snapshots that have a manifest.
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

/**
 * Whether the first entries of a snapshot have lost their attributes. Returns false without a manifest or
 * getfattr(1).
 */
export async function hasLostAttributes(
  client: ClientStore,
  name: string,
  signal: AbortSignal,
): Promise<boolean> {
  // `doctor` reports a missing program.
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
    return false; // `verify` reports it
  }
  const tree = `${client.folder}/snapshots/${name}/tree`;
  const paths = entries.map(({ path }) => ({ path: Buffer.from(path, 'latin1') }));
  const found = await readXattrsOfEach(tree, paths, signal);
  const lost = new LostAttributes();
  for (const [at, entry] of entries.entries()) {
    const stored =
      found[at] === undefined ? undefined : ownerOf(joinPath(tree, Buffer.from(entry.path, 'latin1')));
    lost.take(entry, stored, found[at] ?? []);
  }
  return lost.areLost;
}

/** @returns undefined for an entry that is missing or cannot be read; that is another problem */
function ownerOf(path: Buffer): StoredOwner | undefined {
  try {
    const { uid, gid, mode } = lstat(path);
    return { uid, gid, mode: mode & 0o7777 };
  } catch {
    return undefined;
  }
}
