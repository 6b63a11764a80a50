/** Where the standard programs are, and which Debian package has each. */
import { Fault } from '../fault.ts';
import { mayRun } from './files.ts';

const PROGRAM_FOLDERS = ['/usr/bin', '/bin', '/usr/sbin', '/sbin', '/usr/local/bin', '/usr/local/sbin'];
const PACKAGES: Record<string, string> = {
  rsync: 'rsync',
  setpriv: 'util-linux',
  ssh: 'openssh-client',
  'ssh-add': 'openssh-client',
  'ssh-agent': 'openssh-client',
  'ssh-keygen': 'openssh-client',
  sshd: 'openssh-server',
  bsdtar: 'libarchive-tools',
  choom: 'util-linux',
  find: 'findutils',
  flock: 'util-linux',
  getfattr: 'attr',
  getcap: 'libcap2-bin',
  ionice: 'util-linux',
  xargs: 'findutils',
};

/**
 * Finds a standard program in the system's folders. It ignores PATH.
 * @returns its absolute path
 * @throws Fault that names Debian's package
 */
export function programPath(name: string): string {
  for (const folder of PROGRAM_FOLDERS) {
    const path = `${folder}/${name}`;
    if (mayRun(path)) return path;
  }
  const pack = PACKAGES[name];
  throw new Fault({
    tried: `run "${name}"`,
    found: `it is in none of ${PROGRAM_FOLDERS.join(', ')}`,
    ...(pack ? { next: `apt-get install ${pack}` } : {}),
  });
}

/** Debian's package of a program. @returns undefined for a program that every system has */
export function packageOf(name: string): string | undefined {
  return PACKAGES[name];
}

/** Whether a program of this name is installed. */
export function hasProgram(name: string): boolean {
  return PROGRAM_FOLDERS.some(folder => mayRun(`${folder}/${name}`));
}
