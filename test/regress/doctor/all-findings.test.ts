// Goal: `doctor` finds nothing critical where a backup works; where one thing is broken it finds that and nothing else, and
// the command that it names mends it. It changes nothing itself.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  chownSync,
  copyFileSync,
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Finding, State } from '../../../src/doctor/finding.ts';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { IS_LONG, itLong } from '../../support/long.ts';
import { compileLauncher, mayMakeNamespaces, NEEDS_ROOT, type Party, World } from '../../support/world.ts';

describe('doctor', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let world: World;
  let client: Party;
  let host: Party;
  /** What is not well of the healthy setup, side by side: no launcher, no backup yet, no sshd of the system's. */
  let usual: Map<Party, string[]>;

  before(async () => {
    world = await World.make();
    ({ client, host } = world);
    writeFileSync(join(world.data, 'file'), 'content');
    usual = new Map();
    for (const party of [client, host]) usual.set(party, lines(await look(party)));
  });
  after(async () => {
    await world.dispose();
  });

  const configOf = (party: Party): string => (party === client ? world.clientToml : world.hostToml);

  async function look(party: Party, binary = world.binary): Promise<Finding[]> {
    const args = ['doctor', '--json', '--config', configOf(party)];
    const { status, stdout, stderr } = await world.start(party, binary, args).done;
    assert.equal(stderr, '');
    const findings = JSON.parse(stdout) as Finding[];
    const worst = findings.some(each => each.state === 'critical')
      ? 2
      : findings.some(each => each.state !== 'ok')
        ? 1
        : 0;
    assert.equal(status, worst);
    for (const each of findings) assert.equal(each.next === null, each.state === 'ok', each.check);
    return findings;
  }

  const bad = (findings: Finding[]): Finding[] => findings.filter(each => each.state !== 'ok');
  const lines = (findings: Finding[]): string[] => bad(findings).map(each => `${each.state} ${each.check}`);

  /** Without a jail that stands these two say what this machine is like: securityfs need not be mounted, nor a list be there. */
  const OF_THE_MACHINE = ['unknown machine.kernel', 'critical client.never_list'];

  /** What is wrong that was not before. */
  async function fresh(party: Party): Promise<Finding[]> {
    const known = [...(usual.get(party) ?? []), ...OF_THE_MACHINE];
    return bad(await look(party)).filter(each => !known.includes(`${each.state} ${each.check}`));
  }

  /** Exactly one thing is wrong now, and it is this. @returns what is to be done */
  async function only(party: Party, state: State, check: string, found: RegExp): Promise<string> {
    const findings = await fresh(party);
    assert.deepEqual(lines(findings), [`${state} ${check}`], JSON.stringify(findings, null, 2));
    assert.match(findings[0]?.found ?? '', found);
    return findings[0]?.next ?? '';
  }

  /** Runs a command that `doctor` named, as it stands there. */
  function obey(party: Party | 'root', command: string): void {
    const account = party === 'root' ? {} : { uid: party.uid, gid: party.gid };
    const { status, stderr } = spawnSync('/bin/sh', ['-c', command], {
      ...account,
      cwd: '/',
      env: {
        PATH: `${dirname(world.binary)}:/usr/bin:/bin:/usr/sbin:/sbin`,
        HOME: party === 'root' ? '/root' : party.home,
      },
      encoding: 'utf8',
    });
    assert.equal(status, 0, `${command}\n${stderr}`);
  }

  /** After the test itself has put right what it broke: in `make test` the next case shows that, which finds one thing alone. */
  async function isAsBefore(party: Party): Promise<void> {
    if (IS_LONG) await isWell(party);
  }

  async function isWell(party: Party): Promise<void> {
    assert.deepEqual(lines(await fresh(party)), []);
  }

  const CHANNEL = 'name = "vault"\ntransport = "channel"';

  /** What is said of the transports. */
  async function transports(): Promise<string> {
    const [finding, ...more] = (await look(client)).filter(each => each.check === 'client.transport');
    assert.deepEqual([finding?.state, more], ['ok', []]);
    return finding?.found ?? '';
  }

  it('finds nothing critical where a backup works', async () => {
    assert.deepEqual(usual.get(client), ['warning client.confinement', 'unknown client.clock']);
    // On the machine that runs this an sshd may be there or not.
    assert.deepEqual(
      usual.get(host)?.filter(each => each !== 'warning host.sshd'),
      ['warning host.confinement'],
    );
  });

  it('changes nothing', async () => {
    const tree = (): string =>
      execFileSync('find', [world.base, '-printf', '%P %m %U %s %n\\n'], { encoding: 'utf8' })
        .split('\n')
        .sort()
        .join('\n');
    const before = tree();
    for (const party of [client, host]) await look(party);
    assert.equal(tree(), before);
    assert.deepEqual(world.leftovers(), []);
  });

  it('as text, names what it looked at, why it matters and what to do', async () => {
    const { status, stdout } = await world.run(client, ['doctor', '--config', world.clientToml]);
    assert.equal(status, 1);
    assert.match(stdout, /^machine\n {2}ok +account: looked at as "dbtest-client-\w+"/);
    assert.match(stdout, /\n {2}warning +confinement: none: .*\n {12}why: .*\n {12}next: make install/);
    assert.match(stdout, /\n0 critical, 1 warning, 1 unknown, \d+ ok\n$/);
    assert.match(stdout, /^[\x20-\x7e\n]*$/);
  });

  it('for root, asks the account whose config it is', async () => {
    const { status, stdout } = await world.run('root', ['doctor', '--json', '--config', world.clientToml]);
    assert.equal(status, 1);
    const findings = JSON.parse(stdout) as Finding[];
    assert.match(findings[0]?.found ?? '', /^looked at as "dbtest-client-\w+" .*on behalf of root$/);
    assert.deepEqual(lines(findings), usual.get(client));
  });

  it('without a config, says how to begin; with one that could be either, asks which', async () => {
    const nowhere = { environment: { HOME: join(world.base, 'nowhere') } };
    const { status, stdout } = await world.run(client, ['doctor', '--json'], nowhere);
    assert.equal(status, 1);
    assert.deepEqual(lines(JSON.parse(stdout) as Finding[]), [
      'warning machine.account', // HOME is not the account's
      'warning machine.config',
    ]);
    const asked = await world.run(client, ['doctor', '--json', '--client'], nowhere);
    assert.equal(asked.status, 2);
    assert.deepEqual(lines(JSON.parse(asked.stdout) as Finding[]), [
      'warning machine.account',
      'critical client.config',
    ]);
    const either = await world.run(client, ['doctor', '--config', '/x/y.toml']);
    assert.equal(either.status, 2);
    assert.match(either.stderr, /^dialback: Cannot run "doctor": .*\nnext: add --client or --host\n$/);
  });

  describe('on a client', () => {
    it('a config that others can write', async () => {
      chmodSync(world.clientToml, 0o666);
      obey(client, await only(client, 'critical', 'client.config', /can be written by others \(mode 666\)$/));
      await isWell(client);
    });

    it('a config in a folder that others can write', async () => {
      chmodSync(client.home, 0o777);
      const [first, ...more] = await fresh(client);
      assert.equal(first?.check, 'client.config');
      assert.deepEqual(more, []);
      obey(client, first?.next ?? '');
      await isWell(client);
      chmodSync(client.home, 0o700);
    });

    it('a config with a mistake in it', async () => {
      appendFileSync(world.clientToml, 'nonsense = 1\n');
      const next = await only(
        client,
        'critical',
        'client.config',
        /"limits\.nonsense" is not a key that it has/,
      );
      assert.notEqual(next, '');
      world.configure();
      await isAsBefore(client);
    });

    itLong(
      'a key that others can read, with a passphrase, with another public half, that is none, that is not there',
      async () => {
        const key = join(client.home, '.ssh/id_ed25519');
        chmodSync(key, 0o644);
        obey(client, await only(client, 'critical', 'client.key', /open to others \(mode 644\)/));
        await isWell(client);

        execFileSync('/usr/bin/ssh-keygen', ['-q', '-p', '-N', 'a secret', '-f', key], { stdio: 'pipe' });
        chownSync(key, client.uid, client.gid);
        assert.match(
          await only(client, 'critical', 'client.key', /has a passphrase/),
          /^ssh-keygen -p -N ''/,
        );
        execFileSync('/usr/bin/ssh-keygen', ['-q', '-p', '-P', 'a secret', '-N', '', '-f', key], {
          stdio: 'pipe',
        });
        chownSync(key, client.uid, client.gid);
        await isWell(client);

        world.keygen(client, `${key}.other`);
        copyFileSync(`${key}.other.pub`, `${key}.pub`);
        obey(client, await only(client, 'critical', 'client.key', /is not the public half/));
        await isWell(client);

        const good = readFileSync(key);
        world.write(client, key, 'nonsense\n');
        await only(client, 'critical', 'client.key', /is not a private key/);
        rmSync(key);
        await only(client, 'critical', 'client.key', /there is no key/);
        world.write(client, key, good);
        await isAsBefore(client);
      },
    );

    it('a known_hosts file that is not there, lacks the host, or can be written by others', async () => {
      const file = join(client.home, '.ssh/known_hosts');
      const good = readFileSync(file);
      rmSync(file);
      const next = await only(client, 'critical', 'client.known_hosts', /^there is no/);
      assert.ok(next.includes(`[127.0.0.1]:${world.port} KEYTYPE KEY`), next);
      world.write(client, file, good.toString().replace(`:${world.port} `, ':1 '));
      await only(client, 'critical', 'client.known_hosts', /has no key of "\[127\.0\.0\.1\]:\d+"$/);
      world.write(client, file, good, 0o646);
      obey(client, await only(client, 'critical', 'client.known_hosts', /can be written by others/));
      await isWell(client);
    });

    itLong('a shell that prints, and one that runs nothing', async () => {
      const shell = (path: string): void => {
        execFileSync('/usr/sbin/usermod', ['--shell', path, client.login], { stdio: 'pipe' });
      };
      world.write(client, join(client.home, '.bashrc'), 'echo "Welcome home"\n');
      shell('/bin/bash');
      const next = await only(
        client,
        'critical',
        'machine.shell',
        /^\/bin\/bash -c true prints "Welcome home", in ".*\/\.bashrc"$/,
      );
      obey('root', next.split(';')[0] ?? '');
      await isWell(client);
      rmSync(join(client.home, '.bashrc'));
      for (const path of ['/usr/sbin/nologin', '/bin/false', '/no/such/shell']) {
        shell(path);
        const mend = await only(client, 'critical', 'machine.shell', /the shell of "dbtest-client/);
        const [change = '', ...other] = mend.split('; or ');
        assert.deepEqual(other, ['transport = "channel" in client.toml, which needs no shell']);
        world.configure({ remote: CHANNEL });
        await isWell(client);
        assert.match(
          await transports(),
          /^"vault": channel, .*; direct would probably not work: the shell of /,
        );
        world.configure();
        obey('root', change);
        await isWell(client);
      }
    });

    itLong('a port that is taken, forbidden or foreign', async () => {
      const server = createServer();
      await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
      const address = server.address();
      const port = typeof address === 'object' && address ? address.port : 0;
      const listenOn = (where: string): void =>
        world.configure({ remote: `name = "vault"\nfrom = ["127.0.0.1"]\nlisten = "${where}"` });
      listenOn(`127.0.0.1:${port}`);
      const next = await only(
        client,
        'critical',
        'client.listen',
        /^another program listens on 127\.0\.0\.1:\d+$/,
      );
      assert.match(next, new RegExp(`^ss -ltnp 'sport = :${port}'`));
      // A run that is under way holds its lock, and the port may be its own.
      mkdirSync(world.clientState, { mode: 0o700 });
      chownSync(world.clientState, client.uid, client.gid);
      const locked = Promise.withResolvers<void>();
      const hold = [join(world.clientState, 'lock-vault'), '/bin/sh', '-c', 'echo locked; exec cat'];
      const running = world.start(client, '/usr/bin/flock', hold, {
        keepsInput: true,
        onLine: () => locked.resolve(),
      });
      await locked.promise;
      await isWell(client);
      running.child.stdin?.end();
      await running.done;
      rmSync(world.clientState, { recursive: true });
      await only(client, 'critical', 'client.listen', /another program/);
      await new Promise(resolve => server.close(resolve));
      await isWell(client);
      listenOn('198.51.100.7:0');
      await only(client, 'critical', 'client.listen', /is not an address of this machine$/);
      world.configure();
      await isAsBefore(client);
    });

    itLong(
      'nothing of the way back, where nobody is to come: neither sshd, login name, addresses nor port',
      async () => {
        const checks = async (): Promise<string[]> => (await look(client)).map(each => each.check).sort();
        const direct = await checks();
        assert.match(
          await transports(),
          /^"vault": direct will probably work: from 127\.0\.0\.1 to 127\.0\.0\.1 /,
        );
        world.configure({ remote: CHANNEL });
        await isWell(client);
        assert.match(
          await transports(),
          /^"vault": channel, .*; direct would probably work too: from 127\.0\.0\.1 /,
        );
        const OF_THE_WAY_BACK = ['client.from', 'client.listen', 'client.sshd', 'machine.shell'];
        assert.deepEqual(
          await checks(),
          direct.filter(each => !OF_THE_WAY_BACK.includes(each)),
        );
        const names = (await look(client)).find(each => each.check === 'client.name');
        assert.equal(names?.found, `"${world.name}"`);
        // Of two remotes one is to come back.
        const target = `ssh://${host.login}@127.0.0.1:${world.port}`;
        const second = `[[remote]]\nname = "nas"\ntarget = "${target}"\nfrom = ["127.0.0.1"]`;
        world.configure({ remote: `${CHANNEL}\n${second}` });
        const both = await checks();
        for (const each of OF_THE_WAY_BACK) assert.equal(both.filter(name => name === each).length, 1, each);
        world.configure();
        await isAsBefore(client);
      },
    );

    it('a private address towards a public one, unless the host has come back all the same', async () => {
      const target = (await readFileSync(world.clientToml, 'utf8')).replace('127.0.0.1:', '203.0.113.5:');
      world.write(client, world.clientToml, target.replace('listen = "127.0.0.1:0"\n', ''));
      const known = join(client.home, '.ssh/known_hosts');
      appendFileSync(known, readFileSync(known, 'utf8').replace('127.0.0.1', '203.0.113.5'));
      const behindNat = async (): Promise<Finding | undefined> => {
        // A network of its own, in which what calls a public address comes from a private one; and somebody who greets.
        const script = `
          set -eu
          ip link set lo up
          ip addr add 203.0.113.5/32 dev lo
          ip addr add 10.0.0.7/32 dev lo
          ip route replace table local local 203.0.113.5 dev lo src 10.0.0.7
          "$1" -e "$2" "$3" | {
            read -r ready
            setpriv --reuid "$4" --regid "$5" --clear-groups "$6" doctor --json --config "$7" || [ $? -lt 3 ]
            kill "$ready"
          }
        `;
        const greeter = `process.on('SIGTERM', () => process.exit(0)); require('node:net').createServer(each => each.on('error', () => {}).write('SSH-2.0-x\\r\\n'))
          .listen(Number(process.argv[1]), () => console.log(process.pid))`;
        const words = [
          process.execPath,
          greeter,
          world.port,
          client.uid,
          client.gid,
          world.binary,
          world.clientToml,
        ];
        const { stdout, stderr } = await world.start(
          'root',
          '/usr/bin/unshare',
          ['--net', '/bin/sh', '-c', script, 'sh', ...words.map(String)],
          { environment: { HOME: client.home } },
        ).done;
        assert.equal(stderr, '');
        return (JSON.parse(stdout) as Finding[]).find(each => each.check === 'client.transport');
      };
      const told = await behindNat();
      assert.equal(told?.state, 'warning');
      assert.match(
        told?.found ?? '',
        /^"vault": direct will probably not work: .* 203\.0\.113\.5 .* 10\.0\.0\.7,/,
      );
      assert.match(told?.next ?? '', /transport = "channel"/);

      const journal = join(world.clientState, 'journal.jsonl');
      mkdirSync(world.clientState, { mode: 0o700 });
      chownSync(world.clientState, client.uid, client.gid);
      const time = '2026-11-23T00:12:00.500Z';
      const lines = (peer: string): string =>
        [{ event: 'started' }, { event: 'granted', peer }]
          .map(each => `${JSON.stringify({ time, remote: 'vault', ...each })}\n`)
          .join('');
      world.write(client, journal, lines('203.0.113.5 5000 10.0.0.7 8022'));
      assert.match(
        (await behindNat())?.found ?? '',
        /direct, which worked in the run of 2026-11-23T00:12:00\.500Z, although/,
      );
      world.write(client, journal, lines('nobody'));
      assert.equal((await behindNat())?.state, 'warning');
      rmSync(world.clientState, { recursive: true });
      world.configure();
      await isAsBefore(client);
    });

    it('a host that cannot be reached', async () => {
      const file = join(client.home, '.ssh/known_hosts');
      const [known, config] = [readFileSync(file), readFileSync(world.clientToml, 'utf8')];
      const server = createServer();
      await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
      const address = server.address();
      const port = typeof address === 'object' && address ? address.port : 0;
      await new Promise(resolve => server.close(resolve));
      world.write(client, world.clientToml, config.replace(`:${world.port}"`, `:${port}"`));
      world.write(client, file, known.toString().replace(`:${world.port} `, `:${port} `));
      await only(client, 'critical', 'client.reach', /^"127\.0\.0\.1" port \d+: no program listens there$/);
      world.write(client, world.clientToml, config);
      world.write(client, file, known);
      await isAsBefore(client);
    });

    it('a host whose name has no address, and options that ssh does not know', async () => {
      const config = readFileSync(world.clientToml, 'utf8');
      world.write(
        client,
        world.clientToml,
        config.replace(/ssh:\/\/.*"/, 'dialback@no-such-host.invalid"').replace('from = ["127.0.0.1"]', ''),
      );
      const found = lines(await fresh(client));
      assert.deepEqual(found, [
        'critical client.known_hosts',
        'critical client.reach',
        'critical client.from',
      ]);
      world.configure({ remote: 'name = "vault"\nfrom = ["127.0.0.1"]\nssh_options = ["Ciphers=nonsense"]' });
      await only(client, 'critical', 'client.reach', /nonsense/i);
      world.configure();
      await isAsBefore(client);
    });

    it('a state folder that others can look into, or that cannot be made', async () => {
      mkdirSync(world.clientState, { mode: 0o755 });
      chownSync(world.clientState, client.uid, client.gid);
      chmodSync(world.clientState, 0o755);
      obey(client, await only(client, 'critical', 'client.state', /others may look into it$/));
      await isWell(client);
      const config = readFileSync(world.clientToml, 'utf8');
      const elsewhere = join(client.home, 'of root/state');
      mkdirSync(dirname(elsewhere));
      world.write(client, world.clientToml, config.replace(/^state = .*$/m, `state = "${elsewhere}"`));
      obey('root', await only(client, 'critical', 'client.state', /this account cannot create it/));
      await isWell(client);
      world.configure();
    });

    it('roots that are not there, or closed', async () => {
      world.configure({ scope: `roots = ["${world.data}", "${world.data}/nowhere"]` });
      await only(client, 'warning', 'client.roots', /do not exist: ".*\/nowhere"$/);
      world.configure({ scope: `roots = ["${host.home}/x"]` });
      await only(client, 'critical', 'client.roots', /may not read/);
      world.configure({ scope: `roots = ["${world.data}"]\nexclude = ["+ x"]` });
      await only(client, 'critical', 'client.excludes', /line 1 of `exclude`/);
      world.configure();
      await isAsBefore(client);
    });

    itLong('other names of what must never be read: hard links, and mounts', async () => {
      const never = join(world.data, 'never');
      const alias = join(world.data, 'alias');
      for (const path of [never, alias, join(never, 'part')]) mkdirSync(path);
      writeFileSync(join(never, 'secret'), 'secret');
      writeFileSync(join(never, 'two'), '2');
      linkSync(join(never, 'two'), join(never, 'names'));
      world.configure({ scope: `roots = ["${world.data}"]\nnever = ["${never}"]` });
      await isWell(client);

      linkSync(join(never, 'secret'), join(world.data, 'link'));
      const next = await only(client, 'warning', 'client.never', /never\/secret" has another name/);
      const names = execFileSync('/bin/sh', ['-c', next.split(', as root')[0] ?? '']);
      assert.deepEqual(
        names.toString().trim().split('\n').sort(),
        [join(never, 'secret'), join(world.data, 'link')].sort(),
      );
      rmSync(join(world.data, 'link'));
      await isAsBefore(client);

      // The whole of it is kept back there too, and a part of it is a place of its own.
      execFileSync('mount', ['--bind', never, alias]);
      try {
        await isWell(client);
      } finally {
        execFileSync('umount', [alias]);
      }
      execFileSync('mount', ['--bind', join(never, 'part'), alias]);
      try {
        const mend = await only(client, 'warning', 'client.never', /is also mounted at ".*\/alias"$/);
        obey('root', /umount .*$/.exec(mend)?.[0] ?? 'false');
        await isWell(client);
      } finally {
        spawnSync('umount', [alias]);
      }

      chmodSync(never, 0o000);
      chownSync(never, 0, 0);
      const see = await only(client, 'unknown', 'client.never', /cannot see all of/);
      obey('root', see.split(',')[0] ?? '');
      world.configure();
      rmSync(never, { recursive: true });
    });

    it('the clocks, once there was a backup', async () => {
      assert.equal((await world.backup()).status, 0);
      const journal = join(world.clientState, 'journal.jsonl');
      const clock = async (): Promise<Finding | undefined> =>
        (await look(client)).find(each => each.check === 'client.clock');
      assert.equal((await clock())?.state, 'ok');
      const text = readFileSync(journal, 'utf8');
      const [year] = /"snapshot":"(\d{4})/.exec(text)?.slice(1) ?? [];
      writeFileSync(journal, text.replace(`"snapshot":"${year}`, `"snapshot":"${Number(year) - 1}`));
      const late = await clock();
      assert.equal(late?.state, 'warning');
      assert.match(late?.found ?? '', /^the clock of "vault" was 31\d{6} s behind this one/);
      writeFileSync(journal, text);
    });
  });

  describe('on a host', () => {
    it('a store that is gone', async () => {
      renameSync(join(world.store, 'store.json'), join(world.store, 'gone'));
      assert.match(
        await only(host, 'critical', 'host.store', /there is no store\.json in it$/),
        /^mount its disk/,
      );
      renameSync(join(world.store, 'gone'), join(world.store, 'store.json'));
      renameSync(world.store, `${world.store} gone`);
      const found = lines(await fresh(host));
      assert.deepEqual(found, ['critical host.store']);
      renameSync(`${world.store} gone`, world.store);
      await isAsBefore(host);
    });

    it('a store that others can look into, or that is somebody elses', async () => {
      chmodSync(world.store, 0o750);
      obey(host, await only(host, 'critical', 'host.store', /open to others \(mode 0750\)$/));
      await isWell(host);
      chownSync(world.store, 0, 0);
      chmodSync(world.store, 0o755);
      await only(host, 'critical', 'host.store', /belongs to uid 0/);
      chownSync(world.store, host.uid, host.gid);
      chmodSync(world.store, 0o700);
      await isAsBefore(host);
    });

    it('a file system that keeps no xattrs', async () => {
      const disk = join(world.base, 'a disk');
      mkdirSync(disk);
      execFileSync('mount', ['-t', 'ramfs', 'ramfs', disk]);
      try {
        const store = join(disk, 'store');
        for (const path of [store, join(store, 'clients'), join(store, 'clients', world.name)]) {
          mkdirSync(path, { mode: 0o700 });
          chownSync(path, host.uid, host.gid);
        }
        world.write(host, join(store, 'store.json'), '{"version":1}\n');
        world.write(host, world.hostToml, `store = "${store}"\nsyslog = false\n`);
        // It tells no size either.
        const found = lines(await fresh(host));
        assert.deepEqual(found, ['critical host.store_xattrs', 'critical host.store_space']);
      } finally {
        execFileSync('umount', [disk]);
      }
      world.write(host, world.hostToml, `store = "${world.store}"\nsyslog = false\n`);
      await isAsBefore(host);
    });

    it('a small disk that is nearly full', async () => {
      const disk = join(world.base, 'small');
      const image = join(world.base, 'small.img');
      mkdirSync(disk);
      execFileSync('/usr/bin/truncate', ['-s', '64M', image]);
      execFileSync('mkfs.ext4', ['-q', '-N', '64', image]);
      execFileSync('mount', ['-o', 'loop', image, disk]);
      try {
        const store = join(disk, 'store');
        for (const path of [store, join(store, 'clients'), join(store, 'clients', world.name)]) {
          mkdirSync(path, { mode: 0o700 });
          chownSync(path, host.uid, host.gid);
        }
        world.write(host, join(store, 'store.json'), '{"version":1}\n');
        world.write(host, world.hostToml, `store = "${store}"\nsyslog = false\n`);
        assert.deepEqual(lines(await fresh(host)), ['critical host.store_space']);
        for (let index = 0; index < 46; index += 1) writeFileSync(join(disk, `${index}`), '');
        const found = lines(await fresh(host));
        assert.ok(
          found.some(each => /(warning|critical) host\.store_inodes/.test(each)),
          found.join(', '),
        );
      } finally {
        execFileSync('umount', [disk]);
      }
      world.write(host, world.hostToml, `store = "${world.store}"\nsyslog = false\n`);
      await isAsBefore(host);
    });

    it('authorized_keys that others can write, with a bare key, or with another executable', async () => {
      const file = world.authorizedKeys;
      chmodSync(file, 0o666);
      obey(
        host,
        await only(host, 'critical', 'host.authorized_keys', /can be written by others \(mode 666\)$/),
      );
      await isWell(host);
      appendFileSync(file, readFileSync(join(host.home, 'sshd/key.pub')));
      const next = await only(
        host,
        'warning',
        'host.authorized_keys',
        /^line 2 .* was not written by dialback/,
      );
      obey(host, next.replace(/^remove it: /, ''));
      await isWell(host);
      const good = readFileSync(file, 'utf8');
      writeFileSync(file, good.replace(world.binary, '/usr/local/bin/dialback'));
      obey(host, await only(host, 'warning', 'host.authorized_keys', /is not bound to/));
      await isWell(host);
      assert.equal(readFileSync(file, 'utf8'), good);
      renameSync(world.shelf, `${world.shelf}-gone`);
      obey(host, await only(host, 'critical', 'host.authorized_keys', /the store has no folder for it$/));
      await isWell(host);
      rmSync(world.shelf, { recursive: true });
      renameSync(`${world.shelf}-gone`, world.shelf);
      rmSync(file);
      await only(host, 'warning', 'host.authorized_keys', /no client is enrolled/);
      writeFileSync(file, good);
      chownSync(file, host.uid, host.gid);
      chmodSync(file, 0o600);
      await isAsBefore(host);
    });

    it('a config that is not there', async () => {
      renameSync(world.hostToml, `${world.hostToml}.away`);
      await only(host, 'critical', 'host.config', /there is no such file/);
      renameSync(`${world.hostToml}.away`, world.hostToml);
      await isAsBefore(host);
    });
  });

  describe('with the launcher', () => {
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
      install();
      world.configure({ scope: `roots = ["${world.data}"]` });
      usual.set(client, lines(await look(client)));
    });
    after(() => {
      rmSync(join(world.base, 'libexec'), { recursive: true });
    });

    it('finds the jail standing', async () => {
      const findings = await look(client);
      const all = new Map(findings.map(each => [each.check, each.state]));
      const names = [...all.keys()].filter(each =>
        /^launcher\.|jail|confinement|kernel|privilege/.test(each),
      );
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

    it('reads roots that only root may look into', async () => {
      const secret = join(world.base, "root's own");
      mkdirSync(secret, { mode: 0o700 });
      world.configure({ scope: `roots = ["${world.data}", "${secret}"]` });
      await isWell(client);
      world.configure({
        top: `name = "${world.name}"\ncapability = "none"`,
        scope: `roots = ["${world.data}", "${secret}"]`,
      });
      await only(client, 'warning', 'client.roots', /may not read/);
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
          [() => chmodSync(world.launcher, 0o770), 'launcher.file', /can be written by others/, true],
          [() => chmodSync(world.launcher, 0o755), 'launcher.file', /every account can run/, false],
          [
            () => chmodSync(dirname(world.launcher), 0o777),
            'launcher.folders',
            /can be written by others/,
            true,
          ],
        ];
        for (const [how, check, found, breaks] of wrong) {
          how();
          const findings = await fresh(client);
          assert.deepEqual(
            findings.map(each => each.check).sort(),
            (breaks ? ['client.jail', check] : [check]).sort(),
            check,
          );
          const finding = findings.find(each => each.check === check);
          assert.match(finding?.found ?? '', found);
          obey('root', finding?.next ?? '');
          await isWell(client);
        }
      },
    );

    it("one that is somebody else's", async () => {
      chownSync(world.launcher, client.uid, client.gid);
      const finding = (await fresh(client)).find(each => each.check === 'launcher.file');
      assert.equal(finding?.state, 'critical');
      obey('root', finding?.next ?? '');
      await isWell(client);
    });

    itLong('one that this account may not run, and one that was made for another', async () => {
      chownSync(world.launcher, 0, 0);
      setcap(world.launcher, 'ep');
      const found = lines(await fresh(client));
      assert.deepEqual(found, ['critical launcher.run', 'critical client.jail']);
      install();
      await isAsBefore(client);

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
      const next = await only(
        client,
        'critical',
        'client.jail',
        /it was made for uid \d+, and is run by uid \d+$/,
      );
      assert.equal(next.split(',')[0], `runuser --pty -u "$(id -nu ${host.uid})" -- dialback doctor`);
      install();
      await isAsBefore(client);
    });

    it('another account in its group', async () => {
      const group = execFileSync('/usr/bin/id', ['-gn', client.login]).toString().trim();
      execFileSync('/usr/sbin/usermod', ['--append', '--groups', group, host.login]);
      const next = await only(client, 'warning', 'launcher.group', new RegExp(`are also: ${host.login}$`));
      assert.equal(next, `gpasswd --delete ${host.login} ${group}`);
      obey('root', next);
      await isWell(client);
    });

    it('a mount that gives no capabilities', async () => {
      const folder = dirname(world.launcher);
      execFileSync('mount', ['--bind', folder, folder]);
      try {
        execFileSync('mount', ['-o', 'remount,bind,nosuid', folder]);
        const findings = await fresh(client);
        const finding = findings.find(each => each.check === 'launcher.mount');
        assert.equal(finding?.state, 'critical');
        assert.ok(findings.some(each => each.check === 'client.jail'));
      } finally {
        execFileSync('umount', [folder]);
      }
      await isWell(client);
    });

    it('a caller that may not be given any', async () => {
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

    it('none, though the config wants one', async () => {
      renameSync(world.launcher, `${world.launcher} away`);
      world.configure({ top: `name = "${world.name}"\ncapability = "confined"` });
      const found = lines(await fresh(client));
      assert.deepEqual(found, ['critical launcher.file', 'critical client.jail']);
      renameSync(`${world.launcher} away`, world.launcher);
      world.configure();
      await isAsBefore(client);
    });

    it('the chain of "inherited"', async () => {
      world.configure({ top: `name = "${world.name}"\ncapability = "inherited"` });
      const findings = await look(client);
      const own = findings.find(each => each.check === 'machine.inherited');
      const rsync = findings.find(each => each.check === 'machine.inherited_rsync');
      assert.equal(own?.state, 'critical');
      assert.equal(rsync?.next, "setcap cap_dac_read_search=ei '/usr/bin/rsync'"); // the system's: not tried here
      obey('root', own?.next ?? '');
      const after = (await look(client)).find(each => each.check === 'machine.inherited');
      assert.equal(after?.state, 'ok');
      execFileSync('setcap', ['-r', world.binary], { stdio: 'pipe' });
      world.configure();
    });

    it('on the host, a jail of its own', async () => {
      chownSync(world.launcher, 0, host.gid);
      chmodSync(world.launcher, 0o750); // without its capability, which a host does not need
      const findings = await look(host);
      const jail = findings.find(each => each.check === 'host.jail')?.state;
      assert.equal(jail, mayMakeNamespaces(host) ? 'ok' : 'warning');
      assert.equal(findings.find(each => each.check === 'machine.kernel')?.state, 'ok');
      assert.ok(!findings.some(each => each.state === 'critical'), lines(findings).join(', '));
      chmodSync(world.launcher, 0o700);
      assert.deepEqual(lines(await fresh(host)), ['critical launcher.run', 'critical host.jail']);
    });
  });
});
