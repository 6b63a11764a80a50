/**
 * Which snapshots are kept and why: a pure function of their names, their states, the policy and the time.
 *
 * The rules are restic's (restic's manual, "Removing snapshots according to a policy"): `last = N` keeps the N newest;
 * `hourly` … `yearly = N` keep, of each of the N newest hours … years that have a snapshot, the newest one in it. Hours
 * without one do not count, so that a machine that was switched off for a month loses nothing by it. Days, weeks (ISO
 * 8601), months and years are those of the policy's time zone; an hour that a clock shows twice is two.
 *
 * Full and incomplete ones count apart. Each rule is first asked of the full ones alone, as if there were no others.
 * Then it is asked of all, and what it adds is the newest incomplete one of each of the N newest hours … years that
 * have no full one. So an incomplete one never takes the place of a full one, never makes a full one's turn come
 * sooner, and is not kept beside a full one of the same hour … year.
 *
 * Whatever the rules say, these stay: the last full one, pinned ones, the `minKeep` newest, those younger than `minAge`.
 * One from the future (the clock was wrong then, or is now) is kept, set aside, and counted by no rule.
 */
import { snapshotTime } from '../wire/text.ts';

/** What is to be kept. Of every number, 0 is: no such rule. */
export interface Policy {
  last: number;
  hourly: number;
  daily: number;
  weekly: number;
  monthly: number;
  yearly: number;
  /** The newest so many stay whatever the rules say. */
  minKeep: number;
  /** Younger ones stay whatever the rules say. */
  minAgeMs: number;
  /** Without any rule: whether the oldest may go when room is needed, down to minKeep and minAge. */
  givesRoom: boolean;
  /** Whose days: a name of the IANA time zone database, "Europe/Berlin"; undefined: the machine's. */
  zone: string | undefined;
}

/** A finished snapshot, as far as it matters here. */
export interface Candidate {
  /** Its UTC start, as wire/text.ts has it. */
  name: string;
  state: 'full' | 'incomplete';
  isPinned: boolean;
}

/** The flag of a snapshot whose run changed much more than this client usually does (host/anomaly.ts). */
export const UNUSUAL = 'unusual';

/** A finished snapshot, as its record has it. */
export interface FinishedSnapshot {
  name: string;
  record: { state: 'full' | 'incomplete'; flags: string[] };
  /** The reason of the pin. */
  pinned: string | undefined;
}

/** A finished snapshot as retention treats it: an unusual one counts as an incomplete one does. */
export function candidateOf({ name, record, pinned }: FinishedSnapshot): Candidate {
  const isUnusual = record.flags.includes(UNUSUAL);
  return { name, state: isUnusual ? 'incomplete' : record.state, isPinned: pinned !== undefined };
}

/** What becomes of one snapshot. */
export interface Decision {
  name: string;
  keep: boolean;
  /** At least one, short enough for a table: "daily 2026-11-22", "pinned", "no rule keeps it". */
  reasons: string[];
  /** Whether it may be removed when room is needed: no rule wants it, and nothing else forbids it. */
  mayGoAtLowWater: boolean;
}

/** A candidate with what its name tells. */
interface Dated extends Candidate {
  time: number;
  /** The same moment as a clock in the policy's zone shows it, taken as if it were UTC. */
  local: Date;
  /** Minutes that this clock is ahead of UTC. */
  offset: number;
}

const RULES = ['last', 'hourly', 'daily', 'weekly', 'monthly', 'yearly'] as const;
type Rule = (typeof RULES)[number];

/** Whether a policy has any of the rules that count; without one, all are kept, at most until room is needed. */
export function hasRules(policy: Policy): boolean {
  return RULES.some(rule => policy[rule] > 0);
}

/**
 * Decides about all snapshots of one client.
 * @param snapshots in any order
 * @returns oldest first, as the names sort; what no date can be read out of is kept
 */
export function decideRetention(snapshots: Candidate[], policy: Policy, now: Date): Decision[] {
  const reasons = new Map<string, string[]>();
  const promised = new Set<string>();
  const keep = (name: string, reason: string): void => {
    promised.add(name);
    const known = reasons.get(name);
    if (known) known.push(reason);
    else reasons.set(name, [reason]);
  };
  const past: Dated[] = [];
  const clock = clockIn(policy.zone);
  for (const each of snapshots) {
    const time = snapshotTime(each.name)?.getTime();
    if (time === undefined) keep(each.name, 'no date');
    else if (time > now.getTime()) keep(each.name, 'from the future');
    else past.push({ ...each, time, ...clock(time) });
  }
  past.sort((one, other) => other.time - one.time);
  for (const rule of RULES)
    for (const { name, bucket } of chosen(past, policy[rule], BUCKETS[rule]))
      keep(name, rule === 'last' ? `last ${policy.last}` : `${rule} ${bucket}`);
  const lastFull = past.find(each => each.state === 'full');
  if (lastFull) keep(lastFull.name, 'the last full one');
  for (const { name } of chosen(past, policy.minKeep, BUCKETS.last)) keep(name, 'min_keep');
  for (const { name, time } of past)
    if (now.getTime() - time < policy.minAgeMs) keep(name, 'younger than min_age');
  for (const { name, isPinned } of snapshots) if (isPinned) keep(name, 'pinned');
  const isOpen = !hasRules(policy);
  const inTheOpen = policy.givesRoom ? 'as long as there is room' : 'no rule removes it';
  return snapshots
    .map(({ name }) => ({
      name,
      keep: isOpen || promised.has(name),
      reasons: reasons.get(name) ?? [isOpen ? inTheOpen : 'no rule keeps it'],
      mayGoAtLowWater: !promised.has(name) && (!isOpen || policy.givesRoom),
    }))
    .sort((one, other) => (one.name < other.name ? -1 : one.name > other.name ? 1 : 0));
}

