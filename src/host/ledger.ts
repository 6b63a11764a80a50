/**
 * A client's ledger: the host's memory of the client's runs, to decide about the next one. It is the file ledger.json in the
 * client's folder of the store: a few kilobytes, however many runs there were.
 */
import type { Parsed } from '../fault.ts';
import { snapshotTime } from '../wire/text.ts';

export const HOUR_MS = 3_600_000;
export const DAY_MS = 24 * HOUR_MS;

/** How much a run's tree differs from another tree. Each share is between 0 and 1, or larger where runs are added up. */
export interface Change {
  /** The share of the tree's files that it does not share with the other tree. */
  fresh: number;
  /** The share of the other tree's files that are changed or missing in the tree. */
  lost: number;
  /** The share of the tree's bytes that it does not share with the other tree. */
  bytes: number;
}

/** The keys of a Change. */
export const SHARES = ['fresh', 'lost', 'bytes'] as const;

/** The content of ledger.json. All times are milliseconds since 1970. */
export interface Ledger {
  version: 1;
  /** When the newest run started. */
  lastStart: number | null;
  /** How much the client has added and how much of it still counts, at the time `at` (host/quota.ts). */
  growth: { bytes: number; at: number };
  /** The part of `growth` that lies in arriving/. */
  arrivingBytes: number;
  /**
   * The size of the files beside the trees when the last run had ended: records, exclude lists, manifests, the index. The client
   * decides how much these grow, and some of them are written after the run. A ledger of 0.1.1 does not have this key.
   */
  besideBytes?: number;
  /** The changes of the last 24 hours, by hour. `first` is when the hour's first run started. Unusual runs are left out. */
  hours: (Change & { at: number; first: number })[];
  /** The changes of the last 400 days, by day (UTC). Unusual runs are left out. */
  days: (Change & { at: number })[];
  /** The pins that unusual runs have set and that have not expired. */
  pins: { snapshot: string; at: number }[];
}

/**
 * Makes the ledger of a client whose history is not known.
 * @param lastStart when the client's newest run started, if that is known
 */
export function newLedger(lastStart: number | null = null): Ledger {
  return {
    version: 1,
    lastStart,
    growth: { bytes: 0, at: 0 },
    arrivingBytes: 0,
    hours: [],
    days: [],
    pins: [],
  };
}

/** Parses ledger.json. Pure. @returns the ledger, or the reason why the text is none */
export function parseLedger(text: string): Parsed<Ledger> {
  let found: Ledger;
  try {
    found = JSON.parse(text) as Ledger;
  } catch {
    return { reason: 'it is not JSON' };
  }
  const isNumber = (value: unknown): boolean => Number.isFinite(value) && (value as number) >= 0;
  const isChange = (each: unknown): boolean =>
    ['at', ...SHARES].every(key => isNumber((Object(each) as Record<string, unknown>)[key]));
  const isGood =
    found?.version === 1 &&
    (found.lastStart === null || isNumber(found.lastStart)) &&
    isNumber(found.growth?.bytes) &&
    isNumber(found.growth.at) &&
    isNumber(found.arrivingBytes) &&
    (found.besideBytes === undefined || isNumber(found.besideBytes)) &&
    [found.hours, found.days, found.pins].every(Array.isArray) &&
    [...found.hours, ...found.days].every(isChange) &&
    found.hours.every(each => isNumber(each.first)) &&
    found.pins.every(each => snapshotTime(String(each?.snapshot)) !== undefined && isNumber(each.at));
  return isGood ? { value: found } : { reason: 'it is no ledger of this version' };
}
