/**
 * A snapshot's manifest, snapshots/SNAPSHOT/manifest.mtree.gz. It describes each file and folder (mtree.ts), so that
 * verify.ts can detect later changes.
 *
 * It is made after the commit. A file that an older snapshot shares is not read again: the index keeps its digest
 * from the first reading, and every later comparison uses that digest. Beside the manifest lies `sha256sums`, in the
 * format of sha256sum(1), for the manifest, the record and the exclude list.
 */

import { hash } from 'node:crypto';
import { createGunzip } from 'node:zlib';
import { Fault, type Parsed } from '../fault.ts';
import { digestFile, readingStream, readWhole } from '../os/content.ts';
import { exists, S_IFDIR, S_IFREG, whatFailed } from '../os/files.ts';
import { dropGarbage } from '../os/memory.ts';
import { escapeText } from '../wire/text.ts';
import { takeStat, truthOf, type Xattr } from './fake-super.ts';
import type { StoredEntry } from './find-records.ts';
import { LINE_LIMIT, type ManifestEntry, ManifestReader } from './mtree.ts';
import { pairSorted } from './pairs.ts';
import { snapshotNames } from './snapshot.ts';
import type { ClientStore } from './store.ts';

/** The manifest's file name, beside the tree. */
export const MANIFEST = 'manifest.mtree.gz';

/** The file of the sums, beside the tree. */
export const SUMS = 'sha256sums';

/** The files beside the tree that `sha256sums` lists. */
export const SUMMED = ['snapshot.json', 'excludes', MANIFEST];

/** The path of a snapshot's manifest, whether or not it has been made. */
export function manifestOf(client: ClientStore, snapshot: string): string {
  return `${client.folder}/snapshots/${snapshot}/${MANIFEST}`;
}

/** Whether a client has a snapshot without a manifest. */
export function lacksManifest(client: ClientStore): boolean {
  return snapshotNames(client).some(name => !exists(manifestOf(client, name)));
}

/**
 * Computes one digest for all extended attributes: the SHA-256, in hexadecimal, of one line `NAME=0xHEX` for each,
 * sorted by the bytes of the names. (`getfattr -h -d -e hex FILE | grep = | LC_ALL=C sort | sha256sum` prints the
 * same.)
 */
export function attributesDigest(xattrs: readonly Xattr[]): string {
  const sorted =
    xattrs.length < 2 ? xattrs : [...xattrs].sort((one, other) => Buffer.compare(one.name, other.name));
  const lines = sorted.map(({ name, value }) => `${name.toString('latin1')}=0x${value.toString('hex')}\n`);
  return hash('sha256', Buffer.from(lines.join(''), 'latin1'), 'hex');
}

/**
 * Describes an entry as it is stored now, as its manifest line does.
 * @param xattrs undefined if they, or the content, cannot be read
 * @param sha256 in hexadecimal; empty for a folder
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

/**
 * Whether an entry has the owner, mode, ACLs and xattrs of its manifest line. rsync writes no `%stat` if the stored file
 * itself has the right owner and mode. So a copy of the store that belongs to another account has one in other places.
 */
export function hasSameAttributes(
  wanted: ManifestEntry,
  found: StoredEntry,
  xattrs: readonly Xattr[],
): boolean {
  const { mode, uid, gid } = truthOf(found, xattrs, null);
  if (mode !== wanted.mode || uid !== wanted.uid || gid !== wanted.gid) return false;
  if (attributesDigest(xattrs) === wanted.xattrs) return true;
  const { stat, rest } = takeStat(xattrs, found.isFolder);
  if (stat !== undefined)
    return (stat.type === 'file' || stat.type === 'folder') && attributesDigest(rest) === wanted.xattrs;
  const bits = (found.isFolder ? S_IFDIR : S_IFREG) | mode;
  const value = Buffer.from(`${bits.toString(8)} 0,0 ${uid}:${gid}`);
  return attributesDigest([...xattrs, { name: STAT, value }]) === wanted.xattrs;
}

const STAT = Buffer.from('user.rsync.%stat');
const NO_ATTRIBUTES = attributesDigest([]);

/**
 * Whether a manifest line is of an ordinary file without an ACL and without extended attributes of the client's. Then the line tells
 * all of its metadata. A file with a `%stat` in an unusual spelling counts as one with attributes.
 */
export function isPlainFile({ type, mode, uid, gid, xattrs }: ManifestEntry): boolean {
  if (type !== 'file') return false;
  if (xattrs === NO_ATTRIBUTES) return true;
  const value = Buffer.from(`${(S_IFREG | mode).toString(8)} 0,0 ${uid}:${gid}`);
  return xattrs === attributesDigest([{ name: STAT, value }]);
}

