/** Keeps the times of folders while names in them are replaced. */
import { Fault } from '../fault.ts';
import { run, standard } from '../os/process.ts';
import { NANOSECONDS } from '../wire/rsync.ts';
import { escapeText } from '../wire/text.ts';

const TIMEOUT_MS = 3_600_000;

/**
 * Copies the times of some folders of one tree to the same folders of another one, and makes those that are missing
 * there. node cannot set a time to the nanosecond; rsync can.
 * @param list a file with the paths below the tree, each with a NUL behind it. Not `.`: rsync would copy its files too.
 * @throws Fault when rsync fails; the signal's reason
 */
export async function copyFolderTimes(
  { from, to, list }: { from: string; to: string; list: string },
  signal: AbortSignal,
): Promise<void> {
  const args = [
    '-dt', // folders without their entries
    NANOSECONDS,
    '--no-implied-dirs', // a folder above that is not in the list stays as it is
    '--from0',
    `--files-from=${list}`,
    '--',
    `${from}/`,
    `${to}/`,
  ];
  const { status, stderr } = await run(standard('rsync', args), { timeoutMs: TIMEOUT_MS, signal });
  if (status !== 0)
    throw new Fault({ tried: `keep the times of folders in "${from}"`, found: escapeText(stderr.trim()) });
}
