// Goal: on a host, the next step that `doctor` names mends what it found, as it is printed, and leads in no circle: for the
// account's folders, keys, packages and sshd. next-steps-host-store has the rest.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { dirname, join } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import { addUser, removeUser } from '../../support/accounts.ts';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { Follower, hide, mount, packageOwning, worstOf } from '../../support/steps.ts';
import { matching, says, wording } from '../../support/wording.ts';
import { makeFolder, NEEDS_ROOT, type Party, World } from '../../support/world.ts';

describe('a next step of doctor on a host', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let world: World;
  let follower: Follower;
  let host: Party;
  const undone: (() => void)[] = [];

  before(async () => {
    world = await World.make();
    follower = new Follower(world);
    ({ host } = world);
    world.write(world.client, join(world.data, 'file'), 'content');
  });
  afterEach(() => {
    for (const undo of undone.splice(0).reverse()) undo();
  });
  after(async () => {
    await world.dispose();
  });

  const next = async (check: string, found: RegExp): Promise<string> =>
    await follower.nextOf(host, check, found);
  const isWell = async (...checks: string[]): Promise<void> => await follower.isWell(host, ...checks);

  it('for what belongs to the account alone gives it back, or makes it', async () => {
    const local = join(host.home, '.local');
    const state = join(local, 'state/dialback');
    const fresh = (): void => {
      rmSync(local, { recursive: true, force: true });
      mkdirSync(state, { recursive: true, mode: 0o700 });
      for (const each of [local, dirname(state), state]) world.own(host, each);
    };
    const defects: [make: () => void, found: RegExp, step: RegExp][] = [
      [() => chmodSync(state, 0o500), /cannot write to/, /^chmod 700 /],
      [() => chownSync(state, 0, 0), matching`${says('it-belongs-to-uid')} 0, not to`, /^as root: chown -R /],
      [
        () => {
          chownSync(local, world.client.uid, 0);
          chmodSync(local, 0o755);
        },
        says('above-it-belongs-to-uid'),
        /^as root: chown -R /,
      ],
      [() => chmodSync(local, 0o777), says('above-it-can-be-written'), /^chmod go-w '[^']*', or name/],
      [
        () => {
          rmSync(state, { recursive: true });
          world.write(host, state, 'a file');
        },
        /it is not a folder$/,
        /^mv /,
      ],
      [
        () => chownSync(local, world.client.uid, 0),
        says('this-account-cannot-create-it-in'),
        /^as root: chown -R /,
      ],
      [() => chmodSync(local, 0), says('this-account-cannot-create-it-in'), /^chmod u\+rwx /],
      [
        () => {
          rmSync(local, { recursive: true });
          chownSync(host.home, 0, 0);
          chmodSync(host.home, 0o755);
        },
        says('this-account-cannot-create-it-in'),
        /^as root: install -d /,
      ],
    ];
    for (const [make, found, expected] of defects) {
      fresh();
      make();
      const step = await next('host.state', found);
      assert.match(step, expected);
      await follower.follow(host, step.replace(matching`, ${says('or-name-another-folder')}$`, ''));
      await isWell('host.state');
    }
    world.own(host, host.home);
    chmodSync(host.home, 0o700);
    rmSync(local, { recursive: true });
  });

  it('for a home folder with too long a name makes a shorter way to it, and leaves all in its place', async () => {
    const base = makeFolder('/var/lib');
    const home = join(base, `a $home ${'x'.repeat(80)}`);
    const login = 'dbtest-long-home';
    mkdirSync(home, { mode: 0o700 });
    try {
      const { uid, gid } = addUser(login, { home });
      chownSync(home, uid, gid);
      const party = (): Party => {
        const passwd = execFileSync('getent', ['passwd', login], { encoding: 'utf8' });
        return { login, uid, gid, home: passwd.split(':')[5] ?? '' };
      };
      const key = readFileSync(join(world.client.home, '.ssh/id_ed25519.pub'), 'utf8');
      await follower.follow(party(), 'mkdir -m 700 ~/.ssh && dialback enroll oak -', key);
      const step = worstOf(await follower.doctor(party()), 'host.state').next ?? '';
      const link = join(base, 'h');
      const command = step
        .replace(matching`, ${says('with-a-short-dir-of')}$`, '')
        .replaceAll('DIR', `'${link}'`);
      assert.notEqual(command, step);
      await follower.follow(party(), command);
      const findings = await follower.doctor(party());
      for (const check of ['host.state', 'host.store', 'host.authorized_keys'])
        assert.equal(worstOf(findings, check).state, 'ok', worstOf(findings, check).found);
    } finally {
      removeUser(login);
      rmSync(base, { recursive: true });
    }
  });

  it('for an authorized_keys that cannot be read, or has no key of a client', async () => {
    const keys = world.authorizedKeys;
    chmodSync(keys, 0o000);
    await follower.follow(host, await next('host.authorized_keys', /EACCES|permission/i));
    await isWell('host.authorized_keys');

    const text = readFileSync(keys, 'utf8');
    world.write(host, keys, '');
    const away = `${world.store} away`;
    renameSync(world.store, away);
    assert.equal(
      await next('host.authorized_keys', says('no-client-is-enrolled')),
      wording('mount-the-disk-of-the'),
    );
    renameSync(away, world.store);
    const enroll = await next('host.authorized_keys', says('no-client-is-enrolled'));
    const file = join(host.home, 'the key.pub');
    writeFileSync(file, readFileSync(join(world.client.home, '.ssh/id_ed25519.pub')));
    await follower.follow(host, enroll.replace('NAME', world.name).replace('KEYFILE', `'${file}'`));
    await isWell('host.authorized_keys', 'host.store');
    assert.equal(readFileSync(keys, 'utf8'), text);
  });

  it('for a jail that is not there says so in the config', async () => {
    const step = await next('host.confinement', matching`${says('because-there-is-no-launcher')}$`);
    await follower.follow(host, step.replace(matching`^.*; ${says('or-to-do-without')}: `, ''));
    await isWell('host.confinement');
  });

  it('for a program that is not installed names its package', async () => {
    const show = hide('/usr/bin/getfattr');
    undone.push(show);
    const step = await next('host.reader', /getfattr$/);
    assert.equal(step, `apt-get install ${packageOwning('/usr/bin/getfattr')}`);
    show();
    await isWell('host.reader');
  });

  describe('about sshd', () => {
    let server: Server;
    let config: string;
    /** Puts another sshd_config in its place. */
    const configure = (text: string, mode: number): void => {
      config = join(world.base, 'sshd_config');
      rmSync(config, { force: true });
      writeFileSync(config, text);
      chmodSync(config, mode);
      undone.push(mount('--bind', config, '/etc/ssh/sshd_config'));
    };

    before(async () => {
      server = createServer(each => each.destroy());
      await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
    });
    after(async () => {
      await new Promise(resolve => server.close(resolve));
    });
    const port = (): number => {
      const address = server.address();
      return typeof address === 'object' && address ? address.port : 0;
    };

    it('shows root the settings that the account may not read', async () => {
      configure('PubkeyAuthentication no\n', 0o600);
      const step = await next('host.sshd_config', says('cannot-read-the-settings'));
      assert.match(await follower.follow(host, step), /^pubkeyauthentication no$/m);
    });

    it('for a password that may be locked gives the account one that is not', async () => {
      configure(`Port ${port()}\nUsePAM no\nUsePAM yes\n`, 0o644);
      await follower.follow(host, await next('host.sshd', /password of ".*" is locked/));
      await isWell('host.sshd');
    });
  });
});
