// Goal: what doctor says of a launcher, of what it runs on and of the programs that look at it mends it as it is printed. What
// `make install` mends is in next-steps-reinstall.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Finding } from '../../../src/doctor/finding.ts';
import { addUser, removeUser } from '../../support/accounts.ts';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { findingOf, packageOwning, Steps, without } from '../../support/steps.ts';
import { matching, says } from '../../support/wording.ts';
import { NEEDS_ROOT, World } from '../../support/world.ts';

describe('a next step about the launcher', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let world: World;
  let steps: Steps;
  let group: string;

  /** As `make install` would have it. */
  const install = (): void => {
    world.installLauncher();
    chownSync(world.launcher, 0, world.client.gid);
    chmodSync(world.launcher, 0o750);
    execFileSync('setcap', ['cap_dac_read_search=ep', world.launcher], { stdio: 'pipe' });
  };
  const SECURITY = '/sys/kernel/security';
  const CHANNEL = 'name = "vault"\ntransport = "channel"';
  const look = async (): Promise<Finding[]> => await steps.doctor(world.client);
  const find = async (check: string): Promise<Finding> => findingOf(await look(), check);
  const isWell = async (...checks: string[]): Promise<void> => {
    const now = await look();
    for (const check of checks) {
      const { state, found } = findingOf(now, check);
      assert.equal(state, 'ok', `${check}: ${found}`);
    }
  };

  before(async () => {
    world = await World.make({ launcher: true });
    install();
    world.write(world.client, join(world.data, 'file'), 'content');
    // This world's list is not the system's; one that is there has to be read.
    mkdirSync('/etc/dialback', { recursive: true });
    writeFileSync('/etc/dialback/never', '# of the test\n');
    execFileSync('mount', ['-t', 'securityfs', 'securityfs', SECURITY]);
    world.configure({ remote: CHANNEL });
    steps = new Steps(world);
    group = execFileSync('/usr/bin/id', ['-gn', world.client.login]).toString().trim();
  });
  after(async () => {
    execFileSync('umount', [SECURITY]);
    await world.dispose();
  });

  it('takes an account out of its group whose first group it is', async () => {
    const login = `${world.client.login}-2`;
    addUser(login);
    execFileSync('/usr/sbin/usermod', ['--gid', group, login]);
    execFileSync('/usr/sbin/groupdel', [login]);
    try {
      const { next } = await find('launcher.group');
      const shape = /(groupadd --force --system \S+ && usermod --gid \S+ \S+)/;
      await steps.follow(next, shape, world.client, { as: 'root' });
      assert.equal(execFileSync('/usr/bin/id', ['-Gn', login]).toString().trim(), login);
      await isWell('launcher.group', 'client.jail');
    } finally {
      removeUser(login);
    }
  });

  it('lets files of its file system give capabilities', async () => {
    const folder = dirname(world.launcher);
    const kept = join(world.base, 'launch');
    const keptJail = join(world.base, 'jail');
    copyFileSync(world.launcher, kept);
    copyFileSync(world.jail, keptJail);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'nosuid,mode=755', 'libexec', folder]);
    try {
      copyFileSync(kept, world.launcher);
      copyFileSync(keptJail, world.jail); // with its mode
      chownSync(world.launcher, 0, world.client.gid);
      chmodSync(world.launcher, 0o750);
      execFileSync('setcap', ['cap_dac_read_search=ep', world.launcher], { stdio: 'pipe' });
      const shape = matching`(mount -o remount,suid '[^']*'); ${says('the-same-in-etc-fstab')}, ${says('or-make-install-prefix')}=…`;
      await steps.follow((await find('launcher.mount')).next, shape, world.client, { as: 'root' });
      await isWell('launcher.mount', 'client.jail');
    } finally {
      execFileSync('umount', [folder]);
    }
    // And where the folder is a bind mount, of which alone it is said.
    execFileSync('mount', ['--bind', folder, folder]);
    try {
      execFileSync('mount', ['-o', 'remount,bind,nosuid', folder]);
      const shape = /(mount -o remount,suid '[^']*'); .*/;
      await steps.follow((await find('launcher.mount')).next, shape, world.client, { as: 'root' });
      await isWell('launcher.mount', 'client.jail');
    } finally {
      execFileSync('umount', [folder]);
    }
  });

  it('names the package of the program that looks at its capability', async () => {
    const hidden = async (): Promise<Finding> =>
      await without('/usr/bin/getfattr', async () => await find('launcher.capability'));
    const { state, next } = await without('/usr/sbin/getcap', hidden);
    assert.equal(state, 'unknown');
    assert.equal(next, `apt-get install ${packageOwning('/usr/sbin/getcap')}`);
    await isWell('launcher.capability');
  });

  it('mounts what tells whether the kernel has Landlock', async () => {
    const away = `${world.launcher}.away`;
    execFileSync('mount', ['-t', 'tmpfs', 'hidden', SECURITY]);
    execFileSync('mv', [world.launcher, away]); // with a jail that stands nobody asks
    world.configure({ remote: CHANNEL, top: `name = "${world.name}"\ncapability = "confined"` });
    steps.place();
    try {
      const { state, next } = await find('machine.kernel');
      assert.equal(state, 'unknown');
      await steps.follow(next, /(mount -t securityfs securityfs \/sys\/kernel\/security)/, world.client, {
        as: 'root',
      });
      assert.match(readFileSync(`${SECURITY}/lsm`, 'latin1'), /landlock/);
      await isWell('machine.kernel');
      execFileSync('umount', [SECURITY]);
    } finally {
      execFileSync('umount', [SECURITY]);
      execFileSync('mv', [away, world.launcher]);
      world.configure({ remote: CHANNEL });
      steps.place();
    }
  });

  it('goes on to the jail from "inherited", however the line is written', async () => {
    for (const line of ['capability = "inherited"', '  capability="inherited" # for now']) {
      world.configure({ remote: CHANNEL, top: `name = "${world.name}"\n${line}` });
      steps.place();
      const { state, next } = await find('client.confinement');
      assert.equal(state, 'warning');
      await steps.follow(next, /(sed -i '.*' '[^']*client\.toml')/, world.client);
      await isWell('client.confinement', 'client.jail');
    }
    world.configure({ remote: CHANNEL });
    steps.place();
  });

  it('mounts /proc, without which nothing is to be seen of this process', async () => {
    const { client, binary } = world;
    const script = `
      set -eu
      while umount --lazy /proc 2>/dev/null; do :; done # one may lie above another
      look() { setpriv --reuid "$1" --regid "$2" --clear-groups "$3" doctor --json || [ $? -lt 3 ]; }
      look "$@" >"$4/without"
      sh -c "$(sed -n 's/.*"next": *"\\(mount -t proc[^"]*\\)".*/\\1/p' "$4/without" | head -n 1)"
      look "$@" >"$4/with"
    `;
    const words = [client.uid, client.gid, binary, world.base].map(String);
    const { status, stderr } = await world.start(
      'root',
      '/usr/bin/unshare',
      ['--mount', '/bin/sh', '-c', script, 'sh', ...words],
      { environment: { HOME: client.home } },
    ).done;
    assert.equal(status, 0, stderr);
    const read = (name: string): Finding[] =>
      JSON.parse(readFileSync(join(world.base, name), 'utf8')) as Finding[];
    for (const check of ['machine.privilege', 'launcher.mount']) {
      assert.equal(findingOf(read('without'), check).next, 'mount -t proc proc /proc');
      assert.equal(findingOf(read('with'), check).state, 'ok');
    }
  });
});
