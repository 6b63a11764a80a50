/**
 * Compares restored files with the snapshot: type, content, mode, owner, times and attributes of each entry. Also
 * compares the snapshot with its manifest, because a restore cannot bring back what the store has lost. Only reads.
 */

import { hash } from 'node:crypto';
import { digestFile } from '../os/content.ts';
import { exists, failedWith, lstat, readlink, statusExact } from '../os/files.ts';
import { hasProgram } from '../os/programs.ts';
import type { EntryType, TreeEntry, Xattr } from './fake-super.ts';
import type { StoredEntry } from './find-records.ts';
import { LostAttributes } from './lost-attributes.ts';
import {
  type ManifestPair,
  manifestOf,
  metadataDifferences,
  pairEntries,
  readManifestPart,
} from './manifest.ts';
import { isUnread, type ManifestEntry } from './mtree.ts';
import { Differences, differencesOf, type Giver, type Restored } from './restore-difference.ts';
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
import { joinPath } from './tree-path.ts';
import { DAMAGED_SHOWN } from './verify-pass.ts';

/** How a stored file can differ from its manifest. */
type StoreDifference = 'missing' | 'type' | 'content' | 'attributes' | 'size' | 'time';

/** The result of a comparison. */
export interface Compared {
  files: number;
  bytes: number;
  /** False if getfattr(1) is missing: without the attributes the true entries are unknown. */
  isCompared: boolean;
  differences: Differences;
  /** False if there is no manifest that can be trusted. */
  isChecked: boolean;
  /** Paths below the tree, one character per byte; at most DAMAGED_SHOWN. */
  damaged: { path: string; difference: StoreDifference }[];
  /** The number of all damaged files. */
  damagedCount: number;
  hasLostAttributes: boolean;
  /** Why the manifest cannot be trusted; undefined if it can. */
  found: string | undefined;
}

/**
 * Compares what lies below `base` with the snapshot, and the snapshot with its manifest.
 * @param base contains the restored entries at their paths below the tree
 * @param options isLenient: skip entries of the store that cannot be read; isMissingReported: missing names have been
 *   reported already
 * @throws Fault when the store cannot be read; the signal's reason
 */
export async function compareRestored(
  selection: Selection,
  base: string,
  giver: Giver,
  options: ComparisonOptions,
): Promise<Compared> {
  const comparison = new RestoreComparison(selection, base, giver, options);
  for (const pass of passesOf(selection)) await comparison.run(pass);
  return comparison.result();
}

interface ComparisonOptions {
  isLenient: boolean;
  isMissingReported: boolean;
  signal: AbortSignal;
}

/** The attributes of a batch's entries. */
interface BatchRead {
  stored: (Xattr[] | undefined)[];
  restored: State[];
}

