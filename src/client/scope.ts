/** What may be read on this machine as it is now: the config's scope, and what is mounted and never read here (client/filter.ts). */
import { dirname } from 'node:path';
import { Fault } from '../fault.ts';
import { ownAccount } from '../os/account.ts';
import { readWhole } from '../os/content.ts';
import { lstat, mayRead, readdir, readlink } from '../os/files.ts';
import { askPlaces, readNeverList } from '../os/launcher.ts';
import {
  isWithin,
  type MountEntry,
  mountOf,
  namesByMounts,
  otherNames,
  parseMountTable,
} from '../os/mounts.ts';
import { ENUMERATED_LIMIT, isRoot, PATH_LIMIT } from '../wire/request.ts';
import { asText, escapeText, quoteForShell } from '../wire/text.ts';
import { type ClientConfig, calledRemotes, callFiles } from './config.ts';
import { type Exclude, enumeratedFolders, mountsLeftOut, parseExcludeLines } from './filter.ts';
import { isLocal, realPlace } from './local.ts';
import { type EmptyFolder, findHung, lookExcept, sortMountPoints } from './mount-points.ts';
import { type Entry, findPlace, type Look, mergePlaces, type Place, parsePlaces } from './never.ts';
import { type Root, refuseNeverRoots, resolveRoots } from './roots.ts';
import { type Eyes, otherSpellings } from './spelling.ts';

const EXCLUDES_BYTES = 1024 * 1024;

/** The exclude patterns, out of the file and the config. @throws Fault that names the line */
export function readExcludes(config: ClientConfig): Exclude[] {
  const { exclude, exclude_from: file } = config.scope;
  const home = asBytes(ownAccount().home);
  const fromFile = file === undefined ? [] : listLines(readWhole(file, EXCLUDES_BYTES), file);
  return [
    ...parseExcludeLines(fromFile, `"${file}"`, home),
    ...parseExcludeLines(exclude.map(asBytes), '`exclude` in client.toml', home),
  ];
}

/**
 * The lines of a list file, one character for each byte. A byte-order mark is not part of the first line.
 * @throws Fault (exit 2) for UTF-16, in which no line is what it seems to be
 */
function listLines(bytes: Buffer, file: string): string[] {
  const text = bytes.toString('latin1');
  if (/^(?:\xff\xfe|\xfe\xff)/.test(text) || text.includes('\0')) {
    throw new Fault({
      tried: `read the list "${file}"`,
      found: 'it is not plain text: it is UTF-16, or has NUL bytes',
      next: `iconv -f UTF-16 -t UTF-8 ${quoteForShell(file)} >${quoteForShell(`${file}.utf8`)}, and use that file`,
      exit: 'usage',
      code: 'config',
    });
  }
  return text.replace(/^\xef\xbb\xbf/, '').split(/\r?\n/);
}

/** The roots of client.toml as they are on this machine. @throws Fault (exit 2) that names the root */
export function findRoots(config: ClientConfig, hung: readonly string[]): Root[] {
  return resolveRoots(
    config.scope.roots.map(asBytes),
    [0, ownAccount().uid],
    lookExcept(hung, lookAsOwned()),
  );
}

/**
 * The mount points of file systems that do not answer, of those that a run looks at.
 * @param listed the administrator's list
 */
export async function findHungMounts(
  config: ClientConfig,
  listed: readonly string[] = readNeverList(),
): Promise<string[]> {
  const { mounts, never } = config.scope;
  const table = readMountTable();
  const roots = config.scope.roots.map(asBytes);
  const identities = calledRemotes(config).map(each => callFiles(each).identity);
  const needed = [...config.scope.roots, ...never, ...identities, ...listed].map(asBytes);
  return await findHung(table, { needed, roots, left: mountsLeftOut(table, mounts, roots) });
}

function readMountTable(): MountEntry[] {
  return parseMountTable(readWhole('/proc/self/mountinfo', 16 * 1024 * 1024).toString('latin1'));
}

