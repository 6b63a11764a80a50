/** Whether the programs that dialback runs are installed. */
import { hasProgram, packageOf } from '../os/programs.ts';
import { READER_NEEDS } from '../store/stored-tree.ts';
import { type Finding, Topic } from './finding.ts';

const PROGRAMS = new Topic('machine.programs', 'dialback runs other programs and fails without them');

const BOTH_NEED = ['rsync', 'ssh', 'ssh-keygen', 'setpriv', 'flock', 'env'];
const CLIENT_NEEDS = ['ionice', 'mkfifo'];
const DIALED_NEEDS = ['sshd'];
const HOST_NEEDS = ['ssh-agent', 'ssh-add', 'mkfifo', 'cat', 'sync', 'rm', 'chmod'];

/**
 * The programs that this machine needs and does not have in the system's folders.
 * @param side what this machine is; isDialed: a host connects back to it
 */
export function missingPrograms(side: { isClient: boolean; isHost: boolean; isDialed: boolean }): string[] {
  const needed = [
    ...BOTH_NEED,
    ...(side.isClient ? CLIENT_NEEDS : []),
    ...(side.isDialed ? DIALED_NEEDS : []),
    ...(side.isHost ? HOST_NEEDS : []),
  ];
  return [...new Set(needed)].filter(name => !hasProgram(name));
}

/** @param missing names of programs that none of the system's folders has */
export function checkPrograms(missing: string[]): Finding {
  if (missing.length === 0) return PROGRAMS.ok('all programs that dialback runs are installed');
  return PROGRAMS.critical(notInstalled(missing), `apt-get install ${packagesOf(missing)}`);
}

const READER = new Topic('host.reader', 'ls and diff need these programs; backups and restores do not');

/** The programs that read a snapshot's attributes and are not installed. */
export function missingReaders(): string[] {
  return READER_NEEDS.filter(name => !hasProgram(name));
}

/** @param missing names of programs that none of the system's folders has */
export function checkReader(missing: string[]): Finding {
  if (missing.length === 0) return READER.ok('all programs that read a snapshot are installed');
  return READER.warning(notInstalled(missing), `apt-get install ${packagesOf(missing)}`);
}

function notInstalled(missing: string[]): string {
  return `these programs are missing from the system's folders: ${missing.join(', ')}`;
}

/** Debian's packages of programs, each once. */
function packagesOf(programs: string[]): string {
  return [...new Set(programs.map(name => packageOf(name) ?? 'coreutils'))].join(' ');
}
