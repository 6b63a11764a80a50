// Goal: where one thing of the launcher is broken, `doctor` finds that and nothing else, and the command that it names fixes it.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, renameSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, describe } from 'node:test';
import type { Finding } from '../../../src/doctor/finding.ts';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { Doctor, lines } from '../../support/doctor.ts';
import { itLong, itShort } from '../../support/long.ts';
import { matching, says } from '../../support/wording.ts';
import {
  compileLauncher,
  mayMakeNamespaces,
  NEEDS_ROOT,
  type Party,
  putExecutable,
  type World,
} from '../../support/world.ts';

describe('doctor with the launcher', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let doctor: Doctor;
  let world: World;
  let client: Party;
  let host: Party;
  before(async () => {
    doctor = await Doctor.make();
    ({ world } = doctor);
    ({ client, host } = world);
  });
  after(async () => {
    await world.dispose();
  });

  const setcap = (path: string, capability: string): void => {
    execFileSync('setcap', [`cap_dac_read_search=${capability}`, path], { stdio: 'pipe' });
  };
  /** As `make install` would have it; a chown takes the capability. */
  function install(mode = 0o750): void {
    world.installLauncher();
    chownSync(world.launcher, 0, client.gid);
    chmodSync(world.launcher, mode);
    setcap(world.launcher, 'ep');
  }

  before(async () => {
    assert.equal((await world.backup()).status, 0); // the clocks are compared by it
    install();
    world.configure({ scope: `roots = ["${world.data}"]` });
    doctor.usual.set(client, lines(await doctor.look(client)));
  });

  itShort('finds the jail standing', async () => {
    const findings = await doctor.look(client);
    const all = new Map(findings.map(each => [each.check, each.state]));
    const names = [...all.keys()].filter(each => /^launcher\.|jail|confinement|kernel|privilege/.test(each));
    assert.deepEqual(names.sort(), [
      'client.confinement',
      'client.jail',
      'launcher.capability',
      'launcher.file',
      'launcher.folders',
      'launcher.group',
      'launcher.mount',
      'launcher.run',
      'machine.kernel',
      'machine.privilege',
    ]);
    for (const name of names) assert.equal(all.get(name), 'ok', name);
    // This world's list is not the system's, which need not be there: of that alone it warns.
    const list = lines(findings).filter(each => each !== 'warning client.never_list');
    assert.deepEqual(list, []);
  });

  itShort('reads roots that only root may look into', async () => {
    const secret = join(world.base, "root's own");
    mkdirSync(secret, { mode: 0o700 });
    world.configure({ scope: `roots = ["${world.data}", "${secret}"]` });
    await doctor.isWell(client);
    world.configure({
      top: `name = "${world.name}"\ncapability = "none"`,
      scope: `roots = ["${world.data}", "${secret}"]`,
    });
    await doctor.only(client, 'warning', 'client.roots', /may not read/);
    world.configure();
  });

  itLong(
    'one that has lost its capability, belongs to somebody, or can be run or changed by others',
    async () => {
      const unset = (): void => {
        execFileSync('setcap', ['-r', world.launcher], { stdio: 'pipe' });
      };
      const wrong: [how: () => void, check: string, found: RegExp, jail: boolean][] = [
        [
          () => setcap(world.launcher, 'i'),
          'launcher.capability',
          /has cap_dac_read_search=i, and needs/,
          true,
        ],
        [unset, 'launcher.capability', /has no capability/, true],
        [() => chmodSync(world.launcher, 0o770), 'launcher.file', says('can-be-written-by-others'), true],
        [() => chmodSync(world.launcher, 0o755), 'launcher.file', says('every-account-can-run'), false],
        [
          () => chmodSync(dirname(world.launcher), 0o777),
          'launcher.folders',
          says('can-be-written-by-others'),
          true,
        ],
      ];
      for (const [how, check, found, breaks] of wrong) {
        how();
        const findings = await doctor.fresh(client);
        assert.deepEqual(
          findings.map(each => each.check).sort(),
          (breaks ? ['client.jail', check] : [check]).sort(),
          check,
        );
        const finding = findings.find(each => each.check === check);
        assert.match(finding?.found ?? '', found);
        doctor.obey('root', finding?.next ?? '');
        await doctor.isWell(client);
      }
    },
  );

  itLong("one that is somebody else's", async () => {
    chownSync(world.launcher, client.uid, client.gid);
    const finding = (await doctor.fresh(client)).find(each => each.check === 'launcher.file');
    assert.equal(finding?.state, 'critical');
    doctor.obey('root', finding?.next ?? '');
    await doctor.isWell(client);
  });

  itLong('one that this account may not run, and one that was made for another', async () => {
    chownSync(world.launcher, 0, 0);
    setcap(world.launcher, 'ep');
    const found = lines(await doctor.fresh(client));
    assert.deepEqual(found, ['critical launcher.run', 'critical client.jail']);
    install();
    await doctor.isAsBefore(client);

    compileLauncher({
      to: world.launcher,
      serviceUid: host.uid,
      rsync: '/usr/bin/rsync',
      dialback: world.binary,
      never: world.neverList,
    });
    chownSync(world.launcher, 0, client.gid);
    chmodSync(world.launcher, 0o750);
    setcap(world.launcher, 'ep');
    const next = await doctor.only(
      client,
      'critical',
      'client.jail',
      matching`${says('it-was-made-for-uid-and', /\d+/)} \d+$`,
    );
    assert.equal(next.split(',')[0], `runuser --pty -u "$(id -nu ${host.uid})" -- dialback doctor`);
    install();
    await doctor.isAsBefore(client);
  });

  itLong('another account in its group', async () => {
    const group = execFileSync('/usr/bin/id', ['-gn', client.login]).toString().trim();
    execFileSync('/usr/sbin/usermod', ['--append', '--groups', group, host.login]);
    const next = await doctor.only(
      client,
      'warning',
      'launcher.group',
      new RegExp(`are also: ${host.login}$`),
    );
    assert.equal(next, `gpasswd --delete ${host.login} ${group}`);
    doctor.obey('root', next);
    await doctor.isWell(client);
  });

  itLong('a mount that gives no capabilities', async () => {
    const folder = dirname(world.launcher);
    execFileSync('mount', ['--bind', folder, folder]);
    try {
      execFileSync('mount', ['-o', 'remount,bind,nosuid', folder]);
      const findings = await doctor.fresh(client);
      const finding = findings.find(each => each.check === 'launcher.mount');
      assert.equal(finding?.state, 'critical');
      assert.ok(findings.some(each => each.check === 'client.jail'));
    } finally {
      execFileSync('umount', [folder]);
    }
    await doctor.isWell(client);
  });

  itShort('a caller that may not be given any', async () => {
    const privileges = async (args: string[]): Promise<Finding | undefined> => {
      const account = ['--reuid', String(client.uid), '--regid', String(client.gid), '--clear-groups'];
      const command = [
        ...args,
        ...account,
        '--',
        world.binary,
        'doctor',
        '--json',
        '--config',
        world.clientToml,
      ];
      const { stdout } = await world.start('root', '/usr/bin/setpriv', command, {
        environment: { HOME: client.home },
      }).done;
      return (JSON.parse(stdout) as Finding[]).find(each => each.check === 'machine.privilege');
    };
    assert.equal((await privileges([]))?.state, 'ok');
    assert.match((await privileges(['--no-new-privs']))?.found ?? '', /no_new_privs/);
    assert.match((await privileges(['--bounding-set', '-dac_read_search']))?.found ?? '', /bounding set/);
  });

  itLong('none, though the config wants one', async () => {
    renameSync(world.launcher, `${world.launcher} away`);
    world.configure({ top: `name = "${world.name}"\ncapability = "confined"` });
    const found = lines(await doctor.fresh(client));
    assert.deepEqual(found, ['critical launcher.file', 'critical client.jail']);
    renameSync(`${world.launcher} away`, world.launcher);
    world.configure();
    await doctor.isAsBefore(client);
  });

  itLong('the chain of "inherited"', async () => {
    putExecutable(world.binary, true); // it gets a capability
    world.configure({ top: `name = "${world.name}"\ncapability = "inherited"` });
    const findings = await doctor.look(client);
    const own = findings.find(each => each.check === 'machine.inherited');
    const rsync = findings.find(each => each.check === 'machine.inherited_rsync');
    assert.equal(own?.state, 'critical');
    assert.equal(rsync?.next, "setcap cap_dac_read_search=ei '/usr/bin/rsync'"); // the system's: not tried here
    doctor.obey('root', own?.next ?? '');
    const after = (await doctor.look(client)).find(each => each.check === 'machine.inherited');
    assert.equal(after?.state, 'ok');
    execFileSync('setcap', ['-r', world.binary], { stdio: 'pipe' });
    world.configure();
  });

  itLong('on the host, a jail of its own', async () => {
    chmodSync(world.launcher, 0o700); // a host does not need it
    const findings = await doctor.look(host);
    const jail = findings.find(each => each.check === 'host.jail')?.state;
    assert.equal(jail, mayMakeNamespaces(host) ? 'ok' : 'warning');
    assert.equal(findings.find(each => each.check === 'machine.kernel')?.state, 'ok');
    assert.ok(!findings.some(each => each.state === 'critical'), lines(findings).join(', '));
    for (const [mode, found] of [
      [0o700, matching`${says('may-not-run-mode')} 0700\)$`],
      [0o757, matching`${says('can-be-written-by-others-mode')} 0757\)$`],
    ] as const) {
      chmodSync(world.jail, mode);
      const wrong = await doctor.fresh(host);
      assert.deepEqual(lines(wrong), ['critical launcher.jail', 'critical host.jail']);
      assert.match(wrong.find(each => each.check === 'launcher.jail')?.found ?? '', found);
    }
  });
});
