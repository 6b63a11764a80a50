/** Descriptors as streams, and the three standard streams. */
import { Socket } from 'node:net';
import { isatty } from 'node:tty';
import { Fault } from '../fault.ts';
import { close, failedWith, open, openFlags, read, readSync, write, writeSync } from './files.ts';

/** Makes a stream of a descriptor, which is read and written without blocking a thread. */
export function descriptorStream(
  descriptor: number,
  ways: { readable?: boolean; writable?: boolean },
): Socket {
  return new Socket({ fd: descriptor, readable: ways.readable ?? false, writable: ways.writable ?? false });
}

/**
 * Reads one line, byte by byte, because another program reads the bytes after it. Do not use it for our own standard streams: a
 * read that does not return would keep this process from exiting.
 * @returns the line without its newline; undefined when there is no newline within `limit` bytes
 */
export async function readLineAlone(descriptor: number, limit: number): Promise<string | undefined> {
  const byte = Buffer.alloc(1);
  let line = '';
  while (line.length <= limit) {
    const got = await new Promise<number>((resolve, reject) => {
      read(descriptor, byte, 0, 1, null, (error, count) => (error ? reject(error) : resolve(count)));
    });
    if (got === 0) return undefined;
    if (byte[0] === 0x0a) return line;
    line += byte.toString('latin1');
  }
  return undefined;
}

/** Writes all bytes without blocking this thread. */
export async function writeAll(descriptor: number, bytes: Buffer): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    done += await new Promise<number>((resolve, reject) => {
      write(descriptor, bytes, done, bytes.length - done, null, (error, count) =>
        error ? reject(error) : resolve(count),
      );
    });
  }
}

/** Receives the next bytes, or undefined at the end. Returns whether to read more. */
type Portion = (bytes: Buffer | undefined) => boolean;

/**
 * Reads standard input in chunks, and no further byte after `take` has returned false. A stream of node's would read ahead.
 */
export function readInPortions(take: Portion): { giveAway: () => void } {
  let isOver = false;
  const end = (): void => {
    if (isOver) return;
    isOver = true;
    take(undefined);
  };
  const options = {
    fd: 0,
    readable: true,
    writable: false,
    onread: {
      buffer: Buffer.alloc(65_536),
      callback: (count: number, bytes: Uint8Array) => take(Buffer.from(bytes.subarray(0, count))),
    },
  };
  const socket = new Socket(options).on('end', end).on('error', end);
  socket.resume();
  return {
    giveAway: () => {
      isOver = true;
      // libuv does not close a standard stream, so we do.
      socket.once('close', () => replaceStandardStreams()).destroy();
    },
  };
}

/** Closes standard input and output, which other programs have now. /dev/null takes their numbers, so that no later file can. */
export function replaceStandardStreams(): void {
  for (const descriptor of [0, 1]) {
    close(descriptor);
    open('/dev/null', openFlags.O_RDWR); // gets the lowest free number
  }
}

/** Reads standard input to its end. @throws Fault when it has more than `limit` bytes */
export function readStandardInput(limit: number): Buffer {
  return readToEnd(0, limit, 'read standard input');
}

/** Reads a descriptor to its end. @param tried for the message @throws Fault when it has more than `limit` bytes */
export function readToEnd(descriptor: number, limit: number, tried: string): Buffer {
  const chunks: Buffer[] = [];
  const chunk = Buffer.alloc(65_536);
  for (let size = 0; size <= limit; ) {
    const got = readSync(descriptor, chunk, 0, chunk.length, null);
    if (got === 0) return Buffer.concat(chunks);
    chunks.push(Buffer.from(chunk.subarray(0, got)));
    size += got;
  }
  throw new Fault({ tried, found: `more than ${limit} bytes came` });
}

const SLEEPER = new Int32Array(new SharedArrayBuffer(4));
const WRITE_PATIENCE_MS = 30_000;

let isOutputLost = false;

/** Whether a write to standard output has failed (a full disk, for example): then the command has failed too. */
export function outputLost(): boolean {
  return isOutputLost;
}

/**
 * Writes all of a text to standard output (1) or standard error (2). It does not use node's streams: those leave a pipe
 * non-blocking for the program that `gate` execs. A closed pipe is not an error. A reader that reads nothing for 30 s counts as
 * closed.
 * @returns false when the reader is gone: the caller can stop printing
 */
export function say(descriptor: 1 | 2, text: string): boolean {
  let rest: Uint8Array = Buffer.from(text);
  let waitedMs = 0;
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(descriptor, rest));
      waitedMs = 0;
    } catch (error) {
      if (!failedWith(error, 'EAGAIN') || waitedMs >= WRITE_PATIENCE_MS) {
        if (descriptor === 1 && !failedWith(error, 'EPIPE')) isOutputLost = true;
        return false;
      }
      Atomics.wait(SLEEPER, 0, 0, 10);
      waitedMs += 10;
    }
  }
  return true;
}

/** Whether a descriptor is a terminal. */
export function isTerminal(descriptor: number): boolean {
  return isatty(descriptor);
}
