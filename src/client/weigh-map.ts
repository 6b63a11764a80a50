/**
 * The heavy part of a tree, for a picture of it: each folder and file that has a share of the whole worth seeing. Light entries
 * are dropped while they come, so memory does not grow with their number. Pure.
 */
import { cacheReason } from './weigh-report.ts';
import type { Fate, File, Folder, Sink } from './weight-tree.ts';
import { sizeOf } from './weight-tree.ts';

/** An entry with the heavy entries below it. Their sum can be less than `bytes`. */
export interface MapNode {
  /** Bytes, one character each. */
  path: string;
  bytes: number;
  fate: Fate;
  /** Why its files can be created again. */
  cache: string | undefined;
  children: MapNode[];
}

/** An entry with less than this share of the whole is too small to be seen. */
const LEAST_SHARE = 1 / 2500;
/** Entries are dropped when there are this many. */
const MOST_NODES = 20_000;

export class MapSink implements Sink {
  readonly #open: MapNode[] = [];
  #top: MapNode | undefined;
  #count = 0;
  #bytes = 0;

  enter(folder: Folder): void {
    const node: MapNode = {
      ...{ path: folder.path, bytes: 0, fate: folder.fate, cache: cacheReason(folder), children: [] },
    };
    this.#open.push(node);
    this.#top ??= node;
  }

  file(file: File): void {
    const bytes = sizeOf(file);
    this.#bytes += bytes;
    this.#add({ path: file.path, bytes, fate: file.fate, cache: undefined, children: [] });
  }

  leave(folder: Folder): void {
    const node = this.#open.pop();
    if (node === undefined) return;
    node.bytes = folder.taken.bytes + folder.left.bytes;
    if (this.#open.length > 0) this.#add(node);
  }

  /** @returns the top; undefined before the first entry */
  map(): MapNode | undefined {
    this.#prune();
    return this.#top;
  }

  #add(node: MapNode): void {
    if (node.bytes < this.#bytes * LEAST_SHARE || node.bytes === 0) return;
    this.#open.at(-1)?.children.push(node);
    this.#count += 1;
    if (this.#count > MOST_NODES) this.#prune();
  }

  /** Drops entries that are too light by now: the whole has grown since they came. */
  #prune(): void {
    const least = this.#bytes * LEAST_SHARE;
    let count = 0;
    const prune = (node: MapNode): void => {
      node.children = node.children.filter(each => each.bytes >= least);
      count += node.children.length;
      for (const child of node.children) prune(child);
    };
    // A folder that is still open is not in the children of the one above it yet.
    for (const node of this.#open.length > 0 ? this.#open : this.#top ? [this.#top] : []) prune(node);
    this.#count = count;
  }
}
