/** A client's entries that this host could not store, completely or without their attributes, by the client's names. */
import { ERRNO, unstoredWords } from '../os/errno.ts';
import { exists } from '../os/files.ts';
import { joinPath } from '../store/tree-path.ts';
import { MISSING_LIMIT, type Missing, type Unstored } from '../wire/events.ts';
import { PATH_LIMIT } from '../wire/request.ts';
import { type OwnFailure, readOwnFailure } from '../wire/rsync-output.ts';
import { jsonName, showName } from '../wire/text.ts';

/** The most failures that are kept. Further ones are only counted. */
const FAILURES_LIMIT = 1000;
/** The most names in a line of the journal. */
const SHOWN = 15;

/** The entries of one pull. */
export class UnstoredEntries {
  readonly #tree: string;
  readonly #failures: OwnFailure[] = [];
  readonly #named = new Map<string, Unstored>();
  #others = 0;

  /** @param tree the path of the folder that rsync writes into, as rsync prints it */
  constructor(tree: string) {
    this.#tree = tree;
  }

  /** Takes a message of the host's rsync. A message that names no entry of the client is ignored. */
  take(line: string): void {
    const failure = readOwnFailure(line, this.#tree);
    if (failure === undefined) return;
    if (this.#failures.length < FAILURES_LIMIT) this.#failures.push(failure);
    else this.#others += 1;
  }

  /** Takes a file that was left out because it is larger than the store's file system allows. */
  leaveOut({ path }: Missing): void {
    this.#name({ path, errno: ERRNO.EFBIG, part: 'entry' });
  }

  /** Finishes after the last message. Only now does the tree show which file rsync had under a temporary name. */
  finish(): void {
    for (const { names, errno, part } of this.#failures) {
      const there = names.filter(each => exists(joinPath(this.#tree, each)));
      for (const name of there.length > 0 ? there : [names[0]])
        this.#name({ path: reportedPath(name), errno, part });
    }
    this.#failures.length = 0;
  }

  /** The result after `finish()`, with each entry once. `files` has at most MISSING_LIMIT; `count` counts all. */
  get found(): { count: number; files: Unstored[] } {
    return {
      count: this.#named.size + this.#others,
      files: [...this.#named.values()].slice(0, MISSING_LIMIT),
    };
  }

  #name(entry: Unstored): void {
    const key = JSON.stringify(entry.path);
    const known = this.#named.get(key);
    if (known === undefined && this.#named.size >= FAILURES_LIMIT) this.#others += 1;
    // A missing entry is worse than missing attributes.
    else if (known === undefined || (known.part === 'attributes' && entry.part === 'entry'))
      this.#named.set(key, entry);
  }
}

/** @param name relative to the tree. It is cut at the longest path, since the client refuses a longer one. */
function reportedPath(name: Buffer): Missing['path'] {
  return jsonName(joinPath('', name).subarray(0, PATH_LIMIT));
}

/** The reason for the host's journal. */
export function unstoredText({ count, files }: UnstoredEntries['found']): string {
  const shown = files.slice(0, SHOWN);
  const names = shown.map(each => `"${showName(each.path)}" (${unstoredWords(each)})`);
  const rest = count > shown.length ? [`and ${count - shown.length} more`] : [];
  return `the host could not store all that was sent: ${[...names, ...rest].join(', ')}`;
}
