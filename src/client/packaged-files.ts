/**
 * Which files of packages a package manager can put back exactly as they are, so that a backup may leave them out.
 *
 * rpm and pacman record the owner, mode, time, size, target and digest of a file. All of them are compared.
 *
 * dpkg records the MD5 of a plain file, but no owner, mode, time or target of a link. The change time (inode(7)) covers these: every
 * change of content, owner, mode, ACL or attribute sets it, and no program can set it back. A file that has not changed since dpkg
 * unpacked the package is as the package has it. The checksum is compared all the same, for damage below the file system.
 */
import { setImmediate as breathe } from 'node:timers/promises';
import { type DigestAlgorithm, hexDigestOfFile } from '../os/content.ts';
import { readlink, statusExact } from '../os/files.ts';
import { findAttributes } from './file-attributes.ts';
import { InnerPaths } from './inner-path.ts';
import type { FileRecord, KeptFor, Package, PackageDatabase } from './package-database.ts';

export interface KeptCount {
  files: number;
  bytes: number;
  /** Some of the paths, as bytes. */
  examples: string[];
}

/** The files and folders of packages in a system. Paths are real paths in the system, as bytes. */
export interface PackagedFiles {
  /** The files that the package manager can put back, with their sizes in bytes. */
  proven: Map<string, number>;
  /** The folders that it would make again with the same owner and mode. */
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
  /** Its record in the database; undefined if the package manager keeps no records. */
  record: FileRecord | undefined;
  /** Whether the record of another package with this folder differs. */
  isDisputed: boolean;
  /** The latest time at which a package with this path was unpacked. */
  unpackedNs: bigint;
}

const EXAMPLES = 3;
/** Mode bits of a folder as packages have it. dpkg keeps the mode of a folder that exists, so other modes are not certain. */
const FOLDER_MODE = 0o755n;
const MODE_BITS = 0o7777n;

/**
 * Compares the files of packages with the database of the package manager.
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
  const marked = await findAttributes(
    inner,
    [...candidates.keys(), ...found.plainFolders],
    database.setsLabels,
    signal,
  );
  for (const path of marked) {
    found.plainFolders.delete(path);
    const candidate = candidates.get(path);
    if (candidate !== undefined) keep(found, 'attributes', path, candidate.size);
    candidates.delete(path);
  }
  for (const [path, { digest, size }] of candidates) {
    if (digest === undefined) found.proven.set(path, size);
    else await compareContent(found, inner, { path, digest, size }, signal);
  }
  return found;
}

function listPaths({ packages }: PackageDatabase, inner: InnerPaths): Map<string, Listed> {
  const listed = new Map<string, Listed>();
  for (const each of packages) {
    for (const name of each.files) {
      const path = inner.place(name) ?? name;
      const other = listed.get(path);
      const record = each.records?.get(name);
      if (other === undefined) {
        const { unpackedNs } = each;
        listed.set(path, { package: each, name, isShared: false, record, isDisputed: false, unpackedNs });
        continue;
      }
      other.isShared = true;
      other.isDisputed ||= !isSameFolder(record, other.record);
      if (other.unpackedNs < each.unpackedNs) other.unpackedNs = each.unpackedNs;
    }
  }
  return listed;
}

/** Packages share folders. Which record counts is not certain, unless they are the same. */
function isSameFolder(one: FileRecord | undefined, other: FileRecord | undefined): boolean {
  return (
    one?.kind === other?.kind && one?.mode === other?.mode && one?.isOwnedByRoot === other?.isOwnedByRoot
  );
}

interface Digest {
  algorithm: DigestAlgorithm;
  hex: string;
}

/** A file of which only the attributes and the content are left to examine. */
interface Candidate {
  size: number;
  /** That of the package; undefined for a symbolic link. */
  digest: Digest | undefined;
}

type Status = ReturnType<typeof statusExact>;

/** Sorts the paths of packages by lstat(2) and the database. */
class Examiner {
  readonly candidates = new Map<string, Candidate>();
  readonly #inner: InnerPaths;
  readonly #found: PackagedFiles;
  readonly #rules: [KeptFor, Set<string>][];

