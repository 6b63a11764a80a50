// Goal: `make install` lays down all that an account needs to back a whole machine up, with exactly the owners, modes and
// capabilities that the argument in docs/design.md rests on. It can be done again, mends what was broken, leaves what
// the admin wrote alone; `make uninstall` takes it away; DESTDIR touches nothing else.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { describeLong, describeShort, IS_LONG, itLong, some } from '../../support/long.ts';
import { SERVICE_UID, Site } from '../../support/site.ts';
import { matching, matchingLines, says, wording } from '../../support/wording.ts';

const SKIP =
  IN_CLEAN_MACHINE ||
  (process.getuid?.() !== 0 && 'needs root: it makes a machine of namespaces and an overlay');

const BINARY = '/usr/local/bin/dialback';
const LAUNCHER = '/usr/local/libexec/dialback/launch';
const JAIL = '/usr/local/libexec/dialback/jail';
const SHARE = '/usr/local/share/dialback';
const UNITS = '/usr/local/lib/systemd/system';
const CRON = '/etc/cron.d/dialback';
const HOOK = '/etc/dpkg/dpkg.cfg.d/dialback';
const NOTHING_TO_DO = matchingLines`^install: ${says('nothing-to-do-all-of')}$`;

const HOOKS = [
  'btrfs-snapshot',
  'healthchecks',
  'lvm-snapshot',
  'mariadb',
  'ntfy',
  'packages',
  'postgresql',
  'rclone',
  'restic',
  'skip-on-battery',
  'skip-on-metered',
  'sqlite',
];

/** For many clients. */
const FLEET = [
  'ansible/README.md',
  'ansible/inventory.example.ini',
  'ansible/site.yml',
  ...['client', 'common', 'host'].flatMap(role =>
    ['defaults', 'meta', 'tasks'].map(part => `ansible/roles/dialback_${role}/${part}/main.yml`),
  ),
  'ansible/roles/dialback_client/templates/init.toml.j2',
  'ansible/roles/dialback_host/templates/host.toml.j2',
  'cloud-init/client.yml',
];
const MONITORING = [
  ['dialback.rules.yml', '644'],
  ['grafana.json', '644'],
  ['icinga2.conf', '644'],
  ['nagios.cfg', '644'],
  ['uptime-kuma', '755'],
];

/** Every file that is laid down: owner and mode as `stat` says them. */
const LAID: [path: string, owner: string][] = [
  [BINARY, 'root:root 755'],
  [LAUNCHER, 'root:dialback 750'],
  [JAIL, 'root:root 755'],
  ['/etc/dialback', 'root:root 755'],
  ['/etc/dialback/client.toml.sample', 'root:root 644'],
  ['/etc/dialback/excludes', 'root:root 644'],
  ['/etc/dialback/host.toml.sample', 'root:root 644'],
  ['/etc/dialback/never', 'root:root 644'],
  [CRON, 'root:root 644'],
  [`${UNITS}/dialback-backup.service`, 'root:root 644'],
  [`${UNITS}/dialback-backup.timer`, 'root:root 644'],
  [`${UNITS}/dialback-web.service`, 'root:root 644'],
  [`${UNITS}/dialback-web.socket`, 'root:root 644'],
  ...[
    'man/man1/dialback.1.gz',
    'man/man5/dialback.toml.5.gz',
    'man/man7/dialback-hooks.7.gz',
    'bash-completion/completions/dialback',
    'zsh/site-functions/_dialback',
    'fish/vendor_completions.d/dialback.fish',
  ].map((name): [string, string] => [`/usr/local/share/${name}`, 'root:root 644']),
  ['/var/lib/dialback', 'dialback:dialback 700'],
  ...[
    'client.toml',
    'dialback-host.cron',
    'dialback.cron',
    'dialback.cron.d',
    'excludes',
    'host.toml',
    'never',
  ].map((name): [string, string] => [`${SHARE}/${name}`, 'root:root 644']),
  ...MONITORING.map(([name, mode]): [string, string] => [`${SHARE}/monitoring/${name}`, `root:root ${mode}`]),
  ...FLEET.map((name): [string, string] => [`${SHARE}/${name}`, 'root:root 644']),
  ...HOOKS.map((name): [string, string] => [`${SHARE}/hooks/${name}`, 'root:root 755']),
];

