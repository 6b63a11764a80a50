/**
 * Adds up the sizes of a tree from its entries in order, and passes each folder on when it is complete. It holds the folders
 * above the present entry only, so its memory does not grow with the number of files. Pure.
 *
 * Paths are bytes (os/byte-path.ts).
 */
import { joinPath, tailBehind } from '../os/byte-path.ts';
import { isWithin } from '../os/mounts.ts';
import { decodeFact, type Listed, parseListedText } from '../wire/listing.ts';

/** The kinds of facts about a path. One path has its facts in this order. */
export const FACT = {
  /** The list of the run has it. */
  taken: 'a',
  /** The list without the excludes has it. */
  whole: 'b',
  /** It is a folder with a tag; the text is the tag's name. */
  tagged: 'c',
  /** It is such a folder, and a backup has only the tag of it. */
  emptied: 'd',
  /** It is a mount point that is left out. */
  mount: 'e',
  /** It is never read. */
  never: 'n',
  /** A package of the system has it. */
  packaged: 'p',
} as const;

/** The treatment of an entry by a backup. `oversized`: a file larger than `max_size`. `tagged`: the contents of a folder with a tag. */
export type Fate = 'taken' | 'excluded' | 'tagged' | 'never' | 'mount' | 'oversized';

/** The sum of several entries. Folders have no size; of hard links only the first one counts. */
export interface Weight {
  bytes: number;
  /** Entries that are no folders. */
  files: number;
}

/** A folder; its sums are complete when it is left. */
export interface Folder {
  path: string;
  fate: Fate;
  uid: number | undefined;
  mode: number | undefined;
  /** The entries that a backup reads. */
  taken: Weight;
  /** The entries that are left out, as far as they can be looked at. */
  left: Weight;
  /** The bytes of `taken` that no package has. */
  loose: number;
  /** The name of the tag that marks it as not worth a backup. */
  tag: string | undefined;
  /** Whether a backup has only the tag of it. */
  isEmptied: boolean;
}

/** An entry that is no folder. */
export interface File extends Listed {
  fate: Fate;
  isPackaged: boolean;
}

/** Receives a tree: each folder before and after everything below it. `above`: the folder that has it. */
export interface Sink {
  enter?(folder: Folder, above: Folder | undefined): void;
  file?(file: File, above: Folder): void;
  leave?(folder: Folder, above: Folder | undefined): void;
}

/** The facts about one path. */
interface Facts {
  path: string;
  taken?: Omit<Listed, 'path'>;
  whole?: Omit<Listed, 'path'>;
  tag?: string;
  isEmptied?: true;
  isMount?: true;
  isNever?: true;
  isPackaged?: true;
}

export class WeightTree {
  readonly #stack: Folder[] = [];
  readonly #sinks: readonly Sink[];
  readonly #maxSize: number;
  #facts: Facts | undefined;

  /** @param top entries outside of it are ignored; @param maxSize larger files are left out */
  constructor(top: string, sinks: readonly Sink[], maxSize = Number.POSITIVE_INFINITY) {
    this.#sinks = sinks;
    this.#maxSize = maxSize;
    this.#enter(newFolder(top, 'taken'));
  }

  /** @param record as `encodeFact()` writes it. The records come in the order of their bytes */
  take(record: string): void {
    const { kind, path, text } = decodeFact(record);
    if (this.#facts?.path !== path) {
      this.#settle();
      this.#facts = { path };
    }
    const facts = this.#facts as Facts;
    if (kind === FACT.taken) facts.taken = parseListedText(text);
    if (kind === FACT.whole) facts.whole = parseListedText(text);
    if (kind === FACT.tagged) facts.tag = text;
    if (kind === FACT.emptied) facts.isEmptied = true;
    if (kind === FACT.mount) facts.isMount = true;
    if (kind === FACT.never) facts.isNever = true;
    if (kind === FACT.packaged) facts.isPackaged = true;
  }

