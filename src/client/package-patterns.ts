/**
 * The exclude patterns for the files of packages. Pure, except for the listing of folders.
 *
 * rsync compares each name with each pattern, so few patterns that save much are better than one for each file (docs/design.md).
 * A pattern for everything in a folder stands for many files. It would also hide a file that someone adds to the folder before the next
 * list is written. So there are such patterns only below the folders of /usr, where only package managers write.
 */
import { joinPath, parentOf, tailBehind } from '../os/byte-path.ts';
import { isWithin } from '../os/mounts.ts';
import { literalPattern } from '../wire/filter-pattern.ts';
import type { PackagedFiles } from './packaged-files.ts';

/** An entry of a folder. */
export interface FolderEntry {
  name: string;
  isFolder: boolean;
}

/** One pattern, with the number and size of the files that it leaves out. */
export interface PackagePattern {
  pattern: string;
  files: number;
  bytes: number;
}

export interface ChosenPatterns {
  /** Sorted by pattern. */
  patterns: PackagePattern[];
  /** Files that could be left out, but for which there is no pattern, since the list would be too long. */
  unlisted: { files: number; bytes: number };
}

/** A run takes 10,000 patterns. rsync needs some 10 ns for each pattern and file: with these, a few seconds for 100,000 files. */
const MOST_PATTERNS = 3_000;
/** All patterns, in bytes: they are a part of each request, with the account's own patterns (wire/request.ts). */
const MOST_BYTES = 512 * 1024;
/** client/filter.ts refuses a longer one. */
const LONGEST = 2_000;

/**
 * Chooses the patterns that save most.
 * @param system the folder of the system, as bytes; `/`: this one. The patterns begin with it
 * @param list the entries of a folder of the system; undefined if it cannot be listed
 */
export function choosePatterns(
  files: Pick<PackagedFiles, 'proven' | 'plainFolders' | 'missing'>,
  system: string,
  list: (folder: string) => FolderEntry[] | undefined,
): ChosenPatterns {
  const folding = new Folding(files, list);
  const found = new Map<string, PackagePattern>();
  const unlisted = { files: 0, bytes: 0 };
  for (const [path, bytes] of files.proven) {
    const folder = folding.topFolder(path);
    const pattern =
      folder === undefined
        ? literalPattern(joinPath(system, path))
        : `${joinPath(system, folder).replace(/[\\*?[]/g, '\\$&')}/*`;
    if (folder === undefined && !canBeWritten(path)) {
      unlisted.files += 1;
      unlisted.bytes += bytes;
      continue;
    }
    const one = found.get(pattern) ?? { pattern, files: 0, bytes: 0 };
    one.files += 1;
    one.bytes += bytes;
    found.set(pattern, one);
  }
  const chosen: PackagePattern[] = [];
  let length = 0;
  for (const one of [...found.values()].sort(bySavings)) {
    const more = Buffer.byteLength(one.pattern, 'latin1') + 1;
    if (chosen.length < MOST_PATTERNS && length + more <= MOST_BYTES && one.pattern.length <= LONGEST) {
      chosen.push(one);
      length += more;
    } else {
      unlisted.files += one.files;
      unlisted.bytes += one.bytes;
    }
  }
  return { patterns: chosen.sort((a, b) => (a.pattern < b.pattern ? -1 : 1)), unlisted };
}

function bySavings(a: PackagePattern, b: PackagePattern): number {
  return b.bytes - a.bytes || b.files - a.files || (a.pattern < b.pattern ? -1 : 1);
}

/** An exclude list has a pattern in each line, without control characters. */
function canBeWritten(path: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is refused
  return !/[\u0000-\u001f\u007f]/.test(path);
}

/** Whether a folder may have a pattern for everything in it: /usr/share/doc may, /usr/bin and everything in /usr/local may not. */
function isFoldable(folder: string): boolean {
  if (!isWithin('/usr', folder) || isWithin('/usr/local', folder) || isWithin('/usr/src', folder))
    return false;
  return canBeWritten(folder) && tailBehind('/usr', folder).split('/').length > 2;
}

/** Finds folders in which everything can be put back. */
class Folding {
  readonly #files: Pick<PackagedFiles, 'proven' | 'plainFolders'>;
  readonly #list: (folder: string) => FolderEntry[] | undefined;
  /** Folders in which a path of a package is missing. A pattern for all of it would make the path appear in a rebuilt system. */
  readonly #incomplete: Set<string>;
  readonly #known = new Map<string, boolean>();

  constructor(
    files: Pick<PackagedFiles, 'proven' | 'plainFolders' | 'missing'>,
    list: (folder: string) => FolderEntry[] | undefined,
  ) {
    this.#files = files;
    this.#list = list;
    this.#incomplete = new Set();
    // rpm need not list the folders above a file, so they can be missing, too.
    for (const path of files.missing)
      for (let at = parentOf(path); at !== '/' && !this.#incomplete.has(at); at = parentOf(at))
        this.#incomplete.add(at);
  }

  /** @returns the highest folder above a file in which everything can be put back; undefined if there is none */
  topFolder(path: string): string | undefined {
    let top: string | undefined;
    for (let at = parentOf(path); isFoldable(at) && this.#isWhole(at); at = parentOf(at)) top = at;
    return top;
  }

  #isWhole(folder: string): boolean {
    const known = this.#known.get(folder);
    if (known !== undefined) return known;
    const entries = this.#incomplete.has(folder) ? undefined : this.#list(folder);
    const isWhole =
      entries?.every(({ name, isFolder }) => {
        const path = `${folder}/${name}`;
        if (!isFolder) return this.#files.proven.has(path);
        return this.#files.plainFolders.has(path) && this.#isWhole(path);
      }) ?? false;
    this.#known.set(folder, isWhole);
    return isWhole;
  }
}
