/**
 * clients/NAME/trash/: trees on their way out. Getting there is one rename. Deleting hundreds of thousands of names takes
 * its time, so that goes on apart from it, in nobody's run; whoever is ended in it loses nothing: the next one goes on.
 */

import { Fault } from '../fault.ts';
import { inspectCommand } from '../os/access-advice.ts';
import { monotonicMs, sleep } from '../os/clock.ts';
import { exists, failedWith, lstat, readdir, removingTree } from '../os/files.ts';
import { run, standard } from '../os/process.ts';
import { isLocked } from '../os/runfolder.ts';
import { escapeText, NAME, SNAPSHOT } from '../wire/text.ts';

/** How trash is deleted. */
export interface Pace {
  /** Names a second at most; 0: as fast as the disk lets us. */
  namesPerSecond?: number;
  /** While this file is locked, a run of the client is under way, and the deletion waits: but not for ever. */
  lock?: string;
  /** Until then, on the clock of `monotonicMs()`; undefined: `MOST_WAIT_MS` from now. */
  waitsUntilMs?: number;
  signal?: AbortSignal;
}

/** A tree in trash/: its snapshot's name, and what keeps two of the same name apart. */
const TRASH = /^(.*)-[0-9a-f]{8}$/;
/** With a rate, in one go. */
const NAMES_AT_ONCE = 2000;
/** Without one, it is looked about so often. */
const LOOK_MS = 50;
/** A run takes longer than that. */
const WAIT_MS = 500;
/**
 * How long a run is waited for. Deleting beside a run only costs it some of the disk's time; a client on a slow line, or one that
 * wants to be in the way, makes its runs last as long as `deadline`.
 */
export const MOST_WAIT_MS = 60_000;
const RM_TIMEOUT_MS = 3_600_000;

/**
 * Deletes what is in a client's trash; what is left undone the next one does. A tree that cannot be deleted keeps none of the others.
 * @param folder STORE/clients/NAME
 * @returns milliseconds, without the waiting
 * @throws the signal's reason; what was refused of the first tree that is still there
 */
export async function emptyTrash(folder: string, pace: Pace = {}): Promise<number> {
  const { waitsUntilMs = monotonicMs() + MOST_WAIT_MS } = pace;
  let totalMs = 0;
  const failures: unknown[] = [];
  for (const name of readdir(`${folder}/trash`)) {
    const path = `${folder}/trash/${name}`;
    if (!SNAPSHOT.test(TRASH.exec(name)?.[1] ?? '') || !exists(path) || !lstat(path).isDirectory()) continue;
    try {
      totalMs += await deleteTree(path, { ...pace, waitsUntilMs });
    } catch (error) {
      pace.signal?.throwIfAborted();
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
  return totalMs;
}

/** In the folder of all clients: a name that no client can have, and what keeps two removals of the same client apart. */
const TRASH_OF_CLIENT = /^\.removed-(.*)-[0-9a-f]{8}$/;

/** The name of a removed client's folder, beside those of the clients. @param unique 8 hexadecimal digits */
export function trashOfClient(name: string, unique: string): string {
  return `.removed-${name}-${unique}`;
}

/** Deletes the folders of clients that were removed; what is left undone the next one does, or `prune`. */
export async function emptyClientTrash(store: string, signal: AbortSignal): Promise<void> {
  for (const name of readdir(`${store}/clients`)) {
    const path = `${store}/clients/${name}`;
    const isTrash = NAME.test(TRASH_OF_CLIENT.exec(name)?.[1] ?? '');
    if (isTrash && exists(path) && lstat(path).isDirectory()) await deleteTree(path, { signal });
  }
}

/** Deletes a tree. @returns milliseconds, without the waiting @throws what was refused, where it is still there */
async function deleteTree(path: string, pace: Pace): Promise<number> {
  try {
    return await deleteInParts(path, { waitsUntilMs: monotonicMs() + MOST_WAIT_MS, ...pace });
  } catch (error) {
    pace.signal?.throwIfAborted();
    // Paths that are too long to be named at once: rm goes down folder by folder.
    const { stderr } = await run(
      standard('rm', ['--recursive', '--force', '--one-file-system', '--', path]),
      {
        timeoutMs: RM_TIMEOUT_MS,
        ...(pace.signal ? { signal: pace.signal } : {}),
      },
    );
    if (!exists(path)) return 0;
    if (!(error instanceof Fault && failedWith(error.cause, 'ENAMETOOLONG'))) throw error;
    const found = escapeText(stderr.trim().split('\n')[0] ?? '', 400);
    throw new Fault({ tried: `delete "${path}"`, found, next: inspectCommand(path) });
  }
}

async function deleteInParts(path: string, pace: Pace & { waitsUntilMs: number }): Promise<number> {
  const { namesPerSecond = 0, lock, waitsUntilMs, signal } = pace;
  const runHasEnded = async (): Promise<void> => {
    while (lock !== undefined && monotonicMs() < waitsUntilMs && isLocked(lock)) await sleep(WAIT_MS, signal);
  };
  await runHasEnded();
  let [totalMs, sinceMs] = [0, monotonicMs()];
  for (const names of removingTree(path, namesPerSecond > 0 ? NAMES_AT_ONCE : Number.POSITIVE_INFINITY)) {
    const ms = monotonicMs() - sinceMs;
    if (namesPerSecond === 0 && ms < LOOK_MS) continue;
    totalMs += ms;
    const dueMs = namesPerSecond > 0 ? (1000 * names) / namesPerSecond : 0;
    await sleep(Math.max(0, dueMs - ms), signal); // also so that a signal is heard
    await runHasEnded();
    sinceMs = monotonicMs();
  }
  return totalMs + monotonicMs() - sinceMs;
}
