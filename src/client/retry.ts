/**
 * When a run begins, and when it is begun again: pure decisions. What time it is and chance are parameters; who waits is
 * client/backup.ts.
 */
import type { Fault } from '../fault.ts';
import type { FailureCode } from '../wire/events.ts';

/** The first wait after a failure is at most this; each next one twice as long, up to the other. */
const FIRST_RETRY_MS = 2_000;
const MOST_RETRY_MS = 10 * 60_000;
/** Less than this before the end of `retry`, nothing has changed. */
const LEAST_RETRY_MS = 500;
/** A host that asks for less is not called more often; nor one that asks again and again, but so that no place is lost by it. */
const LEAST_TURN_MS = 1_000;
const TURNS_TO_DOUBLE = 8;
const MOST_LEAST_TURN_MS = 20_000;
/** A host whose queue is full, and that has not said until when. */
const UNTOLD_TURN_MS = 30_000;
/** What is told to many at once is stretched by up to a part of itself, and by up to this. */
const TURN_SPREAD = 0.25;
const TURN_SPREAD_MS = 1_000;

/** Faults of exit 13 that no time mends. */
const LASTING = new Set(['wrong-key', 'asked']);

/** How an attempt ended, as far as the next one goes by that. */
export interface Ended {
  /** Undefined: it succeeded. */
  fault: Fault | undefined;
  /** The host's word; null: it said none, or success. */
  code: FailureCode | null;
  /** The wait that the host has asked for. */
  toldMs: number | undefined;
}

/** What stands behind and before the attempts of a run. */
export interface Limits {
  /** How many in a row found no host, this one among them. */
  failures: number;
  /** How many in a row found all turns taken, this one among them. */
  turns: number;
  /** Since the first of these ended. */
  failingMs: number;
  /** [schedule] retry */
  retryMs: number;
  /** Until the deadline of the whole run. */
  leftMs: number;
}

/** What comes next; `turn`: the host has asked for it. */
export interface Retry {
  why: 'retry' | 'turn';
  waitMs: number;
}

/**
 * Whether an attempt is made again, and after which wait. Nothing is that a second attempt would only end in again: refusals,
 * a wrong key, a full disk.
 * @param random from 0 to 1
 * @returns undefined: no; what has been found stands
 */
export function decideRetry(ended: Ended, limits: Limits, random: number): Retry | undefined {
  const retry = ended.code === 'full' ? turnWait(ended, limits, random) : failureWait(ended, limits, random);
  // An attempt that only the deadline would end is not begun.
  return retry && retry.waitMs < limits.leftMs ? retry : undefined;
}

function turnWait({ toldMs = UNTOLD_TURN_MS }: Ended, { turns }: Limits, random: number): Retry {
  const floorMs = Math.min(MOST_LEAST_TURN_MS, LEAST_TURN_MS * 2 ** Math.floor(turns / TURNS_TO_DOUBLE));
  const leastMs = Math.max(floorMs, toldMs);
  return { why: 'turn', waitMs: leastMs + Math.ceil(random * (leastMs * TURN_SPREAD + TURN_SPREAD_MS)) };
}

function failureWait(ended: Ended, { failures, failingMs, retryMs }: Limits, random: number) {
  const restMs = retryMs - failingMs;
  if (!isPassing(ended) || retryMs === 0 || restMs < LEAST_RETRY_MS) return undefined;
  const ceilingMs = Math.min(MOST_RETRY_MS, FIRST_RETRY_MS * 2 ** (failures - 1));
  const waitMs = Math.ceil(ceilingMs * (0.5 + random / 2));
  return { why: 'retry', waitMs: Math.min(waitMs, restMs) } as const;
}

/** Whether time may mend it: the host was not there, or still had another run of this client. */
export function isPassing({ fault, code }: Ended): boolean {
  if (fault === undefined) return false;
  return code === 'busy' || (fault.exit === 'unreachable' && !LASTING.has(fault.code ?? ''));
}

/**
 * How long before the first call.
 * @param mostMs [schedule] jitter
 * @param isAwaited somebody sits before it, or it is a dry run
 */
export function jitterWait(mostMs: number, isAwaited: boolean, random: number): number {
  return isAwaited ? 0 : Math.floor(mostMs * random);
}
