/** `dialback backup`: one run for each remote, from the one-time key to the host's outcome. */
import { dirname } from 'node:path';
import { configPath } from '../config.ts';
import { EXIT, type ExitStatus, Fault, firstError } from '../fault.ts';
import { type HookEnd, requireHooks } from '../hooks.ts';
import { appendJournal, exists, readJournal, readWhole } from '../os/files.ts';
import {
  launcherHasGone,
  readNeverList,
  requireInheritance,
  rsyncLibraries,
  tryConfinement,
} from '../os/launcher.ts';
import {
  addressesOf,
  deadlineSignal,
  monotonicMs,
  now,
  ownAccount,
  pause,
  randomShare,
  refuseRoot,
  together,
  unless,
  within,
} from '../os/machine.ts';
import { otherNames, parseMountTable } from '../os/mounts.ts';
import { rsyncVersion, rsyncWords } from '../os/process.ts';
import { awaitLock, makeRunFolder, prepareStateFolder, takeLock } from '../os/runfolder.ts';
import { FAILURES, type FailureCode, type OutcomeEvent } from '../wire/events.ts';
import { type CommonHeader, ENUMERATED_LIMIT, encodeRequest, isRoot, PATH_LIMIT } from '../wire/request.ts';
import { CHECKSUM_IDLE_SECONDS, daemonConfig, knowsZstd } from '../wire/rsync.ts';
import type { CallOptions } from '../wire/ssh.ts';
import { CHANNEL, escapeText, LOGIN, PROBE, unfold } from '../wire/text.ts';
import { parseFrom, type Range } from './addresses.ts';
import { type Callee, calledHostName, overSsh, placeCall } from './call.ts';
import { HUNG_UP, openChannel } from './channel.ts';
import { isChecksumDue, noteChecksum } from './checksum.ts';
import type { Compression } from './compression.ts';
import {
  type Capability,
  type ClientConfig,
  calledRemotes,
  callFiles,
  capabilityOf,
  clientName,
  ownNiceness,
  type Remote,
  readClientConfig,
  remoteLock,
  remoteName,
  stateFolder,
} from './config.ts';
import { Ears } from './ears.ts';
import { type Endpoint, openEndpoint, writeDaemonFiles } from './endpoint.ts';
import { endReader, forcedCommand, type GateOrders, gateProgram, readTaken } from './gate.ts';
import { runWithHooks } from './hooks.ts';
import { chooseCompression, noteLink } from './link.ts';
import { awaitStore, findStore, grabHere, isLocal, realPlace, SKIPPED, wordsHere } from './local.ts';
import { makeHostKey, makeOneTimeKey } from './onetime.ts';
import { decideRetry, isPassing, jitterWait } from './schedule.ts';
import { enumeratedFolders, mountsLeftOut, parseExcludes, scopeFilter, scopeRecords } from './scope.ts';

/** The request's ssh gives up connecting after this. */
const CONNECT_SECONDS = 30;
/** The host must have connected back, authenticated and been let in this long after the call was placed. */
const TAKEN_MS = 90_000;
/** Then it must have begun to copy within this. */
const FIRST_BYTE_MS = 60_000;
/** An outcome comes soon after the channel's end, or not at all. */
const LAST_WORD_MS = 5_000;
/** A host that says nothing for this long (or for idle_timeout, if that is longer) is given up. */
const SILENCE_MS = 60_000;
/** A signal is handled this long after it was sent, at the latest. */
const LATE_SIGNAL_MS = 500;

export interface BackupOptions {
  config: string | undefined;
  state: string | undefined;
  remote: string | undefined;
  dryRun: boolean;
  /** Whether somebody sits before it. */
  isAttended: boolean;
}

