/** When each remote's files were compared by content last, and whether it is time again (`checksum_every`). */
import { now } from '../os/clock.ts';
import { readState, writeState } from './state-file.ts';

export interface ChecksumOptions {
  /** Milliseconds; undefined: never. */
  every: number | undefined;
  /** What the remote is called. */
  remote: string;
  /** The state folder. */
  state: string;
}

/** The journal forgets after a while. */
const pathIn = (state: string): string => `${state}/checksums.json`;

/** When contents were compared last, or first not; undefined where nothing is on record. */
function lastMs({ state, remote }: ChecksumOptions): number | undefined {
  const found = readState(pathIn(state), remote);
  return Number.isSafeInteger(found) ? (found as number) : undefined;
}

/**
 * Whether this run is to compare contents. A remote that never did counts from its first run on, which sends all anyway. A time to
 * come is a clock that was wrong.
 */
export function isChecksumDue(options: ChecksumOptions): boolean {
  const { every } = options;
  const last = lastMs(options);
  if (every === undefined || last === undefined) return false;
  const agoMs = now().getTime() - last;
  return agoMs >= every || agoMs < 0;
}

/**
 * Notes that a run went well.
 * @param isDone whether it has compared contents; else it is noted where there is nothing to count from
 * @throws Fault where that cannot be written: then the next run compares once more
 */
export async function noteChecksum(options: ChecksumOptions, isDone: boolean): Promise<void> {
  if (options.every === undefined) return;
  if (!isDone && lastMs(options) !== undefined) return;
  await writeState(pathIn(options.state), options.remote, now().getTime());
}
