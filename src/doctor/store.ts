/** The host's store: its owner and mode, and the state of the backups in it. */

import { asUid, ownAccount } from '../os/account.ts';
import { exists, mayWrite, stat, statfs } from '../os/files.ts';
import { hasDoubtfulBasis } from '../store/basis.ts';
import { COPY_AGAIN, LOST_ATTRIBUTES, snapshotsWithoutAttributes } from '../store/lost-attributes.ts';
import { listClients, openClient, openStore } from '../store/store.ts';
import { STORE_FILE } from '../wire/local.ts';
import { quoteForShell } from '../wire/text.ts';
import { type Finding, Topic } from './finding.ts';
import { checkInodes, checkSpace, probeStore } from './store-disk.ts';

/** How long doctor looks at the snapshots of all clients. */
const LOOKING_MS = 60_000;

const STORE = new Topic(
  'host.store',
  'the host keeps all backups in its store, which no other account may look into',
);
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
    ...(owner.state === 'critical' && !isOwn ? [] : await probeStore(STORE, store, hasLibrary)),
    ...(isOwn
      ? [checkContents(doubtfulClients(store)), checkAttributes(await clientsWithoutAttributes(store))]
      : []),
    checkSpace(store, room),
    checkInodes(store, room),
  ];
}

/**
 * Checks that the store is private to the account.
 * @param found by stat(2)
 * @param account the one that doctor looks as
 */
export function checkStore(
  store: string,
  found: { uid: number; mode: number },
  account: { uid: number; name: string },
  isWritable: boolean,
): Finding {
  const quoted = quoteForShell(store);
  const mode = (found.mode & 0o7777).toString(8).padStart(4, '0');
  if (found.uid !== account.uid)
    return STORE.critical(
      `"${store}" belongs to uid ${found.uid}, not to "${account.name}"`,
      found.uid === 0
        ? `as root: chown -R ${account.name} ${quoted}`
        : `${asUid(found.uid, 'dialback doctor --host')}, because that account receives the backups`,
    );
  if ((found.mode & 0o077) !== 0)
    return STORE.critical(`"${store}" is open to others (mode ${mode})`, `chmod 700 ${quoted}`);
  if (!isWritable)
    return STORE.critical(
      `this account cannot write to "${store}" (mode ${mode}, or mounted read-only)`,
      `chmod 700 ${quoted}; findmnt -T ${quoted}`,
    );
  return STORE.ok(`"${store}" is private to "${account.name}"`);
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
