/** How an executable was installed, as the package managers know it. */

/** The program that installed this executable: `make install`, or a package manager. */
export type Installation =
  | { by: 'make' }
  /** @property isOffered whether one of apt's sources has the package, or it came as a file */
  | { by: 'dpkg'; name: string; version: string; architecture: string; isOffered: boolean }
  /** @property file the name of the package's file, without folder */
  | { by: 'rpm'; name: string; file: string };

/** The package managers' prefix; `make install` uses /usr/local where no other one is named. */
const PACKAGED = '/usr/bin/';

/**
 * Finds the package that has a file.
 * @param path the file's absolute path
 * @param run runs a program, and returns its output; undefined if it failed or does not exist
 */
export function findInstallation(
  path: string,
  run: (program: string, args: string[]) => string | undefined,
): Installation {
  if (!path.startsWith(PACKAGED)) return { by: 'make' };
  // "NAME: PATH"; a package that diverts the file adds a line of another form.
  const name = /^([a-z0-9][a-z0-9+.-]*)(?::[a-z0-9-]+)?: \//m.exec(
    run('dpkg-query', ['--search', path]) ?? '',
  )?.[1];
  if (name !== undefined) {
    const shown = run('dpkg-query', ['--show', `--showformat=\${Version} \${Architecture}\n`, name]);
    const [, version = '', architecture = ''] = /^(\S+) (\S+)$/m.exec(shown ?? '') ?? [];
    const isOffered = (run('apt-cache', ['madison', name]) ?? '').trim() !== '';
    return { by: 'dpkg', name, version, architecture, isOffered };
  }
  const shown = run('rpm', ['--query', '--queryformat', '%{NAME} %{NVRA}.rpm\n', '--file', path]);
  const [, owner, file] = /^([a-zA-Z0-9][a-zA-Z0-9._+-]*) (\S+)$/m.exec(shown ?? '') ?? [];
  return owner === undefined || file === undefined ? { by: 'make' } : { by: 'rpm', name: owner, file };
}
