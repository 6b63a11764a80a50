/** Brings the file indexes of all clients up to date. */
import { Fault } from '../fault.ts';
import { whatFailed } from '../os/files.ts';
import { escapeText } from '../wire/text.ts';
import { openIndex, peekIndex } from './file-index.ts';
import { listClients, openClient } from './store.ts';

/**
 * Updates the index of each client that has one out of date, or none.
 * @returns a Fault for each client whose index cannot be updated
 * @throws the signal's reason
 */
export async function* updateIndexes(store: string, signal: AbortSignal): AsyncGenerator<Fault> {
  for (const name of listClients(store)) {
    signal.throwIfAborted();
    try {
      const client = openClient(store, name);
      const current = peekIndex(client);
      current?.close();
      if (current !== undefined) continue;
      await using held = new AsyncDisposableStack();
      await openIndex(held, client, signal);
    } catch (error) {
      signal.throwIfAborted();
      const found = error instanceof Fault ? error.found : escapeText(whatFailed(error));
      yield new Fault({ tried: `update the index of "${name}"`, found });
    }
  }
}
