/**
 * `dialback verify`: reads a store and compares it with its manifests.
 *
 * It reads each inode once, however many snapshots share it. It checks each name, size and time in every snapshot.
 * The results so far are in clients/NAME/verify.sqlite, so that an interrupted pass can continue.
 * clients/NAME/verified.json has the time of the last verification of each snapshot. Under snapshots/ it writes only
 * missing manifests. A store that cannot be written (read-only, full) is verified too, without a record.
 */
import { Fault } from '../fault.ts';
import { cannotWrite } from '../os/database.ts';
import { exists, makeUniqueFolder, removeAll, removeFileIfThere, whatFailed } from '../os/files.ts';
import { beIdle } from '../os/priority.ts';
import { replaceFile } from '../os/replace.ts';
import { type DisposableHolder, takeLock } from '../os/runfolder.ts';
import { temporaryFolder } from '../os/scratch.ts';
import { doubtfulFiles } from './basis.ts';
import { cacheFolder, makeCacheFolder } from './cache-place.ts';
import { FileCheck } from './check-files.ts';
import type { Doubtful } from './doubtful-files.ts';
import { openIndex } from './file-index.ts';
import { MANIFEST, manifestOf } from './manifest.ts';
import { type MadeManifests, makeManifests, prepareRecheckQuietly } from './manifest-writer.ts';
import { keepScratchIn } from './scratch.ts';
import { findSnapshot, snapshotNames } from './snapshot.ts';
import {
  type ClientStore,
  failureText,
  listClients,
  openClient,
  openStore,
  recordQuietly,
  requireOwner,
} from './store.ts';
import { requireReaders } from './stored-tree.ts';
import { lastVerified, noteVerified } from './verified.ts';
import { type Damage, Pass, type RecordDamage } from './verify-pass.ts';

/** The options of `verify`. */
export interface VerifyOptions {
  store: string;
  /** If undefined, all clients. */
  client: string | undefined;
  /** As findSnapshot takes it. If undefined, all snapshots of the client. */
  snapshot: string | undefined;
  /**
   * The percentage of files whose content and attributes to read. Each pass takes another part, until all have been
   * read.
   */
  sample: number;
}

/** The result for one client. */
export interface Verified {
  client: string;
  /** The snapshots that were compared with their manifests, oldest first. */
  snapshots: string[];
  /** Snapshots whose manifest was made just now; they are not verified. */
  made: string[];
  /** Snapshots whose manifest another process is making, or that cannot get one because the store cannot be written. */
  unmade: string[];
  /** Why the result could not be stored; null if it was. */
  unrecorded: string | null;
  /** Why the client could not be verified completely; null if it was. */
  failed: string | null;
  /** Names that were checked, and files and bytes that were read, without those of an interrupted pass. */
  names: number;
  files_read: number;
  bytes_read: number;
  /** The percentage of files that were read. */
  sample: number;
  resumed: boolean;
  /** At most DAMAGED_SHOWN. */
  damaged: Damage[];
  damaged_count: number;
  records: RecordDamage[];
  /**
   * Sparse files and files that end in zeros, in snapshots of a version that did not sync their data. The next backup
   * compares them with the client.
   */
  doubtful: Doubtful[];
}

/** The progress. The total is unknown in advance, because shared files are read once. */
export interface VerifyProgress {
  client: string;
  /** The number of the present snapshot, from 1 on. */
  snapshot: number;
  snapshots: number;
  /** Read so far, of this client. */
  files: number;
  bytes: number;
}

/** How long to wait for another process that makes manifests. After that, this process leaves the work to it. */
const MANIFEST_WAIT_SECONDS = 30;

/** Whether everything was verified and no damage was found. */
export function isWell(results: Verified[]): boolean {
  return results.every(each => each.failed === null && each.damaged_count + each.records.length === 0);
}

/**
 * Verifies one snapshot, one client, or all. A client that cannot be verified does not stop the others.
 * @param tell receives the progress
 * @throws Fault `locked` when another process verifies the named client; Fault when the store, the client, the
 *   snapshot or a program is missing; the signal's reason
 */
export async function verify(
  options: VerifyOptions,
  signal: AbortSignal,
  tell?: (progress: VerifyProgress) => void,
): Promise<Verified[]> {
  openStore(options.store);
  requireOwner(options.store, 'verify');
  requireReaders(); // a missing program must not make files look damaged
  const clients = options.client === undefined ? listClients(options.store) : [options.client];
  keepScratchIn(options.store);
  await beIdle();
  const results: Verified[] = [];
  for (const name of clients) {
    const result = emptyVerified(name, options.sample);
    results.push(result);
    try {
      const client = openClient(options.store, name);
      const only = options.snapshot === undefined ? undefined : [findSnapshot(client, options.snapshot).name];
      await verifyClient(client, result, { only, sample: options.sample, signal, tell });
    } catch (error) {
      signal.throwIfAborted();
      if (options.client !== undefined) throw error;
      result.failed = failureText(error);
    }
  }
  return results;
}

/**
 * Verifies the snapshots that have never been verified.
 * @returns a result for each client that has some
 * @throws Fault when a client or a program is missing, or another process verifies the client; the signal's reason
 */
export async function verifyRest(
  store: string,
  clients: readonly string[],
  signal: AbortSignal,
): Promise<Verified[]> {
  requireReaders();
  keepScratchIn(store);
  const results: Verified[] = [];
  for (const name of clients) {
    const client = openClient(store, name);
    const last = lastVerified(client);
    const only = snapshotNames(client).filter(each => (last.get(each)?.verified ?? null) === null);
    if (only.length === 0) continue;
    const result = emptyVerified(name, 100);
    results.push(result);
    await verifyClient(client, result, { only, sample: 100, signal, tell: undefined });
  }
  return results;
}

