/** One attempt at a backup: its scope, its request to the host, and the checks of the host's outcome. */

import { Fault } from '../fault.ts';
import { findSubject, ownAccount } from '../os/account.ts';
import { settleAll } from '../os/async.ts';
import { showPath } from '../os/byte-path.ts';
import { now } from '../os/clock.ts';
import { appendJournal, readJournal } from '../os/journal.ts';
import { launcherHasGone, launcherPath, rsyncLibraries, tryConfinement } from '../os/launcher.ts';
import { isLoadable, mountPointsLibrary } from '../os/link-library.ts';
import { type MountEntry, readMountTable } from '../os/mounts.ts';
import { makeRunFolder } from '../os/runfolder.ts';
import { rsyncVersion, rsyncWords } from '../os/versions.ts';
import { isRsyncVulnerable } from '../shared/package-changelog.ts';
import { findPrinter, printedWords, quietAdvice } from '../shared/startup-files.ts';
import { encodeRsync } from '../wire/request.ts';
import { CHECKSUM_IDLE_SECONDS, daemonConfig, listedRoots } from '../wire/rsync.ts';
import { knowsZstd } from '../wire/rsync-output.ts';
import { asText } from '../wire/text.ts';
import { openChannel } from './channel.ts';
import { decideCompression } from './compression.ts';
import { type Capability, capabilityOf, ownNiceness, type Remote } from './config.ts';
import { openDirect } from './direct.ts';
import { type Exclude, scopeFilter, scopeRecords, splitExcludes } from './filter.ts';
import { HostEvents } from './host-events.ts';
import { isLocal, openLocal } from './local.ts';
import { hungWarning, mountTableText } from './mount-points.ts';
import { type Place, placeWarnings } from './never.ts';
import { checkPackageLists } from './package-age.ts';
import { followExcludes, type Root, refuseHiddenRoots } from './roots.ts';
import { type Run, runFault } from './run-events.ts';
import {
  enumeratedNames,
  findHungMounts,
  findRoots,
  type KernelScope,
  kernelScope,
  readExcludes,
  withLaunchersPlaces,
  withoutLibrary,
} from './scope.ts';
import { writeDaemonFiles, writeScope } from './sender.ts';
import { STORE_NEXT, storeInScopeText, storesInScope } from './store-in-scope.ts';
import { killReader, readTaken } from './ticket.ts';
import type { Attempt, AttemptOutcome, OpenTransport } from './transport.ts';
import { forgetSender, requireSender } from './trial.ts';

const TRANSPORTS: Record<Remote['transport'], OpenTransport> = {
  direct: openDirect,
  channel: openChannel,
  local: openLocal,
};

/**
 * Makes one attempt: checks this machine, calls the host and waits for its outcome. Everything that it opens is closed in
 * reverse order when it ends.
 * @param checksum whether file contents are compared
 * @returns the host's report
 * @throws Fault where there is no outcome, or one that cannot be true
 */
export async function makeAttempt(run: Run, checksum: boolean): Promise<AttemptOutcome> {
  const { config, remote, state, events } = run;
  const before = readMountTable();
  const hung = await findHungMounts(config, undefined, before);
  const transport = await TRANSPORTS[remote.transport](run, hung);
  for (const path of hung) events.warning(hungWarning(path));
  // The disk of a store may have been mounted while the transport waited for it.
  const chosen = chooseScope(run, hung, isLocal(remote) ? readMountTable() : before);
  const { capability } = chosen;

  await using held = new AsyncDisposableStack();
  const [runFolder, words, libraries] = await settleAll([
    makeRunFolder(held, state, killReader),
    rsyncWords(),
    capability === 'confined' ? rsyncLibraries() : [],
  ]);
  const hasZstd = knowsZstd(words);
  const sender = await prepareSender(run, chosen, { runFolder, libraries, hasZstd, checksum });
  const carry = await transport.prepare(runFolder);
  const compress = chooseCompression(run, hasZstd);
  writeSenderFiles(runFolder, chosen, sender, compress);
  const excludes = Buffer.from(chosen.excludes.map(each => `${each.pattern}\n`).join(''), 'latin1');
  const attempt: Attempt = {
    run,
    runFolder,
    capability,
    orders: {
      niceness: ownNiceness(config),
      capability,
      bwlimitKib: Math.ceil((config.limits.bwlimit ?? 0) / 1024),
      remote: events.remote,
      isChannel: remote.transport !== 'direct',
    },
    header: {
      roots: chosen.roots.map(each => asText(each.path)),
      excludes_bytes: excludes.length,
      dry_run: run.dryRun,
      rsync: await describeRsync(words, sender.listsAll),
      enumerated: capability === 'confined' ? enumeratedNames(sender.scope) : [],
      ...(checksum ? { checksum: true } : {}),
      ...(compress ? { compress: 'zstd' } : {}),
      ...(config.limits.max_size === undefined ? {} : { max_size: config.limits.max_size }),
    },
    excludes,
    host: new HostEvents(events),
  };
  const reported = await carry(held, attempt);
  await checkOutcome(attempt, reported);
  return reported;
}

