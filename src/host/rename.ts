/**
 * `dialback rename`: gives a client another name. The name is that of its folder in the store, and stands in host.toml, in
 * authorized_keys and in the queue.
 *
 * STORE/renaming.json is written before the first change and removed after the last one. Meanwhile no snapshot of the client is removed
 * (store/kept-client.ts), and neither name can be enrolled. Each step can be done twice, so the same command completes an interrupted
 * renaming.
 */
import { dirname } from 'node:path';
import { Fault, type FaultParts } from '../fault.ts';
import { ownAccount } from '../os/account.ts';
import { readWhole } from '../os/content.ts';
import { exists, mayWrite, realPath, rename, stat } from '../os/files.ts';
import { replaceFile, syncFolder } from '../os/replace.ts';
import { type DisposableHolder, takeLock } from '../os/runfolder.ts';
import { CONFIG_LIMIT } from '../shared/toml.ts';
import { moveCaches } from '../store/cache-place.ts';
import { dropRenaming, readRenaming, renamingFault, writeRenaming } from '../store/kept-client.ts';
import { listOffers, offerLock } from '../store/offer.ts';
import { snapshotNames } from '../store/snapshot.ts';
import { type ClientStore, lockClient, openClient, openStore, recordEvent } from '../store/store.ts';
import { shelfOf } from '../wire/local.ts';
import { enrolledName, openKeys, renamedLine, writeKeys } from './authorized-keys.ts';
import { readHostConfig } from './config.ts';
import { requireName, requireReceiver } from './enroll.ts';
import { hasClient, type RenamedConfig, renameInConfig } from './renamed-config.ts';
import { renamePosition } from './slots.ts';

interface RenameOptions {
  from: string;
  to: string;
  /** The path of host.toml. */
  config: string;
  /** The path of authorized_keys, if it is not the account's own. */
  authorizedKeys: string | undefined;
}

/** The result of `renameClient()`. */
export interface Renamed {
  from: string;
  to: string;
  /** Its folder. */
  folder: string;
  snapshots: number;
  /** Lines of authorized_keys that were changed. */
  key_lines: number;
  authorized_keys: string;
  /** Whether host.toml was changed. */
  config_changed: boolean;
  /** host.toml, if it still has settings for the old name, which this account may not remove; else null. */
  config_left: string | null;
  /** Whether an interrupted renaming was completed. */
  resumed: boolean;
}

/**
 * Renames a client. Changes nothing while a run or a fetch of it is active.
 * @throws Fault if a name is wrong or in use, or if host.toml cannot be changed
 */
export async function renameClient(options: RenameOptions): Promise<Renamed> {
  const { from, to } = options;
  for (const name of [from, to]) requireName(name);
  const tried = `rename "${from}" to "${to}"`;
  if (from === to) throw new Fault({ tried, found: 'both names are the same', exit: 'usage' });
  const { store } = readHostConfig(options.config);
  requireReceiver(store, `rename ${from} ${to}`);
  openStore(store);
  const config = realPath(options.config);
  const file = options.authorizedKeys ?? `${ownAccount().home}/.ssh/authorized_keys`;
  await using held = new AsyncDisposableStack();
  const lines = await openKeys(held, file); // excludes enroll and another rename
  const isResumed = requireNoOther(store, tried, options);
  const client = findFolder(store, tried, options, isResumed);
  await lockIdle(held, client, tried);
  const text = readWhole(config, CONFIG_LIMIT).toString('utf8');
  const renamed = planConfig(renameInConfig(text, from, to), tried, { from, to, config });
  const changed = lines.map(line => renamedLine(line, { from, to, config }));
  if (!isResumed) requireFree(lines, changed, tried, to);

  writeRenaming(store, { from, to });
  const folder = shelfOf(store, to);
  if (client.name === from) {
    rename(client.folder, folder);
    syncFolder(dirname(folder));
    moveCaches(client.folder, folder);
  }
  if ('text' in renamed) replaceFile(config, renamed.text, stat(config).mode & 0o777);
  const count = changed.filter(each => each !== undefined).length;
  if (count > 0)
    writeKeys(
      file,
      lines.map((line, index) => changed[index] ?? line),
    );
  await renamePosition(store, from, to);
  recordEvent({ name: to, folder }, 'renamed', { from, to });
  dropRenaming(store);
  return {
    ...{ from, to, folder, snapshots: snapshotNames({ name: to, folder }).length },
    ...{ key_lines: count, authorized_keys: file },
    config_changed: 'text' in renamed,
    config_left: 'same' in renamed && hasClient(text, from) ? config : null,
    resumed: isResumed,
  };
}

/** @returns whether this renaming was begun before @throws Fault if another one was begun and is not complete */
function requireNoOther(store: string, tried: string, { from, to }: RenameOptions): boolean {
  const pending = readRenaming(store);
  if (pending === undefined) return false;
  if (pending.from === from && pending.to === to) return true;
  throw renamingFault(tried, pending);
}

/** The client's folder under its old name, or under the new one if an interrupted renaming has moved it. */
function findFolder(
  store: string,
  tried: string,
  { from, to }: RenameOptions,
  isResumed: boolean,
): ClientStore {
  const isThere = exists(shelfOf(store, to));
  if (isResumed && isThere && !exists(shelfOf(store, from))) return openClient(store, to);
  const client = openClient(store, from);
  if (!isThere) return client;
  throw new Fault({
    tried,
    found: 'the store has a client of that name already',
    next: `choose another name; dialback list ${to} shows what it has`,
    exit: 'refused',
  });
}

/** Locks the client. @throws Fault `locked` while it has a run or a fetch */
async function lockIdle(held: DisposableHolder, client: ClientStore, tried: string): Promise<void> {
  await lockClient(held, client);
  for (const offer of listOffers(client)) {
    const lock = offerLock(client, offer);
    if (!exists(lock) || (await takeLock(held, lock, 0, false)) !== undefined) continue;
    throw new Fault({
      tried,
      found: `the client fetches the files of offer ${offer.id} now`,
      exit: 'locked',
    });
  }
}

/** Refuses a new name that a key has, in this store or in another one of this account. */
function requireFree(
  lines: readonly string[],
  changed: readonly (string | undefined)[],
  tried: string,
  to: string,
): void {
  const isTaken = lines.some((line, index) => changed[index] === undefined && enrolledName(line) === to);
  if (!isTaken) return;
  throw new Fault({
    tried,
    found: 'a key is enrolled under that name',
    next: `choose another name, or: dialback unenroll ${to}`,
    exit: 'refused',
  });
}

/** @throws Fault if host.toml has settings for the old name that this account cannot give to the new one */
function planConfig(
  renamed: RenamedConfig,
  tried: string,
  { from, to, config }: { from: string; to: string; config: string },
): Exclude<RenamedConfig, { reason: string }> {
  const refuse = (parts: Pick<FaultParts, 'found' | 'next'>): never => {
    throw new Fault({ tried, ...parts, exit: 'refused' });
  };
  if ('reason' in renamed)
    return refuse({
      found: `"${config}": ${renamed.reason}`,
      next: `write the settings of "${from}" for "${to}" there by hand, and repeat the command`,
    });
  if ('same' in renamed || (mayWrite(dirname(config)) && stat(config).uid === ownAccount().uid))
    return renamed;
  return refuse({
    found: `"${config}" has settings for "${from}", and this account may not change it`,
    next: `as root: copy each table [client.${from}…] there to [client.${to}…]; then repeat the command`,
  });
}
