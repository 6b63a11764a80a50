/** The time of a snapshot that is adopted: from the name of its folder, or as a person writes it. Pure. */

const NAME_TIME =
  /(?<!\d)(\d{4})-?(\d\d)-?(\d\d)(?:[T_ .-]?(\d\d)[:h.-]?(\d\d)(?:[:m.-]?(\d\d))?(Z)?)?(?!\d)/g;

/**
 * Reads the time in the name of a folder: `2026-05-01`, `backup-20260501_0315`, `2026-05-01T03-15-00Z`.
 * @returns undefined if there is none, or more than one
 */
export function timeInName(name: string): Date | undefined {
  const found = [...name.matchAll(NAME_TIME)];
  const [, year, month, day, hour = '0', minute = '0', second = '0', zulu] = found[0] ?? [];
  if (found.length !== 1) return undefined;
  return timeOf([year, month, day, hour, minute, second].map(Number), zulu !== undefined);
}

const GIVEN_TIME = /^(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d)[:-](\d\d)(?:[:-](\d\d))?(Z)?)?$/;

/** Parses the value of --time: a date, or a date and a time, in the local time zone, or with `Z` in UTC. */
export function parseGivenTime(text: string): Date | undefined {
  const [, year, month, day, hour = '0', minute = '0', second = '0', zulu] = GIVEN_TIME.exec(text) ?? [];
  return timeOf([year, month, day, hour, minute, second].map(Number), zulu !== undefined);
}

/** @returns undefined for a date that does not exist */
function timeOf(parts: number[], isUtc: boolean): Date | undefined {
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = parts;
  const time = isUtc
    ? new Date(Date.UTC(year, month - 1, day, hour, minute, second))
    : new Date(year, month - 1, day, hour, minute, second);
  const found = isUtc
    ? [time.getUTCFullYear(), time.getUTCMonth() + 1, time.getUTCDate(), time.getUTCMinutes()]
    : [time.getFullYear(), time.getMonth() + 1, time.getDate(), time.getMinutes()];
  const isReal = found.join() === [year, month, day, minute].join() && hour < 24 && second < 60;
  return isReal ? time : undefined;
}
