/**
 * Where the caches of a store are: SQLite's files catalog.sqlite, index.sqlite and verify.sqlite. By default they are in the store.
 * With `cache_dir` in host.toml they are below that folder, under the store's own path: CACHE_DIR/srv/dialback/clients/NAME/index.sqlite.
 * SQLite needs locks and shared memory that a network file system may not have.
 *
 * A cache can be removed at any time. Each compares itself with the store when it is opened, so another store under the same path
 * does no harm.
 */
import { Fault } from '../fault.ts';
import { ownAccount } from '../os/account.ts';
import { exists, makeFolder, removeAll, rename, stat } from '../os/files.ts';
import { findBreachOnTheWay } from '../os/trust.ts';
import { quoteForShell } from '../wire/text.ts';

/** The cache_dir of each store that a config named in this process. */
const folders = new Map<string, string>();

/**
 * Applies `cache_dir` of a host.toml to this process.
 * @param store the folder of the store, as host.toml has it
 * @param folder undefined: the caches are in the store
 * @throws Fault `usage` when another account than the store's owner and root can change the folder or replace it
 */
export function useCacheDir(store: string, folder: string | undefined): void {
  if (folder === undefined) {
    folders.delete(store);
    return;
  }
  requireTrusted(store, folder);
  folders.set(store, folder);
}

function requireTrusted(store: string, folder: string): void {
  if (!exists(folder)) return;
  const owner = exists(store) ? stat(store).uid : ownAccount().uid;
  const breach = findBreachOnTheWay(folder, owner);
  if (breach === undefined) return;
  throw new Fault({
    tried: `use the cache_dir "${folder}"`,
    found: `${breach.found}: another account could replace the caches`,
    next: breach.isForeign
      ? `as root: chown ${owner} ${quoteForShell(breach.at)}`
      : `chmod go-w ${quoteForShell(breach.at)}`,
    exit: 'usage',
  });
}

/**
 * The path of a cache. Pure, apart from the setting.
 * @param folder the store, or the folder of a client in it
 * @param name the file's name
 */
export function cachePath(folder: string, name: string): string {
  return `${cacheFolder(folder)}/${name}`;
}

/** The folder for the caches of a store or of a client, which may not exist. */
export function cacheFolder(folder: string): string {
  for (const [store, cacheDir] of folders)
    if (folder === store || folder.startsWith(`${store}/`)) return `${cacheDir}${folder}`;
  return folder;
}

/**
 * Makes the folder for the caches of a store or of a client, private to this account.
 * @returns its path
 * @throws Fault with the system call's error as its cause
 */
export function makeCacheFolder(folder: string): string {
  const place = cacheFolder(folder);
  if (place !== folder) makeFolder(place, { parents: true });
  return place;
}

/** Moves the caches of a client that has another folder now. Without it they would be made again. */
export function moveCaches(from: string, to: string): void {
  const [old, place] = [cacheFolder(from), cacheFolder(to)];
  if (old === from || !exists(old)) return;
  try {
    removeAll(place);
    rename(old, place);
  } catch {
    // they are made again, and the old ones can be removed by hand
  }
}

/** Removes the caches of a client that is gone. Does nothing if they are in the client's folder, which is removed as a whole. */
export function dropCaches(folder: string): void {
  const place = cacheFolder(folder);
  if (place === folder) return;
  try {
    removeAll(place);
  } catch {
    // only a cache, and no other client reads it
  }
}
