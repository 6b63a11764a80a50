/** The part of `adopt` that writes the store, as the account that owns it: one tree, from rsync to the commit. */
import { createHash } from 'node:crypto';
import { Fault } from '../fault.ts';
import { ownAccount } from '../os/account.ts';
import { abortable } from '../os/async.ts';
import { now } from '../os/clock.ts';
import { exists } from '../os/files.ts';
import { beIdle } from '../os/priority.ts';
import { writeNew } from '../os/replace.ts';
import { replaceStandardStreams } from '../os/streams.ts';
import { rsyncVersion } from '../os/versions.ts';
import {
  type Adoption,
  beginAdoption,
  commitAdoption,
  discardAdoptions,
  dropLinkTrees,
  linkOwnFiles,
  lockAdoption,
  maskTree,
} from '../store/adoption.ts';
import { largestFile } from '../store/file-size.ts';
import { makeQuietly } from '../store/manifest-writer.ts';
import { keepScratchIn } from '../store/scratch.ts';
import { ADOPTED, readSnapshot, type SnapshotRecord } from '../store/snapshot.ts';
import { type ClientStore, openClient, openStore, requireOwner } from '../store/store.ts';
import type { AdoptCounts, AdoptOrder } from '../wire/adopt.ts';
import { failure } from '../wire/events.ts';
import { escapeText, plainJson, showName, snapshotTime } from '../wire/text.ts';
import type { Connection } from './dial.ts';
import { type PullEnd, startPull } from './pull.ts';
import { outcomeOf } from './pull-outcome.ts';
import { unstoredText } from './unstored.ts';

/** The sender is a program of this machine: it is silent while it reads a folder or a large file. */
const IDLE_SECONDS = 6 * 3600;

/**
 * Does one step of the adoption of a tree. The standard input and output are the connection to the rsync that reads it.
 * @throws Fault when it failed, after it has removed the attempt
 */
export async function takeOrder(
  order: AdoptOrder,
  doubtful: readonly Buffer[],
  signal: AbortSignal,
): Promise<AdoptCounts> {
  openStore(order.store, 'adopt …');
  requireOwner(order.store, 'adopt');
  const client = openClient(order.store, order.client);
  keepScratchIn(order.store);
  await beIdle();
  await using held = new AsyncDisposableStack();
  const lock = await lockAdoption(held, client);
  if (order.step === 'commit') return await commit(client, order, signal);
  if (exists(`${client.folder}/snapshots/${order.snapshot}`))
    throw new Fault({ tried: triedOf(order), found: 'the store has this snapshot already' });
  const adoption = await beginAdoption(client, order.snapshot, order.at);
  try {
    return await receive(client, adoption, { order, doubtful, lock, signal });
  } catch (error) {
    await discardAdoptions(client).catch(() => {});
    throw error;
  }
}

const triedOf = ({ client, from }: AdoptOrder): string =>
  `adopt "${escapeText(from)}" as a snapshot of "${client}"`;

interface Receiving {
  order: AdoptOrder;
  doubtful: readonly Buffer[];
  /** The descriptor of the lock. */
  lock: number;
  signal: AbortSignal;
}

async function receive(client: ClientStore, adoption: Adoption, receiving: Receiving): Promise<AdoptCounts> {
  const { order, lock, signal } = receiving;
  await using held = new AsyncDisposableStack();
  const { linkDests, basis, samePaths } = await chooseTrees(client, adoption, receiving);
  const { MAX_SAFE_INTEGER: most } = Number;
  const maxSize = largestFile(adoption.folder, most);
  const pull = await startPull(held, {
    roots: ['/'],
    tree: adoption.top,
    linkDests,
    dryRun: false,
    checksum: order.checksum,
    compress: false,
    maxSize,
    isStoreLimit: maxSize < most,
    idleSeconds: IDLE_SECONDS,
    connection: standardStreams(),
    lock,
    confined: order.confined,
    enumerated: [],
  });
  let hasSpoken = false;
  void pull.firstByte.then(() => {
    hasSpoken = true;
  });
  const end = await abortable(signal, pull.ended);
  const { outcome, reason } = await outcomeOf(end, {
    arrival: { name: order.snapshot, tree: adoption.top },
    isDryRun: false,
    hasSpoken,
    signal,
  });
  if (outcome.code !== null)
    throw pullFault(order, outcome.code, [reason, ...end.words].filter(Boolean).join(' | '));
  requireWhole(order, end);
  await dropLinkTrees(adoption);
  const record = makeRecord(order, end, {
    options: pull.options,
    host: await rsyncVersion(),
    basis,
    samePaths,
  });
  writeNew(`${adoption.folder}/excludes`, '', { sync: true });
  writeNew(`${adoption.folder}/snapshot.json`, `${plainJson(record, 2)}\n`, { sync: true });
  return countsOf(record);
}

