/** The lines of a list of a scope, which rsync prints (`listArguments` in wire/rsync.ts), and their order. Pure. */
import { unescapeName } from './rsync-output.ts';

/** One entry of a list. */
export interface Listed {
  /** Without a slash in front; '' for `/`. Bytes, one character each. */
  path: string;
  type: 'file' | 'folder' | 'link' | 'other';
  /** Whether an earlier entry of the list is the same inode. */
  isTwin: boolean;
  /** st_size. */
  size: number;
  uid: number;
  /** Permission bits, with the sticky bit. */
  mode: number;
  /** Seconds since 1970; undefined where rsync printed no time that has four digits for the year. */
  mtime: number | undefined;
}

const TYPES: Record<string, Listed['type']> = { f: 'file', d: 'folder', L: 'link' };
const LINE = /^(.)([fdLDS])\S{9} (\d+) (\d+) ([-rwxsStT]{9})\S? (\S+) (.*)$/s;
const TIME = /^(\d{4})\/(\d\d)\/(\d\d)-(\d\d):(\d\d):(\d\d)$/;

/**
 * Parses a line of a list.
 * @param line one character a byte, without its end; times in UTC
 * @returns undefined for a line of another form
 */
export function parseListed(line: string): Listed | undefined {
  const found = LINE.exec(line);
  if (found === null) return undefined;
  const [, done, type = '', size, uid, bits = '', time = '', name = ''] = found;
  const path = unescapeName(name).replace(/^\.?\/+/, '');
  return {
    path: path === '.' ? '' : path,
    type: TYPES[type] ?? 'other',
    isTwin: done === 'h',
    size: Number(size),
    uid: Number(uid),
    mode: modeOf(bits),
    mtime: timeOf(time),
  };
}

function modeOf(bits: string): number {
  let mode = 0;
  for (const bit of bits) mode = mode * 2 + (/[rwxst]/.test(bit) ? 1 : 0);
  return mode + (/[tT]$/.test(bits) ? 0o1000 : 0);
}

function timeOf(text: string): number | undefined {
  const found = TIME.exec(text);
  if (found === null) return undefined;
  const [year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0] = found.slice(1).map(Number);
  return Date.UTC(year, month - 1, day, hour, minute, second) / 1000;
}

/** Ends the path in a record, and stands for a slash in it: below every byte that rsync prints as it is. */
const END = '\u0001';
const SLASH = '\u0002';

/** A fact about a path: that a list has it, or that something else is known of it. */
export interface Fact {
  kind: string;
  path: string;
  text: string;
}

/**
 * Writes a record whose order by its bytes is that of a tree: each folder comes right before everything below it.
 * @param kind one character. Records of one path are ordered by it
 */
export function encodeFact({ kind, path, text }: Fact): string {
  return `${escapeKey(path).replaceAll('/', SLASH)}${END}${kind}${text}`;
}

/** Reads such a record. */
export function decodeFact(record: string): Fact {
  const end = record.indexOf(END);
  const path = unescapeKey(record.slice(0, end).replaceAll(SLASH, '/'));
  return { kind: record[end + 1] ?? '', path, text: record.slice(end + 2) };
}

/** The bytes that have a meaning in a record: NUL is in no path, and 3 begins an escape. */
function escapeKey(path: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is escaped
  if (!/[\u0001-\u0003]/.test(path)) return path;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the same
  return path.replace(/[\u0001-\u0003]/g, byte => `\u0003${byte.charCodeAt(0)}`);
}

function unescapeKey(key: string): string {
  if (!key.includes('\u0003')) return key;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what was escaped
  return key.replace(/\u0003([1-3])/g, (_, digit: string) => String.fromCharCode(Number(digit)));
}

/** The facts of a list, as text for `encodeFact`. */
export function listedText({ type, isTwin, size, uid, mode, mtime }: Omit<Listed, 'path'>): string {
  return `${LETTERS[type]}${isTwin ? 'h' : '-'} ${size} ${uid} ${mode} ${mtime ?? ''}`;
}

const LETTERS: Record<Listed['type'], string> = { file: 'f', folder: 'd', link: 'L', other: 'o' };

/** Reads that text. */
export function parseListedText(text: string): Omit<Listed, 'path'> {
  const [letters = '', size, uid, mode, mtime = ''] = text.split(' ');
  return {
    type: TYPES[letters[0] ?? ''] ?? 'other',
    isTwin: letters[1] === 'h',
    size: Number(size),
    uid: Number(uid),
    mode: Number(mode),
    mtime: mtime === '' ? undefined : Number(mtime),
  };
}
