/** A small system in a folder, with packages that the real pacman has installed, and package sources that offer them. Needs root. */
import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { chownSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { HttpFolder } from './http-folder.ts';
import { type TestPackage, writePackageTree } from './package-tree.ts';

const PROGRAMS = ['pacman', 'makepkg', 'repo-add', 'fakeroot', 'bsdtar'];

/** Why the tests that use it are skipped. */
export const NEEDS_PACMAN: string | false =
  process.getuid?.() !== 0
    ? 'needs root: pacman installs files of root'
    : PROGRAMS.every(each => existsSync(`/usr/bin/${each}`))
      ? false
      : `needs ${PROGRAMS.join(', ')}`;

const ENVIRONMENT = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' };
/** makepkg refuses root. */
const NOBODY = 65534;

export class PacmanSystem implements AsyncDisposable {
  /** The folder that is `/` in the system. */
  readonly folder: string;
  /** The folder with the archives. */
  readonly archive: string;
  readonly #build: string;

  /** @param base a folder, in which both are made */
  constructor(base: string) {
    this.folder = join(base, 'system');
    this.archive = join(base, 'archives');
    this.#build = mkdtempSync(`${tmpdir()}/dialback-makepkg-`);
    chownSync(this.#build, NOBODY, NOBODY);
    for (const each of ['var/lib/pacman', 'etc/pacman.d', 'usr/bin', 'usr/share/pacman/keyrings'])
      mkdirSync(join(this.folder, each), { recursive: true });
    execFileSync('ln', ['-s', 'usr/bin', this.path('bin')]);
    writeFileSync(this.path('usr/share/pacman/keyrings/test.gpg'), 'keys');
    mkdirSync(this.archive);
    this.#configure('');
  }

  path(inside: string): string {
    return join(this.folder, inside);
  }

  /** Builds packages, and has pacman install them in the system. */
  install(...packages: TestPackage[]): void {
    const files = packages.map(each => this.#make(each));
    execFileSync('pacman', [...this.#words(), '-U', '--noconfirm', '--overwrite', '*', ...files], {
      stdio: 'pipe',
      env: ENVIRONMENT,
    });
  }

  /** Makes a source on a web server offer packages, and one in a folder others. pacman downloads both lists. */
  async offer(web: string[], medium: string[] = []): Promise<void> {
    const [remote, local] = [this.#source('web', web), this.#source('medium', medium)];
    await using server = await HttpFolder.serve(remote);
    this.#configure(`[web]\nServer = ${server.url}\n[medium]\nServer = file://${local}\n`);
    await promisify(execFile)('pacman', [...this.#words(), '-Sy'], { env: ENVIRONMENT });
  }

  /** The paths that pacman itself finds to differ from their packages. */
  verify(): string[] {
    const { stdout, stderr } = spawnSync('pacman', [...this.#words(), '-Qkk'], {
      env: ENVIRONMENT,
      encoding: 'latin1',
    });
    const lines = `${stdout}${stderr}`.split('\n');
    const paths = lines.flatMap(
      line => /^(?:warning|backup file): [^:]*: (\/.*) \(.*\)$/.exec(line)?.[1] ?? [],
    );
    return paths.map(each => each.slice(this.folder.length));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    rmSync(this.#build, { recursive: true, force: true });
  }

  #words(): string[] {
    return [
      '--root',
      this.folder,
      '--config',
      this.path('etc/pacman.conf'),
      '--dbpath',
      this.path('var/lib/pacman'),
    ];
  }

  #configure(sources: string): void {
    const options = '[options]\nArchitecture = auto\nSigLevel = Never\n';
    writeFileSync(this.path('etc/pacman.conf'), `${options}${sources}`);
  }

  #source(id: string, names: string[]): string {
    const folder = join(this.#build, `source-${id}`);
    mkdirSync(folder);
    const files = names.map(name => {
      const file = `${name}-2:1.0-1-any.pkg.tar.gz`;
      copyFileSync(join(this.archive, file), join(folder, file));
      return join(folder, file);
    });
    execFileSync('repo-add', ['--quiet', join(folder, `${id}.db.tar.gz`), ...files], {
      stdio: 'pipe',
      env: ENVIRONMENT,
    });
    return folder;
  }

  #make({ name, files, modes = {}, conffiles = [] }: TestPackage): string {
    const folder = join(this.#build, name);
    writePackageTree(join(folder, 'tree'), files, modes);
    const script = [
      `pkgname=${name}`,
      'pkgver=1.0',
      'pkgrel=1',
      'epoch=2',
      'arch=(any)',
      'options=(!strip !zipman !purge docs emptydirs)',
      `backup=(${conffiles.map(each => `'${each.slice(1)}'`).join(' ')})`,
      `package() { cp -a '${folder}/tree/.' "$pkgdir/"; }`,
    ];
    writeFileSync(join(folder, 'PKGBUILD'), `${script.join('\n')}\n`);
    execFileSync('chown', ['-R', `${NOBODY}:${NOBODY}`, folder]);
    const account = [`--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups'];
    execFileSync('setpriv', [...account, 'makepkg', '--nodeps'], {
      cwd: folder,
      stdio: 'pipe',
      env: { ...ENVIRONMENT, HOME: folder, SOURCE_DATE_EPOCH: '1767323045' },
    });
    const file = `${name}-2:1.0-1-any.pkg.tar.gz`;
    copyFileSync(join(folder, file), join(this.archive, file));
    return join(this.archive, file);
  }
}
