/** Paths inside of a system that is mounted in a folder. Its absolute symbolic links begin at that folder, not at `/`. */
import { joinPath, parentOf } from '../os/byte-path.ts';
import { lstat, readlink } from '../os/files.ts';

/** The kernel's own limit (path_resolution(7)). */
const LINKS_LIMIT = 40;

/**
 * Finds the real places of files in a system, each folder once.
 *
 * dpkg names files as their packages do. On a system whose /bin is a link to /usr/bin, it lists /bin/ls for the file /usr/bin/ls.
 */
export class InnerPaths {
  readonly #system: string;
  readonly #folders = new Map<string, string | undefined>([['/', '/']]);

  /** @param system the absolute path of the system's folder, as bytes; `/`: this system */
  constructor(system: string) {
    this.#system = system === '/' ? '' : system;
  }

  /** The path on this machine of a path of the system. */
  outside(path: string): Buffer {
    return Buffer.from(`${this.#system}${path}`, 'latin1');
  }

  /** @returns the path in the system without symbolic links above its last part; undefined where there is no such folder */
  place(path: string): string | undefined {
    const folder = this.#folder(parentOf(path), LINKS_LIMIT);
    if (folder === undefined) return undefined;
    return joinPath(folder, lastPart(path));
  }

  /** @returns as `place()`, and its last part is no symbolic link either. @throws the error of lstat(2), but not ENOENT */
  realPlace(path: string): string | undefined {
    return this.#real(path, LINKS_LIMIT);
  }

  /** @returns as `place()`, also where folders on the way do not exist yet; undefined where the way does not lead through folders */
  futurePlace(path: string): string | undefined {
    const known = this.place(path);
    if (known !== undefined) return known;
    const above = this.futurePlace(parentOf(path));
    if (above === undefined || lstat(this.outside(above), { throwIfNoEntry: false }) !== undefined)
      return undefined;
    return joinPath(above, lastPart(path));
  }

  /** Whether a path is a folder, or a symbolic link to one. */
  isFolder(path: string): boolean {
    return this.#folder(path, LINKS_LIMIT) !== undefined;
  }

  #folder(path: string, links: number): string | undefined {
    if (this.#folders.has(path)) return this.#folders.get(path);
    const found = this.#follow(path, links);
    this.#folders.set(path, found);
    return found;
  }

  #follow(path: string, links: number): string | undefined {
    try {
      const at = this.#real(path, links);
      return at !== undefined && lstat(this.outside(at)).isDirectory() ? at : undefined;
    } catch {
      return undefined;
    }
  }

  #real(path: string, links: number): string | undefined {
    const above = this.#folder(parentOf(path), links);
    if (above === undefined || links === 0) return undefined;
    const at = joinPath(above, lastPart(path));
    if (!lstat(this.outside(at), { throwIfNoEntry: false })?.isSymbolicLink()) return at;
    const target = readlink(this.outside(at)).toString('latin1');
    const real = joinTarget(target.startsWith('/') ? '/' : above, target);
    return real === undefined ? undefined : this.#real(real, links - 1);
  }
}

/** The last name of a path, with the slash in front. */
function lastPart(path: string): string {
  return path.slice(path.lastIndexOf('/'));
}

/**
 * Joins the target of a symbolic link to the real folder that it begins in.
 * @returns undefined if a `..` stands behind a name: the name may be a link, too
 */
function joinTarget(folder: string, target: string): string | undefined {
  const parts = folder.split('/').filter(part => part !== '');
  let hasName = false;
  for (const part of target.split('/')) {
    if (part === '' || part === '.') continue;
    if (part === '..') {
      if (hasName) return undefined;
      parts.pop();
      continue;
    }
    hasName = true;
    parts.push(part);
  }
  return `/${parts.join('/')}`;
}
