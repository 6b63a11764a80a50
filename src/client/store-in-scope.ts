/**
 * Finds stores of this machine that a backup would contain. The sender leaves out `user.rsync.*` (NO_DISGUISE in
 * wire/rsync.ts), in which a store keeps owners, modes, types and devices. So a backup of a store can give back contents only.
 *
 * A store is private to its account, so this one often cannot look for store.json. The configs of this machine name stores, too.
 */
import * as v from 'valibot';
import { asBytes } from '../os/byte-path.ts';
import { exists, readdir } from '../os/files.ts';
import { isWithin } from '../os/mounts.ts';
import { configPlaces, pathKey, readConfig } from '../shared/toml.ts';
import { knownStorePaths } from '../store/known-stores.ts';
import { STORE_FILE } from '../wire/local.ts';
import { asText, escapeText } from '../wire/text.ts';
import type { Exclude } from './filter.ts';
import { realPlace } from './local.ts';
import type { KernelScope } from './scope.ts';

/** The part of host.toml that matters here. */
const STORE_OF = v.looseObject({ store: pathKey });

/**
 * Finds stores in a scope.
 * @param scope its `never` has the stores of local remotes
 * @returns their paths, sorted
 */
export function storesInScope(
  { roots, never, empty }: Pick<KernelScope, 'roots' | 'never' | 'empty'>,
  excludes: readonly Exclude[],
): string[] {
  const isIn = (path: string): boolean => roots.some(root => isWithin(root, path) || isWithin(path, root));
  const isOut = (path: string): boolean =>
    [...never, ...empty].some(each => isWithin(each, path)) || excludes.some(each => isExcluded(each, path));
  // A file system that does not answer is one of `empty`. One outside of the roots was not asked, so do not touch it.
  const canTouch = (path: string): boolean => isIn(path) && !empty.some(each => isWithin(each, path));
  const named = [...configuredStores(), ...knownStorePaths()].filter(path => canTouch(asBytes(path)));
  const found = [
    ...named.map(realPlace).filter(exists).map(asBytes),
    ...roots.filter(canTouch).flatMap(storeAround),
  ];
  return [...new Set(found)]
    .filter(path => isIn(path) && !isOut(path))
    .map(asText)
    .sort();
}

/** The stores that the configs for a host on this machine name. */
function configuredStores(): string[] {
  return configPlaces('host.toml').flatMap(path => {
    try {
      return exists(path) ? [readConfig(path, STORE_OF, 'host.toml').store] : [];
    } catch {
      return []; // the commands that need this config report it
    }
  });
}

/** The store that a root is, or is inside of. @param root bytes */
function storeAround(root: string): string[] {
  for (let at = root; at !== '' && at !== '/'; at = at.slice(0, at.lastIndexOf('/')))
    if (isStore(at)) return [at];
  return [];
}

function isStore(path: string): boolean {
  try {
    const names = readdir(Buffer.from(path, 'latin1'));
    return names.includes(STORE_FILE) && names.includes('clients');
  } catch {
    return false;
  }
}

/** Whether a pattern without wildcards names the path or a folder above it, or all entries of one. */
function isExcluded({ pattern }: Exclude, path: string): boolean {
  const folder = pattern.replace(/\/(?:\*{1,3})?$/, '');
  return folder.startsWith('/') && !/[*?[]/.test(folder) && isWithin(folder, path);
}

/** The problem, for a person. */
export function storeInScopeText(path: string): string {
  return `Cannot back up the store "${escapeText(path)}" completely: the backup does not have the attributes in which it keeps owners, modes, links and devices`;
}

/** The next step. */
export const STORE_NEXT = 'add it to `never` in client.toml; dialback copy-store copies a store';
