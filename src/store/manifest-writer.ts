/** Makes the manifests that are missing. This happens after the commit, in a process of its own. */

import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { Fault } from '../fault.ts';
import { digestFile } from '../os/content.ts';
import { cannotWrite } from '../os/database.ts';
import { copyFile, exists, fileFault, removeFileIfThere } from '../os/files.ts';
import { dropGarbage } from '../os/memory.ts';
import { beIdle } from '../os/priority.ts';
import { replaceFile, settleFile, writingStream } from '../os/replace.ts';
import { takeLock } from '../os/runfolder.ts';
import { prepareRecheck } from './basis.ts';
import { openIndex, type StoreIndex } from './file-index.ts';
import { formatTime } from './file-time.ts';
import {
  DamagedManifest,
  lacksManifest,
  MANIFEST,
  manifestOf,
  readManifest,
  SUMMED,
  SUMS,
} from './manifest.ts';
import { DerivedManifest, isManifestWhole, NotDerivable } from './manifest-from-older.ts';
import { type DescribedSnapshot, digestIfReadable, linesOfTree, Unread } from './manifest-lines.ts';
import { isUnread } from './mtree.ts';
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
import { inBatches } from './stored-tree.ts';

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
    const unread = await writeLines(client, { name, index, fresh }, signal);
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

/**
 * Writes the text of a manifest: from an older one if that is possible, otherwise from all of the tree.
 * @param fresh the path of the new file
 * @returns the entries that cannot be read
 */
async function writeLines(
  client: ClientStore,
  { name, index, fresh }: { name: string; index: StoreIndex; fresh: string },
  signal: AbortSignal,
): Promise<Unread> {
  const tree = `${client.folder}/snapshots/${name}/tree`;
  const write = async (linesOf: (snapshot: DescribedSnapshot) => AsyncGenerator<string>): Promise<Unread> => {
    const unread = new Unread();
    // pipeline() gets a function, so that it does not read the tree if the file cannot be made.
    const lines = () => linesOf({ name, tree, index, unread, signal });
    await pipeline(lines, createGzip(), writingStream(fresh), { signal });
    return unread;
  };
  const described = snapshotNames(client).filter(each => exists(manifestOf(client, each)));
  const changes = index.compare(name, described);
  if (changes === undefined || !(await isManifestWhole(client, changes.older, signal)))
    return await write(linesOfTree);
  try {
    let derived: DerivedManifest | undefined;
    const unread = await write(snapshot => {
      derived = new DerivedManifest(client, changes, snapshot);
      return derived.text();
    });
    if (derived?.isSame) copyFile(manifestOf(client, changes.older), fresh);
    return unread;
  } catch (error) {
    signal.throwIfAborted();
    // The older snapshot can be removed meanwhile.
    const isUsable = exists(manifestOf(client, changes.older));
    if (isUsable && !(error instanceof NotDerivable || error instanceof DamagedManifest)) throw error;
    return await write(linesOfTree);
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
