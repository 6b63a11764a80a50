/**
 * `dialback fetch`: gets files of this machine back from its host, which has offered them.
 *
 * The first call brings the list of the offer, and then rsync's bytes. Then fetch compares the files with the list. A second
 * call confirms, and the host counts the offer as used. Before that, the same command continues after any interruption.
 */
import { Fault } from '../fault.ts';
import { ownAccount, ownGroups } from '../os/account.ts';
import { now } from '../os/clock.ts';
import { exists, makeFolder } from '../os/files.ts';
import { installStep } from '../os/install-steps.ts';
import { hasJail } from '../os/launcher.ts';
import { makeRunFolder, prepareStateFolder, takeLock } from '../os/runfolder.ts';
import { type Copied, isDone, type RestoreProgress, rsyncFault } from '../store/restore-copy.ts';
import type { DifferenceCount, Giver } from '../store/restore-difference.ts';
import { modeForOthers } from '../store/restore-target.ts';
import type { OfferHead } from '../wire/fetch.ts';
import { codeDigest, parseCode } from '../wire/offer-code.ts';
import { decodeName, escapeText, type JsonName } from '../wire/text.ts';
import { FetchCall } from './fetch-call.ts';
import { compareFetched, type FetchComparison } from './fetch-compare.ts';
import { type Endpoint, type EndpointOptions, findEndpoint } from './fetch-endpoint.ts';
import { removeLeftovers } from './fetch-leftovers.ts';
import { OfferList, type Wanted } from './fetch-list.ts';
import { runFetch } from './fetch-rsync.ts';
import {
  type BegunFetch,
  begunFile,
  forgetBegun,
  lockOfBegun,
  makeReplacedFolder,
  noteBegun,
  placeOfFolder,
  readBegun,
  settleReplaced,
} from './fetch-state.ts';
import { prepareFolder, prepareInPlace, type Target, type Wish } from './fetch-target.ts';

/** The launcher's exit statuses if it refuses, and if it cannot find rsync (src/launcher). */
const LAUNCHER_STATUSES = new Set([126, 127]);

/** The options of a fetch. */
export interface FetchOptions extends EndpointOptions, Wish {
  /** As a person types it. */
  code: string;
}

/** The result of a fetch. */
export interface FetchResult {
  snapshot: string;
  state: OfferHead['state'];
  paths: JsonName[];
  files: number;
  bytes: number;
  /** Messages of rsync. Limited in number. */
  notGivenBack: string[];
  /** The number of entries with a difference that matters, and of all messages. */
  notGivenBackCount: number;
  differences: DifferenceCount[];
  /** DIR's mode, if other accounts can reach it; null otherwise, and with --in-place. */
  openTo: string | null;
  /** Whether attributes were compared; false if getfattr(1) is missing. */
  compared: boolean;
  /** Files whose content was not compared with a digest of the host's manifest. */
  unchecked: number;
  damaged: FetchComparison['damaged'];
  damagedCount: number;
  /** The folder with the files that were replaced; null if there are none. */
  replaced: string | null;
  /** Why the host does not know that this fetch is complete; null if it does. */
  unconfirmed: string | null;
}

/** A fetch: its host, its code, and its run folder. */
interface Work {
  endpoint: Endpoint;
  code: string;
  runFolder: string;
  signal: AbortSignal;
}

async function begin(
  held: AsyncDisposableStack,
  options: Omit<FetchOptions, keyof Wish>,
  signal: AbortSignal,
): Promise<Work> {
  const code = parseCode(options.code);
  if ('reason' in code)
    throw new Fault({
      tried: 'use that as a code',
      found: code.reason,
      next: 'copy it as `dialback offer` printed it on the host',
      exit: 'usage',
    });
  const endpoint = await findEndpoint(options);
  prepareStateFolder(endpoint.state);
  const runFolder = await makeRunFolder(held, endpoint.state);
  return { endpoint, code: code.value, runFolder, signal };
}

/**
 * Lists the offer, and changes nothing.
 * @param take receives each entry
 * @throws Fault where the host refuses
 */
export async function listOffered(
  options: Omit<FetchOptions, keyof Wish>,
  signal: AbortSignal,
  take: (wanted: Wanted) => void,
): Promise<OfferHead> {
  await using held = new AsyncDisposableStack();
  const work = await begin(held, options, signal);
  const call = await FetchCall.place(held, work.endpoint, work.runFolder, {
    action: 'list',
    code: work.code,
  });
  const list = new OfferList(`${work.runFolder}/entries`);
  await abortableCall(
    held,
    signal,
    call.readAnswer(piece => list.take(piece)),
  );
  const head = list.end();
  for await (const wanted of list.entries()) take(wanted);
  await call.finish();
  return head;
}

/** Waits for a part of a call. A signal ends ssh, and with it the part. */
async function abortableCall(
  held: AsyncDisposableStack,
  signal: AbortSignal,
  part: Promise<void>,
): Promise<void> {
  const abort = (): void => void held.disposeAsync();
  signal.addEventListener('abort', abort, { once: true });
  try {
    await part;
  } finally {
    signal.removeEventListener('abort', abort);
    signal.throwIfAborted();
  }
}

/**
 * Fetches the offered files.
 * @param tell receives the progress
 * @throws Fault where the host refuses, or not all could be written; the signal's reason
 */
