/**
 * clients/NAME/trash/: trees to be deleted. One rename moves a tree there. Deleting hundreds of thousands of names
 * takes time, so it happens later and outside of any run. If the deletion is interrupted, the next one continues.
 */

import { Fault } from '../fault.ts';
import { inspectCommand } from '../os/access-advice.ts';
import { monotonicMs, sleep } from '../os/clock.ts';
import { exists, failedWith, lstat, readdir, removingTree, rename } from '../os/files.ts';
import { run, standard } from '../os/process.ts';
import { randomHex } from '../os/random.ts';
import { isLocked } from '../os/runfolder.ts';
import { escapeText, NAME, SNAPSHOT } from '../wire/text.ts';
import { type ClientStore, recordQuietly } from './store.ts';

/** How fast to delete, and when to wait. */
interface Pace {
  /** The limit of deleted names a second; 0 for none. */
  namesPerSecond?: number;
  /** While this file is locked, a run of the client is active and the deletion waits, for a limited time. */
  lock?: string;
  /** The end of that waiting, on the clock of `monotonicMs()`; by default `MOST_WAIT_MS` from now. */
  waitsUntilMs?: number;
  signal?: AbortSignal;
}

/** A tree in trash/: its snapshot's name, and a suffix that makes it unique. */
const TRASH = /^(.*)-[0-9a-f]{8}$/;

/** With a rate: names between two pauses. */
const NAMES_AT_ONCE = 2000;

/** Without a rate: how often to check for signals and runs. */
const LOOK_MS = 50;

/** The interval between two checks of the lock. */
const WAIT_MS = 500;

/**
 * How long a deletion waits for a run. Deleting beside a run only costs it a part of the disk's speed. A slow or
 * hostile client can make its runs last as long as `deadline`.
 */
export const MOST_WAIT_MS = 60_000;

const RM_TIMEOUT_MS = 3_600_000;

/**
 * Deletes what is in a client's trash; the next call continues after an interruption. A tree that cannot be deleted
 * does not stop the others.
 * @param folder STORE/clients/NAME
 * @returns milliseconds of deletion, without the waiting
 * @throws the signal's reason; the error of the first tree that still exists
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

/** In the folder of all clients: a name that no client can have, and a suffix that makes it unique. */
const TRASH_OF_CLIENT = /^\.removed-(.*)-[0-9a-f]{8}$/;

/** The name of a removed client's folder, beside the other clients' folders. @param unique 8 hexadecimal digits */
export function trashOfClient(name: string, unique: string): string {
  return `.removed-${name}-${unique}`;
}

/**
 * Deletes the folders of removed clients. The next call, or `prune`, continues after an interruption.
 * @throws the signal's reason; the error of a folder that still exists
 */
export async function emptyClientTrash(store: string, signal: AbortSignal): Promise<void> {
  for (const name of readdir(`${store}/clients`)) {
    const path = `${store}/clients/${name}`;
    const isTrash = NAME.test(TRASH_OF_CLIENT.exec(name)?.[1] ?? '');
    if (isTrash && exists(path) && lstat(path).isDirectory()) await deleteTree(path, { signal });
  }
}

/**
 * Deletes a tree.
 * @returns milliseconds of deletion, without the waiting
 * @throws the error, if the tree still exists
 */
async function deleteTree(path: string, pace: Pace): Promise<number> {
  try {
    return await deleteInParts(path, { waitsUntilMs: monotonicMs() + MOST_WAIT_MS, ...pace });
  } catch (error) {
    pace.signal?.throwIfAborted();
    // Some paths are too long for a system call; rm goes down folder by folder.
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
    await sleep(Math.max(0, dueMs - ms), signal); // even 0 ms lets a signal arrive
    await runHasEnded();
    sinceMs = monotonicMs();
  }
  return totalMs + monotonicMs() - sinceMs;
}

/**
 * Moves a tree to trash/, where `emptyTrash` deletes it. Does nothing if it does not exist.
 * @param more for the journal
 * @throws Fault when the name is not a snapshot's; the failed call's error
 */
export function moveToTrash(
  client: ClientStore,
  from: 'arriving' | 'snapshots',
  name: string,
  more: Record<string, unknown> = {},
): void {
  if (!SNAPSHOT.test(name))
    throw new Fault({ tried: `remove "${name}"`, found: 'this is not the name of a snapshot' });
  const path = `${client.folder}/${from}/${name}`;
  if (!exists(path)) return;
  rename(path, `${client.folder}/trash/${name}-${randomHex(4)}`);
  // A rename needs no room on a full disk; a line in the journal does.
  recordQuietly(client, 'removed', { what: `${from}/${name}`, ...more });
}
