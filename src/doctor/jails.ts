/** Which confinement of rsync is in force on either side, and whether the jail and rsync work in it. */
import type { ClientConfig } from '../client/config.ts';
import type { Root } from '../client/roots.ts';
import { kernelScope } from '../client/scope.ts';
import { type SenderNeeds, trySender } from '../client/trial.ts';
import { Fault } from '../fault.ts';
import type { HostConfig } from '../host/config.ts';
import { asUid, ownAccount } from '../os/account.ts';
import { makeUniqueFolder, removeAll } from '../os/files.ts';
import { installStep } from '../os/install-steps.ts';
import { hasJail, hasLauncher, type Jail, lacksLandlock, rsyncLibraries } from '../os/launcher.ts';
import { hasProgram } from '../os/programs.ts';
import { temporaryFolder } from '../os/scratch.ts';
import { listedRoots } from '../wire/rsync.ts';
import { asText, escapeText, quoteForShell } from '../wire/text.ts';
import { type Finding, Topic } from './finding.ts';

/** How a side confines rsync: the kernel's jail, the capability without the jail, or only the account's permissions. */
type Way = 'confined' | 'inherited' | 'none';

/** The confinement that is in force. */
export interface Confinement {
  way: Way;
  /** Whether the config sets it; otherwise it depends on whether there is a launcher. */
  isChosen: boolean;
}

/** @throws Fault if this account may not look for the launcher */
export function clientConfinement({ capability }: ClientConfig): Confinement {
  return confinementOf(capability, hasLauncher);
}

/** @throws Fault if this account may not look for the launcher's `jail` */
export function hostConfinement({ confined }: HostConfig): Confinement {
  return confinementOf(confined === undefined ? undefined : confined ? 'confined' : 'none', hasJail);
}

/** @param isInstalled whether the side's program of the launcher is there */
function confinementOf(chosen: Way | undefined, isInstalled: () => boolean): Confinement {
  if (chosen !== undefined) return { way: chosen, isChosen: true };
  return { way: isInstalled() ? 'confined' : 'none', isChosen: false };
}

const CLIENT_CONFINEMENT = new Topic(
  'client.confinement',
  'a hostile backup host that has taken over rsync can do only what the jail allows: read the scope',
);

/**
 * @param path client.toml
 * @param canConfine whether the kernel is known to have Landlock
 */
export function checkClientConfinement(
  { way, isChosen }: Confinement,
  path: string,
  canConfine: boolean,
): Finding {
  if (way === 'confined')
    return CLIENT_CONFINEMENT.ok('confined: rsync reads every file of the scope, in the jail');
  if (way === 'inherited') {
    const found = 'inherited: rsync reads every file, without the jail';
    return canConfine
      ? CLIENT_CONFINEMENT.warning(
          `${found}, although this kernel has Landlock for a jail`,
          `sed -i 's/^\\s*capability\\s*=.*/capability = "confined"/' ${quoteForShell(path)}`,
        )
      : CLIENT_CONFINEMENT.ok(found);
  }
  const found = 'none: rsync reads only the files that this account may read, without the jail';
  return isChosen
    ? CLIENT_CONFINEMENT.ok(`${found}, as "${path}" says`)
    : CLIENT_CONFINEMENT.warning(
        `${found}, because there is no launcher`,
        `${installStep()}; or, to do without: sed -i '1i capability = "none"' ${quoteForShell(path)}`,
      );
}

const HOST_CONFINEMENT = new Topic(
  'host.confinement',
  "a hostile client that has taken over rsync can do only what the jail allows: it cannot reach other clients' backups",
);

/** @param path host.toml */
export function checkHostConfinement({ way, isChosen }: Confinement, path: string): Finding {
  if (way !== 'none')
    return HOST_CONFINEMENT.ok('confined: rsync writes the files that arrive, and reaches no others');
  const found = 'none: rsync can do everything that this account can';
  return isChosen
    ? HOST_CONFINEMENT.ok(`${found}, as "${path}" says`)
    : HOST_CONFINEMENT.warning(
        `${found}, because there is no launcher`,
        `${installStep()}; or, to do without: sed -i '1i confined = false' ${quoteForShell(path)}`,
      );
}

const CLIENT_JAIL = new Topic(
  'client.jail',
  'each backup fails until the launcher works, because dialback runs rsync only in the jail',
);

/** The other findings say more than the jail's own error. */
const jailStep = (): string =>
  `fix the critical findings about the launcher; if there are none: ${installStep()}`;

