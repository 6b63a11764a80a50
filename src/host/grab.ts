/**
 * `dialback grab`: what the host runs on a request, as the forced command of one client's key.
 *
 * Everything that it writes to the client is an event (wire/events.ts): a code, a count, a name of the client's own.
 * What went wrong in words stands in the client's journal in the store, and in the system's log.
 */
import { createHash } from 'node:crypto';
import type { Writable } from 'node:stream';
import { EXIT, type ExitStatus, Fault, firstError } from '../fault.ts';
import { findSubject, ownAccount, refuseRoot } from '../os/account.ts';
import { abortable, withTimeout } from '../os/async.ts';
import { deadlineSignal, monotonicMs, now, sleep } from '../os/clock.ts';
import { ownExecutable } from '../os/executable.ts';
import { readdir } from '../os/files.ts';
import { hasLauncher, launcherHasGone, readJailLine } from '../os/launcher.ts';
import { PLAIN_ENVIRONMENT, run, standard, start, startApart } from '../os/process.ts';
import { hasProgram } from '../os/programs.ts';
import { recordsOf } from '../os/records.ts';
import {
  type DisposableHolder,
  defaultStateFolder,
  makeRunFolder,
  prepareStateFolder,
} from '../os/runfolder.ts';
import { descriptorStream } from '../os/streams.ts';
import { rsyncVersion, rsyncWords } from '../os/versions.ts';
import { hasHooks, requireHooks } from '../shared/hooks.ts';
import { isRsyncVulnerable } from '../shared/package-changelog.ts';
import { findPrinter, printedWords } from '../shared/startup-files.ts';
import { largestFile } from '../store/file-size.ts';
import { noteStore } from '../store/known-stores.ts';
import { describeClient, lacksManifest } from '../store/manifest.ts';
import { requireEnrolled, watchEnrollment } from '../store/retirement.ts';
import { keepScratchIn } from '../store/scratch.ts';
import {
  type Arrival,
  abandonSnapshot,
  beginSnapshot,
  type ClientStore,
  commitSnapshot,
  lockClient,
  openClient,
  openStore,
  readSnapshot,
  recordEvent,
  type SnapshotRecord,
} from '../store/store.ts';
import { emptyTrash } from '../store/trash.ts';
import {
  encodeEvent,
  FAILURES,
  type FailureCode,
  failedOutcome,
  failure,
  type HostEvent,
  type OutcomeEvent,
  type Phase,
} from '../wire/events.ts';
import { decodeRsync, type Request, type RequestHeader, type RsyncRemark } from '../wire/request.ts';
import { knowsZstd, RSYNC_EXIT } from '../wire/rsync-output.ts';
import { CHANNEL, escapeText, PROBE } from '../wire/text.ts';
import { type Admission, admit } from './admission.ts';
import { takeCall } from './calls.ts';
import { type HostConfig, readHostConfig, settingsFor } from './config.ts';
import { dialBack, type Line } from './dial.ts';
import { HostHooks } from './hooks.ts';
import { takeProbe } from './probe.ts';
import { type Pull, type PullEnd, startPull } from './pull.ts';
import { takeTurn } from './queue.ts';
import {
  callerOf,
  parseCall,
  peerAddress,
  type Received,
  receiveRequest,
  refuseVariables,
} from './receive-request.ts';
import { unstoredText } from './unstored.ts';

/** A client hears from us at least this often. */
const HEARTBEAT_MS = 5_000;
const SSH_END_MS = 1_000;
const PROGRESS_MS = 1_000;

export interface GrabOptions {
  client: string;
  config: string;
  /** `backup` has started it, on the same machine, and no sshd (wire/local.ts). */
  isLocal: boolean;
  /** SSH_CONNECTION and SSH_ORIGINAL_COMMAND are read, nothing else. */
  environment: NodeJS.ProcessEnv;
}

