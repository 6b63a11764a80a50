/**
 * The time limit of a test file between the ends of two tests. With a plain clock a file would fail because the machine is busy. So a
 * second counts for less while more processes want to run than there are processors. It counts for at least a tenth: a file that
 * hangs fails after at most ten times its limit.
 */

/** The most by which a busy machine can stretch a limit. */
export const MOST_STRETCH = 10;

/**
 * How much longer things take than on a quiet machine, from 1 to MOST_STRETCH.
 * @param loadavg the text of /proc/loadavg (proc_loadavg(5)): the load of the last minute, and as the fourth field how many
 *   tasks want a processor now. The first shows disks that are busy; the second is not a minute late.
 */
export function stretchOf(loadavg: string, processors: number): number {
  const [minute = '', , , tasks = ''] = loadavg.split(' ');
  const most = Math.max(Number.parseFloat(minute) || 0, Number.parseInt(tasks, 10) || 0);
  return Math.min(MOST_STRETCH, Math.max(1, most / processors));
}

export class Patience {
  readonly limitMs: number;
  #spentMs = 0;

  constructor(limitMs: number) {
    this.limitMs = limitMs;
  }

  /** A test has ended, so the limit begins again. */
  renew(): void {
    this.#spentMs = 0;
  }

  /** Counts time that has passed. @returns whether the limit is reached */
  spend(wallMs: number, stretch: number): boolean {
    this.#spentMs += wallMs / stretch;
    return this.#spentMs >= this.limitMs;
  }
}
