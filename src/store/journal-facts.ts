/** The facts of a client's journal that an overview needs. They are counted entry by entry, so that old entries are read once. */
import type { Entry } from '../os/journal-lines.ts';
import { countFailure, type Failures } from './health.ts';

/** The end of a request that was answered. */
export interface LastRun {
  /** ISO 8601. */
  at: string;
  outcome: 'full' | 'incomplete' | 'failed' | 'refused';
  /** The code of docs/protocol.md; null if it made a snapshot. */
  code: string | null;
  /** Text for a person, escaped by the host; null if it made a snapshot. */
  reason: string | null;
  snapshot: string | null;
  duration_ms: number | null;
}

/** The free space of the store's file system right after a commit. */
export interface FreeSample {
  /** ISO 8601. */
  at: string;
  bytes: number;
}

/** The facts of one journal. */
export interface JournalFacts {
  /** The failures since the last snapshot; null if there are none. */
  failures: Failures | null;
  /** The last run or refused request; null if there was none. */
  last_run: LastRun | null;
  /** When the client last called, with any result; null if it never did. */
  last_contact: string | null;
  /** The last sample of each day, oldest first. */
  free: FreeSample[];
}

/** The facts of an empty journal. */
export const NO_JOURNAL: JournalFacts = { failures: null, last_run: null, last_contact: null, free: [] };

/** Days of free-space samples that are kept. */
const SAMPLES = 40;

/** Adds the entries that follow. Pure. @param entries oldest first */
export function addEntries(facts: JournalFacts, entries: readonly Entry[]): JournalFacts {
  return entries.reduce<JournalFacts>(addEntry, facts);
}

function addEntry(facts: JournalFacts, entry: Entry): JournalFacts {
  const run = lastRunOf(entry);
  const isCall = run !== undefined || entry.event === 'queued';
  const at = textOf(entry.time);
  return {
    failures: countFailure(facts.failures, entry),
    last_run: run ?? facts.last_run,
    last_contact: isCall ? (at ?? facts.last_contact) : facts.last_contact,
    free: withSample(facts.free, entry),
  };
}

const OUTCOMES = ['full', 'incomplete', 'failed'] as const;

function lastRunOf(entry: Entry): LastRun | undefined {
  const { event, time, outcome, code, reason, snapshot, duration_ms: ms } = entry;
  if (event !== 'run' && event !== 'refused') return undefined;
  const known = OUTCOMES.find(each => each === outcome);
  const at = textOf(time);
  if (at === null || known === undefined) return undefined;
  return {
    at,
    outcome: event === 'refused' ? 'refused' : known,
    code: textOf(code),
    reason: textOf(reason),
    snapshot: textOf(snapshot),
    duration_ms: typeof ms === 'number' ? Math.round(ms) : null,
  };
}

function withSample(free: FreeSample[], { event, time, free_bytes: bytes }: Entry): FreeSample[] {
  const at = textOf(time);
  if (event !== 'committed' || at === null || !Number.isSafeInteger(bytes)) return free;
  const others = free.filter(each => each.at.slice(0, 10) !== at.slice(0, 10));
  return [...others, { at, bytes: bytes as number }].slice(-SAMPLES);
}

function textOf(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}
