/** The host's half of a probe: the call `NAME:probe`, with which `doctor` asks whether this host accepts the client's calls. */

import { withTimeout } from '../os/async.ts';
import { readInPortions } from '../os/streams.ts';
import { failure } from '../wire/events.ts';

/** The input must end within this time. */
const PROBE_MS = 30_000;

/**
 * Waits until the client has closed its input.
 * @throws Fault `request` if there is input, or if it does not end in time; or the signal's reason. Clients up to version 0.1.1 send
 *   blocks of bytes to measure the connection. They run without compression after `request`, and end the run after any other answer
 */
export async function awaitEmptyInput(signal: AbortSignal): Promise<void> {
  const over = Promise.withResolvers<void>();
  readInPortions(bytes => {
    if (bytes === undefined) over.resolve();
    else over.reject(failure('request', 'the probe has input, as from a client of version 0.1.1 or older'));
    return false;
  });
  await withTimeout(signal, PROBE_MS, over.promise, () =>
    failure('request', `the input of the probe did not end within ${PROBE_MS / 1000} s`),
  );
}
