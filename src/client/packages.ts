/** The work of `packages`: finds the files that the package manager can put back, and writes an exclude list for them. */

import { Fault } from '../fault.ts';
import { asBytes } from '../os/byte-path.ts';
import { readdir, realPath } from '../os/files.ts';
import type { ManagerName } from './package-database.ts';
import { requireOwnList, writeList } from './package-list.ts';
import { managerOf } from './package-managers.ts';
import { type ChosenPatterns, choosePatterns, type FolderEntry } from './package-patterns.ts';
import { collectRebuild } from './package-rebuild.ts';
import { findPackagedFiles, type PackagedFiles } from './packaged-files.ts';

/** The result of `packages`. Paths are bytes, one character each. */
export interface PackagesResult extends ChosenPatterns {
  manager: ManagerName;
  packages: number;
  /** Packages whose installed version is in no source. */
  unoffered: string[];
  broken: number;
  kept: PackagedFiles['kept'];
  /** Files with the configuration of package sources that could not be copied. */
  unreadable: string[];
}

/**
 * Examines the files of packages.
 * @param options system: the folder of the system; write: the list to write
 * @throws Fault if no known package manager manages the system, or if the list cannot be written; the signal's reason
 */
export async function examinePackages(
  options: { system: string; write: string | undefined },
  signal: AbortSignal,
): Promise<PackagesResult> {
  const system = realSystem(options.system);
  if (options.write !== undefined) requireOwnList(options.write);
  const { manager, at } = await managerOf(system, signal);
  const database = await manager.read(at, signal, { policy: true });
  const files = await findPackagedFiles(database, asBytes(system), signal);
  const chosen = choosePatterns(files, asBytes(system), folder => entriesOf(asBytes(system), folder));
  let unreadable: string[] = [];
  if (options.write !== undefined) {
    const rebuild = await collectRebuild(manager, database, at);
    unreadable = rebuild.unreadable;
    writeList(options.write, chosen.patterns, rebuild.files, { ...at, manager: manager.name });
  }
  return {
    ...chosen,
    manager: manager.name,
    packages: database.packages.length,
    unoffered: database.packages.filter(each => !each.isOffered).map(each => `${each.label} ${each.version}`),
    broken: database.broken,
    kept: files.kept,
    unreadable,
  };
}

/** A backup names files by their real paths, so the patterns must, too. */
function realSystem(system: string): string {
  try {
    return realPath(system);
  } catch {
    throw new Fault({
      tried: `examine the packages of "${system}"`,
      found: 'there is no such folder',
      next: 'name the folder of a system in --root',
      exit: 'usage',
    });
  }
}

function entriesOf(system: string, folder: string): FolderEntry[] | undefined {
  const path = Buffer.from(system === '/' ? folder : `${system}${folder}`, 'latin1');
  try {
    return readdir(path, { encoding: 'buffer', withFileTypes: true }).map(each => ({
      name: each.name.toString('latin1'),
      isFolder: each.isDirectory(),
    }));
  } catch {
    return undefined;
  }
}
