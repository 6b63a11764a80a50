// Goal: the next step of `make install` and of what compiles the launcher, as it is printed, leads to an installation. The
// steps that build make an executable for enroll, and one with the library that a host without a launcher needs.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, realpathSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Finding } from '../../../src/doctor/finding.ts';
import { copyCheckout, IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { Site, type User } from '../../support/site.ts';
import { Follower, hide, nextOf, packageOwning, worstOf } from '../../support/steps.ts';
import { matching, says, wording } from '../../support/wording.ts';
import { NEEDS_ROOT, World } from '../../support/world.ts';

const TOP = join(import.meta.dirname, '../../..');
const SKIP = NEEDS_ROOT || IN_CLEAN_MACHINE;

/**
 * Debian's package manager, as far as tools/prepare.sh asks it, without a network: it brings what the test has taken away. What
 * the real one brings, test/regress/install/clean-machine shows.
 */
const APT_GET = `#!/bin/sh
for word; do
  case $word in
    gcc) mv /away/gcc /usr/bin/ ;;
    libc6-dev) mv /away/stdlib.h /usr/include/ ;;
    rsync) mv /usr/local/bin/rsync /usr/bin/ ;;
  esac
done
`;

describe('a next step of make install', { skip: SKIP }, () => {
  let site: Site;
  before(async () => {
    site = await Site.make();
    writeFileSync(site.machine.path('/usr/local/bin/apt-get'), APT_GET, { mode: 0o755 });
    await site.say('mkdir /away');
  });
  after(async () => {
    await site?.machine.end();
  });

  const refused = async (command: string, user?: User): Promise<string> => {
    const { status, output } = await site.shell(command, user);
    assert.notEqual(status, 0, output);
    return nextOf({ stdout: '', stderr: output });
  };

  it('for a launcher whose account is not known compiles it for the one that is named', async () => {
    const step = await refused('make launcher');
    assert.match(step, /=NUMBER$/);
    await site.say(step.replace('NUMBER', '777'));
    assert.equal(await site.say('tools/launcher.sh --uid dist/launch'), '777');
    const without = await refused('make launcher SERVICE_UID=777 INHERITED=yes');
    assert.match(without, matching`^${says('make-launcher-without-inherited')}$`);
    await site.say('make launcher SERVICE_UID=777');
  });

  it('for a compiler that is not there, or lacks a library, brings it', async () => {
    const compile = 'SERVICE_UID=777 INHERITED=1 tools/launcher.sh launch dist/launch';
    await site.say('rm dist/launch; mv /usr/bin/gcc /away/');
    const step = await refused(compile);
    const [prepare, compiler, ...more] = step.split(', or ');
    assert.deepEqual(more, []);
    const other = realpathSync('/usr/bin/gcc'); // with its version in its name
    await site.say(`${compiler?.replace('COMPILER', other)} ${compile}`);
    await site.say(`rm dist/launch; ${prepare}; mv /usr/include/stdlib.h /away/`);
    const { output } = await site.shell(compile); // gcc is there now
    assert.match(output, /stdlib\.h: No such file/);
    await site.say(`${nextOf({ stdout: '', stderr: output })} && ${compile}`);
    for (const path of ['/usr/bin/gcc', '/usr/include/stdlib.h'])
      assert.ok(existsSync(site.machine.path(path)), path);
  });

  it('for a package without an account takes the number that is named', async () => {
    await site.say('mv /usr/bin/gcc /away/ && mv dist/launch dist/jail /away/'); // from here on the compiled launcher does
    const step = await refused(`CC=${realpathSync('/usr/bin/gcc')} make install DESTDIR=/root/package`);
    await site.say('mv /away/launch /away/jail dist/');
    await site.say(step.replace('FOLDER', '/root/package').replace('NUMBER', '777'));
    assert.ok(existsSync(site.machine.path('/root/package/usr/local/libexec/dialback/launch')));
  });

  it('for an account that is root gives it another number', async () => {
    await site.say('useradd --system -o --uid 0 --no-user-group dialback && groupadd --system dialback');
    const [command, ...more] = (await refused('make install SERVICE_UID=777')).split(', and give dialback ');
    assert.deepEqual(more, [wording('another-number-than-0')]);
    await site.say("touch -d '1 minute ago' /etc/passwd"); // vipw compares whole seconds
    await site.say(`VISUAL='sed -i s/^dialback:x:0:/dialback:x:777:/' ${command}`);
    await site.say('make install && make uninstall && userdel dialback');
  });

  it('for somebody who is not root makes a package, or has root install', async () => {
    const anna = await site.addUser('anna');
    await site.say('chown -R anna: .');
    const step = await refused('make install', anna);
    const [, sudo, stage] = /^sudo (make install) \(or, to make a package, (make .*)\)$/.exec(step) ?? [];
    const { status, output } = await site.shell(
      (stage ?? 'false').replace('FOLDER', `${anna.home}/package`),
      anna,
    );
    assert.equal(status, 0, output);
    assert.ok(existsSync(site.machine.path(`${anna.home}/package/usr/local/bin/dialback`)));
    await site.say(`chown -R root: . && ${sudo}`); // root, who is asked for
    assert.equal(await site.say('id -u dialback'), '777');
  });

  it('for an rsync that is somewhere else brings the one of the system', async () => {
    const install = 'make install INHERITED=1';
    await site.say('setcap cap_net_admin=ei /usr/bin/rsync');
    await site.say(await refused(install));
    assert.equal(await site.say('getcap /usr/bin/rsync'), '');
    await site.say('mv /usr/bin/rsync /usr/local/bin/');
    const step = await refused(install);
    assert.equal(step, `apt-get install ${packageOwning('/usr/bin/rsync')}`);
    await site.say(`${step} && ${install}`);
    assert.match(await site.say('getcap /usr/bin/rsync'), / cap_dac_read_search=ei$/);
  });

  it('for a variable that it does not take installs without it', async () => {
    for (const word of ['INHERITED=yes', 'SERVICE_UID=0', 'SERVICE_UID=778']) {
      if (word.endsWith('8')) {
        // Without a compiler it is the compiled launcher that is refused.
        const step = await refused(`make install ${word}`);
        const [remove, install] = step.split(', and ');
        assert.equal(install, 'make install again with a compiler (Debian: gcc libc6-dev)');
        await site.say(`${remove} && mv /away/gcc /usr/bin/ && make install`);
      }
      const step = await refused(`make install ${word}`);
      const [, command, name] = /^(make install), without (\w+)$/.exec(step) ?? [];
      assert.equal(name, word.split('=')[0], step);
      await site.say(command ?? 'false');
    }
  });

  it('for a folder that others can write closes it', async () => {
    await site.say('mkdir -m 775 /opt/open');
    const install = 'make install PREFIX=/opt/open';
    await site.say(`${await refused(install)} && ${install}`);
    assert.equal(await site.say('stat -c %a /opt/open'), '755');
  });
});

describe('a next step that builds', { skip: SKIP }, () => {
  it('makes the executable that enroll wants, and one with the library that a host wants', async () => {
    const world = await World.make();
    const follower = new Follower(world);
    const checkout = join(world.base, 'the sources');
    copyCheckout(checkout);
    symlinkSync(join(TOP, 'node_modules'), join(checkout, 'node_modules'));
    utimesSync(join(checkout, 'package-lock.json'), 0, 0); // what npm has installed is newer
    const as = async (party: 'root' | typeof world.host, command: string): Promise<string> =>
      await follower.follow(party, `cd '${checkout}' && PATH='${TOP}/node_modules/.bin':$PATH && ${command}`);
    const disk = join(world.base, 'disk');
    const show = hide('/usr/bin/gcc');
    try {
      world.write(world.host, join(world.host.home, 'key.pub'), '');
      const key = `'${world.host.home}/key.pub'`;
      execFileSync('cp', [join(world.client.home, '.ssh/id_ed25519.pub'), join(world.host.home, 'key.pub')]);
      const enroll = `enroll ${world.name} ${key}`;
      const source = `node '${realpathSync(checkout)}/src/main.ts' ${enroll}`;
      const step = await follower.refused(world.host, `PATH='${TOP}/node_modules/.bin':$PATH; ${source}`);
      const [build, run] = step.split(', then ');
      await as('root', build ?? 'false');
      await as(world.host, (run ?? 'false').replace(/enroll .*$/, enroll));

      // ext4, where a file has 65,000 names.
      const image = join(world.base, 'disk.img');
      execFileSync('truncate', ['-s', '64M', image]);
      execFileSync('mkfs.ext4', ['-q', image]);
      execFileSync('mkdir', [disk]);
      execFileSync('mount', ['-o', 'loop', image, disk]);
      execFileSync('cp', ['-a', world.store, join(disk, 'store')]);
      world.write(world.host, world.hostToml, `store = "${disk}/store"\nconfined = false\nsyslog = false\n`);
      const links = async (): Promise<Finding> => {
        const { stdout } = await follower.shell(world.host, `'${checkout}/dist/dialback' doctor --json`);
        return worstOf(JSON.parse(stdout) as Finding[], 'host.store_links');
      };
      const finding = await links();
      assert.match(finding.found, matching`${says('was-built-without-gcc')}$`);
      const [install = '', make] =
        /^(.*), and (make .*) in dialback's sources$/.exec(finding.next ?? '')?.slice(1) ?? [];
      show();
      assert.deepEqual(install.split(' '), [
        'apt-get',
        'install',
        packageOwning('/usr/bin/gcc'),
        packageOwning('/usr/include/stdlib.h'),
      ]);
      await as('root', make ?? 'false');
      assert.equal((await links()).state, 'ok');
    } finally {
      show();
      execFileSync('sh', ['-c', `umount '${disk}' || true`], { stdio: 'pipe' });
      await world.dispose();
    }
  });
});
