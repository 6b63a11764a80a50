/**
 * Reads the entries of a stored tree. find(1) lists them, sort(1) orders them, getfattr(1) reads their attributes,
 * and xargs(1) passes names of any bytes. A tree of any size is read without holding all of it in memory.
 */

import { Fault } from '../fault.ts';
import { readWhole } from '../os/content.ts';
import { fileFault } from '../os/files.ts';
import { PATH_BYTES } from '../os/long-path.ts';
import { dropGarbage } from '../os/memory.ts';
import { type Command, run, standard } from '../os/process.ts';
import { programPath } from '../os/programs.ts';
import { escapeText, jsonName, showName } from '../wire/text.ts';
import { type TreeEntry, takeStat, truthOf, type Xattr } from './fake-super.ts';
import { FIND_FORMAT, PATH_FIELD, parseFound, type StoredEntry } from './find-records.ts';
import { parseAttributes } from './getfattr.ts';
import { type Complain, sortedRecords } from './sorted-find.ts';
import { covers, joinPath } from './tree-path.ts';
import { treeReaders } from './tree-readers.ts';

/** Which part of a tree to list. */
export interface TreeOptions {
  /** Below the tree, without a leading slash. Each must exist. If left out, the top of the tree. */
  paths?: Buffer[];
  /** How far below these: 0 for themselves, 1 for a folder's entries too. If left out, no limit. */
  depth?: number;
  /** Receives a text for each entry that cannot be read, and the rest is listed; if left out, that is a Fault. */
  complain?: Complain | undefined;
  signal: AbortSignal;
}

/**
 * Lists a stored tree, each entry once, sorted by the bytes of the paths, without holding it in memory.
 * @throws Fault when something in it cannot be read; the signal's reason
 */
export async function* listTree(tree: string, options: TreeOptions): AsyncGenerator<StoredEntry> {
  const readers = treeReaders();
  if (readers !== undefined) return yield* readers.list(tree, options);
  const { complain, signal } = options;
  const tried = `read "${tree}"`;
  const { finder, input, isWanted } = treeFinder(tree, FIND_FORMAT, options);
  const order = ['-u', '-k', String(PATH_FIELD)];
  for await (const record of sortedRecords(finder, { order, input, complain, signal, tried })) {
    const parsed = parseFound(record);
    if ('reason' in parsed) throw new Fault({ tried, found: parsed.reason });
    if (isWanted === undefined || isWanted(parsed.value.path)) yield parsed.value;
  }
}

/** A program that lists a part of a tree. */
interface TreeFinder {
  finder: Command;
  /** Its standard input. */
  input: Buffer;
  /** Whether an entry was requested; undefined if find(1) lists nothing else. */
  isWanted: ((path: Buffer) => boolean) | undefined;
}

/**
 * Makes the command that lists a part of a tree, in any order.
 * @param format of find's -printf
 */
export function treeFinder(
  tree: string,
  format: string,
  { paths = [Buffer.alloc(0)], depth }: Pick<TreeOptions, 'paths' | 'depth'>,
): TreeFinder {
  const starts = paths.map(startOf);
  // Then find lists more than was requested.
  const isLonger = starts.some((start, at) => start !== paths[at]);
  const steps = isLonger ? Math.max(...paths.map((path, at) => stepsFrom(starts[at] ?? path, path))) : 0;
  const limit = depth === undefined ? [] : ['-maxdepth', String(depth + steps)];
  const find = ['-0', '-I{}', programPath('find'), '-P', '{}', ...limit, '-printf', format];
  return {
    finder: { ...standard('xargs', find), cwd: tree },
    input: Buffer.concat(starts.flatMap(path => [asArgument(path), Buffer.from([0])])),
    isWanted: isLonger ? path => isAskedFor(path, paths, depth) : undefined,
  };
}

/** Protects a path from being read as an option by find or getfattr. */
function asArgument(path: Buffer): Buffer {
  return path.length === 0 ? Buffer.from('.') : Buffer.concat([Buffer.from('./'), path]);
}

/** Where find(1) starts. It accepts no path longer than the kernel's limit, so this may be a folder above the path. */
function startOf(path: Buffer): Buffer {
  const most = PATH_BYTES - './'.length;
  return path.length <= most ? path : path.subarray(0, Math.max(0, path.lastIndexOf('/', most)));
}

