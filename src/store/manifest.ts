/**
 * A snapshot's manifest, snapshots/SNAPSHOT/manifest.mtree.gz: what each of its files and folders is (mtree.ts), so that
 * it can be found out later whether they still are (verify.ts).
 *
 * It is made after the commit, in nobody's run. A file that an older snapshot shares is not read again: its digest is in
 * the index since it was first read, and so is compared, ever after, with what it was then. Beside the manifest lies
 * `sha256sums`, as sha256sum(1) takes it: of the manifest, the record and the exclude list.
 */
import { createHash } from 'node:crypto';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createGzip } from 'node:zlib';
import { Fault, type Parsed } from '../fault.ts';
import { digestFile, readingStream, readWhole } from '../os/content.ts';
import { cannotWrite } from '../os/database.ts';
import { exists, fileFault, removeFileIfThere, whatFailed } from '../os/files.ts';
import { dropGarbage } from '../os/memory.ts';
import { beIdle } from '../os/priority.ts';
import { replaceFile, settleFile, writingStream } from '../os/replace.ts';
import { takeLock } from '../os/runfolder.ts';
import { escapeText, jsonName, showName } from '../wire/text.ts';
import { BATCH, listTree, readXattrsOfEach, type StoredEntry, truthOf, type Xattr } from './fake-super.ts';
import { type IndexedFile, openIndex, type StoreIndex } from './file-index.ts';
import {
  encodeEnd,
  encodeEntry,
  isUnread,
  LINE_LIMIT,
  MANIFEST_HEAD,
  type ManifestEntry,
  ManifestReader,
  showTime,
} from './mtree.ts';
import { keepScratchIn } from './scratch.ts';
import {
  type ClientStore,
  openClient,
  openStore,
  prepareRecheck,
  recordEvent,
  requireOwner,
  snapshotNames,
} from './store.ts';

/** Its name, beside the tree. */
export const MANIFEST = 'manifest.mtree.gz';
const SUMS = 'sha256sums';
/** What the sums are of, beside the tree. */
const SUMMED = ['snapshot.json', 'excludes', MANIFEST];

/** Where a snapshot's manifest is, once it was made. */
export function manifestOf(client: ClientStore, snapshot: string): string {
  return `${client.folder}/snapshots/${snapshot}/${MANIFEST}`;
}

/** Whether a client has a snapshot without one. */
export function lacksManifest(client: ClientStore): boolean {
  return snapshotNames(client).some(name => !exists(manifestOf(client, name)));
}

/**
 * One digest for all extended attributes: SHA-256, in hexadecimal, over a line `NAME=0xHEX` each, in the order of the
 * names' bytes. (`getfattr -h -d -e hex FILE | grep = | LC_ALL=C sort | sha256sum` gives the same.)
 */
export function attributesDigest(xattrs: readonly Xattr[]): string {
  const hash = createHash('sha256');
  const sorted = [...xattrs].sort((one, other) => Buffer.compare(one.name, other.name));
  for (const { name, value } of sorted) hash.update(name).update(`=0x${value.toString('hex')}\n`);
  return hash.digest('hex');
}

/**
 * What an entry's line says of it, as it lies in the store now.
 * @param xattrs undefined where they, or the content, cannot be read
 * @param sha256 in hexadecimal; of a folder empty
 */
export function describeEntry(
  stored: StoredEntry,
  xattrs: readonly Xattr[] | undefined,
  sha256: string,
): ManifestEntry {
  const { mode, uid, gid } = truthOf(stored, xattrs ?? [], null);
  return {
    path: stored.path.toString('latin1'),
    type: stored.isFolder ? 'dir' : 'file',
    mode,
    uid,
    gid,
    size: stored.isFolder ? 0 : stored.size,
    mtimeNs: stored.mtimeNs,
    sha256: xattrs === undefined ? '' : sha256,
    xattrs: xattrs === undefined ? '' : attributesDigest(xattrs),
  };
}

