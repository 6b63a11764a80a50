/**
 * The probe: bytes that a client sends only to learn how fast they arrive. A call `NAME:probe`; on its standard input blocks,
 *
 *     block LENGTH\n    LENGTH bytes, which nobody looks at
 *
 * each of which the host answers with the event `arrived` once all of it is here. The client's clock does the rest.
 */
import type { Parsed } from '../fault.ts';

/** The most bytes that one block may have, and all blocks of a call. */
export const BLOCK_LIMIT = 4 * 1024 * 1024;
export const PROBE_LIMIT = 16 * 1024 * 1024;
/** The most blocks of one call. */
export const BLOCKS_LIMIT = 32;
/** A call ends after this, on the host; a client gives up before. */
export const PROBE_MS = 120_000;

const LINE_LIMIT = 16;

/** What stands before a block. */
export function blockLine(bytes: number): string {
  return `block ${bytes}\n`;
}

/** Reads blocks as they come, and keeps nothing of them. */
export class ProbeReader {
  #line = '';
  #size = 0;
  /** Of the block that is coming; 0: a line comes next. */
  #left = 0;
  #total = 0;
  #blocks = 0;

  /**
   * Takes what has come.
   * @returns the sizes of the blocks that are whole now, in order; or why this is no probe
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
      if (this.#line.length >= LINE_LIMIT) return { reason: 'a line is longer than such lines are' };
      if (end < 0) break;
      at = end + 1;
      const begun = this.#begin();
      if (begun !== undefined) return { reason: begun };
    }
    return { value: whole };
  }

  /** @returns why this line is none */
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