/** How many levels a path is below a folder. */
function stepsFrom(folder: Buffer, path: Buffer): number {
  return path.subarray(folder.length).toString('latin1').split('/').length - 1;
}

function isAskedFor(path: Buffer, asked: Buffer[], depth = Number.POSITIVE_INFINITY): boolean {
  return asked.some(each => covers(each, path) && stepsFrom(each, path) <= depth);
}

/** The programs that read a tree. A system may lack some of them. */
export const READER_NEEDS = ['find', 'sort', 'xargs', 'getfattr'];

/** @throws Fault that names the package of a missing program */
export function requireReaders(): void {
  if (treeReaders() !== undefined) return;
  for (const program of READER_NEEDS) programPath(program);
}

/**
 * Entries whose xattrs one getfattr reads, and that are held in memory. With more, the garbage outlives V8's young
 * generation.
 */
export const BATCH = 250;

/** More than the xattrs of this number of files on any file system, in hex. */
const XATTR_LIMIT = 512 * 1024 * 1024;

const BATCH_TIMEOUT_MS = 3_600_000;

/** A store has no other names. */
const STORED_NAMES = '^user\\.';

/** PATH_MAX. */
const TARGET_LIMIT = 4096;

/**
 * Reads the stored xattrs of some entries.
 * @param stored of `listTree` of the same tree; not many more than BATCH
 * @param names a regular expression for the names; those of a store by default
 * @returns in the order of `stored`
 * @throws Fault when an entry is gone or cannot be read
 */
async function readXattrs(
  tree: string,
  stored: readonly Pick<StoredEntry, 'path'>[],
  signal: AbortSignal,
  names = STORED_NAMES,
): Promise<Xattr[][]> {
  if (stored.length === 0) return [];
  if (treeReaders() !== undefined)
    return (await readEach(tree, stored, signal)).map(each => each ?? unreadable(tree));
  const args = [
    '-0',
    programPath('getfattr'),
    '-P',
    '-h',
    '-d',
    '-m',
    names,
    '-e',
    'hex',
    '--absolute-names',
    '--',
  ];
  const input = Buffer.concat(stored.flatMap(({ path }) => [asName(path), Buffer.from([0])]));
  const options = { input, limit: XATTR_LIMIT, timeoutMs: BATCH_TIMEOUT_MS, signal };
  const result = await run({ ...standard('xargs', args), cwd: tree }, options);
  // It exits with 0 when it cannot read a value. Below a restore's target that can be an attribute of no interest.
  if (result.status !== 0 || (names === STORED_NAMES && result.stderr !== '')) {
    const line = result.stderr.split('\n').find(each => each !== '') ?? 'getfattr failed';
    throw new Fault({ tried: `read the attributes in "${tree}"`, found: escapeText(line) });
  }
  const xattrs = parseAttributes(result.stdout);
  return stored.map(each => xattrs.get(asName(each.path).toString('latin1')) ?? []);
}

/** The same without programs. @returns undefined for an entry that is gone or cannot be read */
async function readEach(
  tree: string,
  stored: readonly Pick<StoredEntry, 'path'>[],
  signal: AbortSignal,
): Promise<(Xattr[] | undefined)[]> {
  const readers = treeReaders();
  const xattrs = await Promise.all(stored.map(({ path }) => readers?.readXattrs(joinPath(tree, path))));
  signal.throwIfAborted();
  return xattrs;
}

function unreadable(tree: string): never {
  throw new Fault({
    tried: `read the attributes in "${tree}"`,
    found: 'an entry is gone, or cannot be read',
  });
}

/** A name as an argument behind `--`. The longest paths leave no room for `./`. */
function asName(path: Buffer): Buffer {
  const argument = asArgument(path);
  return argument.length <= PATH_BYTES ? argument : path;
}

/**
 * Reads xattrs as `readXattrs` does, but an unreadable entry does not affect the others.
 * @returns undefined for an entry that is gone or cannot be read
 * @throws the signal's reason; Fault when a program is missing, because then the state of every entry is unknown
 */
