/** Facts that are kept from run to run: JSON files in the state folder, one for each kind, with a value for each remote. */
import { readWhole } from '../os/content.ts';
import { replaceFile } from '../os/replace.ts';
import { takeLock } from '../os/runfolder.ts';

const MOST_BYTES = 1024 * 1024;
const LOCK_WAIT_SECONDS = 15;

/**
 * Reads the value for a remote.
 * @param file its path
 * @returns undefined where there is no value, or the file is damaged
 */
export function readState(file: string, remote: string): unknown {
  const all = readAll(file);
  return Object.hasOwn(all, remote) ? all[remote] : undefined;
}

/**
 * Writes the value for a remote.
 * @param file its path
 * @param value undefined: removes it
 * @throws Fault where the file cannot be written
 */
export async function writeState(file: string, remote: string, value: unknown): Promise<void> {
  // Runs for other remotes can write at the same time.
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
    return {}; // It does not exist yet, or is damaged: then the next write replaces it.
  }
}