class RestoreComparison {
  readonly #selection: Selection;
  readonly #base: string;
  readonly #giver: Giver;
  readonly #options: ComparisonOptions;
  readonly #signal: AbortSignal;
  readonly #lost = new LostAttributes();
  readonly #compared: Compared = {
    files: 0,
    bytes: 0,
    isCompared: hasProgram('getfattr'),
    differences: new Differences(),
    isChecked: false,
    damaged: [],
    damagedCount: 0,
    hasLostAttributes: false,
    found: undefined,
  };

  constructor(selection: Selection, base: string, giver: Giver, options: ComparisonOptions) {
    this.#selection = selection;
    this.#base = base;
    this.#giver = giver;
    this.#options = options;
    this.#signal = options.signal;
  }

  /** rsync has reported the skipped entries. */
  get #complain(): (() => void) | undefined {
    return this.#options.isLenient ? () => {} : undefined;
  }

  result(): Compared {
    const { client, snapshot } = this.#selection;
    const { isCompared, found } = this.#compared;
    const isChecked = isCompared && exists(manifestOf(client, snapshot.name)) && found === undefined;
    return { ...this.#compared, isChecked, hasLostAttributes: this.#lost.areLost };
  }

  async run(pass: Pick<TreeOptions, 'paths' | 'depth'>): Promise<void> {
    const { tree } = this.#selection.snapshot;
    const stored = listTree(tree, { ...pass, complain: this.#complain, signal: this.#signal });
    if (!this.#compared.isCompared) {
      for await (const entry of stored) this.#countStored(entry);
      return;
    }
    const pairs = inBatches(pairEntries(this.#manifest(pass), stored), BATCH);
    for await (const { batch, result } of readAhead(pairs, batch => this.#read(batch)))
      await this.#take(batch, result);
  }

  /** The manifest's entries for a pass; none where an earlier pass found that it cannot be trusted. */
  async *#manifest(pass: Pick<TreeOptions, 'paths' | 'depth'>): AsyncGenerator<ManifestEntry> {
    const { client, snapshot } = this.#selection;
    if (this.#compared.found !== undefined) return;
    yield* readManifestPart(client, snapshot.name, pass, this.#signal, found => {
      this.#compared.found = found;
    });
  }

  /** Reads the stored and the restored attributes of the entries that the tree has, in their order. */
  async #read(batch: readonly ManifestPair[]): Promise<BatchRead> {
    const found = batch.flatMap(each => each.found ?? []);
    const { tree } = this.#selection.snapshot;
    const stored = readXattrsOfEach(tree, found, this.#signal);
    const [restored, xattrs] = await Promise.all([readRestored(this.#base, found, this.#signal), stored]);
    return { stored: xattrs, restored };
  }

  async #take(batch: readonly ManifestPair[], { stored, restored }: BatchRead): Promise<void> {
    const { tree } = this.#selection.snapshot;
    for (const { wanted, found } of batch) if (wanted && !found) this.#damage(wanted.path, 'missing');
    const there = batch.filter(
      (each): each is ManifestPair & { found: StoredEntry } => each.found !== undefined,
    );
    const entries = there.map(({ found }, at) => ({
      found,
      entry: entryOf(tree, found, stored[at] ?? [], this.#complain),
    }));
    for (const [at, { found, entry }] of entries.entries()) {
      const wanted = there[at]?.wanted;
      const xattrs = stored[at];
      if (wanted !== undefined && xattrs !== undefined) await this.#checkStore(wanted, found, xattrs);
      if (entry.path.length === 0 && !this.#selection.isWholeMachine) continue;
      this.#count(entry);
      const state = restored[at];
      // The top is DIR itself, which gets its attributes last.
      if (entry.path.length === 0 || state === 'unknown') continue;
      if (state === undefined && this.#options.isMissingReported && entry.device === null) continue;
      this.#compared.differences.add(entry.path, differencesOf(entry, state, this.#giver));
    }
  }

  /** A symlink is stored as a file that holds its target. */
  #countStored({ path, isFolder, size }: StoredEntry): void {
    if (isFolder || (path.length === 0 && !this.#selection.isWholeMachine)) return;
    this.#compared.files += 1;
    this.#compared.bytes += size;
  }

  #count({ type, size }: TreeEntry): void {
    if (type !== 'folder') this.#compared.files += 1;
    if (type === 'file' || type === 'symlink') this.#compared.bytes += size;
  }

  async #checkStore(wanted: ManifestEntry, found: StoredEntry, xattrs: readonly Xattr[]): Promise<void> {
    this.#lost.take(wanted, found, xattrs);
    if ((wanted.type === 'dir') !== found.isFolder) {
      this.#damage(wanted.path, 'type');
      return;
    }
    // The entry could not be read when its manifest was made, so there is no digest to compare with.
    if (isUnread(wanted)) return;
    if (!found.isFolder) await this.#checkContent(wanted, found);
    for (const each of metadataDifferences(wanted, found, xattrs)) this.#damage(wanted.path, each);
  }

  /** Checks the restored content, or the stored one if the restored file is unreadable or has no content of its own. */
  async #checkContent(wanted: ManifestEntry, { path }: StoredEntry): Promise<void> {
    const sha256 = await digestRestored(
      joinPath(this.#base, path),
      joinPath(this.#selection.snapshot.tree, path),
      this.#signal,
    );
    if (sha256 === wanted.sha256 || sha256 === 'special') return;
    this.#damage(wanted.path, sha256 === undefined ? 'missing' : 'content');
  }

  #damage(path: string, difference: StoreDifference): void {
    const { damaged } = this.#compared;
    this.#compared.damagedCount += 1;
    if (damaged.length < DAMAGED_SHOWN) damaged.push({ path, difference });
  }
}

/** @returns undefined if neither can be read; `special` for an entry without content */
async function digestRestored(
  path: Buffer,
  stored: Buffer,
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    const status = lstat(path);
    if (status.isSymbolicLink()) return hash('sha256', readlink(path), 'hex');
    if (!status.isFile()) return 'special';
    return (await digestFile(path, signal)).sha256.toString('hex');
  } catch {
    signal.throwIfAborted();
  }
  // An ordinary user may get a file without the right to read it, and gets no devices. Then read the stored file.
  try {
    return (await digestFile(stored, signal)).sha256.toString('hex');
  } catch {
    signal.throwIfAborted();
    return undefined;
  }
}

/** `unknown`: this account lacks the right to look. */
export type State = Restored | undefined | 'unknown';

/**
 * @param hasAttributes whether getfattr(1) is there to read them
 * @returns the state at the paths of some entries, in their order
 */
export async function readRestored(
  base: string,
  entries: readonly Pick<TreeEntry, 'path'>[],
  signal: AbortSignal,
  hasAttributes = true,
): Promise<State[]> {
  const states = entries.map(({ path }) => readState(joinPath(base, path)));
  if (!hasAttributes) return states;
  const there = entries.filter((_, at) => typeof states[at] === 'object');
  const xattrs = await readXattrsOfEach(base, there, signal, '-');
  let at = 0;
  return states.map(state => (typeof state === 'object' ? { ...state, xattrs: xattrs[at++] } : state));
}

function readState(path: Buffer): State {
  try {
    const found = statusExact(path);
    const type = typeOf(found);
    const isDevice = type === 'char device' || type === 'block device';
    return {
      type,
      mode: Number(found.mode & 0o7777n),
      uid: Number(found.uid),
      gid: Number(found.gid),
      device: isDevice ? deviceOf(found.rdev) : null,
      mtimeNs: found.mtimeNs,
      target: type === 'symlink' ? readlink(path) : null,
      xattrs: undefined,
    };
  } catch (error) {
    if (failedWith(error, 'ENOENT') || failedWith(error, 'ENOTDIR')) return undefined;
    if (failedWith(error, 'EACCES')) return 'unknown'; // the folder was restored without the right to enter it
    throw error;
  }
}

function typeOf(status: ReturnType<typeof statusExact>): EntryType {
  if (status.isFile()) return 'file';
  if (status.isDirectory()) return 'folder';
  if (status.isSymbolicLink()) return 'symlink';
  if (status.isFIFO()) return 'fifo';
  if (status.isSocket()) return 'socket';
  return status.isCharacterDevice() ? 'char device' : 'block device';
}

/** Splits a device number, as gnu_dev_major(3) and gnu_dev_minor(3) do. */
function deviceOf(rdev: bigint): { major: number; minor: number } {
  const major = ((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & ~0xfffn);
  const minor = (rdev & 0xffn) | ((rdev >> 12n) & ~0xffn & 0xffffffffn);
  return { major: Number(major), minor: Number(minor) };
}
