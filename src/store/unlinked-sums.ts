/**
 * Adds up unlinked files by cause and by folder, and finds the new paths whose content was at a path that is gone. The rows are in a
 * temporary database, so memory does not grow with the number of files.
 */
import { type Database, openScratchDatabase, type Statement } from '../os/database.ts';
import { dropGarbage } from '../os/memory.ts';
import { type FolderSum, fromTreeOrder, heavyFolders, treeOrder } from './heavy-folders.ts';
import { because, type Cause, type ChangedAttribute, type Why } from './unlinked-cause.ts';

/** The files with one cause. */
export interface CauseSum {
  cause: Cause;
  what: ChangedAttribute[];
  files: number;
  /** Each inode once. */
  bytes: number;
  /** One of the files, and for a moved one its path in the older snapshot. */
  example: { path: Buffer; from: Buffer | null };
  /** By how many nanoseconds the times of all files changed, if that is the same for all and there are several. */
  shiftNs: bigint | null;
}

/** A folder with files that have one cause. */
export type HeavyFolder = Pick<CauseSum, 'cause' | 'what'> & FolderSum;

/** A new path whose content is known by its digest. */
interface NewPath {
  path: Buffer;
  bytes: number;
  /** In hexadecimal; empty if it is not known. */
  sha256: string;
  size: number;
}

const TABLES = `
  CREATE TABLE inode (ino INTEGER PRIMARY KEY, is_shared INTEGER);
  CREATE TABLE sum (cause INTEGER, folder BLOB, files INTEGER, bytes INTEGER, PRIMARY KEY (cause, folder)) WITHOUT ROWID;
  CREATE TABLE fresh (content BLOB, path BLOB, bytes INTEGER);
  CREATE TABLE gone (content BLOB, path BLOB)`;

/** Folders with a cause whose sums are kept in memory. The paths come in order, so few are open at a time. */
const NOTED = 50;
/** Rows between two collections of garbage. */
const ROWS_AT_ONCE = 1000;
/** A folder with a smaller part of all unlinked files and bytes counts for the folder above it. */
const LEAST_SHARE = 20;

/** The sums of one explanation. */
export class UnlinkedSums implements Disposable {
  readonly #database: Database;
  readonly #statements: Record<'isKnown' | 'note' | 'sum' | 'fresh' | 'gone', Statement>;
  /** By the text of a cause with its attributes. */
  readonly #causes = new Map<string, CauseSum>();
  readonly #numbers = new Map<string, number>();
  readonly #shifts = new Map<string, { least: bigint; most: bigint }>();
  /** By cause and folder. Strings, since a small Buffer keeps a block of 8 KiB in memory, and splits free memory. */
  #noted = new Map<string, { cause: number; folder: string; files: number; bytes: number }>();
  #freshCount = 0;

