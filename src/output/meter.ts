/** The rate of a copy, and the time that is left. */

/** The rate is that of the last few seconds, or of the whole time while that is shorter. */
const RATE_MS = 5_000;
/** The shortest time between two readings: in a shorter one the rate would be that of a burst. */
const LEAST_READING_MS = 500;
/** Before this much is done, the time that is left cannot be estimated. */
const LEAST_PERCENT = 2;
const LEAST_MS = 2_000;
/** The weight of a new estimate of the time that is left; the estimate before it has the rest. */
const NEW_ESTIMATE = 0.5;

/** Computes the rate and the time that is left from the progress at several times. */
export class Meter {
  readonly #startMs: number;
  #last: { ms: number; bytes: number };
  #percent = 0;
  #estimate: { ms: number; leftMs: number } | undefined;
  /** Bytes per second; undefined until it can be computed. */
  rate: number | undefined;

  /** @param startMs of the monotonic clock, as all times here */
  constructor(startMs: number) {
    this.#startMs = startMs;
    this.#last = { ms: startMs, bytes: 0 };
  }

  /**
   * Takes a reading.
   * @param bytes all that are done
   * @param percent of the whole work; undefined: unknown
   */
  read(ms: number, bytes: number, percent: number | undefined): void {
    const sinceMs = ms - this.#last.ms;
    if (sinceMs >= LEAST_READING_MS) {
      const now = (Math.max(0, bytes - this.#last.bytes) * 1000) / sinceMs;
      const weight = Math.max(1 - Math.exp(-sinceMs / RATE_MS), sinceMs / (ms - this.#startMs));
      this.rate = this.rate === undefined ? now : this.rate + weight * (now - this.rate);
      this.#last = { ms, bytes };
    }
    // Only where the percentage has just changed: later within the same percent the estimate would be too long.
    if (percent === undefined || percent <= this.#percent) return;
    this.#percent = percent;
    const elapsedMs = ms - this.#startMs;
    if (percent < LEAST_PERCENT || elapsedMs < LEAST_MS) return;
    const fresh = (elapsedMs * (100 - percent)) / percent;
    const before = this.leftMs(ms);
    const leftMs = before === undefined ? fresh : before + NEW_ESTIMATE * (fresh - before);
    this.#estimate = { ms, leftMs };
  }

  /** The time that is left; undefined where it cannot be estimated, or the estimate is used up. */
  leftMs(ms: number): number | undefined {
    if (this.#estimate === undefined || this.#percent >= 100) return undefined;
    const leftMs = this.#estimate.leftMs - (ms - this.#estimate.ms);
    return leftMs > 0 ? leftMs : undefined;
  }
}
