/** The table `[journal]` of both configs. */
import * as v from 'valibot';
import { JOURNAL_BYTES, JOURNAL_MS, limitJournals } from '../os/journal.ts';
import { durationKey, sizeKey } from './toml.ts';

const KIB = 1024;
const LEAST_BYTES = 64 * KIB;
const MOST_BYTES = 64 * KIB * KIB;
const DAY_MS = 86_400_000;
const MOST_MS = 36_525 * DAY_MS;

/** The table. */
export const journalTable = v.strictObject({
  max_size: v.optional(
    v.pipe(
      sizeKey,
      v.check(bytes => bytes >= LEAST_BYTES && bytes <= MOST_BYTES, 'should be from 64K to 64M'),
    ),
    `${JOURNAL_BYTES / KIB / KIB}M`,
  ),
  keep: v.optional(durationKey(DAY_MS, MOST_MS), `${JOURNAL_MS / DAY_MS}d`),
});

/** Applies the table of a config to the journals that this process writes. */
export function useJournalTable({ max_size, keep }: v.InferOutput<typeof journalTable>): void {
  limitJournals({ maxBytes: max_size, keepMs: keep });
}
