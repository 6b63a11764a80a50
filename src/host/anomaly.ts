/**
 * Detects a run that changes far more than the client's runs usually do. Pure: the ledger and the time are parameters, and decisions
 * are returned with their reasons. host/admission.ts measures and acts.
 *
 * A run's tree is compared with a baseline: the newest usual snapshot, or the newest snapshot of all if that one is
 * older than 30 days. Three shares are computed: the fresh files of the new tree, the lost files of the baseline, and the fresh bytes.
 * They are added up over 24 hours, since many small steps are a large one. A sum of more than three times the client's usual sum of
 * a day is unusual. A sum below a quarter (a half in the first week) never is, and one above nine tenths always is. A share is ignored if
 * the client usually changes half of its tree in a day.
 *
 * The usual sum is the one that nine of ten days stayed below, in the oldest 30 days of the last 400 or in the newest 30, whichever is
 * less. So an attacker must stay for a year to change it, and the number of runs in a day makes no difference. Unusual runs do not count
 * for it, so that changing back and forth does not change it. A lasting change is unusual for 30 days.
 *
 * Retention treats an unusual snapshot like an incomplete one (`candidateOf()` in store/retention.ts): it replaces no other
 * snapshot and does not bring the removal of another one nearer. The last full snapshot from before the change is pinned. There are
 * at most two such pins in 30 days, and each expires after 200 days. So there are never more than 14, and none replaces another.
 */
import { type Candidate, type FinishedSnapshot, UNUSUAL } from '../store/retention.ts';
import { snapshotName } from '../wire/text.ts';
import { type Change, DAY_MS, HOUR_MS, type Ledger, SHARES } from './ledger.ts';

/** The size of a tree, and of its part that the tree which it is compared with does not share. */
interface TreeSize {
  files: number;
  freshFiles: number;
  bytes: number;
  freshBytes: number;
}

/** Computes how much a tree differs from its baseline. @param filesBefore the number of files in the baseline */
export function changeOf(tree: TreeSize, filesBefore: number): Change {
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
 * Picks the snapshot that a run is compared with.
 * @param snapshots the client's
 * @param started when the run started
 * @returns undefined for a client's first run
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

/** A smaller sum is never unusual. */
const MIN_UNUSUAL = 0.25;
const MIN_UNUSUAL_IN_FIRST_DAYS = 0.5;
/** A larger sum is always unusual. */
const MAX_USUAL = 0.9;
/** A sum of more than this many times the usual one is unusual. */
const FACTOR = 3;
/** A share that usually reaches this in a day is ignored: a nightly dump, for example, is new every night. */
const IGNORED_FROM = 0.5;
const FIRST_DAYS = 7;
/** Days in each of the two windows that the usual sum is computed from. */
const WINDOW_DAYS = 30;
const QUANTILE = 0.9;
const REMEMBERED_DAYS = 400;

/** Whether a run's change is unusual. */
interface ChangeCheck {
  isUnusual: boolean;
  /** For the journal: each share that is unusual, with its sum. */
  reasons: string[];
  /** When the first run started whose change is part of an unusual sum (milliseconds since 1970). */
  began: number;
}

/** Checks a run's change against the client's usual ones. @param started when the run started */
export function checkChange(ledger: Ledger, change: Change, started: Date): ChangeCheck {
  const check: ChangeCheck = { isUnusual: false, reasons: [], began: started.getTime() };
  const days = daysBefore(ledger, dayOf(started.getTime()));
  const since = started.getTime() - DAY_MS;
  const recent = ledger.hours.filter(each => each.at > since && each.at <= started.getTime()).reverse();
  for (const key of SHARES) {
    const sum = recent.reduce((total, each) => total + each[key], change[key]);
    if (sum <= MIN_UNUSUAL) continue;
    const usual = usualShare(days, key);
    if (usual >= IGNORED_FROM) continue;
    const least = days.length < FIRST_DAYS ? MIN_UNUSUAL_IN_FIRST_DAYS : MIN_UNUSUAL;
    const limit = Math.min(MAX_USUAL, Math.max(least, FACTOR * usual));
    if (sum <= limit) continue;
    check.isUnusual = true;
    check.reasons.push(`${key} ${show(sum)} in 24 hours, usually ${show(usual)}`);
    let rest = change[key];
    for (const hour of recent) {
      if (rest > limit) break;
      rest += hour[key];
      check.began = Math.min(check.began, hour.first);
    }
  }
  return check;
}

const show = (share: number): string => `${Math.round(share * 100)}%`;

const dayOf = (time: number): number => Math.floor(time / DAY_MS) * DAY_MS;
const hourOf = (time: number): number => Math.floor(time / HOUR_MS) * HOUR_MS;

/** The days that the next run is compared with. Today does not count. A day in the future does not either, since the clock was wrong. */
function daysBefore({ days }: Ledger, today: number): Change[] {
  let end = days.length;
  while (end > 0 && (days[end - 1]?.at ?? 0) >= today) end -= 1;
  let start = 0;
  while (start < end && (days[start]?.at ?? 0) < today - REMEMBERED_DAYS * DAY_MS) start += 1;
  return days.slice(start, end);
}

/** The sum that most days stay below. */
function usualShare(days: Change[], key: keyof Change): number {
  return Math.min(quantile(days.slice(0, WINDOW_DAYS), key), quantile(days.slice(-WINDOW_DAYS), key));
}

function quantile(days: Change[], key: keyof Change): number {
  const sorted = days.map(each => Math.min(1, each[key])).sort((one, other) => one - other);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * QUANTILE))] ?? 0;
}

/** Notes in the ledger the change of a usual run. @param started when the run started */
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
 * Chooses the snapshot that an unusual run pins.
 * @param snapshots the client's
 * @param began as `checkChange()` returns it
 * @returns the newest full snapshot from before the change; undefined if it is pinned already, or if no pin is left
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

/** Notes in the ledger that an unusual run pins a snapshot. */
export function notePin(ledger: Ledger, snapshot: string, now: Date): void {
  ledger.pins.push({ snapshot, at: now.getTime() });
}

/** Removes the expired pins from the ledger. @returns the names of their snapshots */
export function expirePins(ledger: Ledger, now: Date): string[] {
  const isExpired = ({ at }: { at: number }): boolean => at <= now.getTime() - PIN_EXPIRES_MS;
  const expired = ledger.pins.filter(isExpired);
  ledger.pins = ledger.pins.filter(each => !isExpired(each));
  return expired.map(each => each.snapshot);
}