/** A result that has nothing yet. @param sample the percentage of files */
export function emptyVerified(client: string, sample: number): Verified {
  return {
    client,
    snapshots: [],
    made: [],
    unmade: [],
    unrecorded: null,
    failed: null,
    names: 0,
    files_read: 0,
    bytes_read: 0,
    sample,
    resumed: false,
    damaged: [],
    damaged_count: 0,
    records: [],
    doubtful: [],
  };
}

async function verifyClient(
  client: ClientStore,
  result: Verified,
  options: {
    only: readonly string[] | undefined;
    sample: number;
    signal: AbortSignal;
    tell: ((progress: VerifyProgress) => void) | undefined;
  },
): Promise<void> {
  const { only, sample, signal, tell } = options;
  await using held = new AsyncDisposableStack();
  const unrecorded = await whyUnrecorded(held, client);
  const nothing: MadeManifests = { made: [], failed: new Map() };
  const { made, failed } =
    unrecorded === undefined ? await makeManifests(client, signal, MANIFEST_WAIT_SECONDS) : nothing;
  const index = await openIndex(held, client, signal);
  const pass = new Pass(held, client, {
    folder: unrecorded === undefined ? cacheFolder(client.folder) : temporaryPlace(held),
    only: only?.join(),
    slots: Math.max(1, Math.floor(100 / sample)),
  });
  const wanted = only ?? snapshotNames(client);
  Object.assign(result, {
    made: made.filter(each => wanted.includes(each)),
    unrecorded: unrecorded ?? null,
    sample: pass.slots === 1 ? 100 : 100 / pass.slots,
    resumed: pass.isResumed,
  });
  if (unrecorded === undefined) await prepareRecheckQuietly(client, signal);
  result.doubtful = await doubtfulFiles(client, signal);
  for (const [at, name] of wanted.entries()) {
    if (made.includes(name)) {
      pass.drop(name);
      continue;
    }
    const report = (): void => {
      const { files_read: files, bytes_read: bytes } = result;
      tell?.({ client: client.name, snapshot: at + 1, snapshots: wanted.length, files, bytes });
    };
    await verifySnapshot({ client, result, pass, report }, name, failed.get(name), signal);
  }
  Object.assign(result, pass.found(index));
  if (unrecorded === undefined) noteVerified(client, result.snapshots, pass);
  pass.end();
  const { damaged_count: files, records } = result;
  // A full disk takes no line; the caller reports the damage too.
  if (files + records.length > 0) recordQuietly(client, 'damaged', { files, records: records.length });
}

/**
 * Verifies one snapshot, if it has a manifest.
 * @param failed why its manifest could not be made; undefined if that was not tried
 */
async function verifySnapshot(
  { client, result, pass, report }: { client: ClientStore; result: Verified; pass: Pass; report: () => void },
  name: string,
  failed: string | undefined,
  signal: AbortSignal,
): Promise<void> {
  const isThere = (): boolean => exists(`${client.folder}/snapshots/${name}`);
  if (!exists(manifestOf(client, name))) {
    if (isThere()) noteUnmade(result, pass, name, failed);
    return;
  }
  if (!pass.isDone(name)) await new FileCheck(client, name, pass, result, report, signal).run();
  // A snapshot that was removed meanwhile is not damaged.
  if (!isThere()) {
    pass.drop(name);
    return;
  }
  pass.finish(name);
  result.snapshots.push(name);
}

/** @param reason why its manifest cannot be made; undefined if another process makes it, or the store takes no files */
function noteUnmade(result: Verified, pass: Pass, snapshot: string, reason: string | undefined): void {
  pass.drop(snapshot);
  if (reason === undefined) result.unmade.push(snapshot);
  else pass.noteRecord(snapshot, MANIFEST, reason);
}

/**
 * Takes the lock that excludes a second pass.
 * @returns why this store takes no files, in words; then nothing else is written to it either. Undefined if it does.
 * @throws Fault `locked` when another process verifies the client
 */
async function whyUnrecorded(held: DisposableHolder, client: ClientStore): Promise<string | undefined> {
  try {
    if ((await takeLock(held, `${client.folder}/verify.lock`)) !== undefined) {
      writeProbe(client.folder);
      const caches = makeCacheFolder(client.folder);
      if (caches !== client.folder) writeProbe(caches);
      return undefined;
    }
  } catch (error) {
    if (!cannotWrite(error)) throw error;
    return error instanceof Fault ? error.found : whatFailed(error);
  }
  throw new Fault({
    tried: `verify "${client.name}"`,
    found: 'another process is verifying it',
    exit: 'locked',
  });
}

/** More than the smallest file needs. A store with less room takes no manifest and no database. */
const PROBE_BYTES = 1024 * 1024;

/** @throws Fault when a folder has no room for files */
function writeProbe(folder: string): void {
  const path = `${folder}/.verify-probe`;
  try {
    replaceFile(path, Buffer.alloc(PROBE_BYTES));
  } finally {
    removeFileIfThere(path);
  }
}

function temporaryPlace(held: DisposableHolder): string {
  const folder = makeUniqueFolder(`${temporaryFolder()}/dialback-verify-`);
  held.defer(() => removeAll(folder));
  return folder;
}
