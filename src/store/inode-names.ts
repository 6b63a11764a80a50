/** Lists the files of some trees by their inodes, each with all of its names. */
import { Fault } from '../fault.ts';
import { standard } from '../os/process.ts';
import { timeOfFind } from './file-time.ts';
import { splitText } from './find-records.ts';
import { type Complain, sortedTexts } from './sorted-find.ts';

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
  /** Bytes. */
  size: number;
  /** SECONDS.NANOSECONDS */
  mtime: string;
  names: InodeName[];
}

const FORMAT = '%i %n %s %T@ %p\\0';
const FIELDS = 4;

interface InodeOptions {
  /** Receives a text about an entry that cannot be read; if left out, that is a Fault. */
  complain?: Complain;
  /** Lists only files of which all names are in the trees. Skipping the others takes little time. */
  isAlone?: boolean;
  signal: AbortSignal;
  tried: string;
}

/**
 * Lists the files below some folders by find(1) and sort(1), ordered by inode. It holds one file in memory at a time.
 * @param trees absolute paths; none is inside another
 * @throws Fault when find(1) or sort(1) fails; the signal's reason
 */
export async function* inodesIn(
  trees: readonly string[],
  { isAlone = false, ...options }: InodeOptions,
): AsyncGenerator<NamedInode> {
  const find = standard('find', [...trees, '-type', 'f', '-printf', FORMAT]);
  const heads = trees.map(each => Buffer.from(`${each}/`).toString('latin1'));
  const group = new Group(heads, isAlone, options.tried);
  for await (const records of sortedTexts(find, { order: ['-s', '-n', '-k', '1,1'], ...options })) {
    for (const record of records) {
      const found = group.take(record);
      if (found) yield found;
    }
  }
  const last = group.end();
  if (last) yield last;
}

/** The records of one file. They are read when the last one is there, and not at all if the file is not wanted. */
class Group {
  readonly #heads: readonly string[];
  readonly #isAlone: boolean;
  readonly #tried: string;
  /** The inode as find prints it, with the blank. */
  #inode = '';
  #records: string[] = [];

  /** @param heads the trees, each with a slash */
  constructor(heads: readonly string[], isAlone: boolean, tried: string) {
    this.#heads = heads;
    this.#isAlone = isAlone;
    this.#tried = tried;
  }

  /** Takes the next record. @returns the file before it, if it is another one and wanted */
  take(record: string): NamedInode | undefined {
    if (this.#inode !== '' && record.startsWith(this.#inode)) {
      this.#records.push(record);
      return undefined;
    }
    const found = this.end();
    this.#inode = record.slice(0, record.indexOf(' ') + 1);
    this.#records = [record];
    return found;
  }

  /** Ends the file. */
  end(): NamedInode | undefined {
    const [first] = this.#records;
    if (first === undefined) return undefined;
    const [number = '', links, size, mtime = ''] = splitText(first, FIELDS);
    if (this.#isAlone && this.#records.length < Number(links)) return undefined;
    return {
      inode: BigInt(number),
      size: Number(size),
      mtime: timeOfFind(mtime),
      names: this.#records.map(each => this.#nameOf(splitText(each, FIELDS).at(-1) ?? '')),
    };
  }

  #nameOf(path: string): InodeName {
    const tree = this.#heads.findIndex(head => path.startsWith(head));
    const head = this.#heads[tree];
    if (head === undefined) throw new Fault({ tried: this.#tried, found: 'malformed output of find' });
    return { tree, path: Buffer.from(path.slice(head.length), 'latin1') };
  }
}