export async function readXattrsOfEach(
  tree: string,
  stored: readonly Pick<StoredEntry, 'path'>[],
  signal: AbortSignal,
  names?: string,
): Promise<(Xattr[] | undefined)[]> {
  if (treeReaders() !== undefined) return await readEach(tree, stored, signal);
  requireReaders();
  try {
    return await readXattrs(tree, stored, signal, names);
  } catch {
    signal.throwIfAborted();
    if (stored.length === 1) return [undefined];
  }
  const half = Math.ceil(stored.length / 2);
  const first = await readXattrsOfEach(tree, stored.slice(0, half), signal, names);
  return [...first, ...(await readXattrsOfEach(tree, stored.slice(half), signal, names))];
}

/**
 * Derives some entries as they were on the client, in their order.
 * @param complain receives a text for each entry that cannot be read. Such an entry is returned as it is stored, a
 *   link without its target. If left out, that is a Fault.
 */
export async function readAttributes(
  tree: string,
  stored: readonly StoredEntry[],
  signal: AbortSignal,
  complain?: Complain,
): Promise<TreeEntry[]> {
  const xattrs =
    complain === undefined
      ? await readXattrs(tree, stored, signal)
      : await readXattrsOfEach(tree, stored, signal);
  return stored.map((each, at) => {
    const own = xattrs[at];
    if (own === undefined) complain?.(`the attributes of "/${showName(jsonName(each.path))}" cannot be read`);
    return entryOf(tree, each, own ?? [], complain);
  });
}

/**
 * Derives one entry as it was on the client.
 * @param xattrs as they are stored
 * @param complain as for `readAttributes`
 * @throws Fault when a link's target cannot be read and there is no `complain`
 */
export function entryOf(
  tree: string,
  stored: StoredEntry,
  xattrs: readonly Xattr[],
  complain?: Complain,
): TreeEntry {
  const { stat } = takeStat(xattrs, stored.isFolder);
  const isLink = stat?.type === 'symlink' && stored.size <= TARGET_LIMIT;
  return truthOf(stored, xattrs, isLink ? readTarget(tree, stored.path, complain) : null);
}

/** Reads a symlink's target. A symlink is stored as a file that holds it. */
function readTarget(tree: string, path: Buffer, complain: Complain | undefined): Buffer | null {
  try {
    return readWhole(joinPath(tree, path), TARGET_LIMIT);
  } catch (error) {
    const tried = `read the link "/${showName(jsonName(path))}"`;
    const fault = error instanceof Fault ? new Fault({ tried, found: error.found }) : fileFault(error, tried);
    if (complain === undefined) throw fault;
    complain(fault.message);
    return null;
  }
}

/** Lists a tree as `listTree` does, with each entry as it was on the client. */
export async function* readTree(tree: string, options: TreeOptions): AsyncGenerator<TreeEntry> {
  const read = (batch: StoredEntry[]): Promise<TreeEntry[]> =>
    readAttributes(tree, batch, options.signal, options.complain);
  for await (const { result } of readAhead(inBatches(listTree(tree, options)), read)) yield* result;
}

/** Collects entries into batches, which limits how many are in memory. */
export async function* inBatches<T>(
  entries: AsyncIterable<T> | Iterable<T>,
  size = BATCH,
): AsyncGenerator<T[]> {
  let batch: T[] = [];
  for await (const each of entries) {
    batch.push(each);
    if (batch.length < size) continue;
    yield batch;
    batch = [];
    dropGarbage();
  }
  if (batch.length > 0) yield batch;
}

/**
 * Reads something about each batch. It begins to read the next batch while the caller uses the one before, so that the programs that
 * read work at the same time as this process. At most two batches are in memory.
 * @param read about one batch
 * @throws the error of `read`, in the order of the batches
 */
export async function* readAhead<B, R>(
  batches: AsyncIterable<B> | Iterable<B>,
  read: (batch: B) => Promise<R>,
): AsyncGenerator<{ batch: B; result: R }> {
  let ahead: { batch: B; reading: Promise<R> } | undefined;
  try {
    for await (const batch of batches) {
      const before = ahead;
      ahead = { batch, reading: read(batch) };
      ahead.reading.catch(() => {}); // it is awaited below
      if (before !== undefined) yield { batch: before.batch, result: await before.reading };
    }
    if (ahead !== undefined) yield { batch: ahead.batch, result: await ahead.reading };
  } finally {
    await ahead?.reading.catch(() => {}); // no program goes on when this has ended
  }
}
