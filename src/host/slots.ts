/**
 * The slots for runs: how many clients' runs this host serves at once (`max_concurrent`). STORE/turns/ has
 *
 * - `0`, `1`, …: the slots. A run holds one by flock(2), so the kernel frees it however the run ends, and no repair is needed.
 * - `queue.json`: the clients that wait, and how long runs took (host/queue.ts). It is only read and written with `lock` held.
 *
 * A free slot is reserved for the clients at the front of the queue.
 */
import { Fault } from '../fault.ts';
import { deadlineSignal, monotonicMs, now } from '../os/clock.ts';
import { readWhole } from '../os/content.ts';
import { exists, makeFolder } from '../os/files.ts';
import { replaceFile } from '../os/replace.ts';
import { awaitLock, takeLock } from '../os/runfolder.ts';
import { failure } from '../wire/events.ts';
import {
  countAhead,
  DEFAULT_RUN_MS,
  EMPTY_QUEUE,
  parseQueue,
  type Queue,
  withName,
  withoutPosition,
  withPosition,
  withRun,
} from './queue.ts';

/** Bytes of queue.json that are read. */
const QUEUE_LIMIT = 16 * 1024 * 1024;
/** A request waits at most this long for the queue's lock, which is only held for moments. */
const LOCK_MS = 30_000;
/** After a run the wait is shorter: if the lock cannot be taken, the run's length is not noted. */
const NOTE_LOCK_SECONDS = 5;

interface SlotOptions {
  /** The store's path. */
  store: string;
  /** The number of slots (max_concurrent). */
  concurrent: number;
  client: string;
  signal: AbortSignal;
}

/**
 * Takes a slot for a client's run until `held` is released. The client's lock must be held, so that a client asks for one slot only.
 * @param retryAfter is called with the milliseconds after which the client may retry, if it gets no slot
 * @throws Fault `full` if there is no slot for the client; or the signal's reason
 */
export async function takeSlot(
  held: AsyncDisposableStack,
  options: SlotOptions,
  retryAfter: (ms: number) => void,
): Promise<void> {
  const { store, concurrent, client, signal } = options;
  const folder = `${store}/turns`;
  if (!exists(folder)) makeFolder(folder);
  await using locked = new AsyncDisposableStack();
  using timeout = deadlineSignal(LOCK_MS, () => {
    retryAfter(DEFAULT_RUN_MS);
    return failure('full', `the queue stayed locked for ${LOCK_MS / 1000} s`);
  });
  await awaitLock(locked, `${folder}/lock`, AbortSignal.any([signal, timeout.signal]));
  signal.throwIfAborted(); // a client that has disconnected gets no slot and no position
  const queue = readQueue(folder);
  const nowMs = now().getTime();
  const ahead = countAhead(queue, client, nowMs);
  const slot = await lockSlot(folder, concurrent, ahead);
  if (slot !== undefined) {
    const startedMs = monotonicMs();
    held.defer(() => noteRun(folder, client, monotonicMs() - startedMs));
    held.use(slot);
    if (queue.places.length > 0) writeQueue(folder, withoutPosition(queue, client, nowMs));
    return;
  }
  const queued = withPosition(queue, client, concurrent, nowMs);
  writeQueue(folder, queued.queue);
  retryAfter(queued.retryAfterMs);
  const found = `${concurrent} runs are active, and ${ahead} clients are ahead of this one`;
  throw failure('full', `${found}; it may retry in ${queued.retryAfterMs} ms`);
}

/** Locks a free slot, if more slots are free than there are clients ahead. */
async function lockSlot(
  folder: string,
  concurrent: number,
  ahead: number,
): Promise<AsyncDisposableStack | undefined> {
  await using reserved = new AsyncDisposableStack();
  let freeCount = 0;
  for (let number = 0; number < concurrent && ahead < concurrent; number += 1) {
    const slot = new AsyncDisposableStack();
    const isFree = (await takeLock(slot, `${folder}/${number}`)) !== undefined;
    if (!isFree) continue;
    freeCount += 1;
    if (freeCount > ahead) return slot;
    reserved.use(slot);
  }
  return undefined;
}

/** Replaces a damaged queue by an empty one: only the order of the waiting clients is lost. */
function readQueue(folder: string): Queue {
  const path = `${folder}/queue.json`;
  if (!exists(path)) return EMPTY_QUEUE;
  const found = parseQueue(readWhole(path, QUEUE_LIMIT).toString('utf8'));
  return 'value' in found ? found.value : EMPTY_QUEUE;
}

function writeQueue(folder: string, queue: Queue): void {
  try {
    replaceFile(`${folder}/queue.json`, `${JSON.stringify(queue)}\n`);
  } catch (error) {
    // On a full disk clients lose their positions, but a run that frees space can start.
    if (!(error instanceof Fault)) throw error;
  }
}

/** Gives a client's position to its new name. If the lock cannot be taken, the position is lost, and the client gets another one. */
export async function renamePosition(store: string, from: string, to: string): Promise<void> {
  const folder = `${store}/turns`;
  if (!exists(folder)) return;
  await using locked = new AsyncDisposableStack();
  if ((await takeLock(locked, `${folder}/lock`, NOTE_LOCK_SECONDS)) === undefined) return;
  writeQueue(folder, withName(readQueue(folder), from, to));
}

/** Never throws, since the outcome of the run is decided already. */
async function noteRun(folder: string, client: string, ms: number): Promise<void> {
  try {
    await using locked = new AsyncDisposableStack();
    if ((await takeLock(locked, `${folder}/lock`, NOTE_LOCK_SECONDS)) === undefined) return;
    writeQueue(folder, withRun(readQueue(folder), client, ms));
  } catch {
    // If the store is no longer mounted, the next run reports it.
  }
}
