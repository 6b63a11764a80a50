/**
 * Other spellings of a `never`. A file system can take "A" for "a" (FAT, ext4 with casefold), and the filter goes by names: it needs
 * each path as rsync will see it, which is a root as it is configured and below it the names that the folders have.
 *
 * Paths are bytes, one character each.
 */
import { isWithin } from '../os/mounts.ts';
import { asText } from '../wire/text.ts';

/** What tells whether two names are one file. */
export interface Identity {
  dev: number;
  ino: number;
}

/** What is looked at; undefined and an empty list where nothing can be seen. */
export interface Eyes {
  identify(path: string): Identity | undefined;
  list(folder: string): string[];
}

/**
 * How rsync can see a path of `never` besides by its own name.
 * @param roots as they are configured
 * @returns none on a file system that tells "A" from "a"
 */
export function otherSpellings(never: string, roots: readonly string[], eyes: Eyes): string[] {
  const known = roots.flatMap(root => (isWithin(root, never) ? [never] : belowRoot(never, root, eyes)));
  const spelled = known.map(path => asListed(path, eyes));
  return [...new Set([...known, ...spelled])].filter(path => path !== never);
}

/** The path below a root that is one of its folders by another name. */
function belowRoot(never: string, root: string, { identify }: Eyes): string[] {
  const folded = (path: string): string => path.normalize('NFC').toLowerCase();
  const parts = never.split('/');
  const depth = root === '/' ? 1 : root.split('/').length;
  if (depth > parts.length) return [];
  const above = parts.slice(0, depth).join('/');
  // The same number of names, and the same but for their letters' case: all else is another mount, which has a name of its own.
  if (folded(asText(above)) !== folded(asText(root))) return [];
  const [one, other] = [identify(above), identify(root)];
  if (one === undefined || other === undefined || one.dev !== other.dev || one.ino !== other.ino) return [];
  return [[root, ...parts.slice(depth)].join('/')];
}

/** The same path with each name as its folder lists it. */
function asListed(path: string, eyes: Eyes): string {
  let at = '';
  for (const name of path.split('/').slice(1)) at = `${at}/${listedName(at, name, eyes)}`;
  return at;
}

function listedName(folder: string, name: string, { identify, list }: Eyes): string {
  const found = identify(`${folder}/${name}`);
  const swapped = swapCase(name);
  if (found === undefined) return name;
  // A name without such letters tells nothing about the file system: its folder is listed.
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
