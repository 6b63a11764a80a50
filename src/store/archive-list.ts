/**
 * Lists a stored tree in the order of an archive: each folder, then everything in it, by the bytes of the names. For a
 * file with several names it finds the first one. sort(1) does both, so no process holds all names in memory.
 *
 * An order by the bytes of whole paths would put `a b` between `a` and `a/c`. GNU tar gives a folder its time when the next
 * entry is not in it, so `a` would then lose its time to `a/c`.
 */
import { Fault } from '../fault.ts';
import { standard } from '../os/process.ts';
import { FIND_FORMAT, PATH_FIELD, parseFound, type StoredEntry, splitRecord } from './find-records.ts';
import { type Complain, sortedRecords, sortRecords } from './sorted-find.ts';
import { type TreeOptions, treeFinder } from './stored-tree.ts';
import { treeReaders } from './tree-readers.ts';

/** An entry as it is stored. */
export interface ListedEntry extends StoredEntry {
  /** Of 512 bytes. */
  blocks: number;
  /** The path of the same file that comes first; undefined if this one does. */
  first: Buffer | undefined;
}

const BLOCKS_FIRST = `%b ${FIND_FORMAT}`;
/** The fields, from 1 on, as sort(1) counts. */
const INODE = 2;
const PATH = PATH_FIELD + 1;
const SLASH = '/'.charCodeAt(0);
/** Takes the place of the slash in a record, and the slash takes its place: no byte of a name sorts before it. */
const SEPARATOR = 1;
const SWAP = ['/\\001', '\\001/'];
/** Between a path and the first name. No path has two slashes side by side. */
const BEFORE_FIRST = Buffer.from([SEPARATOR, SEPARATOR]);

/**
 * Lists the entries of all passes, each once.
 * @param passes the parts of the tree
 * @param complain receives a text for each entry that cannot be read
 * @throws Fault when the tree cannot be read at all; the signal's reason
 */
export async function* listForArchive(
  tree: string,
  passes: readonly Pick<TreeOptions, 'paths' | 'depth'>[],
  { complain, signal }: { complain: Complain; signal: AbortSignal },
): AsyncGenerator<ListedEntry> {
  const readers = treeReaders();
  if (readers !== undefined) return yield* readers.listForArchive(tree, passes, { complain, signal });
  const tried = `read "${tree}"`;
  async function* marked(): AsyncGenerator<Buffer> {
    for (const pass of passes) {
      const { finder, input, isWanted } = treeFinder(tree, BLOCKS_FIRST, pass);
      const order = ['-u', '-k', `${INODE},${INODE}n`, '-k', String(PATH)];
      const options = { order, input, filter: standard('tr', SWAP), complain, signal, tried };
      const found = sortedRecords(finder, options);
      yield* markFirst(isWanted ? wanted(found, isWanted) : found);
    }
  }
  async function* wanted(
    records: AsyncIterable<Buffer>,
    isWanted: (path: Buffer) => boolean,
  ): AsyncGenerator<Buffer> {
    for await (const record of records) if (isWanted(parseListed(record, tried).path)) yield record;
  }
  const order = ['-k', String(PATH)];
  for await (const record of sortRecords(marked(), { order, signal, tried }))
    yield parseListed(record, tried);
}

/** Adds the first name to the records of all other names of a file. @param records in the order of inodes, then paths */
async function* markFirst(records: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let first: { inode: string; path: Buffer } | undefined;
  for await (const record of records) {
    const { fields, name } = splitRecord(record, PATH - 1);
    const inode = fields[INODE - 1] ?? '';
    if (inode === first?.inode) yield Buffer.concat([record, BEFORE_FIRST, first.path]);
    else {
      first = { inode, path: name };
      yield record;
    }
  }
}

function parseListed(record: Buffer, tried: string): ListedEntry {
  const end = record.indexOf(BEFORE_FIRST);
  const { fields, name } = splitRecord(end < 0 ? record : record.subarray(0, end), 1);
  const parsed = parseFound(swap(name));
  if ('reason' in parsed) throw new Fault({ tried, found: parsed.reason });
  const first = end < 0 ? undefined : swap(record.subarray(end + BEFORE_FIRST.length + './'.length));
  return { ...parsed.value, blocks: Number(fields[0]), first };
}

/** Undoes what tr(1) did. */
function swap(bytes: Buffer): Buffer {
  const swapped = Buffer.from(bytes);
  for (let at = 0; at < swapped.length; at += 1) {
    if (swapped[at] === SLASH) swapped[at] = SEPARATOR;
    else if (swapped[at] === SEPARATOR) swapped[at] = SLASH;
  }
  return swapped;
}
