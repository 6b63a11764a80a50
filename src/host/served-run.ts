/**
 * One request, from its call to its end: the checks before the request is read, admission, pull, and commit.
 *
 * Each step that fails throws, and the stacks release what was acquired, in reverse order.
 */
import { Fault, firstError } from '../fault.ts';
import { abortable } from '../os/async.ts';
import { deadlineSignal } from '../os/clock.ts';
import { readProc } from '../os/files.ts';
import { hasJail, jailPath, launcherHasGone, readJailLine } from '../os/launcher.ts';
import type { DisposableHolder } from '../os/runfolder.ts';
import { rsyncVersion, rsyncWords } from '../os/versions.ts';
import { hasHooks, requireHooks } from '../shared/hooks.ts';
import { type Arrival, abandonSnapshot, beginSnapshot, commitSnapshot } from '../store/arrival.ts';
import { dropWork } from '../store/arrival-work.ts';
import { largestFile } from '../store/file-size.ts';
import { noteStore } from '../store/known-stores.ts';
import type { MovedFiles } from '../store/moved-files.ts';
import { requireEnrolled, watchEnrollment } from '../store/retirement.ts';
import { keepScratchIn } from '../store/scratch.ts';
import { listSnapshots, readSnapshot, type SnapshotRecord } from '../store/snapshot.ts';
import { type ClientStore, lockClient, openClient, openStore, recordEvent } from '../store/store.ts';
import { failure, type OutcomeEvent } from '../wire/events.ts';
import { decodeRsync } from '../wire/request.ts';
import { knowsZstd } from '../wire/rsync-output.ts';
import { escapeText, FETCH, PROBE } from '../wire/text.ts';
import { type Admission, admit } from './admission.ts';
import { takeCall } from './calls.ts';
import { requireKey } from './client-keys.ts';
import { type HostConfig, readHostConfig, settingsFor } from './config.ts';
import { awaitFirstByte, openConnection } from './connection.ts';
import type { Connection } from './dial.ts';
import type { EventStream } from './event-stream.ts';
import { checkLinkedShare } from './few-linked.ts';
import { HostHooks } from './hooks.ts';
import { awaitEmptyInput } from './probe.ts';
import { type Pull, type PullEnd, startPull } from './pull.ts';
import { outcomeOf } from './pull-outcome.ts';
import {
  type CallOrigin,
  type CallTransport,
  callerName,
  chooseTransport,
  type ReceivedRequest,
  receiveRequest,
  refuseVariables,
} from './receive-request.ts';
import type { RunLog } from './run-log.ts';
import { takeSlot } from './slots.ts';
import { makeRecord, recordBytes } from './snapshot-record.ts';
import { unstoredText } from './unstored.ts';

/** Holes of a sparse file are read faster than this. */
const READ_BYTES_PER_MS = 100_000;
/** Lines of the client's standard error that are kept, and the characters of each. */
const CLIENT_LINES = 20;
const CLIENT_LINE_LENGTH = 400;

/** A call, and the means to serve it. */
export interface ServedCall extends CallOrigin {
  /** The path of host.toml. */
  config: string;
  interrupt: AbortSignal;
  log: RunLog;
  events: EventStream;
  /** Holds the client's lock beyond the run: when it is released, the run is in the journal and its hooks have ended. */
  held: DisposableHolder;
  /** The run's hooks; set before they begin. */
  hooks: HostHooks | undefined;
}

/** How a request has ended. */
export interface Served {
  outcome: OutcomeEvent;
  /** The errors for the host's log. A successful run can have some too. */
  fault: Fault | undefined;
}

/** A request whose transport, client and limits are known. */
interface Run {
  client: ClientStore;
  config: HostConfig;
  events: EventStream;
  place: CallTransport['place'];
  received: ReceivedRequest;
  /** The descriptor of the client's lock. */
  lock: number;
  signal: AbortSignal;
}

/**
 * Serves one request.
 * @returns undefined for a probe, which has no outcome and is not logged
 * @throws Fault if the request is refused, or if the run fails without an outcome of its own
 */
