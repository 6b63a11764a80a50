/** A small system in a folder, with packages that the real rpm has installed, and package sources that offer them. Needs root. */
import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { HttpFolder } from './http-folder.ts';
import { ageTree, type TestPackage, writePackageTree } from './package-tree.ts';

const PROGRAMS = ['rpm', 'rpmbuild', 'createrepo_c', 'dnf', 'zypper', 'bsdtar', 'matchpathcon'];

/** Why the tests that use it are skipped. */
export const NEEDS_RPM: string | false =
  process.getuid?.() !== 0
    ? 'needs root: rpm installs files of root'
    : PROGRAMS.every(each => ['/usr/bin', '/usr/sbin'].some(folder => existsSync(`${folder}/${each}`)))
      ? false
      : `needs ${PROGRAMS.join(', ')}`;

const DATABASE = '/var/lib/rpm';
const MACROS = '/etc/rpm/macros';
const ENVIRONMENT = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C', HOME: '/root' };

export interface RpmTestPackage extends TestPackage {
  /** Files that belong to the package, and that it does not bring. */
  ghosts?: string[];
  /** Capabilities by path, as setcap(8) takes them. */
  capabilities?: Record<string, string>;
}

export class RpmSystem implements AsyncDisposable {
  /** The folder that is `/` in the system. */
  readonly folder: string;
  /** The folder with the .rpm files. */
  readonly archive: string;
  readonly #build: string;

  /** @param base a folder, in which both are made */
  constructor(base: string) {
    this.folder = join(base, 'system');
    this.archive = join(base, 'rpms');
    // rpmbuild takes no blank in some paths.
    this.#build = mkdtempSync(`${tmpdir()}/dialback-rpmbuild-`);
    for (const each of ['etc/yum.repos.d', 'usr/bin', 'var/tmp'])
      mkdirSync(join(this.folder, each), { recursive: true });
    execFileSync('chmod', ['1777', this.path('var/tmp')]);
    execFileSync('ln', ['-s', 'usr/bin', this.path('bin')]);
    mkdirSync(this.archive);
    // Debian's rpm has its database in the home folder otherwise, and looks there in a system, too.
    mkdirSync('/etc/rpm', { recursive: true });
    writeFileSync(MACROS, `%_dbpath ${DATABASE}\n`);
  }

  path(inside: string): string {
    return join(this.folder, inside);
  }

  /** Builds packages, and has rpm install them in the system. */
  install(...packages: RpmTestPackage[]): void {
    const files = packages.map(each => this.#make(each));
    this.#rpm('--install', '--nodeps', '--nosignature', ...files);
  }

  /** Makes a source on a web server offer packages, and one in a folder others. dnf downloads both lists. */
  async offer(web: string[], medium: string[] = []): Promise<void> {
    const [remote, local] = [this.#source('web', web), this.#source('medium', medium)];
    await using server = await HttpFolder.serve(remote);
    const text = (id: string, url: string): string => `[${id}]\nname=${id}\nbaseurl=${url}\ngpgcheck=0\n`;
    writeFileSync(this.path('etc/yum.repos.d/web.repo'), text('web', server.url));
    writeFileSync(this.path('etc/yum.repos.d/medium.repo'), text('medium', `file://${local}`));
    await run('dnf', ['--quiet', `--installroot=${this.folder}`, 'makecache']);
  }

  /** The same for zypper. */
  async offerToZypper(web: string[]): Promise<void> {
    await using server = await HttpFolder.serve(this.#source('zypper', web));
    mkdirSync(this.path('etc/zypp/repos.d'), { recursive: true });
    const text = `[web]\nname=A & B\nenabled=1\nbaseurl=${server.url}\ngpgcheck=0\n`;
    writeFileSync(this.path('etc/zypp/repos.d/web.repo'), text);
    await run('zypper', ['--non-interactive', '--root', this.folder, 'refresh']);
  }

  /** The paths that rpm itself finds to differ from their packages. */
  verify(): string[] {
    const words = [`--root=${this.folder}`, `--dbpath=${DATABASE}`, '--verify', '--all', '--nodeps'];
    const { stdout } = spawnSync('rpm', words, { env: ENVIRONMENT, encoding: 'latin1' });
    return stdout.split('\n').flatMap(line => /^\S+ +(?:[a-z] )?(\/.*)$/.exec(line)?.[1] ?? []);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    rmSync(MACROS, { force: true });
    rmSync(this.#build, { recursive: true, force: true });
  }

  #rpm(...words: string[]): void {
    const all = [`--root=${this.folder}`, `--dbpath=${DATABASE}`, ...words];
    execFileSync('rpm', all, { stdio: 'pipe', env: ENVIRONMENT });
  }

  #source(id: string, names: string[]): string {
    const folder = join(this.#build, `source-${id}`);
    mkdirSync(folder);
    for (const name of names)
      copyFileSync(join(this.archive, `${name}.rpm`), join(folder, `${name}-1.0-1.noarch.rpm`));
    execFileSync('createrepo_c', ['--quiet', folder], { stdio: 'pipe', env: ENVIRONMENT });
    return folder;
  }

  #make(given: RpmTestPackage): string {
    const { name, files, modes = {}, conffiles = [], ghosts = [], capabilities = {} } = given;
    const tree = join(this.#build, name);
    writePackageTree(tree, files, modes);
    ageTree(tree);
    // A name with other characters can be listed only by its folder.
    const isOdd = (path: string): boolean => /[^\w./-]/.test(path);
    const whole = new Set(Object.keys(files).filter(isOdd).map(dirname));
    const line = (path: string): string => {
      const isConfig = conffiles.includes(path) ? '%config(noreplace) ' : '';
      const capability = capabilities[path] === undefined ? '' : `%caps(${capabilities[path]}) `;
      return `${isConfig}${capability}${path}`;
    };
    const found = execFileSync('find', ['.', '-mindepth', '3', '-type', 'd'], {
      cwd: tree,
      encoding: 'utf8',
    });
    const folders = found
      .split('\n')
      .map(each => each.slice(1))
      .filter(each => each !== '' && !whole.has(each));
    const spec = [
      `Name: ${name}`,
      'Version: 1.0',
      'Release: 1',
      'Epoch: 2',
      'Summary: a test',
      'License: none',
      'BuildArch: noarch',
      '%description',
      'a test',
      '%install',
      `cp -a '${tree}/.' '%{buildroot}/'`,
      '%files',
      ...[...whole, ...folders.map(each => `%dir ${each}`)],
      ...Object.keys(files)
        .filter(each => !isOdd(each))
        .map(line),
      ...ghosts.map(path => `%ghost ${path}`),
    ];
    const file = join(this.#build, `${name}.spec`);
    writeFileSync(file, `${spec.join('\n')}\n`);
    const defines = [
      `_topdir ${this.#build}/top`,
      `_buildrootdir ${this.#build}/root`,
      '__os_install_post %{nil}',
      '_invalid_encoding_terminates_build 0',
    ];
    const words = ['-bb', '--quiet', ...defines.flatMap(each => ['--define', each]), file];
    execFileSync('rpmbuild', words, { stdio: 'pipe', env: ENVIRONMENT });
    const archive = join(this.archive, `${name}.rpm`);
    copyFileSync(join(this.#build, `top/RPMS/noarch/${name}-1.0-1.noarch.rpm`), archive);
    return archive;
  }
}

async function run(program: string, words: string[]): Promise<void> {
  await promisify(execFile)(program, words, { env: ENVIRONMENT });
}
