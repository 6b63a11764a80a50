/**
 * The store: STORE/store.json and STORE/clients/NAME/{lock, snapshots/, arriving/, trash/, journal.jsonl}.
 *
 * Everything under snapshots/ is finished. A tree gets there by one rename, when it is complete and on the disk.
 * rsync only writes into a fresh tree under arriving/. An interrupted tree becomes one more --link-dest of the next
 * run, because writing into it would change older snapshots through shared inodes. store/partial-files.ts writes only
 * to inodes that are not shared.
 */

import { Fault } from '../fault.ts';
import { asUid, ownAccount } from '../os/account.ts';
import { now } from '../os/clock.ts';
import { readWhole } from '../os/content.ts';
import { exists, fileFault, makeFolder, readdir, stat, whatFailed } from '../os/files.ts';
import { appendJournal } from '../os/journal.ts';
import { replaceFile } from '../os/replace.ts';
import { type DisposableHolder, takeLock } from '../os/runfolder.ts';
import { STORE_FILE } from '../wire/local.ts';
import { escapeText, NAME, quoteForShell } from '../wire/text.ts';
import { whyNotMounted } from './known-stores.ts';

const STORE_VERSION = 1;

export const STORE_CONTENT = `${JSON.stringify({ version: STORE_VERSION })}\n`;

/** The part of the store that belongs to a client. */
export interface ClientStore {
  name: string;
  /** STORE/clients/NAME */
  folder: string;
}

/**
 * Checks an existing store. It creates nothing, because the mount point of an unmounted disk must not become an empty
 * store.
 * @param verb the command that the store's owner should run, if this account is another one
 * @throws Fault `noStore` when there is no store, or one of another version
 */
export function openStore(store: string, verb = '…'): void {
  const tried = `use the store "${store}"`;
  const next = nextForAbsent(store, verb);
  const json = `${store}/${STORE_FILE}`;
  if (!exists(json)) {
    // exists() returns false for a missing file and for one that this account may not see
    const found = isReadable(store)
      ? 'there is no store.json in it'
      : 'it does not exist, or this account may not read it';
    throw new Fault({ tried, found, next, exit: 'noStore', code: 'no-store' });
  }
  let version: unknown;
  try {
    version = (JSON.parse(readWhole(json, 4096).toString('utf8')) as { version?: unknown }).version;
  } catch (error) {
    const found = error instanceof Fault ? error.found : 'its store.json is not JSON';
    const isForeign = ownerOf(json) !== ownAccount().uid;
    const hint = isForeign ? { next: nextForForeign(store, verb, ownerOf(json)) } : {};
    throw new Fault({ tried, found, ...hint, exit: 'noStore', code: 'no-store' });
  }
  if (version !== STORE_VERSION) {
    const found = `its version is ${escapeText(String(version))}, and this program knows ${STORE_VERSION}`;
    const isNewer = typeof version === 'number' && version > STORE_VERSION;
    const next = isNewer ? 'install the newer dialback that has written it' : 'restore its store.json';
    throw new Fault({ tried, found, next, exit: 'noStore', code: 'no-store' });
  }
}

/** A folder that this account may not read belongs to another account; its disk is mounted. */
function nextForAbsent(store: string, verb: string): string {
  const absent = whyNotMounted(store)?.next ?? 'mount its disk';
  const owner = ownerOf(store);
  if (owner === undefined || isReadable(store) || absent.startsWith('as root: mount')) return absent;
  return nextForForeign(store, verb, owner);
}

/** If root owns the store, the next step gives it to this account, because root does not receive backups. */
function nextForForeign(store: string, verb: string, owner = 0): string {
  return owner === 0
    ? `as root: chown -R ${ownAccount().name} ${quoteForShell(store)}`
    : asUid(owner, `dialback ${verb}`);
}

function ownerOf(path: string): number | undefined {
  try {
    return stat(path).uid;
  } catch {
    return undefined;
  }
}

/**
 * Refuses to write as another account, which would leave files that the store's owner cannot change.
 * @throws Fault that names the command for the owner
 */
export function requireOwner(store: string, verb: string): void {
  const { uid } = stat(`${store}/${STORE_FILE}`);
  if (ownAccount().uid === uid) return;
  throw new Fault({
    tried: `${verb} in "${store}"`,
    found: `the store belongs to uid ${uid}, and this is uid ${ownAccount().uid}`,
    next: nextForForeign(store, `${verb} …`, uid),
    exit: 'usage',
  });
}