/** The enumerated folders that a request can name. Of others a changed file counts as unreadable, which is safe. */
export function enumeratedNames(scope: KernelScope): string[] {
  const folders = enumeratedFolders(scope).filter(path => !scope.refusing.includes(path));
  const names = folders.map(asText);
  return names.filter(isRoot).slice(0, ENUMERATED_LIMIT);
}

/** A character a byte. */
export interface KernelScope {
  roots: string[];
  /** What is never read, be it in the scope or not (design: always in `never`). */
  never: string[];
  /** Where each path of the two lists is. */
  places: Place[];
  /** Mount points of which nothing is read: what is left out, and what does not answer. */
  empty: string[];
  /** The first of them, as they are stored. */
  emptied: EmptyFolder[];
  hung: readonly string[];
  /** Mount points that are left out and can hang: kept back by their names, and looked at by nothing. */
  untouched: readonly string[];
  /** Folders with a file that nobody can read: an error there is no passing one. */
  refusing: string[];
}

/** Roots and what is never read. @param roots as `findRoots()` has found them; @param hung as `findHungMounts()` */
export function kernelScope(
  config: ClientConfig,
  state: string,
  roots: readonly Root[],
  hung: readonly string[],
): KernelScope {
  const { mounts, never } = config.scope;
  const table = readMountTable();
  const identities = calledRemotes(config).map(each => callFiles(each).identity);
  const stores = config.remote.filter(isLocal).map(each => each.target);
  const bytes = roots.map(each => each.path);
  // A mount point with a longer name than a path may have is kept back with a folder above it.
  const { emptied, hidden, untouched } = sortMountPoints(table, mounts, bytes, lookExcept(hung, lookAt));
  const left = hidden.map(path => {
    let at = path;
    while (Buffer.byteLength(at, 'latin1') > PATH_LIMIT) at = dirname(at);
    return at;
  });
  const places = [
    ...findPlaces([...never, ...identities], 'account', hung),
    ...findPlaces(readNeverList(), 'root', hung),
  ];
  // Nobody but the account names these two, and each run works in them.
  const own = [state, ...stores].flatMap(path => [path, realPlace(path)]).map(asBytes);
  // A store that is seen at two places would get into itself by the other one.
  const mirrors = stores.flatMap(path => otherNames(table, asBytes(realPlace(path))));
  const listed = withMounts([...own, ...namesOf(places)], table);
  // Mount points have the names that the kernel tells, and some of them cannot be looked at.
  const nevers = [
    ...new Set([
      ...withSpellings([...listed, ...mirrors], bytes, unseenBy({ hung, untouched, emptied })),
      ...left,
    ]),
  ];
  const points = emptied.map(each => each.path);
  refuseNeverRoots(roots, [...nevers, ...points]);
  const empty = [...points, ...hung, ...untouched];
  const told = tellMounts(places, table, bytes);
  return { roots: bytes, never: nevers, places: told, empty, emptied, hung, untouched, refusing: [] };
}

/**
 * The scope for an rsync that gets no library for mount points (src/launcher/mountpoints.c): it looks at each of them, and lists
 * those that are stored empty.
 * @throws Fault where one does not answer: rsync would wait for it
 */
export function withoutLibrary(scope: KernelScope): KernelScope {
  const [first] = scope.hung;
  if (first !== undefined) {
    const name = asText(first);
    throw new Fault({
      tried: 'read the scope',
      found: `the file system at "${escapeText(name)}" does not answer, and this rsync would wait for it`,
      next: `umount -l ${quoteForShell(name)}; or capability = "confined" in client.toml`,
    });
  }
  const isListed = ({ path, as }: EmptyFolder): boolean => as === undefined && mayRead(asText(path));
  const emptied = scope.emptied.filter(isListed);
  const hidden = scope.emptied.filter(each => !isListed(each)).map(each => each.path);
  return {
    ...scope,
    never: [...scope.never, ...hidden],
    emptied,
    empty: emptied.map(each => each.path),
  };
}

/** Below which nothing is looked at. */
function unseenBy({
  hung,
  untouched,
  emptied,
}: Pick<KernelScope, 'hung' | 'untouched' | 'emptied'>): string[] {
  const apart = emptied.filter(each => each.as !== undefined).map(each => each.path);
  return [...hung, ...untouched, ...apart];
}

