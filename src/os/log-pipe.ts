/**
 * The log of a program that talks to another machine. It is a FIFO instead of a file, because the other machine decides how much the
 * program logs. We keep only its first and last bytes, so it fills neither the disk nor our memory.
 */

import { makeFifos } from './fifo.ts';
import { close, open, openFlags } from './files.ts';
import type { DisposableHolder } from './runfolder.ts';
import { descriptorStream } from './streams.ts';

/** Bytes kept of the beginning and of the end: one of them has the reason of a failure. */
const END_BYTES = 1000;
/** Another program can keep the FIFO open (ssh's ProxyCommand), so we do not wait longer for its end. */
const LAST_BYTES_MS = 500;

/** The first and last bytes of a text. */
export class LogEnds {
  #first: Buffer = Buffer.alloc(0);
  #last: Buffer = Buffer.alloc(0);
  #left = 0;

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

/** An open log. */
interface LogPipe {
  /** The path to pass to the program as its log file. */
  path: string;
  /** The log. Call it when the program has exited: it reads no more after that. */
  words(): Promise<string>;
}

/** Makes the FIFO and closes it when `held` is released. @param path a free name in a private folder @throws Fault */
export async function openLogPipe(held: DisposableHolder, path: string): Promise<LogPipe> {
  await makeFifos(path);
  const ends = new LogEnds();
  const both = open(path, openFlags.O_RDWR); // so that the program's open(2) does not block, and the log does not end early
  const reading = open(path, openFlags.O_RDONLY | openFlags.O_NONBLOCK);
  let isOpen = true;
  const letGo = (): void => {
    if (isOpen) close(both);
    isOpen = false;
  };
  const stream = descriptorStream(reading, { readable: true });
  stream.on('data', (chunk: Buffer) => ends.add(chunk)).on('error', () => {});
  const over = new Promise<void>(resolve => stream.once('close', () => resolve()));
  held.defer(() => {
    letGo();
    stream.destroy();
  });
  return {
    path,
    words: async () => {
      letGo();
      await Promise.race([over, new Promise(resolve => setTimeout(resolve, LAST_BYTES_MS).unref())]);
      return ends.text();
    },
  };
}
