/**
 * Writes an archive to standard output. cat(1) does the writing, so that a reader that reads nothing does not keep us from
 * receiving signals.
 */
import { Fault } from '../fault.ts';
import { type Child, standard, start } from '../os/process.ts';
import { escapeText } from '../wire/text.ts';

/** Bytes that are collected before they are written. Two such buffers exist. */
const BUFFER_BYTES = 256 * 1024;
const SAID_KEPT = 1000;
const TRIED = 'write the archive';

/** Thrown when the reader has closed its end, which is no error of ours. */
export class ReaderGone extends Error {}

/** The place that an archive is written to. */
export interface ArchiveSink {
  /** @throws ReaderGone; Fault when it cannot be written */
  put(bytes: Buffer): Promise<void>;
  /**
   * Writes `size` bytes.
   * @param next puts 1 or more of the remaining bytes into a buffer, and returns how many
   * @throws as `put`; the error of `next`
   */
  fill(size: number, next: (into: Buffer) => number): Promise<void>;
  /** Writes the rest. @throws as `put` */
  end(): Promise<void>;
}

/** Collects bytes in one buffer, while another one is written. */
export abstract class BufferedSink implements ArchiveSink {
  #buffer: Buffer;
  #spare: Buffer;
  #used = 0;

  /** @param size of each buffer in bytes */
  constructor(size: number) {
    [this.#buffer, this.#spare] = [Buffer.allocUnsafe(size), Buffer.allocUnsafe(size)];
  }

  /** Begins to write bytes once those of the last call are written. They stay as they are until the next call has ended. */
  protected abstract write(bytes: Buffer): Promise<void>;

  async put(bytes: Buffer): Promise<void> {
    let from = 0;
    await this.fill(bytes.length, into => {
      const taken = bytes.copy(into, 0, from);
      from += taken;
      return taken;
    });
  }

  async fill(size: number, next: (into: Buffer) => number): Promise<void> {
    for (let left = size; left > 0; ) {
      if (this.#used === this.#buffer.length) await this.flush();
      const taken = next(this.#buffer.subarray(this.#used, this.#used + left));
      this.#used += taken;
      left -= taken;
    }
  }

  abstract end(): Promise<void>;

  protected async flush(): Promise<void> {
    await this.write(this.#buffer.subarray(0, this.#used));
    [this.#buffer, this.#spare] = [this.#spare, this.#buffer];
    this.#used = 0;
  }
}

/** Standard output. Dispose of it in any case. Its functions throw the signal's reason too. */
export class ArchiveOutput extends BufferedSink {
  readonly #child: Child;
  readonly #signal: AbortSignal;
  readonly #abort = (): void => void this.#child.end();
  #said = '';
  #writing: Promise<boolean> = Promise.resolve(true);

  private constructor(child: Child, signal: AbortSignal) {
    super(BUFFER_BYTES);
    this.#child = child;
    this.#signal = signal;
    child.stderr?.on('data', (chunk: Buffer) => {
      this.#said = (this.#said + chunk.toString('latin1')).slice(0, SAID_KEPT);
    });
    if (signal.aborted) this.#abort();
    signal.addEventListener('abort', this.#abort, { once: true });
  }

  static async open(signal: AbortSignal): Promise<ArchiveOutput> {
    return new ArchiveOutput(await start(standard('cat', []), ['pipe', 1, 'pipe']), signal);
  }

  async end(): Promise<void> {
    await this.flush();
    await this.#written();
    this.#child.stdin?.end();
    const { status } = await this.#child.ended;
    if (status !== 0) await this.#fail();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#signal.removeEventListener('abort', this.#abort);
    await this.#child.end();
  }

  protected async write(bytes: Buffer): Promise<void> {
    await this.#written();
    this.#writing = new Promise(resolve => {
      this.#child.stdin?.write(bytes, error => resolve(!error));
    });
  }

  async #written(): Promise<void> {
    if (!(await this.#writing)) await this.#fail();
    this.#signal.throwIfAborted();
  }

  /** cat(1) does not read any more: its end tells why. */
  async #fail(): Promise<never> {
    const { status, signal } = await this.#child.ended;
    this.#signal.throwIfAborted();
    if (signal === 'SIGPIPE' || status === 0) throw new ReaderGone();
    const found = /cat: (.*)$/m.exec(this.#said)?.[1] ?? 'cat failed';
    const isFull = /No space left on device|Disk quota exceeded/.test(found);
    throw new Fault({ tried: TRIED, found: escapeText(found), ...(isFull ? { exit: 'noSpace' } : {}) });
  }
}
