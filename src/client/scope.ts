/**
 * The scope of a run on this machine as it is now: the roots, the paths that are never read, and the mount points that are left
 * out. The filter (client/filter.ts) and the launcher are made from it.
 */
import { Fault } from '../fault.ts';
import { ownAccount } from '../os/account.ts';
import { asBytes, parentOf } from '../os/byte-path.ts';
import { readWhole } from '../os/content.ts';
import { exists, lstat, mayRead, readdir, readlink } from '../os/files.ts';
import { installStep } from '../os/install-steps.ts';
import { askPlaces } from '../os/launcher.ts';
import {
  isWithin,
  type MountEntry,
  mountOf,
  namesByMounts,
  otherNames,
  readMountTable,
} from '../os/mounts.ts';
import { ENUMERATED_LIMIT, isRoot, PATH_LIMIT } from '../wire/request.ts';
import { asText, escapeText, quoteForShell } from '../wire/text.ts';
import { type ClientConfig, calledRemotes, callFiles, excludeFiles } from './config.ts';
import { type Exclude, enumeratedFolders, mountsLeftOut, parseExcludes, refuseTooMany } from './filter.ts';
import { isLocal, realPlace } from './local.ts';
import { type EmptyFolder, findHung, lookExcept, sortMountPoints } from './mount-points.ts';
import { type Entry, findPlace, type Look, mergePlaces, type Place, parsePlaces } from './never.ts';
import { readNeverList } from './never-list.ts';
import { isPackageList } from './package-list.ts';
import { type Root, refuseNeverRoots, resolveRoots } from './roots.ts';
import { type FolderView, otherSpellings } from './spelling.ts';

/** The most bytes of a file with exclude patterns. */
export const EXCLUDES_BYTES = 1024 * 1024;

/**
 * Reads the exclude patterns of the files and of the config.
 * @param options.mayLack a file that does not exist counts as empty
 * @throws Fault that names the line
 */
export function readExcludes(config: ClientConfig, options: { mayLack?: boolean } = {}): Exclude[] {
  const home = asBytes(ownAccount().home);
  const files = excludeFiles(config).filter(file => !options.mayLack || exists(file));
  const patterns = [
    ...files.flatMap(file => {
      const lines = listLines(readWhole(file, EXCLUDES_BYTES), file);
      const parsed = parseExcludes(lines, `"${file}"`, home);
      return isPackageList(lines[0] ?? '') ? parsed.map(each => ({ ...each, isLeaf: true })) : parsed;
    }),
    ...parseExcludes(config.scope.exclude.map(asBytes), '`exclude` in client.toml', home),
  ];
  refuseTooMany(patterns, '`exclude` and `exclude_from` together');
  return patterns;
}

/**
 * The lines of a list file as bytes, without a byte-order mark.
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

/**
 * Finds the roots of client.toml on this machine.
 * @param hung as `findHungMounts()` returns it
 * @param table a run reads the mount table once, and passes it on
 * @throws Fault (exit 2) that names the root
 */
export function findRoots(
  config: ClientConfig,
  hung: readonly string[],
  table: readonly MountEntry[] = readMountTable(),
): Root[] {
  const owners = [0, ownAccount().uid];
  return resolveRoots(config.scope.roots.map(asBytes), owners, lookExcept(hung, lookAsOwned(table)));
}

/**
 * Finds the file systems that do not answer, among those that a run looks at.
 * @param listed the administrator's list
 * @returns their mount points
 */
export async function findHungMounts(
  config: ClientConfig,
  listed: readonly string[] = readNeverList(),
  table: readonly MountEntry[] = readMountTable(),
): Promise<string[]> {
  const { mounts, never } = config.scope;
  const roots = config.scope.roots.map(asBytes);
  const identities = calledRemotes(config).map(each => callFiles(each).identity);
  const needed = [...config.scope.roots, ...never, ...identities, ...listed].map(asBytes);
  return await findHung(table, { needed, roots, left: mountsLeftOut(table, mounts, roots) });
}

