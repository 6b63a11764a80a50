/**
 * The disk space that a client's new files take, and how much of a new tree is fresh. Only measured here; host/admission.ts decides.
 *
 * The client's own figures are not trusted. The added bytes are the blocks of those inodes that have all of their links in this client's
 * arriving/. So files that are shared with a snapshot do not count, and the trees of interrupted runs do. A client can only make links
 * below arriving/.
 */
import { lstat, readdir } from '../os/files.ts';
import { standard } from '../os/process.ts';
import type { Arrival } from '../store/arrival.ts';
import { BLOCK_BYTES, splitText } from '../store/find-records.ts';
import type { Snapshot } from '../store/snapshot.ts';
import { sortedTexts } from '../store/sorted-find.ts';
import type { ClientStore } from '../store/store.ts';
import { SNAPSHOT } from '../wire/text.ts';

/** The size of a client's arriving/. All but `ownBytes` is about the measured tree, and 0 without one. */
interface ArrivingSize {
  /** Bytes on the disk of the folders, and of the files that have all of their links in arriving/; of every tree there. */
  ownBytes: number;
  /** The bytes of all paths together, each relative to the tree. */
  pathBytes: number;
  files: number;
  /** The files that no snapshot shares, or that the baseline does not share if there is one. */
  freshFiles: number;
  bytes: number;
  freshBytes: number;
}

/**
 * Measures a client's arriving/.
 * @param measured the tree whose own size is measured too, and the snapshot that it is compared with
 * @throws Fault if find(1) or sort(1) fails; or the signal's reason
 */
export async function measureArriving(
  client: ClientStore,
  signal?: AbortSignal,
  measured?: { arrival: Arrival; baseline: Snapshot | undefined },
): Promise<ArrivingSize> {
  const size: ArrivingSize = { ownBytes: 0, pathBytes: 0, files: 0, freshFiles: 0, bytes: 0, freshBytes: 0 };
  const prefix = measured && `${measured.arrival.name}/tree/`;
  const { baseline } = measured ?? {};
  await using old = new InodeLookup(baseline && inodesOf(baseline.tree, undefined, signal));
  for await (const inodes of inodesOf(`${client.folder}/arriving`, prefix, signal)) {
    for (const { inode, isFolder, links, bytes, seen, inTree, pathBytes } of inodes) {
      size.pathBytes += pathBytes;
      const isOwn = isFolder || seen >= links;
      if (isOwn) size.ownBytes += bytes;
      if (isFolder || inTree === 0) continue;
      size.files += inTree;
      size.bytes += bytes;
      const isFresh = baseline === undefined ? isOwn : !(await old.has(BigInt(inode)));
      if (!isFresh) continue;
      size.freshFiles += inTree;
      size.freshBytes += bytes;
    }
  }
  return size;
}

/**
 * Measures a client's files that lie beside the trees: records, exclude lists, manifests, the index. Each of them has one link, so no
 * other client shares it. @returns bytes on the disk
 */
export function measureBesideTrees({ folder }: ClientStore): number {
  const sizeOf = (path: string): number => {
    try {
      const found = lstat(path);
      return found.isDirectory() ? 0 : found.blocks * BLOCK_BYTES;
    } catch {
      return 0; // removed meanwhile
    }
  };
  const sizeIn = (place: string): number =>
    readdir(place).reduce((sum, name) => sum + sizeOf(`${place}/${name}`), 0);
  return readdir(`${folder}/snapshots`).reduce(
    (sum, name) => sum + (SNAPSHOT.test(name) ? sizeIn(`${folder}/snapshots/${name}`) : 0),
    sizeIn(folder),
  );
}

interface Inode {
  /** Its number, in decimal. */
  inode: string;
  isFolder: boolean;
  /** The number of links that it has on the file system. */
  links: number;
  bytes: number;
  /** The number of its links that were found. */
  seen: number;
  /** The number of its links below the prefix, and the bytes of their paths after the prefix. */
  inTree: number;
  pathBytes: number;
}

/**
 * Lists the inodes below a folder by find(1) and sort(1), ordered by number, many at a time. An entry that disappears meanwhile is left
 * out, since rsync renames its temporary files.
 */
async function* inodesOf(
  folder: string,
  prefix: string | undefined,
  signal: AbortSignal | undefined,
): AsyncGenerator<Inode[]> {
  const find = standard('find', [folder, '-ignore_readdir_race', '-printf', '%i %n %y %b %P\\0']);
  const order = ['-s', '-n', '-k', '1,1'];
  const tried = `look through "${folder}"`;
  let last: Inode | undefined;
  for await (const records of sortedTexts(find, { order, complain: () => {}, signal, tried })) {
    const whole: Inode[] = [];
    for (const record of records) {
      const [inode = '', links, type, blocks, path = ''] = splitText(record, 4);
      if (last?.inode !== inode) {
        if (last) whole.push(last);
        const bytes = Number(blocks) * BLOCK_BYTES;
        last = {
          inode,
          isFolder: type === 'd',
          links: Number(links),
          bytes,
          seen: 0,
          inTree: 0,
          pathBytes: 0,
        };
      }
      last.seen += 1;
      if (prefix === undefined || !path.startsWith(prefix)) continue;
      last.inTree += 1;
      last.pathBytes += path.length - prefix.length;
    }
    yield whole;
  }
  if (last) yield [last];
}

/** Looks up inodes in a sorted list. The lookups must come in the order of the inode numbers. */
class InodeLookup {
  readonly #portions: AsyncGenerator<Inode[]> | undefined;
  #portion: Inode[] = [];
  #at = 0;
  #next = -1n;
  #isOver = false;

  constructor(portions: AsyncGenerator<Inode[]> | undefined) {
    this.#portions = portions;
  }

  async has(inode: bigint): Promise<boolean> {
    while (!this.#isOver && this.#next < inode) {
      const found = this.#portion[this.#at];
      this.#at += 1;
      if (found) this.#next = BigInt(found.inode);
      else await this.#read();
    }
    return !this.#isOver && this.#next === inode;
  }

  async #read(): Promise<void> {
    const { value } = (await this.#portions?.next()) ?? {};
    this.#portion = value ?? [];
    this.#at = 0;
    this.#isOver = value === undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#portions?.return(undefined);
  }
}