/** Runs one request to its end. @returns the exit status; the client has heard the outcome by then */
export async function grab(options: GrabOptions, interrupt: AbortSignal): Promise<ExitStatus> {
  refuseRoot('grab');
  if (options.environment.SSH_CONNECTION === undefined && !options.isLocal) {
    throw new Fault({
      tried: 'run "grab" by hand',
      found: 'it is what sshd runs for an enrolled key: there is no SSH_CONNECTION',
      next: 'dialback enroll NAME KEYFILE; then, on the client, dialback backup',
      exit: 'usage',
    });
  }
  const log: HostLog = {
    syslog: true,
    client: undefined,
    name: options.client,
    peer: undefined,
    hooks: undefined,
  };
  await using beyond = new AsyncDisposableStack();
  const started = monotonicMs();
  let outcome: OutcomeEvent;
  let fault: Fault | undefined;
  try {
    const result = await serve(options, interrupt, log, beyond);
    if (result === undefined) return EXIT.done;
    ({ outcome, fault } = result);
  } catch (caught) {
    const error = firstError(caught);
    fault =
      error instanceof Fault
        ? error
        : new Fault({ tried: 'serve the request', found: inWords(error), code: 'internal' });
    if (fault.code === 'gone' && isEarly(options)) fault = await withOwnShell(fault);
    outcome = failedOutcome(failureCode(fault));
  }
  const durationMs = Math.round(monotonicMs() - started);
  const isRecorded = await writeLog(log, outcome, fault, durationMs);
  // A disk that was pulled out makes whatever was under way fail, in one way or another.
  if ((outcome.code === 'internal' || outcome.code === 'rsync') && !isRecorded)
    outcome = failedOutcome('no-store', outcome.rsync_exit);
  await tellLast(outcome);
  const exit = exitOf(outcome);
  // The client need not wait for these, nor does it hear of them.
  const late = await log.hooks?.end(outcome, fault, { exit, durationMs });
  if (late) await tellSyslog(log, escapeText(late.message, 1000));
  await beyond.disposeAsync();
  // Where others wait for the disk, whoever comes again does that then.
  if (outcome.code === 'full') return EXIT[FAILURES.full[0]];
  // After the client has heard: what an interrupted run left is nobody's any more.
  // What cannot be removed now the next run removes; the outcome stands.
  if (log.client && !interrupt.aborted) await emptyTrash(log.client.folder).catch(() => {});
  if (log.client && !interrupt.aborted) await describe(log.client, options, interrupt);
  return exit;
}

function exitOf({ code, outcome }: OutcomeEvent): ExitStatus {
  if (code !== null) return EXIT[FAILURES[code][0]];
  return outcome === 'incomplete' ? EXIT.incomplete : EXIT.done;
}

/**
 * The manifest of what has come, by a process of its own: the client's ssh ends with this one, and need not wait for it. Where
 * the store is on the client's own disk, `backup` waits: when it has ended, nobody is at work there, and the disk may go.
 */
async function describe(
  client: ClientStore,
  { config, isLocal }: GrabOptions,
  interrupt: AbortSignal,
): Promise<void> {
  try {
    if (!lacksManifest(client)) return;
    if (isLocal) {
      await describeClient({ client: client.name, store: readHostConfig(config).store }, interrupt);
      return;
    }
    const args = ['manifest', '--client', client.name, '--config', config];
    const environment = { ...PLAIN_ENVIRONMENT, HOME: ownAccount().home };
    await startApart({ program: ownExecutable(), args, environment });
  } catch {
    // the next run does it, or `verify`: this one's outcome stands
  }
}

function inWords(error: unknown): string {
  return escapeText(error instanceof Error ? (error.stack ?? error.message) : String(error), 2000);
}

/** Events that a client has not taken yet may fill so much of our memory; then progress is left out. */
const UNHEARD_LIMIT = 1024 * 1024;
const LAST_WORD_MS = 10_000;

let toClient: Writable | undefined;
let phase: Phase | undefined;

