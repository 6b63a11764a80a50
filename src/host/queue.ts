/**
 * The queue of the clients that wait for a slot: their order, and when each may retry. Pure; host/slots.ts stores it.
 *
 * No client waits with a connection open. A client that finds no free slot disconnects and retries. It keeps its position until the
 * time for its retry, and for a grace period after that. The position belongs to the name that the client's key is enrolled under. A
 * client has at most one, and cannot create or move the position of another client.
 */
import type { Parsed } from '../fault.ts';
import { parseJson } from '../wire/json.ts';
import { NAME } from '../wire/text.ts';

/** Limits of the time after which a client may retry. */
const MIN_RETRY_MS = 1_000;
const MAX_RETRY_MS = 5 * 60_000;
/**
 * The grace period: a share of the retry time, and a fixed part. The client adds up to a quarter and a second at random
 * (client/retry.ts), and takes more than 30 s to connect where 50 clients do so on two busy cores.
 */
const GRACE_SHARE = 0.25;
const GRACE_MS = 120_000;
/** No position lasts longer. If one does, the clock was wrong when it was written. */
const MAX_POSITION_MS = MAX_RETRY_MS * (1 + GRACE_SHARE) + GRACE_MS;
/** The assumed length of a run while no run has ended yet. */
export const DEFAULT_RUN_MS = 5_000;
/** The number of clients whose last run is remembered. */
const RUNS_LIMIT = 16;

/** The queue as queue.json holds it. */
export interface Queue {
  /** The positions, first come first. A position is lost after `untilMs` (milliseconds since 1970). */
  places: { client: string; untilMs: number }[];
  /** How long the last run of each client took; the newest is last. */
  lately: { client: string; ms: number }[];
}

/** The queue that no client waits in. */
export const EMPTY_QUEUE: Queue = { places: [], lately: [] };

/** Parses queue.json. @returns the queue, or the reason why the text is none */
export function parseQueue(text: string): Parsed<Queue> {
  const found = parseJson(text);
  if ('reason' in found) return { reason: `it ${found.reason}` };
  const { places, lately } = (found.value ?? {}) as Partial<Record<keyof Queue, unknown>>;
  if (!isListOf(places, 'untilMs') || !isListOf(lately, 'ms')) return { reason: 'it is no queue' };
  return { value: { places, lately } as Queue };
}

function isListOf(value: unknown, number: 'untilMs' | 'ms'): boolean {
  return (
    Array.isArray(value) && value.every(each => isEntry((each ?? {}) as Record<string, unknown>, number))
  );
}

function isEntry(entry: Record<string, unknown>, number: 'untilMs' | 'ms'): boolean {
  const { client, [number]: value } = entry;
  return typeof client === 'string' && NAME.test(client) && Number.isSafeInteger(value);
}

function validPositions({ places }: Queue, nowMs: number): Queue['places'] {
  return places.filter(({ untilMs }) => untilMs >= nowMs && untilMs <= nowMs + MAX_POSITION_MS);
}

/**
 * Counts the clients that come before a client. A client without a position comes after all clients that have one.
 * @param nowMs milliseconds since 1970, here and below
 */
export function countAhead(queue: Queue, client: string, nowMs: number): number {
  const positions = validPositions(queue, nowMs);
  const index = positions.findIndex(each => each.client === client);
  return index < 0 ? positions.length : index;
}

/** Removes the position of a client that has got a slot, and all positions that are lost. */
export function withoutPosition(queue: Queue, client: string, nowMs: number): Queue {
  return { ...queue, places: validPositions(queue, nowMs).filter(each => each.client !== client) };
}

/**
 * Extends a client's position, or gives it the last one.
 * @param concurrent the number of slots (max_concurrent)
 * @returns the new queue, and the milliseconds after which the client may retry. These are about half of the time until a slot is free for
 *   it, so that no slot stays free for long
 */
export function withPosition(
  queue: Queue,
  client: string,
  concurrent: number,
  nowMs: number,
): { queue: Queue; retryAfterMs: number } {
  const ahead = countAhead(queue, client, nowMs);
  const expectedMs = ((ahead + 1) * medianRunMs(queue)) / concurrent;
  const retryAfterMs = Math.ceil(Math.min(MAX_RETRY_MS, Math.max(MIN_RETRY_MS, expectedMs / 2)));
  const position = { client, untilMs: Math.floor(nowMs + retryAfterMs * (1 + GRACE_SHARE) + GRACE_MS) };
  const places = validPositions(queue, nowMs).toSpliced(ahead, 1, position);
  return { queue: { ...queue, places }, retryAfterMs };
}

/** Notes how long a run took. Only the last run of a client counts, so that a client that runs or fails often has no more weight. */
export function withRun(queue: Queue, client: string, ms: number): Queue {
  const others = queue.lately.filter(each => each.client !== client);
  return { ...queue, lately: [...others, { client, ms: Math.round(ms) }].slice(-RUNS_LIMIT) };
}

/** Gives the position and the run of a client to its new name. */
export function withName({ places, lately }: Queue, from: string, to: string): Queue {
  const renamed = <T extends { client: string }>(all: T[]): T[] =>
    all
      .filter(each => each.client !== to)
      .map(each => (each.client === from ? { ...each, client: to } : each));
  return { places: renamed(places), lately: renamed(lately) };
}

function medianRunMs({ lately }: Queue): number {
  const sorted = lately.map(each => each.ms).sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? DEFAULT_RUN_MS;
}
