/**
 * rpm's database of a system. rpm prints all of it, also for a system in a folder. Its own verification (`rpm --verify`) is not used: it
 * needs root for such a system, and compares only what the package asks for.
 */
import { Fault } from '../fault.ts';
import { exists, lstat } from '../os/files.ts';
import { run, standard } from '../os/process.ts';
import { hasProgram } from '../os/programs.ts';
import { unpackArchive } from './package-archive.ts';
import {
  type Installation,
  keyOf,
  newestChangeMs,
  type Package,
  type PackageDatabase,
  type PackageManager,
  realInSystem,
} from './package-database.ts';
import { queryPackages } from './package-query.ts';
import { KEY_PACKAGE, parseRpmPackages, RPM_FORMAT, type RpmFile, type RpmPackage } from './rpm-records.ts';
import { listOffered, listRequested } from './rpm-sources.ts';

/** Where distributions have the database, besides the folder that rpm itself names. */
const DATABASES = ['/usr/lib/sysimage/rpm', '/var/lib/rpm', '/usr/share/rpm'];
/** The files of its formats. rpm would make an empty database where there is none. */
const DATABASE_FILES = ['rpmdb.sqlite', 'Packages.db', 'Packages'];
/** Changes that are not in the file of the database yet. */
const LOG_FILE = 'rpmdb.sqlite-wal';
const ARCHIVE_MS = 60_000;

/** rpm with dnf or zypper. */
export const rpm: PackageManager = {
  name: 'rpm',
  program: 'rpm',
  async findDatabase(system) {
    const places = [...(await namedDatabase()), ...DATABASES].flatMap(
      each => realInSystem(system, each) ?? [],
    );
    return places.find(place => DATABASE_FILES.some(name => exists(`${place}/${name}`)));
  },
  async countPackages({ database }, signal) {
    const lines = await ask(database, '%{NAME}\\n', signal);
    return lines.split('\n').filter(each => each !== '').length;
  },
  read,
  changedMs(database) {
    // SQLite's log exists while somebody reads, too. It is empty then.
    const names = [...DATABASE_FILES, ...(hasContent(`${database}/${LOG_FILE}`) ? [LOG_FILE] : [])];
    return newestChangeMs(names.map(name => `${database}/${name}`));
  },
  rebuildLists,
  sources: {
    files: ['/etc/dnf/dnf.conf', '/etc/yum.conf', '/etc/zypp/zypp.conf', '/var/lib/zypp/AutoInstalled'],
    folders: [
      '/etc/yum.repos.d',
      '/etc/dnf/vars',
      '/etc/yum/vars',
      '/etc/dnf/modules.d',
      '/etc/zypp/repos.d',
      '/etc/zypp/services.d',
      '/etc/pki/rpm-gpg',
    ],
  },
  archives: {
    ending: '.rpm',
    isArchive: name => name.endsWith('.rpm'),
    identify,
    unpack: unpackArchive,
  },
};

/** @returns the folder that rpm is set to on this machine */
async function namedDatabase(): Promise<string[]> {
  if (!hasProgram('rpm')) return [];
  const { status, stdout } = await run(standard('rpm', ['--eval', '%{_dbpath}']), { timeoutMs: ARCHIVE_MS });
  const path = stdout.toString('utf8').trim();
  return status === 0 && path.startsWith('/') ? [path] : [];
}

const hasContent = (path: string): boolean => (lstat(path, { throwIfNoEntry: false })?.size ?? 0) > 0;

async function ask(database: string, format: string, signal?: AbortSignal): Promise<string> {
  const words = [`--dbpath=${database}`, '--query', '--all', '--queryformat', format];
  return await queryPackages(standard('rpm', words), "read rpm's database", signal);
}

async function read(
  { system, database }: Installation,
  signal: AbortSignal,
  { policy }: { policy: boolean },
): Promise<PackageDatabase> {
  const found = parseRpmPackages(await ask(database, RPM_FORMAT, signal));
  if (found === undefined)
    throw new Fault({ tried: "read rpm's database", found: 'rpm has printed something else than asked for' });
  const offered = policy && found.length > 0 ? await listOffered(system, signal) : new Set<string>();
  const select = (is: (file: RpmFile) => boolean): string[] =>
    found.flatMap(({ files }) => files.filter(is).map(each => each.path));
  return {
    packages: found.map(each => packageOf(each, offered)),
    broken: 0,
    rules: [
      ['conffile', select(each => each.isConfig)],
      ['ghost', select(each => !each.isWritten)],
    ],
    setsLabels: true,
  };
}

function packageOf(each: RpmPackage, offered: ReadonlySet<string>): Package {
  const { name, architecture, version, identity, algorithm, files } = each;
  const summed = algorithm === undefined ? [] : files.filter(({ digest }) => digest !== '');
  return {
    name,
    architecture,
    version,
    label: `${name}.${architecture}`,
    wanted: `${name}-${version}.${architecture}`,
    isOffered: offered.has(identity),
    files: files.map(({ path }) => path),
    sums: new Map(summed.map(({ path, digest }) => [path, digest])),
    algorithm: algorithm ?? 'sha256',
    records: new Map(files.map(file => [file.path, file])),
    unpackedNs: 0n,
  };
}

async function rebuildLists(
  { packages }: PackageDatabase,
  { system, database }: Installation,
): Promise<Map<string, Buffer>> {
  const versions = packages.map(each => `${each.wanted}\n`).sort();
  const keys = await queryPackages(
    standard('rpm', [
      `--dbpath=${database}`,
      '--query',
      '--all',
      '--queryformat',
      '%{DESCRIPTION}\\n',
      KEY_PACKAGE,
    ]),
    'read the keys that rpm trusts',
  );
  const requested = await listRequested(system);
  return new Map([
    ['versions', Buffer.from(versions.join(''), 'latin1')],
    ['keys', Buffer.from(keys, 'latin1')],
    ...(requested === undefined ? [] : [['manual', requested] as const]),
  ]);
}

async function identify(archive: string, signal: AbortSignal): Promise<string | undefined> {
  const format = '%{NAME}\\t%{EPOCHNUM}\\t%{VERSION}-%{RELEASE}\\t%{ARCH}';
  const command = standard('rpm', [
    '--query',
    '--nosignature',
    '--queryformat',
    format,
    '--package',
    archive,
  ]);
  const { status, stdout } = await run(command, { signal, timeoutMs: ARCHIVE_MS });
  const [name, epoch, version, architecture] = stdout.toString('latin1').split('\t');
  if (status !== 0 || name === undefined || version === undefined || architecture === undefined)
    return undefined;
  return keyOf({ name, version: epoch === '0' ? version : `${epoch}:${version}`, architecture });
}