/** What a run says while it is under way. */
export type RunNews =
  | {
      event: 'phase';
      remote: string;
      phase: 'keys' | 'calling' | 'admitted' | 'dialling' | 'copying' | 'committing';
    }
  | {
      event: 'progress';
      remote: string;
      bytes: number;
      percent: number;
      /** Null where the host has not told; `percent` as in the event of that name (wire/events.ts). */
      files: { done: number; total: number; percent: number | null } | null;
    }
  /** Nothing is open meanwhile. `jitter`, `lock`, `disk`: before it begins; `retry`, `turn`: before it begins again. */
  | {
      event: 'waiting';
      remote: string;
      why: 'jitter' | 'lock' | 'disk' | 'retry' | 'turn';
      /** null: as long as the other run takes, or until the disk comes */
      ms: number | null;
      /** Why the last attempt failed, where there was one. */
      found: string | null;
    }
  | ({ event: 'compression'; remote: string } & Compression)
  | { event: 'warning'; remote: string; message: string }
  | ({ event: 'hook'; remote: string } & HookEnd);

/** How the run of one remote ended. */
export interface RunOutcome {
  remote: string;
  /** The host's word; for a run that it said nothing of, undefined. */
  outcome: OutcomeEvent | undefined;
  /** Why it failed. */
  fault: Fault | undefined;
  /** Why it was left out, as the config or the hook `before` wants it; then there is no fault. */
  skipped?: string | undefined;
  exit: ExitStatus;
  durationMs: number;
  /** Why the hook at its end failed. */
  hookFault?: Fault;
}

/**
 * Backs up to each remote in turn, or to the one named; what befalls one does not stop the others.
 * @param interrupt aborts on a signal: then all is cleaned up, and no further remote is begun
 */
export async function backup(
  options: BackupOptions,
  interrupt: AbortSignal,
  tell: (news: RunNews) => void,
): Promise<RunOutcome[]> {
  refuseRoot('backup');
  const config = readClientConfig(configPath('client.toml', options.config));
  const remotes = config.remote.filter(
    each => options.remote === undefined || remoteName(each) === options.remote,
  );
  if (remotes.length === 0) {
    const known = config.remote.map(remoteName).join(', ');
    throw new Fault({
      tried: `find the remote "${options.remote}"`,
      found: `there are: ${known}`,
      exit: 'usage',
    });
  }
  if (!options.dryRun) requireHooks(config.hooks);
  const state = stateFolder(config, options.state);
  prepareStateFolder(state);
  const { dryRun, isAttended } = options;
  const jitterMs = jitterWait(config.schedule.jitter, isAttended || dryRun, randomShare());
  if (jitterMs > 0) {
    for (const remote of remotes.map(remoteName))
      tell({ event: 'waiting', remote, why: 'jitter', ms: jitterMs, found: null });
    await pause(jitterMs, interrupt);
  }
  const outcomes: RunOutcome[] = [];
  for (const remote of remotes) {
    const outcome = await runOne({ config, remote, state, dryRun, interrupt, tell });
    outcomes.push(outcome);
    if (interrupt.aborted) break;
  }
  return outcomes;
}

interface Run {
  config: ClientConfig;
  remote: Remote;
  state: string;
  dryRun: boolean;
  interrupt: AbortSignal;
  tell: (news: RunNews) => void;
}

/** The run of one remote, within one deadline: first it waits for what has to be there, then come its hooks, and its attempts. */
async function runOne(whole: Run): Promise<RunOutcome> {
  const remote = remoteName(whole.remote);
  const started = monotonicMs();
  const { deadline: deadlineMs } = whole.config.limits;
  const end: Ending = ({ outcome, fault, skipped }) => {
    const exit = fault ? EXIT[fault.exit] : outcome?.outcome === 'incomplete' ? EXIT.incomplete : EXIT.done;
    return { remote, outcome, fault, skipped, exit, durationMs: Math.round(monotonicMs() - started) };
  };
  await using held = new AsyncDisposableStack();
  using deadline = deadlineSignal(deadlineMs, () => lateFault(remote, 'the deadline has passed'));
  const interrupt = AbortSignal.any([whole.interrupt, deadline.signal]);
  const run = { ...whole, interrupt };
  let isAbsent: boolean;
  try {
    await lockRemote(held, whole, interrupt);
    isAbsent =
      isLocal(run.remote) && (await awaitStore(run.remote, interrupt, waitsForDisk(run))) !== undefined;
  } catch (error) {
    // What befalls one remote does not stop the others, be it a mistake of ours.
    return end({ outcome: undefined, fault: asFault(error, remote), skipped: undefined });
  }
  const attempts = async (): Promise<RunOutcome> =>
    await attemptAll(run, whole.interrupt, () => deadlineMs - (monotonicMs() - started), end);
  // A run that is left out for want of its disk has nothing before it, and nothing after it.
  if (run.dryRun || (isAbsent && run.remote.absent === 'skip')) return await attempts();
  const tell = (hook: HookEnd): void => run.tell({ event: 'hook', remote, ...hook });
  const { config, state } = run;
  return await runWithHooks({ config, remote, journal: `${state}/journal.jsonl`, interrupt, tell }, attempts);
}

