/** The status of a run while it works. */

export interface Running {
  name: string;
  sinceMs: number;
}

export interface Progress {
  nowMs: number;
  startedMs: number;
  /** The number of files and checks that have ended, and of all. */
  done: number;
  all: number;
  passed: number;
  failed: number;
  /** The running files, oldest first. */
  running: Running[];
  last: string | undefined;
}

/** A file's name without the parts that all names share. */
const short = (file: string): string => file.replace(/^test\/(?:regress\/)?/, '').replace(/\.test\.ts$/, '');

function clock(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
}

/** Lines: how far the run is and which test ended last; which files run, and for how long. */
export function progressLines(progress: Progress): string[] {
  const { nowMs, startedMs, done, all, passed, failed, running, last } = progress;
  const files = running.map(({ name, sinceMs }) => `${short(name)} ${clock(nowMs - sinceMs)}`);
  const counts = `${clock(nowMs - startedMs)}  ${done} of ${all} files, ${passed} passed, ${failed} failed`;
  return [
    `${counts}${last === undefined ? '' : ` | last: ${last}`}`,
    ...(files.length > 0 ? [`now: ${files.join(', ')}`] : []),
  ];
}

/** Cuts a line to the columns of a terminal: a longer line would wrap, and the next line would not replace all of it. */
export function fit(line: string, columns: number): string {
  // A line that is printed every second must not move the cursor.
  const plain = line.replaceAll(/\p{Cc}/gu, ' ');
  const letters = [...plain];
  return letters.length < columns ? plain : `${letters.slice(0, Math.max(0, columns - 2)).join('')}…`;
}
