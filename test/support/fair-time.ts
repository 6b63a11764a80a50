/**
 * Time that counts for less while the machine has other work (test/runner/patience.ts), for limits in tests: on a quiet machine
 * they are what they say, on a busy one nothing fails only because it came late.
 */
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { stretchOf } from '../runner/patience.ts';

const SAMPLE_MS = 250;

/** How much longer things take at this moment than on a quiet machine, from 1 on. */
export function stretch(): number {
  return stretchOf(readFileSync('/proc/loadavg', 'latin1'), availableParallelism());
}

/** Starts a clock. @returns what tells the milliseconds since then */
export function fairClock(): () => number {
  let last = performance.now();
  let factor = stretch();
  let fairMs = 0;
  return () => {
    const now = performance.now();
    if (now - last < SAMPLE_MS) return fairMs + (now - last) / factor;
    // The load of the whole interval is at least about what it was at one of its ends.
    factor = Math.max(factor, stretch());
    fairMs += (now - last) / factor;
    factor = stretch();
    last = now;
    return fairMs;
  };
}

/** As setTimeout(). @returns what clears it */
export function fairTimeout(action: () => void, ms: number): () => void {
  const clock = fairClock();
  const timer = setInterval(() => {
    if (clock() < ms) return;
    clearInterval(timer);
    action();
  }, SAMPLE_MS);
  return () => clearInterval(timer);
}
