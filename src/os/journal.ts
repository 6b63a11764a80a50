/**
 * Journals: one JSON object per line, each appended by a single write, so that the lines of two writers do not mix. A full journal is
 * rotated (journal-parts.ts). Events of snapshots are kept longer than refusals, since a client can cause any number of refusals.
 */

import { Fault } from '../fault.ts';
import { now } from './clock.ts';
import { close, failedWith, fileFault, fstat, lstat, open, openFlags, readSync, writeFile } from './files.ts';
import { type Entry, isPassing, parseLine } from './journal-lines.ts';
import { inodeOf, type JournalLimits, linesOf, partsOf, READ_BYTES, rotateJournal } from './journal-parts.ts';

/** The defaults of both configs. */
export const JOURNAL_BYTES = 4 * 1024 * 1024;
export const JOURNAL_MS = 400 * 86_400_000;
let limits: JournalLimits = { maxBytes: JOURNAL_BYTES, keepMs: JOURNAL_MS };

/** A journal that could not be rotated (a full disk) accepts no passing entries above this multiple of max_size. */
const MOST_SHARE = 2;
/** The first line has its time within these bytes. */
const HEAD_BYTES = 128;

/** Sets the limits for all journals that this process writes from now on. */
export function limitJournals(wanted: JournalLimits): void {
  limits = wanted;
}

/** How far a journal has been read. */
export interface JournalPosition {
  /** The file: its inode number and the time of its creation. */
  file: string;
  /** The bytes of whole lines that were read. */
  offset: number;
  /** The last bytes before the offset, in base64. */
  tail: string;
}

/** The entries of a journal that a reader does not know yet. */
export interface NewEntries {
  entries: Entry[];
  /** Whether these are all entries of the journal, since it was rotated or replaced. */
  isWhole: boolean;
  /** For the next call; undefined if there is no journal. */
  position: JournalPosition | undefined;
}

const TAIL_BYTES = 64;
/** A merge can remove a part while we read. Another one does not follow soon. */
const READ_TRIES = 5;

/** Reads a folder's journal with its rotated files, oldest entry first. It skips lines that a full disk cut short. @throws Fault */
export function readJournal(folder: string): Entry[] {
  return readJournalSince(folder, undefined).entries;
}

/**
 * Reads the entries of a folder's journal after a position. It compares the file's identity and content and no times, since a clock
 * can be set back.
 * @param known the position of an earlier call; undefined: read all
 * @throws Fault
 */
export function readJournalSince(folder: string, known: JournalPosition | undefined): NewEntries {
  const path = `${folder}/journal.jsonl`;
  const more = known && readEnd(path, known);
  if (more) return { entries: entriesOf(more.text.split('\n')), isWhole: false, position: more.position };
  for (let tries = READ_TRIES; ; tries -= 1) {
    // In this order: a rotation meanwhile adds the file that we have read to the parts, and hides no entry.
    const current = readEnd(path, undefined);
    try {
      const older = olderLines(path, current?.inode);
      const entries = entriesOf([...older, ...(current?.text ?? '').split('\n')]);
      return { entries, isWhole: true, position: current?.position };
    } catch (error) {
      const isGone = error instanceof Fault && failedWith(error.cause, 'ENOENT');
      if (!isGone || tries === 0) throw error;
    }
  }
}

/** @param current the inode of the journal, which can have become a part */
function olderLines(path: string, current: bigint | undefined): string[] {
  const seen = new Set([current]);
  const lines: string[] = [];
  for (const part of partsOf(path)) {
    const inode = inodeOf(part);
    if (seen.has(inode)) continue;
    seen.add(inode);
    for (const line of linesOf(part)) lines.push(line);
  }
  return lines;
}

function entriesOf(lines: string[]): Entry[] {
  return lines.map(parseLine).filter(entry => entry !== undefined);
}

/**
 * Reads the whole lines after a position.
 * @returns undefined if there is no file, or another one than the position's
 * @throws Fault, also if it is no plain file
 */