/** The enumerated folders that a request can name. In any other one, a changed file counts as unreadable, which is safe. */
export function enumeratedNames(scope: KernelScope): string[] {
  const folders = enumeratedFolders(scope).filter(path => !scope.refusing.includes(path));
  const names = folders.map(asText);
  return names.filter(isRoot).slice(0, ENUMERATED_LIMIT);
}

/** The paths that the kernel lets rsync read. All paths are bytes (os/byte-path.ts). */
export interface KernelScope {
  roots: string[];
  /** Paths that are never read, even inside a root (docs/design.md, `never`). */
  never: string[];
  /** Where each path of the two lists is. */
  places: Place[];
  /** Mount points below which no file is read: `emptied`, `hung` and `untouched`. */
  empty: string[];
  /** Mount points that are left out and stored as empty folders. */
  emptied: EmptyFolder[];
  /** Mount points of file systems that do not answer. */
  hung: readonly string[];
  /** Mount points that are left out and could hang: kept back by name, and not looked at. */
  untouched: readonly string[];
  /** Folders with a file that no process can read: an error there is not a temporary one. */
  refusing: string[];
}

/**
 * Collects the roots and everything that is never read.
 * @param state the state folder, which is never read
 * @param roots as `findRoots()` returns them
 * @param hung as `findHungMounts()` returns it
 * @param table a run reads the mount table once, and passes it on
 * @throws Fault (exit 2) where a root is never read
 */
export function kernelScope(
  config: ClientConfig,
  state: string,
  roots: readonly Root[],
  hung: readonly string[],
  table: readonly MountEntry[] = readMountTable(),
): KernelScope {
  const { mounts, never } = config.scope;
  const identities = calledRemotes(config).map(each => callFiles(each).identity);
  const stores = config.remote.filter(isLocal).map(each => each.target);
  const paths = roots.map(each => each.path);
  const sorted = sortMountPoints(table, mounts, paths, lookExcept(hung, lookAt));
  const { emptied, hidden, untouched } = sorted;
  const places = [
    ...findPlaces([...never, ...identities], 'account', hung, table),
    ...findPlaces(readNeverList(), 'root', hung, table),
  ];
  // Only the account decides where these two are, and each run works in them.
  const own = [state, ...stores].flatMap(path => [path, realPlace(path)]).map(asBytes);
  // A store with a second name would be backed up into itself by that name.
  const mirrors = stores.flatMap(path => otherNames(table, asBytes(realPlace(path))));
  const listed = withMounts([...own, ...namesOf(places)], table);
  const spelled = withSpellings([...listed, ...mirrors], paths, unseenBy({ hung, untouched, emptied }));
  // Mount points need no other spelling: the kernel reports their names, and some of them cannot be looked at.
  const nevers = [...new Set([...spelled, ...hidden.map(shorten)])];
  const points = emptied.map(each => each.path);
  refuseNeverRoots(roots, [...nevers, ...points]);
  return {
    roots: paths,
    never: nevers,
    places: addMountedNames(places, table, paths),
    empty: [...points, ...hung, ...untouched],
    emptied,
    hung,
    untouched,
    refusing: [],
  };
}

/** A mount point with a longer name than a path may have is kept back together with a folder above it. */
function shorten(path: string): string {
  let at = path;
  while (Buffer.byteLength(at, 'latin1') > PATH_LIMIT) at = parentOf(at);
  return at;
}

/**
 * The scope for an rsync without the library for mount points (src/launcher/mountpoints.c). Such an rsync looks at each mount
 * point, and lists those that are stored as empty folders.
 * @throws Fault where a file system does not answer: rsync would wait for it
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

/** Mount points that must not be looked at. */
function unseenBy({
  hung,
  untouched,
  emptied,
}: Pick<KernelScope, 'hung' | 'untouched' | 'emptied'>): string[] {
  const unseen = emptied.filter(each => each.as !== undefined).map(each => each.path);
  return [...hung, ...untouched, ...unseen];
}

