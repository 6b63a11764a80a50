/** One attempt at a backup: what is asked of the host, over whichever transport, and the wait for its end. */

import { Fault } from '../fault.ts';
import { findSubject, ownAccount } from '../os/account.ts';
import { abortable, settleAll, withTimeout } from '../os/async.ts';
import { now, sleep } from '../os/clock.ts';
import { exists } from '../os/files.ts';
import { appendJournal, readJournal } from '../os/journal.ts';
import { launcherHasGone, requireInheritance, rsyncLibraries, tryConfinement } from '../os/launcher.ts';
import { isLoadable, mountPointsLibrary } from '../os/link-library.ts';
import { addressesOf } from '../os/network.ts';
import { makeRunFolder } from '../os/runfolder.ts';
import { rsyncVersion, rsyncWords } from '../os/versions.ts';
import { isRsyncVulnerable } from '../shared/package-changelog.ts';
import { findPrinter, printedWords, quietAdvice } from '../shared/startup-files.ts';
import type { OutcomeEvent, UnstoredEvent } from '../wire/events.ts';
import { type CommonHeader, encodeRequest, encodeRsync } from '../wire/request.ts';
import { CHECKSUM_IDLE_SECONDS, daemonConfig, listedRoots } from '../wire/rsync.ts';
import { knowsZstd } from '../wire/rsync-output.ts';
import type { CallOptions } from '../wire/ssh.ts';
import { asText, CHANNEL, escapeText, LOGIN, PROBE, unfold } from '../wire/text.ts';
import { parseFrom, type Range } from './addresses.ts';
import type { RunNews } from './backup.ts';
import { type Callee, calledHostName, overSsh, placeCall, resolveCall } from './call.ts';
import { HUNG_UP, openChannel } from './channel.ts';
import type { Compression } from './compression.ts';
import {
  type Capability,
  type ClientConfig,
  callFiles,
  capabilityOf,
  clientName,
  keygenText,
  ownNiceness,
  type Remote,
  remoteName,
} from './config.ts';
import { type Endpoint, openEndpoint, writeDaemonFiles, writeScope } from './direct.ts';
import { scopeFilter, scopeRecords } from './filter.ts';
import { endReader, forcedCommand, type GateOrders, gateProgram, readTaken } from './gate.ts';
import { HostEvents } from './host-events.ts';
import { chooseCompression, noteLink } from './link.ts';
import { findStore, grabHere, isLocal } from './local.ts';
import { hungWarning, mountTableText } from './mount-points.ts';
import { type Place, placeWarnings } from './never.ts';
import { makeOneTimeKey, prepareSshd } from './one-time-keys.ts';
import { followExcludes, inText, refuseHiddenRoots } from './roots.ts';
import {
  enumeratedNames,
  findHungMounts,
  findRoots,
  kernelScope,
  readExcludes,
  withLaunchersPlaces,
  withoutLibrary,
} from './scope.ts';
import { forgetSender, requireSender } from './trial.ts';

/** The request's ssh gives up connecting after this. */
const CONNECT_SECONDS = 30;
/** The host must have connected back, authenticated and been let in this long after the call was placed. */
const TAKEN_MS = 90_000;
/** An outcome comes soon after the channel's end, or not at all. */
const LAST_WORD_MS = 5_000;
/** A host that says nothing for this long (or for idle_timeout, if that is longer) is given up. */
const SILENCE_MS = 60_000;

/** A run of one remote, as its attempts see it. */
export interface Run {
  config: ClientConfig;
  remote: Remote;
  state: string;
  dryRun: boolean;
  interrupt: AbortSignal;
  tell: (news: RunNews) => void;
}

/** @returns what says, when it is called, that a run waits for its disk */
export function waitsForDisk(run: Run): () => void {
  const remote = remoteName(run.remote);
  return () => run.tell({ event: 'waiting', remote, why: 'disk', ms: null, found: null });
}

/** A run that did not get on in time. */
export function lateFault(remote: string, found: string): Fault {
  return new Fault({ tried: `back up to "${remote}"`, found });
}

/** Tells of something that does not change how the run ends. */
export function warn({ remote, tell }: Run, error: unknown): void {
  const message = error instanceof Error ? error.message : String(error);
  tell({ event: 'warning', remote: remoteName(remote), message });
}

/** Tells, and puts on record, which paths of `never` are kept back by their name alone: another user may have seen to that. */
function tellPlaces({ remote, state, tell }: Run, places: Place[]): void {
  for (const { path, link, message } of placeWarnings(places)) {
    const warning = { event: 'warning' as const, remote: remoteName(remote), code: 'never', message };
    tell(warning);
    const more = { path, link: link ?? null };
    appendJournal(`${state}/journal.jsonl`, { time: now().toISOString(), ...warning, ...more });
  }
}

/** What a run's transport is told, and what came of it. */
export interface Heard {
  outcome: OutcomeEvent;
  /** Of our own sshd, where there was one. */
  sshdWords: string;
  waitMs: number | undefined;
  /** What the host could not store. */
  unstored: UnstoredEvent | undefined;
}

