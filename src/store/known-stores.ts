/**
 * Remembers which stores this account has used. If a known store is missing, its disk is probably not mounted. A new,
 * empty store in its place would receive backups that belong to the other one.
 */
import { Fault } from '../fault.ts';
import { ownAccount } from '../os/account.ts';
import { readWhole } from '../os/content.ts';
import { exists, makeFolder, readProc, realPath, statusExact } from '../os/files.ts';
import { unmountedAbove } from '../os/fstab.ts';
import { mountOf, mountTable } from '../os/mounts.ts';
import { replaceFile } from '../os/replace.ts';
import { defaultStateFolder } from '../os/runfolder.ts';
import { STORE_FILE } from '../wire/local.ts';
import { escapeText, quoteForShell } from '../wire/text.ts';
import { isElsewhere, type KnownStore, parseKnownStores } from './store-record.ts';

const FILE = 'stores.json';
const LIMIT = 1024 * 1024;

function recordPath(): string {
  return `${defaultStateFolder(ownAccount())}/${FILE}`;
}

function knownStores(): KnownStore[] {
  try {
    return parseKnownStores(readWhole(recordPath(), LIMIT).toString('utf8'));
  } catch {
    return [];
  }
}

/** The paths of the stores that this account has used. */
export function knownStorePaths(): string[] {
  return knownStores().map(each => each.path);
}

/**
 * Remembers a store. A state folder that cannot be written is no reason to fail.
 * @param config the path of host.toml
 */
export function noteStore(store: string, config: string): void {
  try {
    const found = describeStore(store, config);
    const known = knownStores();
    const old = known.find(each => each.path === store);
    if (old?.mount === found.mount && old.config === found.config) return;
    makeFolder(defaultStateFolder(ownAccount()), { parents: true });
    const stores = [...known.filter(each => each.path !== store), found];
    replaceFile(recordPath(), `${JSON.stringify({ version: 1, stores })}\n`);
  } catch {
    // /etc/fstab may still name the mount point
  }
}

function describeStore(store: string, config: string): KnownStore {
  const { ino, mtimeNs } = statusExact(realPath(config));
  const table = mountTable();
  const mount = mountOf(table, placeOf(store))?.path ?? '/';
  return { path: store, mount, config: `${realPath(config)} ${ino} ${mtimeNs}` };
}

/** Resolves the links of a path, as far as the path exists. */
function placeOf(path: string): string {
  let at = path;
  while (!exists(at)) at = at.slice(0, at.lastIndexOf('/')) || '/';
  return `${realPath(at)}${path.slice(at.length)}`;
}

function unmounted(store: string): string | undefined {
  try {
    const fstab = readWhole('/etc/fstab', LIMIT).toString('latin1');
    return unmountedAbove(placeOf(store), fstab, readProc('self/mountinfo') ?? '');
  } catch {
    return undefined;
  }
}

/** Why a store is missing, and the next step. */
interface Absent {
  found: string;
  next: string;
}

/** Looks in /etc/fstab for the reason why a store is missing. */
export function whyNotMounted(store: string): Absent | undefined {
  const point = unmounted(store);
  if (point === undefined) return undefined;
  return {
    found: `"${escapeText(point)}" is not mounted, and the store "${escapeText(store)}" is on it`,
    next: `as root: mount ${quoteForShell(point)}`,
  };
}

/**
 * Refuses to make a store in the place of one that is only not mounted.
 * @param config the host.toml that names it
 * @throws Fault `noStore`
 */
export function requireNoOtherStore(store: string, config: string): void {
  if (exists(`${store}/${STORE_FILE}`)) return;
  const known = knownStores().find(each => each.path === store);
  const isKnown = known !== undefined && isElsewhere(known, describeStore(store, config));
  const was = {
    found: `the store "${escapeText(store)}" existed before, and is missing now`,
    next: 'mount its disk',
  };
  const absent = whyNotMounted(store) ?? (isKnown ? was : undefined);
  if (absent === undefined) return;
  throw new Fault({ tried: `make the store "${escapeText(store)}"`, ...absent, exit: 'noStore' });
}
