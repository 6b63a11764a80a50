/** The one line that tells a person at a terminal how far something is: written again and again, and gone at the end. */

import type { RunNews } from '../client/backup.ts';
import { monotonicMs } from '../os/clock.ts';
import { say } from '../os/streams.ts';
import type { Terminal } from '../os/terminal.ts';
import type { RestoreProgress } from '../store/restore.ts';
import type { VerifyProgress } from '../store/verify.ts';
import { newsText, phaseText } from './run-news.ts';
import { showBytes, showLeft, showSpan } from './units.ts';

/** What the line says; undefined is not known, and not said. */
export interface Progress {
  /** What is done, and for whom: `vault: copying`. */
  label: string;
  /** So long already; it is said where nothing is known of the end. */
  elapsedMs?: number | undefined;
  percent?: number | undefined;
  files?: { done: number; total: number | undefined } | undefined;
  bytes?: number | undefined;
  bytesPerSecond?: number | undefined;
  leftMs?: number | undefined;
}

/** Which part goes first where the line is too narrow for all: the one with the highest number. */
const RANKS = { percent: 1, left: 2, elapsed: 2, bytes: 3, rate: 4, files: 5 } as const;
/** A phase that is over sooner needs no clock. */
const NOTABLE_MS = 2_000;

/**
 * The line, in ASCII and without colours, so that every terminal can show it. Parts for which there is no room are left out
 * whole. The last column stays free: some terminals go to the next line when it is written.
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

/** A rate follows the last few seconds; until they are over, it is that of all the time. */
const RATE_MS = 5_000;
/** Readings that are closer together would tell of bursts. */
const LEAST_READING_MS = 500;
/** Before that much is done, the time left is no more than a guess. */
const LEAST_PERCENT = 2;
const LEAST_MS = 2_000;
/** What a new estimate of the time left counts beside the one before. */
const NEW_ESTIMATE = 0.5;

/** Rate and time left, out of how far it was when. */
export class Meter {
  readonly #startMs: number;
  #last: { ms: number; bytes: number };
  #percent = 0;
  #estimate: { ms: number; leftMs: number } | undefined;
  /** Bytes a second; undefined until something can be said of it. */
  rate: number | undefined;

  /** @param startMs of a clock that never goes back, as all times here */
  constructor(startMs: number) {
    this.#startMs = startMs;
    this.#last = { ms: startMs, bytes: 0 };
  }

  /** @param percent of all; undefined: not known */
  read(ms: number, bytes: number, percent: number | undefined): void {
    const sinceMs = ms - this.#last.ms;
    if (sinceMs >= LEAST_READING_MS) {
      const now = (Math.max(0, bytes - this.#last.bytes) * 1000) / sinceMs;
      const weight = Math.max(1 - Math.exp(-sinceMs / RATE_MS), sinceMs / (ms - this.#startMs));
      this.rate = this.rate === undefined ? now : this.rate + weight * (now - this.rate);
      this.#last = { ms, bytes };
    }
    // Only where it has just changed: a whole number says nothing of how far it is within its hundredth.
    if (percent === undefined || percent <= this.#percent) return;
    this.#percent = percent;
    const elapsedMs = ms - this.#startMs;
    if (percent < LEAST_PERCENT || elapsedMs < LEAST_MS) return;
    const fresh = (elapsedMs * (100 - percent)) / percent;
    const before = this.leftMs(ms);
    const leftMs = before === undefined ? fresh : before + NEW_ESTIMATE * (fresh - before);
    this.#estimate = { ms, leftMs };
  }

  /** How long it will take from now on; undefined where there is nothing to go by, or it takes longer than estimated. */
  leftMs(ms: number): number | undefined {
    if (this.#estimate === undefined || this.#percent >= 100) return undefined;
    const leftMs = this.#estimate.leftMs - (ms - this.#estimate.ms);
    return leftMs > 0 ? leftMs : undefined;
  }
}

const CLEAR_LINE = '\r\x1b[K';
const REDRAW_MS = 250;

/** The line on a terminal. Disposed of, it is gone. */
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

  /** How far a backup is. */
  hearRun(news: RunNews): void {
    if (this.#isEnding) return;
    if (news.event === 'phase') this.#begin(`${news.remote}: ${phaseText(news.phase)}`);
    if (news.event === 'waiting') this.#begin(newsText(news).trimEnd());
    // The host's heart goes on beating when all is copied.
    if (news.event === 'phase') this.#isCopying = news.phase === 'copying';
    if (news.event !== 'progress' || !this.#isCopying) return;
    const { bytes, files } = news;
    const reached = files && { done: files.done, total: files.percent === null ? undefined : files.total };
    this.#advance(bytes, files?.percent ?? undefined, reached ?? undefined);
  }

  /** How far a restore is. */
  hearRestore({ bytes, percent, files }: RestoreProgress): void {
    if (this.#isEnding) return;
    if (this.#progress === undefined) this.#begin('restoring');
    this.#advance(bytes, percent, { done: files, total: undefined });
  }

  /** How far a verification is. */
  hearVerify({ client, snapshot, snapshots, files, bytes }: VerifyProgress): void {
    if (this.#isEnding) return;
    const label = `verifying ${client}, snapshot ${snapshot} of ${snapshots}`;
    if (this.#client !== client) this.#begin(label);
    this.#client = client;
    this.#meter.read(monotonicMs(), bytes, undefined);
    this.#progress = { label, files: { done: files, total: undefined }, bytes };
  }

  /** Something else is done from now on. */
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

  /** What is under way ends before its time, and takes a moment for it. */
  interrupt(): void {
    this.#begin('interrupted, cleaning up');
    this.#isEnding = true;
  }

  /** Takes it away, so that other text has the line; it comes again by itself. */
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
