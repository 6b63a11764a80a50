/** One line on a terminal that shows how far a command is. It is overwritten several times a second and removed at the end. */

import type { RunNews } from '../client/run-events.ts';
import { monotonicMs } from '../os/clock.ts';
import { say } from '../os/streams.ts';
import { openTerminal, type Terminal } from '../os/terminal.ts';
import type { RestoreProgress } from '../store/restore.ts';
import type { VerifyProgress } from '../store/verify.ts';
import { newsText, phaseText } from './run-news.ts';
import { showBytes, showLeft, showSpan } from './units.ts';

/** The values of the line. Undefined values are unknown and left out. */
interface Progress {
  /** The activity: `vault: copying`. */
  label: string;
  /** The time since this activity began; shown where the time that is left is unknown. */
  elapsedMs?: number | undefined;
  percent?: number | undefined;
  files?: { done: number; total: number | undefined } | undefined;
  bytes?: number | undefined;
  bytesPerSecond?: number | undefined;
  leftMs?: number | undefined;
}

/** Where the line is too narrow, the part with the highest number is left out first. */
const RANKS = { percent: 1, left: 2, elapsed: 2, bytes: 3, rate: 4, files: 5 } as const;
/** A shorter activity is shown without its time. */
const NOTABLE_MS = 2_000;

/**
 * The line, in ASCII and without colors, so that every terminal can show it. A part that does not fit is left out as a whole.
 * The last column stays free: some terminals move to the next line when a character is written there.
 * @param columns the terminal's width
 */
export function progressText(progress: Progress, columns: number): string {
  const { elapsedMs = 0, percent, files, bytes, bytesPerSecond, leftMs } = progress;
  const width = Math.max(0, columns - 1);
  let parts: { rank: number; text: string }[] = [];
  const add = (rank: number, text: string): void => void parts.push({ rank, text });
  if (percent !== undefined) add(RANKS.percent, `${percent}%`);
  if (files) add(RANKS.files, `${files.done}${files.total === undefined ? '' : ` of ${files.total}`} files`);
  if (bytes) add(RANKS.bytes, showBytes(bytes));
  if (bytes && bytesPerSecond !== undefined) add(RANKS.rate, `${showBytes(Math.round(bytesPerSecond))}/s`);
  if (leftMs !== undefined) add(RANKS.left, `about ${showLeft(leftMs)} left`);
  else if (elapsedMs >= NOTABLE_MS) add(RANKS.elapsed, `${showSpan(Math.floor(elapsedMs / 1000))} so far`);
  const line = (): string => [progress.label, ...parts.map(each => each.text)].join(', ');
  while (parts.length > 0 && line().length > width) {
    const last = Math.max(...parts.map(each => each.rank));
    parts = parts.filter(each => each.rank !== last);
  }
  return line()
    .replace(/[^ -~]/g, '?')
    .slice(0, width);
}

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

const CLEAR_LINE = '\r\x1b[K';
const REDRAW_MS = 250;

/** The line on a terminal. Disposing of it removes it. */
export class ProgressLine {
  readonly #terminal: Terminal;
  readonly #timer: NodeJS.Timeout;
  #progress: Progress | undefined;
  #phaseMs = 0;
  #meter = new Meter(0);
  #shown = '';
  #isCopying = false;
  #isEnding = false;
  #client: string | undefined;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
    this.#timer = setInterval(() => this.#draw(), REDRAW_MS);
    this.#timer.unref();
  }

  /** Shows the progress of a backup. */
  hearRun(news: RunNews): void {
    if (this.#isEnding) return;
    if (news.event === 'phase') this.#begin(`${news.remote}: ${phaseText(news.phase)}`);
    if (news.event === 'waiting') this.#begin(newsText(news).trimEnd());
    // The host still sends progress events after everything is copied.
    if (news.event === 'phase') this.#isCopying = news.phase === 'copying';
    if (news.event !== 'progress' || !this.#isCopying) return;
    const { bytes, files } = news;
    const reached = files && { done: files.done, total: files.percent === null ? undefined : files.total };
    this.#advance(bytes, files?.percent ?? undefined, reached ?? undefined);
  }

  /** Shows the progress of a restore. */
  hearRestore({ bytes, percent, files }: RestoreProgress): void {
    if (this.#isEnding) return;
    if (this.#progress === undefined) this.#begin('restoring');
    this.#advance(bytes, percent, { done: files, total: undefined });
  }

  /** Shows the progress of a verification. */
  hearVerify({ client, snapshot, snapshots, files, bytes }: VerifyProgress): void {
    if (this.#isEnding) return;
    const label = `verifying ${client}, snapshot ${snapshot} of ${snapshots}`;
    if (this.#client !== client) this.#begin(label);
    this.#client = client;
    this.#meter.read(monotonicMs(), bytes, undefined);
    this.#progress = { label, files: { done: files, total: undefined }, bytes };
  }

  /** Starts another activity. */
  #begin(label: string): void {
    this.#phaseMs = monotonicMs();
    this.#meter = new Meter(this.#phaseMs);
    this.#progress = { label };
    this.#draw();
  }

  #advance(bytes: number, percent: number | undefined, files: Progress['files']): void {
    if (this.#progress === undefined) return;
    this.#meter.read(monotonicMs(), bytes, percent);
    this.#progress = { label: this.#progress.label, percent, files, bytes };
  }

  /** Shows that the command is cleaning up after an interruption, which takes a moment. */
  interrupt(): void {
    this.#begin('interrupted, cleaning up');
    this.#isEnding = true;
  }

  /** Removes the line, so that other text can be printed there. It is drawn again by itself. */
  clear(): void {
    if (this.#shown !== '') say(2, CLEAR_LINE);
    this.#shown = '';
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.clear();
    this.#progress = undefined;
  }

  #draw(): void {
    const ms = monotonicMs();
    if (this.#progress === undefined || !this.#terminal.isInFront()) return;
    const clock = {
      elapsedMs: ms - this.#phaseMs,
      bytesPerSecond: this.#meter.rate,
      leftMs: this.#meter.leftMs(ms),
    };
    const text = progressText({ ...this.#progress, ...clock }, this.#terminal.columns());
    if (text === this.#shown) return;
    say(2, `${CLEAR_LINE}${text}`);
    this.#shown = text;
  }
}

/**
 * Shows a line until it is disposed of.
 * @param interrupt aborts when the command is interrupted; the line then says so
 * @returns the line; undefined where standard error is not a terminal that can show one
 */
export function openProgressLine(
  environment: NodeJS.ProcessEnv,
  interrupt: AbortSignal,
): ProgressLine | undefined {
  const terminal = openTerminal(environment);
  if (terminal === undefined) return undefined;
  const line = new ProgressLine(terminal);
  interrupt.addEventListener('abort', () => line.interrupt(), { once: true });
  return line;
}
