/** How fast this processor compresses. */
import { randomBytes } from 'node:crypto';
import { constants, zstdCompressSync } from 'node:zlib';
import { monotonicMs } from '../os/clock.ts';

const SAMPLE_BYTES = 2 * 1024 * 1024;
const SAMPLE_RUN = 64;
/** rsync's default level for zstd (its compat.c). */
const LEVEL = 3;
const TIMES = 3;
/** The time of work that takes no time on this clock. */
export const LEAST_MS = 0.01;

/** Measures how many bytes a second one processor compresses as rsync does, with content that becomes half as large. */
export function measureProcessor(): number {
  const sample = randomBytes(SAMPLE_BYTES);
  for (let at = 0; at < SAMPLE_BYTES; at += 2 * SAMPLE_RUN) sample.fill(sample[at] ?? 0, at, at + SAMPLE_RUN);
  const params = { [constants.ZSTD_c_compressionLevel]: LEVEL };
  let bestMs = Number.POSITIVE_INFINITY;
  for (let times = 0; times < TIMES; times += 1) {
    const from = monotonicMs();
    zstdCompressSync(sample, { params });
    bestMs = Math.min(bestMs, Math.max(monotonicMs() - from, LEAST_MS));
  }
  return (SAMPLE_BYTES / bestMs) * 1000;
}
