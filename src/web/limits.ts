/** The limits of the server, and the choice of the connection that makes room for a new one. */
import type { Socket } from 'node:net';

/** Connections. The jail allows 1,024 descriptors, and a download needs one more for its file. */
export const MOST_CONNECTIONS = 400;
/** Pages and downloads at the same time. Others get status 503. */
export const MOST_PAGES = 8;
export const MOST_DOWNLOADS = 16;
/** Bytes of the request line with all headers. */
export const HEADER_BYTES = 24 * 1024;
export const MOST_HEADERS = 60;
/** Bytes of a form. */
export const FORM_BYTES = 2048;
/** The longest time for the headers, and for a request with its form. */
export const HEADERS_MS = 10_000;
export const REQUEST_MS = 15_000;
/** How long a connection may be idle between requests, and may take no bytes of a response. */
export const KEEP_ALIVE_MS = 10_000;
export const STALLED_MS = 60_000;
/** The longest time for a page. */
export const PAGE_MS = 60_000;
export const PAGE_BYTES = 4 * 1024 * 1024;
/** V8's heap. The jail limits all memory. */
export const HEAP_MB = 512;
export const REQUESTS_OF_CONNECTION = 1000;

/**
 * The open connections. If there are too many, the one that has waited longest without a complete request is closed. So slow
 * connections push each other out, and a client that sends its request at once is served.
 */
export class Connections {
  readonly #most: number;
  /** In the order in which they began to wait. */
  readonly #waiting = new Set<Socket>();
  readonly #busy = new Set<Socket>();

  constructor(most: number) {
    this.#most = most;
  }

  /** Takes a new connection; closes one if there are too many. */
  add(socket: Socket): void {
    socket.once('close', () => {
      this.#waiting.delete(socket);
      this.#busy.delete(socket);
    });
    this.#waiting.add(socket);
    if (this.#waiting.size + this.#busy.size <= this.#most) return;
    const [oldest = socket] = this.#waiting;
    this.#waiting.delete(oldest);
    oldest.destroy();
  }

  /** A request is complete: its connection is not closed for others. */
  serve(socket: Socket): void {
    if (this.#waiting.delete(socket)) this.#busy.add(socket);
  }

  /** Whether a request is complete and its response has not ended. */
  isServed(socket: Socket): boolean {
    return this.#busy.has(socket);
  }

  /** The response has ended. */
  wait(socket: Socket): void {
    if (this.#busy.delete(socket) && !socket.destroyed) this.#waiting.add(socket);
  }
}

/** Counts what runs at the same time. */
export class Places {
  #free: number;

  constructor(count: number) {
    this.#free = count;
  }

  /** @returns a place to dispose of; undefined if none is free */
  take(): Disposable | undefined {
    if (this.#free === 0) return undefined;
    this.#free -= 1;
    return {
      [Symbol.dispose]: () => {
        this.#free += 1;
      },
    };
  }
}