/** The trees that rsync links to: files of the foreign tree itself, then the older snapshot. */
async function chooseTrees(
  client: ClientStore,
  adoption: Adoption,
  { order, doubtful, signal }: Receiving,
): Promise<{ linkDests: string[]; basis: string | null; samePaths: string[] }> {
  const own = order.link === null ? [] : [await linkOwnFiles(order.link, adoption, ownAccount(), signal)];
  if (order.basis === null) return { linkDests: own, basis: null, samePaths: [] };
  const { tree } = readSnapshot(client, order.basis);
  const older = order.at === '/' ? tree : `${tree}${order.at}`;
  if (!exists(older)) return { linkDests: own, basis: null, samePaths: [] };
  const { basis } = order;
  if (doubtful.length === 0) return { linkDests: [...own, older], basis, samePaths: [basis] };
  return { linkDests: [...own, await maskTree(older, adoption, doubtful, signal)], basis, samePaths: [] };
}

/** Our standard input and output, which only rsync uses. */
function standardStreams(): Connection {
  return {
    transport: 'local',
    reading: 0,
    writing: 1,
    ended: new Promise(() => {}),
    letGo: replaceStandardStreams,
    log: async () => '',
  };
}

function pullFault(order: AdoptOrder, code: string, found: string): Fault {
  const tried = triedOf(order);
  if (code !== 'no-space') return new Fault({ tried, found });
  return new Fault({
    tried,
    found: 'no space is left in the store',
    next: 'free space, or adopt fewer intervals; the same command adopts the missing snapshots',
    exit: 'noSpace',
  });
}

const SHOWN = 3;

/** Refuses a tree that was not copied as a whole. */
function requireWhole(order: AdoptOrder, end: PullEnd): void {
  const tried = triedOf(order);
  if (end.missingCount > 0) {
    const names = end.missing.slice(0, SHOWN).map(each => `"${showName(each.path)}"`);
    const found = `${end.missingCount} entries cannot be read: ${names.join(', ')}`;
    throw new Fault({ tried, found, next: 'run it as root, which can read every tree', exit: 'incomplete' });
  }
  if (end.vanished + end.changedDuringRun > 0)
    throw new Fault({
      tried,
      found: `${end.vanished + end.changedDuringRun} files changed or vanished while they were read`,
      next: 'keep the program that writes into the tree from running, and give the same command again',
    });
  if (end.unstored.count > 0)
    throw new Fault({ tried, found: unstoredText(end.unstored), exit: 'incomplete' });
  if (end.wordCount > 0) throw new Fault({ tried, found: end.words.join(' | ') });
}

function makeRecord(
  order: AdoptOrder,
  end: PullEnd,
  {
    options,
    host,
    basis,
    samePaths,
  }: { options: string[]; host: string; basis: string | null; samePaths: string[] },
): SnapshotRecord {
  const time = (snapshotTime(order.snapshot) ?? now()).toISOString();
  return {
    version: 1,
    client: order.client,
    snapshot: order.snapshot,
    started: time,
    finished: time,
    state: 'full',
    transport: 'local',
    confined: {
      send: order.senderConfined,
      receive: end.jail !== undefined,
      landlock_abi: end.jail?.landlockAbi ?? null,
      own_root: end.jail?.hasOwnRoot ?? false,
    },
    rsync: { client: null, host, exit: end.ending.status ?? 255, options },
    scope: { roots: order.roots, excludes_sha256: createHash('sha256').digest('hex') },
    counts: { ...end.counts, vanished: 0, unreadable: 0, changed_during_run: 0 },
    basis,
    flags: [
      ADOPTED,
      ...(end.newInodes > 0 ? ['hard-links-split'] : []),
      ...(end.hasCutTimes ? ['times-cut'] : []),
    ],
    durable: true,
    same_paths: samePaths,
    adopted: { from: order.from, at: now().toISOString() },
  };
}

function countsOf({ counts: { files, linked, new_bytes } }: SnapshotRecord): AdoptCounts {
  return { files, linked, new_bytes };
}

async function commit(client: ClientStore, order: AdoptOrder, signal: AbortSignal): Promise<AdoptCounts> {
  signal.throwIfAborted();
  await commitAdoption(client, order.snapshot, { from: order.from });
  const { record } = readSnapshot(client, order.snapshot);
  await makeQuietly(client, signal);
  if (record.flags.includes('damaged'))
    throw failure('internal', 'the record of the adopted snapshot is damaged');
  return countsOf(record);
}