/** What one rule keeps. @param past newest first @param count how many hours … years */
function chosen(
  past: Dated[],
  count: number,
  bucketOf: (of: Dated) => string,
): { name: string; bucket: string }[] {
  /** The newest full one of each of the newest that have one, and the newest of any kind. */
  const full = new Map<string, string>();
  const any = new Map<string, string>();
  for (const each of past) {
    const bucket = bucketOf(each);
    const isNew = !any.has(bucket) && !full.has(bucket);
    if (isNew && any.size >= count && full.size >= count) break;
    if (any.size < count && !any.has(bucket)) any.set(bucket, each.name);
    if (each.state !== 'full' || full.has(bucket)) continue;
    if (full.size < count) full.set(bucket, each.name);
  }
  const others = [...any].filter(([bucket]) => !full.has(bucket));
  return [...full, ...others].map(([bucket, name]) => ({ bucket, name }));
}

/** Which hour … year a snapshot stands for, as its reason shows it. */
const BUCKETS: Record<Rule, (of: Dated) => string> = {
  last: each => each.name,
  hourly: ({ local, offset }) => `${local.toISOString().slice(0, 13)}${showOffset(offset)}`,
  daily: ({ local }) => local.toISOString().slice(0, 10),
  weekly: ({ local }) => isoWeek(local),
  monthly: ({ local }) => local.toISOString().slice(0, 7),
  yearly: ({ local }) => local.toISOString().slice(0, 4),
};

function showOffset(minutes: number): string {
  if (minutes === 0) return 'Z';
  const [hours, rest] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
  const two = (number: number): string => String(number).padStart(2, '0');
  return `${minutes < 0 ? '-' : '+'}${two(hours)}${rest === 0 ? '' : `:${two(rest)}`}`;
}

const DAY_MS = 86_400_000;

/** ISO 8601: a week begins on Monday and belongs to the year that its Thursday is in. */
function isoWeek(local: Date): string {
  const weekday = (local.getUTCDay() + 6) % 7;
  const thursday = new Date(local.getTime() + (3 - weekday) * DAY_MS);
  const year = thursday.getUTCFullYear();
  const days = Math.floor((thursday.getTime() - Date.UTC(year, 0, 1)) / DAY_MS);
  return `${year}-W${String(Math.floor(days / 7) + 1).padStart(2, '0')}`;
}

const formatters = new Map<string | undefined, Intl.DateTimeFormat>();

/** Whether this is a time zone that we know. */
export function isZone(name: string): boolean {
  try {
    formatterOf(name);
    return true;
  } catch {
    return false;
  }
}

/** Making one takes a thousand times as long as using it. @throws RangeError for no zone */
function formatterOf(zone: string | undefined): Intl.DateTimeFormat {
  const known = formatters.get(zone);
  if (known) return known;
  const made = new Intl.DateTimeFormat('en-US', {
    timeZone: zone,
    calendar: 'gregory',
    numberingSystem: 'latn',
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
  });
  formatters.set(zone, made);
  return made;
}

const MINUTE_MS = 60_000;

/** @returns what a clock in that zone shows at a moment (milliseconds since 1970) */
function clockIn(zone: string | undefined): (time: number) => { local: Date; offset: number } {
  const formatter = formatterOf(zone);
  const offsetAt = (time: number): number => {
    // "11/22/2026, 14:05:09"
    const shown = formatter.format(time).match(/\d+/g) ?? [];
    const [month = 0, day = 0, year = 0, hour = 0, minute = 0] = shown.map(Number);
    return Math.round((Date.UTC(year, month - 1, day, hour, minute) - time) / MINUTE_MS);
  };
  /** By day: asking is slow, and on most days a clock is not changed. */
  const atMidnight = new Map<number, number>();
  const ofDay = (day: number): number => {
    const known = atMidnight.get(day) ?? offsetAt(day * DAY_MS);
    atMidnight.set(day, known);
    return known;
  };
  return time => {
    const day = Math.floor(time / DAY_MS);
    const offset = ofDay(day) === ofDay(day + 1) ? ofDay(day) : offsetAt(time - (time % MINUTE_MS));
    return { local: new Date(time + offset * MINUTE_MS), offset };
  };
}
