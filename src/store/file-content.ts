/** The content of a stored file as an archive has it: all of it, or for a sparse file a map and the parts with data. */
import { setImmediate as breathe } from 'node:timers/promises';
import { Fault } from '../fault.ts';
import { fstat, readSync } from '../os/files.ts';
import { type ArchiveEntry, encodeSparseMap, type Range } from './pax.ts';
import { SparseRanges } from './sparse-ranges.ts';

/** A multiple of the block of SparseRanges. */
const CHUNK_BYTES = 256 * 1024;
let chunk: Buffer | undefined;

/** The content of one file. */
export class FileContent {
  /** In front of the data; empty for a file that is not sparse. */
  readonly map: Buffer;
  /** The parts to copy. */
  readonly ranges: readonly Range[];
  readonly sizes: Pick<ArchiveEntry, 'sparseSize'> & { size: number };

  private constructor(size: number, ranges: readonly Range[] | undefined) {
    const whole = { start: 0, end: size };
    this.ranges = ranges ?? (size > 0 ? [whole] : []);
    this.map = ranges === undefined ? Buffer.alloc(0) : encodeSparseMap(ranges, size);
    const data = this.ranges.reduce((sum, { start, end }) => sum + end - start, 0);
    this.sizes = { size: this.map.length + data, sparseSize: ranges === undefined ? undefined : size };
  }

  /**
   * Looks for sparse regions. Only a file that takes less space than its size has any, so other files are not read here.
   * @param allocated bytes
   * @throws the error of read(2); Fault when it is not a plain file; the signal's reason
   */
  static async open(descriptor: number, allocated: number, signal: AbortSignal): Promise<FileContent> {
    const status = fstat(descriptor);
    if (!status.isFile()) throw new Fault({ tried: 'read it', found: 'it is not a plain file' });
    const { size } = status;
    if (allocated >= size) return new FileContent(size, undefined);
    const ranges = await rangesOf(descriptor, size, signal);
    const [first] = ranges;
    const isSparse = ranges.length !== 1 || first?.start !== 0 || first.end !== size;
    return new FileContent(size, isSparse ? ranges : undefined);
  }
}

async function rangesOf(descriptor: number, size: number, signal: AbortSignal): Promise<readonly Range[]> {
  const found = new SparseRanges();
  chunk ??= Buffer.allocUnsafe(CHUNK_BYTES);
  for (let at = 0; at < size; ) {
    await breathe(); // the event loop receives signals
    signal.throwIfAborted();
    const wanted = Math.min(CHUNK_BYTES, size - at);
    let got = 0;
    while (got < wanted) {
      const more = readSync(descriptor, chunk, got, wanted - got, at + got);
      if (more === 0) throw new Fault({ tried: 'read it', found: 'it has become shorter' });
      got += more;
    }
    found.take(chunk.subarray(0, got), at);
    at += got;
  }
  return found.ranges;
}
