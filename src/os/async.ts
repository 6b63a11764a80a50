/** Promises that can be aborted, and the signal that aborts the whole process. */
import { Fault } from '../fault.ts';
import { deadlineSignal } from './clock.ts';

const interrupted = new AbortController();

/** A signal that aborts with an `interrupted` Fault on SIGINT, SIGTERM and SIGHUP. Asked for once, by main. */
export function interruption(): AbortSignal {
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(name, () => {
      interrupted.abort(new Fault({ tried: 'go on', found: `interrupted by ${name}`, exit: 'interrupted' }));
    });
  }
  return interrupted.signal;
}

/** Ends whatever is under way as a signal would, so that it cleans up after itself; for errors that nobody awaits. */
export function interruptWith(reason: unknown): void {
  interrupted.abort(reason);
}

/** A promise for the value, or the signal's reason as soon as it aborts; nothing stays registered after. */
export async function abortable<T>(signal: AbortSignal, promise: Promise<T>): Promise<T> {
  if (signal.aborted) throw signal.reason;
  let stop = (): void => {};
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason);
    signal.addEventListener('abort', stop, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

/**
 * Awaits what is done side by side. Where one of them fails, the others are waited for all the same, so that nothing is under
 * way any more when this throws.
 * @throws the reason of the first in the list that failed
 */
export async function settleAll<Things extends readonly unknown[] | []>(
  things: Things,
): Promise<{ -readonly [Each in keyof Things]: Awaited<Things[Each]> }> {
  await Promise.allSettled(things);
  return await Promise.all(things);
}

/** `unless` with a deadline of its own: after `ms` it throws what `late` makes. */
export async function withTimeout<T>(
  signal: AbortSignal,
  ms: number,
  promise: Promise<T>,
  late: () => Fault,
): Promise<T> {
  using deadline = deadlineSignal(ms, late);
  return await abortable(AbortSignal.any([signal, deadline.signal]), promise);
}
