/** The part of the host's config that the commands on a store use. */
import type { Quantity } from '../wire/quantity.ts';
import type { Policy } from './retention.ts';

/** The settings of a store. */
export interface StoreSettings {
  /** An absolute path. */
  store: string;
  /** Directory entries that `prune` deletes each second; 0 for no limit. */
  deleteRate: number;
  /** @param client its name */
  settingsFor: (client: string) => ClientSettings;
}

/** The settings of one client: its own values, or else the general ones. */
export interface ClientSettings {
  policy: Policy;
  /** The space that must stay free on the store's file system; equal for all clients. */
  minFree: Quantity;
  minInodes: Quantity;
  /** The amount that the client may add within a day; undefined if only the free space limits it. */
  growthBudget: Quantity | undefined;
  /** The limit for all paths of one snapshot together. */
  maxPathBytes: number;
  /** The limit for a file's bytes; undefined: as much as can be read before the deadline (host/grab.ts). */
  maxSize: number | undefined;
  minIntervalMs: number;
  deadlineMs: number;
  /** Without a full backup for this time, the client is silent; undefined if the config has no `max_age`. */
  maxAgeMs: number | undefined;
  /** The longest time without data from the client during a copy. */
  idleMs: number;
}