type Ending = (found: Pick<Attempt, 'outcome' | 'fault' | 'skipped'>) => RunOutcome;

/** As many attempts as it takes. @param interrupted the user's wish alone; @param leftMs until the deadline */
async function attemptAll(
  run: Run,
  interrupted: AbortSignal,
  leftMs: () => number,
  end: Ending,
): Promise<RunOutcome> {
  const remote = remoteName(run.remote);
  let failures = 0;
  let turns = 0;
  let failingSinceMs = 0;
  for (let count = 1; ; count += 1) {
    const attempt = await attemptOne(run);
    const last = end({ ...attempt, fault: counted(attempt.fault, count) });
    if (run.interrupt.aborted) return last;
    failures = isPassing(attempt) ? failures + 1 : 0;
    if (failures === 1) failingSinceMs = monotonicMs();
    turns = attempt.code === 'full' ? turns + 1 : 0;
    const limits = {
      failures,
      turns,
      failingMs: monotonicMs() - failingSinceMs,
      retryMs: run.config.schedule.retry,
      leftMs: leftMs(),
    };
    const retry = decideRetry(attempt, limits, randomShare());
    if (retry === undefined) return last;
    const found = attempt.fault?.message ?? null;
    run.tell({ event: 'waiting', remote, why: retry.why, ms: retry.waitMs, found });
    try {
      await pause(retry.waitMs, run.interrupt);
    } catch (error) {
      return interrupted.aborted ? end({ ...attempt, fault: asFault(error, remote) }) : last;
    }
  }
}

function waitsForDisk(run: Run): () => void {
  const remote = remoteName(run.remote);
  return () => run.tell({ event: 'waiting', remote, why: 'disk', ms: null, found: null });
}

/** A fault that says how often it was tried. */
function counted(fault: Fault | undefined, count: number): Fault | undefined {
  if (fault === undefined || count === 1) return fault;
  const { tried, found, next, exit, code } = fault;
  const more = { ...(next === undefined ? {} : { next }), ...(code === undefined ? {} : { code }) };
  return new Fault({ tried, found: `${found} (${count} attempts)`, exit, ...more });
}

function asFault(error: unknown, remote: string): Fault {
  const first = firstError(error);
  if (first instanceof Fault) return first.exit === 'interrupted' ? interruptedFault(remote, first) : first;
  return new Fault({ tried: `back up to "${remote}"`, found: describe(first) });
}

/** One run of a remote at a time; of those that wait for it, one: what comes later has nothing to add. */
async function lockRemote(held: AsyncDisposableStack, run: Run, interrupt: AbortSignal): Promise<void> {
  const remote = remoteName(run.remote);
  const path = remoteLock(run.state, run.remote);
  const locked = (found: string): Fault =>
    new Fault({ tried: `back up to "${remote}"`, found, exit: 'locked' });
  if ((await takeLock(held, path)) !== undefined) return;
  if (run.config.schedule.when_locked === 'fail') throw locked('another run is under way');
  await using waiting = new AsyncDisposableStack();
  if ((await takeLock(waiting, `${path}.next`)) === undefined)
    throw locked('another run is under way, and the next one waits for it already');
  run.tell({ event: 'waiting', remote, why: 'lock', ms: null, found: null });
  try {
    await awaitLock(held, path, interrupt);
  } catch (error) {
    if (!interrupt.aborted || run.interrupt.aborted) throw error;
    throw locked('another run has been under way until the deadline');
  }
}