function isReadable(folder: string): boolean {
  try {
    readdir(folder);
    return true;
  } catch {
    return false;
  }
}

/**
 * Creates a store if there is none. Only `enroll` calls this.
 * @returns whether it was created
 * @throws Fault when the folder cannot be made, has entries, or is open to other accounts
 */
export function createStore(store: string): boolean {
  if (exists(`${store}/${STORE_FILE}`)) {
    openStore(store);
    return false;
  }
  makeStoreFolder(store);
  let names: string[];
  try {
    names = readdir(store);
  } catch (error) {
    throw fileFault(error, `create the store "${store}"`);
  }
  if (names.some(each => each !== 'lost+found')) {
    throw new Fault({
      tried: `create the store "${store}"`,
      found: 'the folder is not empty, and is not a store',
      exit: 'usage',
    });
  }
  requirePrivate(store);
  makeFolder(`${store}/clients`);
  replaceFile(`${store}/${STORE_FILE}`, STORE_CONTENT);
  return true;
}

function makeStoreFolder(store: string): void {
  try {
    makeFolder(store, { parents: true });
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    const { tried, found, exit } = error;
    const next = `as root: install -d -o ${ownAccount().name} -m 700 ${quoteForShell(store)}`;
    throw new Fault({ tried, found, next, exit });
  }
}

function requirePrivate(store: string): void {
  const found = stat(store);
  if (found.uid !== ownAccount().uid || (found.mode & 0o077) !== 0) {
    throw new Fault({
      tried: `create the store "${store}"`,
      found: 'the folder is not private to this account',
      next:
        found.uid === ownAccount().uid
          ? `chmod 700 ${quoteForShell(store)}`
          : `as root: install -d -o ${ownAccount().name} -m 700 ${quoteForShell(`${store}/dialback`)}; and make that the store`,
      exit: 'usage',
    });
  }
}

/** Finds a client's folder. @throws Fault when there is no such client */
export function openClient(store: string, name: string): ClientStore {
  const folder = `${store}/clients/${name}`;
  if (!NAME.test(name) || !exists(folder)) {
    throw new Fault({
      tried: `find the client "${escapeText(name)}"`,
      found: 'the store has no client of that name',
      next: 'dialback list',
    });
  }
  return { name, folder };
}

/** Makes a client's folders. Only `enroll` calls this. */
export function createClient(store: string, name: string): ClientStore {
  const folder = `${store}/clients/${name}`;
  makeFolder(folder);
  for (const each of ['snapshots', 'arriving', 'trash']) makeFolder(`${folder}/${each}`);
  return { name, folder };
}

/** The names of all clients of the store, sorted. */
export function listClients(store: string): string[] {
  return readdir(`${store}/clients`)
    .filter(each => NAME.test(each))
    .sort();
}

/**
 * Locks a client, so that it has one run at a time.
 * @returns the lock's descriptor. rsync gets it too, so that the lock lasts as long as any process writes.
 * @throws Fault `busy` when another process has the lock
 */
export async function lockClient(held: DisposableHolder, client: ClientStore): Promise<number> {
  const descriptor = await takeLock(held, `${client.folder}/lock`);
  if (descriptor !== undefined) return descriptor;
  throw new Fault({
    tried: `start a run of "${client.name}"`,
    found: 'another run is active',
    exit: 'locked',
    code: 'busy',
  });
}

/** Appends a line to a client's journal. @throws Fault when it cannot be written */
export function recordEvent(client: ClientStore, event: string, more: Record<string, unknown>): void {
  appendJournal(`${client.folder}/journal.jsonl`, { time: now().toISOString(), event, ...more });
}

/** Appends a line to a client's journal, and ignores a failure such as a full disk. */
export function recordQuietly(client: ClientStore, event: string, more: Record<string, unknown>): void {
  try {
    recordEvent(client, event, more);
  } catch {
    // the line would only report what the caller has done
  }
}

const FAILURE_LIMIT = 2000;

/** Describes any error as escaped text, for a person or the journal. */
export function failureText(error: unknown): string {
  return error instanceof Fault ? error.message : escapeText(whatFailed(error), FAILURE_LIMIT);
}
