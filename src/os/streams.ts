/** Descriptors as streams, and the three standard streams. */
import { Socket } from 'node:net';
import { isatty } from 'node:tty';
import { Fault } from '../fault.ts';
import { close, failedWith, open, openFlags, read, readSync, write, writeSync } from './files.ts';

/** A descriptor as a stream, read and written without blocking a thread. */
export function descriptorStream(
  descriptor: number,
  ways: { readable?: boolean; writable?: boolean },
): Socket {
  return new Socket({ fd: descriptor, readable: ways.readable ?? false, writable: ways.writable ?? false });
}

/**
 * Reads one line, byte by byte: what follows it belongs to somebody else. Not for standard streams of ours: a read that
 * never comes to its end would hold up the end of this process.
 * @returns without its newline; undefined when it has no end within `limit` bytes, or none at all
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

/** Writes all of it, without blocking this thread. */
export async function writeAll(descriptor: number, bytes: Buffer): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    done += await new Promise<number>((resolve, reject) => {
      write(descriptor, bytes, done, bytes.length - done, null, (error, count) =>
        error ? reject(error) : resolve(count),
      );
    });
  }
}

/** What a portion-wise reader is told of: bytes, or the end (undefined). Its answer: whether to go on reading. */
export type Portion = (bytes: Buffer | undefined) => boolean;

/**
 * Standard input, read in portions; where `take` answers no, not a byte more is read. A stream would read
 * ahead, what it is told or not.
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
      // It lets go of a standard stream without closing it (libuv); then ours is closed.
      socket.once('close', () => replaceStandardStreams()).destroy();
    },
  };
}

/** Closes standard input and output, which others have by now; what is opened later must not come into their place. */
function replaceStandardStreams(): void {
  for (const descriptor of [0, 1]) {
    close(descriptor);
    open('/dev/null', openFlags.O_RDWR); // takes the lowest free number
  }
}

/** Reads at most `limit` bytes of standard input, to its end. */
export function readStandardInput(limit: number): Buffer {
  const chunks: Buffer[] = [];
  const chunk = Buffer.alloc(65_536);
  for (let size = 0; size <= limit; ) {
    const got = readSync(0, chunk, 0, chunk.length, null);
    if (got === 0) return Buffer.concat(chunks);
    chunks.push(Buffer.from(chunk.subarray(0, got)));
    size += got;
  }
  throw new Fault({ tried: 'read standard input', found: `more than ${limit} bytes came` });
}

const SLEEPER = new Int32Array(new SharedArrayBuffer(4));
const WRITE_PATIENCE_MS = 30_000;

let isOutputLost = false;

/** Whether standard output could not be written (a full disk, say): then a success is none. */
export function outputLost(): boolean {
  return isOutputLost;
}

/**
 * Writes text to standard output (1) or standard error (2), whole, and without node's streams: those leave a
 * pipe non-blocking for the program that `gate` becomes. A reader that has gone away is no error of ours; one
 * that reads nothing for 30 s is treated as gone.
 * @returns whether somebody still reads: who has more to say may stop
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

/** Whether a person reads along. */
export function isTerminal(descriptor: number): boolean {
  return isatty(descriptor);
}