/** Adds the names that other mounts give to each path. */
function withMounts(nevers: string[], table: readonly MountEntry[]): string[] {
  return [...new Set(nevers.flatMap(each => [each, ...namesByMounts(table, each)]))];
}

/** Adds to each place the names that other mounts give it in the scope. */
function addMountedNames(places: Place[], table: readonly MountEntry[], roots: readonly string[]): Place[] {
  const known = namesOf(places);
  return places.map(place => {
    const mounted = namesByMounts(table, place.place).filter(
      name => roots.some(root => isWithin(root, name)) && !known.some(each => isWithin(each, name)),
    );
    return mounted.length > 0 ? { ...place, mounted } : place;
  });
}

/** Adds each name by which the filter has to know a path. @param unseen mount points that must not be looked at */
function withSpellings(nevers: string[], roots: readonly string[], unseen: readonly string[]): string[] {
  const isUnseen = (path: string): boolean => unseen.some(each => isWithin(each, path));
  const look: FolderView = {
    identify: path => {
      try {
        return isUnseen(path) ? undefined : lstat(Buffer.from(path, 'latin1'));
      } catch {
        return undefined;
      }
    },
    list: folder => {
      try {
        return isUnseen(folder) ? [] : readdir(Buffer.from(folder, 'latin1')).map(asBytes);
      } catch {
        return [];
      }
    },
  };
  return [...new Set([...nevers, ...nevers.flatMap(each => otherSpellings(each, roots, look))])];
}

/** The kernel compares the place, and the filter the name. Both are kept back. */
function namesOf(places: Place[]): string[] {
  return places.flatMap(({ name, place }) => [name, place]);
}

/**
 * Adds to a scope where the launcher finds each `never`: it can look where this account cannot.
 * @param runFolder with its scope written
 * @param table a run reads the mount table once, and passes it on
 * @throws Fault with the message of the launcher
 */
export async function withLaunchersPlaces(
  scope: KernelScope,
  runFolder: string,
  table: readonly MountEntry[] = readMountTable(),
): Promise<KernelScope> {
  const found = parsePlaces(await askPlaces(runFolder));
  if (found === undefined)
    throw new Fault({
      tried: 'confine rsync',
      found: 'the launcher is of another version than this program',
      next: installStep(),
    });
  const never = withSpellings(
    [...new Set([...scope.never, ...withMounts(namesOf(found.places), table)])],
    scope.roots,
    unseenBy(scope),
  );
  const roots = scope.roots.map(path => ({ name: asText(path), path }));
  refuseNeverRoots(roots, [...never, ...scope.emptied.map(each => each.path)]);
  const merged = mergePlaces(scope.places, found.places, scope.never);
  const places = addMountedNames(merged, table, scope.roots);
  return { ...scope, never, places, refusing: found.refusing };
}

/**
 * Finds where paths of `never` are, as far as this account can see.
 * @param list whose list it is: root's (/etc/dialback/never), or the account's (client.toml)
 * @param hung as `findHungMounts()` returns it
 */
export function findPlaces(
  paths: string[],
  list: 'root' | 'account',
  hung: readonly string[],
  table: readonly MountEntry[] = readMountTable(),
): Place[] {
  const owners = list === 'root' ? [0] : [0, ownAccount().uid];
  const look = lookExcept(hung, lookAsOwned(table));
  return paths.map(path => {
    const { error, ...place } = findPlace(asBytes(path), owners, look);
    // EACCES: the launcher can look there.
    return error === undefined || error === 'EACCES' ? place : { ...place, error };
  });
}

/** A user's own program (FUSE) can show any owner, so everything on its file system counts as that user's. */
function lookAsOwned(table: readonly MountEntry[]): Look {
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
    const target = found.isSymbolicLink() ? { target: readlink(bytes).toString('latin1') } : {};
    return { uid, gid, mode, nlink, ...target };
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error);
  }
}
