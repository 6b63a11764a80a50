/**
 * Puts the files back that a backup left out because of a list of `packages`, from the archives of the same versions.
 *
 * Only missing files that the list names are written, so that the result is the system as it was. No script of a package runs: their
 * effects are in the backup. Each plain file must have the digest that the database in the restored system has for it. rpm and pacman
 * record the modes and times, so these come from there; those of dpkg from the archive.
 */
import { Fault } from '../fault.ts';
import { ownAccount } from '../os/account.ts';
import { asBytes, parentOf } from '../os/byte-path.ts';
import { hexDigestOfFile } from '../os/content.ts';
import {
  chmod,
  chown,
  failedWith,
  fileFault,
  lstat,
  makeBareFolder,
  makeUniqueFolder,
  readdir,
  readlink,
  removeAll,
  rename,
  setLinkTimes,
  statusExact,
} from '../os/files.ts';
import { run, standard } from '../os/process.ts';
import { escapeText } from '../wire/text.ts';
import { InnerPaths } from './inner-path.ts';
import { LeftOut } from './left-out-paths.ts';
import {
  type FileRecord,
  inSystem,
  keyOf,
  type ManagerName,
  type Package,
  type PackageManager,
} from './package-database.ts';
import { readPackageList, readStamp } from './package-list.ts';
import { managerOf } from './package-managers.ts';

/** A package of which files are missing. */
export interface NeededPackage {
  /** Its name and version, as the program that downloads packages takes them. */
  version: string;
  files: number;
}

export interface PutBackResult {
  manager: ManagerName;
  /** Packages whose archive is needed and was not there. */
  needed: NeededPackage[];
  files: number;
  bytes: number;
  /** Paths in the system, as bytes, that an archive does not have, or has with another content. */
  different: string[];
  /** Paths of packages that cannot be made, since a file or a link to nowhere is in the place of a folder above them. */
  unplaced: string[];
}

interface PutBackOptions {
  /** The folder of the restored system. */
  system: string;
  list: string;
  /** The folder with the archives of packages; undefined: only find out which are needed. */
  archives: string | undefined;
}

/** A missing path of a package. */
interface Missing {
  /** As the package names it. */
  name: string;
  /** Its real path in the system. */
  place: string;
}

const STAGE = '.dialback-put-back-';
const NS = 1_000_000_000n;
const NUL = Buffer.from([0]);

/**
 * Puts files back, or finds the packages that are needed for it. A call after an interruption continues.
 * @throws Fault if this account is not root, if the list or the database cannot be read, or if a file cannot be written
 */
export async function putBack(options: PutBackOptions, signal: AbortSignal): Promise<PutBackResult> {
  const { system, list } = options;
  const { manager, at } = await managerOf(system, signal);
  const database = await manager.read(at, signal, { policy: false });
  const inner = new InnerPaths(asBytes(system));
  const leftOut = new LeftOut(readPackageList(list), asBytes(readStamp(list)?.system ?? '/'));
  const counts = { needed: [], files: 0, bytes: 0, different: [], unplaced: [] };
  const result: PutBackResult = { manager: manager.name, ...counts };
  // No archive has these, so no list names them. Some are in folders that only a running system has.
  const unwritten = new Set(database.rules.flatMap(([reason, names]) => (reason === 'ghost' ? names : [])));
  const missing = database.packages.map((each): [Package, Missing[]] => {
    const files = each.files.filter(name => !unwritten.has(name));
    return [each, findMissing(files, inner, leftOut, result.unplaced)];
  });
  if (options.archives !== undefined) requireRoot(system);
  const archives =
    options.archives === undefined ? undefined : await listArchives(options.archives, manager, signal);
  const writer = new Writer(system, inner, manager);
  await using held = new AsyncDisposableStack();
  held.defer(() => writer.resetTimes());
  for (const [each, paths] of missing) {
    if (paths.length === 0) continue;
    signal.throwIfAborted();
    const archive = archives?.get(keyOf(each));
    if (archive === undefined) result.needed.push({ version: each.wanted, files: paths.length });
    else await writer.write(each, paths, archive, result, signal);
  }
  result.needed.sort((a, b) => (a.version < b.version ? -1 : 1));
  return result;
}

function requireRoot(system: string): void {
  if (ownAccount().uid === 0) return;
  throw new Fault({
    tried: `put files back into "${system}"`,
    found: 'only root can give files to root',
    next: 'run the same command as root',
    exit: 'usage',
  });
}

/**
 * The missing paths of a package that the list names, folders included, parents first.
 * @param unplaced gets the paths whose way leads through a file or a link to nowhere: their real place is not known
 * @throws Fault if this account may not look into a folder
 */
function findMissing(
  files: readonly string[],
  inner: InnerPaths,
  leftOut: LeftOut,
  unplaced: string[],
): Missing[] {
  return files.flatMap(name => {
    try {
      const place = inner.futurePlace(name);
      if (place === undefined) unplaced.push(name);
      if (place === undefined || !leftOut.has(place)) return [];
      return lstat(inner.outside(place), { throwIfNoEntry: false }) === undefined ? [{ name, place }] : [];
    } catch (error) {
      throw fileFault(error, `look for "${escapeText(name)}"`, { next: 'run the same command as root' });
    }
  });
}

