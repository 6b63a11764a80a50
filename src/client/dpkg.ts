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
  signedBy,
} from './dpkg-records.ts';
import {
  type Installation,
  inSystem,
  newestChangeMs,
  type Package,
  type PackageDatabase,
  type PackageManager,
} from './package-database.ts';
import { queryPackages } from './package-query.ts';

const DATABASE = '/var/lib/dpkg';
/** A list of the largest package has some 10 MB. */
const FILE_BYTES = 64 * 1024 * 1024;
const ARCHIVE_MS = 10 * 60_000;

/** dpkg with apt. */
export const dpkg: PackageManager = {
  name: 'dpkg',
  program: 'dpkg-query',
  async findDatabase(system) {
    const path = inSystem(system, `${DATABASE}/status`);
    return exists(path) ? path : undefined;
  },
  countPackages: async ({ system }, signal) => (await listInstalled(system, signal)).installed.length,
  read: readDatabase,
  changedMs: database => newestChangeMs([database]),
  rebuildLists,
  // Where apt finds sources, pins and keys (apt.conf(5)). Passwords belong into auth.conf (apt_auth.conf(5)), which is not copied.
  sources: {
    files: ['/etc/apt/sources.list', '/etc/apt/preferences', '/etc/apt/trusted.gpg'],
    folders: [
      '/etc/apt/sources.list.d',
      '/etc/apt/preferences.d',
      '/etc/apt/keyrings',
      '/etc/apt/trusted.gpg.d',
    ],
    keysIn: (path, text) => (/^\/etc\/apt\/sources\.list(?:$|\.d\/)/.test(path) ? signedBy(text) : []),
  },
  archives: { ending: '.deb', isArchive: name => name.endsWith('.deb'), identify, unpack },
};

const admin = (system: string): string => `--admindir=${inSystem(system, DATABASE)}`;

async function listInstalled(
  system: string,
  signal: AbortSignal,
): Promise<{ installed: InstalledPackage[]; broken: number }> {
  const query = [admin(system), '--show', `--showformat=${PACKAGE_FORMAT}`];
  return parsePackages(await queryPackages(standard('dpkg-query', query), "read dpkg's database", signal));
}

/** @returns the machine's architecture as dpkg names it, and the foreign ones */
async function listArchitectures(system: string, signal?: AbortSignal): Promise<[string, ...string[]]> {
  const ask = (option: string): Command => standard('dpkg', [admin(system), option]);
  const own = await queryPackages(ask('--print-architecture'), 'read the architecture', signal);
  const foreign = await queryPackages(ask('--print-foreign-architectures'), 'read the architectures', signal);
  return [
    own.trim(),
    ...foreign
      .trim()
      .split('\n')
      .filter(each => each !== ''),
  ];
}

async function readDatabase(
  { system }: Installation,
  signal: AbortSignal,
  { policy }: { policy: boolean },
): Promise<PackageDatabase> {
  const { installed, broken } = await listInstalled(system, signal);
  const [architecture] = await listArchitectures(system, signal);
  const labels = installed.map(each => packageLabel(each, architecture));
  const asked = [...aptOptions(system), 'policy', ...labels];
  const offered =
    labels.length > 0 && policy
      ? parsePolicy(await queryPackages(standard('apt-cache', asked), "read apt's package lists", signal))
      : new Set<string>();
  return {
    packages: installed.map((each, index) => {
      const label = labels[index] ?? '';
      const facts = {
        wanted: `${label}=${each.version}`,
        isOffered: offered.has(label),
        algorithm: 'md5',
      } as const;
      return { ...each, label, ...facts, ...readFiles(system, each) };
    }),
    broken,
    rules: [
      ['conffile', installed.flatMap(each => each.conffiles)],
      ['diverted', parseDiversions(readText(system, 'diversions') ?? '')],
      ['overridden', parseOverrides(readText(system, 'statoverride') ?? '')],
    ],
    setsLabels: false,
  };
}

/** apt's options for a system in a folder. */
function aptOptions(system: string): string[] {
  if (system === '/') return [];
  return ['-o', `Dir=${system}`, '-o', `Dir::State::status=${inSystem(system, `${DATABASE}/status`)}`];
}

async function rebuildLists(
  { packages }: PackageDatabase,
  { system }: Installation,
): Promise<Map<string, Buffer>> {
  const ask = async (program: string, args: string[]): Promise<Buffer> =>
    Buffer.from(await queryPackages(standard(program, args), 'list the packages'), 'latin1');
  const architectures = await listArchitectures(system);
  const versions = packages.map(each => `${each.wanted}\n`).sort();
  return new Map([
    ['selections', await ask('dpkg', [admin(system), '--get-selections'])],
    ['versions', Buffer.from(versions.join(''), 'latin1')],
    ['manual', await ask('apt-mark', [...aptOptions(system), 'showmanual'])],
    ['architectures', Buffer.from(architectures.map(each => `${each}\n`).join(''))],
  ]);
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

/** dpkg-deb replaces these. */
// biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-deb's format
const DEB_FORMAT = '${Package}\\t${Version}\\t${Architecture}\\n';

async function identify(archive: string, signal: AbortSignal): Promise<string | undefined> {
  const command = standard('dpkg-deb', ['--show', `--showformat=${DEB_FORMAT}`, archive]);
  const shown = await run(command, { signal, timeoutMs: ARCHIVE_MS });
  return shown.status === 0 ? shown.stdout.toString('latin1').trimEnd() : undefined;
}

async function unpack(archive: string, folder: string, signal: AbortSignal): Promise<void> {
  const words = ['--extract', archive, folder];
  const { status, stderr } = await run(standard('dpkg-deb', words), { signal, timeoutMs: ARCHIVE_MS });
  if (status === 0) return;
  throw new Fault({
    tried: `unpack "${escapeText(archive)}"`,
    found: `dpkg-deb ended with ${status}: ${escapeText(stderr.trim().split('\n').at(-1) ?? '')}`,
    next: 'download it again',
  });
}
