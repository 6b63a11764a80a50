/** How much processor and disk time this process takes from others. */

import { getPriority, setPriority } from 'node:os';
import { run, standard } from './process.ts';

/** Makes this process nicer: never less nice than it is. @param nice 0 to 19 */
export function beNice(nice: number): void {
  if (nice > getPriority()) setPriority(nice);
}

/** From here on we take only what processor and disk time nobody else wants; there is no way back. */
export async function beIdle(): Promise<void> {
  beNice(LEAST_NICE);
  // -t: a kernel without I/O classes is no reason not to go on
  await run(standard('ionice', ['-t', '-c3', '-p', String(process.pid)]));
}
const LEAST_NICE = 19;