/** @param tried the jail, or why it could not be set up */
export function checkClientJail(tried: Jail | Fault): Finding {
  if (!(tried instanceof Fault))
    return CLIENT_JAIL.ok(`rsync starts in it (Landlock ABI ${tried.landlockAbi})`);
  const found = `Cannot ${tried.tried}: ${tried.found}`;
  const uid = /it was made for uid (\d+)/.exec(tried.found)?.[1];
  if (uid !== undefined)
    return CLIENT_JAIL.critical(
      found,
      `${asUid(uid, 'dialback doctor')}, because that account makes the backups`,
    );
  const isOwn = tried.next === undefined || tried.next === 'dialback doctor';
  return CLIENT_JAIL.critical(found, isOwn ? jailStep() : (tried.next ?? ''));
}

const HOST_JAIL = new Topic(
  'host.jail',
  'each run fails until the launcher works, because dialback runs rsync only in the jail',
);

/** @param tried the jail, or why it could not be set up */
export function checkHostJail(tried: Jail | Fault): Finding {
  if (tried instanceof Fault) {
    const found = `Cannot ${tried.tried}: ${tried.found}`;
    return HOST_JAIL.critical(found, lacksLandlock(tried) ? (tried.next ?? '') : jailStep());
  }
  if (!tried.hasOwnRoot) {
    return HOST_JAIL.warning(
      'rsync starts in it, but without a root file system of its own: it could change modes and times outside of it',
      'sysctl --ignore user.max_user_namespaces kernel.unprivileged_userns_clone kernel.apparmor_restrict_unprivileged_userns shows which of them keeps ordinary users from making one',
    );
  }
  return HOST_JAIL.ok(
    `rsync starts in it (Landlock ABI ${tried.landlockAbi}, a root file system of its own)`,
  );
}

const SENDER = new Topic(
  'client.rsync',
  'a backup refuses an rsync that cannot serve a file as a daemon, before it calls the host',
);

/** The result of a trial of rsync: its needs and the roots for which it must list the folders above them, or the error. */
type TriedSender = { needs: SenderNeeds; listed: string[] } | { error: unknown };

/**
 * Starts rsync as `backup` does, in a temporary folder that it removes. Root is left out: root's daemon would run with other
 * permissions than the account's.
 * @param roots as `findRoots()` found them
 * @param hung mount points that do not answer
 * @returns undefined for root or without rsync
 */
export async function collectSender(
  config: ClientConfig,
  state: string,
  { roots, hung }: { roots: readonly Root[]; hung: readonly string[] },
  { way }: Confinement,
): Promise<TriedSender | undefined> {
  if (ownAccount().uid === 0 || !hasProgram('rsync')) return undefined;
  let folder: string | undefined;
  try {
    folder = makeUniqueFolder(`${temporaryFolder()}/dialback-doctor-`);
    const isConfined = way === 'confined';
    const needs = await trySender({
      folder,
      capability: way,
      scope: kernelScope(config, state, roots, hung),
      libraries: isConfined ? await rsyncLibraries() : [],
      daemon: { idleSeconds: 60, confined: isConfined, checksum: true, compress: true },
      interrupt: new AbortController().signal,
    });
    return { needs, listed: isConfined ? listedRoots(roots.map(each => asText(each.path))) : [] };
  } catch (error) {
    return { error };
  } finally {
    if (folder !== undefined) removeAll(folder);
  }
}

/** Checks what an rsync needs that has to serve the scope as a daemon, and whether it can. */
export function checkSender(tried: TriedSender): Finding {
  if ('error' in tried) return SENDER.fault(tried.error, 'apt-get update && apt-get install rsync');
  const cost = 'so its jail lets it list the names in every folder of this machine, but not read the files';
  const place = '(docs/security.md, "What stays open")';
  if (tried.needs.listsAll)
    return SENDER.warning(
      `rsync opens folders above \`roots\`, ${cost} ${place}`,
      'apt-get update && apt-get install rsync, if that brings 3.5.0 or later',
    );
  const [first] = tried.listed;
  return first === undefined
    ? SENDER.ok('rsync serves a file as a daemon, and reads only the scope')
    : SENDER.warning(
        `rsync finds the root "${escapeText(first)}" by listing the folders above it, ${cost}`,
        `in \`roots\`, name a folder above it without any of *?[\\ ${place}`,
      );
}
