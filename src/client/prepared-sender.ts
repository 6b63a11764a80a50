/**
 * The sender, prepared for a config: its scope on this machine, and a trial of the installed rsync with it. A backup and `weigh`
 * read the same files, because both come here.
 */
import { showPath } from '../os/byte-path.ts';
import { now } from '../os/clock.ts';
import { appendJournal, readJournal } from '../os/journal.ts';
import { launcherHasGone, launcherPath } from '../os/launcher.ts';
import { isLoadable, mountPointsLibrary } from '../os/link-library.ts';
import type { MountEntry } from '../os/mounts.ts';
import { CHECKSUM_IDLE_SECONDS, daemonConfig, listedRoots } from '../wire/rsync.ts';
import { asText } from '../wire/text.ts';
import { type Capability, type ClientConfig, capabilityOf } from './config.ts';
import { type Exclude, scopeFilter, scopeRecords, splitExcludes } from './filter.ts';
import { mountTableText } from './mount-points.ts';
import { type Place, placeWarnings } from './never.ts';
import { checkPackageLists } from './package-age.ts';
import { followExcludes, type Root, refuseHiddenRoots } from './roots.ts';
import {
  findRoots,
  type KernelScope,
  kernelScope,
  readExcludes,
  withLaunchersPlaces,
  withoutLibrary,
} from './scope.ts';
import { writeDaemonFiles, writeScope } from './sender.ts';
import { STORE_NEXT, storeInScopeText, storesInScope } from './store-in-scope.ts';
import type { LeftOutFolder } from './tag-rules.ts';
import { requireSender } from './trial.ts';

/** The owner of a sender. */
export interface SenderOwner {
  config: ClientConfig;
  /** The state folder. */
  state: string;
  interrupt: AbortSignal;
  /** The remote of a run, for the journal; undefined: the sender is not for a host, and the journal gets no record. */
  remote: string | undefined;
  /** @param code is set where the warning must reach a person in any case */
  warn: (message: string, code?: string) => void;
}

/** The scope of an attempt, before the launcher has added its places. */
export interface ChosenScope {
  roots: Root[];
  excludes: Exclude[];
  hung: readonly string[];
  table: readonly MountEntry[];
  capability: Capability;
  scope: KernelScope;
  /** For an rsync without the launcher: the library that hides mount points from it. */
  library: Buffer | undefined;
}

/**
 * Chooses the scope, and warns about parts of it that a backup cannot have as configured.
 * @param hung as `findHungMounts()` returns it
 * @throws Fault where the roots or the excludes cannot be used, or the launcher is gone
 */
export function chooseScope(
  owner: SenderOwner,
  hung: readonly string[],
  table: readonly MountEntry[],
): ChosenScope {
  const { config, state, warn } = owner;
  const roots = findRoots(config, hung, table);
  for (const { name, path } of roots)
    if (name !== path)
      warn(
        `Cannot back up "${showPath(name)}" under this name: symbolic links lead to "${showPath(path)}", and the backup has that name`,
      );
  const excludes = followExcludes(readExcludes(config), roots);
  for (const { found, next } of checkPackageLists(config, now().getTime()).old)
    warn(`${found}; ${next}`, 'packages');
  const capability = capabilityOf(config);
  if (capability === 'none' && config.capability === undefined && wasConfined(state))
    throw launcherHasGone(launcherPath(), 'client.toml', '`capability = "none"`');
  const library = capability === 'none' && isLoadable(state) ? mountPointsLibrary() : undefined;
  const whole = kernelScope(config, state, roots, hung, table);
  const scope = capability === 'confined' || library !== undefined ? whole : withoutLibrary(whole);
  for (const path of storesInScope(scope, excludes))
    warn(`${storeInScopeText(path)}; ${STORE_NEXT}`, 'store');
  return { roots, excludes, hung, table, capability, scope, library };
}

/** Whether the last rsync that the gate started was confined, by the journal. */
function wasConfined(state: string): boolean {
  const granted = readJournal(state).filter(each => each.event === 'granted');
  return granted.at(-1)?.capability === 'confined';
}

/** The sender of one attempt, as far as it is known before the call. */
export interface Sender {
  /** With the places that the launcher has found. */
  scope: KernelScope;
  /** The options of rsyncd.conf, without the filter. */
  daemon: Omit<Parameters<typeof daemonConfig>[0], 'filter' | 'compress'>;
  /** Whether rsync may list all folders. */
  listsAll: boolean;
}

/** Writes the scope and tries the installed rsync with it. @throws Fault where the scope or rsync cannot be used */
export async function prepareSender(
  owner: SenderOwner,
  chosen: ChosenScope,
  facts: {
    runFolder: string;
    libraries: string[];
    hasZstd: boolean;
    checksum: boolean;
    /** Paths that rsync gets as arguments, where they are not the roots. */
    asked?: readonly string[];
  },
): Promise<Sender> {
  const { capability, roots, excludes, hung, scope: seen } = chosen;
  const { runFolder, libraries, hasZstd, checksum } = facts;
  const isConfined = capability === 'confined';
  await refuseHiddenRoots(runFolder, roots, excludes, hung);
  writeScope(runFolder, scopeRecords(seen, libraries));
  const scope = isConfined ? await withLaunchersPlaces(seen, runFolder, chosen.table) : seen;
  reportPlaces(owner, scope.places);
  const idleSeconds = Math.ceil(owner.config.limits.idle_timeout / 1000);
  const daemon = {
    idleSeconds: Math.max(idleSeconds, checksum ? CHECKSUM_IDLE_SECONDS : 0),
    confined: isConfined,
    checksum,
  };
  const { interrupt } = owner;
  const needs = await requireSender(owner.state, {
    ...{ folder: runFolder, capability, scope: seen, libraries, interrupt },
    // Whether or not this run compresses, so that its result is valid for dry runs and for every remote.
    daemon: { ...daemon, compress: hasZstd },
  });
  const names = roots.map(each => asText(each.path));
  const asked = facts.asked ?? names;
  const listsAll =
    needs.listsAll || (isConfined && !names.includes('/') && listedRoots([...asked]).length > 0);
  if (listsAll) writeScope(runFolder, scopeRecords(seen, libraries, listsAll));
  return { scope, daemon, listsAll };
}

/**
 * Writes the files that rsync reads.
 * @param options.compress whether rsync may compress
 * @param options.excludes the patterns of the exclude list
 * @param options.tagged folders that are stored with their tag only
 */
export function writeSenderFiles(
  runFolder: string,
  chosen: ChosenScope,
  { scope, daemon }: Sender,
  options: { compress: boolean; excludes: readonly Exclude[]; tagged?: readonly LeftOutFolder[] },
): void {
  const { compress, tagged = [] } = options;
  writeDaemonFiles(runFolder, {
    daemonConfig: daemonConfig({ ...daemon, filter: `${runFolder}/rsyncd/filter`, compress }),
    filter: scopeFilter({ ...scope, ...splitExcludes(options.excludes), tagged }),
    mounts: mountTableText(scope),
    library: scope.empty.length > 0 ? chosen.library : undefined,
  });
}

/** Reports and records paths of `never` that are kept back only by their name, since another user may have caused that. */
function reportPlaces({ remote, state, warn }: SenderOwner, places: Place[]): void {
  const code = 'never';
  for (const { path, link, message } of placeWarnings(places)) {
    warn(message, code);
    if (remote === undefined) continue;
    const warning = { event: 'warning', remote, code, message };
    const more = { path, link: link ?? null };
    appendJournal(`${state}/journal.jsonl`, { time: now().toISOString(), ...warning, ...more });
  }
}
