/** When a run starts, and whether another attempt follows: pure decisions. Times and random numbers are parameters. */
import type { Fault } from '../fault.ts';
import type { FailureCode } from '../wire/events.ts';

/** The first wait after a failure is at most this. Each further one is twice as long, up to the maximum. */
const FIRST_RETRY_MS = 2_000;
const MOST_RETRY_MS = 10 * 60_000;
/** With less than this left of `retry`, another attempt would find the same. */
const LEAST_RETRY_MS = 500;
/**
 * The least wait for a slot of the host, even if it asks for less. It doubles after some refusals in a row, up to a maximum that
 * keeps the client's place in the queue.
 */
const LEAST_TURN_MS = 1_000;
const TURNS_TO_DOUBLE = 8;
const MOST_LEAST_TURN_MS = 20_000;
/** The wait for a host that is full and has not said for how long. */
const UNTOLD_TURN_MS = 30_000;
/** Many clients get the same wait. It is extended at random, by up to this part of itself and up to this time. */
const TURN_SPREAD = 0.25;
const TURN_SPREAD_MS = 1_000;

/** Codes of faults with exit status 13 that a later attempt would meet again. */
const LASTING = new Set(['wrong-key', 'asked']);

/** How an attempt ended. */
interface Ended {
  /** Undefined: it succeeded. */
  fault: Fault | undefined;
  /** The code that the host reported; null: none, or success. */
  code: FailureCode | null;
  /** Milliseconds that the host asked us to wait. */
  toldMs: number | undefined;
}

/** The attempts of a run so far, and its limits. */
interface Limits {
  /** Attempts in a row that failed for a reason that may pass, with this one. */
  failures: number;
  /** Attempts in a row that found all slots of the host in use, with this one. */
  turns: number;
  /** Milliseconds since the first of these failures. */
  failingMs: number;
  /** `[schedule] retry`, in milliseconds. */
  retryMs: number;
  /** Milliseconds until the deadline of the run. */
  leftMs: number;
}

/** Another attempt. `turn`: the host asked for it. */
interface Retry {
  why: 'retry' | 'turn';
  waitMs: number;
}

/**
 * Decides whether another attempt follows, and after which wait. It does not after failures that would happen again: refusals, a
 * wrong key, a full disk.
 * @param random from 0 to 1
 * @returns undefined where no attempt follows
 */
export function decideRetry(ended: Ended, limits: Limits, random: number): Retry | undefined {
  const retry = ended.code === 'full' ? turnWait(ended, limits, random) : failureWait(ended, limits, random);
  // An attempt that would start after the deadline does not follow.
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

/** Whether a failure may be temporary: the host could not be reached, or still had another run of this client. */
export function isPassing({ fault, code }: Ended): boolean {
  if (fault === undefined) return false;
  return code === 'busy' || (fault.exit === 'unreachable' && !LASTING.has(fault.code ?? ''));
}

/**
 * Chooses the wait before the first call, in milliseconds.
 * @param mostMs `[schedule] jitter`, in milliseconds
 * @param isAwaited whether a person waits for the run, or it is a dry run
 * @param random from 0 to 1
 */
export function jitterWait(mostMs: number, isAwaited: boolean, random: number): number {
  return isAwaited ? 0 : Math.floor(mostMs * random);
}
