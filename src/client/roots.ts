/**
 * The roots of the scope on this machine. A config whose backup could not contain a root is refused before the host is called.
 *
 * Paths are bytes (os/byte-path.ts).
 */
import { isUtf8 } from 'node:buffer';
import { dirname } from 'node:path';
import { Fault } from '../fault.ts';
import { joinPath, parentOf, showPath } from '../os/byte-path.ts';
import {
  lstat,
  makeFolder,
  removeAll,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
} from '../os/files.ts';
import { isWithin } from '../os/mounts.ts';
import { run, standard } from '../os/process.ts';
import { writeNew } from '../os/replace.ts';
import { asText, escapeText } from '../wire/text.ts';
import { type Exclude, scopeFilter, splitExcludes } from './filter.ts';
import { type Entry, findPlace, type Look } from './never.ts';

/** A root. */
export interface Root {
  /** As client.toml has it. */
  name: string;
  /** The same without symbolic links. */
  path: string;
}

const HOLDS_DATA = new Set([S_IFDIR, S_IFREG, S_IFBLK]); // a block device is backed up as an inode
const TYPE_NAMES = new Map([
  [S_IFIFO, 'a FIFO'],
  [S_IFCHR, 'a character device'],
  [S_IFSOCK, 'a socket'],
]);

/**
 * Finds each root. A symbolic link above a root is followed only where no other user can replace it: that user would decide what
 * is backed up.
 * @param names the roots of client.toml
 * @param owners the users whose symbolic links are followed: root and this account
 * @returns without repeated paths
 * @throws Fault (exit 2) that names the root and, where there is one, its real path
 */
export function resolveRoots(names: readonly string[], owners: readonly number[], look: Look): Root[] {
  const known = new Map<string, Root>();
  for (const root of names.map(name => resolveRoot(name, owners, look)))
    if (!known.has(root.path)) known.set(root.path, root);
  return [...known.values()];
}

function resolveRoot(name: string, owners: readonly number[], look: Look): Root {
  const fault = (found: string, next?: string): Fault =>
    new Fault({
      tried: `back up "${showPath(name)}"`,
      found,
      exit: 'usage',
      code: 'config',
      ...(next ? { next } : {}),
    });
  if (name === '/') return { name, path: name };
  const above = findPlace(parentOf(name), owners, look);
  if (above.link !== undefined) {
    throw fault(
      `other users can replace the symbolic link "${showPath(above.link)}" on its path`,
      'set `roots` in client.toml to the path without symbolic links',
    );
  }
  if (!isUtf8(Buffer.from(above.place, 'latin1')))
    throw fault(`symbolic links lead to "${showPath(above.place)}", which is not UTF-8`);
  const path = joinPath(above.place, name.slice(name.lastIndexOf('/')));
  const entry = look(path);
  // The run itself reports a root that is missing or cannot be seen, and backs up the others.
  if (typeof entry === 'string') return { name, path };
  if (entry.target !== undefined) {
    const real = realPathOf(path, entry, owners, look);
    throw fault(
      real === undefined
        ? `it is a symbolic link to "${showPath(entry.target)}"`
        : `it is a symbolic link to "${showPath(real)}": a backup of it would contain only the link`,
      real === undefined
        ? 'set `roots` in client.toml to a folder or a file'
        : `set \`roots\` in client.toml to "${showPath(real)}"`,
    );
  }
  if (!HOLDS_DATA.has(entry.mode & S_IFMT))
    throw fault(`it is ${TYPE_NAMES.get(entry.mode & S_IFMT) ?? 'neither a folder nor a file'}`);
  return { name, path };
}

/** @returns where a symbolic link leads; undefined where that does not exist, or other users decide it */
function realPathOf(path: string, entry: Entry, owners: readonly number[], look: Look): string | undefined {
  const found = findPlace(path, [...owners, entry.uid], look);
  return found.link === undefined && typeof look(found.place) !== 'string' ? found.place : undefined;
}

/**
 * Refuses a root that is never read.
 * @param never paths that are never read
 * @throws Fault (exit 2) that names both
 */
export function refuseNeverRoots(roots: readonly Root[], never: readonly string[]): void {
  for (const { name, path } of roots) {
    const over = never.find(each => isWithin(each, path));
    if (over === undefined) continue;
    throw new Fault({
      tried: `back up "${showPath(name)}"`,
      found: `${over === path ? 'it' : `"${showPath(over)}" above it`} is never read (\`never\` in client.toml, /etc/dialback/never, dialback's own folders, and file systems such as /proc)`,
      next: 'remove it from `roots` or from `never`',
      exit: 'usage',
      code: 'config',
    });
  }
}

