/**
 * The log of a program that talks to another machine, as a FIFO in place of a file: how much it writes there is up to that
 * machine. It is read as it comes, and only its first and its last bytes are held, so it fills neither the disk nor our memory.
 */

import { makeFifos } from './fifo.ts';
import { close, open, openFlags } from './files.ts';
import type { DisposableHolder } from './runfolder.ts';
import { descriptorStream } from './streams.ts';

/** Bytes held of the log's beginning, and of its end: a reason stands in one of them. */
const END_BYTES = 1000;
/** Another program can hold the FIFO open (ssh's ProxyCommand). */
const LAST_BYTES_MS = 500;

/** The two ends of a text. */
export class LogEnds {
  #first: Buffer = Buffer.alloc(0);
  #last: Buffer = Buffer.alloc(0);
  #left = 0;

  add(bytes: Buffer): void {
    const room = END_BYTES - this.#first.length;
    if (room > 0) this.#first = Buffer.concat([this.#first, bytes.subarray(0, room)]);
    const rest = bytes.subarray(Math.max(0, room));
    // Copied: a part of a large buffer would keep all of it.
    const all = Buffer.concat([this.#last, rest.subarray(-END_BYTES)]);
    this.#left += this.#last.length + rest.length;
    this.#last = Buffer.from(all.subarray(-END_BYTES));
    this.#left -= this.#last.length;
  }

  /** @returns all of it, or both ends and between them, on a line of its own, how much was left out */
  text(): string {
    const gap = this.#left > 0 ? `\n[${this.#left} bytes left out]\n` : '';
    return `${this.#first.toString('utf8')}${gap}${this.#last.toString('utf8')}`.trim();
  }
}

/** A log under way. */
export interface LogPipe {
  /** What the program is given as its log file. */
  path: string;
  /** What it has written. To be called when it has ended: nothing is taken after that. */
  words(): Promise<string>;
}

/** Makes the FIFO. It is closed when `held` is released. @param path a new name in a private folder */
export async function openLogPipe(held: DisposableHolder, path: string): Promise<LogPipe> {
  await makeFifos(path);
  const ends = new LogEnds();
  const both = open(path, openFlags.O_RDWR); // so that the program's open does not wait, and its log has no end before it
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
