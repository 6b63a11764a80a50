/**
 * What a client may still ask for, and whether what it sent is like what it used to send. Pure: the ledger of its runs,
 * the settings and the time go in, decisions with their reasons come out. space.ts measures and acts.
 *
 * Three rules, each made so that whoever has the client's key cannot turn it against what the host holds:
 *
 * - Too early. From the start of a run to the next request at least `min_interval` has to pass, whether that run ended
 *   well or not: failing on purpose wins nothing.
 * - Growth. A client may add `growth_budget` at once, and what it has added is forgotten at the rate of one budget in 24
 *   hours. What counts is room on the disk that nothing else of this client shares (space.ts), and what manifests, index and the
 *   like have grown by since the last run; a run that fails counts as
 *   one that ends well, and what is removed later is not given back. As long as a client has no full snapshot it is
 *   not held to this, so that a first backup can be of any size; but then nothing is removed in its favour.
 * - Unusual. A run's tree is compared with the newest snapshot that is not unusual itself, or, where that is older than 30
 *   days, with the newest one. Three shares are looked at: how much of the new tree is fresh, how much of the other one is
 *   lost, how much of the bytes is fresh. They are added up over 24 hours, since many small steps are a large one. More
 *   than three times what this client usually comes to in a day is unusual, but never less than a quarter (a half in
 *   its first week), and nine tenths always is; where half of it is usual, a share tells nothing. What is usual is what
 *   nine of ten days stayed below, in the oldest 30 days of the last 400 or in the newest 30, whichever is less: who
 *   breaks in has to stay for a year to change it, and days count, not runs. Unusual runs do not count for it at all, so
 *   going back and forth teaches nothing; and what stays as it has become is unusual for 30 days.
 *
 * An unusual snapshot is for retention what an incomplete one is (`candidateOf()`): it takes no other one's place and
 * brings no other one's turn nearer. And the last full one from before the change is pinned. There are two such pins in 30
 * days at most, and each lapses after 200 days: never more than 14, and none makes room for another.
 */
import type { Parsed } from '../fault.ts';
import { snapshotName, snapshotTime } from '../wire/text.ts';
import type { Candidate } from './retention.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** The flag of an unusual run's snapshot. */
export const UNUSUAL = 'unusual';

/** How much of a run's tree differs from another; each from 0 to 1, or above where runs are added up. */
export interface Change {
  /** Of the files in it: those that the other does not share. */
  fresh: number;
  /** Of the files in the other: those that are not in it as they were. */
  lost: number;
  /** Of the bytes in it: those that the other does not share. */
  bytes: number;
}
const SHARES = ['fresh', 'lost', 'bytes'] as const;

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

/** @returns undefined where a client may begin a run now; else when it may */
export function nextRequest(ledger: Ledger, minIntervalMs: number, now: Date): Date | undefined {
  const { lastStart } = ledger;
  // One from the future says that the clock was wrong, and not that the client is early.
  if (lastStart === null || lastStart > now.getTime()) return undefined;
  const next = lastStart + minIntervalMs;
  return next > now.getTime() ? new Date(next) : undefined;
}

/** A run begins. */
export function noteStart(ledger: Ledger, now: Date): void {
  ledger.lastStart = now.getTime();
}

/** How many bytes a client may still add. @param budgetBytes its `growth_budget` */
export function growthLeft(ledger: Ledger, budgetBytes: number, now: Date): number {
  return Math.max(0, budgetBytes - growthOf(ledger, budgetBytes, now));
}

function growthOf({ growth }: Ledger, budgetBytes: number, now: Date): number {
  const elapsedMs = Math.max(0, now.getTime() - growth.at);
  return Math.max(0, growth.bytes - (budgetBytes * elapsedMs) / DAY_MS);
}

/** A client has added so much. @param budgetBytes its `growth_budget` */
export function noteGrowth(ledger: Ledger, bytes: number, budgetBytes: number, now: Date): void {
  ledger.growth = { bytes: growthOf(ledger, budgetBytes, now) + Math.max(0, bytes), at: now.getTime() };
}

/** What a tree has, and what of it the one that it is compared with does not share. */
export interface Contents {
  files: number;
  freshFiles: number;
  bytes: number;
  freshBytes: number;
}

/** @param filesBefore how many files the one before had */
export function changeOf(tree: Contents, filesBefore: number): Change {
  const share = (part: number, whole: number): number =>
    whole <= 0 ? 0 : Math.min(1, Math.max(0, part / whole));
  return {
    fresh: share(tree.freshFiles, tree.files),
    lost: share(filesBefore - (tree.files - tree.freshFiles), filesBefore),
    bytes: share(tree.freshBytes, tree.bytes),
  };
}

/** A finished snapshot, as its record tells of it. */
interface Recorded {
  name: string;
  record: { state: 'full' | 'incomplete'; flags: string[] };
  pinned: string | undefined;
}

const YARDSTICK_MS = 30 * DAY_MS;

/**
 * What a run is compared with.
 * @param snapshots those of the client
 * @param started when the run began
 * @returns undefined for a first run
 */
export function pickYardstick<T extends Recorded>(snapshots: T[], started: Date): T | undefined {
  const past = snapshots.filter(each => each.name < snapshotName(started));
  const usual = newestOf(past.filter(each => !each.record.flags.includes(UNUSUAL)));
  const oldest = snapshotName(new Date(started.getTime() - YARDSTICK_MS));
  return usual !== undefined && usual.name >= oldest ? usual : newestOf(past);
}

function newestOf<T extends { name: string }>(snapshots: T[]): T | undefined {
  return snapshots.reduce<T | undefined>(
    (best, each) => (best === undefined || each.name > best.name ? each : best),
    undefined,
  );
}

