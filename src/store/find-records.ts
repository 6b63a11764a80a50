/**
 * Runs find(1) on a tree of the store and reads its records. A record has fields without blanks, a blank behind each,
 * then a name of any bytes, then a NUL. A client chooses the names, so they come last.
 */
import { Fault, type Parsed } from '../fault.ts';
import { exists } from '../os/files.ts';
import { type Command, type ExitResult, standard } from '../os/process.ts';
import { takeRecords, takeTexts } from '../os/records.ts';
import { escapeText } from '../wire/text.ts';
import { parseTime } from './file-time.ts';

/** Bytes of a block as find's `%b` and stat(2) count them. */
export const BLOCK_BYTES = 512;
const BLANK = ' '.charCodeAt(0);
/** find(1) exits with this status when it could not read a part of the tree; it has listed the rest. */
const COULD_NOT_READ = 1;
/** A path may be longer than PATH_MAX below a tree that has a path of its own. */
const RECORD_LIMIT = 8 * 1024;

/** Separates the fields of a record from the name behind them. @param count how many fields there are */
export function splitRecord(record: Buffer, count: number): { fields: string[]; name: Buffer } {
  const fields: string[] = [];
  let from = 0;
  while (fields.length < count) {
    const end = record.indexOf(BLANK, from);
    fields.push(record.toString('latin1', from, end));
    from = end + 1;
  }
  return { fields, name: Buffer.from(record.subarray(from)) };
}

/** The same for a record as text: the fields, and the name as the last element. */
export function splitText(record: string, count: number): string[] {
  const parts: string[] = [];
  let from = 0;
  while (parts.length < count) {
    const end = record.indexOf(' ', from);
    parts.push(record.slice(from, end));
    from = end + 1;
  }
  parts.push(record.slice(from));
  return parts;
}

/** The entries of a tree to list, and the fields to print of each. */
export interface TreeSearch {
  /** find's options and tests, in front of -printf; left out: every entry. */
  tests?: string[];
  /** -printf directives whose output has no blank: `%b`. */
  fields: string[];
  /** The name behind the fields: the path below the tree (`%P`), unless told the last name (`%f`). */
  name?: '%P' | '%f';
  /** Accepts that find could not read a part of the tree; otherwise that is a Fault. */
  allowsUnreadable?: boolean;
  /** For the message. */
  tried: string;
  signal?: AbortSignal | undefined;
}

/**
 * Lists a tree, each folder before its entries.
 * @param take is called with the fields and the name of each entry
 * @returns whether find could read all of the tree
 * @throws Fault when find fails; an error of `take`; the signal's reason
 */
export async function searchTree(
  tree: string,
  search: TreeSearch,
  take: (fields: string[], name: Buffer) => void,
): Promise<boolean> {
  const options = { limit: RECORD_LIMIT, signal: search.signal };
  const ending = await takeRecords(searchCommand(tree, search), options, record => {
    const found = splitRecord(record, search.fields.length);
    take(found.fields, found.name);
  });
  return hasReadAll(tree, search, ending);
}

/**
 * Lists a tree as `searchTree` does, for trees with many files.
 * @param take is called with many records as texts, for `splitText()`; a name has one character (latin1) per byte
 * @returns whether find could read all of the tree
 * @throws as `searchTree`
 */
export async function searchTreeTexts(
  tree: string,
  search: TreeSearch,
  take: (records: string[]) => void,
): Promise<boolean> {
  const options = { limit: RECORD_LIMIT, signal: search.signal };
  return hasReadAll(tree, search, await takeTexts(searchCommand(tree, search), options, take));
}

function searchCommand(tree: string, { tests = [], fields, name = '%P' }: TreeSearch): Command {
  return standard('find', [tree, ...tests, '-printf', `${[...fields, name].join(' ')}\\0`]);
}

/** @throws Fault when find failed */
function hasReadAll(
  tree: string,
  { allowsUnreadable = false, tried }: TreeSearch,
  { status, stderr }: ExitResult & { stderr: string },
): boolean {
  if (status === 0) return true;
  // If the tree was removed meanwhile, the list is worthless, not incomplete.
  if (allowsUnreadable && status === COULD_NOT_READ && exists(tree)) return false;
  throw new Fault({ tried, found: escapeText(stderr.trim()) || 'find failed' });
}

/** An entry as it is stored. */
export interface StoredEntry {
  /** Below the tree, without a leading slash; empty for the top of the tree. */
  path: Buffer;
  inode: bigint;
  links: number;
  isFolder: boolean;
  /** The permission bits of the stored file, 0 to 07777. */
  mode: number;
  uid: number;
  gid: number;
  /** Bytes of the stored file: for a symlink the length of its target, for a device 0. */
  size: number;
  mtimeNs: bigint;
}

const DIGITS = '(\\d{1,20})';

const RECORD = new RegExp(`^${DIGITS} ${DIGITS} ([0-7]{1,4}) (\\S) ${DIGITS} (-?\\d{1,20})\\.(\\d{9})\\d* ${DIGITS}:${DIGITS} \\.(?:/(.*))?$`, 's'); // biome-ignore format: one record, one line

/** As RECORD reads it. */
export const FIND_FORMAT = '%i %n %m %y %s %T@ %U:%G %p\\0';

/** The number of the path's field, from 1 on, as sort(1) counts. */
export const PATH_FIELD = 8;

/** Parses one record of find's -printf with `FIND_FORMAT`. */
export function parseFound(record: Buffer): Parsed<StoredEntry> {
  const found = RECORD.exec(record.toString('latin1'));
  if (!found) return { reason: 'malformed output of find' };
  const [, inode = '', links, mode = '', type, size, seconds = '', nanoseconds = '', uid, gid, path = ''] =
    found;
  return {
    value: {
      path: Buffer.from(path, 'latin1'),
      inode: BigInt(inode),
      links: Number(links),
      isFolder: type === 'd',
      mode: Number.parseInt(mode, 8),
      uid: Number(uid),
      gid: Number(gid),
      size: Number(size),
      mtimeNs: parseTime(`${seconds}.${nanoseconds}`),
    },
  };
}
