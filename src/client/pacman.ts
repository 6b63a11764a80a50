/**
 * pacman's database of a system. pacman prints the packages. The lists of their files are read from the folder `local` itself.
 * `pacman -Qkk` does not do: it names only the files that differ, and finds no difference in a package without a list.
 */
import { gunzipSync } from 'node:zlib';
import { Fault } from '../fault.ts';
import { readWhole } from '../os/content.ts';
import { exists, readdir } from '../os/files.ts';
import { type Command, run, standard } from '../os/process.ts';
import { hasProgram } from '../os/programs.ts';
import { bsdtar, unpackArchive } from './package-archive.ts';
import {
  type Installation,
  inSystem,
  keyOf,
  newestChangeMs,
  type Package,
  type PackageDatabase,
  type PackageManager,
  realInSystem,
} from './package-database.ts';
import { queryPackages } from './package-query.ts';
import {
  type PacmanName,
  parseBackupFiles,
  parseMtree,
  parsePacmanNames,
  parsePacmanOffers,
  parsePacmanSections,
} from './pacman-records.ts';

const DATABASE = '/var/lib/pacman';
const CONFIG = '/etc/pacman.conf';
const KEYRINGS = '/usr/share/pacman/keyrings';
/** A list of the largest package has some 10 MB. */
const FILE_BYTES = 64 * 1024 * 1024;
const ARCHIVE_MS = 60_000;

export const pacman: PackageManager = {
  name: 'pacman',
  program: 'pacman',
  async findDatabase(system) {
    const named = system === '/' ? await namedDatabase() : undefined;
    const path = realInSystem(system, named ?? DATABASE);
    return path !== undefined && exists(`${path}/local`) ? path : undefined;
  },
  countPackages: async (at, signal) => (await listNames(at, signal)).length,
  read,
  // A package that is installed, upgraded or removed has a folder of its own in this one.
  changedMs: database => newestChangeMs([`${database}/local`]),
  rebuildLists,
  sources: { files: [CONFIG], folders: ['/etc/pacman.d'] },
  archives: {
    ending: '.pkg.tar',
    isArchive: name => /\.pkg\.tar(?:\.[a-z0-9]+)?$/.test(name),
    identify,
    unpack: unpackArchive,
  },
};

/** @returns the folder that pacman is set to on this machine */
async function namedDatabase(): Promise<string | undefined> {
  if (!hasProgram('pacman-conf')) return undefined;
  const { status, stdout } = await run(standard('pacman-conf', ['DBPath']));
  const path = stdout.toString('utf8').trim().replace(/\/+$/, '');
  return status === 0 && path.startsWith('/') ? path : undefined;
}

/** pacman for a system. Paths in its pacman.conf are still those of this machine. */
function command({ system, database }: Installation, words: string[]): Command {
  const root = system === '/' ? [] : ['--root', system, '--config', inSystem(system, CONFIG)];
  return standard('pacman', [...root, '--dbpath', database, ...words]);
}

async function listNames(at: Installation, signal?: AbortSignal): Promise<PacmanName[]> {
  return parsePacmanNames(await queryPackages(command(at, ['--query']), "read pacman's database", signal));
}

async function read(
  at: Installation,
  signal: AbortSignal,
  { policy }: { policy: boolean },
): Promise<PackageDatabase> {
  const names = await listNames(at, signal);
  const offered = policy && names.length > 0 ? await listOffered(at, signal) : new Set<string>();
  const backups: string[] = [];
  const packages = names.map(each => readPackage(at, each, offered, backups));
  return { packages, broken: 0, rules: [['conffile', backups]], setsLabels: false };
}