/** How an attempt ended. */
interface Attempt {
  outcome: OutcomeEvent | undefined;
  fault: Fault | undefined;
  /** Why it was left out. */
  skipped: string | undefined;
  code: FailureCode | null;
  toldMs: number | undefined;
}

/** One attempt, and its two lines in the journal. */
async function attemptOne(run: Run): Promise<Attempt> {
  const remote = remoteName(run.remote);
  const journal = `${run.state}/journal.jsonl`;
  let outcome: OutcomeEvent | undefined;
  let fault: Fault | undefined;
  let skipped: string | undefined;
  let toldMs: number | undefined;
  const checksums = { every: run.config.limits.checksum_every, remote, state: run.state };
  try {
    appendJournal(journal, { time: now().toISOString(), event: 'started', remote, dry_run: run.dryRun });
    const checksum = !run.dryRun && isChecksumDue(checksums);
    const heard = await request({ ...run, checksum });
    outcome = heard.outcome;
    if (outcome.code === null && !run.dryRun) {
      try {
        await noteChecksum(checksums, checksum);
      } catch (error) {
        warn(run, error); // the outcome stands
      }
    }
    toldMs = heard.waitMs;
    fault = outcomeFault(run.remote, outcome, heard);
  } catch (error) {
    // Ctrl-C ends our ssh too, and that can be known before the signal is.
    await pause(LATE_SIGNAL_MS, run.interrupt).catch(() => {});
    const { reason } = run.interrupt;
    const isEnded = reason instanceof Fault && reason.exit === 'interrupted';
    const first = asFault(isEnded ? reason : error, remote);
    if (first.code === SKIPPED) skipped = first.found;
    else fault = first;
  }
  try {
    appendJournal(journal, {
      time: now().toISOString(),
      event: 'finished',
      remote,
      outcome: skipped === undefined ? (outcome?.outcome ?? 'failed') : 'skipped',
      snapshot: outcome?.snapshot ?? null,
      transferred_bytes: outcome?.transferred_bytes ?? 0,
      reason: skipped ?? fault?.message ?? null,
    });
  } catch (error) {
    warn(run, error); // the outcome stands, on record or not
  }
  return { outcome, fault, skipped, code: outcome?.code ?? null, toldMs };
}

function warn({ remote, tell }: Run, error: unknown): void {
  const message = error instanceof Error ? error.message : String(error);
  tell({ event: 'warning', remote: remoteName(remote), message });
}

function describe(error: unknown): string {
  return escapeText(error instanceof Error ? (error.stack ?? error.message) : String(error), 2000);
}

function lateFault(remote: string, found: string): Fault {
  return new Fault({ tried: `back up to "${remote}"`, found });
}

/** Nothing is lost by Ctrl-C. */
function interruptedFault(remote: string, { found }: Fault): Fault {
  const next = 'dialback backup (it goes on from what has arrived)';
  return new Fault({ tried: `back up to "${remote}"`, found, next, exit: 'interrupted' });
}

/**
 * A failed outcome in words: the code's sentence, never the host's own text.
 * @param heard sshdWords: what our own sshd complained of, which is often why the host was not let in
 */
function outcomeFault(
  remote: Remote,
  outcome: OutcomeEvent,
  { sshdWords, waitMs }: { sshdWords: string; waitMs: number | undefined },
): Fault | undefined {
  if (outcome.code === null) return undefined;
  const [exit, sentence, usualNext] = FAILURES[outcome.code];
  const isTimed =
    ['too-early', 'full'].includes(outcome.code) && waitMs !== undefined && waitMs <= MOST_WAIT_MS;
  const here = isLocal(remote) ? wordsHere(outcome.code, remote) : undefined;
  const next = isTimed ? `try again in ${waitText(waitMs)}` : (here?.next ?? usualNext);
  const status =
    outcome.code !== 'rsync' || outcome.rsync_exit === null
      ? ''
      : ` (rsync's exit status ${outcome.rsync_exit})`;
  const sshd = outcome.code === 'denied' && sshdWords !== '' ? ` (our sshd: ${escapeText(sshdWords)})` : '';
  const found = `${here?.found ?? sentence}${status}${sshd}`;
  return new Fault({ tried: `back up to "${remoteName(remote)}"`, found, exit, ...(next ? { next } : {}) });
}

