/** A client's ledger: what the host remembers of its runs, in a file of the client's folder. Pure. */
import type { Parsed } from '../fault.ts';
import { snapshotTime } from '../wire/text.ts';

export const HOUR_MS = 3_600_000;
export const DAY_MS = 24 * HOUR_MS;

/** How much of a run's tree differs from another; each from 0 to 1, or above where runs are added up. */
export interface Change {
  /** Of the files in it: those that the other does not share. */
  fresh: number;
  /** Of the files in the other: those that are not in it as they were. */
  lost: number;
  /** Of the bytes in it: those that the other does not share. */
  bytes: number;
}
export const SHARES = ['fresh', 'lost', 'bytes'] as const;

/** A client's runs, as far as the next one is judged by them: a few kilobytes, however many there were. */
export interface Ledger {
  version: 1;
  /** When the newest run began. Times are milliseconds since 1970. */
  lastStart: number | null;
  /** What it has added and what is not forgotten yet. */
  growth: { bytes: number; at: number };
  /** Of what is counted in `growth`: what lies in arriving/. */
  arrivingBytes: number;
  /**
   * What lay beside the trees when the last run had ended: records, exclude lists, manifests, the index. It grows with what the
   * client sends, some of it after the run. A ledger of 0.1.1 does not have it.
   */
  besideBytes?: number;
  /** By hour, the changes of the last 24 hours; unusual runs are left out, here and below. */
  hours: (Change & { at: number; first: number })[];
  /** By day (UTC), the changes of the last 400 days. */
  days: (Change & { at: number })[];
  /** The pins that were made by themselves, and stand. */
  pins: { snapshot: string; at: number }[];
}

/** A ledger of a client of which nothing is known but when it was last here. */
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

/** Reads a ledger's file. */
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
