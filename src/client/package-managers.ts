/** Finds the package manager of a system. It asks their programs: the name of the distribution does not decide. */
import { Fault } from '../fault.ts';
import { exists } from '../os/files.ts';
import { hasProgram } from '../os/programs.ts';
import { dpkg } from './dpkg.ts';
import { type Installation, inSystem, type PackageManager } from './package-database.ts';
import { pacman } from './pacman.ts';
import { rpm } from './rpm.ts';

const MANAGERS: readonly PackageManager[] = [dpkg, rpm, pacman];

/** Package managers whose files this version does not know, by the folder of their database. */
const OTHERS = [['/lib/apk/db', 'apk']] as const;

/** @returns undefined for a name that this version does not know */
export function managerNamed(name: string): PackageManager | undefined {
  return MANAGERS.find(each => each.name === name);
}

/**
 * Finds the package manager of a system. If there are databases of several, as where rpm is installed as a tool on Debian, it is the
 * one with most packages.
 * @param system the folder of the system; `/`: this one
 * @throws Fault if this version knows no such package manager, if its program is not on this machine, or if no database can
 *   be read
 */
export async function managerOf(
  system: string,
  signal: AbortSignal,
): Promise<{ manager: PackageManager; at: Installation }> {
  const found: { manager: PackageManager; at: Installation; packages: number }[] = [];
  for (const manager of MANAGERS) {
    const database = await manager.findDatabase(system);
    if (database !== undefined) found.push({ manager, at: { system, database }, packages: 0 });
  }
  const usable = found.filter(each => hasProgram(each.manager.program));
  // A leftover of another package manager that cannot be read must not stop the one with packages.
  let failure: Fault | undefined;
  for (const each of found.length > 1 ? usable : []) {
    try {
      each.packages = await each.manager.countPackages(each.at, signal);
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      failure ??= error;
    }
  }
  const [best] = usable.sort((one, other) => other.packages - one.packages);
  const unknown = found.find(each => !usable.includes(each));
  if (best !== undefined && best.packages > 0) return best;
  if (failure !== undefined) throw failure;
  if (best !== undefined && unknown === undefined) return best;
  throw refusal(system, unknown?.manager);
}

function refusal(system: string, present: PackageManager | undefined): Fault {
  const other = OTHERS.find(([folder]) => exists(inSystem(system, folder)))?.[1];
  const unknown =
    other === undefined
      ? 'there is no database of dpkg, rpm or pacman'
      : `${other} manages its packages, and this version knows only dpkg, rpm and pacman`;
  return new Fault({
    tried: `examine the packages of "${system}"`,
    found: present === undefined ? unknown : `this machine has no ${present.program}`,
    next: 'name folders that can be installed again in `exclude` of client.toml',
    exit: 'usage',
  });
}
