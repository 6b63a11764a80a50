/** The lines of a manifest, from the stored tree and the digests of the index. */
import { digestFile } from '../os/content.ts';
import { jsonName, showName } from '../wire/text.ts';
import type { StoreIndex } from './file-index.ts';
import { formatTime } from './file-time.ts';
import type { StoredEntry } from './find-records.ts';
import type { IndexedFile } from './index-changes.ts';
import { describeEntry } from './manifest.ts';
import { encodeEnd, encodeEntry, MANIFEST_HEAD } from './mtree.ts';
import { inBatches, listTree, readXattrsOfEach } from './stored-tree.ts';
import { joinPath } from './tree-path.ts';

/** A snapshot whose manifest is to be made. The index has it, and the digests of its files. */
export interface DescribedSnapshot {
  name: string;
  tree: string;
  index: StoreIndex;
  /** Receives the entries that cannot be read. */
  unread: Unread;
  signal: AbortSignal;
}

/** Entries that could not be read, for the journal: their number and the first names. */
export class Unread {
  static readonly #SHOWN = 15;
  readonly names: string[] = [];
  count = 0;

  add(path: Buffer): void {
    this.count += 1;
    if (this.names.length < Unread.#SHOWN) this.names.push(showName(jsonName(path)));
  }
}

/** Reads all of a snapshot's tree. @returns the text of the manifest in parts @throws as `listTree` */
export async function* linesOfTree(snapshot: DescribedSnapshot): AsyncGenerator<string> {
  const { name, tree, index, signal } = snapshot;
  yield MANIFEST_HEAD;
  let count = 0;
  using known = new Known(index.files(name));
  for await (const batch of inBatches(listTree(tree, { signal }))) {
    const entries = batch.map(stored => ({
      stored,
      known: stored.isFolder ? undefined : known.find(stored),
    }));
    const lines = await describeEntries(snapshot, entries);
    count += lines.length;
    yield lines.join('');
  }
  yield encodeEnd(count);
}

/** An entry, and the index's file at its path. */
export interface EntryToDescribe {
  stored: StoredEntry;
  known: IndexedFile | undefined;
}

/**
 * Writes the lines of some entries. It reads their attributes, and the content of a file that has no digest in the index.
 * @param entries not many more than BATCH of stored-tree.ts
 * @throws the signal's reason; Fault when a program is missing
 */
export async function describeEntries(
  { tree, unread, signal }: DescribedSnapshot,
  entries: readonly EntryToDescribe[],
): Promise<string[]> {
  const lines: string[] = [];
  const xattrs = await readXattrsOfEach(
    tree,
    entries.map(each => each.stored),
    signal,
  );
  for (const [at, { stored, known }] of entries.entries()) {
    const digest = stored.isFolder ? Buffer.alloc(0) : known && digestFor(stored, known);
    const sha256 = digest ?? (await digestIfReadable(tree, stored.path, signal))?.sha256;
    const own = sha256 && xattrs[at];
    if (own === undefined) unread.add(stored.path);
    lines.push(encodeEntry(describeEntry(stored, own, Buffer.from(sha256 ?? []).toString('hex'))));
  }
  return lines;
}

/** @returns undefined if the index has no digest, or has it of another file */
function digestFor({ inode, size, mtimeNs }: StoredEntry, known: IndexedFile): Uint8Array | undefined {
  const isSame =
    known.inode === BigInt.asIntN(64, inode) && known.size === size && known.mtime === formatTime(mtimeNs);
  return isSame ? known.digest : undefined;
}

/**
 * Reads the SHA-256 of a stored file's content.
 * @returns undefined if it cannot be read
 * @throws the signal's reason
 */
export async function digestIfReadable(
  tree: string,
  path: Buffer,
  signal: AbortSignal,
): Promise<{ sha256: Uint8Array; inode: bigint } | undefined> {
  try {
    return await digestFile(joinPath(tree, path), signal);
  } catch {
    signal.throwIfAborted();
    return undefined;
  }
}

/** Looks up the index's files. The queries must come in the order of the paths. */
class Known implements Disposable {
  readonly #files: Generator<IndexedFile, void>;
  #next: IndexedFile | undefined;

  constructor(files: Generator<IndexedFile, void>) {
    this.#files = files;
    this.#step();
  }

  #step(): void {
    this.#next = this.#files.next().value ?? undefined;
  }

  find({ path }: StoredEntry): IndexedFile | undefined {
    while (this.#next && Buffer.compare(this.#next.path, path) < 0) this.#step();
    return this.#next?.path.equals(path) ? this.#next : undefined;
  }
  /** Ends the query, which would stay open until V8 collects it. */
  [Symbol.dispose](): void {
    this.#files.return();
  }
}
