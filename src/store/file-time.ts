/** Times of files, in nanoseconds since 1970, as text, and at the limits of file systems. */

/** Nanoseconds of a second. */
export const SECOND_NS = 1_000_000_000n;
const FRACTION_DIGITS = 9;

/**
 * Writes a time as `SECONDS.NANOSECONDS` with nine digits. The fraction counts up from the second before, for times before 1970 too:
 * one nanosecond before 1970 is `-1.999999999`. find(1) 4.9 prints `%T@` in the same way.
 */
export function formatTime(ns: bigint): string {
  const part = ((ns % SECOND_NS) + SECOND_NS) % SECOND_NS;
  return `${(ns - part) / SECOND_NS}.${part.toString().padStart(FRACTION_DIGITS, '0')}`;
}

/**
 * Reads a time that `formatTime` or find's `%T@` wrote. find prints ten digits, and the last one is always 0.
 * @throws SyntaxError for anything but decimal digits
 */
export function parseTime(text: string): bigint {
  const [seconds = '', fraction = ''] = text.split('.');
  return (
    BigInt(seconds) * SECOND_NS + BigInt(fraction.slice(0, FRACTION_DIGITS).padEnd(FRACTION_DIGITS, '0'))
  );
}

/** The length of a fraction as find's `%T@` prints it, with its point. */
const FOUND_FRACTION = 1 + FRACTION_DIGITS + 1;

/** Rewrites a time of find's `%T@` as `formatTime` writes it. @throws as `parseTime` */
export function timeOfFind(text: string): string {
  const isUsual = text.at(-FOUND_FRACTION) === '.' && text.endsWith('0');
  return isUsual ? text.slice(0, -1) : formatTime(parseTime(text));
}

/**
 * A time that a file system cannot hold becomes the first or the last one that it can, to the second, and the call
 * succeeds (timestamp_truncate() in Linux, fs/inode.c). A file with exactly such a time has probably had another one.
 * In seconds since 1970; ext2 to ext4 and XFS have the first two without large inodes and bigtime.
 */
const LIMITS = [
  -(2n ** 31n),
  2n ** 31n - 1n,
  15_032_385_535n, // ext4: the year 2446
  16_299_260_424n, // XFS: the year 2486
];

/** @param mtimeNs nanoseconds since 1970 */
export function isAtTimeLimit(mtimeNs: bigint): boolean {
  return LIMITS.some(limit => limit * SECOND_NS === mtimeNs);
}

/** The same times as `formatTime` writes them, for the index. */
export const TIME_LIMITS: readonly string[] = LIMITS.map(limit => formatTime(limit * SECOND_NS));