/** @returns NAME=VERSION of the installed packages that a source on another machine has */
async function listOffered(at: Installation, signal: AbortSignal): Promise<Set<string>> {
  const tried = 'find the packages that can be installed again';
  const config = at.system === '/' ? [] : ['--config', inSystem(at.system, CONFIG)];
  const conf = async (words: string[]): Promise<string[]> =>
    (await queryPackages(standard('pacman-conf', [...config, ...words]), tried, signal)).split('\n');
  const remote = new Set<string>();
  for (const source of await conf(['--repo-list'])) {
    if (source === '') continue;
    const servers = await conf([`--repo=${source}`, 'Server']);
    if (servers.some(each => /^(?:https?|ftp):\/\//.test(each))) remote.add(source);
  }
  // Without any source pacman has nothing to list, which is an error for it.
  if (remote.size === 0) return new Set();
  return parsePacmanOffers(await queryPackages(command(at, ['--sync', '--list']), tried, signal), remote);
}

/** @param backups gets the paths of the configuration files */
function readPackage(
  { database }: Installation,
  { name, version }: PacmanName,
  offered: ReadonlySet<string>,
  backups: string[],
): Package {
  const folder = `${database}/local/${name}-${version}`;
  const text = (file: string): string => readWhole(`${folder}/${file}`, FILE_BYTES).toString('latin1');
  const sections = parsePacmanSections(text('files'));
  backups.push(...parseBackupFiles(sections.get('BACKUP') ?? []));
  const files = exists(`${folder}/mtree`) ? parseMtree(readList(`${folder}/mtree`)) : [];
  const records = new Map(files.map(each => [each.path, each]));
  const wanted = `${name}=${version}`;
  return {
    name,
    version,
    architecture: parsePacmanSections(text('desc')).get('ARCH')?.[0] ?? '',
    label: name,
    wanted,
    isOffered: offered.has(wanted),
    files: (sections.get('FILES') ?? []).map(each => `/${each.replace(/\/$/, '')}`),
    sums: new Map(files.flatMap(({ path, sha256 }) => (sha256 === undefined ? [] : [[path, sha256]]))),
    algorithm: 'sha256',
    records,
    unpackedNs: 0n,
  };
}

function readList(path: string): string {
  try {
    const limit = { maxOutputLength: FILE_BYTES };
    return gunzipSync(readWhole(path, FILE_BYTES), limit).toString('latin1');
  } catch (error) {
    const found = error instanceof Error ? error.message : String(error);
    throw new Fault({ tried: `read "${path}"`, found });
  }
}

async function rebuildLists({ packages }: PackageDatabase, at: Installation): Promise<Map<string, Buffer>> {
  const list = async (words: string[]): Promise<Buffer> => {
    // It ends with 1 where there is no such package.
    const { stdout } = await run(command(at, words), { timeoutMs: ARCHIVE_MS });
    return stdout;
  };
  const versions = packages.map(each => `${each.wanted}\n`).sort();
  return new Map([
    ['versions', Buffer.from(versions.join(''), 'latin1')],
    ['manual', await list(['--query', '--quiet', '--explicit'])],
    ['dependencies', await list(['--query', '--quiet', '--deps'])],
    ['foreign', await list(['--query', '--quiet', '--foreign'])],
    ['keyrings', Buffer.from(keyrings(at.system).join(''))],
  ]);
}

/** The names of the keyrings that packages have installed (pacman-key(8), --populate). */
function keyrings(system: string): string[] {
  try {
    const names = readdir(inSystem(system, KEYRINGS)).filter(name => name.endsWith('.gpg'));
    return names.sort().map(name => `${name.slice(0, -'.gpg'.length)}\n`);
  } catch {
    return [];
  }
}

async function identify(archive: string, signal: AbortSignal): Promise<string | undefined> {
  const words = ['--extract', '--to-stdout', '--fast-read', '--file', archive, '.PKGINFO'];
  const { status, stdout } = await run(bsdtar(words), { signal, timeoutMs: ARCHIVE_MS });
  if (status !== 0) return undefined;
  const value = (key: string): string | undefined =>
    new RegExp(`^${key} = (.*)$`, 'm').exec(stdout.toString('latin1'))?.[1];
  const [name, version, architecture] = [value('pkgname'), value('pkgver'), value('arch')];
  if (name === undefined || version === undefined || architecture === undefined) return undefined;
  return keyOf({ name, version, architecture });
}
