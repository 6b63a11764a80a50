/**
 * `dialback verify`: reads a store back, and compares it with the manifests.
 *
 * Each inode is read once, however many snapshots share it; each name, size and time is looked at in every snapshot. What
 * was found so far stands in clients/NAME/verify.sqlite, so that a pass that was ended goes on; when a snapshot was last
 * verified, in clients/NAME/verified.json. Nothing under snapshots/ is written, but manifests that were missing. A store that
 * cannot be written (read-only, full) is verified all the same; then no record of it is kept.
 */
import { Fault } from '../fault.ts';
import { cannotWrite } from '../os/database.ts';
import {
  exists,
  makeUniqueFolder,
  removeAll,
  removeFileIfThere,
  replaceFile,
  whatFailed,
} from '../os/files.ts';
import { temporaryFolder } from '../os/machine.ts';
import { beIdle } from '../os/process.ts';
import { type DisposableHolder, takeLock } from '../os/runfolder.ts';
import { doubtfulFiles } from './basis.ts';
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
import { noteVerified } from './verified.ts';
import { type Damage, Pass, type RecordDamage } from './verify-pass.ts';

export interface VerifyOptions {
  store: string;
  /** None: all clients. */
  client: string | undefined;
  /** As findSnapshot takes it; none: all of the client's. */
  snapshot: string | undefined;
  /** Percent of the files whose content and attributes are read: another part each time, until all had their turn. */
  sample: number;
}

/** What came of one client's snapshots. */
export interface Verified {
  client: string;
  /** Those that were compared with their manifests, oldest first. */
  snapshots: string[];
  /** Those whose manifest was made only now: they are not verified. */
  made: string[];
  /** Those whose manifest another process is making, or that cannot get one, since the store cannot be written. */
  unmade: string[];
  /** Why this store cannot take down what was found; null where it has. */
  unrecorded: string | null;
  /** Why the client could not be verified at all, or not to its end; null where it was. */
  failed: string | null;
  /** Names that were looked at, and files and bytes that were read, without what an earlier run of this pass did. */
  names: number;
  files_read: number;
  bytes_read: number;
  /** The part of the files that was read, in percent. */
  sample: number;
  resumed: boolean;
  /** At most DAMAGED_SHOWN of them. */
  damaged: Damage[];
  damaged_count: number;
  records: RecordDamage[];
  /**
   * Files that have holes or end in zeros, in snapshots of a version that did not make sure of their data: the next backup
   * compares them with the client.
   */
  doubtful: Doubtful[];
}

/** How far it is. How much there is to read nobody knows beforehand: what several snapshots share is read once. */
export interface VerifyProgress {
  client: string;
  /** Which of how many snapshots, from 1 on. */
  snapshot: number;
  snapshots: number;
  /** Read so far, of this client. */
  files: number;
  bytes: number;
}

/** Another process that makes manifests is waited for; then the rest is left to it. */
const MANIFEST_WAIT_SECONDS = 30;

/** Whether all was verified, and nothing was found damaged. */
export function isWell(results: Verified[]): boolean {
  return results.every(each => each.failed === null && each.damaged_count + each.records.length === 0);
}

/**
 * Verifies one snapshot, one client's, or all. Of several clients, one that cannot be verified does not stop the others.
 * @param tell is told how far it is, where somebody wants to know
 * @throws Fault `locked` when another process verifies the client that was named
 */
export async function verify(
  options: VerifyOptions,
  signal: AbortSignal,
  tell?: (progress: VerifyProgress) => void,
): Promise<Verified[]> {
  openStore(options.store);
  requireOwner(options.store, 'verify');
  requireReaders(); // what it cannot read for want of a program is not damaged
  const clients = options.client === undefined ? listClients(options.store) : [options.client];
  keepScratchIn(options.store);
  await beIdle();
  const results: Verified[] = [];
  for (const name of clients) {
    const result = emptyResult(name, options.sample);
    results.push(result);
    try {
      const client = openClient(options.store, name);
      const only = options.snapshot === undefined ? undefined : findSnapshot(client, options.snapshot).name;
      await verifyClient(client, result, { only, sample: options.sample, signal, tell });
    } catch (error) {
      signal.throwIfAborted();
      if (options.client !== undefined) throw error;
      result.failed = failureText(error);
    }
  }
  return results;
}

function emptyResult(client: string, sample: number): Verified {
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
    only: string | undefined;
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
    folder: unrecorded === undefined ? client.folder : temporaryPlace(held),
    only,
    slots: Math.max(1, Math.floor(100 / sample)),
  });
  const wanted = only === undefined ? snapshotNames(client) : [only];
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
    const heard = (): void => {
      const { files_read: files, bytes_read: bytes } = result;
      tell?.({ client: client.name, snapshot: at + 1, snapshots: wanted.length, files, bytes });
    };
    await verifySnapshot({ client, result, pass, heard }, name, failed.get(name), signal);
  }
  Object.assign(result, pass.found(index));
  if (unrecorded === undefined) noteVerified(client, result.snapshots, pass);
  pass.end();
  const { damaged_count: files, records } = result;
  // A full disk takes no line; the caller prints the damage all the same.
  if (files + records.length > 0) recordQuietly(client, 'damaged', { files, records: records.length });
}

/** @param failed why its manifest could not be made; undefined where that was not tried */
async function verifySnapshot(
  { client, result, pass, heard }: { client: ClientStore; result: Verified; pass: Pass; heard: () => void },
  name: string,
  failed: string | undefined,
  signal: AbortSignal,
): Promise<void> {
  const isThere = (): boolean => exists(`${client.folder}/snapshots/${name}`);
  if (!exists(manifestOf(client, name))) {
    if (isThere()) noteUnmade(result, pass, name, failed);
    return;
  }
  if (!pass.isDone(name)) await new FileCheck(client, name, pass, result, heard, signal).run();
  // A snapshot that was removed meanwhile is not damaged.
  if (!isThere()) {
    pass.drop(name);
    return;
  }
  pass.finish(name);
  result.snapshots.push(name);
}

/** @param reason why its manifest cannot be made; undefined: another process makes it, or the store takes no files */
function noteUnmade(result: Verified, pass: Pass, snapshot: string, reason: string | undefined): void {
  pass.drop(snapshot);
  if (reason === undefined) result.unmade.push(snapshot);
  else pass.noteRecord(snapshot, MANIFEST, reason);
}

/**
 * Takes the lock that keeps two passes apart.
 * @returns why this store takes no files, in words, where it does not: then nothing else is written into it either
 * @throws Fault `locked` when another process verifies the client
 */
async function whyUnrecorded(held: DisposableHolder, client: ClientStore): Promise<string | undefined> {
  try {
    if ((await takeLock(held, `${client.folder}/verify.lock`)) !== undefined) {
      writeProbe(client.folder);
      return undefined;
    }
  } catch (error) {
    if (!cannotWrite(error)) throw error;
    return error instanceof Fault ? error.found : whatFailed(error);
  }
  throw new Fault({
    tried: `verify "${client.name}"`,
    found: 'another process does already',
    exit: 'locked',
  });
}

/** More than the smallest files need: a store with less room takes no manifest and no database. */
const PROBE_BYTES = 1024 * 1024;

/** @throws Fault where a folder has no room for files */
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
