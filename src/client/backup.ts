/** `dialback backup`: one run for each remote, from the one-time key to the host's outcome. */
import { dirname } from 'node:path';
import { configPath } from '../config.ts';
import { EXIT, type ExitStatus, Fault, firstError } from '../fault.ts';
import { appendJournal, exists, readJournal, readWhole, realPath, replaceFile } from '../os/files.ts';
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
  refuseRoot,
  unless,
  within,
} from '../os/machine.ts';
import { parseMountTable } from '../os/mounts.ts';
import { rsyncVersion } from '../os/process.ts';
import { makeRunFolder, prepareStateFolder, takeLock } from '../os/runfolder.ts';
import { FAILURES, type HostEvent, type OutcomeEvent, PHASES } from '../wire/events.ts';
import { type CommonHeader, ENUMERATED_LIMIT, encodeRequest, isRoot, PATH_LIMIT } from '../wire/request.ts';
import { CHECKSUM_IDLE_SECONDS, daemonConfig } from '../wire/rsync.ts';
import type { CallOptions } from '../wire/ssh.ts';
import { CHANNEL, escapeText, LOGIN, unfold } from '../wire/text.ts';
import { parseFrom, type Range } from './addresses.ts';
import { calledHostName, placeCall } from './call.ts';
import { HUNG_UP, openChannel } from './channel.ts';
import {
  type Capability,
  type ClientConfig,
  callFiles,
  capabilityOf,
  clientName,
  ownNiceness,
  type Remote,
  readClientConfig,
  remoteName,
  stateFolder,
} from './config.ts';
import { type DaemonFiles, type Endpoint, openEndpoint } from './endpoint.ts';
import { endReader, forcedCommand, type GateOrders, gateProgram, readTaken } from './gate.ts';
import { makeHostKey, makeOneTimeKey } from './onetime.ts';
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
/** A host tells how far it is once a second; one that tells more often is not heard. */
const PROGRESS_MS = 500;

export interface BackupOptions {
  config: string | undefined;
  state: string | undefined;
  remote: string | undefined;
  dryRun: boolean;
}

/** What a run says while it is under way. */
export type RunNews =
  | {
      event: 'phase';
      remote: string;
      phase: 'keys' | 'calling' | 'admitted' | 'dialling' | 'copying' | 'committing';
    }
  | { event: 'progress'; remote: string; bytes: number; percent: number }
  | { event: 'warning'; remote: string; message: string };

