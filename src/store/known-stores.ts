/**
 * Which stores this account has used. A store that is known and not there is on a disk that is not mounted: a new, empty one in
 * its place would take backups that belong to the other.
 */
import { Fault } from '../fault.ts';
import { exists, makeFolder, readProc, readWhole, realPath, replaceFile } from '../os/files.ts';
import { ownAccount } from '../os/machine.ts';
import { inText, isWithin, parseMountTable } from '../os/mounts.ts';
import { defaultStateFolder } from '../os/runfolder.ts';
import { STORE_FILE } from '../wire/local.ts';
import { escapeText } from '../wire/text.ts';

const FILE = 'stores.json';
const LIMIT = 1024 * 1024;

function recordPath(): string {
  return `${defaultStateFolder(ownAccount())}/${FILE}`;
}

/** @param text of the record @returns the stores in it; none where it is damaged: it is made again by the next run */
export function parseKnownStores(text: string): string[] {
  try {
    const { version, stores } = JSON.parse(text) as { version?: unknown; stores?: unknown };
    if (version !== 1 || !Array.isArray(stores)) return [];
    return stores.filter(each => typeof each === 'string');
  } catch {
    return [];
  }
}

function knownStores(): string[] {
  try {
    return parseKnownStores(readWhole(recordPath(), LIMIT).toString('utf8'));
  } catch {
    return [];
  }
}

/** Notes that a store is there. A state folder that cannot be written is no reason to fail. */
export function noteStore(store: string): void {
  const known = knownStores();
  if (known.includes(store)) return;
  try {
    makeFolder(defaultStateFolder(ownAccount()), { parents: true });
    const record = { version: 1, stores: [...known, store].sort() };
    replaceFile(recordPath(), `${JSON.stringify(record)}\n`);
  } catch {
    // the other signs of a store that was there are left
  }
}

/** fstab(5): mount points, with `\040` for a blank. */
export function parseFstab(text: string): string[] {
  return text.split('\n').flatMap(line => {
    const [device = '', path = ''] = line.trim().split(/\s+/);
    if (device === '' || device.startsWith('#') || !path.startsWith('/')) return [];
    const bytes = path.replace(/\\([0-7]{3})/g, (_, octal: string) =>
      String.fromCharCode(Number.parseInt(octal, 8)),
    );
    const name = Buffer.from(bytes, 'latin1').toString('utf8');
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
    let at = store;
    while (!exists(at)) at = at.slice(0, at.lastIndexOf('/')) || '/';
    const path = `${realPath(at)}${store.slice(at.length)}`;
    return unmountedAbove(path, fstab, readProc('self/mountinfo') ?? '');
  } catch {
    return undefined;
  }
}

/** A sign that a store that is not there is somewhere else, and what to do; undefined: there is none. */
export interface Absent {
  found: string;
  next: string;
}

/**
 * Whether a store that is not in its place was there, or belongs on a disk that is not mounted.
 * @param isEnrolled whether a key is enrolled for the config that names it
 */
export function whyAbsent(store: string, isEnrolled: boolean): Absent | undefined {
  const name = escapeText(store);
  const point = unmounted(store);
  if (point !== undefined)
    return {
      found: `"${escapeText(point)}" is not mounted, and the store "${name}" is there`,
      next: `as root: mount '${escapeText(point)}'`,
    };
  if (!isEnrolled && !knownStores().includes(store)) return undefined;
  return { found: `the store "${name}" was there before, and is not now`, next: 'mount its disk' };
}

/**
 * Refuses to make a store in the place of one that is only not mounted.
 * @throws Fault `noStore`
 */
export function requireNoOtherStore(store: string, isEnrolled: boolean): void {
  if (exists(`${store}/${STORE_FILE}`)) return;
  const absent = whyAbsent(store, isEnrolled);
  if (absent === undefined) return;
  const { found, next } = absent;
  throw new Fault({ tried: `make the store "${escapeText(store)}"`, found, next, exit: 'noStore' });
}
