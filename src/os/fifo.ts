/** FIFOs (fifo(7)). */
import { Fault } from '../fault.ts';
import { close, open, openFlags, unlink } from './files.ts';
import { run, standard } from './process.ts';
import { descriptorStream } from './streams.ts';

/** Makes FIFOs, for this account alone. @throws Fault */
export async function makeFifos(...paths: string[]): Promise<void> {
  const made = await run(standard('mkfifo', ['-m', '600', '--', ...paths]));
  if (made.status !== 0)
    throw new Fault({ tried: `create the FIFO "${paths.join('", "')}"`, found: made.stderr.trim() });
}

/**
 * A pipe that node does not read from or write to by itself (`openFifo()`): for another program's descriptors.
 * @param path a name in a private folder; it is gone when this returns
 */
export async function makePipe(path: string): Promise<{ reading: number; writing: number }> {
  await makeFifos(path);
  return openFifo(path);
}

/**
 * Two descriptors of a FIFO, reading and writing, whose name is gone when this returns: a pipe that node does
 * not read from (facts: a child's stdio `pipe` is read by node at once).
 */
export function openFifo(path: string): { reading: number; writing: number } {
  const both = open(path, openFlags.O_RDWR); // so that neither of the next two blocks
  const reading = open(path, openFlags.O_RDONLY);
  const writing = open(path, openFlags.O_WRONLY);
  close(both);
  unlink(path);
  return { reading, writing };
}

/** Reads a FIFO to its end without blocking a thread; `close` gives up. @param limit bytes */
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
