/** What may be read on this machine as it is now: the config's scope, and what is mounted and never read here (client/scope.ts). */
import { dirname } from 'node:path';
import { Fault } from '../fault.ts';
import { linkStatus, readLink, readWhole } from '../os/files.ts';
import { askPlaces, readNeverList } from '../os/launcher.ts';
import { ownAccount } from '../os/machine.ts';
import { otherNames, parseMountTable } from '../os/mounts.ts';
import { ENUMERATED_LIMIT, isRoot, PATH_LIMIT } from '../wire/request.ts';
import { quoteForShell } from '../wire/text.ts';
import { type ClientConfig, calledRemotes, callFiles } from './config.ts';
import { isLocal, realPlace } from './local.ts';
import { type Entry, findPlace, mergePlaces, type Place, parsePlaces } from './never.ts';
import { type Root, refuseNeverRoots, resolveRoots } from './roots.ts';
import { type Exclude, enumeratedFolders, mountsLeftOut, parseExcludeLines } from './scope.ts';

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
export function findRoots(config: ClientConfig): Root[] {
  return resolveRoots(config.scope.roots.map(asBytes), [0, ownAccount().uid], lookAt);
}

/** The enumerated folders that a request can name. Of others a changed file counts as unreadable, which is safe. */
export function enumeratedNames(scope: { roots: string[]; never: string[] }): string[] {
  const names = enumeratedFolders(scope).map(path => Buffer.from(path, 'latin1').toString('utf8'));
  return names.filter(isRoot).slice(0, ENUMERATED_LIMIT);
}

/** A character a byte. */
export interface KernelScope {
  roots: string[];
  /** What is never read, be it in the scope or not (design: always in `never`). */
  never: string[];
  /** Where each path of the two lists is. */
  places: Place[];
}

/** Roots and what is never read. @param roots as `findRoots()` has found them */
export function kernelScope(config: ClientConfig, state: string, roots: readonly Root[]): KernelScope {
  const { mounts, never } = config.scope;
  const table = parseMountTable(readWhole('/proc/self/mountinfo', 16 * 1024 * 1024).toString('latin1'));
  const identities = calledRemotes(config).map(each => callFiles(each).identity);
  const stores = config.remote.filter(isLocal).map(each => each.target);
  const bytes = roots.map(each => each.path);
  // A mount point with a longer name than a path may have is kept back with a folder above it.
  const left = mountsLeftOut(table, mounts, bytes).map(path => {
    let at = path;
    while (Buffer.byteLength(at, 'latin1') > PATH_LIMIT) at = dirname(at);
    return at;
  });
  const places = [
    ...findPlaces([...never, ...identities], 'account'),
    ...findPlaces(readNeverList(), 'root'),
  ];
  // Nobody but the account names these two, and each run works in them.
  const own = [state, ...stores].flatMap(path => [path, realPlace(path)]).map(asBytes);
  // A store that is seen at two places would get into itself by the other one.
  const mirrors = stores.flatMap(path => otherNames(table, asBytes(realPlace(path))));
  const nevers = [...new Set([...own, ...namesOf(places), ...mirrors, ...left])];
  refuseNeverRoots(roots, nevers);
  return { roots: bytes, never: nevers, places };
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
    const never = [...new Set([...scope.never, ...namesOf(told)])];
    return { ...scope, never, places: mergePlaces(scope.places, told, scope.never) };
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
export function findPlaces(paths: string[], list: 'root' | 'account'): Place[] {
  const owners = list === 'root' ? [0] : [0, ownAccount().uid];
  return paths.map(path => {
    const { error, ...place } = findPlace(asBytes(path), owners, lookAt);
    // The launcher can look where this account cannot.
    return error === undefined || error === 'EACCES' ? place : { ...place, error };
  });
}

function lookAt(path: string): Entry | string {
  const bytes = Buffer.from(path, 'latin1');
  try {
    const found = linkStatus(bytes);
    const { uid, mode, nlink } = found;
    return {
      uid,
      mode,
      nlink,
      ...(found.isSymbolicLink() ? { target: readLink(bytes).toString('latin1') } : {}),
    };
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error);
  }
}

/** Text as the bytes that it has in a file, a character each: names need not be UTF-8. */
export function asBytes(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1');
}
