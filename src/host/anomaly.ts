/**
 * Whether what a client sent is like what it used to send. Pure: the ledger of its runs and the time are parameters, and
 * decisions are returned with their reasons. host/admission.ts measures and acts.
 *
 * A run's tree is compared with a baseline: the newest snapshot that is not unusual itself, or, where that is older than 30
 * days, the newest one. Three shares are computed: how much of the new tree is fresh, how much of the baseline is lost, and how much of
 * the bytes is fresh. They are added up over 24 hours, since many small steps are a large one. A sum of more than three times
 * what this client usually reaches in a day is unusual. Less than a quarter (a half in the first week) never is, and nine
 * tenths always is. Where half of the tree is usual, a share says nothing.
 *
 * Usual is what nine of ten days stayed below, in the oldest 30 days of the last 400 or in the newest 30, whichever is less.
 * So an attacker must stay for a year to change it, and days count, not runs. Unusual runs do not count for it, so going back
 * and forth teaches nothing. A change that stays is unusual for 30 days.
 *
 * Retention treats an unusual snapshot like an incomplete one (`candidateOf()` in store/retention.ts): it replaces no other
 * snapshot and does not bring the removal of another one nearer. The last full snapshot from before the change is pinned. There are
 * at most two such pins in 30 days, and each expires after 200 days: never more than 14, and none makes room for another.
 */
import { type Candidate, type FinishedSnapshot, UNUSUAL } from '../store/retention.ts';
import { snapshotName } from '../wire/text.ts';
import { type Change, DAY_MS, HOUR_MS, type Ledger, SHARES } from './ledger.ts';

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

const BASELINE_MS = 30 * DAY_MS;

/**
 * What a run is compared with.
 * @param snapshots those of the client
 * @param started when the run began
 * @returns undefined for a first run
 */
export function pickBaseline<T extends FinishedSnapshot>(snapshots: T[], started: Date): T | undefined {
  const past = snapshots.filter(each => each.name < snapshotName(started));
  const usual = newestOf(past.filter(each => !each.record.flags.includes(UNUSUAL)));
  const oldest = snapshotName(new Date(started.getTime() - BASELINE_MS));
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

const PINS_SPAN_MS = 30 * DAY_MS;
const PINS_IN_SPAN = 2;
const PIN_EXPIRES_MS = 200 * DAY_MS;

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

/** Removes the expired pins from the ledger. @returns their snapshots */
export function expirePins(ledger: Ledger, now: Date): string[] {
  const isExpired = ({ at }: { at: number }): boolean => at <= now.getTime() - PIN_EXPIRES_MS;
  const expired = ledger.pins.filter(isExpired);
  ledger.pins = ledger.pins.filter(each => !isExpired(each));
  return expired.map(each => each.snapshot);
}
