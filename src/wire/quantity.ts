/** Sizes, durations and shares as the configs and the command line write them. Pure: unknown text gives undefined. */

/** A number of bytes or inodes, or a percentage of all that there are. */
export type Quantity = { count: number } | { percent: number };

/** Powers of 1024, as rsync has them. */
const SIZE_UNITS: Record<string, number> = { '': 1, K: 1024, M: 1024 ** 2, G: 1024 ** 3, T: 1024 ** 4 };
const TIME_UNITS: Record<string, number> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
};

/** Parses a size such as `"20G"`. @returns bytes */
export function parseSize(text: string): number | undefined {
  const found = /^(\d{1,12})([KMGT]?)$/.exec(text);
  const value = Number(found?.[1]) * (SIZE_UNITS[found?.[2] ?? ''] ?? Number.NaN);
  return found && Number.isSafeInteger(value) ? value : undefined;
}

/** Parses a duration such as `"36h"`. @returns milliseconds */
export function parseDuration(text: string): number | undefined {
  const found = /^(\d{1,9})(ms|s|m|h|d|w)$/.exec(text);
  const value = Number(found?.[1]) * (TIME_UNITS[found?.[2] ?? ''] ?? Number.NaN);
  return found && Number.isSafeInteger(value) ? value : undefined;
}

/** Parses a percentage such as `"5%"` or `"2.5%"`. The caller refuses one above 100. */
export function parsePercent(text: string): Quantity | undefined {
  const found = /^(\d{1,4}(?:\.\d{1,3})?)%$/.exec(text)?.[1];
  return found === undefined ? undefined : { percent: Number(found) };
}
