/** The text of the progress line (progress.ts). */

import { showBytes, showLeft, showSpan } from './units.ts';

/** The values of the line. Undefined values are unknown and left out. */
export interface Progress {
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
