/** One line on a terminal that shows how far a command is. It is overwritten several times a second and removed at the end. */

import type { RunNews } from '../client/run-events.ts';
import type { WeighProgress } from '../client/weigh.ts';
import { monotonicMs } from '../os/clock.ts';
import { say } from '../os/streams.ts';
import { openTerminal, type Terminal } from '../os/terminal.ts';
import type { ExportProgress } from '../store/export.ts';
import type { RestoreProgress } from '../store/restore.ts';
import type { VerifyProgress } from '../store/verify.ts';
import { Meter } from './meter.ts';
import { type Progress, progressText } from './progress-text.ts';
import { newsText, phaseText } from './run-news.ts';

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

  /** Shows the progress of an export. */
  hearExport({ bytes, files }: ExportProgress): void {
    if (this.#isEnding) return;
    if (this.#progress === undefined) this.#begin('exporting');
    this.#advance(bytes, undefined, { done: files, total: undefined });
  }

  /** Shows the progress of a list of the scope. */
  hearWeigh({ bytes, files }: WeighProgress): void {
    if (this.#isEnding) return;
    if (this.#progress === undefined) this.#begin('weighing');
    this.#progress = { label: 'weighing', files: { done: files, total: undefined }, bytes };
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
