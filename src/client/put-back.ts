/**
 * Puts the files back that a backup left out because of a list of `packages`, from the .deb files of the same versions.
 *
 * Only missing files that the list names are written, so that the result is the system as it was. No script of a package runs: their
 * effects are in the backup. Each plain file must have the MD5 that dpkg's database in the restored system has for it.
 */
import { Fault } from '../fault.ts';
import { ownAccount } from '../os/account.ts';
import { asBytes, parentOf } from '../os/byte-path.ts';
import { md5OfFile } from '../os/content.ts';
import {
  chmod,
  chown,
  failedWith,
  fileFault,
  lstat,
  makeBareFolder,
  makeUniqueFolder,
  readdir,
  removeAll,
  rename,
  statusExact,
} from '../os/files.ts';
import { run, standard } from '../os/process.ts';
import { escapeText } from '../wire/text.ts';
import { inSystem, type Package, readDatabase } from './dpkg.ts';
import { InnerPaths } from './inner-path.ts';
import { LeftOut } from './left-out-paths.ts';
import { readPackageList, readStamp } from './package-list.ts';

/** A package of which files are missing. */
export interface NeededPackage {
  /** NAME=VERSION, as `apt-get download` takes it. */
  version: string;
  files: number;
}

export interface PutBackResult {
  /** Packages whose .deb file is needed and was not there. */
  needed: NeededPackage[];
  files: number;
  bytes: number;
  /** Paths in the system, as bytes, that a .deb file does not have, or has with another content. */
  different: string[];
  /** Paths of packages that cannot be made, since a file or a link to nowhere is in the place of a folder above them. */
  unplaced: string[];
}

interface PutBackOptions {
  /** The folder of the restored system. */
  system: string;
  list: string;
  /** The folder with the .deb files; undefined: only find out which are needed. */
  debs: string | undefined;
}

/** A missing path of a package. */
interface Missing {
  /** As the package names it. */
  name: string;
  /** Its real path in the system. */
  place: string;
}

const STAGE = '.dialback-put-back-';
const DEB_MS = 10 * 60_000;
const NS = 1_000_000_000n;
const NUL = Buffer.from([0]);

/**
 * Puts files back, or finds the packages that are needed for it. A call after an interruption continues.
 * @throws Fault if this account is not root, if the list or the database cannot be read, or if a file cannot be written
 */
export async function putBack(options: PutBackOptions, signal: AbortSignal): Promise<PutBackResult> {
  const { system, list, debs } = options;
  const database = await readDatabase(system, signal, { policy: false });
  const inner = new InnerPaths(asBytes(system));
  const leftOut = new LeftOut(readPackageList(list), asBytes(readStamp(list)?.system ?? '/'));
  const result: PutBackResult = { needed: [], files: 0, bytes: 0, different: [], unplaced: [] };
  const missing = database.packages.map((each): [Package, Missing[]] => [
    each,
    findMissing(each, inner, leftOut, result.unplaced),
  ]);
  if (debs !== undefined) requireRoot(system);
  const archives = debs === undefined ? new Map<string, string>() : await listArchives(debs, signal);
  const writer = new Writer(system, inner);
  await using held = new AsyncDisposableStack();
  held.defer(() => writer.resetTimes());
  for (const [each, paths] of missing) {
    if (paths.length === 0) continue;
    signal.throwIfAborted();
    const version = `${each.label}=${each.version}`;
    const archive = archives.get(keyOf(each));
    if (archive === undefined) result.needed.push({ version, files: paths.length });
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
function findMissing({ files }: Package, inner: InnerPaths, leftOut: LeftOut, unplaced: string[]): Missing[] {
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

const keyOf = ({ name, version, architecture }: Pick<Package, 'name' | 'version' | 'architecture'>): string =>
  `${name}\t${version}\t${architecture}`;

/** dpkg-deb replaces these. */
// biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-deb's format
const DEB_FORMAT = '${Package}\\t${Version}\\t${Architecture}\\n';

/** @returns the .deb files of a folder by name, version and architecture of their packages */
async function listArchives(folder: string, signal: AbortSignal): Promise<Map<string, string>> {
  let names: string[];
  try {
    names = readdir(folder).filter(name => name.endsWith('.deb'));
  } catch (error) {
    throw fileFault(error, `read the folder "${folder}"`, { exit: 'usage' });
  }
  const found = new Map<string, string>();
  for (const name of names) {
    const path = `${folder}/${name}`;
    const shown = await run(standard('dpkg-deb', ['--show', `--showformat=${DEB_FORMAT}`, path]), {
      signal,
      timeoutMs: DEB_MS,
    });
    if (shown.status === 0) found.set(shown.stdout.toString('latin1').trimEnd(), path);
  }
  return found;
}

/** Writes the files of packages into a system. */
class Writer {
  readonly #system: string;
  readonly #inner: InnerPaths;
  /** The modification times of folders, which adding a file to them changes. In nanoseconds since 1970. */
  readonly #times = new Map<string, bigint>();

  constructor(system: string, inner: InnerPaths) {
    [this.#system, this.#inner] = [system, inner];
  }

  /** Sets the times of the folders as they were. By touch(1): node's times are not exact to the nanosecond. */
  async resetTimes(): Promise<void> {
    for (const [folder, ns] of this.#times) {
      const time = `@${ns / NS}.${String(ns % NS).padStart(9, '0')}`;
      const words = ['-0', 'touch', '--no-create', '--no-dereference', '-m', '-d', time, '--'];
      await run(standard('xargs', words), { input: Buffer.concat([this.#inner.outside(folder), NUL]) });
    }
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
      const words = ['--extract', archive, stage];
      const { status, stderr } = await run(standard('dpkg-deb', words), { signal, timeoutMs: DEB_MS });
      if (status !== 0)
        throw new Fault({
          tried: `unpack "${escapeText(archive)}"`,
          found: `dpkg-deb ended with ${status}: ${escapeText(stderr.trim().split('\n').at(-1) ?? '')}`,
          next: 'download it again',
        });
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
    { sums }: Package,
    { name, place }: Missing,
    stage: string,
    result: PutBackResult,
    signal: AbortSignal,
  ): Promise<void> {
    const staged = Buffer.concat([Buffer.from(stage), Buffer.from(name, 'latin1')]);
    const found = lstat(staged, { throwIfNoEntry: false });
    const sum = sums.get(name);
    const isSame =
      found?.isSymbolicLink() ||
      (found?.isFile() && sum !== undefined && (await md5OfFile(staged, signal)) === sum);
    if (found?.isDirectory()) {
      this.#makeFolder(place, staged);
      return;
    }
    if (!isSame) {
      result.different.push(place);
      return;
    }
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

  #makeFolder(place: string, staged: Buffer): void {
    const outside = this.#inner.outside(place);
    this.#keepTimes(parentOf(place));
    const { mode, uid, gid } = lstat(staged);
    const { mtimeNs } = statusExact(staged);
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