/**
 * Compares all of an entry but its content with its manifest line.
 * @param xattrs undefined if they cannot be read
 */
export function metadataDifferences(
  wanted: ManifestEntry,
  found: StoredEntry,
  xattrs: readonly Xattr[] | undefined,
): ('attributes' | 'size' | 'time')[] {
  const { mtimeNs } = found;
  const size = found.isFolder ? 0 : found.size;
  return [
    ...(xattrs === undefined || !hasSameAttributes(wanted, found, xattrs) ? (['attributes'] as const) : []),
    ...(size === wanted.size ? [] : (['size'] as const)),
    ...(mtimeNs === wanted.mtimeNs ? [] : (['time'] as const)),
  ];
}

/** A manifest that cannot be trusted. */
export class DamagedManifest extends Fault {}

/** The paths below the tree of a part of a snapshot, and 0 for the paths only; as `TreeOptions` has them. */
interface Part {
  paths?: readonly Buffer[] | undefined;
  depth?: number | undefined;
}

/**
 * Reads the lines of a part of a snapshot. Reads none if there is no manifest, and ends where it cannot be trusted.
 * @param distrust receives the reason
 * @throws the signal's reason
 */
export async function* readManifestPart(
  client: ClientStore,
  snapshot: string,
  { paths, depth }: Part,
  signal: AbortSignal,
  distrust: (found: string) => void,
): AsyncGenerator<ManifestEntry> {
  if (!exists(manifestOf(client, snapshot))) return;
  const tops = paths?.map(path => path.toString('latin1'));
  const isWanted = (path: string): boolean =>
    tops === undefined || tops.some(top => path === top || (depth !== 0 && path.startsWith(`${top}/`)));
  try {
    for await (const entry of readManifest(client, snapshot, signal)) if (isWanted(entry.path)) yield entry;
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof DamagedManifest)) throw error;
    distrust(error.found);
  }
}

/**
 * Reads a manifest, entry by entry, without holding it in memory.
 * @throws DamagedManifest that says what is wrong; the signal's reason
 */
export async function* readManifest(
  client: ClientStore,
  snapshot: string,
  signal: AbortSignal,
): AsyncGenerator<ManifestEntry> {
  const reader = new ManifestReader();
  const value = <T>(parsed: Parsed<T>): T => {
    if ('reason' in parsed) throw damaged(client, snapshot, parsed.reason);
    return parsed.value;
  };
  for await (const lines of readManifestLines(client, snapshot, signal))
    for (const line of lines) {
      const entry = value(reader.line(line));
      if (entry) yield entry;
    }
  value(reader.end());
}

function damaged(client: ClientStore, snapshot: string, found: string): DamagedManifest {
  return new DamagedManifest({ tried: `trust the manifest of "${client.name}@${snapshot}"`, found });
}

/** Bytes that gunzip returns at once. */
const CHUNK = 64 * 1024;

/**
 * Reads the lines of a manifest, many at a time, without checking them.
 * @returns lines without their newlines, one character (latin1) per byte
 * @throws DamagedManifest when it cannot be read, or when the last line is not complete; the signal's reason
 */
export async function* readManifestLines(
  client: ClientStore,
  snapshot: string,
  signal: AbortSignal,
): AsyncGenerator<string[]> {
  let rest = '';
  const gunzip = createGunzip({ chunkSize: CHUNK });
  try {
    const source = readingStream(manifestOf(client, snapshot)).on('error', error => gunzip.destroy(error));
    gunzip.on('close', () => source.destroy());
    for await (const chunk of source.pipe(gunzip) as AsyncIterable<Buffer>) {
      signal.throwIfAborted();
      dropGarbage();
      const lines = (rest + chunk.toString('latin1')).split('\n');
      rest = lines.pop() ?? '';
      yield lines;
      if (rest.length > LINE_LIMIT) throw damaged(client, snapshot, 'a line is too long');
    }
    if (rest !== '') throw damaged(client, snapshot, 'the last line has no newline');
  } catch (error) {
    signal.throwIfAborted();
    // zlib's messages are about the compressed bytes.
    throw error instanceof Fault ? error : damaged(client, snapshot, escapeText(whatFailed(error), 200));
  } finally {
    gunzip.destroy();
  }
}

const SUMS_LIMIT = 4096;

/**
 * Compares the files beside a snapshot's tree with their sums.
 * @returns the names of the files that have changed; `sha256sums` itself if it cannot be read
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
