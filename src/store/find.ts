/** `dialback find`: lists the versions of files by name, in all snapshots of a client, from its index. */
import type { DisposableHolder } from '../os/runfolder.ts';
import { openIndex, type Version } from './file-index.ts';
import { parsePattern } from './name-pattern.ts';
import { openClient, openStore } from './store.ts';

interface FindOptions {
  store: string;
  client: string;
  /** A glob. If undefined, every name. */
  pattern: string | undefined;
  /** Whether letters are the same as their capitals. */
  ignoresCase: boolean;
}

/**
 * Finds the versions that match a pattern, in the order of the paths, the oldest version first.
 * @throws Fault when there is no such client, or the index cannot be made
 */
export async function findVersions(
  held: DisposableHolder,
  options: FindOptions,
  signal: AbortSignal,
): Promise<Iterable<Version>> {
  openStore(options.store);
  const client = openClient(options.store, options.client);
  const matches = parsePattern(options.pattern ?? '*', options.ignoresCase);
  const index = await openIndex(held, client, signal);
  return index.versions(matches);
}