export async function fetchFiles(
  options: FetchOptions,
  signal: AbortSignal,
  tell: ((progress: RestoreProgress) => void) | undefined,
): Promise<FetchResult> {
  await using held = new AsyncDisposableStack();
  const work = await begin(held, options, signal);
  const { uid } = ownAccount();
  if (options.isInPlace && uid === 0 && !hasJail())
    throw new Fault({
      tried: 'put files back as root',
      found: 'there is no launcher, which keeps rsync inside of the folders',
      next: `${installStep()}; or use --to DIR`,
      exit: 'refused',
    });
  const digest = codeDigest(work.code);
  const file = begunFile(work.endpoint.state, digest);
  const lock = await takeLock(held, lockOfBegun(file));
  if (lock === undefined)
    throw new Fault({
      tried: 'fetch the files',
      found: 'another fetch with this code is active',
      exit: 'locked',
    });
  const fetched = await transfer(work, options, { file, lock, tell }).catch(error => {
    if (!exists(file)) forgetBegun(file); // it was refused before it wrote anything
    throw error === signal.reason && error instanceof Fault ? againFault(error) : error;
  });
  const giver: Giver = { uid, groups: ownGroups(), inert: false };
  const { target, list, begun, lines, head } = fetched;
  const compared = await compareFetched(list, target, giver, signal);
  forgetBegun(file);
  const unconfirmed = await confirm(work);
  return {
    snapshot: head.snapshot,
    state: head.state,
    paths: head.paths,
    files: compared.files,
    bytes: compared.bytes,
    notGivenBack: lines.kept,
    notGivenBackCount: lines.count + compared.differences.lacking,
    differences: compared.differences.list,
    openTo: (target.isInPlace ? undefined : modeForOthers({ to: target.to, account: ownAccount() })) ?? null,
    compared: compared.isCompared,
    unchecked: compared.unchecked,
    damaged: compared.damaged,
    damagedCount: compared.damagedCount,
    replaced: settleReplaced(begun.replaced),
    unconfirmed,
  };
}

/** The first call: the list, and rsync's bytes. */
async function transfer(
  { endpoint, code, runFolder, signal }: Work,
  wish: Wish,
  {
    file,
    lock,
    tell,
  }: { file: string; lock: number; tell: ((progress: RestoreProgress) => void) | undefined },
) {
  await using held = new AsyncDisposableStack();
  const call = await FetchCall.place(held, endpoint, runFolder, { action: 'files', code });
  const list = new OfferList(`${runFolder}/entries`);
  await abortableCall(
    held,
    signal,
    call.readAnswer(piece => list.take(piece)),
  );
  const head = list.end();
  const known = readBegun(file);
  const target = prepare(wish, list, known, endpoint);
  const place = placeOfFolder(target.base);
  const wasBegun = known?.place === place && (known.replaced !== null) === wish.isInPlace;
  const begun: BegunFetch = wasBegun ? known : beginIn(endpoint.state, place, wish);
  if (begun.replaced !== null && wasBegun) makeFolder(begun.replaced, { parents: true });
  noteBegun(file, begun);
  // Before rsync sets the times of the folders. It holds the lock as long as it writes, so that none writes now.
  if (wasBegun) await removeLeftovers(list, target, begun.begun);
  const ends = await call.takeOver();
  const { copied, lines } = await runFetch({
    runFolder,
    target,
    paths: list.paths.map(path => `/${decodeName(path)}`),
    isRootUser: ownAccount().uid === 0,
    givesLabels: list.hasLabels,
    idleSeconds: endpoint.idleSeconds,
    replaced: begun.replaced ?? undefined,
    lock,
    ends,
    signal,
    tell,
  });
  if (!isDone(copied)) throw await whyFailed(call, copied, target);
  await call.finish();
  return { head, list, target, begun, lines };
}

/** Chooses between the message of our rsync and the end of the call: one is often the cause of the other. */
async function whyFailed(call: FetchCall, copied: Copied, { to }: Target): Promise<unknown> {
  const own = againFault(rsyncFault(`fetch files to "${escapeText(to)}"`, copied));
  if (copied.isFull || LAUNCHER_STATUSES.has(copied.status ?? 0)) return own;
  try {
    await call.finish();
    return own;
  } catch (error) {
    const saysMore =
      error instanceof Fault && (error.exit === 'unreachable' || ![undefined, 'rsync'].includes(error.code));
    return saysMore ? error : own;
  }
}

function prepare(wish: Wish, list: OfferList, known: BegunFetch | undefined, { roots }: Endpoint): Target {
  if (wish.isInPlace) return prepareInPlace(wish, list.paths, roots);
  const isResumed = known !== undefined && known.replaced === null && isSamePlace(wish.to, known);
  return prepareFolder(wish, isResumed);
}

function isSamePlace(to: string, { place }: BegunFetch): boolean {
  try {
    return placeOfFolder(to) === place;
  } catch {
    return false;
  }
}

function beginIn(state: string, place: string, { isInPlace }: Wish): BegunFetch {
  const begun = now();
  const replaced = isInPlace ? makeReplacedFolder(state, begun) : null;
  return { version: 1, place, begun: begun.getTime(), replaced };
}

function againFault({ tried, found, exit }: Fault): Fault {
  return new Fault({
    tried,
    found,
    exit,
    next: 'the same command again; it continues where this one stopped',
  });
}

/** Tells the host that the files have arrived. @returns why that failed; null if it did not */
async function confirm({ endpoint, code, runFolder, signal }: Work): Promise<string | null> {
  try {
    await using held = new AsyncDisposableStack();
    const call = await FetchCall.place(held, endpoint, runFolder, { action: 'done', code });
    await abortableCall(held, signal, call.finish());
    return null;
  } catch (error) {
    return error instanceof Fault ? error.found : String(error);
  }
}