/** And by the names that other mounts give them. */
function withMounts(nevers: string[], table: MountEntry[]): string[] {
  return [...new Set(nevers.flatMap(each => [each, ...namesByMounts(table, each)]))];
}

/** The same, and by which names in the scope other mounts show each of them. */
function tellMounts(places: Place[], table: MountEntry[], roots: readonly string[]): Place[] {
  const known = namesOf(places);
  return places.map(place => {
    const mounted = namesByMounts(table, place.place).filter(
      name => roots.some(root => isWithin(root, name)) && !known.some(each => isWithin(each, name)),
    );
    return mounted.length > 0 ? { ...place, mounted } : place;
  });
}

/** And by each name that the filter has to know. */
function withSpellings(nevers: string[], roots: readonly string[], hung: readonly string[]): string[] {
  const isHung = (path: string): boolean => hung.some(each => isWithin(each, path));
  const eyes: Eyes = {
    identify: path => {
      try {
        return isHung(path) ? undefined : lstat(Buffer.from(path, 'latin1'));
      } catch {
        return undefined;
      }
    },
    list: folder => {
      try {
        return isHung(folder) ? [] : readdir(Buffer.from(folder, 'latin1')).map(name => asBytes(name));
      } catch {
        return [];
      }
    },
  };
  return [...new Set([...nevers, ...nevers.flatMap(each => otherSpellings(each, roots, eyes))])];
}

/** The kernel goes by the place, the filter by the name: both are kept back. */
function namesOf(places: Place[]): string[] {
  return places.flatMap(({ name, place }) => [name, place]);
}

/**
 * The same with what the launcher says.
 * @param runFolder with its scope written
 * @throws Fault with the launcher's own line
 */
export async function withLaunchersPlaces(scope: KernelScope, runFolder: string): Promise<KernelScope> {
  const told = parsePlaces(await askPlaces(runFolder));
  if (told !== undefined) {
    const table = readMountTable();
    const never = withSpellings(
      [...new Set([...scope.never, ...withMounts(namesOf(told.places), table)])],
      scope.roots,
      unseenBy(scope),
    );
    // The launcher can know of a place that this account cannot see.
    const roots = scope.roots.map(path => ({ name: asText(path), path }));
    refuseNeverRoots(roots, [...never, ...scope.emptied.map(each => each.path)]);
    const merged = mergePlaces(scope.places, told.places, scope.never);
    const places = tellMounts(merged, table, scope.roots);
    return { ...scope, never, places, refusing: told.refusing };
  }
  throw new Fault({
    tried: 'confine rsync',
    found: 'the launcher is of another version than this program',
    next: 'make install',
  });
}

/**
 * Where paths of `never` are, as far as this account can see.
 * @param list whose it is: root's (/etc/dialback/never), or the account's (client.toml)
 */
export function findPlaces(paths: string[], list: 'root' | 'account', hung: readonly string[]): Place[] {
  const owners = list === 'root' ? [0] : [0, ownAccount().uid];
  const look = lookExcept(hung, lookAsOwned());
  return paths.map(path => {
    const { error, ...place } = findPlace(asBytes(path), owners, look);
    // The launcher can look where this account cannot.
    return error === undefined || error === 'EACCES' ? place : { ...place, error };
  });
}

/** A user's own program (FUSE) can show anybody as an owner: all that it shows is that user's. */
function lookAsOwned(): Look {
  const table = readMountTable();
  return path => {
    const found = lookAt(path);
    const user = mountOf(table, path)?.user;
    return typeof found === 'string' || user === undefined ? found : { ...found, uid: user };
  };
}

function lookAt(path: string): Entry | string {
  const bytes = Buffer.from(path, 'latin1');
  try {
    const found = lstat(bytes);
    const { uid, gid, mode, nlink } = found;
    return {
      uid,
      gid,
      mode,
      nlink,
      ...(found.isSymbolicLink() ? { target: readlink(bytes).toString('latin1') } : {}),
    };
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error);
  }
}

/** Text as the bytes that it has in a file, a character each: names need not be UTF-8. */
export function asBytes(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1');
}
