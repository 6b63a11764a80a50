/** Lists the files of some trees by their inodes, each with all of its names. */
import { Fault } from '../fault.ts';
import { standard } from '../os/process.ts';
import { formatTime, parseTime } from './file-time.ts';
import { splitRecord } from './find-records.ts';
import { type Complain, sortedRecords } from './sorted-find.ts';

/** A name of a file. */
interface InodeName {
  /** The place of its tree in the list of trees. */
  tree: number;
  /** Below the tree, without a slash in front. */
  path: Buffer;
}

/** A file with all names that it has in the trees. */
export interface NamedInode {
  inode: bigint;
  /** The number of its names on the file system. */
  links: number;
  /** Bytes. */
  size: number;
  /** SECONDS.NANOSECONDS */
  mtime: string;
  names: InodeName[];
}

const FORMAT = '%i %n %s %T@ %p\\0';
const FIELDS = 4;

/**
 * Lists the files below some folders by find(1) and sort(1), ordered by inode. It holds one file in memory at a time.
 * @param trees absolute paths; none is inside another
 * @param options.complain receives a text about an entry that cannot be read; if left out, that is a Fault
 * @throws Fault when find(1) or sort(1) fails; the signal's reason
 */
export async function* inodesIn(
  trees: readonly string[],
  options: { complain?: Complain; signal: AbortSignal; tried: string },
): AsyncGenerator<NamedInode> {
  const find = standard('find', [...trees, '-type', 'f', '-printf', FORMAT]);
  const heads = trees.map(each => Buffer.from(`${each}/`));
  let last: NamedInode | undefined;
  for await (const record of sortedRecords(find, { order: ['-s', '-n', '-k', '1,1'], ...options })) {
    const { fields, name } = splitRecord(record, FIELDS);
    const [number = '', links, size, mtime = ''] = fields;
    const inode = BigInt(number);
    if (last?.inode !== inode) {
      if (last) yield last;
      last = {
        inode,
        links: Number(links),
        size: Number(size),
        mtime: formatTime(parseTime(mtime)),
        names: [],
      };
    }
    const tree = heads.findIndex(head => name.subarray(0, head.length).equals(head));
    const head = heads[tree];
    if (head === undefined) throw new Fault({ tried: options.tried, found: 'malformed output of find' });
    last.names.push({ tree, path: name.subarray(head.length) });
  }
  if (last) yield last;
}
