/** Makes the manifests that are missing. This happens after the commit, in a process of its own. */

import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { Fault } from '../fault.ts';
import { digestFile } from '../os/content.ts';
import { cannotWrite } from '../os/database.ts';
import { exists, fileFault, removeFileIfThere } from '../os/files.ts';
import { dropGarbage } from '../os/memory.ts';
import { beIdle } from '../os/priority.ts';
import { replaceFile, settleFile, writingStream } from '../os/replace.ts';
import { takeLock } from '../os/runfolder.ts';
import { jsonName, showName } from '../wire/text.ts';
import { prepareRecheck } from './basis.ts';
import { type IndexedFile, openIndex, type StoreIndex } from './file-index.ts';
import { formatTime } from './file-time.ts';
import type { StoredEntry } from './find-records.ts';
import {
  describeEntry,
  lacksManifest,
  MANIFEST,
  manifestOf,
  readManifest,
  SUMMED,
  SUMS,
} from './manifest.ts';
import { encodeEnd, encodeEntry, isUnread, MANIFEST_HEAD } from './mtree.ts';
import { keepScratchIn } from './scratch.ts';
import { snapshotNames } from './snapshot.ts';
import {
  type ClientStore,
  failureText,
  openClient,
  openStore,
  recordQuietly,
  requireOwner,
} from './store.ts';
import { inBatches, listTree, readXattrsOfEach } from './stored-tree.ts';
import { joinPath } from './tree-path.ts';

/**
 * Runs `dialback manifest`, which grab starts after its client has disconnected. Makes what is missing, with idle
 * priority.
 * @throws Fault when there is no such store or client
 */
export async function describeClient(
  options: { client: string; store: string },
  signal: AbortSignal,
): Promise<void> {
  const { store } = options;
  openStore(store);
  requireOwner(store, 'manifest');
  keepScratchIn(store);
  await beIdle();
  const client = openClient(store, options.client);
  await makeQuietly(client, signal);
  await prepareRecheckQuietly(client, signal);
}

/** Calls `prepareRecheck()`, and writes a failure to the journal. @throws the signal's reason */
export async function prepareRecheckQuietly(client: ClientStore, signal: AbortSignal): Promise<void> {
  try {
    await prepareRecheck(client, signal);
  } catch (error) {
    signal.throwIfAborted();
    // The next run tries again. Until then the record of a run says that its files are not known to be whole.
    recordQuietly(client, 'no-recheck', { reason: failureText(error) });
  }
}

/**
 * Makes the missing manifests, and writes failures to the journal. The next call tries again.
 * @throws the signal's reason
 */
export async function makeQuietly(client: ClientStore, signal: AbortSignal): Promise<void> {
  try {
    const { failed } = await makeManifests(client, signal);
    for (const [snapshot, reason] of failed) recordQuietly(client, 'no-manifest', { snapshot, reason });
  } catch (error) {
    signal.throwIfAborted();
    recordQuietly(client, 'no-manifest', { reason: failureText(error) });
  }
}

/** The result for the manifests that were missing. */
export interface MadeManifests {
  /** The snapshots that now have one. */
  made: string[];
  /** The snapshots without one, each with the reason in words. */
  failed: Map<string, string>;
}

/**
 * Makes the missing manifests, the oldest snapshot's first. A killed call leaves its digests in the index, and the
 * next one continues. A failure for one snapshot does not stop the others.
 * @param waitSeconds how long to wait for another process that does the same; then that process does the work
 * @throws Fault when the store takes no files; the signal's reason
 */
export async function makeManifests(
  client: ClientStore,
  signal: AbortSignal,
  waitSeconds = 0,
): Promise<MadeManifests> {
  const made: string[] = [];
  const failed = new Map<string, string>();
  const isWanted = (name: string): boolean =>
    !exists(manifestOf(client, name)) && !made.includes(name) && !failed.has(name);
  if (!lacksManifest(client)) return { made, failed };
  await using held = new AsyncDisposableStack();
  const lock = await takeLock(held, `${client.folder}/manifest.lock`, waitSeconds);
  if (lock === undefined) return { made, failed };
  const index = await openIndex(held, client, signal);
  await restoreDigests(client, index, signal);
  // Look again each time: a run that ends meanwhile leaves its snapshot to us.
  for (;;) {
    const name = snapshotNames(client).find(isWanted);
    if (name === undefined) return { made, failed };
    await index.update(signal);
    try {
      await makeManifest(client, index, name, signal);
      made.push(name);
    } catch (error) {
      signal.throwIfAborted();
      if (!exists(`${client.folder}/snapshots/${name}`)) continue; // the snapshot was removed meanwhile
      // If the store takes no files, the other snapshots fail too.
      if (cannotWrite(error)) throw error;
      failed.set(name, failureText(error));
    }
  }
}

/**
 * Copies digests from the manifests into an index that was made again. Reading the files instead would accept content
 * that has changed since.
 */
