/**
 * Which stores this account has used. A store that is known and not there is on a disk that is not mounted: a new, empty one in
 * its place would take backups that belong to the other.
 */
import { Fault } from '../fault.ts';
import { ownAccount } from '../os/account.ts';
import { readWhole } from '../os/content.ts';
import { exists, makeFolder, readProc, realPath, statusExact } from '../os/files.ts';
import { inText, isWithin, mountOf, mountTable, parseMountTable, unfoldName } from '../os/mounts.ts';
import { replaceFile } from '../os/replace.ts';
import { defaultStateFolder } from '../os/runfolder.ts';
import { STORE_FILE } from '../wire/local.ts';
import { asText, escapeText, quoteForShell } from '../wire/text.ts';

const FILE = 'stores.json';
const LIMIT = 1024 * 1024;

/** A store as it was when it was used last. */
export interface KnownStore {
  path: string;
  /** The mount point that it was below, or was itself. */
  mount: string;
  /** Which host.toml named it: the file's path, inode and time. */
  config: string;
}

function recordPath(): string {
  return `${defaultStateFolder(ownAccount())}/${FILE}`;
}

/** @param text of the record @returns the stores in it; none where it is damaged: it is made again by the next run */
export function parseKnownStores(text: string): KnownStore[] {
  try {
    const { version, stores } = JSON.parse(text) as { version?: unknown; stores?: unknown };
    if (version !== 1 || !Array.isArray(stores)) return [];
    return stores.filter(isKnownStore);
  } catch {
    return [];
  }
}

function isKnownStore(value: unknown): value is KnownStore {
  if (typeof value !== 'object' || value === null) return false;
  const { path, mount, config } = value as Record<string, unknown>;
  return [path, mount, config].every(each => typeof each === 'string' && each.startsWith('/'));
}

function knownStores(): KnownStore[] {
  try {
    return parseKnownStores(readWhole(recordPath(), LIMIT).toString('utf8'));
  } catch {
    return [];
  }
}

/** Notes that a store is there. A state folder that cannot be written is no reason to fail. @param config host.toml's path */
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
    // /etc/fstab may tell
  }
}

function describeStore(store: string, config: string): KnownStore {
  const { ino, mtimeNs } = statusExact(realPath(config));
  const table = mountTable();
  const mount = mountOf(table, placeOf(store))?.path ?? '/';
  return { path: store, mount, config: `${realPath(config)} ${ino} ${mtimeNs}` };
}

/** A path without links, as far as it is there. */
function placeOf(path: string): string {
  let at = path;
  while (!exists(at)) at = at.slice(0, at.lastIndexOf('/')) || '/';
  return `${realPath(at)}${path.slice(at.length)}`;
}

/**
 * Whether a store that is not in its place is only not mounted, so that none may be made there. Not where a new disk was mounted
 * in its place; nor where the store was removed from the same file system and host.toml written anew. Pure.
 * @param known as it was when it was used last @param now the same of its place
 */
export function isElsewhere(known: KnownStore, now: KnownStore): boolean {
  if (now.mount === known.mount) return now.mount !== now.path && now.config === known.config;
  return !isWithin(known.mount, now.mount);
}

/** fstab(5): mount points, with `\040` for a blank. */
export function parseFstab(text: string): string[] {
  return text.split('\n').flatMap(line => {
    const [device = '', path = ''] = line.trim().split(/\s+/);
    if (device === '' || device.startsWith('#') || !path.startsWith('/')) return [];
    const name = asText(unfoldName(path));
    return [name.length > 1 ? name.replace(/\/+$/, '') : name];
  });
}

/** The mount point of /etc/fstab that a path is below, where nothing is mounted there. */
export function unmountedAbove(path: string, fstab: string, mountinfo: string): string | undefined {
  const mounted = inText(parseMountTable(mountinfo)).map(each => each.path);
  const above = parseFstab(fstab).filter(each => isWithin(each, path));
  return above.find(each => !mounted.includes(each));
}

function unmounted(store: string): string | undefined {
  try {
    const fstab = readWhole('/etc/fstab', LIMIT).toString('latin1');
    return unmountedAbove(placeOf(store), fstab, readProc('self/mountinfo') ?? '');
  } catch {
    return undefined;
  }
}

/** Why a store is not there, and what to do. */
export interface Absent {
  found: string;
  next: string;
}

/** What /etc/fstab says of a store that is not in its place. */
export function whyNotMounted(store: string): Absent | undefined {
  const point = unmounted(store);
  if (point === undefined) return undefined;
  return {
    found: `"${escapeText(point)}" is not mounted, and the store "${escapeText(store)}" is there`,
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
    found: `the store "${escapeText(store)}" was there before, and is not now`,
    next: 'mount its disk',
  };
  const absent = whyNotMounted(store) ?? (isKnown ? was : undefined);
  if (absent === undefined) return;
  throw new Fault({ tried: `make the store "${escapeText(store)}"`, ...absent, exit: 'noStore' });
}