/** Entries in portions that are held in memory at once. */
export async function* inBatches<T>(entries: AsyncIterable<T>, size = BATCH): AsyncGenerator<T[]> {
  let batch: T[] = [];
  for await (const each of entries) {
    batch.push(each);
    if (batch.length < size) continue;
    yield batch;
    batch = [];
    dropGarbage();
  }
  if (batch.length > 0) yield batch;
}

/** `dialback manifest`, which grab starts when its client has hung up: makes what is missing, and steps aside for all else. */
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

/** `prepareRecheck()`; what fails stands in the journal. @throws the signal's reason */
export async function prepareRecheckQuietly(client: ClientStore, signal: AbortSignal): Promise<void> {
  try {
    await prepareRecheck(client, signal);
  } catch (error) {
    signal.throwIfAborted();
    // The next run tries again; what it links is then not known to be whole, and its record says so.
    recordQuietly(client, 'no-recheck', { reason: wordsOf(error) });
  }
}

/** Makes the manifests that are missing; what fails stands in the journal, and is tried again by the next. */
export async function makeQuietly(client: ClientStore, signal: AbortSignal): Promise<void> {
  try {
    const { failed } = await makeManifests(client, signal);
    for (const [snapshot, reason] of failed) recordQuietly(client, 'no-manifest', { snapshot, reason });
  } catch (error) {
    signal.throwIfAborted();
    recordQuietly(client, 'no-manifest', { reason: wordsOf(error) });
  }
}

function wordsOf(error: unknown): string {
  return error instanceof Fault ? error.message : escapeText(String(error), 2000);
}

function recordQuietly(client: ClientStore, event: string, more: Record<string, unknown>): void {
  try {
    recordEvent(client, event, more);
  } catch {
    // a full disk: the snapshot is whole without one
  }
}

/** What came of the manifests that were missing. */
export interface MadeManifests {
  /** The snapshots that got one. */
  made: string[];
  /** Those that got none, and why, in words. */
  failed: Map<string, string>;
}

/**
 * Makes the manifests that are missing, the oldest snapshot's first. What a killed one has read stays in the index, and
 * the next one goes on. What cannot be done for one snapshot is done for the others.
 * @param waitSeconds for another process that does the same; then it is left to that one
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
  // Looked for anew each time: a run that ends meanwhile leaves its snapshot to us.
  for (;;) {
    const name = snapshotNames(client).find(isWanted);
    if (name === undefined) return { made, failed };
    await index.update(signal);
    try {
      await makeManifest(client, index, name, signal);
      made.push(name);
    } catch (error) {
      signal.throwIfAborted();
      if (!exists(`${client.folder}/snapshots/${name}`)) continue; // it was removed meanwhile
      // Where the store takes no files there is none for the others either.
      if (cannotWrite(error)) throw error;
      failed.set(name, wordsOf(error));
    }
  }
}

/** Where the index was made anew, the digests come back out of the manifests: what has rotted since must not be taken for good. */
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
            mtime: showTime(mtimeNs),
            sha256: Buffer.from(sha256, 'hex'),
          })),
        );
      }
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof Fault)) throw error; // a damaged one: `verify` tells
    }
  }
}

/** Files whose digests are kept at once: what a kill costs. */
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
    // A function: nothing is begun where the file cannot be made.
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

/** Entries that could not be read, for the journal: the first of them by name. */
class Unread {
  static readonly #SHOWN = 15;
  readonly names: string[] = [];
  count = 0;

  add(path: Buffer): void {
    this.count += 1;
    if (this.names.length < Unread.#SHOWN) this.names.push(showName(jsonName(path)));
  }
}

/** The SHA-256 of a stored file's content; undefined where it cannot be read. @throws the signal's reason */
async function digestIfReadable(
  tree: string,
  path: Buffer,
  signal: AbortSignal,
): Promise<{ sha256: Uint8Array; inode: bigint } | undefined> {
  try {
    return await digestFile(below(tree, path), signal);
  } catch {
    signal.throwIfAborted();
    return undefined;
  }
}

/** Reads what has no digest yet. */
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
    // Left out is what has another inode than the index has under that path: the tree was changed by hand, and linesOf() reads
    // what is there. A snapshot that was removed meanwhile: its inodes may be other files' by now.
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

/** The digests that the index has, asked for in the order of the paths. */
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

