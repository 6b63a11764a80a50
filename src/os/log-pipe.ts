/**
 * The log of a program that talks to another machine. It is a FIFO instead of a file, because the other machine decides how much the
 * program logs. We keep only its first and last bytes, so it fills neither the disk nor our memory.
 */

import { makeFifos } from './fifo.ts';
import { close, open, openFlags } from './files.ts';
import { LogEnds } from './log-ends.ts';
import type { DisposableHolder } from './runfolder.ts';
import { descriptorStream } from './streams.ts';

/** Another program can keep the FIFO open (ssh's ProxyCommand), so we do not wait longer for its end. */
const LAST_BYTES_MS = 500;

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