  constructor() {
    this.#database = openScratchDatabase(TABLES);
    const prepare = (sql: string): Statement => this.#database.prepare(sql);
    this.#statements = {
      isKnown: prepare('SELECT is_shared AS isShared FROM inode WHERE ino = ?'),
      note: prepare('INSERT INTO inode VALUES (?, ?)'),
      sum: prepare(`INSERT INTO sum VALUES ($cause, $folder, $files, $bytes)
        ON CONFLICT DO UPDATE SET files = files + $files, bytes = bytes + $bytes`),
      fresh: prepare('INSERT INTO fresh VALUES (?, ?, ?)'),
      gone: prepare('INSERT INTO gone VALUES (?, ?)'),
    };
  }

  /**
   * Notes a name of an inode that can have several.
   * @param askIsShared whether an older snapshot has the inode; called once for each inode
   * @returns `shared`: an older snapshot has it; `first`: this is its first name here; `again`: it was noted before
   */
  noteInode(inode: bigint, askIsShared: () => boolean): 'shared' | 'first' | 'again' {
    const number = BigInt.asIntN(64, inode);
    const known = this.#statements.isKnown.get(number) as { isShared: number } | undefined;
    if (known !== undefined) return known.isShared === 1 ? 'shared' : 'again';
    const isShared = askIsShared();
    this.#statements.note.run(number, Number(isShared));
    return isShared ? 'shared' : 'first';
  }

  /**
   * Adds a file.
   * @param bytes 0 for a further name of an inode
   * @param shiftNs by how much its time has changed
   */
  add(path: Buffer, { cause, what }: Why, bytes: number, shiftNs = 0n, from: Buffer | null = null): void {
    const key = [cause, ...what].join(' ');
    const sum = this.#causes.get(key);
    if (sum) {
      sum.files += 1;
      sum.bytes += bytes;
    } else {
      this.#causes.set(key, { cause, what, files: 1, bytes, example: { path, from }, shiftNs: null });
      this.#numbers.set(key, this.#numbers.size);
    }
    if (what.includes('time')) this.#noteShift(key, shiftNs);
    const folder = path.toString('latin1', 0, Math.max(0, path.lastIndexOf('/')));
    const number = this.#numbers.get(key) ?? 0;
    const place = `${number} ${folder}`;
    const noted = this.#noted.get(place) ?? { cause: number, folder, files: 0, bytes: 0 };
    noted.files += 1;
    noted.bytes += bytes;
    this.#noted.set(place, noted);
    if (this.#noted.size >= NOTED) this.#flush();
  }

  #noteShift(key: string, shift: bigint): void {
    const { least, most } = this.#shifts.get(key) ?? { least: shift, most: shift };
    this.#shifts.set(key, { least: shift < least ? shift : least, most: shift > most ? shift : most });
  }

  #flush(): void {
    for (const { folder, ...sums } of this.#noted.values())
      this.#statements.sum.run({ ...sums, folder: treeOrder(Buffer.from(folder, 'latin1')) });
    this.#noted = new Map();
  }

  /** Adds a path that only the newer snapshot has. `resolve()` decides whether it was moved. */
  addNew(file: NewPath): void {
    if (file.sha256 === '') this.add(file.path, because('new'), file.bytes);
    else {
      this.#statements.fresh.run(contentOf(file), file.path, file.bytes);
      this.#freshCount += 1;
    }
  }

  /** Adds a path that only the older snapshot has. */
  addGone(file: Omit<NewPath, 'bytes'>): void {
    if (file.sha256 !== '') this.#statements.gone.run(contentOf(file), file.path);
  }

  /** Decides which new paths were moved. Call it after the last path. */
  resolve(): void {
    if (this.#freshCount > 0) {
      this.#database.exec('CREATE INDEX gone_content ON gone (content, path)');
      const rows = this.#database
        .prepare(
          `SELECT path, bytes, (SELECT min(gone.path) FROM gone WHERE gone.content = fresh.content) AS origin
             FROM fresh ORDER BY rowid`,
        )
        .iterate() as Iterable<{ path: Uint8Array; bytes: number; origin: Uint8Array | null }>;
      let count = 0;
      for (const { path, bytes, origin } of rows) {
        count += 1;
        if (count % ROWS_AT_ONCE === 0) dropGarbage();
        const from = origin && Buffer.from(origin);
        this.add(Buffer.from(path), because(from === null ? 'new' : 'moved'), bytes, 0n, from);
      }
    }
    this.#flush();
  }

  /** The causes, the largest first. */
  causes(): CauseSum[] {
    const all = [...this.#causes].map(([key, sum]): CauseSum => {
      const shift = this.#shifts.get(key);
      const isSame = shift !== undefined && shift.least === shift.most && sum.files > 1;
      return { ...sum, shiftNs: isSame ? shift.least : null };
    });
    return all.sort(largestFirst);
  }

  /** The folders that explain most of it, the largest first. Each file counts in one of them. */
  folders(): HeavyFolder[] {
    const all = [...this.#causes.values()];
    const least = (key: 'files' | 'bytes'): number =>
      all.reduce((sum, each) => sum + each[key], 0) / LEAST_SHARE;
    const limits = { files: least('files'), bytes: least('bytes') };
    const statement = this.#database.prepare(
      'SELECT folder, files, bytes FROM sum WHERE cause = ? ORDER BY folder',
    );
    const found = [...this.#causes].flatMap(([key, { cause, what }]) => {
      const rows = statement.iterate(this.#numbers.get(key) ?? 0) as Iterable<FolderRow>;
      return [...heavyFolders(sumsOf(rows), limits)].map(each => ({ ...each, cause, what }));
    });
    return found.sort(largestFirst);
  }

  [Symbol.dispose](): void {
    this.#database.close();
  }
}

type FolderRow = { folder: Uint8Array; files: number; bytes: number };

function* sumsOf(rows: Iterable<FolderRow>): Generator<FolderSum> {
  let count = 0;
  for (const { folder, files, bytes } of rows) {
    count += 1;
    if (count % ROWS_AT_ONCE === 0) dropGarbage();
    yield { path: fromTreeOrder(folder), files, bytes };
  }
}

function largestFirst(
  one: { bytes: number; files: number },
  other: { bytes: number; files: number },
): number {
  return other.bytes - one.bytes || other.files - one.files;
}

/** The content of a file as a key. All empty files have the same content: the last name must be the same too. */
function contentOf({ sha256, size, path }: Omit<NewPath, 'bytes'>): Buffer {
  const digest = Buffer.from(sha256, 'hex');
  return size > 0 ? digest : Buffer.concat([digest, path.subarray(path.lastIndexOf('/') + 1)]);
}
