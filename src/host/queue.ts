/**
 * Turns: so many runs at once on this host, whoever's they are (`max_concurrent`), and who is next. STORE/turns/ has
 *
 * - `0`, `1`, …: the slots. A run holds one by flock; however it ends, the kernel lets go of it. There is nothing to repair.
 * - `queue.json`, written under `lock`: who was told to wait, in that order, each until when; and how long runs took lately.
 *
 * Nobody waits with a connection open. Who is told to wait hangs up, keeps its place for as long as it was told and a little
 * more, and comes again. A place is a client's, by the name that its key has: it has one at most, and nothing that it sends
 * makes one for another, or moves one. A free slot is kept for who is before; who does not come has lost its place by then.
 */
import { Fault, type Parsed } from '../fault.ts';
import { deadlineSignal, monotonicMs, now } from '../os/clock.ts';
import { readWhole } from '../os/content.ts';
import { exists, makeFolder } from '../os/files.ts';
import { replaceFile } from '../os/replace.ts';
import { awaitLock, takeLock } from '../os/runfolder.ts';
import { failure } from '../wire/events.ts';
import { parseJson } from '../wire/json.ts';
import { NAME } from '../wire/text.ts';

/** What a client is told to wait, at least and at most. */
const LEAST_WAIT_MS = 1_000;
const MOST_WAIT_MS = 5 * 60_000;
/** A client adds a quarter and a second by chance (client/retry.ts), and needs a while to be here again: over 30 s, where 50 do on two busy cores. */
const LATE_SHARE = 0.25;
const LATE_MS = 120_000;
/** A place cannot last longer; one that does is from a clock that was wrong. */
const MOST_PLACE_MS = MOST_WAIT_MS * (1 + LATE_SHARE) + LATE_MS;
/** How long a run is thought to take before any has. */
const UNKNOWN_RUN_MS = 5_000;
/** So many clients' last runs are kept. */
const LATELY_LIMIT = 16;

const QUEUE_LIMIT = 16 * 1024 * 1024;
/** Whoever has the queue has it for a moment. */
const QUEUE_WAIT_MS = 30_000;
/** Where it is not to be had, a run's length is left out. */
const NOTE_WAIT_SECONDS = 5;

/** Who waits, and how long runs take. */
export interface Turns {
  /** First who was told first. @property untilMs of the clock: after that the place is lost */
  places: { client: string; untilMs: number }[];
  /** The newest last, a client once. */
  lately: { client: string; ms: number }[];
}

/** Reads queue.json. @returns why it is none */
export function parseTurns(text: string): Parsed<Turns> {
  const found = parseJson(text);
  if ('reason' in found) return { reason: `it ${found.reason}` };
  const { places, lately } = (found.value ?? {}) as Partial<Record<keyof Turns, unknown>>;
  if (!isListOf(places, 'untilMs') || !isListOf(lately, 'ms')) return { reason: 'it is no queue' };
  return { value: { places, lately } as Turns };
}

function isListOf(value: unknown, number: 'untilMs' | 'ms'): boolean {
  return Array.isArray(value) && value.every(each => isOf((each ?? {}) as Record<string, unknown>, number));
}

function isOf(each: Record<string, unknown>, number: 'untilMs' | 'ms'): boolean {
  const { client, [number]: value } = each;
  return typeof client === 'string' && NAME.test(client) && Number.isSafeInteger(value);
}

/** Without the places that are lost. @param nowMs of the clock */
export function livePlaces({ places }: Turns, nowMs: number): Turns['places'] {
  return places.filter(({ untilMs }) => untilMs >= nowMs && untilMs <= nowMs + MOST_PLACE_MS);
}

/** How many are before a client; one without a place comes after all that have one. */
export function countAhead(turns: Turns, client: string, nowMs: number): number {
  const places = livePlaces(turns, nowMs);
  const at = places.findIndex(each => each.client === client);
  return at < 0 ? places.length : at;
}

/** The client's turn has come: it needs no place any more. */
export function withoutPlace(turns: Turns, client: string, nowMs: number): Turns {
  return { ...turns, places: livePlaces(turns, nowMs).filter(each => each.client !== client) };
}

/**
 * Keeps a client's place, or gives it the last one.
 * @param concurrent max_concurrent
 * @returns how long to wait: about half of what it will take, so that no slot stands empty for long
 */
