/** Which versions of packages the sources of dnf or zypper offer. Both answer from the lists that they have fetched before. */
import { Fault } from '../fault.ts';
import { ownAccount } from '../os/account.ts';
import { readWhole } from '../os/content.ts';
import { readdir } from '../os/files.ts';
import { type Command, run, standard } from '../os/process.ts';
import { hasProgram } from '../os/programs.ts';
import { inSystem } from './package-database.ts';
import { queryPackages } from './package-query.ts';
import { DNF_FORMAT, parseDnfOffers, parseRemoteSources, parseZypperOffers } from './rpm-records.ts';

const DNF_FOLDERS = ['/etc/yum.repos.d', '/etc/distro.repos.d', '/usr/share/dnf5/repos.d'];
const DNF_FILES = ['/etc/dnf/dnf.conf', '/etc/yum.conf'];
const ZYPPER_FOLDER = '/etc/zypp/repos.d';
const FILE_BYTES = 1024 * 1024;
const LIST_MS = 5 * 60_000;

/**
 * Asks the program that installs packages in a system: zypper if the system has sources for it, or else dnf.
 * @returns the identities of the packages that a source on another machine offers
 * @throws Fault if that program is not installed or fails; the signal's reason
 */
export async function listOffered(system: string, signal: AbortSignal): Promise<Set<string>> {
  const tried = 'find the packages that can be installed again';
  const zypperFiles = sourceFiles(system, [ZYPPER_FOLDER]);
  if (zypperFiles.length > 0 && hasProgram('zypper')) {
    const command = zypper(system, ['search', '--details', '--installed-only', '--type', 'package']);
    return parseZypperOffers(await queryPackages(command, tried, signal), remoteSources(zypperFiles));
  }
  if (!hasProgram('dnf'))
    throw new Fault({
      tried,
      found: 'this machine has neither dnf, nor zypper with sources',
      next: 'install dnf',
      exit: 'usage',
    });
  const files = [...DNF_FILES.map(each => inSystem(system, each)), ...sourceFiles(system, DNF_FOLDERS)];
  const command = dnf(system, ['repoquery', '--available', '--qf', DNF_FORMAT]);
  return parseDnfOffers(await queryPackages(command, tried, signal), remoteSources(files));
}

/** @returns the packages that somebody has asked for, one in each line; undefined if no program tells */
export async function listRequested(system: string): Promise<Buffer | undefined> {
  if (!hasProgram('dnf') || sourceFiles(system, [ZYPPER_FOLDER]).length > 0) return undefined;
  const command = dnf(system, ['repoquery', '--userinstalled', '--qf', '%{name}.%{arch}\n']);
  const { status, stdout } = await run(command, { timeoutMs: LIST_MS });
  if (status !== 0) return undefined;
  const lines = stdout.toString('latin1').split('\n');
  return Buffer.from(
    lines
      .filter(each => each !== '')
      .map(each => `${each}\n`)
      .sort()
      .join(''),
    'latin1',
  );
}

function dnf(system: string, words: string[]): Command {
  const root = system === '/' ? [] : [`--installroot=${system}`];
  // dnf 5 copies the lists of root to ~/.cache for another account.
  const environment = { HOME: ownAccount().home };
  return standard('dnf', ['--quiet', '--cacheonly', ...root, ...words], environment);
}

function zypper(system: string, words: string[]): Command {
  const root = system === '/' ? [] : ['--root', system];
  const options = ['--non-interactive', '--no-refresh', '--quiet', '--xmlout'];
  return standard('zypper', [...options, ...root, ...words]);
}

function sourceFiles(system: string, folders: readonly string[]): string[] {
  return folders.flatMap(folder => {
    try {
      const names = readdir(inSystem(system, folder)).filter(name => name.endsWith('.repo'));
      return names.map(name => `${inSystem(system, folder)}/${name}`);
    } catch {
      return [];
    }
  });
}

/** A file that cannot be read has no source that counts. */
function remoteSources(files: readonly string[]): Set<string> {
  return new Set(
    files.flatMap(file => {
      try {
        return parseRemoteSources(readWhole(file, FILE_BYTES).toString('utf8'));
      } catch {
        return [];
      }
    }),
  );
}
