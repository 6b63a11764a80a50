/** The clocks, sleeping, and deadlines. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Fault } from '../fault.ts';

/** The current time. The program reads the clock nowhere else. */
export function now(): Date {
  return new Date();
}

/** Milliseconds of a monotonic clock, for deadlines and durations. */
export function monotonicMs(): number {
  const [seconds, nanoseconds] = process.hrtime(); // node loads a module for `performance`, in 3 ms
  return seconds * 1000 + nanoseconds / 1e6;
}

/** Waits. @throws the signal's reason as soon as it aborts */
export async function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  try {
    await delay(ms, undefined, signal ? { signal } : {});
  } catch {
    throw signal?.reason;
  }
}

/** A signal that aborts after `ms`, with the result of `late` as its reason. Dispose of it to stop the timer. */
export function deadlineSignal(ms: number, late: () => Fault): { signal: AbortSignal } & Disposable {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(late()), ms);
  return { signal: controller.signal, [Symbol.dispose]: () => clearTimeout(timer) };
}