/** Less is never unusual; more always is. */
const LEAST = 0.25;
const LEAST_AT_FIRST = 0.5;
const MOST = 0.9;
const TIMES = 3;
/** With so much as its usual day, a client's changes tell nothing: a nightly dump is new every night. */
const TELLS_NOTHING = 0.5;
const FIRST_DAYS = 7;
const WINDOW = 30;
const QUANTILE = 0.9;
const REMEMBERED_DAYS = 400;

/** How a run's change is judged. */
export interface Judgement {
  isUnusual: boolean;
  /** Which shares are, in words for the journal. */
  reasons: string[];
  /** Where it is unusual: the start of the first run that it adds up from. */
  began: number;
}

/** @param started when the run began */
export function judgeChange(ledger: Ledger, change: Change, started: Date): Judgement {
  const judgement: Judgement = { isUnusual: false, reasons: [], began: started.getTime() };
  const days = daysBefore(ledger, dayOf(started.getTime()));
  const since = started.getTime() - DAY_MS;
  const recent = ledger.hours.filter(each => each.at > since && each.at <= started.getTime()).reverse();
  for (const key of SHARES) {
    const sum = recent.reduce((total, each) => total + each[key], change[key]);
    if (sum <= LEAST) continue;
    const usual = usualShare(days, key);
    if (usual >= TELLS_NOTHING) continue;
    const least = days.length < FIRST_DAYS ? LEAST_AT_FIRST : LEAST;
    const limit = Math.min(MOST, Math.max(least, TIMES * usual));
    if (sum <= limit) continue;
    judgement.isUnusual = true;
    judgement.reasons.push(`${key} ${show(sum)} in 24 hours, usually ${show(usual)}`);
    let rest = change[key];
    for (const hour of recent) {
      if (rest > limit) break;
      rest += hour[key];
      judgement.began = Math.min(judgement.began, hour.first);
    }
  }
  return judgement;
}

const show = (share: number): string => `${Math.round(share * 100)}%`;

const dayOf = (time: number): number => Math.floor(time / DAY_MS) * DAY_MS;
const hourOf = (time: number): number => Math.floor(time / HOUR_MS) * HOUR_MS;

/** The days that the next run is judged by; those from the future (the clock was wrong) and today do not count. */
function daysBefore({ days }: Ledger, today: number): Change[] {
  let end = days.length;
  while (end > 0 && (days[end - 1]?.at ?? 0) >= today) end -= 1;
  let start = 0;
  while (start < end && (days[start]?.at ?? 0) < today - REMEMBERED_DAYS * DAY_MS) start += 1;
  return days.slice(start, end);
}

/** What most days stay below. */
function usualShare(days: Change[], key: keyof Change): number {
  return Math.min(quantile(days.slice(0, WINDOW), key), quantile(days.slice(-WINDOW), key));
}

function quantile(days: Change[], key: keyof Change): number {
  const sorted = days.map(each => Math.min(1, each[key])).sort((one, other) => one - other);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * QUANTILE))] ?? 0;
}

/** A run is finished, and is not unusual. */
export function noteChange(ledger: Ledger, change: Change, started: Date): void {
  const at = started.getTime();
  ledger.hours = ledger.hours.filter(each => each.at > at - DAY_MS - HOUR_MS && each.at <= at);
  ledger.days = ledger.days.filter(each => each.at >= dayOf(at) - REMEMBERED_DAYS * DAY_MS && each.at <= at);
  const hour = ledger.hours.at(-1);
  if (hour?.at === hourOf(at)) add(hour, change);
  else ledger.hours.push({ at: hourOf(at), first: at, ...change });
  const day = ledger.days.at(-1);
  if (day?.at === dayOf(at)) add(day, change);
  else ledger.days.push({ at: dayOf(at), ...change });
}

function add(to: Change, change: Change): void {
  for (const key of SHARES) to[key] += change[key];
}

/** A finished snapshot as retention looks at it: an unusual one counts as an incomplete one does. */
export function candidateOf({ name, record, pinned }: Recorded): Candidate {
  const isUnusual = record.flags.includes(UNUSUAL);
  return { name, state: isUnusual ? 'incomplete' : record.state, isPinned: pinned !== undefined };
}

const PINS_SPAN_MS = 30 * DAY_MS;
const PINS_IN_SPAN = 2;
const PIN_LAPSES_MS = 200 * DAY_MS;

/**
 * Which snapshot an unusual run pins.
 * @param snapshots those of the client
 * @param began as `judgeChange()` has it
 * @returns the newest full one from before the change, if nothing keeps it yet and a pin is left
 */
export function choosePin(
  ledger: Ledger,
  snapshots: Candidate[],
  began: number,
  now: Date,
): string | undefined {
  const recent = ledger.pins.filter(each => each.at > now.getTime() - PINS_SPAN_MS);
  if (recent.length >= PINS_IN_SPAN) return undefined;
  const before = snapshotName(new Date(began));
  const good = newestOf(snapshots.filter(each => each.state === 'full' && each.name < before));
  return good === undefined || good.isPinned ? undefined : good.name;
}

/** A snapshot was pinned by an unusual run. */
export function notePin(ledger: Ledger, snapshot: string, now: Date): void {
  ledger.pins.push({ snapshot, at: now.getTime() });
}

/** Takes the pins that have lapsed out of the ledger. @returns their snapshots */
export function lapsePins(ledger: Ledger, now: Date): string[] {
  const hasLapsed = ({ at }: { at: number }): boolean => at <= now.getTime() - PIN_LAPSES_MS;
  const lapsed = ledger.pins.filter(hasLapsed);
  ledger.pins = ledger.pins.filter(each => !hasLapsed(each));
  return lapsed.map(each => each.snapshot);
}
