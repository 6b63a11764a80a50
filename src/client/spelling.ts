/**
 * Other spellings of a `never`. On some file systems "A" and "a" are the same name (FAT, ext4 with casefold). The filter compares
 * names, so it needs each path as rsync will see it: the root as it is configured, and below it the names as their folders list
 * them.
 *
 * Paths are bytes (os/byte-path.ts).
 */
import { isWithin } from '../os/mounts.ts';
import { asText } from '../wire/text.ts';

/** Device and inode number: two names with the same identity are one file. */
interface Identity {
  dev: number;
  ino: number;
}

/** A view of the file system. */
export interface FolderView {
  /** @returns undefined where this account cannot look */
  identify(path: string): Identity | undefined;
  /** @returns the names in a folder; none where it cannot be listed */
  list(folder: string): string[];
}

/**
 * Finds the other names under which rsync can see a path of `never`.
 * @param roots as they are configured
 * @returns none on a file system that distinguishes "A" from "a"
 */
export function otherSpellings(never: string, roots: readonly string[], view: FolderView): string[] {
  const known = roots.flatMap(root => (isWithin(root, never) ? [never] : belowRoot(never, root, view)));
  const spelled = known.map(path => asListed(path, view));
  return [...new Set([...known, ...spelled])].filter(path => path !== never);
}

/** The path below a root that is one of its parent folders by another spelling. */
function belowRoot(never: string, root: string, { identify }: FolderView): string[] {
  const folded = (path: string): string => path.normalize('NFC').toLowerCase();
  const parts = never.split('/');
  const depth = root === '/' ? 1 : root.split('/').length;
  if (depth > parts.length) return [];
  const above = parts.slice(0, depth).join('/');
  // Only the case of letters may differ. Anything else is another mount, whose names are found elsewhere.
  if (folded(asText(above)) !== folded(asText(root))) return [];
  const [one, other] = [identify(above), identify(root)];
  if (one === undefined || other === undefined || one.dev !== other.dev || one.ino !== other.ino) return [];
  return [[root, ...parts.slice(depth)].join('/')];
}

/** The same path with each name as its folder lists it. */
function asListed(path: string, view: FolderView): string {
  let at = '';
  for (const name of path.split('/').slice(1)) at = `${at}/${listedName(at, name, view)}`;
  return at;
}

function listedName(folder: string, name: string, { identify, list }: FolderView): string {
  const found = identify(`${folder}/${name}`);
  const swapped = swapCase(name);
  if (found === undefined) return name;
  // A name without such letters does not show the kind of file system, so its folder is listed.
  const same = swapped === name ? found : identify(`${folder}/${swapped}`);
  if (same?.ino !== found.ino || same.dev !== found.dev) return name;
  const names = list(folder || '/');
  if (names.includes(name)) return name;
  return names.find(each => identify(`${folder}/${each}`)?.ino === found.ino) ?? name;
}

/** ASCII letters are enough to find out what kind of file system it is. */
function swapCase(name: string): string {
  return name.replace(/[a-zA-Z]/g, letter =>
    letter === letter.toLowerCase() ? letter.toUpperCase() : letter.toLowerCase(),
  );
}
