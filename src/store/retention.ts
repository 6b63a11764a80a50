/**
 * Decides which snapshots to keep and why: a pure function of their names, their states, the policy and the time.
 *
 * The rules are restic's (restic's manual, "Removing snapshots according to a policy"): `last = N` keeps the N
 * newest. `hourly` to `yearly = N` look at the N newest hours to years that have a snapshot, and keep the newest
 * snapshot of each. Hours without a snapshot do not count, so a machine that was off for a month loses nothing. Days,
 * weeks (ISO 8601), months and years are those of the policy's time zone. An hour that a clock shows twice counts as
 * two.
 *
 * Full and incomplete snapshots count separately. Each rule is first applied to the full ones only. Then it is
 * applied to all, and adds the newest incomplete one of each of the N newest hours to years without a full one. So an
 * incomplete snapshot never replaces a full one, never makes a full one go sooner, and is not kept beside a full one
 * of the same hour to year.
 *
 * Some snapshots stay whatever the rules say: the last full one, pinned ones, those with an open offer, the `minKeep`
 * newest, and those younger than `minAge`. Those of a retired client stay for its time. A snapshot from the future (the clock was wrong then, or is now) is kept and does not count for any
 * rule.
 */
import { snapshotTime } from '../wire/text.ts';
import type { Kept } from './kept-client.ts';

/** The rules for snapshots to keep. A number of 0 means that there is no such rule. */
export interface Policy {
  last: number;
  hourly: number;
  daily: number;
  weekly: number;
  monthly: number;
  yearly: number;
  /** The newest ones that stay whatever the rules say. */
  minKeep: number;
  /** Younger snapshots stay whatever the rules say. */
  minAgeMs: number;
  /** Without any rule: whether the oldest snapshots may go when room is needed, down to minKeep and minAge. */
  givesRoom: boolean;
  /** The time zone of the days: a name of the IANA database such as "Europe/Berlin"; undefined for the machine's. */
  zone: string | undefined;
}

/** The facts of a finished snapshot that matter here. */
export interface Candidate {
  /** The start of its run in UTC, as wire/text.ts writes it. */
  name: string;
  state: 'full' | 'incomplete';
  isPinned: boolean;
  /** The last time (ISO 8601) at which an open offer of it expires. */
  offered?: string | undefined;
  /** Why all snapshots of its client stay, and until when (store/kept-client.ts). */
  kept?: Kept | undefined;
}

/** The flag of a snapshot whose run changed much more than usual (host/anomaly.ts). */
export const UNUSUAL = 'unusual';

/** A finished snapshot with the facts from its record. */
export interface FinishedSnapshot {
  name: string;
  record: { state: 'full' | 'incomplete'; flags: string[] };
  /** The reason of its pin. */
  pinned: string | undefined;
  offered?: string | undefined;
  kept?: Kept | undefined;
}

/** Converts a snapshot for retention. An unusual snapshot counts as an incomplete one. */
export function candidateOf({ name, record, pinned, offered, kept }: FinishedSnapshot): Candidate {
  const isUnusual = record.flags.includes(UNUSUAL);
  const state = isUnusual ? 'incomplete' : record.state;
  return {
    ...{ name, state, isPinned: pinned !== undefined },
    ...(offered === undefined ? {} : { offered }),
    ...(kept === undefined ? {} : { kept }),
  };
}

/** The decision about one snapshot. */
interface Decision {
  name: string;
  keep: boolean;
  /** At least one, short enough for a table: "daily 2026-11-22", "pinned", "no rule keeps it". */
  reasons: string[];
  /** Whether it may be removed when room is needed: no rule keeps it, and it is not protected. */
  mayGoAtLowWater: boolean;
}

/** A candidate with the time in its name. */
interface Dated extends Candidate {
  time: number;
  /** The time that a clock in the policy's zone shows, as if it were UTC. */
  local: Date;
  /** The same in ISO 8601. Several rules use it, and it takes time to make. */
  iso: string;
  /** Minutes that this clock is ahead of UTC. */
  offset: number;
}

