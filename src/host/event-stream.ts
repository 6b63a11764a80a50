/** The events that grab sends to the client, on standard error (wire/events.ts). They are the only output of the host for the client. */
import type { Writable } from 'node:stream';
import { sleep } from '../os/clock.ts';
import { descriptorStream } from '../os/streams.ts';
import { encodeEvent, type HostEvent, type OutcomeEvent, type Phase } from '../wire/events.ts';
import type { Pull } from './pull.ts';

/** The client gets an event at least this often. */
const HEARTBEAT_MS = 5_000;
const PROGRESS_MS = 1_000;
/** The bytes of events that we hold for a client that does not read. Further events are dropped. */
const UNREAD_LIMIT = 1024 * 1024;
/** How long the client may take to read the outcome. */
const OUTCOME_MS = 10_000;

/** The stream of one request. Sending never waits for the client to read. */
export class EventStream {
  #stream: Writable | undefined;
  #phase: Phase | undefined;

  /** The newest phase that was sent. */
  get phase(): Phase | undefined {
    return this.#phase;
  }

  /** Sends an event, or drops it if the client has stopped reading. */
  send(event: HostEvent): void {
    if (event.event === 'phase') this.#phase = event.phase;
    // An error means that the client has disconnected. The end of our input reports that.
    this.#stream ??= descriptorStream(2, { writable: true }).on('error', () => {});
    if (this.#stream.writableLength < UNREAD_LIMIT) this.#stream.write(encodeEvent(event));
  }

  /** Sends the outcome, closes the stream, and waits until the client has read it or the time is over. */
  async finish(outcome: OutcomeEvent): Promise<void> {
    this.send(outcome);
    const stream = this.#stream;
    const sent = new Promise<void>(resolve => stream?.end(resolve).once('close', resolve));
    await Promise.race([sent, sleep(OUTCOME_MS)]);
  }

  /** Repeats the phase as a sign of life, until the result is disposed. The client shows a phase only once. */
  repeatPhase(): Disposable {
    const timer = setInterval(() => {
      if (this.#phase) this.send({ event: 'phase', phase: this.#phase });
    }, HEARTBEAT_MS);
    return { [Symbol.dispose]: () => clearInterval(timer) };
  }

  /** Sends the progress of a pull when it changes, and as a sign of life, until the result is disposed. */
  reportProgress(pull: Pull): Disposable {
    let last = -1;
    let lastDone = -1;
    let quietMs = 0;
    const timer = setInterval(() => {
      const { bytes, percent } = pull.progress();
      const files = pull.files();
      const isFurther = files !== undefined && files.done !== lastDone;
      quietMs += PROGRESS_MS;
      if (bytes === last && !isFurther && quietMs < HEARTBEAT_MS) return;
      if (files && isFurther) this.send({ event: 'files', ...files });
      last = bytes;
      lastDone = files?.done ?? -1;
      quietMs = 0;
      this.send({ event: 'progress', bytes, percent });
    }, PROGRESS_MS);
    return { [Symbol.dispose]: () => clearInterval(timer) };
  }
}
