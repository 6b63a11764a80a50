/**
 * dpkg's database of a system: its packages with their files, and the changes that an administrator has made to how dpkg places them.
 *
 * dpkg-query prints the packages. The file lists, checksums and times are read from the folder `info` itself: for a whole system
 * dpkg-query would have to be started for each package.
 */
import { Fault } from '../fault.ts';
import { readWhole } from '../os/content.ts';
import { exists, failedWith, statusExact } from '../os/files.ts';
import { type Command, run, standard } from '../os/process.ts';
import { hasProgram } from '../os/programs.ts';
import { escapeText } from '../wire/text.ts';
import {
  type InstalledPackage,
  PACKAGE_FORMAT,
  packageLabel,
  parseChecksums,
  parseDiversions,
  parseFileList,
  parseOverrides,
  parsePackages,
  parsePolicy,
} from './dpkg-records.ts';

/** A package with the files that dpkg has unpacked. */
export interface Package extends InstalledPackage {
  /** As apt and dpkg write it. */
  label: string;
  /** Whether a package source offers this version at present. */
  isOffered: boolean;
  /** Paths as the package names them. */
  files: string[];
  /** MD5 by path. */
  sums: Map<string, string>;
  /** When dpkg had unpacked the files, in nanoseconds since 1970. A file with a later change time is not as dpkg left it. */
  unpackedNs: bigint;
}

export interface PackageDatabase {
  /** The architecture of the machine, as dpkg names it. */
  architecture: string;
  foreignArchitectures: string[];
  packages: Package[];
  /** The number of packages that are partly installed. */
  broken: number;
  diverted: string[];
  overridden: string[];
}

const DATABASE = '/var/lib/dpkg';
/** A list of the largest package has some 10 MB. */
const FILE_BYTES = 64 * 1024 * 1024;
const QUERY_MS = 5 * 60_000;
const QUERY_BYTES = 256 * 1024 * 1024;

/** The path of a system's file on this machine. @param system the folder of the system; `/`: this one */
export function inSystem(system: string, path: string): string {
  return system === '/' ? path : `${system}${path}`;
}

/**
 * Reads the database of a system.
 * @param system the folder of the system; `/`: this one
 * @param options policy: false to leave out the question whether package sources offer the versions
 * @throws Fault if dpkg is not its package manager, or if its database or the package sources cannot be read
 */
export async function readDatabase(
  system: string,
  signal: AbortSignal,
  options: { policy?: boolean } = {},
): Promise<PackageDatabase> {
  requireDpkg(system);
  const ask = async (command: Command, reads: string): Promise<string> => {
    const result = await run(command, { signal, timeoutMs: QUERY_MS, limit: QUERY_BYTES });
    if (result.status === 0) return result.stdout.toString('latin1');
    const said = escapeText(result.stderr.trim().split('\n').at(-1) ?? '');
    throw new Fault({
      tried: `read ${reads}`,
      found: `${command.program} ended with ${result.status}: ${said}`,
    });
  };
  const dpkg = (...args: string[]): Command =>
    standard('dpkg', [`--admindir=${inSystem(system, DATABASE)}`, ...args]);
  const query = [`--admindir=${inSystem(system, DATABASE)}`, '--show', `--showformat=${PACKAGE_FORMAT}`];
  const { installed, broken } = parsePackages(await ask(standard('dpkg-query', query), "dpkg's database"));
  const architecture = (await ask(dpkg('--print-architecture'), 'the architecture')).trim();
  const foreign = (await ask(dpkg('--print-foreign-architectures'), 'the architectures')).trim();
  const labels = installed.map(each => packageLabel(each, architecture));
  const isAsked = labels.length > 0 && (options.policy ?? true);
  const asked = [...aptOptions(system), 'policy', ...labels];
  const offered = isAsked
    ? parsePolicy(await ask(standard('apt-cache', asked), "apt's package lists"))
    : new Set<string>();
  return {
    architecture,
    foreignArchitectures: foreign === '' ? [] : foreign.split('\n'),
    packages: installed.map((each, index) => {
      const label = labels[index] ?? '';
      return { ...each, label, isOffered: offered.has(label), ...readFiles(system, each) };
    }),
    broken,
    diverted: parseDiversions(readText(system, 'diversions') ?? ''),
    overridden: parseOverrides(readText(system, 'statoverride') ?? ''),
  };
}

/** apt's options for a system in a folder. */
export function aptOptions(system: string): string[] {
  if (system === '/') return [];
  return ['-o', `Dir=${system}`, '-o', `Dir::State::status=${inSystem(system, `${DATABASE}/status`)}`];
}

/** Package managers whose files this version does not know, by the folder of their database. */
const OTHERS = [
  ['/var/lib/rpm', 'rpm'],
  ['/usr/lib/sysimage/rpm', 'rpm'],
  ['/var/lib/pacman/local', 'pacman'],
  ['/lib/apk/db', 'apk'],
] as const;

function requireDpkg(system: string): void {
  const database = inSystem(system, `${DATABASE}/status`);
  if (exists(database) && hasProgram('dpkg-query')) return;
  const other = OTHERS.find(([folder]) => exists(inSystem(system, folder)))?.[1];
  const found =
    other === undefined
      ? `there is no "${database}": dpkg does not manage this system`
      : `${other} manages its packages, and this version knows only dpkg`;
  throw new Fault({
    tried: `examine the packages of "${system}"`,
    found: exists(database) ? 'this machine has no dpkg-query' : found,
    next: 'name folders that can be installed again in `exclude` of client.toml',
    exit: 'usage',
  });
}

/** Reads what dpkg keeps about the files of a package. A package without it has no file that can be put back. */
function readFiles(
  system: string,
  { base }: InstalledPackage,
): Pick<Package, 'files' | 'sums' | 'unpackedNs'> {
  const files = parseFileList(readText(system, `info/${base}.list`) ?? '');
  const sums = parseChecksums(readText(system, `info/${base}.md5sums`) ?? '');
  return { files, sums, unpackedNs: unpackedAt(system, base) };
}

/**
 * dpkg unpacks all files, then writes NAME.list, and then moves NAME.md5sums into place. It writes NAME.list again when another
 * package takes over a file, and so the earlier of the two times counts.
 */
function unpackedAt(system: string, base: string): bigint {
  const info = inSystem(system, `${DATABASE}/info/${base}`);
  try {
    const { mtimeNs } = statusExact(`${info}.list`);
    const { ctimeNs } = statusExact(`${info}.md5sums`);
    return mtimeNs < ctimeNs ? mtimeNs : ctimeNs;
  } catch (error) {
    if (failedWith(error, 'ENOENT')) return 0n;
    throw error;
  }
}

/** @returns a file of the database as bytes, one character each; undefined if it does not exist */
function readText(system: string, name: string): string | undefined {
  const path = inSystem(system, `${DATABASE}/${name}`);
  if (!exists(path)) return undefined;
  return readWhole(path, FILE_BYTES).toString('latin1');
}

/** When dpkg last changed its database, in milliseconds since 1970; undefined if there is none. */
export function databaseChangedMs(system: string): number | undefined {
  try {
    return Number(statusExact(inSystem(system, `${DATABASE}/status`)).mtimeNs / 1_000_000n);
  } catch {
    return undefined;
  }
}