/** The scope of an attempt, before the launcher has added its places. */
interface ChosenScope {
  roots: Root[];
  excludes: Exclude[];
  hung: readonly string[];
  table: readonly MountEntry[];
  capability: Capability;
  scope: KernelScope;
  /** For an rsync without the launcher: the library that hides mount points from it. */
  library: Buffer | undefined;
}

function chooseScope(run: Run, hung: readonly string[], table: readonly MountEntry[]): ChosenScope {
  const { config, state, events } = run;
  const roots = findRoots(config, hung, table);
  for (const { name, path } of roots)
    if (name !== path)
      events.warning(
        `Cannot back up "${showPath(name)}" under this name: symbolic links lead to "${showPath(path)}", and the backup has that name`,
      );
  const excludes = followExcludes(readExcludes(config), roots);
  for (const { found, next } of checkPackageLists(config, now().getTime()).old)
    events.warning(`${found}; ${next}`, 'packages');
  const capability = capabilityOf(config);
  if (capability === 'none' && config.capability === undefined && wasConfined(state))
    throw launcherHasGone(launcherPath(), 'client.toml', '`capability = "none"`');
  const library = capability === 'none' && isLoadable(state) ? mountPointsLibrary() : undefined;
  const whole = kernelScope(config, state, roots, hung, table);
  const scope = capability === 'confined' || library !== undefined ? whole : withoutLibrary(whole);
  for (const path of storesInScope(scope, excludes))
    events.warning(`${storeInScopeText(path)}; ${STORE_NEXT}`, 'store');
  return { roots, excludes, hung, table, capability, scope, library };
}

/** Whether the last rsync that the gate started was confined, by the journal. */
function wasConfined(state: string): boolean {
  const granted = readJournal(state).filter(each => each.event === 'granted');
  return granted.at(-1)?.capability === 'confined';
}

/** The sender of one attempt, as far as it is known before the call. */
interface Sender {
  /** With the places that the launcher has found. */
  scope: KernelScope;
  /** The options of rsyncd.conf, without the filter. */
  daemon: Omit<Parameters<typeof daemonConfig>[0], 'filter' | 'compress'>;
  /** Whether rsync may list all folders. */
  listsAll: boolean;
}

