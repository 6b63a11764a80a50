/**
 * The rotated files of a journal: journal.jsonl.1, .2 and so on, the highest number last. Older ones are merged: .1-7 has the entries
 * of .1 to .7.
 *
 * Each step is one call that leaves a readable journal, so no lock is needed and a crash does no harm. The journal first gets a
 * random name by rename(2), which cannot replace another file. link(2) then gives it the next number, and fails if another process
 * took that. A file whose numbers lie within those of another one has been merged, and is ignored. Merges always begin at the
 * oldest file, so two processes that merge at once write nested files and never overlapping ones.
 */
import { basename, dirname } from 'node:path';
import { now } from './clock.ts';
import { readWhole } from './content.ts';
import { exists, failedWith, link, lstat, readdir, removeFileIfThere, rename, statusExact } from './files.ts';
import { keptLines } from './journal-lines.ts';
import { randomHex } from './random.ts';
import { replaceFile } from './replace.ts';

/** The limits of a journal. */
export interface JournalLimits {
  /** The journal is rotated at this size. */
  maxBytes: number;
  /** Entries are kept for this time at least, and about twice as long at most. */
  keepMs: number;
}

/** A rotated file. */
interface Part {
  path: string;
  /** The first and the last of its numbers. */
  first: number;
  last: number;
}

/** A file is larger only if the disk was full for a long time. */
export const READ_BYTES = 256 * 1024 * 1024;
/** Another process can take a number at the same time. */
const LINK_TRIES = 50;
/** The parts of max_size that the merged file keeps, of lasting entries and of passing ones. */
const LASTING_SHARE = 2;
const PASSING_SHARE = 1 / 4;

/**
 * The rotated files of a journal, oldest first.
 * @returns the paths; those that were merged are left out
 */
export function partsOf(path: string): string[] {
  const { parts, unfinished } = look(path);
  return [...parts.map(each => each.path), ...unfinished];
}

/** The files beside a journal: its parts, those that a merge has replaced, and those without a number yet. */
function look(path: string): { parts: Part[]; merged: Part[]; unfinished: string[] } {
  const folder = dirname(path);
  const head = `${basename(path)}.`;
  const ends = (exists(folder) ? readdir(folder) : [])
    .filter(name => name.startsWith(head))
    .map(name => name.slice(head.length));
  const all: Part[] = [];
  for (const end of ends) {
    const [, first, last = first] = /^([1-9]\d{0,11})(?:-([1-9]\d{0,11}))?$/.exec(end) ?? [];
    if (first !== undefined) all.push({ path: `${path}.${end}`, first: Number(first), last: Number(last) });
  }
  // `.aside` is of version 0.1.1.
  const unfinished = ends.filter(end => /^(?:moving-[0-9a-f]{16}|aside)$/.test(end)).sort();
  const isMerged = (each: Part): boolean =>
    all.some(other => other !== each && other.first <= each.first && other.last >= each.last);
  return {
    parts: all.filter(each => !isMerged(each)).sort((one, other) => one.first - other.first),
    merged: all.filter(isMerged),
    unfinished: unfinished.map(end => `${path}.${end}`),
  };
}

/** Rotates a journal. @throws the error of a step; the journal is readable then, and the next rotation continues */
export function rotateJournal(path: string, limits: JournalLimits): void {
  for (const each of look(path).unfinished) adopt(path, each); // older than the journal
  const moving = `${path}.moving-${randomHex(8)}`;
  rename(path, moving);
  adopt(path, moving);
  for (const each of look(path).merged) removeFileIfThere(each.path);
  mergeOlder(path, limits);
}

/** Gives a file the next number, unless another process does the same. */
function adopt(path: string, moving: string): void {
  const inode = inodeOf(moving);
  const sameFile = (): Part[] => look(path).parts.filter(each => inodeOf(each.path) === inode);
  if (inode === undefined) return;
  for (let tries = LINK_TRIES; sameFile().length === 0; tries -= 1) {
    try {
      link(moving, `${path}.${(look(path).parts.at(-1)?.last ?? 0) + 1}`);
    } catch (error) {
      if (failedWith(error, 'ENOENT')) return;
      if (!failedWith(error, 'EEXIST') || tries === 0) throw error;
    }
  }
  // Two processes can have linked it. Each of them removes the higher number.
  for (const each of sameFile().slice(1)) removeFileIfThere(each.path);
  removeFileIfThere(moving);
}

/** The inode number of a file; undefined if it is gone. */
export function inodeOf(path: string): bigint | undefined {
  try {
    return statusExact(path).ino;
  } catch {
    return undefined;
  }
}

/** Merges all parts but the newest, to which a slow writer may still append. */
function mergeOlder(path: string, { maxBytes, keepMs }: JournalLimits): void {
  const sinceMs = now().getTime() - keepMs;
  const parts = look(path).parts.slice(0, -1);
  const [first, last] = [parts[0], parts.at(-1)];
  if (first === undefined || last === undefined) return;
  const isOld = parts.every(each => lstat(each.path).mtimeMs < sinceMs);
  if (!isOld && parts.length === 1) return;
  const kept = isOld
    ? []
    : keptLines(
        parts.flatMap(each => linesOf(each.path)),
        {
          lasting: maxBytes * LASTING_SHARE,
          passing: maxBytes * PASSING_SHARE,
          sinceMs,
        },
      );
  const merged = `${path}.${first.first}-${last.last}`;
  if (kept.length > 0) replaceFile(merged, kept.map(line => `${line}\n`).join(''));
  for (const each of parts) if (kept.length === 0 || each.path !== merged) removeFileIfThere(each.path);
}

/** The lines of a part. @throws Fault if it is not a plain file, or is gone */
export function linesOf(path: string): string[] {
  return readWhole(path, READ_BYTES).toString('utf8').split('\n');
}
