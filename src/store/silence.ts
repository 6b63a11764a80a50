/** Silence: a client that has not had a full backup for `max_age`. */
import type { Parsed } from '../fault.ts';
import { parseJson } from '../wire/json.ts';
import { SNAPSHOT, snapshotTime } from '../wire/text.ts';

/** A client's silence. */
export interface Silence {
  /** The newest full snapshot, which is too old; null if there is none. */
  last_full: string | null;
  /** When the client became silent, ISO 8601: `max_age` after that snapshot, or after its enrollment. */
  since: string;
  max_age_ms: number;
  /** When the hook `silent` was run for this silence, ISO 8601; null if it was not. */
  told: string | null;
  /** A sentence for a person. */
  reason: string;
}

/** That the hook was run for a silence: the content of clients/NAME/silence.json. */
export interface Told {
  /** The newest full snapshot at that time. A later one ends the silence. */
  last_full: string | null;
  /** When it started, ISO 8601. */
  told: string;
  /** `started`: it runs, or dialback was killed meanwhile. */
  result: 'started' | 'done' | 'failed';
}

/** Whether a record is of this silence, and not of an earlier one. */
export function isToldOf(told: Told | undefined, { last_full }: Pick<Silence, 'last_full'>): boolean {
  return told !== undefined && told.last_full === last_full;
}

interface Known {
  /** The newest full snapshot that is not from the future. */
  lastFull: string | undefined;
  /** When the client was enrolled, in milliseconds since 1970. */
  enrolledMs: number;
  /** undefined: the config has no `max_age` for this client */
  maxAgeMs: number | undefined;
  told: Told | undefined;
}

/**
 * Decides whether a client is silent. Pure.
 *
 * A clock that was set back makes every backup look younger, and an enrollment come from the future. So a client stays
 * silent if the time at which the hook ran has not come yet. Only another full snapshot ends that.
 * @returns null if it is not silent
 */
export function decideSilence({ lastFull, enrolledMs, maxAgeMs, told }: Known, at: Date): Silence | null {
  if (maxAgeMs === undefined) return null;
  const last = lastFull ?? null;
  const fromMs = (lastFull === undefined ? undefined : snapshotTime(lastFull)?.getTime()) ?? enrolledMs;
  const ageMs = at.getTime() - fromMs;
  const isSame = told !== undefined && isToldOf(told, { last_full: last });
  const wasToldLater = isSame && Date.parse(told.told) > at.getTime();
  if (ageMs >= 0 && ageMs <= maxAgeMs && !wasToldLater) return null;
  return {
    last_full: last,
    since: new Date(fromMs + maxAgeMs).toISOString(),
    max_age_ms: maxAgeMs,
    told: isSame ? told.told : null,
    reason: reasonOf(last, maxAgeMs),
  };
}

const HOUR_MS = 3_600_000;

function reasonOf(last: string | null, maxAgeMs: number): string {
  const since = last === null ? 'since it was enrolled' : `since ${last}`;
  return `no full backup ${since}; max_age is ${Math.round((10 * maxAgeMs) / HOUR_MS) / 10} h`;
}

const RESULTS = ['started', 'done', 'failed'] as const;
const VERSION = 1;
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

/** Decodes silence.json. Unknown, missing and malformed parts are refused. */
export function decodeTold(text: string): Parsed<Told> {
  const parsed = parseJson(text);
  if ('reason' in parsed) return parsed;
  const found = parsed.value;
  if (typeof found !== 'object' || found === null || Array.isArray(found))
    return { reason: 'it is not an object' };
  const { version, last_full: last, told, result: how, ...rest } = found as Record<string, unknown>;
  if (version !== VERSION) return { reason: 'unknown version' };
  if (Object.keys(rest).length > 0) return { reason: 'unknown key' };
  if (last !== null && !(typeof last === 'string' && SNAPSHOT.test(last)))
    return { reason: 'malformed "last_full"' };
  if (typeof told !== 'string' || !TIME.test(told) || Number.isNaN(Date.parse(told)))
    return { reason: 'malformed "told"' };
  const result = RESULTS.find(each => each === how);
  if (result === undefined) return { reason: 'malformed "result"' };
  return { value: { last_full: last, told, result } };
}

/** Encodes silence.json. */
export function encodeTold({ last_full, told, result }: Told): string {
  return `${JSON.stringify({ version: VERSION, last_full, told, result })}\n`;
}
