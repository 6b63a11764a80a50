/** The heaviest folders and files, and candidates for the exclude list, of any number of entries. Pure. */
import { Heaviest } from './heaviest.ts';
import { type Fate, type File, type Folder, type Sink, sizeOf, type Weight } from './weight-tree.ts';

/** A folder or file, with the sums of everything below it. */
export interface Row extends Weight {
  /** Bytes. */
  path: string;
  isFolder: boolean;
  fate: Fate;
  /** The part of a folder that is left out, if the rest of it is backed up. */
  left: Weight;
  /** Whether no package has any of it. Undefined where that is not known. */
  isLoose: boolean | undefined;
  /** Why its files can be created again; undefined where that is not known. */
  cache: string | undefined;
}

/** The rows of one run, the heaviest first. */
export interface Report {
  folders: Row[];
  files: Row[];
  /** The outermost entries that are left out. */
  leftOut: Row[];
  /** Folders and files that are backed up and need not be. */
  candidates: Row[];
  never: string[];
  neverCount: number;
}

/** Paths of `never` that are named. */
const NEVER_KEPT = 1000;

/** Folders that programs fill again by themselves, as share/excludes has them. */
const CACHES =
  /(?:^|\/)(?:\.cache|node_modules|__pycache__|\.venv|_cacache|\.ccache|CacheStorage|\.cargo\/registry|\.local\/share\/Trash|\.Trash-\d+|\.var\/app\/[^/]+\/cache|\.thumbnails)$|^\/(?:tmp|var\/cache|var\/lib\/apt\/lists|var\/tmp|var\/crash|var\/lib\/systemd\/coredump)$/;

/** Collects the rows. */
export class ReportSink implements Sink {
  readonly #knowsPackages: boolean;
  readonly #folders: Heaviest<Row>;
  readonly #files: Heaviest<Row>;
  readonly #leftOut: Heaviest<Row>;
  readonly #candidates: Heaviest<Row>;
  readonly #never: string[] = [];
  #neverCount = 0;
  /** The outermost folder of a cache that the present entry is in. */
  #cache: string | undefined;

  /** @param limit the most rows of each list; @param knowsPackages whether the lists of packages were read */
  constructor(limit: number, knowsPackages: boolean) {
    this.#knowsPackages = knowsPackages;
    const make = (): Heaviest<Row> => new Heaviest<Row>(limit, row => row.bytes);
    this.#folders = make();
    this.#files = make();
    this.#leftOut = make();
    this.#candidates = make();
  }

  enter(folder: Folder, above: Folder | undefined): void {
    if (above && this.#cache === undefined && cacheReason(folder) !== undefined) this.#cache = folder.path;
  }

  file(file: File, above: Folder): void {
    const row: Row = {
      ...{ path: file.path, isFolder: false, fate: file.fate, bytes: sizeOf(file), files: 1 },
      ...{ left: { bytes: 0, files: 0 }, cache: undefined },
      isLoose: this.#knowsPackages ? !file.isPackaged : undefined,
    };
    if (file.fate === 'never') this.#keepBack(file.path);
    else if (file.fate === 'taken') this.#files.take(row);
    else if (above.fate === 'taken' && !above.isEmptied) this.#leftOut.take(row);
  }

  leave(folder: Folder, above: Folder | undefined): void {
    if (above === undefined) return;
    const isTaken = folder.fate === 'taken';
    const sum = isTaken ? folder.taken : folder.left;
    const row: Row = {
      ...{ path: folder.path, isFolder: true, fate: folder.fate, ...sum },
      left: isTaken ? folder.left : { bytes: 0, files: 0 },
      isLoose: this.#knowsPackages ? folder.loose === folder.taken.bytes : undefined,
      cache: cacheReason(folder),
    };
    if (isTaken) this.#folders.take(row);
    else if (above.fate === 'taken' && !above.isEmptied) this.#leftOut.take(row);
    if (isTaken && folder.isEmptied)
      this.#leftOut.take({ ...row, ...folder.left, left: { bytes: 0, files: 0 }, fate: 'tagged' });
    if (this.#cache !== folder.path) return;
    this.#cache = undefined;
    if (isTaken && !folder.isEmptied && row.bytes > 0) this.#candidates.take(row);
  }

  report(): Report {
    return {
      folders: this.#folders.list(),
      files: this.#files.list(),
      leftOut: this.#leftOut.list(),
      candidates: this.#candidates.list(),
      never: this.#never,
      neverCount: this.#neverCount,
    };
  }

  #keepBack(path: string): void {
    this.#neverCount += 1;
    if (this.#never.length < NEVER_KEPT) this.#never.push(path);
  }
}

/** Why the files of a folder can be created again; undefined where that is not known. */
export function cacheReason({ path, tag, uid }: Folder): string | undefined {
  if (uid === undefined) return undefined; // it is above the scope
  if (tag !== undefined) return tag;
  return CACHES.test(path) ? 'its name' : undefined;
}
