/**
 * Journals: one JSON object per line, each appended by a single write, so that the lines of two writers do not mix. A full journal is
 * rotated, and the rotated file is limited in size. Events of snapshots are kept longer than refusals, since a client can cause any
 * number of refusals.
 */

import { now } from './clock.ts';
import { readWhole } from './content.ts';
import { appendText, exists, fileFault, link, lstat, rename, stat, unlink } from './files.ts';
import { type Entry, isPassing, keptLines, parseLine } from './journal-lines.ts';
import { replaceFile } from './replace.ts';

/** A journal is rotated at this size. */
const JOURNAL_BYTES = 4 * 1024 * 1024;
/** A journal that could not be rotated (a full disk) accepts no passing entries above this size. */
const MOST_BYTES = 2 * JOURNAL_BYTES;
/** A journal is larger only if the disk was full for a long time. */
const READ_BYTES = 64 * 1024 * 1024;
/** A rotation takes a moment. One that has not finished after this time was killed. */
const ROTATION_MS = 30_000;

function linesOf(path: string): string[] {
  if (!exists(path)) return [];
  return readWhole(path, READ_BYTES).toString('utf8').split('\n');
}

/** The lines of the rotated file, and of a rotation under way, in which a line can be in both files and in the journal. */
function olderLines(path: string): string[] {
  const aside = `${path}.aside`;
  if (!exists(aside)) return linesOf(`${path}.1`);
  const isJournal = exists(path) && stat(path).ino === stat(aside).ino;
  const lines = [...linesOf(`${path}.1`), ...(isJournal ? [] : linesOf(aside))];
  return [...new Set(lines)];
}

/** Reads a folder's journal, oldest entry first. It skips lines that a full disk cut short. @throws Fault */
export function readJournal(folder: string): Entry[] {
  const path = `${folder}/journal.jsonl`;
  return [...olderLines(path), ...linesOf(path)].map(parseLine).filter(entry => entry !== undefined);
}

/** Appends an entry to a journal (0600), and rotates a full one. @throws Fault */
export function appendJournal(path: string, entry: Entry): void {
  try {
    const size = exists(path) ? stat(path).size : 0;
    if (size > JOURNAL_BYTES) rotate(path);
    if (size > MOST_BYTES && isPassing(entry)) return;
    appendText(path, `${JSON.stringify(entry)}\n`, { mode: 0o600 });
  } catch (error) {
    throw fileFault(error, `write the journal "${path}"`);
  }
}

/**
 * Rotates a journal, unless another process is doing so: two rotations at once would replace the old file by the new one. On a full
 * disk the journal keeps all lines and grows, and the next entry tries again.
 */
function rotate(path: string): void {
  const aside = `${path}.aside`;
  if (exists(aside) && now().getTime() - lstat(aside).ctimeMs < ROTATION_MS) return;
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
    // a full disk, or another process was faster
  }
}
