// Goal: on a host, the next step that `doctor` names mends what it found, as it is printed, and leads in no circle; a step that only
// shows something shows the thing that is in the way.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  appendFileSync,
  chmodSync,
  chownSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Server } from 'node:net';
import { dirname, join } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import type { Finding } from '../../../src/finding.ts';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { Follower, findingOf, hide, packageOwning } from '../../support/steps.ts';
import {
  addUser,
  makeFolder,
  mayMakeNamespaces,
  NEEDS_ROOT,
  type Party,
  World,
} from '../../support/world.ts';

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

  const find = async (check: string): Promise<Finding> => findingOf(await follower.doctor(host), check);
  /** One thing is not well. @returns what is to be done */
  const next = async (check: string, found: RegExp): Promise<string> => {
    const finding = await find(check);
    assert.notEqual(finding.state, 'ok', finding.found);
    assert.match(finding.found, found);
    return finding.next ?? '';
  };
  const isWell = async (...checks: string[]): Promise<void> => {
    const findings = await follower.doctor(host);
    for (const check of checks) {
      const finding = findingOf(findings, check);
      assert.equal(finding.state, 'ok', `${check}: ${finding.found}`);
    }
  };
  const mount = (...words: string[]): void => {
    execFileSync('mount', words, { stdio: 'pipe' });
    const point = words.at(-1) ?? '';
    undone.push(() => execFileSync('umount', [point]));
  };

  it('for what belongs to the account alone gives it back, or makes it', async () => {
    const local = join(host.home, '.local');
    const state = join(local, 'state/dialback');
    const fresh = (): void => {
      rmSync(local, { recursive: true, force: true });
      mkdirSync(state, { recursive: true, mode: 0o700 });
      for (const each of [local, dirname(state), state]) world.own(host, each);
    };
    const defects: [make: () => void, found: RegExp, step: RegExp][] = [
      [() => chmodSync(state, 0o500), /cannot be written to$/, /^chmod 700 /],
      [() => chownSync(state, 0, 0), /it belongs to uid 0, not to/, /^as root: chown -R /],
      [
        () => {
          chownSync(local, world.client.uid, 0);
          chmodSync(local, 0o755);
        },
        /above it belongs to uid/,
        /^as root: chown -R /,
      ],
      [() => chmodSync(local, 0o777), /above it can be written by others/, /^chmod go-w '[^']*', or name/],
      [
        () => {
          rmSync(state, { recursive: true });
          world.write(host, state, 'a file');
        },
        /it is not a folder$/,
        /^mv /,
      ],
      [() => chownSync(local, world.client.uid, 0), /this account cannot make it in/, /^as root: chown -R /],
      [() => chmodSync(local, 0), /this account cannot make it in/, /^chmod u\+rwx /],
      [
        () => {
          rmSync(local, { recursive: true });
          chownSync(host.home, 0, 0);
          chmodSync(host.home, 0o755);
        },
        /this account cannot make it in/,
        /^as root: install -d /,
      ],
    ];
    for (const [make, found, expected] of defects) {
      fresh();
      make();
      const step = await next('host.state', found);
      assert.match(step, expected);
      await follower.follow(host, step.replace(/, or name another folder$/, ''));
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
      const { uid, gid } = addUser(login, ['--no-create-home', '--home-dir', home, '--shell', '/bin/sh']);
      chownSync(home, uid, gid);
      const party = (): Party => {
        const passwd = execFileSync('getent', ['passwd', login], { encoding: 'utf8' });
        return { login, uid, gid, home: passwd.split(':')[5] ?? '' };
      };
      const key = readFileSync(join(world.client.home, '.ssh/id_ed25519.pub'), 'utf8');
      await follower.follow(party(), 'mkdir -m 700 ~/.ssh && dialback enroll oak -', key);
      const step = findingOf(await follower.doctor(party()), 'host.state').next ?? '';
      const link = join(base, 'h');
      const command = step
        .replace(/, with a short DIR of letters and digits$/, '')
        .replaceAll('DIR', `'${link}'`);
      assert.notEqual(command, step);
      await follower.follow(party(), command);
      const findings = await follower.doctor(party());
      for (const check of ['host.state', 'host.store', 'host.authorized_keys'])
        assert.equal(findingOf(findings, check).state, 'ok', findingOf(findings, check).found);
    } finally {
      execFileSync('/usr/sbin/userdel', [login], { stdio: 'pipe' });
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
      await next('host.authorized_keys', /nobody is enrolled/),
      'mount the disk of the store first',
    );
    renameSync(away, world.store);
    const enroll = await next('host.authorized_keys', /nobody is enrolled/);
    const file = join(host.home, 'the key.pub');
    writeFileSync(file, readFileSync(join(world.client.home, '.ssh/id_ed25519.pub')));
    await follower.follow(host, enroll.replace('NAME', world.name).replace('KEYFILE', `'${file}'`));
    await isWell('host.authorized_keys', 'host.store');
    assert.equal(readFileSync(keys, 'utf8'), text);
  });

  it('for a jail that is not there says so in the config', async () => {
    const step = await next('host.confinement', /since there is no launcher$/);
    await follower.follow(host, step.replace(/^.*; or, if that is meant: /, ''));
    await isWell('host.confinement');
  });

  it('for a store that cannot be written to, and shows a mount that is the reason', async () => {
    chmodSync(world.store, 0o500);
    await follower.follow(host, await next('host.store', /cannot be written to/));
    await isWell('host.store');
    mount('--bind', world.store, world.store);
    execFileSync('mount', ['-o', 'remount,bind,ro', world.store]);
    const said = await follower.follow(host, await next('host.store', /mounted read-only/));
    assert.match(said, /^\/\S+.* ro,/m);
    execFileSync('mount', ['-o', 'remount,bind,rw', world.store]);
    await isWell('host.store');
  });

  it('for a store of another account asks as that account', async () => {
    const toml = join(world.client.home, 'host.toml');
    world.write(world.client, toml, readFileSync(world.hostToml));
    chmodSync(host.home, 0o711);
    chmodSync(world.store, 0o755);
    for (const mode of [0o600, 0o644]) {
      chmodSync(join(world.store, 'store.json'), mode);
      const { stdout } = await world.run(world.client, ['doctor', '--json', '--host', '--config', toml]);
      const step = findingOf(JSON.parse(stdout) as Finding[], 'host.store').next ?? '';
      if (mode === 0o644) assert.match(step, /, since that account receives$/);
      const told = await follower.shell('root', step.replace(/, since that account receives$/, ''));
      assert.match(told.stdout, /^ {2}critical +store: ".*" is open to others \(mode 0755\)/m);
    }
    chmodSync(host.home, 0o700);
    chmodSync(world.store, 0o700);
    rmSync(toml);
  });

  it('for a disk that is full shows what fills it', async () => {
    const disk = join(world.base, 'small disk');
    mkdirSync(disk);
    mount('-t', 'tmpfs', '-o', 'size=32m,nr_inodes=40', 'small', disk);
    const store = join(disk, 'the store');
    execFileSync('cp', ['-a', world.store, store]);
    const toml = readFileSync(world.hostToml, 'utf8');
    world.write(host, world.hostToml, toml.replace(world.store, store));
    undone.push(() => world.write(host, world.hostToml, toml));
    writeFileSync(join(store, 'clients', world.name, 'large'), Buffer.alloc(1024 ** 2));
    const du = await next('host.store_space', /^3\d MiB free/);
    const sizes = await follower.follow(host, du.replace(/; make room, or a larger disk$/, ''));
    assert.match(sizes, new RegExp(`^1\\.\\dM\\s+${store}/clients/${world.name}$`, 'm'));
    execFileSync('mount', ['-o', 'remount,size=4g', disk]);
    await isWell('host.store_space');

    let made = 0;
    assert.throws(() => {
      for (; made < 100; made += 1) writeFileSync(join(disk, `${made}`), '');
    }, /ENOSPC/);
    const df = await next('host.store', /ENOSPC|no space/i);
    const room = await follower.follow(host, df);
    assert.match(room, /^small\s+40\s+40\s+0\s+100% /m);
    for (let at = 0; at < made; at += 1) rmSync(join(disk, `${at}`), { force: true });
    await isWell('host.store');
  });

  it('for runs that fail, requests without room, and files in doubt tells the reason, and the next run mends it', async () => {
    assert.equal((await world.backup()).status, 0);
    const [first = ''] = world.snapshots();
    const record = join(world.shelf, 'snapshots', first, 'snapshot.json');
    const text = readFileSync(record, 'utf8');
    const older = text.replace(/,\s*"durable": true/, ''); // as 0.1.0 wrote it
    assert.notEqual(older, text);
    writeFileSync(record, older);
    const sums = join(dirname(record), 'sha256sums');
    const sum = (of: string): string => createHash('sha256').update(of).digest('hex');
    writeFileSync(sums, readFileSync(sums, 'utf8').replace(sum(text), sum(older)));
    const journal = join(world.shelf, 'journal.jsonl');
    for (const minute of ['1', '2', '3'])
      appendFileSync(
        journal,
        `${JSON.stringify({
          time: `2026-11-23T00:0${minute}:00.000Z`,
          event: 'run',
          outcome: 'failed',
          code: 'rsync',
          reason: 'rsync ended with status 12',
        })}\n`,
      );
    const toml = readFileSync(world.hostToml, 'utf8');
    world.write(host, world.hostToml, `${toml}[space]\nmin_free = "99%"\n`);
    const findings = (await follower.doctor(host)).filter(each => each.state !== 'ok');
    const step = (found: RegExp): string => findings.find(each => found.test(each.found))?.next ?? 'false';

    const room = await follower.follow(host, step(/^"acorn": its requests are refused: \d+ bytes are free/));
    assert.match(room, new RegExp(first));
    world.write(host, world.hostToml, toml);
    const runs = await follower.shell(host, step(/^"acorn": the last 3 runs failed/));
    assert.equal(runs.status, 1, runs.stderr); // as monitoring plugins have it: a warning
    assert.match(runs.stdout, /rsync ended with status 12/);
    const doubt = step(/did not make sure of it: acorn$/).split('; ');
    assert.match(doubt[1] ?? '', /^it lists .*, and the next backup /);
    await follower.follow(host, doubt[0] ?? '');
    assert.equal((await world.backup()).status, 0);
    await isWell('host.store_contents');
    assert.ok(!(await follower.doctor(host)).some(each => each.check === 'host.runs'));
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
      mount('--bind', config, '/etc/ssh/sshd_config');
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
      const step = await next('host.sshd_config', /cannot tell what is in effect/);
      assert.match(await follower.follow(host, step), /^pubkeyauthentication no$/m);
    });

    it('for a password that may be locked gives the account one that is not', async () => {
      configure(`Port ${port()}\nUsePAM no\nUsePAM yes\n`, 0o644);
      await follower.follow(host, await next('host.sshd', /password of ".*" is locked/));
      await isWell('host.sshd');
    });
  });

  it('for a jail without a root of its own names the setting of the kernel', async () => {
    world.installLauncher();
    undone.push(() => rmSync(join(world.base, 'libexec'), { recursive: true }));
    writeFileSync(world.hostToml, readFileSync(world.hostToml, 'utf8').replace(/^confined = .*\n/m, ''));
    assert.ok(mayMakeNamespaces(host), 'this machine lets ordinary users make namespaces');
    await isWell('host.jail');
    /** In a user namespace with all users in it, for which root sets how many more may be made in it. */
    const inside = async (most: number, command: string, ...account: string[]): Promise<string> => {
      const script = 'echo; read -r mapped; sysctl -qw user.max_user_namespaces=$1; shift; exec "$@"';
      const words = [String(most), 'setpriv', ...account, '--', 'env', `HOME=${host.home}`];
      const mapped = Promise.withResolvers<void>();
      const { child, done } = world.start(
        'root',
        '/usr/bin/unshare',
        ['--user', '--', '/bin/sh', '-c', script, 'sh', ...words, '/bin/sh', '-c', command],
        { keepsInput: true, onLine: () => mapped.resolve() },
      );
      await mapped.promise;
      for (const map of ['uid_map', 'gid_map']) writeFileSync(`/proc/${child.pid}/${map}`, '0 0 65536');
      child.stdin?.end('\n');
      const { stdout, stderr } = await done;
      assert.equal(stderr, '');
      return stdout.slice(1);
    };
    const as = ['--reuid', String(host.uid), '--regid', String(host.gid), '--clear-groups'];
    const look = async (most: number): Promise<Finding> =>
      findingOf(
        JSON.parse(await inside(most, `'${world.binary}' doctor --json`, ...as)) as Finding[],
        'host.jail',
      );
    const finding = await look(0);
    assert.match(finding.found, /without a root file system of its own/);
    const step = (finding.next ?? '').replace(/ shows which of them .*$/, '');
    assert.match(await inside(0, step, ...as), /^user\.max_user_namespaces = 0$/m);
    assert.equal((await look(100)).state, 'ok');
  });
});