/**
 * Adds exclude patterns for real paths. A pattern that begins with the name of a root in client.toml would not match below
 * the real path.
 */
export function followExcludes(excludes: readonly Exclude[], roots: readonly Root[]): Exclude[] {
  const moved = roots.filter(({ name, path }) => name !== path);
  return excludes.flatMap(exclude => {
    const { pattern } = exclude;
    const root = moved.find(({ name }) => pattern === name || pattern.startsWith(`${name}/`));
    return root === undefined
      ? [exclude]
      : [exclude, { ...exclude, pattern: `${root.path}${pattern.slice(root.name.length)}` }];
  });
}

/**
 * Refuses a root that the exclude patterns hide. rsync itself decides, so that the answer cannot differ from the run. It
 * copies a tree of empty folders and files that have the names of the roots, with the filter of the run.
 * @param folder a private folder, in which the tree is made and removed
 * @param hung mount points of file systems that do not answer: paths below them are not looked at
 * @throws Fault (exit 2) that names the root, the pattern and its line
 */
export async function refuseHiddenRoots(
  folder: string,
  roots: readonly Root[],
  excludes: readonly Exclude[],
  hung: readonly string[],
): Promise<void> {
  const isHung = (path: string): boolean => hung.some(each => isWithin(each, path));
  const asked = roots.filter(
    ({ path }) => path !== '/' && path.length < SKELETON_PATH_LIMIT && !isHung(path),
  );
  if (asked.length === 0 || excludes.length === 0) return;
  const work = `${folder}/roots`;
  await using held = new AsyncDisposableStack();
  held.defer(() => removeAll(work));
  const tree = `${work}/tree`;
  for (const { path } of asked) makeSkeleton(tree, asText(path));
  let trials = 0;
  const findHidden = async (some: readonly Exclude[]): Promise<Root | undefined> => {
    trials += 1;
    const copy = `${work}/seen${trials}`;
    await copySkeleton(tree, copy, `${work}/filter${trials}`, roots, some);
    return asked.find(({ path }) => typeOf(`${copy}${asText(path)}`) === undefined);
  };
  const found = await findHiding(excludes, findHidden);
  if (found === undefined) return;
  const { root, exclude } = found;
  throw new Fault({
    tried: `back up "${showPath(root.name)}"`,
    found: `${exclude?.where} excludes it: "${showPath(exclude?.pattern ?? '')}"`,
    next: 'remove the pattern, or make it longer so that it matches only what is to be left out; or remove the root from `roots`',
    exit: 'usage',
    code: 'config',
  });
}

/** Finds the first pattern that hides a root. A longer list of patterns only hides more, so this is a binary search. */
async function findHiding(
  excludes: readonly Exclude[],
  findHidden: (some: readonly Exclude[]) => Promise<Root | undefined>,
): Promise<{ root: Root; exclude: Exclude | undefined } | undefined> {
  let root = await findHidden(excludes);
  if (root === undefined) return undefined;
  let [most, least] = [excludes.length, 0];
  while (most - least > 1) {
    const middle = Math.floor((least + most) / 2);
    const found = await findHidden(excludes.slice(0, middle));
    if (found === undefined) least = middle;
    else [most, root] = [middle, found];
  }
  return { root, exclude: excludes[most - 1] };
}

/** Copies a skeleton by rsync with the filter of a run. @param filter a new file */
async function copySkeleton(
  tree: string,
  copy: string,
  filter: string,
  roots: readonly Root[],
  excludes: readonly Exclude[],
): Promise<void> {
  const text = scopeFilter({ roots: roots.map(each => each.path), never: [], ...splitExcludes(excludes) });
  writeNew(filter, Buffer.from(text, 'latin1'));
  const copied = await run(standard('rsync', ['-r', `--filter=. ${filter}`, `${tree}/`, `${copy}/`]));
  if (copied.status === 0) return;
  const found = escapeText(copied.stderr.trim(), 400);
  throw new Fault({ tried: 'try the exclude patterns', found, code: 'rsync' });
}

/** A longer path does not fit below the run folder (PATH_MAX). */
const SKELETON_PATH_LIMIT = 3_500;

/** Makes an empty folder, or an empty file where the root is a file, with the folders above it. */
function makeSkeleton(tree: string, path: string): void {
  const isFolder = (typeOf(path) ?? S_IFDIR) === S_IFDIR;
  makeFolder(`${tree}${isFolder ? path : dirname(path)}`, { parents: true });
  if (!isFolder && typeOf(`${tree}${path}`) === undefined) writeNew(`${tree}${path}`, '');
}

/** The type bits of st_mode; undefined where this account cannot look. */
function typeOf(path: string): number | undefined {
  try {
    return lstat(path).mode & S_IFMT;
  } catch {
    return undefined;
  }
}