/** @returns the archives of a folder by name, version and architecture of their packages */
async function listArchives(
  folder: string,
  { archives }: PackageManager,
  signal: AbortSignal,
): Promise<Map<string, string>> {
  let names: string[];
  try {
    names = readdir(folder).filter(name => archives.isArchive(name));
  } catch (error) {
    throw fileFault(error, `read the folder "${folder}"`, { exit: 'usage' });
  }
  const found = new Map<string, string>();
  for (const name of names) {
    const path = `${folder}/${name}`;
    const key = await archives.identify(path, signal);
    if (key !== undefined) found.set(key, path);
  }
  return found;
}

/** Writes the files of packages into a system. */
class Writer {
  readonly #system: string;
  readonly #inner: InnerPaths;
  readonly #manager: PackageManager;
  /** The modification times of folders, which adding a file to them changes. In nanoseconds since 1970. */
  readonly #times = new Map<string, bigint>();

  constructor(system: string, inner: InnerPaths, manager: PackageManager) {
    [this.#system, this.#inner, this.#manager] = [system, inner, manager];
  }

  /** Sets the times of the folders as they were. */
  async resetTimes(): Promise<void> {
    for (const [folder, ns] of this.#times) await setTime(this.#inner.outside(folder), ns);
  }

  async write(
    each: Package,
    paths: readonly Missing[],
    archive: string,
    result: PutBackResult,
    signal: AbortSignal,
  ): Promise<void> {
    const stage = this.#makeStage();
    try {
      await this.#manager.archives.unpack(archive, stage, signal);
      for (const path of paths) await this.#place(each, path, stage, result, signal);
    } finally {
      removeAll(stage);
    }
  }

  #makeStage(): string {
    // One that a killed process has left behind.
    for (const name of readdir(this.#system))
      if (name.startsWith(STAGE)) removeAll(inSystem(this.#system, `/${name}`));
    this.#keepTimes('/');
    return makeUniqueFolder(inSystem(this.#system, `/${STAGE}`));
  }

  async #place(
    { sums, algorithm, records }: Package,
    { name, place }: Missing,
    stage: string,
    result: PutBackResult,
    signal: AbortSignal,
  ): Promise<void> {
    const staged = Buffer.concat([Buffer.from(stage), Buffer.from(name, 'latin1')]);
    const found = lstat(staged, { throwIfNoEntry: false });
    const record = records?.get(name);
    if (found?.isDirectory()) {
      this.#makeFolder(place, staged, record);
      return;
    }
    const sum = sums.get(name);
    const isSame = found?.isSymbolicLink()
      ? record === undefined || record.target === readlink(staged).toString('latin1')
      : found?.isFile() && sum !== undefined && (await hexDigestOfFile(staged, algorithm, signal)) === sum;
    if (!isSame) {
      result.different.push(place);
      return;
    }
    if (record !== undefined) await setAsRecorded(staged, record);
    const parent = parentOf(place);
    this.#makeParents(parent, Buffer.from(parentOf(staged.toString('latin1')), 'latin1'));
    this.#keepTimes(parent);
    rename(staged, this.#inner.outside(place));
    result.files += 1;
    result.bytes += found?.size ?? 0;
  }

  /** Makes missing folders as the package has them. */
  #makeParents(place: string, staged: Buffer): void {
    const outside = this.#inner.outside(place);
    const found = lstat(outside, { throwIfNoEntry: false });
    if (found?.isDirectory()) return;
    if (found !== undefined)
      throw new Fault({ tried: `put files back into "${escapeText(place)}"`, found: 'it is not a folder' });
    this.#makeParents(parentOf(place), Buffer.from(parentOf(staged.toString('latin1')), 'latin1'));
    this.#makeFolder(place, staged);
  }

  /** @param record what the database has about it; undefined: the folder that was unpacked counts */
  #makeFolder(place: string, staged: Buffer, record?: FileRecord): void {
    const outside = this.#inner.outside(place);
    this.#keepTimes(parentOf(place));
    const { uid, gid, mode } = record === undefined ? lstat(staged) : { uid: 0, gid: 0, mode: record.mode };
    const { mtimeNs } = record ?? statusExact(staged);
    try {
      makeBareFolder(outside, 0o700);
    } catch (error) {
      if (failedWith(error, 'EEXIST')) return;
      throw fileFault(error, `make the folder "${escapeText(place)}"`);
    }
    chown(outside, uid, gid);
    chmod(outside, mode & 0o7777);
    this.#times.set(place, mtimeNs);
  }

  #keepTimes(folder: string): void {
    if (this.#times.has(folder)) return;
    this.#times.set(folder, statusExact(this.#inner.outside(folder)).mtimeNs);
  }
}

/** Sets the mode and the time that the database has. root has unpacked the file, and it owns all files that are left out. */
async function setAsRecorded(path: Buffer, { kind, mode, mtimeNs }: FileRecord): Promise<void> {
  if (kind === 'file') chmod(path, mode);
  await setTime(path, mtimeNs);
}

/**
 * Sets a modification time. node's times are exact for whole seconds only, and it takes a negative number for the present time. touch(1)
 * sets all others.
 */
async function setTime(path: Buffer, ns: bigint): Promise<void> {
  const [sign, absolute] = ns < 0n ? ['-', -ns] : ['', ns];
  const [seconds, rest] = [absolute / NS, absolute % NS];
  if (rest === 0n && sign === '') {
    setLinkTimes(path, Number(seconds), Number(seconds));
    return;
  }
  const time = `@${sign}${seconds}.${String(rest).padStart(9, '0')}`;
  const words = ['-0', 'touch', '--no-create', '--no-dereference', '-m', '-d', time, '--'];
  await run(standard('xargs', words), { input: Buffer.concat([path, NUL]) });
}
