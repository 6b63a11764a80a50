/**
 * Reads the entries of a stored tree. find(1) lists them, sort(1) orders them, getfattr(1) reads their attributes, and xargs(1) passes
 * names of any bytes. A tree of any size is read without holding all of it in memory.
 */

import { Fault } from '../fault.ts';
import { fileFault, readWhole } from '../os/files.ts';
import { PATH_BYTES } from '../os/long-path.ts';
import { dropGarbage } from '../os/machine.ts';
import { programPath, run, standard } from '../os/process.ts';
import { escapeText, jsonName, showName } from '../wire/text.ts';
import { type TreeEntry, takeStat, truthOf, type Xattr } from './fake-super.ts';
import { FIND_FORMAT, PATH_FIELD, parseFound, type StoredEntry } from './find-records.ts';
import { type Complain, sortedRecords } from './sorted-find.ts';
import { covers, joinPath } from './tree-path.ts';

/**
 * Reads what `getfattr --absolute-names -d -e hex` prints: of each file that has xattrs a line `# file: PATH`, then
 * NAME=0xHEX lines, then an empty one; in PATH and NAME some bytes are \ooo, the backslash always.
 * @returns by path, one character a byte, as getfattr was asked for it
 */
export function parseAttributes(output: Buffer): Map<string, Xattr[]> {
  const files = new Map<string, Xattr[]>();
  let current: Xattr[] = [];
  for (const line of output.toString('latin1').split('\n')) {
    const path = /^# file: (.*)$/s.exec(line)?.[1];
    if (path !== undefined) {
      current = [];
      files.set(unescapeOctal(path), current);
      continue;
    }
    const found = /^([^=]+)(?:=0x((?:[0-9a-f]{2})*))?$/s.exec(line);
    if (!found) continue;
    const name = Buffer.from(unescapeOctal(found[1] ?? ''), 'latin1');
    current.push({ name, value: Buffer.from(found[2] ?? '', 'hex') });
  }
  return files;
}

