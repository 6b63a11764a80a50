/** `dialback pin` and `unpin`: what they change, and what they say of it. */
import { type ClientStore, pinSnapshot, type Snapshot, unpinSnapshot } from './store.ts';

/** How the reason of a pin begins that the host has set by itself, and that expires (host/admission.ts). */
export const BY_ITSELF = 'by itself:';
/** The reason of a pin where none is given. */
export const BY_HAND = 'by hand';

/** What `pin` makes of a snapshot. */
export interface Pinning {
  did: 'pinned' | 'kept' | 'replaced';
  reason: string;
  /** Why it was pinned before; undefined: it was not. */
  before: string | undefined;
}

/**
 * Decides on the reason. Pure. One that was given takes the place of the one before; else the one before stays, unless it is of a
 * pin that expires.
 */
export function decidePin(before: string | undefined, given: string): Pinning {
  if (before === undefined) return { did: 'pinned', reason: given, before };
  const stays = given === before || (given === BY_HAND && !before.startsWith(BY_ITSELF));
  return stays ? { did: 'kept', reason: before, before } : { did: 'replaced', reason: given, before };
}

/** Pins a snapshot, and keeps or replaces the reason that it has. */
export function pin(client: ClientStore, snapshot: Snapshot, given: string): Pinning {
  const decided = decidePin(snapshot.pinned, given);
  if (decided.did !== 'kept') pinSnapshot(client, snapshot, decided.reason);
  return decided;
}

/** @returns why it was pinned; undefined: it was not, and nothing is done */
export function unpin(client: ClientStore, snapshot: Snapshot): string | undefined {
  if (snapshot.pinned !== undefined) unpinSnapshot(client, snapshot);
  return snapshot.pinned;
}
