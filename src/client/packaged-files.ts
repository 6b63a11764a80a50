/**
 * Which files of packages dpkg can put back exactly as they are, so that a backup may leave them out.
 *
 * dpkg records the MD5 of a plain file, but no owner, mode, time or target of a link. The change time (inode(7)) covers these: every
 * change of content, owner, mode, ACL or attribute sets it, and no program can set it back. A file that has not changed since dpkg
 * unpacked the package is as the package has it. The checksum is compared all the same, for damage below the file system.
 */
import { setImmediate as breathe } from 'node:timers/promises';
import { Fault } from '../fault.ts';
import { asBytes, unescapeOctal } from '../os/byte-path.ts';
import { md5OfFile } from '../os/content.ts';
import { statusExact } from '../os/files.ts';
import { run, STDERR_KEPT, standard } from '../os/process.ts';
import { escapeText } from '../wire/text.ts';
import type { Package, PackageDatabase } from './dpkg.ts';
import { InnerPaths } from './inner-path.ts';

/** Why a file of a package stays in the backup, and the words of `packages` for it. */
export const KEPT_FOR = {
  conffile: 'configuration files',
  diverted: 'diverted by dpkg-divert',
  overridden: 'named by dpkg-statoverride',
  shared: 'in more than one package',
  linked: 'with hard links',
  folderLink: 'symbolic links to folders',
  special: 'neither a plain file nor a symbolic link',
  owner: 'not owned by root',
  changed: 'changed since dpkg unpacked the package',
  attributes: 'with ACLs, capabilities or other extended attributes',
  unlisted: 'without a checksum in the package',
  unreadable: 'not readable for this account',
  content: 'with other content than the package',
  unoffered: 'of versions that no package source offers',
} as const;

export type KeptFor = keyof typeof KEPT_FOR;

export interface KeptCount {
  files: number;
  bytes: number;
  /** Some of the paths, as bytes. */
  examples: string[];
}

/** The files and folders of packages in a system. Paths are real paths in the system, as bytes. */
export interface PackagedFiles {
  /** The files that dpkg can put back, with their sizes in bytes. */
  proven: Map<string, number>;
  /** The folders that dpkg would make again with the same owner and mode. */
  plainFolders: Set<string>;
  /** Paths of packages that do not exist. */
  missing: Set<string>;
  kept: Map<KeptFor, KeptCount>;
}

/** A path of a package. */
interface Listed {
  package: Package;
  /** As the package names it. */
  name: string;
  isShared: boolean;
  /** The latest time at which a package with this path was unpacked. */
  unpackedNs: bigint;
}

const EXAMPLES = 3;
const GETFATTR_MS = 30 * 60_000;
const GETFATTR_BYTES = 256 * 1024 * 1024;
/** Mode bits of a folder as packages have it. dpkg keeps the mode of a folder that exists, so other modes are not certain. */
const FOLDER_MODE = 0o755n;

/**
 * Compares the files of packages with dpkg's database.
 * @param system the folder of the system as bytes; `/`: this one
 * @throws Fault if getfattr(1) is not installed or fails; the signal's reason
 */
export async function findPackagedFiles(
  database: PackageDatabase,
  system: string,
  signal: AbortSignal,
): Promise<PackagedFiles> {
  const inner = new InnerPaths(system);
  const found: PackagedFiles = {
    proven: new Map(),
    plainFolders: new Set(),
    missing: new Set(),
    kept: new Map(),
  };
  const listed = listPaths(database, inner);
  const examiner = new Examiner(database, inner, found);
  for (const [path, each] of listed) examiner.look(path, each);
  await breathe();
  signal.throwIfAborted();
  const { candidates } = examiner;
  const marked = await findAttributes(inner, [...candidates.keys(), ...found.plainFolders], signal);
  for (const path of marked) {
    found.plainFolders.delete(path);
    const candidate = candidates.get(path);
    if (candidate !== undefined) keep(found, 'attributes', path, candidate.size);
    candidates.delete(path);
  }
  for (const [path, { sum, size }] of candidates) {
    if (sum === undefined) found.proven.set(path, size);
    else await compareContent(found, inner, { path, sum, size }, signal);
  }
  return found;
}

function listPaths({ packages }: PackageDatabase, inner: InnerPaths): Map<string, Listed> {
  const listed = new Map<string, Listed>();
  for (const each of packages) {
    for (const name of each.files) {
      const path = inner.place(name) ?? name;
      const other = listed.get(path);
      if (other === undefined) {
        listed.set(path, { package: each, name, isShared: false, unpackedNs: each.unpackedNs });
        continue;
      }
      other.isShared = true;
      if (other.unpackedNs < each.unpackedNs) other.unpackedNs = each.unpackedNs;
    }
  }
  return listed;
}

/** A file of which only the attributes and the content are left to examine. */
interface Candidate {
  size: number;
  /** Its MD5 in the package; undefined for a symbolic link. */
  sum: string | undefined;
}

/** Sorts the paths of packages by lstat(2) and dpkg's database. */
class Examiner {
  readonly candidates = new Map<string, Candidate>();
  readonly #inner: InnerPaths;
  readonly #found: PackagedFiles;
  readonly #rules: [KeptFor, Set<string>][];

