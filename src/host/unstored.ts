/** Entries of a client that this host could not store, or whose attributes it could not store, by the client's names. */
import { ERRNO, unstoredWords } from '../os/errno.ts';
import { exists } from '../os/files.ts';
import { MISSING_LIMIT, type Missing, type Unstored } from '../wire/events.ts';
import { PATH_LIMIT } from '../wire/request.ts';
import { type OwnFailure, readOwnFailure } from '../wire/rsync-output.ts';
import { jsonName, showName } from '../wire/text.ts';

/** Failures that are kept until the run ends. More of them are only counted. */
const FAILURES_LIMIT = 1000;
/** Names in a line of the journal. */
const SHOWN = 15;

/** Those of one pull. */
export class UnstoredEntries {
  readonly #tree: string;
  readonly #failures: OwnFailure[] = [];
  readonly #named = new Map<string, Unstored>();
  #others = 0;

  /** @param tree the folder that rsync writes into, as rsync knows it */
  constructor(tree: string) {
    this.#tree = tree;
  }

  /** Takes a message of the host's own rsync; one that names no entry of the client's is passed over. */
  take(line: string): void {
    const failure = readOwnFailure(line, this.#tree);
    if (failure === undefined) return;
    if (this.#failures.length < FAILURES_LIMIT) this.#failures.push(failure);
    else this.#others += 1;
  }

  /** Takes a file that is larger than the store's file system takes, and was left out. */
  leaveOut({ path }: Missing): void {
    this.#name({ path, errno: ERRNO.EFBIG, part: 'entry' });
  }

  /** The run has ended: which file rsync had under a temporary name the tree tells now. */
  finish(): void {
    for (const { names, errno, part } of this.#failures) {
      const there = names.filter(each => exists(Buffer.concat([Buffer.from(`${this.#tree}/`), each])));
      for (const name of there.length > 0 ? there : [names[0]])
        this.#name({ path: clientPath(name), errno, part });
    }
    this.#failures.length = 0;
  }

  /** What can be told after `finish()`: each entry once; `files` has at most MISSING_LIMIT. */
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
    // An entry that is not there at all lacks more than its attributes.
    else if (known === undefined || (known.part === 'attributes' && entry.part === 'entry'))
      this.#named.set(key, entry);
  }
}

/** @param name below the tree; longer than a path can be, it is cut, so that the client takes what it is told of it */
function clientPath(name: Buffer): Missing['path'] {
  return jsonName(Buffer.concat([Buffer.from('/'), name]).subarray(0, PATH_LIMIT));
}

/** For the host's journal. */
export function unstoredText({ count, files }: UnstoredEntries['found']): string {
  const shown = files.slice(0, SHOWN);
  const names = shown.map(each => `"${showName(each.path)}" (${unstoredWords(each)})`);
  const rest = count > shown.length ? [`and ${count - shown.length} more`] : [];
  return `of what was sent, not all could be stored: ${[...names, ...rest].join(', ')}`;
}
