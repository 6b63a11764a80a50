/** The distributions that dialback is tested with, each as its archive has it (test/versions/roots.ts builds them). */

export interface Suite {
  name: string;
  distribution: 'debian' | 'ubuntu';
  /** For people. */
  title: string;
  /** Without the mirror's address: archive (a folder of the mirror), suite of the archive, components. */
  archives: [folder: string, suite: string, components: string][];
  /** Whether `make test-versions` runs it; others are for `roots.ts enter`. */
  isTested: boolean;
}

function debian(name: string, title: string, suite: string, more: string[]): Suite {
  const archives: Suite['archives'] = [['debian', suite, 'main']];
  for (const each of more)
    archives.push([each.endsWith('-security') ? 'debian-security' : 'debian', each, 'main']);
  return { name, distribution: 'debian', title, archives, isTested: true };
}

function ubuntu(name: string, title: string, isTested = true): Suite {
  const archives = ['', '-updates', '-security'].map((pocket): Suite['archives'][number] => [
    'ubuntu',
    `${name}${pocket}`,
    'main universe',
  ]);
  return { name, distribution: 'ubuntu', title, archives, isTested };
}

/** Oldest first in each distribution. */
export const SUITES: Suite[] = [
  debian('bullseye', 'Debian 11', 'bullseye', ['bullseye-security']),
  debian('bookworm-main', 'Debian 12 without security updates', 'bookworm', []),
  debian('bookworm', 'Debian 12', 'bookworm', ['bookworm-updates', 'bookworm-security']),
  debian('trixie', 'Debian 13', 'trixie', ['trixie-updates', 'trixie-security']),
  debian('sid', 'Debian sid', 'sid', []),
  ubuntu('focal', 'Ubuntu 20.04', false),
  ubuntu('jammy', 'Ubuntu 22.04'),
  ubuntu('noble', 'Ubuntu 24.04'),
  ubuntu('resolute', 'Ubuntu 26.04'),
];

/** Finds a suite. @throws with the names that there are */
export function findSuite(name: string): Suite {
  const suite = SUITES.find(each => each.name === name);
  if (!suite)
    throw new Error(`Cannot find the suite "${name}": there are ${SUITES.map(each => each.name).join(', ')}`);
  return suite;
}

/** The packages that dialback needs, and make for `make install`. All others are essential in each suite. */
export const PACKAGES = [
  'acl',
  'attr',
  'coreutils',
  'iproute2',
  'libcap2-bin',
  'libstdc++6',
  'make',
  'openssh-client',
  'openssh-server',
  'passwd',
  'procps',
  'rsync',
  'util-linux',
];