export async function serveRequest(served: ServedCall): Promise<Served | undefined> {
  const { interrupt, events } = served;
  const config = readHostConfig(served.config);
  const client = openCaller(served, config);
  const { transport, place } = chooseTransport(served);
  if (served.offer !== undefined && transport !== FETCH)
    throw failure('no-offer', `the key of offer ${served.offer} was used for "${transport}"`);
  // The call counts until it has become the client's run, or has ended.
  await using call = new AsyncDisposableStack();
  await takeCall(call, client);
  if (transport === FETCH) {
    const { serveFetch } = await import('./served-fetch.ts');
    return await serveFetch(served, { client, config });
  }
  if (transport === PROBE) {
    await awaitEmptyInput(interrupt);
    events.send({ event: 'accepted' });
    return undefined;
  }
  requireHooks(config.hooks);
  await using held = new AsyncDisposableStack();
  using deadline = deadlineSignal(settingsFor(config, client.name).deadlineMs, () =>
    failure('deadline', 'the deadline has passed'),
  );
  const life = new AbortController();
  watchEnrollment(held, client, fault => life.abort(fault));
  const signal = AbortSignal.any([interrupt, deadline.signal, life.signal]);
  const received = await receiveRequest(signal, life);
  if (received.request.header.transport !== transport)
    throw failure('request', `the command and the request name different transports`);
  const lock = await lockClient(served.held, client);
  await call.disposeAsync();
  return await admitRun(held, { client, config, events, place, received, lock, signal }, served);
}

/** Opens the store and the caller's folder, so that a refusal of the call is in the journal of the key's owner. */
function openCaller(served: ServedCall, config: HostConfig): ClientStore {
  const { client: name, config: configPath, environment, log } = served;
  log.hasSyslog = config.syslog;
  openStore(config.store);
  noteStore(config.store, configPath);
  keepScratchIn(config.store);
  const client = openEnrolled(config, name);
  log.client = client;
  log.peer = callerName(environment);
  refuseVariables(readProc('self/environ') ?? '');
  // The key of an offer gets files back, also those of a client that makes no backups any more.
  if (served.offer === undefined) requireEnrolled(client);
  if (served.offer === undefined && !served.isLocal) requireKey(client, served.key);
  return client;
}

function openEnrolled(config: HostConfig, name: string): ClientStore {
  try {
    return openClient(config.store, name);
  } catch (error) {
    throw error instanceof Fault ? failure('config', error.found) : error;
  }
}

/** Takes a slot, admits the run, and runs it. */
async function admitRun(held: AsyncDisposableStack, run: Run, served: ServedCall): Promise<Served> {
  const { client, config, events, signal } = run;
  const { dry_run: isDryRun } = run.received.request.header;
  const retryAfter = (ms: number): void => events.send({ event: 'wait', ms });
  const slot = {
    store: config.store,
    concurrent: config.requests.max_concurrent,
    client: client.name,
    signal,
  };
  await takeSlot(held, slot, retryAfter);
  // A dry run keeps nothing: it needs no space, and does not count as a start.
  const admission = isDryRun ? undefined : await admit(config, client, signal, retryAfter);
  if (hasHooks(config.hooks) && !isDryRun) {
    served.hooks = new HostHooks(config.hooks, client);
    await served.hooks.begin(signal);
  }
  return await arrive(held, run, admission);
}

/** Pulls into a new arriving tree. If it does not become a snapshot, it is kept for the next run or discarded. */
async function arrive(
  held: AsyncDisposableStack,
  run: Run,
  admission: Admission | undefined,
): Promise<Served> {
  const { client, events } = run;
  const arrival = await beginSnapshot(client);
  let isKept = false;
  let isFull = false;
  held.defer(async () => {
    using _life = events.repeatPhase(); // writing the arrived data to the disk can take minutes
    // If the free space is watched, the next run that needs it removes the arriving tree.
    const isDiscarded = isFull && !(admission?.keepsArrival() ?? false);
    if (!isKept) await abandonSnapshot(client, arrival, isDiscarded);
    await admission?.settle(isKept);
  });
  await using watched = new AsyncDisposableStack();
  admission?.begin(watched, arrival);
  const signal = admission ? AbortSignal.any([run.signal, admission.signal]) : run.signal;
  try {
    const result = await pullInto({ ...run, arrival, admission, signal });
    isFull = result.outcome.code === 'no-space';
    isKept = result.isKept;
    return { outcome: result.outcome, fault: result.fault };
  } catch (error) {
    const first = firstError(error);
    isFull = first instanceof Fault && first.exit === 'noSpace' && first.code !== 'over-budget';
    throw error;
  }
}

