/**
 * Chooses the entries of a drill at random. A uniform choice would take small files only, because nearly all entries
 * are small files. So there are classes: folders, and files by their size. Each class keeps a uniform random part of its
 * entries, and the choice takes one from each class in turn. Pure: the caller supplies the random numbers.
 */
import { isUnread, type ManifestEntry } from './mtree.ts';

/** A random integer from 0 up to, but not including, `below`. */
export type Random = (below: number) => number;

/** The limits of a choice. */
export interface ChoiceLimits {
  /** Entries. */
  count: number;
  /** Bytes of all chosen files and of the files in chosen folders. */
  bytes: number;
  /** Names in all chosen folders. */
  names: number;
  /** Bytes of the longest path. */
  path: number;
  /** Bytes of all paths, which are arguments of rsync. */
  paths: number;
}

/** A file, or a folder with everything below it. */
export interface Candidate {
  /** Below the tree, one character per byte. */
  path: string;
  isFolder: boolean;
  /** For a folder, the sum of all files in it. */
  bytes: number;
  /** 1 for a file. For a folder, itself and everything in it. */
  names: number;
}

/** The largest sizes of small and of medium files, in bytes. */
const SIZES = [4096, 1024 ** 2];

/** Algorithm R (Vitter, "Random sampling with a reservoir", 1985): each entry stays with the same probability. */
class Reservoir {
  readonly kept: Candidate[] = [];
  readonly #capacity: number;
  readonly #random: Random;
  #seen = 0;

  constructor(capacity: number, random: Random) {
    this.#capacity = capacity;
    this.#random = random;
  }

  add(candidate: Candidate): void {
    this.#seen += 1;
    if (this.kept.length < this.#capacity) this.kept.push(candidate);
    else {
      const at = this.#random(this.#seen);
      if (at < this.#capacity) this.kept[at] = candidate;
    }
  }
}

/** The candidates of a choice, from one reading of a manifest; a second reading measures the folders. */
export class Candidates {
  readonly #limits: ChoiceLimits;
  readonly #random: Random;
  readonly #folders: Reservoir;
  readonly #files: Reservoir[];
  readonly #measured = new Map<string, Candidate>();
  /** Entries that can be chosen, without the top. */
  entries = 0;
  /** Files with more bytes than the limit. They are not chosen. */
  tooLarge = 0;

  constructor(limits: ChoiceLimits, random: Random) {
    this.#limits = limits;
    this.#random = random;
    this.#folders = new Reservoir(limits.count, random);
    this.#files = [...SIZES, 0].map(() => new Reservoir(limits.count, random));
  }

  /** Takes an entry of the first reading. An entry that could not be read has no digest to compare with. */
  take(entry: ManifestEntry): void {
    const { path, type, size } = entry;
    if (path === '' || path.length > this.#limits.path || isUnread(entry)) return;
    if (size > this.#limits.bytes) {
      this.tooLarge += 1;
      return;
    }
    this.entries += 1;
    if (type === 'dir') this.#folders.add({ path, isFolder: true, bytes: 0, names: 0 });
    else this.#fileClass(size)?.add({ path, isFolder: false, bytes: size, names: 1 });
  }

  #fileClass(size: number): Reservoir | undefined {
    const at = SIZES.findIndex(limit => size <= limit);
    return this.#files.at(at);
  }

  /** Takes an entry of the second reading, and adds it to the candidates that are folders above it. */
  measure({ path, size }: ManifestEntry): void {
    if (this.#measured.size === 0) for (const each of this.#folders.kept) this.#measured.set(each.path, each);
    for (let end = path.length; end > 0; end = path.lastIndexOf('/', end - 1)) {
      const folder = this.#measured.get(path.slice(0, end));
      if (folder === undefined) continue;
      folder.bytes += size;
      folder.names += 1;
    }
  }

  /** Chooses within the limits: one entry of each class in turn, until the limits are reached or all are tried. */
  choose(): Candidate[] {
    const classes = [this.#folders, ...this.#files].map(each => [...each.kept]);
    const chosen: Candidate[] = [];
    const left = { ...this.#limits };
    const first = this.#random(classes.length);
    for (let turn = first; classes.some(each => each.length > 0) && left.count > 0; turn += 1) {
      const kind = classes[turn % classes.length] ?? [];
      if (kind.length === 0) continue;
      const [candidate] = kind.splice(this.#random(kind.length), 1);
      if (candidate === undefined || !fits(candidate, left) || isCovered(candidate, chosen)) continue;
      chosen.push(candidate);
      left.count -= 1;
      left.bytes -= candidate.bytes;
      left.names -= candidate.names;
      left.paths -= candidate.path.length;
    }
    return chosen;
  }
}

function fits({ path, bytes, names }: Candidate, left: ChoiceLimits): boolean {
  return bytes <= left.bytes && names <= left.names && path.length <= left.paths;
}

/** Whether a chosen folder contains a candidate. */
export function isCovered({ path }: Candidate, chosen: readonly Candidate[]): boolean {
  return chosen.some(each => each.isFolder && path.startsWith(`${each.path}/`));
}