  constructor({ packages, diverted, overridden }: PackageDatabase, inner: InnerPaths, found: PackagedFiles) {
    this.#inner = inner;
    this.#found = found;
    const places = (names: readonly string[]): Set<string> =>
      new Set(names.map(each => inner.place(each) ?? each));
    this.#rules = [
      ['conffile', places(packages.flatMap(each => each.conffiles))],
      ['diverted', places(diverted)],
      ['overridden', places(overridden)],
    ];
  }

  look(path: string, listed: Listed): void {
    let status: ReturnType<typeof statusExact>;
    try {
      status = statusExact(this.#inner.outside(path));
    } catch {
      this.#found.missing.add(path);
      return;
    }
    const { uid, gid, mode, ctimeNs, nlink } = status;
    const isOwned = uid === 0n && gid === 0n;
    const isOld = ctimeNs <= listed.unpackedNs;
    if (status.isDirectory()) {
      if (isOwned && isOld && (mode & 0o7777n) === FOLDER_MODE && !this.#hasRule(path))
        this.#found.plainFolders.add(path);
      return;
    }
    const size = status.isFile() ? Number(status.size) : 0;
    const reason =
      this.#rules.find(([, paths]) => paths.has(path))?.[0] ??
      checkStatus({
        ...listed,
        isOwned,
        isOld,
        isSpecial: !status.isFile() && !status.isSymbolicLink(),
        nlink,
      });
    if (reason !== undefined) {
      keep(this.#found, reason, path, size);
      return;
    }
    if (status.isSymbolicLink()) {
      // dpkg keeps a link to a folder where the package has a folder, and lists the path all the same.
      if (this.#inner.isFolder(path)) keep(this.#found, 'folderLink', path, size);
      else this.candidates.set(path, { size, sum: undefined });
      return;
    }
    const sum = listed.package.sums.get(listed.name);
    if (sum === undefined) keep(this.#found, 'unlisted', path, size);
    else this.candidates.set(path, { size, sum });
  }

  #hasRule(path: string): boolean {
    return this.#rules.some(([, paths]) => paths.has(path));
  }
}

function checkStatus(facts: {
  package: Package;
  isShared: boolean;
  isOwned: boolean;
  isOld: boolean;
  isSpecial: boolean;
  nlink: bigint;
}): KeptFor | undefined {
  if (facts.isSpecial) return 'special';
  if (facts.isShared) return 'shared';
  if (facts.nlink > 1n) return 'linked';
  if (!facts.isOwned) return 'owner';
  if (!facts.isOld) return 'changed';
  return facts.package.isOffered ? undefined : 'unoffered';
}

function keep({ kept }: PackagedFiles, reason: KeptFor, path: string, bytes: number): void {
  const count = kept.get(reason) ?? { files: 0, bytes: 0, examples: [] };
  count.files += 1;
  count.bytes += bytes;
  if (count.examples.length < EXAMPLES) count.examples.push(path);
  kept.set(reason, count);
}

async function compareContent(
  found: PackagedFiles,
  inner: InnerPaths,
  { path, sum, size }: { path: string; sum: string; size: number },
  signal: AbortSignal,
): Promise<void> {
  let real: string;
  try {
    real = await md5OfFile(inner.outside(path), signal);
  } catch (error) {
    if (signal.aborted) throw error;
    keep(found, 'unreadable', path, size);
    return;
  }
  if (real === sum) found.proven.set(path, size);
  else keep(found, 'content', path, size);
}

/**
 * Finds the files that have extended attributes, or of which this account cannot see whether they have. ACLs and capabilities are
 * such attributes (xattr(7)).
 * @param paths in the system
 * @throws Fault if getfattr fails for another reason than one of these files
 */
async function findAttributes(
  inner: InnerPaths,
  paths: readonly string[],
  signal: AbortSignal,
): Promise<string[]> {
  if (paths.length === 0) return [];
  const known = new Map(paths.map(path => [inner.outside(path).toString('latin1'), path]));
  const words = ['-0', '-x', standard('getfattr', []).program, '-h', '-m', '-', '--absolute-names', '--'];
  const input = Buffer.from([...known.keys()].map(path => `${path}\0`).join(''), 'latin1');
  const limits = { input, signal, timeoutMs: GETFATTR_MS, limit: GETFATTR_BYTES };
  const { stdout, stderr, status } = await run(standard('xargs', words), limits);
  const named = [...stdout.toString('latin1').matchAll(/^# file: (.*)$/gm)].map(each =>
    unescapeOctal(each[1] ?? ''),
  );
  const failed = stderr
    .split('\n')
    .filter(line => line !== '')
    .map(line => /^\S*getfattr: (\/.*): [^:]*$/.exec(line)?.[1]);
  const all = [...named, ...failed.map(each => asBytes(each ?? ''))].map(each => known.get(each));
  const isWhole = failed.every(each => each !== undefined) && Buffer.byteLength(stderr) < STDERR_KEPT;
  if ((status === 0 || (status === 123 && failed.length > 0)) && isWhole)
    return all.filter(each => each !== undefined);
  throw new Fault({
    tried: 'look for extended attributes',
    found: `getfattr ended with ${status}: ${escapeText(stderr.trim().split('\n').at(-1) ?? '')}`,
  });
}
