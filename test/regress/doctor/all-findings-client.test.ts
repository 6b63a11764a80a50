// Goal: where one thing of a client is broken, `doctor` finds that and nothing else, and the command that it names fixes it.
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
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { after, before, describe } from 'node:test';
import type { Finding } from '../../../src/doctor/finding.ts';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { Doctor, lines } from '../../support/doctor.ts';
import { itLong, itShort } from '../../support/long.ts';
import { matching, says, wording } from '../../support/wording.ts';
import { NEEDS_ROOT, type Party, type World } from '../../support/world.ts';

describe('doctor on a client', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
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

  const CHANNEL = 'name = "vault"\ntransport = "channel"';

  itShort('a config that others can write', async () => {
    chmodSync(world.clientToml, 0o666);
    doctor.obey(
      client,
      await doctor.only(
        client,
        'critical',
        'client.config',
        matching`${says('can-be-written-by-others-mode')} 666\)$`,
      ),
    );
    await doctor.isWell(client);
  });

  itLong('a config in a folder that others can write', async () => {
    chmodSync(client.home, 0o777);
    const [first, ...more] = await doctor.fresh(client);
    assert.equal(first?.check, 'client.config');
    assert.deepEqual(more, []);
    doctor.obey(client, first?.next ?? '');
    await doctor.isWell(client);
    chmodSync(client.home, 0o700);
  });

  itShort('a config with a mistake in it', async () => {
    appendFileSync(world.clientToml, 'nonsense = 1\n');
    const next = await doctor.only(client, 'critical', 'client.config', /unknown key "limits\.nonsense"/);
    assert.notEqual(next, '');
    world.configure();
    await doctor.isAsBefore(client);
  });

  itLong(
    'a key that others can read, with a passphrase, with another public half, that is none, that is not there',
    async () => {
      const key = join(client.home, '.ssh/id_ed25519');
      chmodSync(key, 0o644);
      doctor.obey(
        client,
        await doctor.only(client, 'critical', 'client.key', matching`${says('open-to-others-mode')} 644\)`),
      );
      await doctor.isWell(client);

      execFileSync('/usr/bin/ssh-keygen', ['-q', '-p', '-N', 'a secret', '-f', key], { stdio: 'pipe' });
      chownSync(key, client.uid, client.gid);
      assert.match(
        await doctor.only(client, 'critical', 'client.key', /has a passphrase/),
        /^ssh-keygen -p -N ''/,
      );
      execFileSync('/usr/bin/ssh-keygen', ['-q', '-p', '-P', 'a secret', '-N', '', '-f', key], {
        stdio: 'pipe',
      });
      chownSync(key, client.uid, client.gid);
      await doctor.isWell(client);

      world.keygen(client, `${key}.other`);
      copyFileSync(`${key}.other.pub`, `${key}.pub`);
      doctor.obey(
        client,
        await doctor.only(client, 'critical', 'client.key', says('is-not-the-public-half')),
      );
      await doctor.isWell(client);

      const good = readFileSync(key);
      world.write(client, key, 'nonsense\n');
      await doctor.only(client, 'critical', 'client.key', says('is-not-a-private-key'));
      rmSync(key);
      await doctor.only(client, 'critical', 'client.key', says('there-is-no-key'));
      world.write(client, key, good);
      await doctor.isAsBefore(client);
    },
  );

  itLong('a known_hosts file that is not there, lacks the host, or can be written by others', async () => {
    const file = join(client.home, '.ssh/known_hosts');
    const good = readFileSync(file);
    rmSync(file);
    const next = await doctor.only(client, 'critical', 'client.known_hosts', /^there is no/);
    assert.ok(next.includes(`[127.0.0.1]:${world.port} KEYTYPE KEY`), next);
    world.write(client, file, good.toString().replace(`:${world.port} `, ':1 '));
    await doctor.only(client, 'critical', 'client.known_hosts', /has no key of "\[127\.0\.0\.1\]:\d+"$/);
    world.write(client, file, good, 0o646);
    doctor.obey(
      client,
      await doctor.only(client, 'critical', 'client.known_hosts', says('can-be-written-by-others')),
    );
    await doctor.isWell(client);
  });

  itLong('a shell that prints, and one that runs nothing', async () => {
    const shell = (path: string): void => {
      execFileSync('/usr/sbin/usermod', ['--shell', path, client.login], { stdio: 'pipe' });
    };
    world.write(client, join(client.home, '.bashrc'), 'echo "Welcome home"\n');
    shell('/bin/bash');
    const next = await doctor.only(
      client,
      'critical',
      'machine.shell',
      /^\/bin\/bash -c true prints "Welcome home", in ".*\/\.bashrc"$/,
    );
    doctor.obey('root', next.split(';')[0] ?? '');
    await doctor.isWell(client);
    rmSync(join(client.home, '.bashrc'));
    for (const path of ['/usr/sbin/nologin', '/bin/false', '/no/such/shell']) {
      shell(path);
      const mend = await doctor.only(client, 'critical', 'machine.shell', /the shell of "dbtest-client/);
      const [change = '', ...other] = mend.split('; or ');
      assert.deepEqual(other, [wording('transport-channel-in-client-toml')]);
      world.configure({ remote: CHANNEL });
      await doctor.isWell(client);
      assert.match(
        await doctor.transports(),
        matching`^"vault": channel, .*; direct ${says('would-probably-not-work')}: the shell of `,
      );
      world.configure();
      doctor.obey('root', change);
      await doctor.isWell(client);
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
    const next = await doctor.only(
      client,
      'critical',
      'client.listen',
      matching`^${says('another-program-listens-on')} 127\.0\.0\.1:\d+$`,
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
    await doctor.isWell(client);
    running.child.stdin?.end();
    await running.done;
    rmSync(world.clientState, { recursive: true });
    await doctor.only(client, 'critical', 'client.listen', /another program/);
    await new Promise(resolve => server.close(resolve));
    await doctor.isWell(client);
    listenOn('198.51.100.7:0');
    await doctor.only(client, 'critical', 'client.listen', matching`${says('is-not-an-address-of')}$`);
    world.configure();
    await doctor.isAsBefore(client);
  });

  itLong(
    'nothing of the way back, where nobody is to come: neither sshd, login name, addresses nor port',
    async () => {
      const checks = async (): Promise<string[]> =>
        (await doctor.look(client)).map(each => each.check).sort();
      const direct = await checks();
      assert.match(
        await doctor.transports(),
        matching`^"vault": ${says('direct-will-probably-work')}: from 127\.0\.0\.1 to 127\.0\.0\.1 `,
      );
      world.configure({ remote: CHANNEL });
      await doctor.isWell(client);
      assert.match(
        await doctor.transports(),
        matching`^"vault": channel, .*; direct ${says('would-probably-work-too')}: from 127\.0\.0\.1 `,
      );
      const OF_THE_WAY_BACK = ['client.from', 'client.listen', 'client.sshd', 'machine.shell'];
      assert.deepEqual(
        await checks(),
        direct.filter(each => !OF_THE_WAY_BACK.includes(each)),
      );
      const names = (await doctor.look(client)).find(each => each.check === 'client.name');
      assert.equal(names?.found, `"${world.name}"`);
      // Of two remotes one is to come back.
      const target = `ssh://${host.login}@127.0.0.1:${world.port}`;
      const second = `[[remote]]\nname = "nas"\ntarget = "${target}"\nfrom = ["127.0.0.1"]`;
      world.configure({ remote: `${CHANNEL}\n${second}` });
      const both = await checks();
      for (const each of OF_THE_WAY_BACK) assert.equal(both.filter(name => name === each).length, 1, each);
      world.configure();
      await doctor.isAsBefore(client);
    },
  );

  itLong('a private address towards a public one, unless the host has come back all the same', async () => {
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
      matching`^"vault": ${says('direct-will-probably-not-work')}: .* 203\.0\.113\.5 .* 10\.0\.0\.7,`,
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
      matching`${says('direct-which-worked-in-the')} 2026-11-23T00:12:00\.500Z, although`,
    );
    world.write(client, journal, lines('nobody'));
    assert.equal((await behindNat())?.state, 'warning');
    rmSync(world.clientState, { recursive: true });
    world.configure();
    await doctor.isAsBefore(client);
  });

  itShort('a host that cannot be reached', async () => {
    const file = join(client.home, '.ssh/known_hosts');
    const [known, config] = [readFileSync(file), readFileSync(world.clientToml, 'utf8')];
    const server = createServer();
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    const port = typeof address === 'object' && address ? address.port : 0;
    await new Promise(resolve => server.close(resolve));
    world.write(client, world.clientToml, config.replace(`:${world.port}"`, `:${port}"`));
    world.write(client, file, known.toString().replace(`:${world.port} `, `:${port} `));
    await doctor.only(
      client,
      'critical',
      'client.reach',
      matching`^"127\.0\.0\.1" port \d+: ${says('no-program-listens-there')}$`,
    );
    world.write(client, world.clientToml, config);
    world.write(client, file, known);
    await doctor.isAsBefore(client);
  });

  itLong('a host whose name has no address, and options that ssh does not know', async () => {
    const config = readFileSync(world.clientToml, 'utf8');
    world.write(
      client,
      world.clientToml,
      config.replace(/ssh:\/\/.*"/, 'dialback@no-such-host.invalid"').replace('from = ["127.0.0.1"]', ''),
    );
    const found = lines(await doctor.fresh(client));
    assert.deepEqual(found, ['critical client.known_hosts', 'critical client.reach', 'critical client.from']);
    world.configure({ remote: 'name = "vault"\nfrom = ["127.0.0.1"]\nssh_options = ["Ciphers=nonsense"]' });
    await doctor.only(client, 'critical', 'client.reach', /nonsense/i);
    world.configure();
    await doctor.isAsBefore(client);
  });

  itLong('a state folder that others can look into, or that cannot be made', async () => {
    mkdirSync(world.clientState, { mode: 0o755 });
    chownSync(world.clientState, client.uid, client.gid);
    chmodSync(world.clientState, 0o755);
    doctor.obey(
      client,
      await doctor.only(client, 'critical', 'client.state', matching`${says('others-may-look-into-it')}$`),
    );
    await doctor.isWell(client);
    const config = readFileSync(world.clientToml, 'utf8');
    const elsewhere = join(client.home, 'of root/state');
    mkdirSync(dirname(elsewhere));
    world.write(client, world.clientToml, config.replace(/^state = .*$/m, `state = "${elsewhere}"`));
    doctor.obey(
      'root',
      await doctor.only(client, 'critical', 'client.state', says('this-account-cannot-create-it')),
    );
    await doctor.isWell(client);
    world.configure();
  });

  itShort('roots that are not there, or closed', async () => {
    world.configure({ scope: `roots = ["${world.data}", "${world.data}/nowhere"]` });
    await doctor.only(client, 'warning', 'client.roots', /do not exist: ".*\/nowhere"$/);
    world.configure({ scope: `roots = ["${host.home}/x"]` });
    await doctor.only(client, 'critical', 'client.roots', /may not read/);
    world.configure({ scope: `roots = ["${world.data}"]\nexclude = ["+ x"]` });
    await doctor.only(client, 'critical', 'client.excludes', /line 1 of `exclude`/);
    world.configure();
    await doctor.isAsBefore(client);
  });

  itLong('other names of what must never be read: hard links, and mounts', async () => {
    const never = join(world.data, 'never');
    const alias = join(world.data, 'alias');
    for (const path of [never, alias, join(never, 'part')]) mkdirSync(path);
    writeFileSync(join(never, 'secret'), 'secret');
    writeFileSync(join(never, 'two'), '2');
    linkSync(join(never, 'two'), join(never, 'names'));
    world.configure({ scope: `roots = ["${world.data}"]\nnever = ["${never}"]` });
    await doctor.isWell(client);

    linkSync(join(never, 'secret'), join(world.data, 'link'));
    const next = await doctor.only(client, 'warning', 'client.never', /never\/secret" has another name/);
    const names = execFileSync('/bin/sh', ['-c', next.split(', as root')[0] ?? '']);
    assert.deepEqual(
      names.toString().trim().split('\n').sort(),
      [join(never, 'secret'), join(world.data, 'link')].sort(),
    );
    rmSync(join(world.data, 'link'));
    await doctor.isAsBefore(client);

    // The whole of it is kept back there too, and a part of it is a place of its own.
    execFileSync('mount', ['--bind', never, alias]);
    try {
      await doctor.isWell(client);
    } finally {
      execFileSync('umount', [alias]);
    }
    execFileSync('mount', ['--bind', join(never, 'part'), alias]);
    try {
      const mend = await doctor.only(
        client,
        'warning',
        'client.never',
        matching`${says('is-also-mounted-at')} ".*\/alias"$`,
      );
      doctor.obey('root', /umount .*$/.exec(mend)?.[0] ?? 'false');
      await doctor.isWell(client);
    } finally {
      spawnSync('umount', [alias]);
    }

    chmodSync(never, 0o000);
    chownSync(never, 0, 0);
    const see = await doctor.only(client, 'unknown', 'client.never', says('cannot-see-all-of'));
    doctor.obey('root', see.split(',')[0] ?? '');
    world.configure();
    rmSync(never, { recursive: true });
  });

  itShort('the clocks, once there was a backup', async () => {
    assert.equal((await world.backup()).status, 0);
    const journal = join(world.clientState, 'journal.jsonl');
    const clock = async (): Promise<Finding | undefined> =>
      (await doctor.look(client)).find(each => each.check === 'client.clock');
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
