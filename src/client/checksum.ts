/** `checksum_every`: when the files of a remote were last compared by content, and whether this run compares them again. */
import { now } from '../os/clock.ts';
import { readState, writeState } from './state-file.ts';

interface ChecksumOptions {
  /** Milliseconds; undefined: never. */
  every: number | undefined;
  /** The remote's name. */
  remote: string;
  /** The state folder. */
  state: string;
}

/** A file of its own, because old journal entries are deleted. */
const pathIn = (state: string): string => `${state}/checksums.json`;

/** The time of the last comparison, or of the first run; undefined where there is no record. */
function lastMs({ state, remote }: ChecksumOptions): number | undefined {
  const found = readState(pathIn(state), remote);
  return Number.isSafeInteger(found) ? (found as number) : undefined;
}

/**
 * Whether this run compares contents. The time counts from the first run, which sends everything anyway. A recorded time in the
 * future means that the clock was wrong.
 */
export function isChecksumDue(options: ChecksumOptions): boolean {
  const { every } = options;
  const last = lastMs(options);
  if (every === undefined || last === undefined) return false;
  const agoMs = now().getTime() - last;
  return agoMs >= every || agoMs < 0;
}

/**
 * Records a successful run.
 * @param isDone whether it compared contents. If not, it is recorded only as the first run
 * @throws Fault where the record cannot be written; then the next run compares again
 */
export async function noteChecksum(options: ChecksumOptions, isDone: boolean): Promise<void> {
  if (options.every === undefined) return;
  if (!isDone && lastMs(options) !== undefined) return;
  await writeState(pathIn(options.state), options.remote, now().getTime());
}
