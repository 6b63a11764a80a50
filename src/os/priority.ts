/** How much processor and disk time this process takes from others. */

import { getPriority, setPriority } from 'node:os';
import { run, standard } from './process.ts';

/** Raises the nice value of this process to at least `nice`; never lowers it. @param nice 0 to 19 */
export function beNice(nice: number): void {
  if (nice > getPriority()) setPriority(nice);
}

/** Gives this process the lowest CPU priority and the idle I/O class. It cannot be undone. */
export async function beIdle(): Promise<void> {
  beNice(LEAST_NICE);
  // -t: continue on a kernel without I/O classes
  await run(standard('ionice', ['-t', '-c3', '-p', String(process.pid)]));
}
const LEAST_NICE = 19;
