/**
 * The probe: bytes that a client sends to measure how fast they arrive. The call is `NAME:probe`, with blocks on its standard input:
 *
 *     block LENGTH\n    LENGTH bytes, which the host ignores
 *
 * The host answers each complete block with the event `arrived`, and the client measures the time.
 */
import type { Parsed } from '../fault.ts';

/** The most bytes of one block, and of all blocks of a call. */
export const BLOCK_LIMIT = 4 * 1024 * 1024;
const PROBE_LIMIT = 16 * 1024 * 1024;
/** The most blocks of one call. */
const BLOCKS_LIMIT = 32;
/** The host ends a call after this time; a client gives up earlier. */
export const PROBE_MS = 120_000;

const LINE_LIMIT = 16;

/** The line before a block. */
export function blockLine(bytes: number): string {
  return `block ${bytes}\n`;
}

/** Reads blocks as they arrive, and keeps no content. */
export class ProbeReader {
  #line = '';
  #size = 0;
  /** The missing bytes of the present block; 0: a line comes next. */
  #left = 0;
  #total = 0;
  #blocks = 0;

  /**
   * Takes the next bytes.
   * @returns the sizes of the blocks that they completed, in order; or why this is not a probe
   */
  take(bytes: Buffer): Parsed<number[]> {
    const whole: number[] = [];
    for (let at = 0; at < bytes.length; ) {
      if (this.#left > 0) {
        const part = Math.min(this.#left, bytes.length - at);
        this.#left -= part;
        at += part;
        if (this.#left === 0) whole.push(this.#size);
        continue;
      }
      const end = bytes.indexOf(0x0a, at);
      this.#line += bytes.toString('latin1', at, end < 0 ? Math.min(bytes.length, at + LINE_LIMIT) : end);
      if (this.#line.length >= LINE_LIMIT) return { reason: 'a line is too long' };
      if (end < 0) break;
      at = end + 1;
      const begun = this.#begin();
      if (begun !== undefined) return { reason: begun };
    }
    return { value: whole };
  }

  /** Begins the block of the present line. @returns why the line is not acceptable */
  #begin(): string | undefined {
    const digits = /^block ([1-9]\d{0,7})$/.exec(this.#line)?.[1];
    if (digits === undefined) return 'the line "block LENGTH" was expected';
    this.#line = '';
    this.#size = Number(digits);
    this.#left = this.#size;
    this.#total += this.#size;
    this.#blocks += 1;
    if (this.#size > BLOCK_LIMIT) return `a block has more than ${BLOCK_LIMIT} bytes`;
    if (this.#total > PROBE_LIMIT) return `the blocks have more than ${PROBE_LIMIT} bytes`;
    return this.#blocks > BLOCKS_LIMIT ? `there are more than ${BLOCKS_LIMIT} blocks` : undefined;
  }
}