/** The one way in which anything reaches the client. It never waits: a client that does not listen holds up nothing. */
function tell(event: HostEvent): void {
  if (event.event === 'phase') phase = event.phase;
  toClient ??= descriptorStream(2, { writable: true }).on('error', () => {}); // it has hung up: its input tells
  if (toClient.writableLength < UNHEARD_LIMIT) toClient.write(encodeEvent(event));
}

/** Tells the client that we live, where there is nothing new to tell: it passes a phase on once. */
function signsOfLife(): Disposable {
  const timer = setInterval(() => {
    if (phase) tell({ event: 'phase', phase });
  }, HEARTBEAT_MS);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

/** The last event, and the time for it to get out. */
async function tellLast(event: OutcomeEvent): Promise<void> {
  tell(event);
  const stream = toClient;
  const sent = new Promise<void>(resolve => stream?.end(resolve).once('close', resolve));
  await Promise.race([sent, sleep(LAST_WORD_MS)]);
}

/** The code that the client gets for a fault of ours; the fault's own words stay here. */
function failureCode(fault: Fault): FailureCode {
  if (fault.code !== undefined && Object.hasOwn(FAILURES, fault.code)) return fault.code as FailureCode;
  if (fault.exit === 'noSpace') return 'no-space';
  if (fault.exit === 'interrupted') return 'interrupted';
  return 'internal';
}

interface HostLog {
  syslog: boolean;
  client: ClientStore | undefined;
  name: string;
  peer: string | undefined;
  /** Once a run has come to them. */
  hooks: HostHooks | undefined;
}

/** One line in the client's journal, one in the system's log. @returns whether the journal could be written, where there is one */
async function writeLog(
  log: HostLog,
  outcome: OutcomeEvent,
  fault: Fault | undefined,
  durationMs: number,
): Promise<boolean> {
  const { missing: _, event: __, ...numbers } = outcome;
  const event = eventOf(outcome);
  let isRecorded = true;
  try {
    if (log.client) {
      recordEvent(log.client, event, {
        peer: log.peer ?? null,
        ...numbers,
        reason: fault?.message ?? null,
        duration_ms: durationMs,
      });
    }
  } catch (error) {
    // The system's log has the reason.
    isRecorded = error instanceof Fault && error.exit === 'noSpace';
  }
  if (event === 'queued') return isRecorded;
  const words = fault ? ` (${escapeText(fault.message, 1000)})` : '';
  await tellSyslog(log, `${outcome.outcome}${outcome.snapshot ? ` ${outcome.snapshot}` : ''}${words}`);
  return isRecorded;
}

async function tellSyslog(log: HostLog, text: string): Promise<void> {
  if (!log.syslog || !hasProgram('logger')) return;
  const line = `${log.name}: ${text}`;
  try {
    await run(standard('logger', ['-t', 'dialback', '-p', 'daemon.notice', '--', line]), {
      timeoutMs: 5_000,
    });
  } catch {
    // no log daemon: the journal has it
  }
}

/** The journal's word for what became of a request. */
function eventOf({ code }: OutcomeEvent): 'run' | 'refused' | 'queued' {
  if (code === 'full') return 'queued';
  return code !== null && FAILURES[code][0] === 'refused' ? 'refused' : 'run';
}

interface Served {
  outcome: OutcomeEvent;
  fault: Fault | undefined;
}

/**
 * @param beyond holds the client's lock: whoever gets it finds the run on record, and its hooks ended
 * @returns undefined for a probe: nothing is on record of it, and nothing is left to tell
 */
async function serve(
  options: GrabOptions,
  interrupt: AbortSignal,
  log: HostLog,
  beyond: DisposableHolder,
): Promise<Served | undefined> {
  const config = readHostConfig(options.config);
  log.syslog = config.syslog;
  openStore(config.store);
  noteStore(config.store, options.config);
  keepScratchIn(config.store);
  // By the key's name, before what was asked for is looked at: a refusal stands in the journal of whose key it was.
  const client = openEnrolled(config, options.client);
  log.client = client;
  log.peer = callerOf(options.environment);
  refuseVariables();
  requireEnrolled(client);
  const { transport, place } = wayOf(options);
  // Until this call is the client's run, or has ended.
  await using call = new AsyncDisposableStack();
  await takeCall(call, client);
  if (transport === PROBE) {
    await takeProbe(interrupt, bytes => tell({ event: 'arrived', bytes }));
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
  const { request } = received;
  if (request.header.transport !== transport)
    throw failure('request', `the command and the request name different transports`);
  const isHooked = hasHooks(config.hooks) && !request.header.dry_run;
  const lock = await lockClient(beyond, client);
  await call.disposeAsync();
  const mustWait = (ms: number): void => tell({ event: 'wait', ms });
  const { max_concurrent: concurrent } = config.requests;
  await takeTurn(held, { store: config.store, concurrent, client: client.name, signal }, mustWait);
  // A dry run keeps nothing, so it needs no room, and its start is none.
  const admission = request.header.dry_run ? undefined : await admit(config, client, signal, mustWait);
  if (isHooked) {
    log.hooks = new HostHooks(config.hooks, client);
    await log.hooks.begin(signal);
  }
  const arrival = await beginSnapshot(client);
  let kept = false;
  let isFull = false;
  held.defer(async () => {
    using _life = signsOfLife(); // what has arrived is written to the disk, which can take minutes
    // Where the room is watched, the next run that needs it takes what this one leaves.
    const isGivenUp = isFull && !(admission?.keepsArrival() ?? false);
    if (!kept) await abandonSnapshot(client, arrival, isGivenUp);
    await admission?.settle(kept);
  });
  await using watched = new AsyncDisposableStack();
  admission?.begin(watched, arrival);
  const running = admission ? AbortSignal.any([signal, admission.signal]) : signal;
  let result: JobResult;
  try {
    result = await pullInto({
      ...{ client, config, received, place, lock, arrival, admission },
      signal: running,
    });
  } catch (error) {
    const first = firstError(error);
    isFull = first instanceof Fault && first.exit === 'noSpace' && first.code !== 'over-budget';
    throw error;
  }
  isFull = result.outcome.code === 'no-space';
  kept = result.kept;
  return { outcome: result.outcome, fault: result.fault };
}

/** Which transport the command is for, before the request is read; and where to dial, if anywhere. */
function wayOf(options: GrabOptions): {
  transport: RequestHeader['transport'] | typeof PROBE;
  place: { peer: string; port: number } | undefined;
} {
  const { environment } = options;
  if (options.isLocal) {
    // A line of authorized_keys with this word would open the store to whoever has the key, under no name but its own.
    if (environment.SSH_CONNECTION !== undefined)
      throw failure('config', '--local was said, and there is an SSH_CONNECTION: enrol the key again');
    return { transport: 'local', place: undefined };
  }
  const { port, isProbe } = parseCall(options);
  if (isProbe) return { transport: PROBE, place: undefined };
  if (port === undefined) return { transport: 'channel', place: undefined };
  return { transport: 'direct', place: { peer: peerAddress(environment), port } };
}

function openEnrolled(config: HostConfig, name: string): ClientStore {
  try {
    return openClient(config.store, name);
  } catch (error) {
    throw error instanceof Fault ? failure('config', error.found) : error;
  }
}

interface Job {
  client: ClientStore;
  config: HostConfig;
  received: Received;
  /** Where to dial; undefined: nowhere, the call is the channel. */
  place: { peer: string; port: number } | undefined;
  lock: number;
  arrival: Arrival;
  /** Undefined for a dry run. */
  admission: Admission | undefined;
  signal: AbortSignal;
}

interface JobResult {
  outcome: OutcomeEvent;
  fault: Fault | undefined;
  /** Whether the arriving tree has become a snapshot. */
  kept: boolean;
}

/** Dials, pulls, and commits what is worth it. */
async function pullInto(job: Job): Promise<JobResult> {
  const { signal } = job;
  const { request } = job.received;
  await using held = new AsyncDisposableStack();
  const clientWords: string[] = [];
  let isSenderConfined = request.header.transport !== 'direct' && request.header.confined;
  const line = await openLine(held, job, text => {
    if (readJailLine(text) !== undefined) isSenderConfined = true;
    else if (clientWords.length < 20) clientWords.push(escapeText(text.trim(), 400));
  });
  const last = basisRecord(job)?.confined;
  const isConfined = job.config.confined ?? hasLauncher();
  if (last?.receive && !isConfined && job.config.confined === undefined)
    throw launcherHasGone('host.toml', '`confined = false`');
  const pull = await startPull(held, {
    roots: request.header.roots,
    tree: job.arrival.tree,
    linkDests: job.arrival.linkDests,
    dryRun: request.header.dry_run,
    checksum: request.header.checksum ?? false,
    // It lets us, and does not make us: an rsync without zstd pulls as ever.
    compress: request.header.compress !== undefined && knowsZstd(await rsyncWords()),
    ...maxSizeOf(job),
    idleSeconds: idleSecondsOf(job),
    line,
    lock: job.lock,
    confined: isConfined,
    enumerated: request.header.enumerated,
  });
  let hasSpoken = false;
  void pull.firstByte.then(() => {
    hasSpoken = true;
  });
  await awaitFirstByte(pull, line, signal, idleSecondsOf(job));
  using _heart = heartbeat(pull);
  tell({ event: 'phase', phase: 'copying' });
  const end = await abortable(signal, pull.ended);
  const { outcome, found } = await judge(job, end, hasSpoken);
  if (outcome.code !== null) {
    const said = [...end.words, ...clientWords.map(each => `client: ${each}`), await line.words()];
    const words = said.filter(each => each !== '');
    return { outcome, fault: failure(outcome.code, [found, ...words].join(' | ')), kept: false };
  }
  const fault = ownFault(end);
  if (end.unstored.count > 0) tell({ event: 'unstored', ...end.unstored });
  if (request.header.dry_run) return { outcome: { ...outcome, snapshot: null }, fault, kept: false };
  tell({ event: 'phase', phase: 'committing' });
  const { jail } = end;
  const confined = {
    send: isSenderConfined,
    receive: jail !== undefined,
    landlock_abi: jail?.landlockAbi ?? null,
    own_root: jail?.hasOwnRoot ?? false,
  };
  const isLessConfined = (last?.own_root ?? false) && !confined.own_root;
  const unusual = (await job.admission?.judge(job.arrival, recordBytes(request))) ?? [];
  const hostRsync = await rsyncVersion();
  const flags = [
    ...(end.wordCount + end.unstored.count > 0 ? ['host-errors'] : []),
    // A group of hard links of the client's is more than one inode here.
    ...(end.newInodes > 0 ? ['hard-links-split'] : []),
    ...(end.hasCutTimes ? ['times-cut'] : []),
    // A jail that is not what the last one was is nothing to find out later.
    ...(isLessConfined ? ['less-confined'] : []),
    // What an old rsync cannot do safely; of the client's, as the client says.
    ...decodeRsync(request.header.rsync).remarks.map(each => REMARK_FLAGS[each]),
    ...(isRsyncVulnerable(hostRsync) ? ['host-rsync-vulnerable'] : []),
    ...unusual,
  ];
  const record = makeRecord(job, pull, end, outcome, { confined, flags, hostRsync });
  requireEnrolled(job.client);
  const late = await commitSnapshot(job.client, job.arrival, record, request.excludes);
  return { outcome, fault: late ?? fault, kept: true };
}

/** What of the failure is this host's, for its journal. */
function ownFault({ unstored, wordCount, words }: PullEnd): Fault | undefined {
  const told = [
    ...(unstored.count > 0 ? [unstoredText(unstored)] : []),
    ...(wordCount > 0 ? [`rsync had ${wordCount} complaints of its own: ${words.join(' | ')}`] : []),
  ];
  return told.length > 0 ? failure('rsync', told.join('; ')) : undefined;
}

/** About what is written beside the tree: the exclude list, and snapshot.json, which has the roots, and rsync's options with them. */
function recordBytes({ header, excludes }: Request): number {
  return excludes.length + 3 * JSON.stringify(header).length + RECORD_BYTES;
}

const RECORD_BYTES = 8192;

const REMARK_FLAGS: Record<RsyncRemark, string> = {
  'lists-names': 'client-lists-names',
  vulnerable: 'client-rsync-vulnerable',
};

/**
 * How large a file may be. Where no limit is set: what is read before the deadline. Else one file that is all holes
 * (`truncate -s 15T`) takes the time of all others, run after run.
 */
function maxSizeOf({ config, client, received, arrival }: Job): { maxSize: number; isStoreLimit: boolean } {
  const { maxSize, deadlineMs } = settingsFor(config, client.name);
  const most = maxSize ?? READ_BYTES_PER_MS * deadlineMs;
  const wanted = Math.min(most, received.request.header.max_size ?? most);
  // A write beyond it would end rsync, and the run with it.
  const taken = largestFile(arrival.folder, wanted);
  return { maxSize: taken, isStoreLimit: taken < wanted };
}

/** Slower than holes are read. */
const READ_BYTES_PER_MS = 100_000;

function idleSecondsOf({ config, client }: Job): number {
  return Math.ceil(settingsFor(config, client.name).idleMs / 1000);
}

/** The connection to the client's gate: the host dials back, or the call is it. @param heard the client's standard error */
async function openLine(held: DisposableHolder, job: Job, heard: (text: string) => void): Promise<Line> {
  const { place, received, signal } = job;
  const { header, key } = received.request;
  if (header.transport !== 'direct' || place === undefined) {
    const ends = await received.takeChannel();
    return {
      transport: header.transport,
      ...ends,
      ended: new Promise(() => {}),
      words: async () => '',
    };
  }
  const state = defaultStateFolder(ownAccount());
  prepareStateFolder(state);
  const folder = await makeRunFolder(held, state);
  tell({ event: 'phase', phase: 'dialling' });
  const dial = { run: folder, ...place, name: job.client.name, header, key, signal };
  return await dialBack(held, { ...dial, idleSeconds: idleSecondsOf(job) }, heard);
}

/**
 * Waits until the client's rsync speaks; tells apart why it does not. To start it can take minutes on a machine with other work:
 * it has as long for its first byte as for any other.
 */
async function awaitFirstByte(
  pull: Pull,
  line: Line,
  signal: AbortSignal,
  idleSeconds: number,
): Promise<void> {
  const failed = line.ended.then(async ({ status }) => {
    // ssh ends, too, when rsync has not come to be: then that is the cause, and is judged.
    const end = await Promise.race([pull.ended, sleep(SSH_END_MS)]);
    if (end?.isRefusedByLauncher) return;
    const words = await line.words();
    if (/Permission denied|Too many authentication failures/.test(words)) throw failure('denied', words);
    if (/Host key verification failed|host key/i.test(words)) throw failure('denied', words);
    if (status === 255) throw failure('unreachable', words || 'ssh ended without a word');
    throw failure('no-answer', `ssh ended with status ${status ?? 'unknown'} before rsync spoke. ${words}`);
  });
  failed.catch(() => {}); // ssh also ends after the first byte, and then it is of no interest here
  // Where rsync ends first, it can be that ssh has, a moment ago: then that is the cause. Else rsync's end is judged.
  const ended = pull.ended.then(end =>
    end.isRefusedByLauncher ? undefined : Promise.race([failed, sleep(2 * SSH_END_MS)]),
  );
  ended.catch(() => {});
  await withTimeout(signal, idleSeconds * 1000, Promise.race([pull.firstByte, failed, ended]), () =>
    failure('idle', `no byte came within ${idleSeconds} s after dialling`),
  );
}

/** Whether it is a channel's call, and nothing was copied yet. */
function isEarly({ environment }: GrabOptions): boolean {
  return phase === undefined && (environment.SSH_ORIGINAL_COMMAND ?? '').endsWith(`:${CHANNEL}`);
}

/** A client that hangs up before may have read what a start-up file of this account printed: then that is on record. */
async function withOwnShell(fault: Fault): Promise<Fault> {
  const { uid, name } = ownAccount();
  const subject = await findSubject(uid);
  const printed = subject && (await findPrinter(subject));
  if (printed === undefined) return fault;
  return failure('gone', `${fault.found}: ${printedWords(printed, name)} into the connection`);
}

/** Tells the client how far it is, when that has changed, and that we live in any case. */
function heartbeat(pull: Pull): Disposable {
  let last = -1;
  let lastDone = -1;
  let quietMs = 0;
  const timer = setInterval(() => {
    const { bytes, percent } = pull.progress();
    const files = pull.files();
    const isFurther = files !== undefined && files.done !== lastDone;
    quietMs += PROGRESS_MS;
    if (bytes === last && !isFurther && quietMs < HEARTBEAT_MS) return;
    if (files && isFurther) tell({ event: 'files', ...files });
    last = bytes;
    lastDone = files?.done ?? -1;
    quietMs = 0;
    tell({ event: 'progress', bytes, percent });
  }, PROGRESS_MS);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

/**
 * Whether the content of any file is in the tree. Links, devices and the like arrive without being opened, and in a fake-super
 * tree they are plain files too: so the tree must hold more plain files than there are of these.
 */
async function hasContent(
  { arrival, signal }: Job,
  { counts, regularFiles, sentFiles, missingCount, wordCount, unread }: PullEnd,
): Promise<boolean> {
  // Each file that was sent and did not come whole has a complaint: more files than complaints, and one is whole.
  if (sentFiles > missingCount + wordCount) return true;
  // --partial keeps what has come of a file that could not be read to its end.
  let others = counts.files - regularFiles + Math.floor(unread / 2);
  // rsync prints nothing of a file that it links from the last snapshot, so the tree itself is counted, as far as it takes.
  const words = ['-P', arrival.tree, '-type', 'f', '-printf', '\\0'];
  const find = await start(standard('find', words), ['nothing', 'pipe', 'nothing']);
  try {
    for await (const records of recordsOf(find, 1)) {
      signal.throwIfAborted();
      others -= records.length;
      if (others < 0) return true;
    }
    return false;
  } finally {
    await find.end();
  }
}

/** Full, incomplete or failed (design: rsync 23 is incomplete, 24 alone is full). */
async function judge(
  job: Job,
  end: PullEnd,
  hasSpoken: boolean,
): Promise<{ outcome: OutcomeEvent; found: string }> {
  const { status, signal } = end.ending;
  if (end.isRefusedByLauncher)
    return { outcome: failedOutcome('config'), found: 'the launcher did not confine rsync' };
  const exit = status ?? 255;
  const failed = (code: FailureCode, found: string) => ({ outcome: failedOutcome(code, status), found });
  // Changed files alone make rsync say "partial"; they come with the next run, as vanished ones need not.
  const isOnlyChanged =
    exit === RSYNC_EXIT.partial && end.changedDuringRun > 0 && end.missingCount + end.wordCount === 0;
  const isWhole = exit === 0 || exit === RSYNC_EXIT.vanished || isOnlyChanged;
  if (!isWhole && exit !== RSYNC_EXIT.partial) {
    if (end.isOutOfSpace) return failed('no-space', 'the store is full');
    if (signal) return failed('interrupted', `rsync was ended by ${signal}`);
    // A start-up file of the client's account that prints comes before rsync's greeting. rsync's words can be cut behind
    // what was printed; and it says the second where there was no line at all, which is also so where nothing came.
    const isOther = (words: string): boolean =>
      words.startsWith('rsync: server sent "') ||
      (hasSpoken && words.startsWith('rsync: did not see server greeting'));
    if (end.words.some(isOther)) return failed('no-answer', 'something else than rsync spoke first');
    if (exit === RSYNC_EXIT.timeout || end.isIdle) return failed('idle', 'nothing came for too long');
    if (!hasSpoken)
      return failed('no-answer', `the connection ended before rsync spoke (exit status ${exit})`);
    if ([10, 12, 255].includes(exit))
      return failed('broken', `rsync's connection broke (exit status ${exit})`);
    return failed('rsync', `rsync's exit status is ${exit}`);
  }
  if (end.isOutOfSpace) return failed('no-space', 'the store is full');
  // The client's rsync can tell ours to end, with any status (MSG_ERROR_EXIT, @RSYNCD: EXIT).
  if (isWhole && !end.hasStatistics)
    return failed('rsync', `rsync ended with ${exit}, without having said what it did`);
  if (!isWhole && end.counts.files + end.counts.folders === 0)
    return failed('nothing', 'none of the roots could be read');
  // A partial transfer that stored nothing at all is the host's failure, not something missing on the client.
  if (!isWhole && !job.received.request.header.dry_run && readdir(job.arrival.tree).length === 0) {
    return failed('rsync', 'nothing could be stored');
  }
  if (end.missingCount > 0 && end.counts.files === 0)
    return failed('nothing', 'no folder that has files could be listed');
  // A dry run opens no file.
  const isDoubtful = end.unopened > 0 || (!isWhole && end.regularFiles > 0);
  if (isDoubtful && !job.received.request.header.dry_run && !(await hasContent(job, end)))
    return failed('nothing', `none of ${end.regularFiles} files could be read`);
  const { files, bytes, transferred_bytes } = end.counts;
  return {
    found: '',
    outcome: {
      event: 'outcome',
      outcome: isWhole && end.missingCount + end.unstored.count === 0 ? 'full' : 'incomplete',
      code: null,
      rsync_exit: status,
      snapshot: job.arrival.name,
      files,
      bytes,
      transferred_bytes,
      vanished: end.vanished,
      changed_during_run: end.changedDuringRun,
      missing_count: end.missingCount,
      missing: end.missing,
    },
  };
}

function basisRecord(job: Job): SnapshotRecord | undefined {
  return job.arrival.basis === null ? undefined : readSnapshot(job.client, job.arrival.basis).record;
}

function makeRecord(
  job: Job,
  pull: Pull,
  end: PullEnd,
  outcome: OutcomeEvent,
  { confined, flags, hostRsync }: Pick<SnapshotRecord, 'confined' | 'flags'> & { hostRsync: string },
): SnapshotRecord {
  return {
    version: 1,
    client: job.client.name,
    snapshot: job.arrival.name,
    started: job.arrival.started.toISOString(),
    finished: now().toISOString(),
    state: outcome.outcome === 'incomplete' ? 'incomplete' : 'full',
    transport: job.received.request.header.transport,
    confined,
    rsync: {
      client: decodeRsync(job.received.request.header.rsync).version,
      host: hostRsync,
      exit: end.ending.status ?? 255,
      options: pull.options,
    },
    scope: {
      roots: job.received.request.header.roots,
      excludes_sha256: createHash('sha256').update(job.received.request.excludes).digest('hex'),
    },
    counts: {
      ...end.counts,
      vanished: end.vanished,
      unreadable: end.missingCount,
      changed_during_run: end.changedDuringRun,
    },
    basis: job.arrival.basis,
    flags,
    durable: job.arrival.isDurable,
  };
}