  /** @returns undefined where the index has none, or has it of another file */
  digestOf({ path, inode, size, mtimeNs }: StoredEntry): Uint8Array | undefined {
    while (this.#next && Buffer.compare(this.#next.path, path) < 0) this.#step();
    const file = this.#next;
    if (!file?.path.equals(path)) return undefined;
    const isSame =
      file.inode === BigInt.asIntN(64, inode) && file.size === size && file.mtime === showTime(mtimeNs);
    return isSame ? file.digest : undefined;
  }
}

/** A path in a tree, as bytes. */
export function below(tree: string, path: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${tree}/`), path]);
}

/** What a manifest says cannot be trusted. */
export class DamagedManifest extends Fault {}

/**
 * Reads a manifest, entry by entry; of memory it needs a little.
 * @throws DamagedManifest that says what is wrong with it
 */
export async function* readManifest(
  client: ClientStore,
  snapshot: string,
  signal: AbortSignal,
): AsyncGenerator<ManifestEntry> {
  const path = manifestOf(client, snapshot);
  const fault = (found: string): Fault =>
    new DamagedManifest({ tried: `trust the manifest of "${client.name}@${snapshot}"`, found });
  const reader = new ManifestReader();
  const value = <T>(parsed: Parsed<T>): T => {
    if ('reason' in parsed) throw fault(parsed.reason);
    return parsed.value;
  };
  let rest = '';
  const gunzip = createGunzip();
  try {
    const source = readingStream(path).on('error', error => gunzip.destroy(error));
    gunzip.on('close', () => source.destroy());
    for await (const chunk of source.pipe(gunzip) as AsyncIterable<Buffer>) {
      signal.throwIfAborted();
      dropGarbage();
      const lines = (rest + chunk.toString('latin1')).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        const entry = value(reader.line(line));
        if (entry) yield entry;
      }
      if (rest.length > LINE_LIMIT) throw fault('a line has no end');
    }
    if (rest !== '') throw fault('its last line has no end');
    value(reader.end());
  } catch (error) {
    signal.throwIfAborted();
    // zlib's words are about the compressed bytes: a checksum, a code that is none.
    throw error instanceof Fault ? error : fault(escapeText(whatFailed(error), 200));
  } finally {
    gunzip.destroy();
  }
}

const SUMS_LIMIT = 4096;

/**
 * Compares what lies beside a snapshot's tree with its sums.
 * @returns the names of those that are not what they were; the sums' own name, where they cannot be read
 */
export async function changedRecords(
  client: ClientStore,
  snapshot: string,
  signal: AbortSignal,
): Promise<string[]> {
  const folder = `${client.folder}/snapshots/${snapshot}`;
  const sums = readSums(`${folder}/${SUMS}`);
  if (sums === undefined) return [SUMS];
  const changed: string[] = [];
  for (const [name, sha256] of sums) {
    try {
      const found = await digestFile(`${folder}/${name}`, signal);
      if (found.sha256.toString('hex') !== sha256) changed.push(name);
    } catch {
      signal.throwIfAborted();
      changed.push(name);
    }
  }
  return changed;
}

function readSums(path: string): [name: string, sha256: string][] | undefined {
  let text: string;
  try {
    text = readWhole(path, SUMS_LIMIT).toString('latin1');
  } catch {
    return undefined;
  }
  const sums = text
    .split('\n')
    .slice(0, -1)
    .map(line => /^([0-9a-f]{64}) {2}(.*)$/.exec(line));
  const known = sums.flatMap(found => (found && SUMMED.includes(found[2] ?? '') ? [found] : []));
  const hasManifest = known.some(found => found[2] === MANIFEST);
  if (!text.endsWith('\n') || known.length !== sums.length || !hasManifest) return undefined;
  return known.map(found => [found[2] ?? '', found[1] ?? '']);
}
