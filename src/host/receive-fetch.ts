/** The host's end of a fetch's connection: the client's lines come in, the answer goes out, and rsync takes over (wire/fetch.ts). */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { withTimeout } from '../os/async.ts';
import { descriptorStream, readInPortions } from '../os/streams.ts';
import { GO } from '../wire/channel.ts';
import { failure } from '../wire/events.ts';
import { encodePiece, FETCH_LINE_LIMIT, OFFER_VERSION, PIECE_LIMIT } from '../wire/fetch.ts';
import { DAEMON_REQUEST } from '../wire/rsync.ts';

/** The request must arrive within this time. */
const REQUEST_MS = 30_000;
/** How long the client may take to read a piece of the answer, and to begin rsync after it. */
const READING_MS = 10 * 60_000;

/** The connection until rsync has it. */
export class FetchConnection {
  readonly #signal: AbortSignal;
  readonly #input: { giveAway: () => void };
  #output: Socket | undefined;
  #partial = '';
  /** Lines that no caller has taken yet; undefined for the end of the input, and for anything that is not one line. */
  readonly #lines: (string | undefined)[] = [];
  #arrival = Promise.withResolvers<void>();

  constructor(signal: AbortSignal) {
    this.#signal = signal;
    this.#input = readInPortions(bytes => this.#take(bytes));
  }

  /** Waits for the request. @returns its line; undefined where the input is not one line, or ends, or does not come in time */
  async request(): Promise<string | undefined> {
    return await this.#nextLine(REQUEST_MS);
  }

  /** Sends a text of the answer in pieces. @throws Fault `gone` where the client does not read it */
  async send(texts: AsyncIterable<string>): Promise<void> {
    await this.#write(Buffer.from(`${OFFER_VERSION}\n`));
    let held: Buffer[] = [];
    let size = 0;
    for await (const text of texts) {
      for (let rest = Buffer.from(text); rest.length > 0; ) {
        const part = rest.subarray(0, PIECE_LIMIT - size);
        held.push(part);
        size += part.length;
        rest = rest.subarray(part.length);
        if (size < PIECE_LIMIT) continue;
        await this.#write(encodePiece(Buffer.concat(held)));
        held = [];
        size = 0;
      }
    }
    if (size > 0) await this.#write(encodePiece(Buffer.concat(held)));
    await this.#write(encodePiece(Buffer.alloc(0)));
  }

  /**
   * Waits until the client wants rsync, and agrees.
   * @returns the descriptors for rsync; `letGo` closes ours, once rsync has its own
   * @throws Fault `gone`, `request`
   */
  async handOver(): Promise<{ reading: number; writing: number; letGo: () => void }> {
    const line = await this.#nextLine(READING_MS);
    if (line === undefined) throw failure('gone', 'the client disconnected before rsync');
    if (line !== DAEMON_REQUEST) throw failure('request', 'the client asks for something else than rsync');
    await this.#write(Buffer.from(GO));
    return { reading: 0, writing: 1, letGo: this.#input.giveAway };
  }

  async #nextLine(ms: number): Promise<string | undefined> {
    const late = failure('gone', 'nothing came');
    if (this.#lines.length === 0)
      await withTimeout(this.#signal, ms, this.#arrival.promise, () => late).catch(error => {
        if (error !== late) throw error;
      });
    return this.#lines.shift();
  }

  /** @returns whether to read on: not after rsync's line, whose next bytes are rsync's */
  #take(bytes: Buffer | undefined): boolean {
    const text = this.#partial + (bytes?.toString('latin1') ?? '');
    this.#partial = text;
    if (bytes !== undefined && !text.includes('\n') && text.length < FETCH_LINE_LIMIT) return true;
    // The client waits for an answer after each line, so nothing follows it.
    const isOneLine = bytes !== undefined && text.indexOf('\n') === text.length - 1;
    const line = isOneLine ? text.slice(0, -1) : undefined;
    this.#partial = '';
    this.#lines.push(line);
    this.#arrival.resolve();
    this.#arrival = Promise.withResolvers<void>();
    return line !== undefined && line !== DAEMON_REQUEST;
  }

  async #write(bytes: Buffer): Promise<void> {
    const gone = (): Error => failure('gone', 'the client does not read the answer');
    this.#output ??= descriptorStream(1, { writable: true }).on('error', () => {});
    const output = this.#output;
    if (output.destroyed) throw gone();
    const written = new Promise<void>((resolve, reject) => {
      output.write(bytes, error => (error ? reject(gone()) : resolve()));
    });
    const closed = once(output, 'close').then(() => {
      throw gone();
    });
    closed.catch(() => {});
    await withTimeout(this.#signal, READING_MS, Promise.race([written, closed]), () =>
      failure('gone', 'the client does not read the answer'),
    );
  }
}
