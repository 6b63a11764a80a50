/** The client.toml that `init` writes: the roots and the capability that work on this machine, and the text of the file. */
import { Fault } from '../fault.ts';
import { ownAccount } from '../os/account.ts';
import { makeFolder, mayRead, realPath } from '../os/files.ts';
import { hasLauncher, lacksLandlock, launcherServesUs, requireInheritance } from '../os/launcher.ts';
import { placeFile } from '../os/replace.ts';
import { findBreachOnTheWay } from '../os/trust.ts';
import { parseConfig } from '../shared/toml.ts';
import { clientToml } from './client-toml.ts';
import { type Capability, CLIENT_SCHEMA } from './config.ts';
import { tryJail } from './jail.ts';
import { findHungMounts, findRoots } from './scope.ts';

/** The result of init's trial of the jail. */
export interface JailNote {
  /** The capability that it wrote because of that. */
  capability: Capability;
  found: string;
  next: string | undefined;
}

/** The parts of a config that the command line decides. */
type ConfigParts = Omit<Parameters<typeof clientToml>[0], 'roots' | 'capability' | 'excludeFrom'> & {
  /** Undefined: the whole machine, or the home folder. */
  roots?: string[] | undefined;
};

/**
 * Writes a new config.
 * @param state the state folder, which the trial of the jail keeps back
 * @returns a note where the jail was tried and failed
 * @throws Fault where the file cannot be written
 */
export async function writeConfig(
  path: string,
  state: string,
  parts: ConfigParts,
): Promise<JailNote | undefined> {
  const { roots, capability, jail } = await chooseScope(state, parts);
  const text = clientToml({ ...parts, roots, capability, excludeFrom: excludesFor(roots) });
  parseConfig(text, path, CLIENT_SCHEMA); // A config that cannot be read is never written.
  makeFolder(path.slice(0, path.lastIndexOf('/')) || '/', { parents: true });
  placeFile(path, text);
  return jail;
}

/** The list that `make install` installs, for a whole machine: caches, /tmp, swap files. */
const MACHINE_EXCLUDES = '/etc/dialback/excludes';

/** @returns that list; undefined where only a part of the machine is backed up, or others could change the list */
function excludesFor(roots: string[]): string | undefined {
  if (!roots.includes('/') || !mayRead(MACHINE_EXCLUDES)) return undefined;
  const isTrusted = findBreachOnTheWay(MACHINE_EXCLUDES, 0) === undefined;
  return isTrusted ? MACHINE_EXCLUDES : undefined;
}

interface ChosenScope {
  roots: string[];
  capability: Capability | undefined;
  jail?: JailNote;
}

/**
 * Chooses roots and capability. The whole machine, where the launcher gives this account the right to read it. Otherwise the home
 * folder, and the config says that there is no launcher: one that was made for another account would make every run fail.
 *
 * A jail that this kernel cannot build would make every run fail too. Then rsync reads without a jail: the whole machine where root
 * has prepared that (make install INHERITED=1), and otherwise the home folder. A jail that fails for another reason can be fixed.
 */
async function chooseScope(state: string, parts: ConfigParts): Promise<ChosenScope> {
  const { roots } = parts;
  const own: ChosenScope = { roots: roots ?? [realPath(ownAccount().home)], capability: 'none' };
  if (!(await launcherServesUs())) return { ...own, capability: hasLauncher() ? 'none' : undefined };
  const whole: ChosenScope = { roots: roots ?? ['/'], capability: 'confined' };
  const config = parseConfig(clientToml({ ...parts, ...whole }), 'client.toml', CLIENT_SCHEMA);
  const hung = await findHungMounts(config);
  const { jail } = await tryJail(config, state, findRoots(config, hung), hung);
  if (!(jail instanceof Fault)) return whole;
  const { message: found, next } = jail;
  if (!lacksLandlock(jail)) return { ...whole, jail: { capability: 'confined', found, next } };
  const isPrepared = await requireInheritance().then(
    () => true,
    () => false,
  );
  return isPrepared
    ? { ...whole, capability: 'inherited', jail: { capability: 'inherited', found, next: undefined } }
    : { ...own, jail: { capability: 'none', found, next } };
}
