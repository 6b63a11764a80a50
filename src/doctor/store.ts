/** The host's store: whether it can be opened and used, and the state of the backups in it. */

import { ownAccount } from '../os/account.ts';
import { exists, mayWrite, realPath, stat, statfs } from '../os/files.ts';
import { mountOf, mountTable } from '../os/mounts.ts';
import { hasDoubtfulBasis } from '../store/basis.ts';
import { cacheFolder } from '../store/cache-place.ts';
import { probeFileSystem } from '../store/file-system.ts';
import { COPY_AGAIN, LOST_ATTRIBUTES, snapshotsWithoutAttributes } from '../store/lost-attributes.ts';
import { listClients, openClient, openStore } from '../store/store.ts';
import { STORE_FILE } from '../wire/local.ts';
import { quoteForShell } from '../wire/text.ts';
import { checkCaches } from './caches.ts';
import { type Finding, Topic } from './finding.ts';
import { checkInodes, checkProbe, checkSpace } from './store-disk.ts';
import { checkStore, STORE } from './store-folder.ts';

/** How long doctor looks at the snapshots of all clients. */
const LOOKING_MS = 60_000;

const CONTENTS = new Topic(
  'host.store_contents',
  'version 0.1.0 could link files that a power failure of this host had damaged into a new backup',
);
const ATTRIBUTES = new Topic(
  'host.store_attributes',
  'the attributes of the files keep owners, modes, links and devices: a copy of the store without them restores plain files only',
);

/** Whether the folder of `store` in host.toml has a store. */
export function hasStore(store: string): boolean {
  return exists(`${store}/${STORE_FILE}`);
}

/** The clients that the store has a folder for; undefined if there is no store that can be read. */
export function namesOfClients(store: string): string[] | undefined {
  try {
    return listClients(store);
  } catch {
    return undefined;
  }
}

/** @param hasLibrary whether rsync gets src/launcher/linkat.c, which copies a file where a link is refused */
export async function collectStore(store: string, hasLibrary: boolean): Promise<Finding[]> {
  try {
    openStore(store, 'doctor --host');
  } catch (error) {
    return [STORE.fault(error, 'mount its disk')];
  }
  const found = stat(store);
  const isOwn = found.uid === ownAccount().uid;
  const owner = checkStore(store, found, ownAccount(), mayWrite(store));
  const room = statfs(store);
  return [
    owner,
    ...(owner.state === 'critical' && !isOwn ? [] : await probeStore(store, hasLibrary)),
    ...(isOwn
      ? [checkContents(doubtfulClients(store)), checkAttributes(await clientsWithoutAttributes(store))]
      : []),
    checkSpace(store, room),
    checkInodes(store, room),
  ];
}

/**
 * Tries in the store what a run does there.
 * @param hasLibrary whether rsync gets the library that copies a file where a link is refused
 */
async function probeStore(store: string, hasLibrary: boolean): Promise<Finding[]> {
  try {
    return checkProbe(store, await probeFileSystem(store), hasLibrary);
  } catch (error) {
    return [STORE.fault(error, `df -h ${quoteForShell(store)}; df -i ${quoteForShell(store)}`)];
  }
}

/** The clients whose next backup would link files that no version has checked. */
function doubtfulClients(store: string): string[] {
  return (namesOfClients(store) ?? []).filter(name => {
    try {
      return hasDoubtfulBasis(openClient(store, name));
    } catch {
      return false; // this check is not about folders that cannot be read
    }
  });
}

function checkContents(clients: string[]): Finding {
  if (clients.length === 0)
    return CONTENTS.ok('each newest backup was flushed to the disk before it was finished');
  return CONTENTS.warning(
    `a version that did not flush the files to the disk made the newest backups of: ${clients.join(', ')}`,
    'dialback verify; it lists the files in question, and the next backup of each client compares them',
  );
}

/** The clients with a snapshot whose files have lost their attributes. */
async function clientsWithoutAttributes(store: string): Promise<string[]> {
  const lost: string[] = [];
  const signal = AbortSignal.timeout(LOOKING_MS);
  for (const name of namesOfClients(store) ?? []) {
    try {
      if ((await snapshotsWithoutAttributes(openClient(store, name), signal)).length > 0) lost.push(name);
    } catch {
      // this check is not about folders that cannot be read
    }
  }
  return lost;
}

function checkAttributes(clients: string[]): Finding {
  return clients.length === 0
    ? ATTRIBUTES.ok('the files of the backups have the attributes that their manifests name')
    : ATTRIBUTES.critical(`${clients.join(', ')}: ${LOST_ATTRIBUTES}`, COPY_AGAIN);
}

/** Looks at the caches of a store. */
export function collectCaches(store: string, cacheDir: string | undefined): Finding {
  let at = cacheFolder(store);
  while (!exists(at)) at = at.slice(0, at.lastIndexOf('/')) || '/';
  const type = mountOf(mountTable(), realPath(at))?.type ?? 'unknown';
  // Another account reads the caches as they are; only the owner of the store writes to them.
  const isOwn = stat(store).uid === ownAccount().uid;
  return checkCaches(store, { cacheDir, type, isUsable: !isOwn || mayWrite(at) }, ownAccount());
}
