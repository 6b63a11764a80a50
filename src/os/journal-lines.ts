/** The lines of a journal, and those that a rotation keeps. Pure. */

/** An entry of a journal. */
export type Entry = Record<string, unknown>;

/**
 * Whether an entry is a passing one: a refusal, a call that had to wait, a fetch, or a run without a snapshot. The removal of the tree
 * of such a run is one too. A client can cause any number of these.
 */
export function isPassing({ event, snapshot, what }: Entry): boolean {
  if (['refused', 'queued', 'fetch', 'fetch-refused'].includes(String(event))) return true;
  if (event === 'run') return typeof snapshot !== 'string';
  return event === 'removed' && typeof what === 'string' && what.startsWith('arriving/');
}

/** Reads a line. @returns undefined for any text that is not an entry */
export function parseLine(line: string): Entry | undefined {
  try {
    const found: unknown = JSON.parse(line);
    return typeof found === 'object' && found !== null ? (found as Entry) : undefined;
  } catch {
    return undefined; // the empty line after the last newline, or a line that a full disk cut short
  }
}

/** The entries that a merge keeps. */
interface KeptEntries {
  /** The most bytes of lasting entries, and of passing ones. */
  lasting: number;
  passing: number;
  /** Older entries go, in milliseconds since 1970. */
  sinceMs: number;
}

/** The newest lines, in their order. */
export function keptLines(lines: readonly string[], { lasting, passing, sinceMs }: KeptEntries): string[] {
  const left = { lasting, passing };
  const kept: string[] = [];
  for (const line of lines.toReversed()) {
    const entry = parseLine(line);
    if (entry === undefined || Date.parse(String(entry.time)) < sinceMs) continue;
    const kind = isPassing(entry) ? 'passing' : 'lasting';
    left[kind] -= Buffer.byteLength(line) + 1;
    if (left[kind] >= 0) kept.push(line);
  }
  return kept.reverse();
}
