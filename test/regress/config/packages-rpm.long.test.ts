// Goal: `packages` on a system of rpm: an exclude list with which a backup has everything but the files that rpm can put back, and
// `--put-back` after a restore. rpmbuild makes the packages, rpm installs them in a system below a folder, and dnf and zypper tell which
// versions are offered.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { examinePackages } from '../../../src/client/packages.ts';
import { DebianSystem, NEEDS_DPKG } from '../../support/debian-system.ts';
import { describePackages, OTHERS, TOOL } from '../../support/recorded-packages.ts';
import { NEEDS_RPM, RpmSystem } from '../../support/rpm-system.ts';

const MANAGER = {
  name: 'rpm',
  skip: NEEDS_RPM,
  rebuild: {
    versions: /^tool-2:1\.0-1\.noarch$/m,
    manual: /^/,
    keys: /^/,
    'files/etc/yum.repos.d/web.repo': /baseurl=http/,
    written: /\nrpm\n/,
  },
};
const CAPABLE = '/usr/bin/with-capability';
const LABEL = 'security.selinux';

/** Writes an SELinux policy that has one label for all files. */
function writePolicy(label: string): void {
  const folder = '/etc/selinux/test/contexts/files';
  mkdirSync(folder, { recursive: true });
  writeFileSync('/etc/selinux/config', 'SELINUX=enforcing\nSELINUXTYPE=test\n');
  writeFileSync(`${folder}/file_contexts`, `/.* ${label}\n`);
}

describePackages(
  MANAGER,
  async base => {
    const system = new RpmSystem(base);
    system.install(
      {
        ...TOOL,
        files: { ...TOOL.files, [CAPABLE]: 'capability' },
        ghosts: ['/usr/lib/tool/state', '/var/lock/tool/lock'],
        capabilities: { [CAPABLE]: 'cap_net_raw=ep' },
      },
      ...OTHERS,
    );
    writeFileSync(system.path('usr/lib/tool/state'), 'written by the program');
    // As in a backup, where /run is empty.
    symlinkSync('../run/lock', system.path('var/lock'));
    return system;
  },
  {
    kept: [
      [CAPABLE, 'attributes'],
      ['/usr/lib/tool/state', 'ghost'],
    ],
  },
  (system, ask) => {
    it('passes over the SELinux labels that the policy has, and over no others', async () => {
      const before = await ask();
      const setLabel = (label: string, ...words: string[]): void => {
        execFileSync('find', [...words, '-exec', 'setfattr', '-h', '-n', LABEL, '-v', label, '{}', '+']);
      };
      const label = 'system_u:object_r:bin_t:s0';
      setLabel(label, system().path('usr'));
      writePolicy(label);
      try {
        const labeled = await ask();
        assert.deepEqual(labeled.left_out, before.left_out);
        setLabel('system_u:object_r:other_t:s0', system().path('usr/bin/tool'));
        const other = await ask();
        assert.equal(other.left_out.files, before.left_out.files - 1);
        assert.equal(other.kept.attributes?.files, (before.kept.attributes?.files ?? 0) + 1);
        setLabel(label, system().path('usr/bin/tool'));
        execFileSync('setfattr', ['-n', 'user.own', '-v', 'x', system().path('usr/bin/setuid')]);
        assert.equal((await ask()).left_out.files, before.left_out.files - 1);
        execFileSync('setfattr', ['-x', 'user.own', system().path('usr/bin/setuid')]);
      } finally {
        rmSync('/etc/selinux/test', { recursive: true });
        rmSync('/etc/selinux/config');
      }
      assert.equal((await ask()).left_out.files, 0, 'without a policy');
      // `two` is a hard link.
      const rest = [system().path('usr'), '-not', '-name', 'two'];
      execFileSync('find', [...rest, '-exec', 'setfattr', '-h', '-x', LABEL, '{}', '+']);
      assert.deepEqual(await ask(), before);
    });

    it('asks zypper where the system has sources for it', async () => {
      const before = await ask();
      await (system() as RpmSystem).offerToZypper(['tool', 'other']);
      assert.deepEqual(await ask(), before);
    });
  },
);

describe('a system with databases of rpm and dpkg', { skip: NEEDS_RPM || NEEDS_DPKG }, () => {
  it('belongs to the package manager with most packages', async context => {
    const base = mkdtempSync(join(tmpdir(), 'dialback-two-'));
    context.after(() => rmSync(base, { recursive: true, force: true }));
    const signal = new AbortController().signal;
    const system = new DebianSystem(base);
    await using tool = new RpmSystem(join(base, 'rpm'));
    const managed = async (): Promise<string> => {
      const to = system.path('var/lib/rpm');
      execFileSync('rm', ['-rf', to]);
      execFileSync('cp', ['-a', tool.path('var/lib/rpm'), to]);
      return (await examinePackages({ system: system.folder, write: undefined }, signal)).manager;
    };
    const packages = ['one', 'two', 'three'].map(name => ({ name, files: { [`/usr/bin/${name}`]: name } }));
    system.install(...packages.slice(0, 2));
    system.offer('one', 'two');
    tool.install(...packages.slice(0, 1));
    await tool.offer(['one']);
    assert.equal(await managed(), 'dpkg');
    tool.install(...packages.slice(1));
    execFileSync('cp', ['-a', tool.path('etc/yum.repos.d'), system.path('etc')]);
    assert.equal(await managed(), 'rpm');
    writeFileSync(system.path('var/lib/rpm/rpmdb.sqlite'), 'no database');
    const examine = async (folder: string): Promise<string> =>
      (await examinePackages({ system: folder, write: undefined }, signal)).manager;
    assert.equal(await examine(system.folder), 'dpkg');
    rmSync(system.path('var/lib/dpkg/status'));
    await assert.rejects(examine(system.folder), /rpm/);
  });
});
