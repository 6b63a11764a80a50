// Goal: on a kernel without Landlock init and enroll write a config that works; and where a config wants the jail, backup and
// doctor name the kernel and what works there.
import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { compileProgram } from '../../support/compiled.ts';
import { itLong } from '../../support/long.ts';
import type { Ended } from '../../support/machine.ts';
import { Sides } from '../../support/sides.ts';
import { SERVICE_UID, type User } from '../../support/site.ts';
import { matching, matchingLines, says } from '../../support/wording.ts';

const SKIP =
  IN_CLEAN_MACHINE ||
  (process.getuid?.() !== 0 && 'needs root: it makes a machine of namespaces and an overlay');

const WITHOUT = '/usr/local/bin/without-landlock';
const CONFIG = '.config/dialback/client.toml';
const KERNEL = matching`Cannot confine rsync: Linux \S+ ${says('has-no-landlock-or-has')}`;
const INHERITED = matching`${says('make-install-inherited-1-as')}, .*\x60${says('capability-inherited-in-client-toml')}`;

class OldKernel extends Sides {
  /** Runs a script as an account, on what seems to be an old kernel. */
  async old(user: User, script: string): Promise<Ended> {
    const become = `${WITHOUT} setpriv --reuid=${user.uid} --regid=${user.gid} --init-groups`;
    return await this.start('root', `cd / && HOME=${user.home} exec ${become} sh -c '${script}' 2>&1`);
  }
}

describe('a kernel without Landlock', { skip: SKIP }, () => {
  let world: OldKernel;
  let call: string;
  before(async () => {
    world = await Sides.install(OldKernel, async made => {
      const source = join(import.meta.dirname, '../../support/without-landlock.c');
      compileProgram(source, made.path(WITHOUT), ['-Wall', '-Wextra', '-Werror', '-static']);
      await made.site.say('mkdir -m 700 /srv/root');
      writeFileSync(made.path("/srv/root/root's own"), 'only root may read this', { mode: 0o600 });
      await made.prepareDaemon(['Subsystem none /bin/false']);
      await made.as(made.host, 'mkdir -p -m 700 ~/.ssh ~/.config/dialback');
      await made.startDaemon();
      const hostKey = made.read('/home/vault/sshd/key.pub').trim();
      call = `dialback init --name acorn --target ssh://vault@127.0.0.1:${made.port} --host-key "${hostKey}"`;
    });
  });
  after(async () => {
    await world?.site.machine.end();
  });

  const config = (): string => world.read(`${world.client.home}/${CONFIG}`);
  const forget = (): void => rmSync(world.path(`${world.client.home}/${CONFIG}`));
  /** The scope that init writes is the whole machine: a part of it is enough here. */
  async function narrow(): Promise<void> {
    await world.as(world.client, `sed -i 's|^roots = .*|roots = ["/srv/root"]|' ~/${CONFIG}`);
  }

  it('init writes no jail, and says why and how the whole machine can be read', async () => {
    const { status, output } = await world.old(world.client, call);
    assert.equal(status, 0, output);
    assert.match(output, matching`, ${says('as-far-as-this-account')}\n`);
    assert.match(output, /^with capability = "none" in it: Cannot confine rsync: Linux \S+ has no Landlock/m);
    assert.match(
      output,
      matchingLines`^${says('for-the-whole-machine')}: .*${says('make-install-inherited-1-as')}`,
    );
    assert.match(config(), /^capability = "none"$/m);
    assert.match(config(), /^roots = \["\/var\/lib\/dialback"\]$/m);
  });

  it('enroll writes no jail either, and says why', async () => {
    const key = world.read(`${world.client.home}/.config/dialback/id_ed25519.pub`).trim();
    const { status, output } = await world.old(world.host, `echo "${key}" | dialback enroll acorn -`);
    assert.equal(status, 0, output);
    assert.match(output, /^with confined = false in it: Cannot confine rsync: Linux \S+ has no Landlock/m);
    assert.match(world.read('/home/vault/.config/dialback/host.toml'), /^confined = false$/m);
  });

  it('web refuses, since there is no way around its jail', async () => {
    const { status, output } = await world.old(world.host, 'dialback web --listen 127.0.0.1:0');
    assert.equal(status, 1, output);
    assert.match(output, matching`web server: Linux \S+ ${says('has-no-landlock-or-has')}`);
    assert.match(output, /\nnext: .*Landlock\n$/);
  });

  it('the backup that follows succeeds', async () => {
    const { status, output } = await world.old(world.client, 'dialback backup');
    assert.equal(status, 0, output);
  });

  it('backup and doctor name the kernel, and what works, where the config wants the jail', async () => {
    await world.as(world.client, `sed -i 's/^capability = .*/capability = "confined"/' ~/${CONFIG}`);
    await narrow();
    const backup = await world.old(world.client, 'dialback backup');
    assert.equal(backup.status, 1, backup.output);
    assert.match(backup.output, KERNEL);
    assert.match(
      backup.output,
      matchingLines`^${says('boot-a-kernel-with-landlock')} ${says('make-install-inherited-1-as')}`,
    );
    const doctor = await world.old(world.client, 'dialback doctor');
    assert.equal(doctor.status, 2, doctor.output);
    assert.match(doctor.output, KERNEL);
    assert.match(doctor.output, INHERITED);
    const host = await world.old(
      world.host,
      'sed -i "s/^confined = .*/confined = true/" ~/.config/dialback/host.toml; dialback doctor',
    );
    assert.match(host.output, KERNEL);
    assert.match(host.output, matching`\x60${says('confined-false-in-host-toml')}`);
    await world.as(world.host, 'sed -i "s/^confined = .*/confined = false/" ~/.config/dialback/host.toml');
  });

  itLong('what they name there works', async () => {
    const { output } = await world.old(world.client, 'dialback backup');
    const [, install = 'false', line] =
      matchingLines`^next: boot .*; or (make install \S+), ${says('as-root-in-dialbacks-sources')}, .*\x60(.*)\x60 in client\.toml$`.exec(
        output,
      ) ?? [];
    world.site.compile({ SERVICE_UID, INHERITED: '1' });
    await world.site.say(install);
    await world.as(world.client, `sed -i 's/^capability = .*/${line}/' ~/${CONFIG}`);
    const backup = await world.old(world.client, 'dialback backup');
    assert.equal(backup.status, 0, backup.output);
  });

  itLong(
    'init writes "inherited" once root has prepared it, and that backup reads what only root may',
    async () => {
      await world.site.say('make install INHERITED=1');
      forget();
      const { status, output } = await world.old(world.client, call);
      assert.equal(status, 0, output);
      assert.match(output, /: "\/" to ".*", without a jail\n/);
      assert.match(config(), /^capability = "inherited"$/m);
      assert.match(config(), /^roots = \["\/"\]$/m);
      await narrow();
      const backup = await world.old(world.client, 'dialback backup --json');
      assert.equal(backup.status, 0, backup.output);
      assert.match(backup.output, /"outcome":"full"/);
      const doctor = await world.old(world.client, 'dialback doctor');
      assert.doesNotMatch(doctor.output, /Cannot confine/);
    },
  );

  it('init writes the jail on a kernel that has Landlock', async () => {
    forget();
    const output = await world.as(world.client, call);
    assert.match(output, says('in-the-kernels-jail'));
    assert.match(config(), /^capability = "confined"$/m);
  });
});
