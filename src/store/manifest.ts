/**
 * A snapshot's manifest, snapshots/SNAPSHOT/manifest.mtree.gz: what each of its files and folders is (mtree.ts), so that
 * it can be found out later whether they still are (verify.ts).
 *
 * It is made after the commit, in nobody's run. A file that an older snapshot shares is not read again: its digest is in
 * the index since it was first read, and so is compared, ever after, with what it was then. Beside the manifest lies
 * `sha256sums`, as sha256sum(1) takes it: of the manifest, the record and the exclude list.
 */

import { createHash } from 'node:crypto';
import { createGunzip } from 'node:zlib';
import { Fault, type Parsed } from '../fault.ts';
import { digestFile, exists, readingStream, readWhole, whatFailed } from '../os/files.ts';
import { dropGarbage } from '../os/machine.ts';
import { escapeText } from '../wire/text.ts';
import { truthOf, type Xattr } from './fake-super.ts';
import type { StoredEntry } from './find-records.ts';
import { LINE_LIMIT, type ManifestEntry, ManifestReader } from './mtree.ts';
import { pairSorted } from './pairs.ts';
import { snapshotNames } from './snapshot.ts';
import type { ClientStore } from './store.ts';

/** Its name, beside the tree. */
export const MANIFEST = 'manifest.mtree.gz';

export const SUMS = 'sha256sums';

/** What the sums are of, beside the tree. */
export const SUMMED = ['snapshot.json', 'excludes', MANIFEST];

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

/** A path that the manifest names (`wanted`) or the tree has (`found`), or both. */
export interface ManifestPair {
  wanted: ManifestEntry | undefined;
  found: StoredEntry | undefined;
}

/**
 * Lays the entries of a manifest beside those of its tree, both in the order of the paths' bytes.
 * @param entries of `readManifest`
 * @param stored of `listTree`
 */
export async function* pairEntries(
  entries: AsyncIterable<ManifestEntry>,
  stored: AsyncIterable<StoredEntry>,
): AsyncGenerator<ManifestPair> {
  // A string of latin1 characters compares as its bytes do.
  const order = ({ path: one }: ManifestEntry, found: StoredEntry): number => {
    const other = found.path.toString('latin1');
    return one < other ? -1 : one > other ? 1 : 0;
  };
  for await (const { one, other } of pairSorted(entries, stored, order)) yield { wanted: one, found: other };
}
