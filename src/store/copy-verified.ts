/** The verification of a copy on another machine: the output of `dialback verify --json` there, or a comparison by rsync. */
import { escapeText, SNAPSHOT } from '../wire/text.ts';
import type { CompareSnapshot } from './copy-place.ts';
import { emptyVerified, type Verified } from './verify.ts';

/** Lines of records to keep. */
const MOST_RECORDS = 1000;

/**
 * Parses the output of `dialback verify --json` for one client. Damaged files are only counted.
 * @returns undefined for any other text
 */
export function parseVerified(text: string, client: string): Verified | undefined {
  let all: unknown;
  try {
    all = JSON.parse(text);
  } catch {
    return undefined;
  }
  const [only, ...more] = Array.isArray(all) ? (all as Record<string, unknown>[]) : [];
  if (only?.client !== client || more.length > 0) return undefined;
  const { snapshots, made, damaged_count: damaged, records, failed } = only;
  const counts = ['names', 'files_read', 'bytes_read'].map(each => only[each]);
  if (!areNames(snapshots) || !areNames(made) || ![damaged, ...counts].every(isCount)) return undefined;
  if (!Array.isArray(records) || (failed !== null && typeof failed !== 'string')) return undefined;
  const [names, files, bytes] = counts as number[];
  return {
    ...emptyVerified(client, 100),
    snapshots,
    made,
    failed: failed === null ? null : escapeText(failed),
    names: names ?? 0,
    files_read: files ?? 0,
    bytes_read: bytes ?? 0,
    damaged_count: damaged as number,
    records: records.slice(0, MOST_RECORDS).map(each => {
      const { snapshot, name, found } = Object(each) as Record<string, unknown>;
      return { snapshot: shown(snapshot), name: shown(name), found: shown(found) };
    }),
  };
}

function areNames(value: unknown): value is string[] {
  return Array.isArray(value) && value.every(each => typeof each === 'string' && SNAPSHOT.test(each));
}

const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && Number(value) >= 0;
const shown = (value: unknown): string => escapeText(String(value));

/** Compares snapshots of a client with their copies. */
export async function differences(
  client: string,
  snapshots: readonly string[],
  compare: CompareSnapshot,
): Promise<Verified> {
  const result = emptyVerified(client, 100);
  for (const snapshot of snapshots) {
    const found = await compare(client, snapshot);
    if (found === undefined) continue;
    result.snapshots.push(snapshot);
    const [first] = found;
    if (first === undefined) continue;
    const more = found.length > 1 ? `, and ${found.length - 1} more` : '';
    result.records.push({
      snapshot,
      name: 'tree',
      found: `it differs from the store: ${escapeText(first)}${more}`,
    });
  }
  return result;
}