export function withPlace(
  turns: Turns,
  client: string,
  concurrent: number,
  nowMs: number,
): { turns: Turns; waitMs: number } {
  const ahead = countAhead(turns, client, nowMs);
  const expectedMs = ((ahead + 1) * typicalMs(turns)) / concurrent;
  const waitMs = Math.ceil(Math.min(MOST_WAIT_MS, Math.max(LEAST_WAIT_MS, expectedMs / 2)));
  const place = { client, untilMs: Math.floor(nowMs + waitMs * (1 + LATE_SHARE) + LATE_MS) };
  return { turns: { ...turns, places: livePlaces(turns, nowMs).toSpliced(ahead, 1, place) }, waitMs };
}

/** Notes how long a run took. One that often comes, or often fails, counts once. */
export function withRun(turns: Turns, client: string, ms: number): Turns {
  const others = turns.lately.filter(each => each.client !== client);
  return { ...turns, lately: [...others, { client, ms: Math.round(ms) }].slice(-LATELY_LIMIT) };
}

function typicalMs({ lately }: Turns): number {
  const sorted = lately.map(each => each.ms).sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? UNKNOWN_RUN_MS;
}

export interface TurnOptions {
  store: string;
  /** max_concurrent */
  concurrent: number;
  client: string;
  signal: AbortSignal;
}

/**
 * Takes a client's turn: a slot, until `held` is released. The client's own lock must be held, so that it asks for one alone.
 * @param mustWait is told how long, where there is none
 * @throws Fault `full` then
 */
export async function takeTurn(
  held: AsyncDisposableStack,
  options: TurnOptions,
  mustWait: (waitMs: number) => void,
): Promise<void> {
  const { store, concurrent, client, signal } = options;
  const folder = `${store}/turns`;
  if (!exists(folder)) makeFolder(folder);
  await using queue = new AsyncDisposableStack();
  using patience = deadlineSignal(QUEUE_WAIT_MS, () => {
    mustWait(UNKNOWN_RUN_MS);
    return failure('full', `the queue was not to be had within ${QUEUE_WAIT_MS / 1000} s`);
  });
  await awaitLock(queue, `${folder}/lock`, AbortSignal.any([signal, patience.signal]));
  signal.throwIfAborted(); // whoever has hung up gets no slot, and no place
  const turns = readTurns(folder);
  const nowMs = now().getTime();
  const ahead = countAhead(turns, client, nowMs);
  const slot = await takeSlot(folder, concurrent, ahead);
  if (slot !== undefined) {
    const startedMs = monotonicMs();
    held.defer(() => noteRun(folder, client, monotonicMs() - startedMs));
    held.use(slot);
    if (turns.places.length > 0) writeTurns(folder, withoutPlace(turns, client, nowMs));
    return;
  }
  const placed = withPlace(turns, client, concurrent, nowMs);
  writeTurns(folder, placed.turns);
  mustWait(placed.waitMs);
  const found = `${concurrent} runs are under way, and ${ahead} clients wait before this one`;
  throw failure('full', `${found}; it may come again in ${placed.waitMs} ms`);
}

/** Takes a free slot, where there is one more than those before are to have. */
async function takeSlot(
  folder: string,
  concurrent: number,
  ahead: number,
): Promise<AsyncDisposableStack | undefined> {
  await using spare = new AsyncDisposableStack();
  let found = 0;
  for (let number = 0; number < concurrent && ahead < concurrent; number += 1) {
    const slot = new AsyncDisposableStack();
    const isFree = (await takeLock(slot, `${folder}/${number}`)) !== undefined;
    if (!isFree) continue;
    found += 1;
    if (found > ahead) return slot;
    spare.use(slot);
  }
  return undefined;
}

/** A queue that cannot be read is begun anew: what is lost by it is an order. */
function readTurns(folder: string): Turns {
  const path = `${folder}/queue.json`;
  const none: Turns = { places: [], lately: [] };
  if (!exists(path)) return none;
  const found = parseTurns(readWhole(path, QUEUE_LIMIT).toString('utf8'));
  return 'value' in found ? found.value : none;
}

function writeTurns(folder: string, turns: Turns): void {
  try {
    replaceFile(`${folder}/queue.json`, `${JSON.stringify(turns)}\n`);
  } catch (error) {
    // On a full disk nobody keeps a place, and the runs that make room go on.
    if (!(error instanceof Fault)) throw error;
  }
}

/** Never throws: the run's outcome stands. */
async function noteRun(folder: string, client: string, ms: number): Promise<void> {
  try {
    await using queue = new AsyncDisposableStack();
    if ((await takeLock(queue, `${folder}/lock`, NOTE_WAIT_SECONDS)) === undefined) return;
    writeTurns(folder, withRun(readTurns(folder), client, ms));
  } catch {
    // the store has gone: the next run finds out
  }
}
