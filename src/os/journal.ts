/**
 * Journals: a JSON object a line, appended whole by one write, so that two writers never mix. Full ones are put aside, and of what was
 * put aside only so much is kept; what happened to snapshots is kept longer than refusals, of which a client can make any number.
 */

import { now } from './clock.ts';
import { readWhole } from './content.ts';
import { appendText, exists, fileFault, link, lstat, rename, stat, unlink } from './files.ts';
import { replaceFile } from './replace.ts';

/** A journal is put aside at this size. */
const JOURNAL_BYTES = 4 * 1024 * 1024;
/** Kept of what was put aside, the newest: of what lasts, and of what passes. */
const LASTING_BYTES = 4 * 1024 * 1024;
const PASSING_BYTES = 1024 * 1024;
/** Nothing that passes is written to a journal that could not be put aside (a full disk). */
const MOST_BYTES = 2 * JOURNAL_BYTES;
/** More is in none, unless the disk was full for long. */
const READ_BYTES = 64 * 1024 * 1024;
/** Putting aside takes a moment: after this, who did it was killed in it. */
const ASIDE_MS = 30_000;

type Entry = Record<string, unknown>;

/**
 * Whether an entry passes: a refusal, a call that had to wait, a run without a snapshot, a tree that such a run left. A client
 * can make as many of these as it likes.
 */
export function isPassing({ event, snapshot, what }: Entry): boolean {
  if (event === 'refused' || event === 'queued') return true;
  if (event === 'run') return typeof snapshot !== 'string';
  return event === 'removed' && typeof what === 'string' && what.startsWith('arriving/');
}

function parseLine(line: string): Entry | undefined {
  try {
    const found: unknown = JSON.parse(line);
    return typeof found === 'object' && found !== null ? (found as Entry) : undefined;
  } catch {
    return undefined; // the empty one behind the last newline, and one that a full disk cut short
  }
}

/** The newest lines, first the older ones: so many bytes of those that last, and of those that pass. Pure. */
export function keptLines(
  lines: readonly string[],
  lasting = LASTING_BYTES,
  passing = PASSING_BYTES,
): string[] {
  const left = { lasting, passing };
  const kept: string[] = [];
  for (const line of lines.toReversed()) {
    const entry = parseLine(line);
    if (entry === undefined) continue;
    const kind = isPassing(entry) ? 'passing' : 'lasting';
    left[kind] -= Buffer.byteLength(line) + 1;
    if (left[kind] >= 0) kept.push(line);
  }
  return kept.reverse();
}

function linesOf(path: string): string[] {
  if (!exists(path)) return [];
  return readWhole(path, READ_BYTES).toString('utf8').split('\n');
}

/** What was put aside, and is being put aside: then a line can be in both files, and in the journal itself. */
function olderLines(path: string): string[] {
  const aside = `${path}.aside`;
  if (!exists(aside)) return linesOf(`${path}.1`);
  const isJournal = exists(path) && stat(path).ino === stat(aside).ino;
  const lines = [...linesOf(`${path}.1`), ...(isJournal ? [] : linesOf(aside))];
  return [...new Set(lines)];
}

/** What stands in a folder's journal, the oldest first; lines that a full disk cut short are left out. */
export function readJournal(folder: string): Entry[] {
  const path = `${folder}/journal.jsonl`;
  return [...olderLines(path), ...linesOf(path)].map(parseLine).filter(entry => entry !== undefined);
}

/** Appends a line to a journal (0600). @throws Fault */
export function appendJournal(path: string, entry: Entry): void {
  try {
    const size = exists(path) ? stat(path).size : 0;
    if (size > JOURNAL_BYTES) putAside(path);
    if (size > MOST_BYTES && isPassing(entry)) return;
    appendText(path, `${JSON.stringify(entry)}\n`, { mode: 0o600 });
  } catch (error) {
    throw fileFault(error, `write the journal "${path}"`);
  }
}

/**
 * Puts a journal aside, where nobody else does: two at once would put the new one in the place of the old one. On a full disk
 * nothing is lost: the journal grows, and the next line tries again.
 */
function putAside(path: string): void {
  const aside = `${path}.aside`;
  if (exists(aside) && now().getTime() - lstat(aside).ctimeMs < ASIDE_MS) return;
  try {
    if (!exists(aside)) link(path, aside);
    if (exists(path) && stat(path).ino === stat(aside).ino) unlink(path);
    if (exists(`${path}.1`)) {
      const kept = keptLines(olderLines(path));
      replaceFile(`${path}.1`, kept.map(line => `${line}\n`).join(''));
      unlink(aside);
    } else {
      rename(aside, `${path}.1`);
    }
  } catch {
    // as above; and where another one was quicker
  }
}