/** How the run of one remote ended. */
export interface RunOutcome {
  remote: string;
  /** The host's word; for a run that it said nothing of, undefined. */
  outcome: OutcomeEvent | undefined;
  /** Why it failed. */
  fault: Fault | undefined;
  exit: ExitStatus;
  durationMs: number;
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
  const state = stateFolder(config, options.state);
  prepareStateFolder(state);
  await using held = new AsyncDisposableStack();
  const lock = await takeLock(held, `${state}/lock`);
  if (lock === undefined) {
    throw new Fault({ tried: 'start a backup', found: 'another run is under way', exit: 'locked' });
  }
  const outcomes: RunOutcome[] = [];
  for (const remote of remotes) {
    const outcome = await runOne({ config, remote, state, dryRun: options.dryRun, interrupt, tell });
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

/** One run, and its two lines in the journal. */
async function runOne(run: Run): Promise<RunOutcome> {
  const remote = remoteName(run.remote);
  const journal = `${run.state}/journal.jsonl`;
  const started = monotonicMs();
  appendJournal(journal, { time: now().toISOString(), event: 'started', remote, dry_run: run.dryRun });
  let outcome: OutcomeEvent | undefined;
  let fault: Fault | undefined;
  try {
    using deadline = deadlineSignal(run.config.limits.deadline, () =>
      lateFault(remote, 'the deadline has passed'),
    );
    const checksum = isChecksumDue(run);
    const interrupt = AbortSignal.any([run.interrupt, deadline.signal]);
    const heard = await request({ ...run, interrupt, checksum });
    outcome = heard.outcome;
    if (outcome.code === null && !run.dryRun) noteChecksum(run, checksum);
    fault = outcomeFault(remote, outcome, heard);
  } catch (error) {
    const first = firstError(error);
    // What befalls one remote does not stop the others, be it a mistake of ours.
    fault =
      first instanceof Fault ? first : new Fault({ tried: `back up to "${remote}"`, found: describe(first) });
  }
  const exit = fault ? EXIT[fault.exit] : outcome?.outcome === 'incomplete' ? EXIT.incomplete : EXIT.done;
  try {
    appendJournal(journal, {
      time: now().toISOString(),
      event: 'finished',
      remote,
      outcome: outcome?.outcome ?? 'failed',
      snapshot: outcome?.snapshot ?? null,
      transferred_bytes: outcome?.transferred_bytes ?? 0,
      reason: fault?.message ?? null,
    });
  } catch (error) {
    // The outcome stands, on record or not.
    run.tell({ event: 'warning', remote, message: error instanceof Error ? error.message : String(error) });
  }
  return { remote, outcome, fault, exit, durationMs: Math.round(monotonicMs() - started) };
}

/** When each remote last compared contents, in the state folder: the journal forgets after a while. */
const CHECKSUMS = 'checksums.json';

function readChecksums(state: string): Record<string, number> {
  try {
    const found: unknown = JSON.parse(readWhole(`${state}/${CHECKSUMS}`, 1024 * 1024).toString('utf8'));
    const entries = Object.entries(found as object).filter(([, ms]) => Number.isSafeInteger(ms));
    return Object.fromEntries(entries) as Record<string, number>;
  } catch {
    return {}; // none yet, or a damaged one: it counts from this run on
  }
}

/** A remote that never did counts from its first run on, which sends all anyway. A time to come is a clock that was wrong. */
function isChecksumDue({ config, remote, state, dryRun }: Run): boolean {
  const every = config.limits.checksum_every;
  const last = readChecksums(state)[remoteName(remote)];
  if (every === undefined || dryRun || last === undefined) return false;
  const agoMs = now().getTime() - last;
  return agoMs >= every || agoMs < 0;
}

function noteChecksum({ config, remote, state, tell }: Run, isDone: boolean): void {
  if (config.limits.checksum_every === undefined) return;
  const all = readChecksums(state);
  const name = remoteName(remote);
  if (!isDone && Object.hasOwn(all, name)) return;
  try {
    replaceFile(`${state}/${CHECKSUMS}`, `${JSON.stringify({ ...all, [name]: now().getTime() })}\n`);
  } catch (error) {
    // The outcome stands; the next run compares once more.
    tell({ event: 'warning', remote: name, message: error instanceof Error ? error.message : String(error) });
  }
}

function describe(error: unknown): string {
  return escapeText(error instanceof Error ? (error.stack ?? error.message) : String(error), 2000);
}

function lateFault(remote: string, found: string): Fault {
  return new Fault({ tried: `back up to "${remote}"`, found });
}

/**
 * A failed outcome in words: the code's sentence, never the host's own text.
 * @param heard sshdWords: what our own sshd complained of, which is often why the host was not let in
 */
function outcomeFault(
  remote: string,
  outcome: OutcomeEvent,
  { sshdWords, waitMs }: { sshdWords: string; waitMs: number | undefined },
): Fault | undefined {
  if (outcome.code === null) return undefined;
  const [exit, sentence, usualNext] = FAILURES[outcome.code];
  const isTimed = outcome.code === 'too-early' && waitMs !== undefined && waitMs <= MOST_WAIT_MS;
  const next = isTimed ? `try again in ${waitText(waitMs)}` : usualNext;
  const status =
    outcome.code !== 'rsync' || outcome.rsync_exit === null
      ? ''
      : ` (rsync's exit status ${outcome.rsync_exit})`;
  const sshd = outcome.code === 'denied' && sshdWords !== '' ? ` (our sshd: ${escapeText(sshdWords)})` : '';
  const found = `${sentence}${status}${sshd}`;
  return new Fault({ tried: `back up to "${remote}"`, found, exit, ...(next ? { next } : {}) });
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

/** What both transports go by. */
interface Plan {
  run: Run;
  /** The run folder. */
  folder: string;
  capability: Capability;
  orders: GateOrders;
  files: DaemonFiles;
  callOptions: Omit<CallOptions, 'command'>;
  header: Omit<CommonHeader, 'key_bytes'>;
  excludes: Buffer;
  ears: Ears;
  phase: (each: Extract<RunNews, { event: 'phase' }>['phase']) => void;
}

/** A run's request, and the wait for its end. Everything that it opens is closed, in reverse order, when it ends. */
async function request(run: Run & { checksum: boolean }): Promise<Heard> {
  const { config, remote } = run;
  const label = remoteName(remote);
  const isChannel = remote.transport === 'channel';
  if (!isChannel) requireLogin();
  const files = requireCallFiles(remote);
  const excludes = readExcludes(config);
  const capability = capabilityOf(config);
  if (capability === 'none' && config.capability === undefined && wasConfined(run.state))
    throw launcherHasGone('client.toml', '`capability = "none"`');
  const scope = kernelScope(config, run.state);

  await using held = new AsyncDisposableStack();
  const folder = await makeRunFolder(held, run.state, endReader);
  const record = Buffer.from(excludes.map(pattern => `${pattern}\n`).join(''), 'latin1');
  const idleSeconds = Math.ceil(config.limits.idle_timeout / 1000);
  const plan: Plan = {
    run,
    folder,
    capability,
    orders: {
      niceness: ownNiceness(config),
      capability,
      bwlimitKib: Math.ceil((config.limits.bwlimit ?? 0) / 1024),
      remote: label,
    },
    files: {
      daemonConfig: daemonConfig({
        filter: `${folder}/rsyncd/filter`,
        idleSeconds: Math.max(idleSeconds, run.checksum ? CHECKSUM_IDLE_SECONDS : 0),
        confined: capability === 'confined',
        checksum: run.checksum,
      }),
      filter: scopeFilter({ ...scope, excludes }),
      scope: scopeRecords(scope, capability === 'confined' ? await rsyncLibraries() : []),
    },
    callOptions: {
      target: remote.target,
      ...files,
      logFile: `${folder}/ssh.log`,
      connectSeconds: CONNECT_SECONDS,
      idleSeconds,
      more: remote.ssh_options,
    },
    header: {
      roots: config.scope.roots,
      excludes_bytes: record.length,
      dry_run: run.dryRun,
      rsync: await rsyncVersion(),
      enumerated: capability === 'confined' ? knownFolders(scope) : [],
      ...(run.checksum ? { checksum: true } : {}),
    },
    excludes: record,
    ears: new Ears(run, label),
    phase: each => run.tell({ event: 'phase', remote: label, phase: each }),
  };
  const heard = isChannel ? await overChannel(held, plan) : await beDialled(held, plan);
  requireBelievable(run, heard.outcome, readTaken(folder) !== undefined);
  // The launcher's words at the real start went to the host. Should it refuse still, here they are.
  const { code } = heard.outcome;
  if (capability === 'confined' && (code === 'no-answer' || code === 'rsync')) await tryConfinement(folder);
  return heard;
}

/** The way in is tried once before anybody is called. */
async function requireCapability({ capability, folder }: Plan): Promise<void> {
  if (capability === 'confined') await tryConfinement(folder);
  if (capability === 'inherited') await requireInheritance();
}

/** Transport `direct`: a one-time key, a one-time sshd, and the host dials back. */
async function beDialled(held: AsyncDisposableStack, plan: Plan): Promise<Heard> {
  const { run, folder, ears, phase } = plan;
  const { remote, interrupt } = run;
  phase('keys');
  const key = await makeOneTimeKey(interrupt, folder);
  const hostKey = await makeHostKey(interrupt, folder);
  const endpoint = await openEndpoint(held, {
    run: folder,
    from: await unless(interrupt, allowedPeers(remote, { ...plan.callOptions, command: '' })),
    listen: remote.listen,
    publicKey: key.publicKey,
    forcedCommand: forcedCommand(gateProgram(plan.capability), folder),
    orders: plan.orders,
    ...plan.files,
    idleSeconds: plan.callOptions.idleSeconds,
    openMs: TAKEN_MS,
  });
  await requireCapability(plan);
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
  const call = await placeCall(held, { ...plan.callOptions, command }, bytes, event => ears.hear(event));
  // First of all when this ends: nobody is let in any more while the call is hung up.
  held.defer(() => endpoint.close());
  const letIn = within(interrupt, TAKEN_MS, endpoint.taken, () => notDialled(run, endpoint));
  const watched = watchOver(run, letIn, ears, () => phase('admitted'));
  const outcome = await unless(interrupt, Promise.race([call.outcome, watched]));
  await call.hangUp();
  return { outcome, sshdWords: endpoint.attempts().lastWords, waitMs: ears.waitMs };
}

/** Transport `channel`: the call itself is what rsync goes over. */
async function overChannel(held: AsyncDisposableStack, plan: Plan): Promise<Heard> {
  const { run, folder, ears, phase } = plan;
  const { interrupt } = run;
  const channel = await openChannel(held, {
    run: folder,
    gate: [...gateProgram(plan.capability), 'gate', '--run', folder],
    orders: plan.orders,
    ...plan.files,
  });
  await requireCapability(plan);
  phase('calling');
  const isConfined = plan.capability === 'confined';
  const bytes = encodeRequest({
    header: { ...plan.header, transport: 'channel', confined: isConfined, key_bytes: 0 },
    key: Buffer.alloc(0),
    excludes: plan.excludes,
  });
  const command = `${clientName(run.config)}:${CHANNEL}`;
  const call = await placeCall(
    held,
    { ...plan.callOptions, command },
    bytes,
    event => ears.hear(event),
    channel,
  );
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
  await call.hangUp();
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

/** What is heard of the host while it works. */
class Ears {
  readonly copying = Promise.withResolvers<void>();
  /** How long until the host takes the next run, where it has said so. */
  waitMs: number | undefined;
  readonly #run: Run;
  readonly #label: string;
  #next = Promise.withResolvers<void>();
  #phases = 0;
  #progressMs = Number.NEGATIVE_INFINITY;

  constructor(run: Run, label: string) {
    this.#run = run;
    this.#label = label;
  }

  /** However much a host says, what is passed on has a bound: each phase once, and in order; progress now and then. */
  hear(event: HostEvent): void {
    this.#next.resolve();
    this.#next = Promise.withResolvers<void>();
    if (event.event === 'phase') {
      const order = PHASES.indexOf(event.phase);
      if (order < this.#phases) return;
      this.#phases = order + 1;
      if (event.phase !== 'dialling') this.copying.resolve();
      this.#run.tell({ event: 'phase', remote: this.#label, phase: event.phase });
    } else if (event.event === 'wait') {
      this.waitMs = event.ms;
    } else if (event.event === 'progress' && monotonicMs() - this.#progressMs >= PROGRESS_MS) {
      this.#progressMs = monotonicMs();
      this.#run.tell({ event: 'progress', remote: this.#label, bytes: event.bytes, percent: event.percent });
    }
  }

  nextWord(): Promise<void> {
    return this.#next.promise;
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
  const identities = config.remote.map(each => callFiles(each).identity);
  const own = [state, ...identities, ...readNeverList()];
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
  return { roots: bytes, never: [...new Set([...named.map(asBytes), ...left])] };
}

/** Where a path is without links, as far as this account can see. */
export function realPlace(path: string): string {
  try {
    return realPath(path);
  } catch {
    return path;
  }
}

/** Text as the bytes that it has in a file, a character each: names need not be UTF-8. */
function asBytes(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1');
}