  constructor({ rules }: PackageDatabase, inner: InnerPaths, found: PackagedFiles) {
    this.#inner = inner;
    this.#found = found;
    this.#rules = rules.map(([reason, names]) => [
      reason,
      new Set(names.map(each => inner.place(each) ?? each)),
    ]);
  }

  look(path: string, listed: Listed): void {
    let status: Status;
    try {
      status = statusExact(this.#inner.outside(path));
    } catch {
      this.#found.missing.add(path);
      return;
    }
    if (status.isDirectory()) {
      if (this.#isPlainFolder(path, listed, status)) this.#found.plainFolders.add(path);
      return;
    }
    const size = status.isFile() ? Number(status.size) : 0;
    const reason =
      this.#rules.find(([, paths]) => paths.has(path))?.[0] ??
      checkStatus(listed, status, () => readlink(this.#inner.outside(path)).toString('latin1'));
    if (reason !== undefined) {
      keep(this.#found, reason, path, size);
      return;
    }
    if (status.isSymbolicLink()) {
      // dpkg keeps a link to a folder where the package has a folder, and lists the path all the same. Other packages name their files
      // by a way through such a link, so put-back needs it.
      if (this.#inner.isFolder(path)) keep(this.#found, 'folderLink', path, size);
      else this.candidates.set(path, { size, digest: undefined });
      return;
    }
    const hex = listed.package.sums.get(listed.name);
    if (hex === undefined) keep(this.#found, 'unlisted', path, size);
    else this.candidates.set(path, { size, digest: { algorithm: listed.package.algorithm, hex } });
  }

  #isPlainFolder(
    path: string,
    { package: owner, record, isDisputed, unpackedNs }: Listed,
    status: Status,
  ): boolean {
    const isAsInstalled =
      owner.records === undefined
        ? status.ctimeNs <= unpackedNs
        : record?.kind === 'folder' && record.isOwnedByRoot && BigInt(record.mode) === FOLDER_MODE;
    const isPlain = isRoots(status) && (status.mode & MODE_BITS) === FOLDER_MODE;
    return isAsInstalled && isPlain && !isDisputed && !this.#hasRule(path);
  }

  #hasRule(path: string): boolean {
    return this.#rules.some(([, paths]) => paths.has(path));
  }
}

const isRoots = ({ uid, gid }: Status): boolean => uid === 0n && gid === 0n;

function checkStatus(
  { package: owner, isShared, record, unpackedNs }: Listed,
  status: Status,
  readTarget: () => string,
): KeptFor | undefined {
  if (!status.isFile() && !status.isSymbolicLink()) return 'special';
  if (isShared) return 'shared';
  if (status.nlink > 1n) return 'linked';
  if (!isRoots(status)) return 'owner';
  if (owner.records === undefined) {
    if (status.ctimeNs > unpackedNs) return 'changed';
  } else {
    if (record === undefined) return 'unlisted';
    if (!record.isOwnedByRoot) return 'owner';
    if (record.hasCapability) return 'attributes';
    if (!isAsRecorded(record, status, readTarget)) return 'differs';
  }
  return owner.isOffered ? undefined : 'unoffered';
}

/** Whether a plain file or a symbolic link has the mode, time, size and target that the database has for it. */
function isAsRecorded(record: FileRecord, status: Status, readTarget: () => string): boolean {
  if (status.mtimeNs !== record.mtimeNs) return false;
  if (status.isSymbolicLink()) return record.kind === 'link' && readTarget() === record.target;
  const hasMode = (status.mode & MODE_BITS) === BigInt(record.mode);
  return record.kind === 'file' && hasMode && status.size === BigInt(record.size);
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
  { path, digest, size }: { path: string; digest: Digest; size: number },
  signal: AbortSignal,
): Promise<void> {
  let real: string;
  try {
    real = await hexDigestOfFile(inner.outside(path), digest.algorithm, signal);
  } catch (error) {
    if (signal.aborted) throw error;
    keep(found, 'unreadable', path, size);
    return;
  }
  if (real === digest.hex) found.proven.set(path, size);
  else keep(found, 'content', path, size);
}