/** What all transports go by. */
interface Plan {
  run: Run;
  /** The run folder. */
  folder: string;
  capability: Capability;
  orders: GateOrders;
  /** @param command what is asked for there */
  callee(held: AsyncDisposableStack, command: string): Promise<Callee>;
  header: Omit<CommonHeader, 'key_bytes'>;
  excludes: Buffer;
  ears: HostEvents;
  phase: (each: Extract<RunNews, { event: 'phase' }>['phase']) => void;
}

/** A run's request, and the wait for its end. Everything that it opens is closed, in reverse order, when it ends. */
export async function makeAttempt(run: Run & { checksum: boolean }): Promise<Heard> {
  const { config, remote } = run;
  const label = remoteName(remote);
  if (remote.transport === 'direct') requireLogin();
  const files = isLocal(remote) ? undefined : requireCallFiles(remote);
  const phase: Plan['phase'] = each => run.tell({ event: 'phase', remote: label, phase: each });
  const hung = await findHungMounts(config);
  const hostConfig = files ? '' : await findStore(config, remote, run.interrupt, waitsForDisk(run), hung);
  for (const path of hung) warn(run, hungWarning(path));
  const roots = findRoots(config, hung);
  for (const { name, path } of roots)
    if (name !== path)
      warn(
        run,
        `Cannot back up "${inText(name)}" under this name: symbolic links lead to "${inText(path)}", and the backup has that name`,
      );
  const asked = roots.map(each => asText(each.path));
  const listed = followExcludes(readExcludes(config), roots);
  const excludes = listed.map(each => each.pattern);
  const capability = capabilityOf(config);
  if (capability === 'none' && config.capability === undefined && wasConfined(run.state))
    throw launcherHasGone('client.toml', '`capability = "none"`');
  const library = capability === 'none' && isLoadable(run.state) ? mountPointsLibrary() : undefined;
  const whole = kernelScope(config, run.state, roots, hung);
  const seen = capability === 'confined' || library !== undefined ? whole : withoutLibrary(whole);

  await using held = new AsyncDisposableStack();
  const [folder, words, libraries] = await settleAll([
    makeRunFolder(held, run.state, endReader),
    rsyncWords(),
    capability === 'confined' ? rsyncLibraries() : [],
  ]);
  await refuseHiddenRoots(folder, roots, listed, hung);
  writeScope(folder, scopeRecords(seen, libraries));
  const scope = capability === 'confined' ? await withLaunchersPlaces(seen, folder) : seen;
  tellPlaces(run, scope.places);
  const idleSeconds = Math.ceil(config.limits.idle_timeout / 1000);
  const daemon = {
    idleSeconds: Math.max(idleSeconds, run.checksum ? CHECKSUM_IDLE_SECONDS : 0),
    confined: capability === 'confined',
    checksum: run.checksum,
  };
  // Before any call. Whether this run compresses is known only after one, so the trial allows what may come.
  const needs = await requireSender(run.state, {
    ...{ folder, capability, scope: seen, libraries, interrupt: run.interrupt },
    daemon: { ...daemon, compress: knowsZstd(words) },
  });
  const listsAll = needs.listsAll || (daemon.confined && listedRoots(asked).length > 0);
  if (listsAll) writeScope(folder, scopeRecords(seen, libraries, listsAll));
  const version = await rsyncVersion(words);
  const record = Buffer.from(excludes.map(pattern => `${pattern}\n`).join(''), 'latin1');
  const callOptions = files && {
    target: remote.target,
    ...files,
    logFile: `${folder}/ssh.log`,
    connectSeconds: CONNECT_SECONDS,
    idleSeconds,
    more: remote.ssh_options,
  };
  // ssh and sshd tell what is wrong with their options.
  const [hostKey] = await settleAll([
    remote.transport === 'direct' ? prepareSshd(run.interrupt, folder) : undefined,
    callOptions && resolveCall({ ...callOptions, command: '' }),
  ]);
  // Nothing is slower than a processor that writes to a disk of its own.
  const compression =
    callOptions &&
    (await compressionOf(run, knowsZstd(words), { ...callOptions, logFile: `${folder}/probe.log` }));
  writeDaemonFiles(folder, {
    daemonConfig: daemonConfig({
      ...daemon,
      filter: `${folder}/rsyncd/filter`,
      compress: compression?.compress ?? false,
    }),
    filter: scopeFilter({ ...scope, excludes }),
    mounts: mountTableText(scope),
    library: scope.empty.length > 0 ? library : undefined,
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
    callee: async (ending, command) =>
      callOptions ? await overSsh(ending, { ...callOptions, command }) : grabHere(config, remote, hostConfig),
    header: {
      roots: asked,
      excludes_bytes: record.length,
      dry_run: run.dryRun,
      rsync: encodeRsync(version, [
        ...(listsAll ? (['lists-names'] as const) : []),
        ...(isRsyncVulnerable(version) ? (['vulnerable'] as const) : []),
      ]),
      enumerated: capability === 'confined' ? enumeratedNames(scope) : [],
      ...(run.checksum ? { checksum: true } : {}),
      ...(compression?.compress ? { compress: 'zstd' } : {}),
      ...(config.limits.max_size === undefined ? {} : { max_size: config.limits.max_size }),
    },
    excludes: record,
    ears: new HostEvents(label, run.tell),
    phase,
  };
  const heard =
    callOptions && hostKey !== undefined
      ? await beDialled(held, plan, callOptions, hostKey)
      : await overChannel(held, plan);
  requireBelievable(run, heard.outcome, readTaken(folder) !== undefined);
  // A host that is older than when it was measured: the next run asks it for no more than it knows.
  if (compression?.because === 'measured' && heard.outcome.code === 'request')
    await noteLink(run.state, label, undefined);
  if (heard.outcome.code === 'no-answer' && remote.transport === 'direct') await requireQuietShell(label);
  // The launcher's words at the real start went to the host. Should it refuse still, here they are.
  const { code } = heard.outcome;
  if (capability === 'confined' && (code === 'no-answer' || code === 'rsync')) await tryConfinement(folder);
  if (code === 'nothing' || code === 'no-answer' || code === 'rsync')
    await forgetSender(run.state, capability);
  return heard;
}

/** @throws Fault where a start-up file of this account has spoken before rsync, which the host cannot know */
async function requireQuietShell(remote: string): Promise<void> {
  const { uid, name } = ownAccount();
  const subject = await findSubject(uid);
  const printed = subject && (await findPrinter(subject));
  if (printed === undefined) return;
  throw new Fault({
    tried: `back up to "${remote}"`,
    found: `${printedWords(printed, name)} into the connection, before rsync`,
    next: `${quietAdvice(printed)}; or transport = "channel" in client.toml, which needs no shell here`,
  });
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
  hostKey: string,
): Promise<Heard> {
  const { run, folder, ears, phase } = plan;
  const { remote, interrupt } = run;
  phase('keys');
  const [key, from] = await settleAll([
    makeOneTimeKey(interrupt, folder),
    abortable(interrupt, allowedPeers(remote, { ...callOptions, command: '' })),
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
    mustWait: found => warn(run, found),
    interrupt,
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
  const call = await placeCall(held, await plan.callee(held, command), bytes, event => ears.hear(event));
  // First of all when this ends: nobody is let in any more while the call is hung up.
  held.defer(() => endpoint.close());
  const letIn = withTimeout(interrupt, TAKEN_MS, endpoint.taken, () => notDialled(run, endpoint));
  const watched = watchOver(run, letIn, ears, () => phase('admitted'));
  const outcome = await abortable(interrupt, Promise.race([call.outcome, watched]));
  await call.hangUp(interrupt);
  return { outcome, sshdWords: endpoint.attempts().lastWords, waitMs: ears.waitMs, unstored: ears.unstored };
}

/** Transport `channel`: the call itself is what rsync goes over; and `local`, where grab is on this machine. */
async function overChannel(held: AsyncDisposableStack, plan: Plan): Promise<Heard> {
  const { run, folder, ears, phase } = plan;
  const { interrupt, remote } = run;
  const gate = [...gateProgram(plan.capability), 'gate', '--run', folder];
  const [channel] = await settleAll([
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
  const call = await placeCall(
    held,
    await plan.callee(held, command),
    bytes,
    event => ears.hear(event),
    channel,
  );
  const opened = withTimeout(interrupt, TAKEN_MS, channel.open(), () =>
    lateFault(
      remoteName(run.remote),
      `the backup host did not begin within ${TAKEN_MS / 1000} s after the call`,
    ),
  );
  const letIn = opened.catch(async error => {
    // Where the call ends first, its outcome or ssh's words say more than that it hung up.
    if (error instanceof Fault && error.code === HUNG_UP)
      await Promise.race([call.outcome.catch(() => {}), sleep(LAST_WORD_MS, interrupt)]);
    throw error;
  });
  const watched = watchOver(run, letIn, ears, () => phase('admitted'));
  const outcome = await abortable(interrupt, Promise.race([call.outcome, watched]));
  await call.hangUp(interrupt);
  return { outcome, sshdWords: '', waitMs: ears.waitMs, unstored: ears.unstored };
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
  ears: HostEvents,
  admitted: () => void,
): Promise<never> {
  const label = remoteName(run.remote);
  const { interrupt } = run;
  await letIn;
  admitted();
  const began = ears.copying.promise;
  // To start rsync can take minutes where disks or processors are busy; the host waits for it as long as for any other byte.
  const silenceMs = Math.max(SILENCE_MS, run.config.limits.idle_timeout);
  await withTimeout(interrupt, silenceMs, began, () =>
    lateFault(label, `nothing was copied ${silenceMs / 1000} s after the backup host was let in`),
  );
  for (;;) {
    const heard = ears.nextWord();
    await withTimeout(interrupt, silenceMs, heard, () =>
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
      next: `${keygenText(files.identity)}, or set \`identity\` in client.toml`,
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
  return named.flatMap(each => parseFrom(unfold(each)) ?? []);
}