  /** @returns the top folder, complete */
  end(): Folder {
    this.#settle();
    while (this.#stack.length > 1) this.#leave();
    const [top] = this.#stack;
    this.#leave();
    return top as Folder;
  }

  /** Takes the entry whose facts are complete. */
  #settle(): void {
    const facts = this.#facts;
    this.#facts = undefined;
    const fate = facts && fateOf(facts, this.#maxSize);
    const top = this.#stack[0]?.path ?? '/';
    if (facts === undefined || fate === undefined) return;
    const path = `/${facts.path}`;
    if (!isWithin(top, path)) return;
    const listed = facts.taken ?? facts.whole;
    const isFolder = listed?.type === 'folder';
    if (path === top && isFolder) {
      Object.assign(this.#stack[0] as Folder, described(facts, fate));
      return;
    }
    const above = this.#climbTo(path);
    if (isFolder) {
      this.#enter({ ...newFolder(path, fate), ...described(facts, fate) });
      return;
    }
    const file: File = { ...(listed ?? UNKNOWN), path, fate, isPackaged: facts.isPackaged === true };
    count(above, file);
    for (const sink of this.#sinks) sink.file?.(file, above);
  }

  /** Leaves the folders that do not have the path, and enters those above it that no list has. @returns the last one */
  #climbTo(path: string): Folder {
    let at = this.#stack.at(-1) as Folder;
    while (!isWithin(at.path, path) || at.path === path) {
      if (this.#stack.length === 1) return at;
      this.#leave();
      at = this.#stack.at(-1) as Folder;
    }
    const names = tailBehind(at.path, path).split('/').slice(1, -1);
    for (const name of names) {
      at = newFolder(joinPath(at.path, `/${name}`), at.fate);
      this.#enter(at);
    }
    return at;
  }

  #enter(folder: Folder): void {
    const above = this.#stack.at(-1);
    this.#stack.push(folder);
    for (const sink of this.#sinks) sink.enter?.(folder, above);
  }

  #leave(): void {
    const folder = this.#stack.pop() as Folder;
    const above = this.#stack.at(-1);
    if (above) {
      add(above.taken, folder.taken);
      add(above.left, folder.left);
      above.loose += folder.loose;
    }
    for (const sink of this.#sinks) sink.leave?.(folder, above);
  }
}

const UNKNOWN: Omit<Listed, 'path'> = {
  type: 'other',
  isTwin: false,
  size: 0,
  uid: 0,
  mode: 0,
  mtime: undefined,
};

function newFolder(path: string, fate: Fate): Folder {
  const none = { uid: undefined, mode: undefined, tag: undefined, isEmptied: false };
  return { path, fate, ...none, taken: { bytes: 0, files: 0 }, left: { bytes: 0, files: 0 }, loose: 0 };
}

function described(
  { taken, whole, tag, isEmptied }: Facts,
  fate: Fate,
): Pick<Folder, 'fate' | 'tag' | 'isEmptied' | 'uid' | 'mode'> {
  const listed = taken ?? whole;
  return { fate, tag, isEmptied: isEmptied ?? false, uid: listed?.uid, mode: listed?.mode };
}

/** @returns undefined where no list has the entry, and it is not kept back either */
function fateOf({ taken, whole, isMount, isNever }: Facts, maxSize: number): Fate | undefined {
  if (isNever) return 'never';
  if (isMount) return 'mount';
  if (taken?.type === 'file' && taken.size > maxSize) return 'oversized';
  if (taken) return 'taken';
  return whole ? 'excluded' : undefined;
}

function count(above: Folder, file: File): void {
  const isTaken = file.fate === 'taken';
  const sum = isTaken ? above.taken : above.left;
  const bytes = sizeOf(file);
  sum.bytes += bytes;
  sum.files += 1;
  if (isTaken && !file.isPackaged) above.loose += bytes;
}

/** The bytes that an entry counts with: du(1) counts plain files and symbolic links, and each inode once. */
export function sizeOf({ type, isTwin, size }: Pick<Listed, 'type' | 'isTwin' | 'size'>): number {
  return isTwin || (type !== 'file' && type !== 'link') ? 0 : size;
}

function add(sum: Weight, { bytes, files }: Weight): void {
  sum.bytes += bytes;
  sum.files += files;
}
