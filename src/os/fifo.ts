/** FIFOs (fifo(7)). */
import { Fault } from '../fault.ts';
import { close, open, openFlags, unlink } from './files.ts';
import { run, standard } from './process.ts';
import { descriptorStream } from './streams.ts';

/** The two ends of a pipe, as descriptors. */
interface Pipe {
  reading: number;
  writing: number;
}

/** Makes FIFOs that only this account can open (0600). @throws Fault */
export async function makeFifos(...paths: string[]): Promise<void> {
  const made = await run(standard('mkfifo', ['-m', '600', '--', ...paths]));
  if (made.status !== 0)
    throw new Fault({ tried: `create the FIFO "${paths.join('", "')}"`, found: made.stderr.trim() });
}

/**
 * Makes a pipe for another program's descriptors, which node itself neither reads nor writes (`openFifo()`).
 * @param path a free name in a private folder; this removes it again
 * @throws Fault
 */
export async function makePipe(path: string): Promise<Pipe> {
  await makeFifos(path);
  return openFifo(path);
}

/** `makePipe()` for the two directions of a connection. */
export async function makePipePair(one: string, other: string): Promise<[Pipe, Pipe]> {
  await makeFifos(one, other);
  return [openFifo(one), openFifo(other)];
}

/**
 * Opens both ends of a FIFO and removes its name. node reads a child's stdio `pipe` at once; it does not read this one.
 */
export function openFifo(path: string): Pipe {
  const both = open(path, openFlags.O_RDWR); // so that neither of the next two blocks
  const reading = open(path, openFlags.O_RDONLY);
  const writing = open(path, openFlags.O_WRONLY);
  close(both);
  unlink(path);
  return { reading, writing };
}

/** Reads a FIFO to its end without blocking a thread; `close` stops it. @param limit bytes; more rejects */
export function readFifo(path: string, limit: number): { content: Promise<Buffer>; close: () => void } {
  const socket = descriptorStream(open(path, openFlags.O_RDONLY | openFlags.O_NONBLOCK), {
    readable: true,
  });
  const content = new Promise<Buffer>((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    socket.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      size += chunk.length;
      if (size > limit) socket.destroy(new Error(`more than ${limit} bytes`));
    });
    socket.on('end', () => resolve(Buffer.concat(chunks)));
    socket.on('error', reject);
  });
  content.catch(() => {}); // the caller may have given up
  return { content, close: () => socket.destroy() };
}
