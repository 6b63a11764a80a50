/** The state of a client, from facts that `status` reads from the store and the overview from the catalog. */
import { snapshotTime } from '../wire/text.ts';
import { type DrillRecord, readDrillRecord } from './drill-record.ts';
import { keptNow } from './kept-client.ts';
import { type Level, levelOf, type Observed, type Problem, problemsOf } from './problems.ts';
import { retiredSince } from './retirement.ts';
import { decideSilence, type Silence } from './silence.ts';
import { enrolledMs, readTold } from './silence-record.ts';
import type { ClientStore } from './store.ts';

/** With one run each night, a missed run is reported in the morning of the second day. */
const DEFAULT_MAX_AGE_MS = 36 * 3_600_000;

/** The facts. */
interface Facts extends Pick<Observed, 'at' | 'failures' | 'verified' | 'lost' | 'newest' | 'index'> {
  /** The newest full snapshot that is not from the future. */
  lastFull: string | undefined;
  /** The config's `max_age` for the client. */
  maxAgeMs: number | undefined;
  /** Overrides it, but makes no client silent. */
  givenMs?: number | undefined;
  /** Gives why the host refuses requests for lack of space. It is asked only about a client that is enrolled. */
  lack: () => string | undefined;
}

/** The state. */
interface ClientState {
  level: Level;
  problems: Problem[];
  silent: Silence | null;
  /** The age of the newest full snapshot in milliseconds; undefined if there is none. */
  ageMs: number | undefined;
  drilled: DrillRecord | undefined;
  /** When the client was unenrolled; null if it is enrolled. */
  retired: string | null;
  /** Until when its snapshots stay whatever the rules say; null if the rules decide. */
  kept: { until: string | null } | null;
}

/** Adds a client's own records to the facts, and finds its problems. */
export function stateOf(client: ClientStore, facts: Facts): ClientState {
  const { at, lastFull, maxAgeMs, givenMs, lack, ...others } = facts;
  const started = lastFull === undefined ? undefined : snapshotTime(lastFull);
  const ageMs = lastFull === undefined ? undefined : at.getTime() - (started?.getTime() ?? 0);
  const retired = retiredSince(client) ?? null;
  const isRetired = retired !== null;
  const known = { lastFull, enrolledMs: enrolledMs(client), maxAgeMs, told: readTold(client) };
  const silent = isRetired ? null : decideSilence(known, at);
  const drilled = readDrillRecord(client);
  const problems = problemsOf({
    ...{ ...others, at, ageMs, silent, drilled, isRetired },
    maxAgeMs: givenMs ?? maxAgeMs ?? DEFAULT_MAX_AGE_MS,
    lack: isRetired ? undefined : lack(),
  });
  const kept = keptNow(client, at);
  return {
    ...{ level: levelOf(problems), problems, silent, ageMs, drilled, retired },
    kept: kept === undefined ? null : { until: kept.until },
  };
}
