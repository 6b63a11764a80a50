/** Predicts when the store's file system is full. Pure. */
import { snapshotName, snapshotTime } from '../wire/text.ts';
import { DAY_MS } from './retention.ts';

/** A prediction. */
export interface Forecast {
  /** The bytes that the store grows by in a day; negative if it shrinks. */
  growth_bytes_per_day: number;
  /** Days until the free space is used; null if the store does not grow, or if that takes more than ten years. */
  days_until_full: number | null;
  /**
   * Its data. `free-space`: the free space after earlier commits. `new-bytes`: the new bytes of the last snapshots, as
   * long as there is too little of the first. New bytes do not include the space that removals free.
   */
  basis: 'free-space' | 'new-bytes';
}

/** The days that are looked at: a month has each weekly and monthly run in it. */
const DAYS = 30;
/** Fewer days say nothing about the next ones. */
const FEWEST_DAYS = 3;
const LONGEST_DAYS = 3650;

interface Known {
  at: Date;
  /** Bytes that may still be used. */
  room: number;
  /** Free bytes now. */
  free: number;
  samples: readonly { at: string; bytes: number }[];
  /** Without each client's first snapshot: its bytes do not come again. */
  snapshots: Iterable<{ name: string; new_bytes: number }>;
}

/** @returns null if there is too little data */
export function forecast(known: Known): Forecast | null {
  const [perDay, basis] = [bySamples(known), 'free-space'] as const;
  if (perDay !== undefined) return forecastOf(known, perDay, basis);
  const byNew = byNewBytes(known);
  return byNew === undefined ? null : forecastOf(known, byNew, 'new-bytes');
}

function forecastOf({ room }: Known, perDay: number, basis: Forecast['basis']): Forecast {
  const days = perDay > 0 ? Math.max(0, room) / perDay : Number.POSITIVE_INFINITY;
  return {
    growth_bytes_per_day: Math.round(perDay) + 0, // no -0
    days_until_full: days > LONGEST_DAYS ? null : Math.round(days * 10) / 10,
    basis,
  };
}

/** The slope of a line through the samples (least squares), with the sign of growth. */
function bySamples({ at, free, samples }: Known): number | undefined {
  const points = [...samples, { at: at.toISOString(), bytes: free }]
    .map(each => ({ day: (Date.parse(each.at) - at.getTime()) / DAY_MS, bytes: each.bytes }))
    .filter(({ day }) => day <= 0 && day >= -DAYS);
  const first = Math.min(...points.map(({ day }) => day));
  if (points.length < FEWEST_DAYS || -first < FEWEST_DAYS) return undefined;
  const mean = (of: (point: { day: number; bytes: number }) => number): number =>
    points.reduce((sum, each) => sum + of(each), 0) / points.length;
  const [day, bytes] = [mean(each => each.day), mean(each => each.bytes)];
  const spread = mean(each => (each.day - day) ** 2);
  return -mean(each => (each.day - day) * (each.bytes - bytes)) / spread;
}

/** The mean of the new bytes of a day. */
function byNewBytes({ at, snapshots }: Known): number | undefined {
  // Names sort by time. To compare them costs less than to parse 100,000 times.
  const [first, last] = [snapshotName(new Date(at.getTime() - DAYS * DAY_MS)), snapshotName(at)];
  let [oldest, bytes] = [last, 0];
  for (const { name, new_bytes } of snapshots) {
    if (name < first || name > last) continue;
    bytes += new_bytes;
    if (name < oldest) oldest = name;
  }
  const days = (at.getTime() - (snapshotTime(oldest)?.getTime() ?? 0)) / DAY_MS;
  return days < FEWEST_DAYS ? undefined : bytes / days;
}
