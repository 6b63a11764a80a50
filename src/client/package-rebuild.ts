/** Lists for a rebuild of a machine: the names and versions of its packages, and where they come from. */

import { asBytes } from '../os/byte-path.ts';
import { readWhole } from '../os/content.ts';
import { lstat, readdir } from '../os/files.ts';
import { InnerPaths } from './inner-path.ts';
import type { Installation, PackageDatabase, PackageManager } from './package-database.ts';

const FILE_BYTES = 16 * 1024 * 1024;

export interface Rebuild {
  /** Contents by path below F.rebuild. */
  files: Map<string, Buffer>;
  /** Files with the configuration of package sources that this account cannot read. */
  unreadable: string[];
}

/**
 * Collects the lists for a rebuild.
 * @throws Fault if a program of the package manager fails
 */
export async function collectRebuild(
  manager: PackageManager,
  database: PackageDatabase,
  at: Installation,
): Promise<Rebuild> {
  const { sources } = manager;
  const files = await manager.rebuildLists(database, at);
  const unreadable: string[] = [];
  // A link of the system must not lead to a file of this machine: its content would be in the backup.
  const inner = new InnerPaths(asBytes(at.system));
  const names = [...sources.files, ...sources.folders.flatMap(folder => namesIn(inner, folder))];
  const keys = new Set<string>();
  const take = (name: string): Buffer | undefined => {
    try {
      const place = inner.realPlace(asBytes(name));
      const path = place === undefined ? undefined : inner.outside(place);
      if (path === undefined || !lstat(path, { throwIfNoEntry: false })?.isFile()) return undefined;
      const content = readWhole(path, FILE_BYTES);
      files.set(`files${name}`, content);
      return content;
    } catch {
      unreadable.push(name);
      return undefined;
    }
  };
  for (const name of names) {
    const content = take(name);
    if (content === undefined) continue;
    for (const key of sources.keysIn?.(name, content.toString('utf8')) ?? []) keys.add(key);
  }
  for (const key of keys) if (!files.has(`files${key}`)) take(key);
  return { files, unreadable };
}

function namesIn(inner: InnerPaths, folder: string): string[] {
  const place = inner.isFolder(folder) ? inner.realPlace(folder) : undefined;
  if (place === undefined) return [];
  return readdir(inner.outside(place))
    .sort()
    .map(name => `${folder}/${name}`);
}