function unescapeOctal(text: string): string {
  return text.replace(/\\([0-3][0-7]{2})/g, (_, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  );
}

export interface TreeOptions {
  /** Below the tree, without a slash at the beginning; each must be there. None: the tree's top. */
  paths?: Buffer[];
  /** How far below these: 0 themselves, 1 a folder's entries too. Left out: all. */
  depth?: number;
  /** Is told in words what cannot be read, and the rest is given; left out: the first such entry is a Fault. */
  complain?: Complain | undefined;
  signal: AbortSignal;
}

/**
 * What lies in a stored tree, sorted by the bytes of the paths, each once; not held in memory.
 * @throws Fault when something in it cannot be read; the signal's reason
 */
export async function* listTree(tree: string, options: TreeOptions): AsyncGenerator<StoredEntry> {
  const { paths = [Buffer.alloc(0)], complain, signal } = options;
  const tried = `read "${tree}"`;
  const starts = paths.map(startOf);
  // Then more is found than was asked for.
  const isLonger = starts.some((start, at) => start !== paths[at]);
  const steps = isLonger ? Math.max(...paths.map((path, at) => stepsFrom(starts[at] ?? path, path))) : 0;
  const limit = options.depth === undefined ? [] : ['-maxdepth', String(options.depth + steps)];
  const find = ['-0', '-I{}', programPath('find'), '-P', '{}', ...limit, '-printf', FIND_FORMAT];
  const order = ['-u', '-k', String(PATH_FIELD)];
  const input = Buffer.concat(starts.flatMap(path => [asArgument(path), Buffer.from([0])]));
  const finder = { ...standard('xargs', find), cwd: tree };
  for await (const record of sortedRecords(finder, { order, input, complain, signal, tried })) {
    const parsed = parseFound(record);
    if ('reason' in parsed) throw new Fault({ tried, found: parsed.reason });
    if (!isLonger || isAskedFor(parsed.value.path, paths, options.depth)) yield parsed.value;
  }
}

/** Nothing that find or getfattr could take for an option. */
function asArgument(path: Buffer): Buffer {
  return path.length === 0 ? Buffer.from('.') : Buffer.concat([Buffer.from('./'), path]);
}

/** Where find(1) begins, which takes no path that is longer than the kernel does: a folder above, if need be. */
function startOf(path: Buffer): Buffer {
  const most = PATH_BYTES - './'.length;
  return path.length <= most ? path : path.subarray(0, Math.max(0, path.lastIndexOf('/', most)));
}

/** How far a path is below a folder. */
function stepsFrom(folder: Buffer, path: Buffer): number {
  return path.subarray(folder.length).toString('latin1').split('/').length - 1;
}

function isAskedFor(path: Buffer, asked: Buffer[], depth = Number.POSITIVE_INFINITY): boolean {
  return asked.some(each => covers(each, path) && stepsFrom(each, path) <= depth);
}

/** The programs that read a tree, some of which a system can lack. */
export const READER_NEEDS = ['find', 'sort', 'xargs', 'getfattr'];

/** @throws Fault that names the package of one that is missing */
export function requireReaders(): void {
  for (const program of READER_NEEDS) programPath(program);
}

/** Entries whose xattrs are read by one getfattr, and held: with more at once the garbage outlives V8's young generation. */
export const BATCH = 250;

/** More than any file system's xattrs of so many files, in hex. */
const XATTR_LIMIT = 512 * 1024 * 1024;

const BATCH_TIMEOUT_MS = 3_600_000;

/** PATH_MAX. */
const TARGET_LIMIT = 4096;

/**
 * The xattrs of some entries as they are stored, in their order.
 * @param stored of `listTree` of the same tree; not many more than BATCH at once
 * @param names a regular expression; unless told `user.` names alone, since a store has no others
 * @throws Fault when one has gone, or cannot be read
 */
export async function readXattrs(
  tree: string,
  stored: readonly Pick<StoredEntry, 'path'>[],
  signal: AbortSignal,
  names = '^user\\.',
): Promise<Xattr[][]> {
  if (stored.length === 0) return [];
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
  if (result.status !== 0) {
    const line = result.stderr.split('\n').find(each => each !== '') ?? 'getfattr failed';
    throw new Fault({ tried: `read the attributes in "${tree}"`, found: escapeText(line) });
  }
  const xattrs = parseAttributes(result.stdout);
  return stored.map(each => xattrs.get(asName(each.path).toString('latin1')) ?? []);
}

/** As an argument behind `--`: the longest paths leave no room for anything before them. */
function asName(path: Buffer): Buffer {
  const argument = asArgument(path);
  return argument.length <= PATH_BYTES ? argument : path;
}

/**
 * `readXattrs` where a single entry may be unreadable: it costs the others nothing.
 * @returns undefined for those that have gone, or cannot be read
 * @throws the signal's reason; Fault where a program is missing: then none can be read, and nothing is known of any entry
 */
export async function readXattrsOfEach(
  tree: string,
  stored: readonly Pick<StoredEntry, 'path'>[],
  signal: AbortSignal,
  names?: string,
): Promise<(Xattr[] | undefined)[]> {
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
 * What was true of some entries, in their order; as `readXattrs`.
 * @param complain is told of what cannot be read: then it is shown as it is stored, a link without its target
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
 * What was true of one entry.
 * @param xattrs as they are stored
 * @param complain as for `readAttributes`
 * @throws Fault where a link's target cannot be read and nobody is told
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

/** A symlink lies in the store as a file that holds where it leads. */
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

/** `listTree` with all that was true of each entry. */
export async function* readTree(tree: string, options: TreeOptions): AsyncGenerator<TreeEntry> {
  for await (const batch of inBatches(listTree(tree, options)))
    yield* await readAttributes(tree, batch, options.signal, options.complain);
}

/** Entries in portions that are held in memory at once. */
export async function* inBatches<T>(entries: AsyncIterable<T>, size = BATCH): AsyncGenerator<T[]> {
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
