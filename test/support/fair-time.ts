/**
 * Time that counts for less while the machine has other work (test/runner/patience.ts), for limits in tests. On a quiet machine it is
 * real time; on a busy one a test does not fail because it is slow.
 */
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { stretchOf } from '../runner/patience.ts';

const SAMPLE_MS = 250;

/** How much longer things take at this moment than on a quiet machine, from 1 on. */
export function stretch(): number {
  return stretchOf(readFileSync('/proc/loadavg', 'latin1'), availableParallelism());
}

/** Starts a clock. @returns a function that returns the milliseconds since then */
export function fairClock(): () => number {
  let last = performance.now();
  let factor = stretch();
  let fairMs = 0;
  return () => {
    const now = performance.now();
    if (now - last < SAMPLE_MS) return fairMs + (now - last) / factor;
    // The load of the interval is about that at its busier end.
    factor = Math.max(factor, stretch());
    fairMs += (now - last) / factor;
    factor = stretch();
    last = now;
    return fairMs;
  };
}

/** As setTimeout(). @returns a function that clears the timer */
export function fairTimeout(action: () => void, ms: number): () => void {
  const clock = fairClock();
  const timer = setInterval(() => {
    if (clock() < ms) return;
    clearInterval(timer);
    action();
  }, SAMPLE_MS);
  return () => clearInterval(timer);
}