/** Writes the scope and tries the installed rsync with it. @throws Fault where the scope or rsync cannot be used */
async function prepareSender(
  run: Run,
  chosen: ChosenScope,
  facts: { runFolder: string; libraries: string[]; hasZstd: boolean; checksum: boolean },
): Promise<Sender> {
  const { capability, roots, excludes, hung, scope: seen } = chosen;
  const { runFolder, libraries, hasZstd, checksum } = facts;
  const isConfined = capability === 'confined';
  await refuseHiddenRoots(runFolder, roots, excludes, hung);
  writeScope(runFolder, scopeRecords(seen, libraries));
  const scope = isConfined ? await withLaunchersPlaces(seen, runFolder, chosen.table) : seen;
  reportPlaces(run, scope.places);
  const idleSeconds = Math.ceil(run.config.limits.idle_timeout / 1000);
  const daemon = {
    idleSeconds: Math.max(idleSeconds, checksum ? CHECKSUM_IDLE_SECONDS : 0),
    confined: isConfined,
    checksum,
  };
  const { interrupt } = run;
  const needs = await requireSender(run.state, {
    ...{ folder: runFolder, capability, scope: seen, libraries, interrupt },
    // Whether or not this run compresses, so that its result is valid for dry runs and for every remote.
    daemon: { ...daemon, compress: hasZstd },
  });
  const names = roots.map(each => asText(each.path));
  const listsAll = needs.listsAll || (isConfined && listedRoots(names).length > 0);
  if (listsAll) writeScope(runFolder, scopeRecords(seen, libraries, listsAll));
  return { scope, daemon, listsAll };
}

function writeSenderFiles(
  runFolder: string,
  chosen: ChosenScope,
  { scope, daemon }: Sender,
  compress: boolean,
): void {
  writeDaemonFiles(runFolder, {
    daemonConfig: daemonConfig({ ...daemon, filter: `${runFolder}/rsyncd/filter`, compress }),
    filter: scopeFilter({ ...scope, ...splitExcludes(chosen.excludes) }),
    mounts: mountTableText(scope),
    library: scope.empty.length > 0 ? chosen.library : undefined,
  });
}

/** The version of the installed rsync and its flags, for the record of the snapshot. */
async function describeRsync(words: string, listsAll: boolean): Promise<string> {
  const version = await rsyncVersion(words);
  return encodeRsync(version, [
    ...(listsAll ? (['lists-names'] as const) : []),
    ...(isRsyncVulnerable(version) ? (['vulnerable'] as const) : []),
  ]);
}

/** Reports and records paths of `never` that are kept back only by their name, since another user may have caused that. */
function reportPlaces({ events, state }: Run, places: Place[]): void {
  const code = 'never';
  for (const { path, link, message } of placeWarnings(places)) {
    events.warning(message, code);
    const warning = { event: 'warning', remote: events.remote, code, message };
    const more = { path, link: link ?? null };
    appendJournal(`${state}/journal.jsonl`, { time: now().toISOString(), ...warning, ...more });
  }
}

/** Chooses whether this run compresses, and reports it. A dry run sends no content, and a local run has no connection. */
function chooseCompression({ config, remote, dryRun, events }: Run, hasZstd: boolean): boolean {
  if (dryRun || isLocal(remote)) return false;
  const chosen = decideCompression(config.limits.compress, hasZstd);
  events.compression(chosen);
  return chosen.compress;
}

/**
 * Refuses an outcome that cannot be true, adds this machine's explanation to a failure, and deletes remembered values that
 * may be wrong.
 */
async function checkOutcome(
  { run, runFolder, capability }: Attempt,
  { outcome }: AttemptOutcome,
): Promise<void> {
  const { code } = outcome;
  requireBelievable(run, outcome, readTaken(runFolder) !== undefined);
  if (code === 'no-answer' && run.remote.transport === 'direct') await requireQuietShell(run.events.remote);
  // At the real start the message of the launcher went to the host. If it still refuses, this shows the message here.
  if (capability === 'confined' && (code === 'no-answer' || code === 'rsync'))
    await tryConfinement(runFolder);
  if (code === 'nothing' || code === 'no-answer' || code === 'rsync')
    await forgetSender(run.state, capability);
}

/** A host that reports a success which cannot have happened has failed. */
function requireBelievable(run: Run, outcome: AttemptOutcome['outcome'], wasTaken: boolean): void {
  if (outcome.code !== null) return;
  const { remote } = run.events;
  if (!wasTaken) throw runFault(remote, 'the backup host says that it is done, and was never let in');
  if ((outcome.snapshot === null) === run.dryRun) return;
  const found = run.dryRun ? 'made a snapshot of a dry run' : 'kept nothing';
  throw runFault(remote, `the backup host says that it ${found}`);
}

/** @throws Fault where a start-up file of this account prints text before rsync starts, which the host cannot know */
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
