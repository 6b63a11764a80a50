/** Promises that can be aborted, and the signal that aborts the whole process. */
import { Fault } from '../fault.ts';
import { deadlineSignal } from './clock.ts';

const interrupted = new AbortController();

/** A signal that aborts with an `interrupted` Fault on SIGINT, SIGTERM and SIGHUP. Only main calls this, once. */
export function interruption(): AbortSignal {
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(name, () => {
      interrupted.abort(new Fault({ tried: 'go on', found: `interrupted by ${name}`, exit: 'interrupted' }));
    });
  }
  return interrupted.signal;
}

/** Calls back at SIGUSR2. (node reserves SIGUSR1.) */
export function onUserSignal(call: () => void): void {
  process.on('SIGUSR2', call);
}

/** Aborts as a signal would, so that everything cleans up. For errors that no caller awaits. */
export function interruptWith(reason: unknown): void {
  interrupted.abort(reason);
}

/** Awaits a promise. @throws the signal's reason as soon as it aborts */
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
 * Awaits all promises, also when one of them fails, so that no work is under way when this throws.
 * @throws the reason of the first promise in the list that failed
 */
export async function settleAll<Things extends readonly unknown[] | []>(
  things: Things,
): Promise<{ -readonly [Each in keyof Things]: Awaited<Things[Each]> }> {
  await Promise.allSettled(things);
  return await Promise.all(things);
}

/** Awaits a promise for at most `ms`. @throws the signal's reason; after `ms` the result of `late` */
export async function withTimeout<T>(
  signal: AbortSignal,
  ms: number,
  promise: Promise<T>,
  late: () => Fault,
): Promise<T> {
  using deadline = deadlineSignal(ms, late);
  return await abortable(AbortSignal.any([signal, deadline.signal]), promise);
}