/** A run with its arriving tree. */
interface ArrivingRun extends Run {
  arrival: Arrival;
  /** Undefined for a dry run. */
  admission: Admission | undefined;
}

/** Connects, pulls, and commits the tree if the pull has ended well. `isKept` says whether it has become a snapshot. */
async function pullInto(run: ArrivingRun): Promise<Served & { isKept: boolean }> {
  const { arrival, events, signal } = run;
  const { request } = run.received;
  const { dry_run: isDryRun } = request.header;
  await using held = new AsyncDisposableStack();
  const sender = new SenderOutput(request.header.transport !== 'direct' && request.header.confined);
  const idleSeconds = idleSecondsOf(run);
  const opened = { ...run, client: run.client.name, idleSeconds };
  const connection = await openConnection(held, opened, line => sender.take(line));
  const basis = arrival.basis === null ? undefined : readSnapshot(run.client, arrival.basis).record;
  const pull = await beginPull(held, run, connection, basis?.confined.receive ?? false);
  let hasSpoken = false;
  void pull.firstByte.then(() => {
    hasSpoken = true;
  });
  await awaitFirstByte(pull, connection, signal, idleSeconds);
  using _progress = events.reportProgress(pull);
  events.send({ event: 'phase', phase: 'copying' });
  const end = await abortable(signal, pull.ended);
  const { outcome, reason } = await outcomeOf(end, { arrival, isDryRun, hasSpoken, signal });
  if (outcome.code !== null) {
    const messages = [...end.words, ...sender.lines.map(each => `client: ${each}`), await connection.log()];
    const found = [reason, ...messages.filter(each => each !== '')].join(' | ');
    return { outcome, fault: failure(outcome.code, found), isKept: false };
  }
  const fault = hostFault(end);
  if (end.unstored.count > 0) events.send({ event: 'unstored', ...end.unstored });
  if (isDryRun) return { outcome: { ...outcome, snapshot: null }, fault, isKept: false };
  events.send({ event: 'phase', phase: 'committing' });
  const moved = await linkArrived(run, end);
  const hostRsync = await rsyncVersion();
  const flags = await flagRun(run, end, { basis, hostRsync, moved });
  const about = { isSenderConfined: sender.isConfined, hostRsync, basis, moved };
  const pulled = { client: run.client, request, arrival, end, outcome, ...about };
  const record = makeRecord({ ...pulled, options: pull.options }, flags);
  requireEnrolled(run.client);
  const late = await commitSnapshot(run.client, arrival, record, request.excludes);
  return { outcome, fault: late ?? fault, isKept: true };
}

/** Links the arrived files that an older snapshot has at another path, if host.toml allows it and a file has arrived. */
async function linkArrived(
  { config, client, arrival, signal }: ArrivingRun,
  { counts }: PullEnd,
): Promise<MovedFiles> {
  await dropWork(arrival.folder);
  // rsync does not report the files that it links from an interrupted tree.
  const hasArrived =
    counts.new + counts.content_changed + counts.attributes_changed + arrival.leftOver.length > 0;
  if (!config.space.link_moved || !hasArrived || arrival.basis === null)
    return { files: 0, bytes: 0, shared: { files: 0, bytes: 0 } };
  try {
    const { linkMoved } = await import('../store/moved-files.ts'); // a run in which nothing arrives needs no memory for it
    return await linkMoved(client, arrival, signal);
  } finally {
    await dropWork(arrival.folder);
  }
}

/**
 * Compares a run with the client's earlier ones, and writes a finding to the journal.
 * @returns the flags for its record
 * @throws Fault as `Admission.check()`
 */
