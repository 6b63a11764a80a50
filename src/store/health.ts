/**
 * The part of `status` besides the snapshots: the outcomes of a client's last runs, and whether there is room for the
 * next one.
 */

import { readdir } from '../os/files.ts';
import type { FailureCode } from '../wire/events.ts';
import { lackOf, readRoom } from './free-space.ts';
import { candidateOf, decideRetention, type FinishedSnapshot } from './retention.ts';
import type { StoreSettings } from './settings.ts';
import { listSnapshots } from './snapshot.ts';
import { type ClientStore, listClients, openClient } from './store.ts';

/** After this number of failed runs in a row, `doctor` and `status` report it. */
export const ALARMING_FAILURES = 3;

/** The failures since a client's last snapshot. */
export interface Failures {
  /** How many failed. */
  count: number;
  /** When the last of them ended, ISO 8601. */
  at: string;
  code: string | null;
  reason: string | null;
}

/** Outcomes of normal operation: the client comes again, or must not come. */
const EXPECTED: ReadonlySet<unknown> = new Set<FailureCode>(['busy', 'full', 'too-early', 'unenrolled']);

const text = (value: unknown): string | null => (typeof value === 'string' ? value : null);

/**
 * Counts one more entry of a journal. Pure.
 * @param found the failures in the entries before it
 * @returns null if no run failed since the last snapshot
 */
export function countFailure(found: Failures | null, entry: Record<string, unknown>): Failures | null {
  const { event, outcome, code, snapshot, time, reason } = entry;
  if (event === 'committed' || (event === 'run' && typeof snapshot === 'string')) return null;
  const isCall = event === 'run' || event === 'refused';
  if (!isCall || outcome !== 'failed' || EXPECTED.has(code)) return found;
  return {
    count: (found?.count ?? 0) + 1,
    at: text(time) ?? 'unknown',
    code: text(code),
    reason: text(reason),
  };
}

/**
 * Counts a client's failures since its last snapshot. Pure.
 * @param journal the oldest entry first
 * @returns null if no run failed
 */
export function failuresOf(journal: readonly Record<string, unknown>[]): Failures | null {
  return journal.reduce<Failures | null>(countFailure, null);
}

/** Whether the failures are a problem of their own. Fewer failures show only in the age of the last snapshot. */
export function areAlarming({ count, code }: Failures): boolean {
  return count >= ALARMING_FAILURES || code === 'no-space';
}

/** Describes failures in a sentence. */
export function failuresText({ count, at, code, reason }: Failures): string {
  const runs = count === 1 ? 'the last run failed' : `the last ${count} runs failed, the newest`;
  return `${runs} at ${at}: ${reason ?? code ?? 'no reason is recorded'}`;
}

/**
 * Finds why the host refuses requests for lack of space. The limits are the same for all clients, so it looks once, when the result is
 * first asked for.
 * @param finished lists a client's snapshots
 * @returns gives undefined if there is enough, or room can be made
 */
export function lackOfRoom(
  settings: StoreSettings,
  at: Date,
  finished: (client: ClientStore) => FinishedSnapshot[] = listSnapshots,
): () => string | undefined {
  let found: { lack: string | undefined } | undefined;
  return () => {
    if (found === undefined) {
      const lack = lackOf(readRoom(settings.store), settings.settingsFor(''));
      found = { lack: lack === undefined || canMakeRoom(settings, at, finished) ? undefined : lack };
    }
    return found.lack;
  };
}

/** Whether a request that needs room would find something to remove (host/space-recovery.ts). */
function canMakeRoom(
  settings: StoreSettings,
  at: Date,
  finished: (client: ClientStore) => FinishedSnapshot[],
): boolean {
  return listClients(settings.store).some(name => {
    try {
      const client = openClient(settings.store, name);
      if (holdsLeftovers(client)) return true;
      const { policy } = settings.settingsFor(name);
      return decideRetention(finished(client).map(candidateOf), policy, at).some(
        each => each.mayGoAtLowWater,
      );
    } catch {
      return false; // the host passes over a client whose folder is damaged
    }
  });
}

/** Whether a client has interrupted or removed trees, which go first when room is needed. */
function holdsLeftovers({ folder }: ClientStore): boolean {
  return ['trash', 'arriving'].some(each => readdir(`${folder}/${each}`).length > 0);
}
