/** What the store's verbs need of the config. */
import type { Quantity } from '../wire/quantity.ts';
import type { Policy } from './retention.ts';

export interface StoreSettings {
  /** An absolute path. */
  store: string;
  /** Directory entries a second that `prune` deletes; 0: no limit. */
  deleteRate: number;
  /** @param client its name */
  settingsFor: (client: string) => ClientSettings;
}

/** The settings of one client: its own overrides, else those for all. */
export interface ClientSettings {
  policy: Policy;
  /** What must stay free on the store's file system; the same for all. */
  minFree: Quantity;
  minInodes: Quantity;
  /** How much the client may add within a day; undefined: what there is room for. */
  growthBudget: Quantity | undefined;
  /** What the paths of one snapshot may come to. */
  maxPathBytes: number;
  /** Bytes that a file may have; undefined: what is read before the deadline (host/grab.ts). */
  maxSize: number | undefined;
  minIntervalMs: number;
  deadlineMs: number;
  /** What comes from the client while it is copied may not cease for longer. */
  idleMs: number;
}
