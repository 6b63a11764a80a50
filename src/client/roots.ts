/**
 * Where the roots of the scope are on this machine, and whether a backup of them can hold anything. A config that cannot work
 * is refused before anyone is called.
 *
 * Paths are bytes, one character each.
 */
import { isUtf8 } from 'node:buffer';
import { dirname } from 'node:path';
import { Fault } from '../fault.ts';
import { lstat, makeFolder, removeAll } from '../os/files.ts';
import { isWithin } from '../os/mounts.ts';
import { run, standard } from '../os/process.ts';
import { writeNew } from '../os/replace.ts';
import { asText, escapeText } from '../wire/text.ts';
import { type Exclude, scopeFilter } from './filter.ts';
import { type Entry, findPlace, type Look } from './never.ts';

/** One root. */
export interface Root {
  /** As client.toml names it. */
  name: string;
  /** The same without symbolic links. */
  path: string;
}

/** st_mode's file type bits (inode(7)). */
const TYPE = 0o170000;
const FOLDER = 0o040000;
const HOLDS_DATA = new Set([FOLDER, 0o100000, 0o060000]); // a folder, a file; a block device is backed up as an inode
const TYPE_NAMES = new Map([
  [0o010000, 'a FIFO'],
  [0o020000, 'a character device'],
  [0o140000, 'a socket'],
]);

/**
 * Finds each root. A symbolic link above a root is followed only where another user cannot replace it: that user would decide
 * what is backed up.
 * @param names the roots of client.toml
 * @param owners the users whose symbolic links are followed: root and this account
 * @throws Fault (exit 2) that names the root and, where there is one, its real path
 */
export function resolveRoots(names: readonly string[], owners: readonly number[], look: Look): Root[] {
  const roots = names.map(name => resolveRoot(name, owners, look));
  const known = new Map<string, Root>();
  // Two names of one folder are one root.
  for (const root of roots) if (!known.has(root.path)) known.set(root.path, root);
  return [...known.values()];
}

function resolveRoot(name: string, owners: readonly number[], look: Look): Root {
  const fault = (found: string, next?: string): Fault =>
    new Fault({
      tried: `back up "${inText(name)}"`,
      found,
      exit: 'usage',
      code: 'config',
      ...(next ? { next } : {}),
    });
  if (name === '/') return { name, path: name };
  const above = findPlace(dirname(name), owners, look);
  if (above.link !== undefined) {
    throw fault(
      `other users can replace the symbolic link "${inText(above.link)}" on its path`,
      'set `roots` in client.toml to the path without symbolic links',
    );
  }
  if (!isUtf8(Buffer.from(above.place, 'latin1')))
    throw fault(`symbolic links lead to "${inText(above.place)}", which is not UTF-8`);
  const path = `${above.place === '/' ? '' : above.place}/${name.slice(name.lastIndexOf('/') + 1)}`;
  const entry = look(path);
  // A root that is missing or cannot be seen is told by the run itself, which goes on with the others.
  if (typeof entry === 'string') return { name, path };
  if (entry.target !== undefined) {
    const real = realPathOf(path, entry, owners, look);
    throw fault(
      real === undefined
        ? `it is a symbolic link to "${inText(entry.target)}"`
        : `it is a symbolic link to "${inText(real)}": a backup of it would hold the link alone`,
      real === undefined
        ? 'set `roots` in client.toml to a folder or a file'
        : `set \`roots\` in client.toml to "${inText(real)}"`,
    );
  }
  if (!HOLDS_DATA.has(entry.mode & TYPE))
    throw fault(`it is ${TYPE_NAMES.get(entry.mode & TYPE) ?? 'neither a folder nor a file'}`);
  return { name, path };
}

/** @returns where a symbolic link leads, or undefined where nothing is there or others decide it */
function realPathOf(path: string, entry: Entry, owners: readonly number[], look: Look): string | undefined {
  const found = findPlace(path, [...owners, entry.uid], look);
  return found.link === undefined && typeof look(found.place) !== 'string' ? found.place : undefined;
}

/**
 * Refuses a root that is never read as a whole.
 * @param never paths that are never read
 * @throws Fault (exit 2) that names both
 */
export function refuseNeverRoots(roots: readonly Root[], never: readonly string[]): void {
  for (const { name, path } of roots) {
    const over = never.find(each => isWithin(each, path));
    if (over === undefined) continue;
    throw new Fault({
      tried: `back up "${inText(name)}"`,
      found: `${over === path ? 'it' : `"${inText(over)}" above it`} is never read (\`never\` in client.toml, /etc/dialback/never, dialback's own folders, and file systems such as /proc)`,
      next: 'remove it from `roots` or from `never`',
      exit: 'usage',
      code: 'config',
    });
  }
}

/**
 * Exclude patterns for the real paths too: a pattern that begins with a root's name in client.toml would not match anything
 * below the real path.
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
 * Refuses a root that the exclude patterns hide. rsync itself is asked, so that this cannot differ from what the run does: it
 * copies a tree of empty folders and files that has the roots' names, with the run's filter.
 * @param folder a private folder, in which the tree is made and removed
 * @param hung mount points of file systems that do not answer: what is there is not looked at
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
    const [filter, out] = [`${work}/filter${trials}`, `${work}/seen${trials}`];
    const patterns = some.map(each => each.pattern);
    const text = scopeFilter({ roots: roots.map(each => each.path), never: [], excludes: patterns });
    writeNew(filter, Buffer.from(text, 'latin1'));
    const copied = await run(standard('rsync', ['-r', `--filter=. ${filter}`, `${tree}/`, `${out}/`]));
    if (copied.status !== 0) {
      const found = escapeText(copied.stderr.trim(), 400);
      throw new Fault({ tried: 'try the exclude patterns', found, code: 'rsync' });
    }
    return asked.find(({ path }) => typeOf(`${out}${asText(path)}`) === undefined);
  };
  const hidden = await findHidden(excludes);
  if (hidden === undefined) return;
  // Each further pattern only hides more: search for the first one that hides a root.
  let [most, least] = [excludes.length, 0];
  let root = hidden;
  while (most - least > 1) {
    const middle = Math.floor((least + most) / 2);
    const found = await findHidden(excludes.slice(0, middle));
    if (found === undefined) least = middle;
    else [most, root] = [middle, found];
  }
  const culprit = excludes[most - 1];
  throw new Fault({
    tried: `back up "${inText(root.name)}"`,
    found: `${culprit?.where} excludes it: "${inText(culprit?.pattern ?? '')}"`,
    next: 'remove the pattern, or make it longer so that it matches only what is to be left out; or remove the root from `roots`',
    exit: 'usage',
    code: 'config',
  });
}

/** Longer paths do not fit below the run folder (PATH_MAX). */
const SKELETON_PATH_LIMIT = 3_500;

/** An empty folder, or an empty file where the root is a file, and the folders above it. */
function makeSkeleton(tree: string, path: string): void {
  const isFolder = (typeOf(path) ?? FOLDER) === FOLDER;
  makeFolder(`${tree}${isFolder ? path : dirname(path)}`, { parents: true });
  if (!isFolder && typeOf(`${tree}${path}`) === undefined) writeNew(`${tree}${path}`, '');
}

/** The file type bits of st_mode, or undefined where nothing can be seen. */
function typeOf(path: string): number | undefined {
  try {
    return lstat(path).mode & TYPE;
  } catch {
    return undefined;
  }
}

/** A name of bytes as text for a message. */
export function inText(bytes: string): string {
  return escapeText(asText(bytes));
}
