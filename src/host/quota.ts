/**
 * How often a client may run, and how much it may add. Pure: the ledger, the settings and the time are parameters. host/admission.ts
 * measures and acts.
 *
 * The two rules are made so that a client cannot use them against the snapshots that the host keeps:
 *
 * - Interval. `min_interval` must pass from the start of a run to the next request. It makes no difference whether the run succeeded, so
 *   a client gains nothing from a run that fails on purpose.
 * - Growth. A client may add `growth_budget` at once. The added bytes expire at the rate of one budget in 24 hours. The host counts
 *   the disk space that no snapshot of this client shares, and the growth of manifests, index and similar files since the last run. A
 *   failed run counts as much as a successful one, and removing data later gives no bytes back. The limit does not apply while the
 *   client has no full snapshot, so that a first backup can have any size. But then the host removes no snapshot to free space for it.
 *
 * The part of the ledger about how much a client usually changes belongs to host/anomaly.ts.
 */
import { DAY_MS, type Ledger } from './ledger.ts';

/**
 * Decides when a client may start its next run.
 * @param minIntervalMs its `min_interval`
 * @returns the time before which it may not; undefined if it may start now
 */
export function nextRequest(ledger: Ledger, minIntervalMs: number, now: Date): Date | undefined {
  const { lastStart } = ledger;
  // A start in the future means that the clock was wrong, not that the client is early.
  if (lastStart === null || lastStart > now.getTime()) return undefined;
  const next = lastStart + minIntervalMs;
  return next > now.getTime() ? new Date(next) : undefined;
}

/** Notes in the ledger that a run starts. */
export function noteStart(ledger: Ledger, now: Date): void {
  ledger.lastStart = now.getTime();
}

/** @param budgetBytes the client's `growth_budget` @returns how many bytes the client may still add */
export function growthLeft(ledger: Ledger, budgetBytes: number, now: Date): number {
  return Math.max(0, budgetBytes - growthOf(ledger, budgetBytes, now));
}

function growthOf({ growth }: Ledger, budgetBytes: number, now: Date): number {
  const elapsedMs = Math.max(0, now.getTime() - growth.at);
  return Math.max(0, growth.bytes - (budgetBytes * elapsedMs) / DAY_MS);
}

/** Notes in the ledger that a client has added `bytes`. @param budgetBytes the client's `growth_budget` */
export function noteGrowth(ledger: Ledger, bytes: number, budgetBytes: number, now: Date): void {
  ledger.growth = { bytes: growthOf(ledger, budgetBytes, now) + Math.max(0, bytes), at: now.getTime() };
}
