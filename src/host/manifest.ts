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
import {
  digestFile,
  exists,
  fileFault,
  readingStream,
  readWhole,
  removeFileIfThere,
  replaceFile,
  settleFile,
  whatFailed,
  writingStream,
} from '../os/files.ts';
import { dropGarbage } from '../os/machine.ts';
import { beIdle } from '../os/process.ts';
import { takeLock } from '../os/runfolder.ts';
import { escapeText } from '../wire/text.ts';
import { BATCH, listTree, readXattrs, type StoredEntry, truthOf, type Xattr } from './attributes.ts';
import { readHostConfig } from './config.ts';
import { type IndexedFile, openIndex, type StoreIndex } from './index.ts';
import {
  encodeEnd,
  encodeEntry,
  LINE_LIMIT,
  MANIFEST_HEAD,
  type ManifestEntry,
  ManifestReader,
  showTime,
} from './mtree.ts';
import {
  type ClientStore,
  openClient,
  openStore,
  prepareRecheck,
  recordEvent,
  requireOwner,
  snapshotNames,
} from './store.ts';

const MANIFEST = 'manifest.mtree.gz';
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

/** What an entry's line says of it, as it lies in the store now. @param sha256 in hexadecimal; of a folder empty */
export function describeEntry(stored: StoredEntry, xattrs: readonly Xattr[], sha256: string): ManifestEntry {
  const { mode, uid, gid } = truthOf(stored, xattrs, null);
  return {
    path: stored.path.toString('latin1'),
    type: stored.isFolder ? 'dir' : 'file',
    mode,
    uid,
    gid,
    size: stored.isFolder ? 0 : stored.size,
    mtimeNs: stored.mtimeNs,
    sha256,
    xattrs: attributesDigest(xattrs),
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
  options: { client: string; config: string },
  signal: AbortSignal,
): Promise<void> {
  const { store } = readHostConfig(options.config);
  openStore(store);
  requireOwner(store, 'manifest');
  await beIdle();
  const client = openClient(store, options.client);
  await makeQuietly(client, signal);
  try {
    await prepareRecheck(client, signal);
  } catch (error) {
    signal.throwIfAborted();
    // The next run tries again; what it links is then not known to be whole, and its record says so.
    const reason = error instanceof Fault ? error.message : escapeText(String(error), 2000);
    recordEvent(client, 'no-recheck', { reason });
  }
}

/** Makes the manifests that are missing; what fails stands in the journal, and is tried again by the next. */
export async function makeQuietly(client: ClientStore, signal: AbortSignal): Promise<void> {
  try {
    await makeManifests(client, signal);
  } catch (error) {
    signal.throwIfAborted();
    const reason = error instanceof Fault ? error.message : escapeText(String(error), 2000);
    try {
      recordEvent(client, 'no-manifest', { reason });
    } catch {
      // a full disk: the snapshot is whole without one
    }
  }
}

/**
 * Makes the manifests that are missing, the oldest snapshot's first. What a killed one has read stays in the index, and
 * the next one goes on.
 * @param waitSeconds for another process that does the same; then it is left to that one
 * @returns the snapshots that got one
 */
export async function makeManifests(
  client: ClientStore,
  signal: AbortSignal,
  waitSeconds = 0,
): Promise<string[]> {
  const isMissing = (name: string): boolean => !exists(manifestOf(client, name));
  const made: string[] = [];
  if (!lacksManifest(client)) return made;
  await using held = new AsyncDisposableStack();
  const lock = await takeLock(held, `${client.folder}/manifest.lock`, waitSeconds);
  if (lock === undefined) return made;
  const index = await openIndex(held, client, signal);
  await restoreDigests(client, index, signal);
  // Looked for anew each time: a run that ends meanwhile leaves its snapshot to us.
  for (;;) {
    const name = snapshotNames(client).find(each => isMissing(each) && !made.includes(each));
    if (name === undefined) return made;
    await index.update(signal);
    try {
      await makeManifest(client, index, name, signal);
      made.push(name);
    } catch (error) {
      if (exists(`${client.folder}/snapshots/${name}`)) throw error; // else it was removed meanwhile
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
        const files = batch.filter(each => each.type === 'file');
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
    // A function: nothing is begun where the file cannot be made.
    await pipeline(() => linesOf(`${folder}/tree`, index, name, signal), createGzip(), writingStream(fresh), {
      signal,
    });
    const sums: string[] = [];
    for (const each of SUMMED) {
      const path = each === MANIFEST ? fresh : `${folder}/${each}`;
      if (!exists(path)) continue;
      sums.push(`${(await digestFile(path, signal)).sha256.toString('hex')}  ${each}\n`);
    }
    replaceFile(`${folder}/${SUMS}`, sums.join(''));
    settleFile(fresh, `${folder}/${MANIFEST}`);
  } catch (error) {
    removeFileIfThere(fresh);
    signal.throwIfAborted();
    throw error instanceof Fault ? error : fileFault(error, `make the manifest of "${client.name}@${name}"`);
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
      const found = await digestFile(below(tree, path), signal);
      if (BigInt.asIntN(64, found.inode) === inode) digests.push([inode, found.sha256]);
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
  signal: AbortSignal,
): AsyncGenerator<string> {
  yield MANIFEST_HEAD;
  let count = 0;
  const known = new Known(index.files(name));
  for await (const batch of inBatches(listTree(tree, { signal }))) {
    const xattrs = await readXattrs(tree, batch, signal);
    const lines: string[] = [];
    for (const [at, stored] of batch.entries()) {
      const digest = stored.isFolder ? Buffer.alloc(0) : known.digestOf(stored);
      const sha256 = digest ?? (await digestFile(below(tree, stored.path), signal)).sha256;
      lines.push(encodeEntry(describeEntry(stored, xattrs[at] ?? [], Buffer.from(sha256).toString('hex'))));
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
