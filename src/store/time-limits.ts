/**
 * Times that a file system cuts: one that is outside of its range becomes the first or the last that it can hold, to the second,
 * and no call fails (timestamp_truncate() in Linux, fs/inode.c). A file with exactly such a time has probably had another one.
 */

/** Seconds since 1970 at the ends of ranges. ext2 to ext4 and XFS: the first two without large inodes and bigtime. */
const LIMITS = [
  -(2n ** 31n),
  2n ** 31n - 1n,
  15_032_385_535n, // ext4: the year 2446
  16_299_260_424n, // XFS: the year 2486
];
const NANO = 1_000_000_000n;

/** @param mtimeNs nanoseconds since 1970 */
export function isAtTimeLimit(mtimeNs: bigint): boolean {
  return LIMITS.some(limit => limit * NANO === mtimeNs);
}

/** The same times as the index has them. */
export const TIME_LIMITS = LIMITS.map(limit => `${limit}.000000000`);
