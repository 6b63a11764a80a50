/** A log that is kept only at its ends. */

/** Bytes kept of the beginning and of the end: one of them has the reason of a failure. */
const END_BYTES = 1000;

/** The first and last bytes of a text. */
export class LogEnds {
  #first: Buffer = Buffer.alloc(0);
  #last: Buffer = Buffer.alloc(0);
  #left = 0;

  /** Takes the next bytes of the text. */
  add(bytes: Buffer): void {
    const room = END_BYTES - this.#first.length;
    if (room > 0) this.#first = Buffer.concat([this.#first, bytes.subarray(0, room)]);
    const rest = bytes.subarray(Math.max(0, room));
    // A copy, since a part of a buffer keeps the whole buffer in memory.
    const all = Buffer.concat([this.#last, rest.subarray(-END_BYTES)]);
    this.#left += this.#last.length + rest.length;
    this.#last = Buffer.from(all.subarray(-END_BYTES));
    this.#left -= this.#last.length;
  }

  /** @returns the whole text, or both ends with a line between them that says how many bytes were left out */
  text(): string {
    const gap = this.#left > 0 ? `\n[${this.#left} bytes left out]\n` : '';
    return `${this.#first.toString('utf8')}${gap}${this.#last.toString('utf8')}`.trim();
  }
}
