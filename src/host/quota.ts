/**
 * What a client may still ask for. Pure: the ledger of its runs, the settings and the time are parameters, and decisions are
 * returned with their reasons. host/admission.ts measures and acts.
 *
 * Two rules, made so that a client cannot turn them against the snapshots that the host keeps:
 *
 * - Too early. From the start of a run to the next request at least `min_interval` has to pass, whether that run ended
 *   well or not. So a run that fails on purpose wins nothing.
 * - Growth. A client may add `growth_budget` at once. What it has added is forgotten at the rate of one budget in 24
 *   hours. Counted is the disk space that nothing else of this client shares, and the growth of manifests, index and the
 *   like since the last run. A run that fails counts like one that ends well, and what is removed later is not given back.
 *   As long as a client has no full snapshot this limit does not hold, so that a first backup can have any size; but
 *   then no snapshot is removed to make room for it.
 *
 * The third part of the ledger, how much a client usually changes, belongs to host/anomaly.ts.
 */
import { DAY_MS, type Ledger } from './ledger.ts';

/** @returns undefined where a client may begin a run now; else when it may */
export function nextRequest(ledger: Ledger, minIntervalMs: number, now: Date): Date | undefined {
  const { lastStart } = ledger;
  // One from the future says that the clock was wrong, and not that the client is early.
  if (lastStart === null || lastStart > now.getTime()) return undefined;
  const next = lastStart + minIntervalMs;
  return next > now.getTime() ? new Date(next) : undefined;
}

/** A run begins. */
export function noteStart(ledger: Ledger, now: Date): void {
  ledger.lastStart = now.getTime();
}

/** How many bytes a client may still add. @param budgetBytes its `growth_budget` */
export function growthLeft(ledger: Ledger, budgetBytes: number, now: Date): number {
  return Math.max(0, budgetBytes - growthOf(ledger, budgetBytes, now));
}

function growthOf({ growth }: Ledger, budgetBytes: number, now: Date): number {
  const elapsedMs = Math.max(0, now.getTime() - growth.at);
  return Math.max(0, growth.bytes - (budgetBytes * elapsedMs) / DAY_MS);
}

/** A client has added so much. @param budgetBytes its `growth_budget` */
export function noteGrowth(ledger: Ledger, bytes: number, budgetBytes: number, now: Date): void {
  ledger.growth = { bytes: growthOf(ledger, budgetBytes, now) + Math.max(0, bytes), at: now.getTime() };
}
