/** When each remote's files were compared by content last, and whether it is time again (`checksum_every`). */
import { readWhole, replaceFile } from '../os/files.ts';
import { now } from '../os/machine.ts';
import { takeLock } from '../os/runfolder.ts';

export interface ChecksumOptions {
  /** Milliseconds; undefined: never. */
  every: number | undefined;
  /** What the remote is called. */
  remote: string;
  /** The state folder. */
  state: string;
}

/** In the state folder: the journal forgets after a while. */
const CHECKSUMS = 'checksums.json';
const CHECKSUMS_WAIT_SECONDS = 15;

function readChecksums(state: string): Record<string, number> {
  try {
    const found: unknown = JSON.parse(readWhole(`${state}/${CHECKSUMS}`, 1024 * 1024).toString('utf8'));
    const entries = Object.entries(found as object).filter(([, ms]) => Number.isSafeInteger(ms));
    return Object.fromEntries(entries) as Record<string, number>;
  } catch {
    return {}; // none yet, or a damaged one: it counts from this run on
  }
}

/**
 * Whether this run is to compare contents. A remote that never did counts from its first run on, which sends all anyway. A time to
 * come is a clock that was wrong.
 */
export function isChecksumDue({ every, remote, state }: ChecksumOptions): boolean {
  const last = readChecksums(state)[remote];
  if (every === undefined || last === undefined) return false;
  const agoMs = now().getTime() - last;
  return agoMs >= every || agoMs < 0;
}

/**
 * Notes that a run went well.
 * @param isDone whether it has compared contents; else it is noted where there is nothing to count from
 * @throws Fault where that cannot be written: then the next run compares once more
 */
export async function noteChecksum(
  { every, remote, state }: ChecksumOptions,
  isDone: boolean,
): Promise<void> {
  if (every === undefined) return;
  if (!isDone && Object.hasOwn(readChecksums(state), remote)) return;
  // Runs for other remotes may end just now: none takes away what another has noted.
  await using held = new AsyncDisposableStack();
  await takeLock(held, `${state}/${CHECKSUMS}.lock`, CHECKSUMS_WAIT_SECONDS);
  const all = readChecksums(state);
  replaceFile(`${state}/${CHECKSUMS}`, `${JSON.stringify({ ...all, [remote]: now().getTime() })}\n`);
}