/** A host that says more says nothing. */
const MOST_WAIT_MS = 1000 * 86_400_000;

/** Rounded up: whoever comes after that time is not too early again. */
function waitText(ms: number): string {
  if (ms < 60_000) return `${Math.ceil(ms / 1000)} s`;
  const minutes = Math.ceil(ms / 60_000);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** What a run's transport is told, and what came of it. */
interface Heard {
  outcome: OutcomeEvent;
  /** Of our own sshd, where there was one. */
  sshdWords: string;
  waitMs: number | undefined;
}

/** What all transports go by. */
interface Plan {
  run: Run;
  /** The run folder. */
  folder: string;
  capability: Capability;
  orders: GateOrders;
  /** @param command what is asked for there */
  callee(command: string): Callee;
  header: Omit<CommonHeader, 'key_bytes'>;
  excludes: Buffer;
  ears: Ears;
  phase: (each: Extract<RunNews, { event: 'phase' }>['phase']) => void;
}

/** A run's request, and the wait for its end. Everything that it opens is closed, in reverse order, when it ends. */
async function request(run: Run & { checksum: boolean }): Promise<Heard> {
  const { config, remote } = run;
  const label = remoteName(remote);
  if (remote.transport === 'direct') requireLogin();
  const files = isLocal(remote) ? undefined : requireCallFiles(remote);
  const phase: Plan['phase'] = each => run.tell({ event: 'phase', remote: label, phase: each });
  const hostConfig = files ? '' : await findStore(config, remote, run.interrupt, waitsForDisk(run));
  const excludes = readExcludes(config);
  const capability = capabilityOf(config);
  if (capability === 'none' && config.capability === undefined && wasConfined(run.state))
    throw launcherHasGone('client.toml', '`capability = "none"`');
  const scope = kernelScope(config, run.state);

  await using held = new AsyncDisposableStack();
  const [folder, words, libraries] = await together([
    makeRunFolder(held, run.state, endReader),
    rsyncWords(),
    capability === 'confined' ? rsyncLibraries() : [],
  ]);
  const record = Buffer.from(excludes.map(pattern => `${pattern}\n`).join(''), 'latin1');
  const idleSeconds = Math.ceil(config.limits.idle_timeout / 1000);
  const callOptions = files && {
    target: remote.target,
    ...files,
    logFile: `${folder}/ssh.log`,
    connectSeconds: CONNECT_SECONDS,
    idleSeconds,
    more: remote.ssh_options,
  };
  // Nothing is slower than a processor that writes to a disk of its own.
  const compression =
    callOptions &&
    (await compressionOf(run, knowsZstd(words), { ...callOptions, logFile: `${folder}/probe.log` }));
  writeDaemonFiles(folder, {
    daemonConfig: daemonConfig({
      filter: `${folder}/rsyncd/filter`,
      idleSeconds: Math.max(idleSeconds, run.checksum ? CHECKSUM_IDLE_SECONDS : 0),
      confined: capability === 'confined',
      checksum: run.checksum,
      compress: compression?.compress ?? false,
    }),
    filter: scopeFilter({ ...scope, excludes }),
    scope: scopeRecords(scope, libraries),
  });
  const plan: Plan = {
    run,
    folder,
    capability,
    orders: {
      niceness: ownNiceness(config),
      capability,
      bwlimitKib: Math.ceil((config.limits.bwlimit ?? 0) / 1024),
      remote: label,
      isChannel: remote.transport !== 'direct',
    },
    callee: command =>
      callOptions ? overSsh({ ...callOptions, command }) : grabHere(config, remote, hostConfig),
    header: {
      roots: config.scope.roots,
      excludes_bytes: record.length,
      dry_run: run.dryRun,
      rsync: await rsyncVersion(words),
      enumerated: capability === 'confined' ? knownFolders(scope) : [],
      ...(run.checksum ? { checksum: true } : {}),
      ...(compression?.compress ? { compress: 'zstd' } : {}),
    },
    excludes: record,
    ears: new Ears(label, run.tell),
    phase,
  };
  const heard =
    callOptions && remote.transport === 'direct'
      ? await beDialled(held, plan, callOptions)
      : await overChannel(held, plan);
  requireBelievable(run, heard.outcome, readTaken(folder) !== undefined);
  // A host that is older than when it was measured: the next run asks it for no more than it knows.
  if (compression?.because === 'measured' && heard.outcome.code === 'request')
    noteLink(run.state, label, undefined);
  // The launcher's words at the real start went to the host. Should it refuse still, here they are.
  const { code } = heard.outcome;
  if (capability === 'confined' && (code === 'no-answer' || code === 'rsync')) await tryConfinement(folder);
  return heard;
}

/** Whether this run is compressed, and says so. A dry run sends nothing to compress. */
async function compressionOf(
  run: Run,
  hasZstd: boolean,
  options: Omit<CallOptions, 'command'>,
): Promise<Compression> {
  const { config, state, interrupt, tell } = run;
  const { compress: mode, bwlimit } = config.limits;
  const remote = remoteName(run.remote);
  const found = await chooseCompression({
    ...{ state, remote, hasZstd, bwlimit, interrupt },
    mode: run.dryRun ? 'no' : mode,
    options: { ...options, command: `${clientName(config)}:${PROBE}` },
    warn: error => warn(run, error),
  });
  if (!run.dryRun) tell({ event: 'compression', remote, ...found });
  return found;
}

/** The way in is tried once before anybody is called. */
async function requireCapability({ capability, folder }: Plan): Promise<void> {
  if (capability === 'confined') await tryConfinement(folder);
  if (capability === 'inherited') await requireInheritance();
}

/** Transport `direct`: a one-time key, a one-time sshd, and the host dials back. */
async function beDialled(
  held: AsyncDisposableStack,
  plan: Plan,
  callOptions: Omit<CallOptions, 'command'>,
): Promise<Heard> {
  const { run, folder, ears, phase } = plan;
  const { remote, interrupt } = run;
  phase('keys');
  const [key, hostKey, from] = await together([
    makeOneTimeKey(interrupt, folder),
    makeHostKey(interrupt, folder),
    unless(interrupt, allowedPeers(remote, { ...callOptions, command: '' })),
    requireCapability(plan),
  ]);
  const endpoint = await openEndpoint(held, {
    run: folder,
    from,
    listen: remote.listen,
    publicKey: key.publicKey,
    forcedCommand: forcedCommand(gateProgram(plan.capability), folder),
    orders: plan.orders,
    idleSeconds: callOptions.idleSeconds,
    openMs: TAKEN_MS,
  });
  phase('calling');
  const bytes = encodeRequest({
    header: {
      ...plan.header,
      transport: 'direct',
      user: ownAccount().name,
      host_key: hostKey,
      key_bytes: key.privateKey.length,
    },
    key: key.privateKey,
    excludes: plan.excludes,
  });
  const command = `${clientName(run.config)}:${endpoint.port}`;
  const call = await placeCall(held, plan.callee(command), bytes, event => ears.hear(event));
  // First of all when this ends: nobody is let in any more while the call is hung up.
  held.defer(() => endpoint.close());
  const letIn = within(interrupt, TAKEN_MS, endpoint.taken, () => notDialled(run, endpoint));
  const watched = watchOver(run, letIn, ears, () => phase('admitted'));
  const outcome = await unless(interrupt, Promise.race([call.outcome, watched]));
  await call.hangUp(interrupt);
  return { outcome, sshdWords: endpoint.attempts().lastWords, waitMs: ears.waitMs };
}

/** Transport `channel`: the call itself is what rsync goes over; and `local`, where grab is on this machine. */
async function overChannel(held: AsyncDisposableStack, plan: Plan): Promise<Heard> {
  const { run, folder, ears, phase } = plan;
  const { interrupt, remote } = run;
  const gate = [...gateProgram(plan.capability), 'gate', '--run', folder];
  const [channel] = await together([
    openChannel(held, { run: folder, gate, orders: plan.orders }),
    requireCapability(plan),
  ]);
  phase('calling');
  const isConfined = plan.capability === 'confined';
  const bytes = encodeRequest({
    header: {
      ...plan.header,
      transport: isLocal(remote) ? 'local' : 'channel',
      confined: isConfined,
      key_bytes: 0,
    },
    key: Buffer.alloc(0),
    excludes: plan.excludes,
  });
  const command = `${clientName(run.config)}:${CHANNEL}`;
  const call = await placeCall(held, plan.callee(command), bytes, event => ears.hear(event), channel);
  const opened = within(interrupt, TAKEN_MS, channel.open(), () =>
    lateFault(
      remoteName(run.remote),
      `the backup host did not begin within ${TAKEN_MS / 1000} s after the call`,
    ),
  );
  const letIn = opened.catch(async error => {
    // Where the call ends first, its outcome or ssh's words say more than that it hung up.
    if (error instanceof Fault && error.code === HUNG_UP)
      await Promise.race([call.outcome.catch(() => {}), pause(LAST_WORD_MS, interrupt)]);
    throw error;
  });
  const watched = watchOver(run, letIn, ears, () => phase('admitted'));
  const outcome = await unless(interrupt, Promise.race([call.outcome, watched]));
  await call.hangUp(interrupt);
  return { outcome, sshdWords: '', waitMs: ears.waitMs };
}

/** Why nobody was let in. */
function notDialled(run: Run, endpoint: Endpoint): Fault {
  const { turnedAway, failed, lastWords } = endpoint.attempts();
  const others = turnedAway > 0 ? `; ${turnedAway} connections from elsewhere were closed unread` : '';
  const words =
    failed > 0 ? `; ${failed} did not get in${lastWords ? ` (sshd: ${escapeText(lastWords)})` : ''}` : '';
  return new Fault({
    tried: `back up to "${remoteName(run.remote)}"`,
    found: `the backup host did not connect back within ${TAKEN_MS / 1000} s${others}${words}`,
    next: 'see that it can reach the port in `listen`, and that `from` names its address',
    exit: 'unreachable',
  });
}

/** What a host says of a run that cannot have been so is no success, whatever the reason. */
function requireBelievable(run: Run, outcome: OutcomeEvent, wasLetIn: boolean): void {
  if (outcome.code !== null) return;
  const label = remoteName(run.remote);
  if (!wasLetIn) throw lateFault(label, 'the backup host says that it is done, and was never let in');
  if ((outcome.snapshot === null) === run.dryRun) return;
  const found = run.dryRun ? 'made a snapshot of a dry run' : 'kept nothing';
  throw lateFault(label, `the backup host says that it ${found}`);
}

/** Whether the journal's last grant was to a confined rsync. */
function wasConfined(state: string): boolean {
  const granted = readJournal(state).filter(each => each.event === 'granted');
  return granted.at(-1)?.capability === 'confined';
}

/** Ends a run that does not get on: nobody came, nothing was copied, the host fell silent. Never resolves. */
async function watchOver(
  run: Run,
  letIn: Promise<unknown>,
  ears: Ears,
  admitted: () => void,
): Promise<never> {
  const label = remoteName(run.remote);
  const { interrupt } = run;
  await letIn;
  admitted();
  const began = ears.copying.promise;
  await within(interrupt, FIRST_BYTE_MS, began, () =>
    lateFault(label, `nothing was copied ${FIRST_BYTE_MS / 1000} s after the backup host was let in`),
  );
  const silenceMs = Math.max(SILENCE_MS, run.config.limits.idle_timeout);
  for (;;) {
    const heard = ears.nextWord();
    await within(interrupt, silenceMs, heard, () =>
      lateFault(label, `the backup host said nothing for ${silenceMs / 1000} s`),
    );
  }
}

/** The host dials back by the login name, which therefore has to be a plain one. */
export function requireLogin(): void {
  const { name } = ownAccount();
  if (LOGIN.test(name)) return;
  throw new Fault({
    tried: `be dialled back as "${escapeText(name)}"`,
    found: 'a login name must be 1 to 32 of a-z, 0-9, "_", "-", and begin with a letter or "_"',
    next: 'run it as an account with such a name, or use transport = "channel"',
    exit: 'usage',
  });
}

function requireCallFiles(remote: Remote): { identity: string; knownHosts: string } {
  const files = callFiles(remote);
  if (!exists(files.identity)) {
    throw new Fault({
      tried: `use the key "${files.identity}"`,
      found: 'there is none',
      next: `ssh-keygen -t ed25519 -N '' -f '${files.identity}', or set \`identity\` in client.toml`,
      exit: 'usage',
    });
  }
  if (!exists(files.knownHosts)) {
    throw new Fault({
      tried: `know the backup host by "${files.knownHosts}"`,
      found: 'there is no such file',
      next: "put the line `HOST KEYTYPE KEY` into it, with the key from the host's administrator",
      exit: 'usage',
    });
  }
  return files;
}

/** Who may connect back: `from`, else every address that the target's host name has here. */
export async function allowedPeers(remote: Remote, callOptions: CallOptions): Promise<Range[]> {
  const host = await calledHostName(callOptions); // also where `from` is named: ssh tells what is wrong with its options
  const named = remote.from ?? (await addressesOf(host));
  return named.flatMap(each => parseFrom(unfold(each.split('%')[0] ?? '')) ?? parseFrom(each) ?? []);
}

const EXCLUDES_BYTES = 1024 * 1024;

/** The exclude patterns, out of the file and the config. @throws Fault that names the line */
export function readExcludes(config: ClientConfig): string[] {
  const { exclude, exclude_from: file } = config.scope;
  const fromFile =
    file === undefined ? [] : readWhole(file, EXCLUDES_BYTES).toString('latin1').split(/\r?\n/);
  return [
    ...parseExcludes(fromFile, `"${file}"`),
    ...parseExcludes(exclude.map(asBytes), '`exclude` in client.toml'),
  ];
}

/** The enumerated folders that a request can name. Of others a changed file counts as unreadable, which is safe. */
function knownFolders(scope: { roots: string[]; never: string[] }): string[] {
  const names = enumeratedFolders(scope).map(path => Buffer.from(path, 'latin1').toString('utf8'));
  return names.filter(isRoot).slice(0, ENUMERATED_LIMIT);
}

/** Roots and what is never read, be it in the scope or not (design: always in `never`); a character a byte. */
export function kernelScope(config: ClientConfig, state: string): { roots: string[]; never: string[] } {
  const { roots, mounts, never } = config.scope;
  const table = parseMountTable(readWhole('/proc/self/mountinfo', 16 * 1024 * 1024).toString('latin1'));
  const identities = calledRemotes(config).map(each => callFiles(each).identity);
  const stores = config.remote.filter(isLocal).map(each => each.target);
  const own = [state, ...identities, ...stores, ...readNeverList()];
  for (const root of roots) {
    if (never.includes(root)) {
      throw new Fault({
        tried: `back up "${root}"`,
        found: 'it is both in `roots` and in `never`',
        exit: 'usage',
      });
    }
  }
  const bytes = roots.map(asBytes);
  // A mount point with a longer name than a path may have is kept back with a folder above it.
  const left = mountsLeftOut(table, mounts, bytes).map(path => {
    let at = path;
    while (Buffer.byteLength(at, 'latin1') > PATH_LIMIT) at = dirname(at);
    return at;
  });
  // The kernel goes by the place, the filter by the name: both names of a place that a link leads to are kept back.
  const named = [...never, ...own].flatMap(path => [path, realPlace(path)]);
  // A store that is seen at two places would get into itself by the other one.
  const mirrors = stores.flatMap(path => otherNames(table, asBytes(realPlace(path))));
  return { roots: bytes, never: [...new Set([...named.map(asBytes), ...mirrors, ...left])] };
}

/** Text as the bytes that it has in a file, a character each: names need not be UTF-8. */
function asBytes(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1');
}
