/**
 * Reads a part of a folder of a snapshot: a number of its entries in the order of their names. A folder can have millions of entries,
 * so only the names of the part are kept, and only its entries are read.
 */
import { namesIn, whatFailed } from '../os/files.ts';
import { escapeText, jsonName, showName } from '../wire/text.ts';
import type { TreeEntry } from './fake-super.ts';
import { storedEntry, storedEntryIfThere } from './stored-entry.ts';
import { readAttributes } from './stored-tree.ts';
import { joinPath } from './tree-path.ts';

/** Which part: the names behind one, or those in front of one; the first ones without either. */
export interface Part {
  after?: Buffer | undefined;
  before?: Buffer | undefined;
  /** How many entries. */
  count: number;
}

/** A part of a folder. */
export interface FolderPage {
  entries: TreeEntry[];
  /** How many entries the folder has. */
  total: number;
  /** Whether there are entries in front of these, and behind them. */
  hasEarlier: boolean;
  hasLater: boolean;
  /** A text for each entry that cannot be read. */
  unread: string[];
}

/**
 * Reads a part of a folder.
 * @param tree of a snapshot
 * @param inside the folder's path below it
 * @throws the error of opendir(3); the signal's reason
 */
export async function readFolderPage(
  tree: string,
  inside: Buffer,
  part: Part,
  signal: AbortSignal,
): Promise<FolderPage> {
  const { names, total, hasEarlier, hasLater } = await chooseNames(joinPath(tree, inside), part, signal);
  const unread: string[] = [];
  const complain = (found: string): void => void unread.push(found);
  const stored = names.flatMap(name => {
    const path = inside.length === 0 ? name : Buffer.concat([inside, SLASH, name]);
    try {
      return [storedEntry(tree, path)];
    } catch (error) {
      complain(`"${showName(jsonName(path))}": ${escapeText(whatFailed(error))}`);
      return [];
    }
  });
  return {
    entries: await readAttributes(tree, stored, signal, complain),
    total,
    hasEarlier,
    hasLater,
    unread,
  };
}

const SLASH = Buffer.from('/');

/** Reads an entry as it was on the client; undefined if the snapshot does not have it. @throws the error of lstat(2); Fault */
export async function readEntry(
  tree: string,
  path: Buffer,
  signal: AbortSignal,
): Promise<TreeEntry | undefined> {
  const stored = storedEntryIfThere(tree, path);
  return stored && (await readAttributes(tree, [stored], signal))[0];
}

interface Chosen extends Omit<FolderPage, 'entries' | 'unread'> {
  names: Buffer[];
}

async function chooseNames(
  folder: Buffer,
  { after, before, count }: Part,
  signal: AbortSignal,
): Promise<Chosen> {
  const isBackward = before !== undefined;
  const limit = before ?? after;
  const order = (one: Buffer, other: Buffer): number => Buffer.compare(one, other) * (isBackward ? -1 : 1);
  const nearest = new Nearest(count, order);
  let [total, others, wanted] = [0, 0, 0];
  for await (const name of namesIn(folder)) {
    total += 1;
    if (total % NAMES_BETWEEN === 0) signal.throwIfAborted();
    if (limit !== undefined && order(name, limit) <= 0) others += 1;
    else {
      wanted += 1;
      nearest.add(name);
    }
  }
  const names = nearest.names();
  const hasMore = wanted > names.length;
  return isBackward
    ? { names: names.reverse(), total, hasEarlier: hasMore, hasLater: others > 0 }
    : { names, total, hasEarlier: others > 0, hasLater: hasMore };
}

/** Names between two looks at the signal. */
const NAMES_BETWEEN = 10_000;

/** Keeps the first names of any number in an order. */
class Nearest {
  readonly #count: number;
  readonly #order: (one: Buffer, other: Buffer) => number;
  #kept: Buffer[] = [];
  /** Names from here on are not among the first; undefined while there are not enough. */
  #end: Buffer | undefined;

  constructor(count: number, order: (one: Buffer, other: Buffer) => number) {
    this.#count = count;
    this.#order = order;
  }

  add(name: Buffer): void {
    if (this.#end !== undefined && this.#order(name, this.#end) >= 0) return;
    this.#kept.push(name);
    if (this.#kept.length >= 4 * this.#count) this.#shorten();
  }

  names(): Buffer[] {
    this.#shorten();
    return this.#kept;
  }

  #shorten(): void {
    this.#kept.sort(this.#order);
    this.#kept.length = Math.min(this.#kept.length, this.#count);
    if (this.#kept.length === this.#count) this.#end = this.#kept.at(-1);
  }
}
