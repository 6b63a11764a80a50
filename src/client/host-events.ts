/** The events of the host while a run goes on, and how much of them the client reports. */
import { monotonicMs } from '../os/clock.ts';
import { type HostEvent, PHASES, type UnstoredEvent } from '../wire/events.ts';
import type { FileCount, RunEvents } from './run-events.ts';

/** A host reports its progress once a second. Progress that comes more often than this is dropped. */
const PROGRESS_MS = 500;

/** Receives the events of one host during one attempt. */
export class HostEvents {
  readonly #copying = Promise.withResolvers<void>();
  readonly #events: RunEvents;
  #next = Promise.withResolvers<void>();
  #phases = 0;
  #progressMs = Number.NEGATIVE_INFINITY;
  #files: FileCount = null;
  #waitMs: number | undefined;
  #unstored: UnstoredEvent | undefined;

  /** @param events the reports of the run */
  constructor(events: RunEvents) {
    this.#events = events;
  }

  /**
   * Takes one event. A host cannot make the client report without end: each phase is reported once and in order, and progress
   * at most every `PROGRESS_MS`.
   */
  receive(event: HostEvent): void {
    this.#next.resolve();
    this.#next = Promise.withResolvers<void>();
    if (event.event === 'phase') {
      const order = PHASES.indexOf(event.phase);
      if (order < this.#phases) return;
      this.#phases = order + 1;
      if (event.phase !== 'dialling') this.#copying.resolve();
      this.#events.phase(event.phase);
    } else if (event.event === 'wait') {
      this.#waitMs = event.ms;
    } else if (event.event === 'unstored') {
      this.#unstored = event;
    } else if (event.event === 'files') {
      const { done, total, percent } = event;
      this.#files = { done, total, percent };
    } else if (event.event === 'progress' && monotonicMs() - this.#progressMs >= PROGRESS_MS) {
      this.#progressMs = monotonicMs();
      this.#events.progress(event.bytes, event.percent, this.#files);
    }
  }

  /** Resolves when the host reports that it copies. */
  get copying(): Promise<void> {
    return this.#copying.promise;
  }

  /** @returns a promise that resolves with the next event, whichever it is */
  nextEvent(): Promise<void> {
    return this.#next.promise;
  }

  /** Milliseconds until the host accepts the next run, where it has said so. */
  get waitMs(): number | undefined {
    return this.#waitMs;
  }

  /** The host's report of files that it could not store; undefined if it sent none. */
  get unstored(): UnstoredEvent | undefined {
    return this.#unstored;
  }
}