async function flagRun(
  { admission, arrival, client, received }: ArrivingRun,
  { counts, unlinked }: PullEnd,
  { basis, hostRsync, moved }: { basis: SnapshotRecord | undefined; hostRsync: string; moved: MovedFiles },
): Promise<string[]> {
  const unusual = (await admission?.check(arrival, recordBytes(received.request))) ?? [];
  const rsync = { client: decodeRsync(received.request.header.rsync).version, host: hostRsync };
  const snapshots = listSnapshots(client).filter(each => each.name < arrival.name);
  const earlier = snapshots.map(each => each.record);
  const few = checkLinkedShare(earlier, {
    basis,
    counts: { ...counts, moved: moved.files },
    unlinked,
    rsync,
  });
  if (few === undefined) return unusual;
  const { flags, share, usual } = few;
  recordEvent(client, 'few-linked', {
    ...{ snapshot: arrival.name, flags },
    ...{ linked_percent: share, usual_percent: usual },
  });
  return [...unusual, ...flags];
}

/** The standard error of the client's machine. */
class SenderOutput {
  /** The first lines, escaped. */
  readonly lines: string[] = [];
  /** Whether the client's rsync runs in the launcher's jail. */
  isConfined: boolean;

  /** @param isConfined what the request says about it */
  constructor(isConfined: boolean) {
    this.isConfined = isConfined;
  }

  take(line: string): void {
    if (readJailLine(line) !== undefined) this.isConfined = true;
    else if (this.lines.length < CLIENT_LINES) this.lines.push(escapeText(line.trim(), CLIENT_LINE_LENGTH));
  }
}

/**
 * Starts rsync with the run's limits.
 * @param wasConfined whether the last run's rsync was confined
 * @throws Fault if it was and the launcher is gone, unless host.toml says that it need not be confined
 */
async function beginPull(
  held: DisposableHolder,
  run: ArrivingRun,
  connection: Connection,
  wasConfined: boolean,
): Promise<Pull> {
  const { arrival, config } = run;
  const { header } = run.received.request;
  const confined = config.confined ?? hasJail();
  if (wasConfined && !confined && config.confined === undefined)
    throw launcherHasGone(jailPath(), 'host.toml', '`confined = false`');
  return await startPull(held, {
    roots: header.roots,
    tree: arrival.tree,
    linkDests: arrival.linkDests,
    dryRun: header.dry_run,
    checksum: header.checksum ?? false,
    // The client allows compression. An rsync without zstd pulls without it.
    compress: header.compress !== undefined && knowsZstd(await rsyncWords()),
    ...maxSizeOf(run),
    idleSeconds: idleSecondsOf(run),
    connection,
    lock: run.lock,
    confined,
    enumerated: header.enumerated,
  });
}

/** The entries that this host could not store, and its rsync's own errors, for the journal. */
function hostFault({ unstored, wordCount, words }: PullEnd): Fault | undefined {
  const reasons = [
    ...(unstored.count > 0 ? [unstoredText(unstored)] : []),
    ...(wordCount > 0 ? [`rsync on the host reported errors (${wordCount}): ${words.join(' | ')}`] : []),
  ];
  return reasons.length > 0 ? failure('rsync', reasons.join('; ')) : undefined;
}

/**
 * The size in bytes above which a file is left out. Without `max_size` it is what can be read before the deadline. Otherwise one sparse
 * file (`truncate -s 15T`) would take the time of all others, in each run.
 */
function maxSizeOf({ config, client, received, arrival }: ArrivingRun): {
  maxSize: number;
  isStoreLimit: boolean;
} {
  const { maxSize, deadlineMs } = settingsFor(config, client.name);
  const most = maxSize ?? READ_BYTES_PER_MS * deadlineMs;
  const wanted = Math.min(most, received.request.header.max_size ?? most);
  // A write beyond the file system's limit would kill rsync, and so end the run.
  const possible = largestFile(arrival.folder, wanted);
  return { maxSize: possible, isStoreLimit: possible < wanted };
}

function idleSecondsOf({ config, client }: Run): number {
  return Math.ceil(settingsFor(config, client.name).idleMs / 1000);
}
