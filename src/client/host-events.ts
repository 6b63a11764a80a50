/** What a client hears of its host while a run goes on, and how much of that it passes on. */
import { monotonicMs } from '../os/clock.ts';
import { type HostEvent, PHASES, type UnstoredEvent } from '../wire/events.ts';
import type { RunNews } from './backup.ts';

/** A host tells how far it is once a second; one that tells more often is not heard. */
const PROGRESS_MS = 500;

/** What is heard of the host while it works. */
export class HostEvents {
  readonly copying = Promise.withResolvers<void>();
  /** How long until the host takes the next run, where it has said so. */
  waitMs: number | undefined;
  /** What the host could not store, where it has said so. */
  unstored: UnstoredEvent | undefined;
  readonly #tell: (news: RunNews) => void;
  readonly #remote: string;
  #next = Promise.withResolvers<void>();
  #phases = 0;
  #progressMs = Number.NEGATIVE_INFINITY;
  #files: Extract<RunNews, { event: 'progress' }>['files'] = null;

  /** @param remote what the remote is called; @param tell what of it is passed on */
  constructor(remote: string, tell: (news: RunNews) => void) {
    this.#remote = remote;
    this.#tell = tell;
  }

  /** However much a host says, what is passed on has a bound: each phase once, and in order; progress now and then. */
  hear(event: HostEvent): void {
    this.#next.resolve();
    this.#next = Promise.withResolvers<void>();
    if (event.event === 'phase') {
      const order = PHASES.indexOf(event.phase);
      if (order < this.#phases) return;
      this.#phases = order + 1;
      if (event.phase !== 'dialling') this.copying.resolve();
      this.#tell({ event: 'phase', remote: this.#remote, phase: event.phase });
    } else if (event.event === 'wait') {
      this.waitMs = event.ms;
    } else if (event.event === 'unstored') {
      this.unstored = event;
    } else if (event.event === 'files') {
      const { done, total, percent } = event;
      this.#files = { done, total, percent };
    } else if (event.event === 'progress' && monotonicMs() - this.#progressMs >= PROGRESS_MS) {
      this.#progressMs = monotonicMs();
      const { bytes, percent } = event;
      this.#tell({ event: 'progress', remote: this.#remote, bytes, percent, files: this.#files });
    }
  }

  nextWord(): Promise<void> {
    return this.#next.promise;
  }
}
