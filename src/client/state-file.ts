/** What is remembered of each remote from run to run: a file of the state folder for each kind, JSON, by the remotes' names. */

import { readWhole } from '../os/content.ts';
import { replaceFile } from '../os/replace.ts';
import { takeLock } from '../os/runfolder.ts';

const MOST_BYTES = 1024 * 1024;
const LOCK_WAIT_SECONDS = 15;

/** @param file its path @returns what is remembered of a remote; undefined where that is nothing, or the file is damaged */
export function readState(file: string, remote: string): unknown {
  const all = readAll(file);
  return Object.hasOwn(all, remote) ? all[remote] : undefined;
}

/**
 * Notes something of a remote.
 * @param value undefined: what was noted is forgotten
 * @throws Fault where it cannot be written
 */
export async function writeState(file: string, remote: string, value: unknown): Promise<void> {
  // Runs for other remotes may end just now: none takes away what another has noted.
  await using held = new AsyncDisposableStack();
  await takeLock(held, `${file}.lock`, LOCK_WAIT_SECONDS);
  const { [remote]: _, ...others } = readAll(file);
  replaceFile(file, `${JSON.stringify(value === undefined ? others : { ...others, [remote]: value })}\n`);
}

function readAll(file: string): Record<string, unknown> {
  try {
    const found: unknown = JSON.parse(readWhole(file, MOST_BYTES).toString('utf8'));
    return typeof found === 'object' && found !== null && !Array.isArray(found) ? { ...found } : {};
  } catch {
    return {}; // none yet, or a damaged one: it is noted anew
  }
}