async function owners(site: Site): Promise<string[]> {
  const paths = LAID.map(([path]) => path).join(' ');
  return (await site.say(`stat -c '%n %U:%G %a' ${paths}`)).split('\n');
}

/** Of every file of ours below /usr and /etc. Only what has changed is looked at: all of /usr takes half a second of processor time. */
async function capabilities(site: Site): Promise<string> {
  const paths = site.changes().map(line => line.split(' ')[0] ?? '');
  const ours = paths.filter(path => /^\/(usr|etc)\/.*dialback/.test(path));
  return await site.say(`getcap ${ours.join(' ')} | sort`);
}

const EXPECTED_OWNERS = LAID.map(([path, owner]) => `${path} ${owner}`);
const EXPECTED_CAPABILITIES = `${BINARY} cap_dac_read_search=i\n${LAUNCHER} cap_dac_read_search=ep`;

describe('make install', { skip: SKIP }, () => {
  describe('on a machine that has none of it', () => {
    let site: Site;
    let output = '';
    let untouched: string[] = [];
    before(async () => {
      site = await Site.make();
      untouched = site.changes();
    });
    after(async () => {
      await site?.machine.end();
    });

    it('says what it does in a few lines, and what comes next', async () => {
      const ended = await site.run(['make', 'install']);
      output = ended.output;
      assert.equal(ended.status, 0, output);
      assert.match(output, /^install: user dialback \(uid \d+\)$/m);
      assert.match(output, /^install: \S+\/launch \(cap_dac_read_search=ep\)$/m);
      assert.match(output, /\nnext, on a client: runuser --pty -u dialback -- dialback init\n/);
      assert.match(
        output,
        matching`\n${says('next-on-a-backup-host', 'runuser --pty -u dialback -- dialback')} .*\n$`,
      );
      assert.ok(output.trim().split('\n').length <= 22, output);
    });

    it('sets owners, modes and capabilities', async () => {
      assert.deepEqual(await owners(site), EXPECTED_OWNERS);
      assert.equal(await capabilities(site), EXPECTED_CAPABILITIES);
    });

    it('makes an account without a password, with a shell and a home', async () => {
      const [login, , uid, gid, , home, shell] = (await site.say('getent passwd dialback')).split(':');
      assert.deepEqual([login, home, shell], ['dialback', '/var/lib/dialback', '/bin/sh']);
      assert.equal((await site.say('getent group dialback')).split(':')[2], gid);
      assert.ok(Number(uid) > 0 && Number(uid) < 1000, `uid ${uid} is a system user's`);
      assert.equal((await site.say('getent shadow dialback')).split(':')[1], '*');
    });

    it('lays down a binary that runs, and a `launch` that only the account may start', async () => {
      assert.match(await site.say('runuser --pty -u dialback -- dialback version'), /^dialback \d/);
      const stranger = await site.addUser('stranger');
      const { status, output: said } = await site.shell(`${LAUNCHER} send /`, stranger);
      assert.equal(status, 126, said);
      assert.match(said, /Permission denied/);
    });

    it('lays down a `jail` for every account: one that only receives needs no group', async () => {
      const stranger = await site.addUser('receiver');
      const tree = '/home/receiver/tree';
      const { status, output: said } = await site.shell(
        `mkdir -m 700 ${tree} && ${JAIL} receive ${tree} -- --version </dev/null 2>&1 | cat`,
        stranger,
      );
      assert.equal(status, 0, said);
      assert.match(said, /^dialback-launch: landlock_abi \d+/m);
      assert.match(said, /^rsync +version /m);
    });

    it('leaves timer and cron off', async () => {
      assert.equal(await site.say('find /etc/systemd /usr/local/lib/systemd -name "*dialback*" -type l'), '');
      assert.equal(await site.say(`grep -v '^#' ${CRON}`), 'SHELL=/bin/sh\nMAILTO=root');
    });

    it('lays down units that systemd accepts without a word', async () => {
      for (const unit of ['dialback-backup.service', 'dialback-backup.timer'])
        assert.equal(await site.say(`systemd-analyze verify ${UNITS}/${unit} 2>&1`), '', unit);
    });

    it('lays down a timer that means every night', async () => {
      const when = await site.say(`sed -n 's/^OnCalendar=//p' ${UNITS}/dialback-backup.timer`);
      const said = await site.say(
        `systemd-analyze calendar --base-time='2026-11-23 12:00:00' '${when}' 2>&1`,
      );
      assert.match(said, /Next elapse: Tue 2026-11-24 02:30:00/);
    });

    it('changes nothing the second time', async () => {
      const laid = site.changes();
      const compiled = await site.say('stat -c %y dist/launch dist/jail');
      const { status, output: said } = await site.run(['make', 'install']);
      assert.equal(status, 0, said);
      assert.match(said, NOTHING_TO_DO);
      assert.deepEqual(site.changes(), laid);
      assert.equal(await site.say('stat -c %y dist/launch dist/jail'), compiled, 'it does not compile again');
    });

    it('leaves what the admin wrote, renews what nobody changed, and tells which is which', async () => {
      const mine: [path: string, text: string][] = [
        ['/etc/dialback/client.toml', 'name = "mine"\n'],
        ['/etc/dialback/host.toml', 'store = "/srv/mine"\n'],
        ['/etc/dialback/never', '/srv/mine\n'],
        [CRON, `MAILTO=me\n5 5 * * * dialback ${BINARY} backup\n`],
      ];
      for (const [path, text] of mine) writeFileSync(site.machine.path(path), text);
      // A new version of dialback brings others.
      for (const name of ['never', 'excludes'])
        await site.say(`echo '# a line of a new version' >>share/${name}`);
      const { status, output: said } = await site.run(['make', 'install']);
      assert.equal(status, 0, said);
      for (const [path, text] of mine) assert.equal(readFileSync(site.machine.path(path), 'utf8'), text);
      assert.match(await site.say('tail -n 1 /etc/dialback/excludes'), /a new version/);
      assert.match(
        said,
        new RegExp(`^install: /etc/dialback/never is kept, since it was changed; .* ${SHARE}/never$`, 'm'),
      );
      assert.match(await site.say(`tail -n 1 ${SHARE}/never`), /a new version/);
      assert.doesNotMatch(said, /both are off/, 'for the cron line is on');
      // Told once: what is different is known from then on.
      assert.match((await site.run(['make', 'install'])).output, NOTHING_TO_DO);
    });

    const harms: [harm: string, names: RegExp][] = [
      [`setcap -r ${LAUNCHER}`, /launch \(cap_dac_read_search=ep\)/],
      [`setcap cap_dac_read_search,cap_setuid=ep ${LAUNCHER}`, /launch \(cap_dac_read_search=ep\)/],
      [`chgrp root ${LAUNCHER}`, /launch/], // takes the capability along
      [`chmod 755 ${LAUNCHER}`, /launch/],
      [`chown dialback ${LAUNCHER}`, /launch/],
      [`rm ${JAIL}`, /jail/], // as 0.1.0 and 0.1.1 leave it
      [`chmod 700 ${JAIL}`, /jail/],
      [`setcap cap_dac_read_search=ep ${JAIL}`, /jail$/],
      [`setcap -r ${BINARY}`, /bin\/dialback \(cap_dac_read_search=i\)/],
      [`setcap cap_dac_read_search=ep ${BINARY}`, /bin\/dialback \(cap_dac_read_search=i\)/],
      [`rm ${BINARY} && ln -s /bin/sh ${BINARY}`, /bin\/dialback/],
      [`chmod 666 ${UNITS}/dialback-backup.service`, /backup\.service/],
      [`chown dialback ${SHARE}/never`, /\/share \(.*\bsamples\b.* in dialback\/\)$/],
    ];
    // One of each kind; all of them are a soak.
    for (const [harm, names] of some(harms, 10)) {
      it(`mends what \`${harm}\` did, and that alone`, async () => {
        await site.say(harm);
        const { status, output: said } = await site.run(['make', 'install']);
        assert.equal(status, 0, said);
        const lines = said.split('\n').filter(line => line.startsWith('install:'));
        assert.equal(lines.length, 1, said);
        assert.match(lines[0] ?? '', names);
        assert.deepEqual(await owners(site), EXPECTED_OWNERS);
        assert.equal(await capabilities(site), EXPECTED_CAPABILITIES);
      });
    }

    it('leaves the old launcher where the new one does not compile, and nothing beside it', async () => {
      const laid = site.changes();
      await site.say(
        'cp src/launcher/launch.c /tmp/saved && echo "this is no C" >>src/launcher/launch.c && rm dist/launch dist/jail',
      );
      const { status, output: said } = await site.run(['make', 'install']);
      assert.notEqual(status, 0, said);
      assert.match(said, /^launcher: Cannot compile launch from src\/launcher/m);
      await site.say('cp /tmp/saved src/launcher/launch.c && rm /tmp/saved');
      assert.deepEqual(site.changes(), laid);
      assert.equal(await site.say('ls dist /tmp'), '/tmp:\n\ndist:\ndialback');
    });

    // A soak has three times as many moments.
    const delaysMs = Array.from({ length: IS_LONG ? 15 : 3 }, (_, at) =>
      IS_LONG ? 40 * (at + 1) : 200 * (at + 1),
    );
    itLong(
      'killed at any moment leaves each file whole, and never a capability for more than the group',
      async () => {
        const laid = site.changes();
        const bare = `for file in ${LAUNCHER} ${BINARY}; do setcap -q -r $file || true; done`;
        let killed = 0;
        for (const delayMs of delaysMs) {
          await site.say(bare);
          // timeout(1) has a process group of its own, and kills all of it.
          const { status } = await site.shell(`timeout --signal=KILL ${delayMs / 1000} make install`);
          if (status !== 0) killed += 1;
          assert.deepEqual(await owners(site), EXPECTED_OWNERS);
          await site.say(`cmp dist/dialback ${BINARY}`);
          const found = await capabilities(site);
          for (const line of found.split('\n').filter(each => each !== '')) {
            assert.match(
              line,
              /\/(dialback cap_dac_read_search=i|launch cap_dac_read_search=ep|\.dialback-\S+ .*)$/,
            );
            const file = line.split(' ')[0];
            if (line.endsWith('=ep'))
              assert.equal(await site.say(`stat -c '%U:%G %a' ${file}`), 'root:dialback 750');
          }
        }
        assert.ok(killed >= delaysMs.length / 3, `only ${killed} were killed`);
        await site.say(`${bare}; make install`);
        assert.equal(await capabilities(site), EXPECTED_CAPABILITIES);
        const names = (lines: string[]): string[] => lines.map(line => line.split(' ')[0] ?? '');
        assert.deepEqual(names(site.changes()), names(laid), 'nothing is left beside them');
        await site.say('rm -rf dist/launch.* dist/jail.* /tmp/tmp.*'); // of compilations and installations that were killed
      },
    );

    it('is taken away again but for what is the user’s, with the commands for that', async () => {
      await site.say(
        'rm /etc/dialback/never /etc/dialback/client.toml && git checkout -q share 2>/dev/null || true',
      );
      await site.run(['make', 'install']);
      await site.say('systemctl enable dialback-backup.timer 2>&1'); // without a systemd that runs: a link
      // A systemd that runs writes this file when the timer is started.
      await site.say('cd /var/lib/systemd && mkdir -p timers && touch timers/stamp-dialback-backup.timer');
      const wants = '/etc/systemd/system/timers.target.wants/dialback-backup.timer';
      assert.ok((await site.say(`readlink ${wants}`)).endsWith('dialback-backup.timer'));

      const { status, output: said } = await site.run(['make', 'uninstall']);
      assert.equal(status, 0, said);
      const left = site.changes().filter(line => /dialback/.test(line));
      assert.deepEqual(
        left.map(line => line.split(' ')[0]),
        ['/etc/dialback', '/etc/dialback/cron.d.saved', '/etc/dialback/host.toml', '/var/lib/dialback'],
      );
      assert.match(
        said,
        /cron\.d\/dialback; since it was changed, it is kept as \/etc\/dialback\/cron\.d\.saved/,
      );
      assert.match(said, /^Kept: .* \/etc\/dialback \/var\/lib\/dialback, and the account dialback\.$/m);

      const command = matchingLines`^${says('to-remove-those-as-well')}: (.*)$`.exec(said)?.[1] ?? 'false';
      await site.say(command);
      // What useradd and its like write, and the home of the stranger above.
      const accounts = /^\/etc\/(\.pwd\.lock|(sub)?(passwd|shadow|group|gshadow|uid|gid)-?)$|^\/(home|var)\//;
      const names = (lines: string[]): string[] =>
        lines
          .filter(line => !/^\S+ d /.test(line)) // folders: one that was looked into to change it counts as changed
          .map(line => line.split(' ')[0] ?? '')
          .filter(path => !accounts.test(path));
      assert.deepEqual(names(site.changes()), names(untouched));
      const again = await site.run(['make', 'uninstall']);
      assert.equal(again.status, 0, again.output);
      assert.equal(again.output.trim(), `install: ${wording('nothing-to-do-dialback-is')} /usr/local`);
    });
  });

  describeShort('where it cannot', { skip: false }, () => {
    let site: Site;
    let untouched: string[];
    before(async () => {
      site = await Site.make();
      await site.say(`
        mkdir /opt/open /opt/nosuid /opt/linked /opt/real
        chmod 775 /opt/open
        mount -t tmpfs -o nosuid,mode=755 tmpfs /opt/nosuid
        ln -s /opt/real /opt/linked/bin
      `);
      untouched = site.changes();
    });
    after(async () => {
      await site?.machine.end();
    });

    const refusals: [what: string[], says: RegExp][] = [
      [
        ['PREFIX=/opt/open/a'],
        /Cannot install "\/opt\/open\/a\/bin": others than root can write .*"\/opt\/open"/,
      ],
      [['PREFIX=/opt/nosuid'], /Cannot install "\/opt\/nosuid\/bin": .* mounted nosuid/],
      [['PREFIX=/opt/linked'], /Cannot install "\/opt\/linked\/bin": it leads to "\/opt\/real"/],
      [['PREFIX=/opt/a b'], /Cannot use PREFIX="\/opt\/a b": /],
      [['PREFIX=/opt/"; reboot'], /Cannot use PREFIX=/],
      [['PREFIX=opt'], matching`Cannot ${says('use-prefix-it-must-be', 'opt')}`],
      [['PREFIX=/'], /Cannot use PREFIX=\//],
      [['SERVICE_UID=0'], /Cannot serve SERVICE_UID="0"/],
      [['SERVICE_UID=anna'], /Cannot serve SERVICE_UID="anna"/],
      [['INHERITED=yes'], /Cannot use INHERITED="yes"/],
    ];
    for (const [what, says] of refusals) {
      it(`\`make install ${what.join(' ')}\` says so in one line, with what to do, and does nothing`, async () => {
        const { status, output } = await site.run(['make', 'install', ...what]);
        assert.equal(status, 2, output); // make's own
        const lines = output.split('\n').filter(line => !/^make(\[\d+\])?: /.test(line) && line !== '');
        assert.match(lines[0] ?? '', says);
        assert.match(lines[0] ?? '', /^install: Cannot /);
        assert.match(lines[1] ?? '', /^next: \S/);
        assert.equal(lines.length, 2, output);
        assert.deepEqual(site.changes(), untouched);
      });
    }

    it('below another account’s home does not say to take that home away', async () => {
      await site.addUser('bert');
      const home = await site.say('getent passwd bert | cut -d: -f6');
      const before = site.changes();
      const { status, output } = await site.run(['make', 'install', `PREFIX=${home}/local`]);
      assert.equal(status, 2, output);
      assert.match(output, /others than root can write the folder/);
      assert.match(
        output,
        /^next: choose a PREFIX in which root alone can change every folder, such as \/usr\/local$/m,
      );
      assert.deepEqual(site.changes(), before);
    });

    it('says to somebody who is not root what would', async () => {
      const anna = await site.addUser('anna');
      for (const what of ['install', 'uninstall']) {
        const { status, output } = await site.run(['make', what], anna);
        assert.equal(status, 2, output);
        assert.match(
          output,
          matchingLines`^install: Cannot change "\/usr\/local", \/${says('etc-and-the-accounts-only')}$`,
        );
        assert.match(output, new RegExp(`^next: sudo make ${what} `, 'm'));
      }
    });

    it('does not serve a number that is not the account’s', async () => {
      await site.say('useradd --system --uid 444 --user-group dialback');
      const laid = site.changes();
      const { status, output } = await site.run(['make', 'install', 'SERVICE_UID=445']);
      assert.equal(status, 2, output);
      assert.match(output, /^install: Cannot serve SERVICE_UID=445: the user dialback has the number 444$/m);
      assert.deepEqual(site.changes(), laid);
    });
  });

  describeLong('with another PREFIX, and an account that is there already', { skip: false }, () => {
    let site: Site;
    before(async () => {
      site = await Site.make();
      // As the README had it before there was `make install`: a host.
      await site.say(
        `useradd --system --uid ${SERVICE_UID} --create-home --home-dir /srv/home --shell /bin/sh dialback`,
      );
      site.compile({ SERVICE_UID, PREFIX: '/opt/backup' });
    });
    after(async () => {
      await site?.machine.end();
    });

    it('leaves the account alone, and names the PREFIX in the units and the cron line', async () => {
      const account = await site.say('getent passwd dialback');
      const { status, output } = await site.run(['make', 'install', 'PREFIX=/opt/backup/']);
      assert.equal(status, 0, output);
      assert.equal(await site.say('getent passwd dialback'), account);
      assert.match(
        await site.say('cat /etc/systemd/system/dialback-backup.service'),
        /^ExecStart=\/opt\/backup\/bin\/dialback backup$/m,
      );
      assert.match(await site.say(`tail -n 1 ${CRON}`), / \/opt\/backup\/bin\/dialback backup$/);
      assert.equal(await site.say('systemd-analyze verify dialback-backup.timer 2>&1'), '');
      assert.match(
        output,
        /^next, on a client: runuser --pty -u dialback -- \/opt\/backup\/bin\/dialback init$/m,
      );
      assert.match(await site.say('getcap /opt/backup/libexec/dialback/launch'), / cap_dac_read_search=ep$/);
    });

    it('is not taken away by an uninstall of another PREFIX', async () => {
      const laid = site.changes();
      const { output } = await site.run(['make', 'uninstall']);
      assert.match(output, matching`${says('nothing-to-do-dialback-is')} \/usr\/local`);
      assert.deepEqual(site.changes(), laid);
    });

    it('says whose login shell goes with it, and not to remove the folder that the backups are in', async () => {
      await site.say('usermod --shell /opt/backup/bin/dialback dialback');
      const store = '/var/lib/dialback/dialback-store'; // where enroll makes one unless told
      await site.say(`mkdir -p ${store} && echo '{"version":1}' >${store}/store.json`);
      const { status, output } = await site.run(['make', 'uninstall', 'PREFIX=/opt/backup']);
      assert.equal(status, 0, output);
      assert.match(output, /^The login shell of dialback was \/opt\/backup\/bin\/dialback\./m);
      assert.match(
        output,
        /^Backups are in \/var\/lib\/dialback, .*: \/var\/lib\/dialback\/dialback-store$/m,
      );
      assert.doesNotMatch(output, /rm -r|userdel/);
      assert.ok(!existsSync(site.machine.path('/etc/systemd/system/dialback-backup.service')));
      assert.equal(
        await site.say('find /opt/backup | sort'),
        '/opt/backup\n/opt/backup/bin\n/opt/backup/share',
      );
    });
  });

  describe('with INHERITED=1', () => {
    let site: Site;
    const capability = async (): Promise<string> => await site.say('getcap /usr/bin/rsync');
    const given = '/usr/bin/rsync cap_dac_read_search=ei';
    before(async () => {
      site = await Site.make();
      site.compile({ SERVICE_UID, INHERITED: '1' });
      const { status, output } = await site.run([
        'make',
        'install',
        'INHERITED=1',
        `SERVICE_UID=${SERVICE_UID}`,
      ]);
      assert.equal(status, 0, output);
    });
    after(async () => {
      await site?.machine.end();
    });

    it('gives rsync its capability, once', async () => {
      assert.equal(await capability(), given);
      const laid = site.changes();
      for (const more of [['INHERITED=1'], []]) {
        const { output } = await site.run(['make', 'install', ...more]);
        assert.match(output, NOTHING_TO_DO);
      }
      assert.deepEqual(site.changes(), laid);
    });

    itLong('has it given again when the package is installed anew', async () => {
      const file = await site.packRsync();
      const inode = await site.say('stat -c %i /usr/bin/rsync');
      const said = await site.say(`dpkg -i ${file} 2>&1`);
      assert.notEqual(await site.say('stat -c %i /usr/bin/rsync'), inode, said);
      assert.equal(await capability(), given, said);
    });

    itLong('takes it away again with INHERITED=0', async () => {
      const { status, output } = await site.run(['make', 'install', 'INHERITED=0']);
      assert.equal(status, 0, output);
      assert.equal(await capability(), '');
      assert.ok(!existsSync(site.machine.path(HOOK)));
      assert.match(output, /^install: \/usr\/bin\/rsync has no capability any more$/m);
    });

    it('takes it away with all the rest', async () => {
      await site.say('make install INHERITED=1');
      assert.equal(await capability(), given);
      const { status, output } = await site.run(['make', 'uninstall']);
      assert.equal(status, 0, output);
      assert.equal(await capability(), '');
      assert.ok(!existsSync(site.machine.path(HOOK)));
    });

    itLong('leaves one that rsync had before', async () => {
      await site.say(
        'setcap cap_dac_read_search=ei /usr/bin/rsync && export INHERITED=1 && make install && make install',
      );
      await site.say('make uninstall');
      assert.equal(await capability(), given);
      assert.ok(!existsSync(site.machine.path(HOOK)));
    });

    itLong('does not put its own over another', async () => {
      await site.say('setcap cap_net_admin=ei /usr/bin/rsync');
      const { status, output } = await site.run(['make', 'install', 'INHERITED=1']);
      assert.equal(status, 2, output);
      assert.match(
        output,
        /^install: Cannot give rsync the capability .*: it has another one .*cap_net_admin=ei/m,
      );
      assert.equal(await capability(), '/usr/bin/rsync cap_net_admin=ei');
    });
  });

  describe('with DESTDIR', () => {
    let site: Site;
    let script = '';
    const stage = '/home/anna/a $package';
    before(async () => {
      site = await Site.make();
    });
    after(async () => {
      await site?.machine.end();
    });

    it('puts all below it, as an ordinary user, and touches nothing else', async () => {
      const anna = await site.addUser('anna');
      site.compile({ SERVICE_UID: '777' });
      await site.say(`chown -R anna: .`);
      const untouched = site.changes(['/home/anna']);
      const { status, output } = await site.shell(
        `make install DESTDIR='${stage.replace('$', '$$$$')}' SERVICE_UID=777 >~/postinst`,
        anna,
      );
      assert.equal(status, 0, output);
      assert.deepEqual(site.changes(['/home/anna']), untouched);
      const inside = await site.say(`cd '${stage}' && find . -type f -printf '/%P %m\\n' | sort`);
      const expected = LAID.filter(([path]) => path !== '/etc/dialback' && path !== '/var/lib/dialback');
      assert.deepEqual(
        inside.split('\n'),
        expected.map(([path, owner]) => `${path} ${owner.split(' ')[1]}`).sort(),
      );
      script = await site.say('cat /home/anna/postinst');
    });

    it('says on standard output what a package has to do after it, and nothing else', async () => {
      for (const line of script.split('\n'))
        assert.match(line, /^(# |getent |test |chown |chmod |setcap |if test )/, 'a line of the script');
      await site.say(`cp -r --preserve=mode '${stage}/.' / && sh -eux /home/anna/postinst`);
      assert.deepEqual(await owners(site), EXPECTED_OWNERS);
      assert.equal(await capabilities(site), EXPECTED_CAPABILITIES);
      assert.equal(await site.say('id -u dialback'), '777');
    });

    itLong('makes with that what `make install` makes', async () => {
      const { status, output } = await site.run(['make', 'install', 'SERVICE_UID=777']);
      assert.equal(status, 0, output);
      assert.match(output, NOTHING_TO_DO);
    });

    it('needs the number of the account', async () => {
      await site.say('userdel dialback');
      const { status, output } = await site.run(['make', 'install', 'DESTDIR=/tmp/package']);
      assert.equal(status, 2, output);
      assert.match(output, /^next: make install DESTDIR=FOLDER SERVICE_UID=NUMBER$/m);
      assert.ok(!existsSync(site.machine.path('/tmp/package')));
    });
  });
});

describeLong('make install without a compiler and npm', { skip: SKIP }, () => {
  let site: Site;
  before(async () => {
    site = await Site.make();
    site.compile({ SERVICE_UID: '445' });
    await site.say('cd / && rm "$(command -v gcc)" "$(command -v npm)" && ! command -v cc gcc npm');
  });
  after(async () => {
    await site?.machine.end();
  });

  /** Nothing of an installation may be there. */
  async function refused(words: string[], found: RegExp, next: RegExp): Promise<void> {
    const { status, output } = await site.run(['make', 'install', ...words]);
    assert.equal(status, 2, output);
    assert.match(output, found);
    assert.match(output, next);
    assert.ok(!existsSync(site.machine.path(LAUNCHER)), output);
    assert.ok(!existsSync(site.machine.path(BINARY)), output);
    assert.notEqual((await site.shell('getent passwd dialback')).status, 0, 'no account was made');
  }
  const RECOMPILE = /^next: rm dist\/launch dist\/jail, and make install again with a compiler/m;

  it('refuses a launcher that was compiled for another uid or other paths', async () => {
    const found = matchingLines`^install: Cannot ${says('use-the-compiled-launcher-dist')}\/launch: ${says('it-was-and-not-for', /built for uid=445 .*/)}`;
    await refused(['SERVICE_UID=446'], found, RECOMPILE);
    await refused(['PREFIX=/opt/dialback'], found, RECOMPILE);
  });

  it('refuses one that does not say what it was compiled for, and one for a uid that somebody has', async () => {
    await site.say('mv dist/launch /root/launch && cp /bin/true dist/launch');
    await refused(['SERVICE_UID=445'], /: it was built by another version, and not for uid=445 /, RECOMPILE);
    await site.say('cp -p /root/launch dist/launch && mv dist/jail /root/jail && cp /bin/true dist/jail');
    await refused(
      [],
      /compiled launcher dist\/jail: it was built by another version, and not for self=/,
      RECOMPILE,
    );
    await refused(
      ['INHERITED=1'],
      /compiled launcher dist\/launch: it was built for uid=445 inherited=0 .*, and not for uid=445 inherited=1 /,
      RECOMPILE,
    );
    await site.say('cp -p /root/jail dist/jail && useradd --uid 445 somebody');
    await refused(
      [],
      /^install: Cannot make the user dialback with the number 445: the user somebody has it$/m,
      RECOMPILE,
    );
    await site.say('userdel somebody');
  });

  it('refuses a launcher and an executable that are older than their sources', async () => {
    await site.say('touch src/launcher/launch.c');
    await refused([], /dist\/launch: it is older than src\/launcher\/launch\.c$/m, RECOMPILE);
    await site.say('touch dist/launch dist/jail src/main.ts');
    const touch = /^next: .*if it was built from these sources: touch dist\/dialback$/m;
    await refused(
      [],
      matchingLines`^install: Cannot ${says('build-dist-dialback-there-is-no')} .* ${says('older-than-its-sources')}$`,
      touch,
    );
    await site.say('mv dist/dialback /root/dialback');
    await refused(
      [],
      matchingLines`^install: Cannot ${says('build-dist-dialback-there-is')}$`,
      matchingLines`^next: .* ${says('a-tree-with-a-built')}$`,
    );
    await site.say('mv /root/dialback dist/dialback && touch dist/dialback');
  });

  it('makes a package of what was built', async () => {
    const { status, output } = await site.run(['make', 'install', 'DESTDIR=/root/package']);
    assert.equal(status, 0, output);
    assert.match(output, /^test "\$\(id -u dialback\)" = 445$/m);
    await site.say(`cmp dist/launch /root/package${LAUNCHER} && cmp dist/jail /root/package${JAIL}`);
    await site.say(`cmp dist/dialback /root/package${BINARY}`);
  });

  it('installs what was built, for the uid that the launcher serves', async () => {
    const { status, output } = await site.run(['make', 'install']);
    assert.equal(status, 0, output);
    assert.deepEqual(await owners(site), EXPECTED_OWNERS);
    assert.equal(await capabilities(site), EXPECTED_CAPABILITIES);
    assert.equal(await site.say('id -u dialback'), '445');
    assert.match((await site.run(['make', 'install'])).output, NOTHING_TO_DO);
  });

  it('refuses a launcher for another uid than the user dialback has', async () => {
    await site.say('usermod --uid 447 dialback');
    const { status, output } = await site.run(['make', 'install']);
    assert.equal(status, 2, output);
    assert.match(output, matching`${says('it-was-and-not-for', /built for uid=445 .*/)} uid=447 `);
  });
});

describeLong('make launcher-arm64', { skip: SKIP }, () => {
  it('compiles', async () => {
    const site = await Site.make();
    try {
      const { status, output } = await site.run(['make', 'launcher-arm64', 'SERVICE_UID=777']);
      assert.equal(status, 0, output);
      for (const kind of ['launch', 'jail']) {
        const file = readFileSync(site.machine.path(`${site.folder}/dist/${kind}-arm64`));
        assert.equal(file.readUInt16LE(18), 183, 'EM_AARCH64');
      }
    } finally {
      await site.machine.end();
    }
  });
});