function readEnd(
  path: string,
  known: JournalPosition | undefined,
): { text: string; inode: bigint; position: JournalPosition } | undefined {
  let descriptor: number;
  try {
    descriptor = open(path, openFlags.O_RDONLY | openFlags.O_NOFOLLOW | openFlags.O_NONBLOCK);
  } catch (error) {
    if (failedWith(error, 'ENOENT')) return undefined;
    throw journalFault(error, 'read', path);
  }
  try {
    const status = fstat(descriptor, { bigint: true });
    if (!status.isFile()) throw notPlain('read', path);
    const { ino: inode, birthtimeNs, size } = status;
    const file = `${inode} ${birthtimeNs}`;
    const offset = known?.offset ?? 0;
    if (known && (known.file !== file || Number(size) < offset)) return undefined;
    if (known && Number(size) === offset) return { text: '', inode, position: known };
    const from = Math.max(0, offset - TAIL_BYTES);
    const bytes = readRange(descriptor, from, Math.min(Number(size), from + READ_BYTES));
    if (known && known.tail !== bytes.subarray(0, offset - from).toString('base64')) return undefined;
    const end = Math.max(bytes.lastIndexOf(0x0a) + 1, offset - from);
    const text = bytes.subarray(offset - from, end).toString('utf8');
    const tail = bytes.subarray(Math.max(0, end - TAIL_BYTES), end).toString('base64');
    return { text, inode, position: { file, offset: from + end, tail } };
  } finally {
    close(descriptor);
  }
}

function readRange(descriptor: number, from: number, to: number): Buffer {
  const bytes = Buffer.alloc(to - from);
  let length = 0;
  while (length < bytes.length) {
    const count = readSync(descriptor, bytes, length, bytes.length - length, from + length);
    if (count === 0) break;
    length += count;
  }
  return bytes.subarray(0, length);
}

/** Appends an entry to a journal (0600), and rotates a full or old one. @throws Fault, also if it is a symlink or no plain file */
export function appendJournal(path: string, entry: Entry): void {
  try {
    const size = sizeBefore(path);
    if (size > limits.maxBytes * MOST_SHARE && isPassing(entry)) return;
    const flags = openFlags.O_WRONLY | openFlags.O_APPEND | openFlags.O_CREAT | openFlags.O_NOFOLLOW;
    const descriptor = open(path, flags, 0o600);
    try {
      writeFile(descriptor, `${JSON.stringify(entry)}\n`);
    } finally {
      close(descriptor);
    }
  } catch (error) {
    throw journalFault(error, 'write', path);
  }
}

/** Rotates the journal if that is due. @returns the size of the journal now */
function sizeBefore(path: string): number {
  const found = lstat(path, { throwIfNoEntry: false });
  if (found === undefined) return 0;
  if (!found.isFile()) throw notPlain('write', path);
  if (found.size <= limits.maxBytes && !beginsBefore(path, now().getTime() - limits.keepMs))
    return found.size;
  try {
    rotateJournal(path, limits);
  } catch {
    // A full disk, or another process was faster. On a full disk the journal keeps all lines and grows; the next entry tries again.
  }
  return lstat(path, { throwIfNoEntry: false })?.size ?? 0;
}

/** Whether the first entry is older than a time. */
function beginsBefore(path: string, timeMs: number): boolean {
  const descriptor = open(path, openFlags.O_RDONLY | openFlags.O_NOFOLLOW);
  try {
    const head = readRange(descriptor, 0, HEAD_BYTES).toString('latin1');
    const time = /^\{"time":"(\d{4}-\d\d-\d\dT[\d:.]+Z)"/.exec(head)?.[1];
    return time !== undefined && Date.parse(time) < timeMs;
  } finally {
    close(descriptor);
  }
}

function notPlain(verb: 'read' | 'write', path: string): Fault {
  return new Fault({ tried: `${verb} the journal "${path}"`, found: 'it is not a plain file' });
}

function journalFault(error: unknown, verb: 'read' | 'write', path: string): Fault {
  if (error instanceof Fault) return error;
  const tried = `${verb} the journal "${path}"`;
  return failedWith(error, 'ELOOP')
    ? new Fault({ tried, found: 'it is a symbolic link' })
    : fileFault(error, tried);
}
