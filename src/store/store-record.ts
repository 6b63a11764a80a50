/** The record of the stores that this account has used, and the decision about one that is missing. Pure. */
import { isWithin } from '../os/mounts.ts';

/** A store as it was at its last use. */
export interface KnownStore {
  path: string;
  /** The mount point that contained it, or that it was itself. */
  mount: string;
  /** The host.toml that named it: path, inode and time. */
  config: string;
}

/** Parses the record. @returns the stores in it; none if it is damaged, because the next run writes it again */
export function parseKnownStores(text: string): KnownStore[] {
  try {
    const { version, stores } = JSON.parse(text) as { version?: unknown; stores?: unknown };
    if (version !== 1 || !Array.isArray(stores)) return [];
    return stores.filter(isKnownStore);
  } catch {
    return [];
  }
}

function isKnownStore(value: unknown): value is KnownStore {
  if (typeof value !== 'object' || value === null) return false;
  const { path, mount, config } = value as Record<string, unknown>;
  return [path, mount, config].every(each => typeof each === 'string' && each.startsWith('/'));
}

/**
 * Decides whether a missing store is probably on a disk that is not mounted, so that no store may be made there. That
 * is not so if a new disk is mounted in its place, or if the store was removed from the same file system and
 * host.toml was written again.
 * @param known the record of its last use
 * @param now the same facts of its place today
 */
export function isElsewhere(known: KnownStore, now: KnownStore): boolean {
  if (now.mount === known.mount) return now.mount !== now.path && now.config === known.config;
  return !isWithin(known.mount, now.mount);
}
