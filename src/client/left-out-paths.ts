/** The paths that a list of `packages` leaves out. */
import { parentOf, tailBehind } from '../os/byte-path.ts';
import { isWithin } from '../os/mounts.ts';

export class LeftOut {
  readonly #files = new Set<string>();
  readonly #folders = new Set<string>();

  /**
   * @param patterns of the list, as bytes
   * @param system the folder of the system for which the list was written; the paths here begin behind it
   */
  constructor(patterns: readonly string[], system: string) {
    for (const pattern of patterns) {
      const isFolder = pattern.endsWith('/*');
      const path = unescapePattern(isFolder ? pattern.slice(0, -2) : pattern, isFolder);
      if (isWithin(system, path))
        (isFolder ? this.#folders : this.#files).add(tailBehind(system, path) || '/');
    }
  }

  /** @param path a real path in the system */
  has(path: string): boolean {
    if (this.#files.has(path)) return true;
    for (let at = parentOf(path); at !== '/'; at = parentOf(at)) if (this.#folders.has(at)) return true;
    return false;
  }
}

/** The reverse of `literalPattern()`: a backslash escapes only in a pattern with a wildcard. */
function unescapePattern(text: string, isWild: boolean): string {
  return isWild || /[*?[]/.test(text) ? text.replace(/\\(.)/g, '$1') : text;
}
