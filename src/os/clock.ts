/** The clocks, and waiting by them. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Fault } from '../fault.ts';

/** The time now. The only clock of the program. */
export function now(): Date {
  return new Date();
}

/** Milliseconds of a clock that never goes back, for deadlines and durations. */
export function monotonicMs(): number {
  const [seconds, nanoseconds] = process.hrtime(); // node loads a module for `performance`, in 3 ms
  return seconds * 1000 + nanoseconds / 1e6;
}

/** Waits; ends early, by throwing the signal's reason, when the signal aborts. */
export async function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  try {
    await delay(ms, undefined, signal ? { signal } : {});
  } catch {
    throw signal?.reason;
  }
}

/** A signal that aborts after `ms` with what `late` makes; disposing of it stops the clock. */
export function deadlineSignal(ms: number, late: () => Fault): { signal: AbortSignal } & Disposable {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(late()), ms);
  return { signal: controller.signal, [Symbol.dispose]: () => clearTimeout(timer) };
}