async function restoreDigests(client: ClientStore, index: StoreIndex, signal: AbortSignal): Promise<void> {
  const described = snapshotNames(client).filter(each => exists(manifestOf(client, each)));
  const newest = described.at(-1);
  if (newest === undefined || index.withoutDigest(newest, 1).length === 0) return;
  for (const name of described) {
    if (index.withoutDigest(name, 1).length === 0) continue;
    try {
      for await (const batch of inBatches(readManifest(client, name, signal))) {
        const files = batch.filter(each => each.type === 'file' && !isUnread(each));
        index.adoptDigests(
          name,
          files.map(({ path, size, mtimeNs, sha256 }) => ({
            path: Buffer.from(path, 'latin1'),
            size,
            mtime: formatTime(mtimeNs),
            sha256: Buffer.from(sha256, 'hex'),
          })),
        );
      }
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof Fault)) throw error; // `verify` reports a damaged manifest
    }
  }
}

/** Files whose digests are kept in memory; a kill loses this many. */
const NOTED = 500;

async function makeManifest(
  client: ClientStore,
  index: StoreIndex,
  name: string,
  signal: AbortSignal,
): Promise<void> {
  const folder = `${client.folder}/snapshots/${name}`;
  const fresh = `${folder}/${MANIFEST}.new`;
  try {
    await readContents(`${folder}/tree`, index, name, signal);
    const unread = new Unread();
    const lines = () => linesOf(`${folder}/tree`, index, name, { signal, unread });
    // pipeline() gets a function, so that it does not read the tree if the file cannot be made.
    await pipeline(lines, createGzip(), writingStream(fresh), { signal });
    const sums: string[] = [];
    for (const each of SUMMED) {
      const path = each === MANIFEST ? fresh : `${folder}/${each}`;
      if (!exists(path)) continue;
      sums.push(`${(await digestFile(path, signal)).sha256.toString('hex')}  ${each}\n`);
    }
    replaceFile(`${folder}/${SUMS}`, sums.join(''));
    settleFile(fresh, `${folder}/${MANIFEST}`);
    if (unread.count > 0)
      recordQuietly(client, 'unread', { snapshot: name, files: unread.count, names: unread.names });
  } catch (error) {
    removeFileIfThere(fresh);
    signal.throwIfAborted();
    throw error instanceof Fault ? error : fileFault(error, `make the manifest of "${client.name}@${name}"`);
  }
}

/** Entries that could not be read, for the journal: their number and the first names. */
class Unread {
  static readonly #SHOWN = 15;
  readonly names: string[] = [];
  count = 0;

  add(path: Buffer): void {
    this.count += 1;
    if (this.names.length < Unread.#SHOWN) this.names.push(showName(jsonName(path)));
  }
}

/**
 * Reads the SHA-256 of a stored file's content.
 * @returns undefined if it cannot be read
 * @throws the signal's reason
 */
async function digestIfReadable(
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

/** Reads the files that have no digest yet. */
async function readContents(
  tree: string,
  index: StoreIndex,
  name: string,
  signal: AbortSignal,
): Promise<void> {
  let last: bigint | undefined;
  for (;;) {
    const files = index.withoutDigest(name, NOTED, last);
    if (files.length === 0) return;
    last = files.at(-1)?.inode;
    const digests: [bigint, Uint8Array][] = [];
    for (const { path, inode } of files) {
      const found = await digestIfReadable(tree, path, signal);
      if (found && BigInt.asIntN(64, found.inode) === inode) digests.push([inode, found.sha256]);
    }
    // A path whose inode is not the index's was changed by hand; linesOf() reads it instead. If the snapshot was
    // removed meanwhile, other files may have its inodes by now.
    if (!exists(tree)) return;
    index.setDigests(digests);
    dropGarbage();
  }
}

async function* linesOf(
  tree: string,
  index: StoreIndex,
  name: string,
  { signal, unread }: { signal: AbortSignal; unread: Unread },
): AsyncGenerator<string> {
  yield MANIFEST_HEAD;
  let count = 0;
  const known = new Known(index.files(name));
  for await (const batch of inBatches(listTree(tree, { signal }))) {
    const xattrs = await readXattrsOfEach(tree, batch, signal);
    const lines: string[] = [];
    for (const [at, stored] of batch.entries()) {
      const digest = stored.isFolder ? Buffer.alloc(0) : known.digestOf(stored);
      const sha256 = digest ?? (await digestIfReadable(tree, stored.path, signal))?.sha256;
      const own = sha256 && xattrs[at];
      if (own === undefined) unread.add(stored.path);
      lines.push(encodeEntry(describeEntry(stored, own, Buffer.from(sha256 ?? []).toString('hex'))));
    }
    count += lines.length;
    yield lines.join('');
  }
  yield encodeEnd(count);
}

/** Looks up the index's digests. The queries must come in the order of the paths. */
class Known {
  readonly #files: Iterator<IndexedFile>;
  #next: IndexedFile | undefined;

  constructor(files: Iterator<IndexedFile>) {
    this.#files = files;
    this.#step();
  }

  #step(): void {
    const { done, value } = this.#files.next();
    this.#next = done ? undefined : value;
  }

  /** @returns undefined if the index has none, or has it of another file */
  digestOf({ path, inode, size, mtimeNs }: StoredEntry): Uint8Array | undefined {
    while (this.#next && Buffer.compare(this.#next.path, path) < 0) this.#step();
    const file = this.#next;
    if (!file?.path.equals(path)) return undefined;
    const isSame =
      file.inode === BigInt.asIntN(64, inode) && file.size === size && file.mtime === formatTime(mtimeNs);
    return isSame ? file.digest : undefined;
  }
}
