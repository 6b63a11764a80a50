/**
 * Makes a manifest from the one of an older snapshot, so that the work depends on the number of changes.
 *
 * A line is copied if both snapshots have the same file at its path: the same inode, which has kept its size and time (index-update.ts
 * compares them). rsync, and the search for moved files, link an inode only if content and attributes are the client's.
 * dialback changes no file of a finished snapshot. The line tells what was stored when the inode came. If the file has been damaged
 * since, `verify` finds a difference in both snapshots. Reading its attributes again could accept the damage.
 *
 * Folders are new in each snapshot, so this reads all of them. It also reads files with another inode or a new path.
 */
import type { StoredEntry } from './find-records.ts';
import type { ChangedPath, SnapshotChanges } from './index-changes.ts';
import { changedRecords, MANIFEST, readManifestLines, SUMS } from './manifest.ts';
import { type DescribedSnapshot, describeEntries, type EntryToDescribe } from './manifest-lines.ts';
import { encodeEnd, headOf, MANIFEST_HEAD } from './mtree.ts';
import type { ClientStore } from './store.ts';
import { storedEntry } from './stored-entry.ts';
import { inBatches } from './stored-tree.ts';

/** The older manifest, the index and the tree do not agree, or an entry could not be read before. Then the whole tree must be read. */
export class NotDerivable extends Error {}

/** Whether a manifest is as it was written. @throws the signal's reason */
export async function isManifestWhole(
  client: ClientStore,
  snapshot: string,
  signal: AbortSignal,
): Promise<boolean> {
  const changed = await changedRecords(client, snapshot, signal);
  return !changed.includes(MANIFEST) && !changed.includes(SUMS);
}

/** A line to write at a path, without its newline; without a line, the path has no entry any more. */
interface NewLine {
  /** One character (latin1) per byte. */
  path: string;
  line: string | undefined;
  isFolder: boolean;
}

/** The manifest of a snapshot, made of the lines of an older one and of new lines. */
export class DerivedManifest {
  readonly #client: ClientStore;
  readonly #changes: SnapshotChanges;
  readonly #snapshot: DescribedSnapshot;
  readonly #news: AsyncGenerator<NewLine, void>;
  #next: NewLine | undefined;
  #entries = 0;
  #files = 0;
  /** The lines at the beginning of the older manifest that stay as they are. */
  #sameLines = 0;
  #isSame = true;

  /** @param changes from an older snapshot whose manifest is whole */
  constructor(client: ClientStore, changes: SnapshotChanges, snapshot: DescribedSnapshot) {
    this.#client = client;
    this.#changes = changes;
    this.#snapshot = snapshot;
    this.#news = newLines(changes, snapshot);
  }

  /** Whether the text is that of the older manifest; then `text()` has returned nothing. Known when `text()` has ended. */
  get isSame(): boolean {
    return this.#isSame;
  }

  /**
   * Makes the text.
   * @returns its parts
   * @throws NotDerivable, DamagedManifest; Fault when a program is missing; the signal's reason
   */
  async *text(): AsyncGenerator<string> {
    try {
      await this.#step();
      for await (const read of this.#olderLines()) yield* this.#write(await this.#merge(read));
      const rest: string[] = [];
      await this.#takeBefore(undefined, rest);
      yield* this.#write(rest);
      if (this.#files !== this.#changes.countFiles()) throw new NotDerivable();
      if (!this.#isSame) yield encodeEnd(this.#entries);
    } finally {
      await this.#news.return();
    }
  }

  #olderLines(): AsyncGenerator<string[]> {
    return readManifestLines(this.#client, this.#changes.older, this.#snapshot.signal);
  }

  async #step(): Promise<void> {
    this.#next = (await this.#news.next()).value ?? undefined;
  }

  /**
   * Merges lines of the older manifest with the new ones.
   * @returns nothing while all lines are those of the older manifest
   */
  async #merge(read: readonly string[]): Promise<string[]> {
    const lines: string[] = [];
    let isSame = this.#isSame;
    for (const old of read) {
      const head = headOf(old);
      if (head === undefined) continue;
      if (this.#next && this.#next.path < head.path) {
        await this.#takeBefore(head.path, lines);
        isSame = false;
      }
      if (this.#next?.path === head.path) {
        isSame &&= this.#next.line === old;
        this.#append(this.#next, lines);
        await this.#step();
      } else if (head.isFolder) isSame = false;
      else if (head.isUnread) throw new NotDerivable();
      else this.#append({ path: head.path, line: old, isFolder: false }, lines);
    }
    if (!isSame) return lines;
    this.#sameLines += lines.length;
    return [];
  }

  /** Takes the new lines in front of a path, or all that are left. */
  async #takeBefore(path: string | undefined, lines: string[]): Promise<void> {
    for (let next = this.#next; next && (path === undefined || next.path < path); next = this.#next) {
      this.#append(next, lines);
      await this.#step();
    }
  }

  #append({ line, isFolder }: NewLine, lines: string[]): void {
    if (line === undefined) return;
    lines.push(line);
    this.#entries += 1;
    if (!isFolder) this.#files += 1;
  }

  /** Returns lines as text. In front of the first ones it repeats those that the older manifest has in front of them. */
  async *#write(lines: readonly string[]): AsyncGenerator<string> {
    if (lines.length === 0) return;
    if (this.#isSame) yield* this.#sameText();
    this.#isSame = false;
    yield `${lines.join('\n')}\n`;
  }

  async *#sameText(): AsyncGenerator<string> {
    yield MANIFEST_HEAD;
    let left = this.#sameLines;
    for await (const read of this.#olderLines()) {
      if (left === 0) return;
      const lines = read.filter(each => !each.startsWith('#')).slice(0, left);
      left -= lines.length;
      if (lines.length > 0) yield `${lines.join('\n')}\n`;
    }
  }
}

/** Lists all folders, new and changed files, and files that are gone, in the order of the paths. */
async function* newLines(
  changes: SnapshotChanges,
  snapshot: DescribedSnapshot,
): AsyncGenerator<NewLine, void> {
  for await (const batch of inBatches(changes.paths())) {
    const wanted = batch.map(each => entryOf(snapshot.tree, each));
    const entries = wanted.flatMap(each => each ?? []);
    const lines = (await describeEntries(snapshot, entries)).values();
    for (const [at, { path }] of batch.entries()) {
      const entry = wanted[at];
      const line = entry && lines.next().value?.slice(0, -1);
      yield { path: path.toString('latin1'), line, isFolder: entry?.stored.isFolder ?? false };
    }
  }
}

/** @returns undefined for a path without an entry @throws NotDerivable */
function entryOf(tree: string, { path, now }: ChangedPath): EntryToDescribe | undefined {
  if (now === 'gone') return undefined;
  let stored: StoredEntry;
  try {
    stored = storedEntry(tree, path);
  } catch {
    throw new NotDerivable();
  }
  if (stored.isFolder !== (now === 'folder')) throw new NotDerivable();
  return { stored, known: now === 'folder' ? undefined : now };
}
