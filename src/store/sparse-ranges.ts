/**
 * Finds the parts of a sparse file that have data. A block of zeros is none, as for rsync's --sparse, which has written
 * the file. So the result depends on the content, not on the file system of the store.
 */
import type { Range } from './pax.ts';

/** The block of most file systems. */
const BLOCK_BYTES = 4096;
/** A file can have a part for every second block. Beyond this number, parts with small gaps become one. */
const MOST_RANGES = 8192;

/** Collects the parts with data, in memory of a limited size. */
export class SparseRanges {
  readonly #most: number;
  #ranges: Range[] = [];
  /** A shorter sparse region becomes data. */
  #leastGap = BLOCK_BYTES;

  constructor(most = MOST_RANGES) {
    this.#most = most;
  }

  /** @param offset of the chunk in the file: a multiple of the block, and behind the chunk before it */
  take(chunk: Buffer, offset: number): void {
    if (isZero(chunk)) return;
    for (let at = 0; at < chunk.length; at += BLOCK_BYTES) {
      const block = chunk.subarray(at, at + BLOCK_BYTES);
      if (!isZero(block)) this.#add({ start: offset + at, end: offset + at + block.length });
    }
  }

  /** The parts, in order. */
  get ranges(): readonly Range[] {
    return this.#ranges;
  }

  #add(range: Range): void {
    this.#append(range);
    while (this.#ranges.length > this.#most) {
      this.#leastGap *= 2;
      const all = this.#ranges;
      this.#ranges = [];
      for (const each of all) this.#append(each);
    }
  }

  #append(range: Range): void {
    const last = this.#ranges.at(-1);
    if (last !== undefined && range.start - last.end < this.#leastGap) last.end = range.end;
    else this.#ranges.push(range);
  }
}

let zeros = Buffer.alloc(0);

function isZero(bytes: Buffer): boolean {
  if (zeros.length < bytes.length) zeros = Buffer.alloc(bytes.length);
  return bytes.equals(zeros.subarray(0, bytes.length));
}
