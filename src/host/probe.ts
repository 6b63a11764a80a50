/** The host's half of a probe (wire/probe.ts): it counts the bytes that arrive and drops them. */

import { withTimeout } from '../os/async.ts';
import { readInPortions } from '../os/streams.ts';
import { failure } from '../wire/events.ts';
import { PROBE_MS, ProbeReader } from '../wire/probe.ts';

/**
 * Reads blocks from standard input until its end.
 * @param arrived is called with the size of each block, when all of it has arrived
 * @throws Fault `request` if the input is not made of blocks, or does not end in time; or the signal's reason
 */
export async function takeProbe(signal: AbortSignal, arrived: (bytes: number) => void): Promise<void> {
  const over = Promise.withResolvers<void>();
  const reader = new ProbeReader();
  readInPortions(bytes => {
    if (bytes === undefined) {
      over.resolve();
      return false;
    }
    const taken = reader.take(bytes);
    if ('reason' in taken) {
      over.reject(failure('request', `the probe: ${taken.reason}`));
      return false;
    }
    for (const each of taken.value) arrived(each);
    return true;
  });
  await withTimeout(signal, PROBE_MS, over.promise, () =>
    failure('request', `the probe took longer than ${PROBE_MS / 1000} s`),
  );
}
