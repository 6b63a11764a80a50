/** The interface of `packages` to package managers, and the records of their databases. */
import { asBytes } from '../os/byte-path.ts';
import type { DigestAlgorithm } from '../os/content.ts';
import { exists, statusExact } from '../os/files.ts';
import { InnerPaths } from './inner-path.ts';

/** Why a file of a package stays in the backup, and the words of `packages` for it. */
export const KEPT_FOR = {
  conffile: 'configuration files',
  ghost: 'not written by the package manager',
  diverted: 'diverted by dpkg-divert',
  overridden: 'named by dpkg-statoverride',
  shared: 'in more than one package',
  linked: 'with hard links',
  folderLink: 'symbolic links to folders',
  special: 'neither a plain file nor a symbolic link',
  owner: 'not owned by root',
  changed: 'changed since dpkg unpacked the package',
  differs: 'with another mode, time, size or target than in the package',
  attributes: 'with ACLs, capabilities or other extended attributes',
  unlisted: 'without a checksum in the package',
  unreadable: 'not readable for this account',
  content: 'with other content than the package',
  unoffered: 'of versions that no package source offers',
} as const;

export type KeptFor = keyof typeof KEPT_FOR;

/** The record of a path of a package, apart from its content. */
export interface FileRecord {
  kind: 'file' | 'link' | 'folder' | 'other';
  /** The permission bits, with set-id bits. */
  mode: number;
  isOwnedByRoot: boolean;
  hasCapability: boolean;
  /** In nanoseconds since 1970. */
  mtimeNs: bigint;
  /** The size of a plain file, in bytes. */
  size: number;
  /** The target of a symbolic link, as bytes. */
  target: string;
}

/** An installed package with its files. Paths are bytes, one character each. */
export interface Package {
  name: string;
  architecture: string;
  version: string;
  /** As the package manager's own programs write it. */
  label: string;
  /** The label and the version, as the program that downloads packages takes them. */
  wanted: string;
  /** Whether a package source on another machine offers this version at present. */
  isOffered: boolean;
  /** Paths as the package names them. */
  files: string[];
  /** The digests of plain files in hexadecimal, by path. */
  sums: Map<string, string>;
  algorithm: DigestAlgorithm;
  /** Records by path; undefined if the package manager keeps none. */
  records?: Map<string, FileRecord>;
  /**
   * Without records: when the files were unpacked, in nanoseconds since 1970. A file with a later change time is not as the package
   * manager left it.
   */
  unpackedNs: bigint;
}

export interface PackageDatabase {
  packages: Package[];
  /** The number of packages that are partly installed. */
  broken: number;
  /** Paths that stay in the backup by a rule of the package manager. */
  rules: [KeptFor, string[]][];
  /** Whether the package manager gives files the label that the SELinux policy has for them. */
  setsLabels: boolean;
}

/** How to read the archives of packages. */
interface PackageArchives {
  /** The ending of their names, for messages. */
  ending: string;
  /** Whether a file of this name can be one. */
  isArchive(name: string): boolean;
  /** @returns `keyOf()` of the package in an archive; undefined if the file is no such archive */
  identify(archive: string, signal: AbortSignal): Promise<string | undefined>;
  /** Unpacks all files of an archive into an empty folder. @throws Fault if the archive is damaged */
  unpack(archive: string, folder: string, signal: AbortSignal): Promise<void>;
}

/** The configuration of package sources, which is copied for a rebuild. */
interface SourceFiles {
  files: readonly string[];
  /** Folders whose plain files are copied. */
  folders: readonly string[];
  /** Finds paths of keys in the text of such a file. */
  keysIn?(path: string, text: string): string[];
}

/** The names of the package managers, as `list.rebuild/written` has them. */
export type ManagerName = 'dpkg' | 'rpm' | 'pacman';

/** A system and the database in it. */
export interface Installation {
  /** The folder of the system; `/`: this machine's. */
  system: string;
  /** The file or folder of the database, as a path on this machine. */
  database: string;
}

export interface PackageManager {
  name: ManagerName;
  /** The program that prints its packages. */
  program: string;
  /** @param system the folder of the system @returns the database; undefined if the system has none */
  findDatabase(system: string): Promise<string | undefined>;
  /** @returns the number of packages in it. @throws Fault if it cannot be read */
  countPackages(at: Installation, signal: AbortSignal): Promise<number>;
  /**
   * Reads the database.
   * @param options policy: false to leave out the question whether package sources offer the versions
   * @throws Fault if the database or the package sources cannot be read; the signal's reason
   */
  read(at: Installation, signal: AbortSignal, options: { policy: boolean }): Promise<PackageDatabase>;
  /** When a database last changed, in milliseconds since 1970; undefined if there is none. */
  changedMs(database: string): number | undefined;
  /** The lists that a rebuild needs, by name. @throws Fault if they cannot be read */
  rebuildLists(database: PackageDatabase, at: Installation): Promise<Map<string, Buffer>>;
  sources: SourceFiles;
  archives: PackageArchives;
}

/** Tells packages and their archives apart. */
export const keyOf = ({
  name,
  version,
  architecture,
}: Pick<Package, 'name' | 'version' | 'architecture'>): string => `${name}\t${version}\t${architecture}`;

/** The path of a system's file on this machine. @param system the folder of the system; `/`: this one */
export function inSystem(system: string, path: string): string {
  return system === '/' ? path : `${system}${path}`;
}

/**
 * As `inSystem()`, and no symbolic link of the system leads to a file of this machine.
 * @returns undefined if there is no such file or folder
 */
export function realInSystem(system: string, path: string): string | undefined {
  const inner = new InnerPaths(asBytes(system));
  const place = inner.realPlace(path);
  const real = place === undefined ? undefined : inSystem(system, place);
  return real !== undefined && exists(real) ? real : undefined;
}

/** When the newest of some files last changed, in milliseconds since 1970; undefined if there is none. */
export function newestChangeMs(paths: readonly string[]): number | undefined {
  const times = paths.flatMap(path => {
    try {
      return [Number(statusExact(path).mtimeNs / 1_000_000n)];
    } catch {
      return [];
    }
  });
  return times.length === 0 ? undefined : Math.max(...times);
}
