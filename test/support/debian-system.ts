/** A small system in a folder, with packages that the real dpkg has unpacked, and a package source that offers them. Needs root. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ageTree, type TestPackage, writePackageTree } from './package-tree.ts';

/** Why the tests that use it are skipped. */
export const NEEDS_DPKG: string | false =
  process.getuid?.() !== 0
    ? 'needs root: dpkg unpacks files of root'
    : existsSync('/usr/bin/dpkg-deb')
      ? false
      : 'needs dpkg';

const ARCHITECTURE = existsSync('/usr/bin/dpkg-deb')
  ? execFileSync('/usr/bin/dpkg', ['--print-architecture'], { encoding: 'utf8' }).trim()
  : 'amd64';
const VERSION = '1.0-1';

export class DebianSystem {
  /** The folder that is `/` in the system. */
  readonly folder: string;
  /** The folder with the .deb files. */
  readonly archive: string;

  /** @param base a folder, in which both are made */
  constructor(base: string) {
    this.folder = join(base, 'system');
    this.archive = join(base, 'debs');
    for (const each of [
      'var/lib/dpkg/info',
      'var/lib/dpkg/updates',
      'var/lib/dpkg/triggers',
      'usr/bin',
      'etc/apt',
    ])
      mkdirSync(join(this.folder, each), { recursive: true });
    mkdirSync(this.archive);
    writeFileSync(join(this.folder, 'var/lib/dpkg/status'), '');
    // As Debian has it since version 12: packages that name /bin/x have it in /usr/bin/x.
    symlinkSync('usr/bin', join(this.folder, 'bin'));
  }

  path(inside: string): string {
    return join(this.folder, inside);
  }

  /** Builds packages, and has dpkg unpack and configure them in the system. */
  install(...packages: TestPackage[]): void {
    const files = packages.map(each => this.#build(each));
    const words = [
      `--root=${this.folder}`,
      '--force-unsafe-io',
      '--force-script-chrootless',
      '--install',
      ...files,
    ];
    execFileSync('/usr/bin/dpkg', words, {
      stdio: 'pipe',
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' },
    });
  }

  /** Makes a package source offer these packages in the version that is installed, as if apt had downloaded its list. */
  offer(...names: string[]): void {
    writeFileSync(
      this.path('etc/apt/sources.list'),
      'deb [trusted=yes] http://deb.example.org/debian stable main\n',
    );
    const lists = this.path('var/lib/apt/lists');
    mkdirSync(lists, { recursive: true });
    const records = names.map(name =>
      [
        `Package: ${name}`,
        `Version: ${VERSION}`,
        `Architecture: ${ARCHITECTURE}`,
        'Maintainer: a test <test@example.org>',
        'Description: a test',
        `Filename: pool/${name}.deb`,
        'Size: 1000',
        `SHA256: ${'0'.repeat(64)}`,
        '',
      ].join('\n'),
    );
    const head = join(lists, 'deb.example.org_debian_dists_stable');
    const release = `Origin: test\nSuite: stable\nCodename: stable\nArchitectures: ${ARCHITECTURE}\nComponents: main\n`;
    writeFileSync(`${head}_Release`, release);
    writeFileSync(`${head}_main_binary-${ARCHITECTURE}_Packages`, records.join('\n'));
  }

  #build({ name, files, modes = {}, conffiles = [] }: TestPackage): string {
    const tree = join(this.archive, name);
    const written = writePackageTree(tree, files, modes);
    const sums = written.map(path => execFileSync('md5sum', [`.${path}`], { cwd: tree, encoding: 'utf8' }));
    const control = [
      `Package: ${name}`,
      `Version: ${VERSION}`,
      `Architecture: ${ARCHITECTURE}`,
      'Maintainer: a test <test@example.org>',
      'Description: a test',
      '',
    ];
    mkdirSync(join(tree, 'DEBIAN'), { recursive: true });
    writeFileSync(join(tree, 'DEBIAN/control'), control.join('\n'));
    const listed = sums.filter(each => !conffiles.includes(each.slice(35).trim()));
    writeFileSync(join(tree, 'DEBIAN/md5sums'), listed.map(each => each.replace('  ./', '  ')).join(''));
    if (conffiles.length > 0) writeFileSync(join(tree, 'DEBIAN/conffiles'), `${conffiles.join('\n')}\n`);
    ageTree(tree);
    const deb = join(this.archive, `${name}_${VERSION}_${ARCHITECTURE}.deb`);
    execFileSync('dpkg-deb', ['--root-owner-group', '-Znone', '--build', tree, deb], { stdio: 'pipe' });
    return deb;
  }
}