const RULES = ['last', 'hourly', 'daily', 'weekly', 'monthly', 'yearly'] as const;
type Rule = (typeof RULES)[number];

/** Whether a policy has a rule. Without one, all snapshots stay, at most until room is needed. */
export function hasRules(policy: Policy): boolean {
  return RULES.some(rule => policy[rule] > 0);
}

/**
 * Decides about all snapshots of one client.
 * @param snapshots in any order
 * @returns oldest first, sorted by name. A snapshot without a date in its name is kept.
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
    else {
      const { local, offset } = clock(time);
      past.push({ ...each, time, local, iso: local.toISOString(), offset });
    }
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
  for (const { name, offered } of snapshots)
    if (offered !== undefined && now.getTime() < Date.parse(offered)) keep(name, `offered until ${offered}`);
  for (const { name, kept } of snapshots)
    if (kept !== undefined && (kept.until === null || now.getTime() < Date.parse(kept.until)))
      keep(name, kept.reason);
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

/**
 * Selects the snapshots that one rule keeps.
 * @param past newest first
 * @param count how many hours to years
 */
function chosen(
  past: Dated[],
  count: number,
  bucketOf: (of: Dated) => string,
): { name: string; bucket: string }[] {
  /** The newest full snapshot of each bucket, and the newest one of any state. */
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

/** The hour to year of a snapshot, as its reason shows it. */
const BUCKETS: Record<Rule, (of: Dated) => string> = {
  last: each => each.name,
  hourly: ({ iso, offset }) => `${iso.slice(0, 13)}${showOffset(offset)}`,
  daily: ({ iso }) => iso.slice(0, 10),
  weekly: ({ local }) => isoWeek(local),
  monthly: ({ iso }) => iso.slice(0, 7),
  yearly: ({ iso }) => iso.slice(0, 4),
};

function showOffset(minutes: number): string {
  if (minutes === 0) return 'Z';
  const [hours, rest] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
  const two = (number: number): string => String(number).padStart(2, '0');
  return `${minutes < 0 ? '-' : '+'}${two(hours)}${rest === 0 ? '' : `:${two(rest)}`}`;
}

export const DAY_MS = 86_400_000;

/** ISO 8601: a week begins on Monday and belongs to the year of its Thursday. */
function isoWeek(local: Date): string {
  const weekday = (local.getUTCDay() + 6) % 7;
  const thursday = new Date(local.getTime() + (3 - weekday) * DAY_MS);
  const year = thursday.getUTCFullYear();
  const days = Math.floor((thursday.getTime() - Date.UTC(year, 0, 1)) / DAY_MS);
  return `${year}-W${String(Math.floor(days / 7) + 1).padStart(2, '0')}`;
}

const formatters = new Map<string | undefined, Intl.DateTimeFormat>();

/** Whether node knows this time zone. */
export function isZone(name: string): boolean {
  try {
    formatterOf(name);
    return true;
  } catch {
    return false;
  }
}

/** Caches formatters: making one takes a thousand times as long as using it. @throws RangeError for an unknown zone */
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

/** Offsets by zone and day. Formatting is slow, and on most days the offset does not change. */
const offsets = new Map<string | undefined, Map<number, number>>();

/** @returns a function from milliseconds since 1970 to the time that a clock in the zone shows */
function clockIn(zone: string | undefined): (time: number) => { local: Date; offset: number } {
  const formatter = formatterOf(zone);
  const offsetAt = (time: number): number => {
    // "11/22/2026, 14:05:09"
    const shown = formatter.format(time).match(/\d+/g) ?? [];
    const [month = 0, day = 0, year = 0, hour = 0, minute = 0] = shown.map(Number);
    return Math.round((Date.UTC(year, month - 1, day, hour, minute) - time) / MINUTE_MS);
  };
  const atMidnight = offsets.get(zone) ?? new Map<number, number>();
  offsets.set(zone, atMidnight);
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
