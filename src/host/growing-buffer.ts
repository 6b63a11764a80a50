/** Bytes that arrive in chunks, kept in one piece: one-byte chunks take no more memory than large ones. */

const MIN_CAPACITY = 4096;

/** A buffer that grows with its content, up to twice the size of that. */
export class GrowingBuffer {
  #memory: Buffer = Buffer.alloc(0);
  /** The number of bytes added. */
  length = 0;

  /** Appends a copy of `chunk`. */
  add(chunk: Buffer): void {
    const needed = this.length + chunk.length;
    if (needed > this.#memory.length) {
      const larger = Buffer.alloc(Math.max(MIN_CAPACITY, 2 * this.#memory.length, needed));
      this.#memory.copy(larger, 0, 0, this.length);
      this.#memory.fill(0); // it can hold a part of the one-time key
      this.#memory = larger;
    }
    chunk.copy(this.#memory, this.length);
    this.length = needed;
  }

  /** All bytes, not copied: a later `add()` may zero them. */
  get content(): Buffer {
    return this.#memory.subarray(0, this.length);
  }

  /** Empties the buffer. The bytes that `content` returned before stay as they are. */
  clear(): void {
    this.#memory = Buffer.alloc(0);
    this.length = 0;
  }
}
