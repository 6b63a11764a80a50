/** `dialback unenroll`: ends that a client's key is accepted. */
import { Fault } from '../fault.ts';
import { ownAccount } from '../os/account.ts';
import { exists } from '../os/files.ts';
import { awaitLastRun, retire, retiredSince } from '../store/retirement.ts';
import { openStore } from '../store/store.ts';
import { shelfOf } from '../wire/local.ts';
import { enrolledName, openKeys, writeKeys } from './authorized-keys.ts';
import { readHostConfig } from './config.ts';
import { requireName, requireReceiver } from './enroll.ts';

interface UnenrollOptions {
  name: string;
  config: string;
  authorizedKeys: string | undefined;
  /** Whether a client that is unenrolled already is no error. */
  isRepeatable?: boolean;
}

/** The result of `unenroll()`. */
export interface UnenrollResult {
  /** The file that had the client's key; undefined if it had none, as for a store on the client's own machine. */
  authorizedKeys: string | undefined;
  folder: string;
  /** Whether the client was enrolled. */
  isChanged: boolean;
}

/**
 * Removes a client's key from authorized_keys and ends its active run. After this, no data of the client becomes a snapshot. Its snapshots
 * stay.
 * @throws Fault if no key is enrolled under the name, or if the file cannot be written
 */
export async function unenroll(options: UnenrollOptions): Promise<UnenrollResult> {
  requireName(options.name);
  const config = readHostConfig(options.config);
  requireReceiver(config.store, `unenroll ${options.name}`);
  const file = options.authorizedKeys ?? `${ownAccount().home}/.ssh/authorized_keys`;
  await using held = new AsyncDisposableStack();
  const lines = await openKeys(held, file);
  const rest = lines.filter(line => enrolledName(line) !== options.name);
  const client = { name: options.name, folder: shelfOf(config.store, options.name) };
  const isThere = exists(client.folder);
  if (isThere) openStore(config.store, `unenroll ${options.name}`); // writes a mark into the store
  const hasKey = rest.length < lines.length;
  const isChanged = hasKey || (isThere && retiredSince(client) === undefined);
  if (!isChanged && !options.isRepeatable) {
    throw new Fault({
      tried: `remove "${options.name}" from "${file}"`,
      found: 'no key is enrolled under that name',
      next: 'dialback list',
    });
  }
  // First, so that a run that starts now is refused.
  if (isThere) retire(client);
  if (hasKey) writeKeys(file, rest);
  if (isThere) await awaitLastRun(client);
  return { authorizedKeys: hasKey ? file : undefined, folder: client.folder, isChanged };
}
