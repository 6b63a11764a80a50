// Goal: from nothing to the first backup in four commands, each of which prints the next; and whatever is wrong on the way is
// refused with nothing changed, so that the next try succeeds.
import assert from 'node:assert/strict';
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { itLong, itShort, some } from '../../support/long.ts';
import { Machine } from '../../support/machine.ts';
import { matching, says, wording } from '../../support/wording.ts';
import { NEEDS_ROOT, type Result, World } from '../../support/world.ts';

/** The command that a message ends with. */
function nextCommand(stdout: string): string {
  const command = /^next: (?:on .*:\n {2})?(.+)\n$/m.exec(stdout)?.[1];
  assert.ok(command, stdout);
  return command;
}

describe('four commands on a machine of their own', { skip: IN_CLEAN_MACHINE || NEEDS_ROOT }, () => {
  let machine: Machine;
  before(async () => {
    machine = await Machine.boot({ ownNetwork: true });
    copyFileSync(
      join(import.meta.dirname, '../../../dist/dialback'),
      machine.path('/usr/local/bin/dialback'),
    );
    const { status, output } = await asRoot(`
      set -eu
      chmod 755 /usr/local/bin/dialback
      useradd --create-home --shell /bin/bash anna
      useradd --system --create-home --home-dir /var/lib/dialback --shell /bin/sh dialback
      usermod --password '*' dialback
      hostname box
      echo '127.0.0.1 box' >/etc/hosts
      ssh-keygen -q -A
      mkdir -p /run/sshd
      /usr/sbin/sshd
      echo 'a letter' >/home/anna/letter
      chmod 600 /home/anna/letter && chown anna: /home/anna/letter
    `);
    assert.equal(status, 0, output);
  });
  after(async () => {
    await machine?.end();
  });

  const run = (command: string[]) =>
    machine.run(command, {
      folder: '/',
      environment: { PATH: '/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' },
      timeoutMs: 120_000,
    });
  const asRoot = (script: string) => run(['sh', '-c', script]);
  const as = async (user: string, line: string): Promise<string> => {
    const { status, output } = await run(['su', '-', user, '-c', line]);
    assert.equal(status, 0, `${line}\n${output}`);
    return output;
  };

  it('lead to a backup, each pasted as the one before printed it', async () => {
    const second = nextCommand(await as('anna', 'dialback init'));
    assert.match(second, /^echo 'ssh-ed25519 \S{68} box' \| dialback enroll box -$/);
    const third = nextCommand(await as('dialback', second));
    assert.match(third, /^dialback init --name box --target dialback@box --host-key 'ssh-ed25519 \S{68}'$/);
    const fourth = nextCommand(await as('anna', third));
    assert.equal(fourth, 'dialback backup');
    await as('anna', fourth);
    const { output } = await asRoot(
      'dialback restore box --to /root/back --config /var/lib/dialback/.config/dialback/host.toml && cat /root/back/home/anna/letter',
    );
    assert.match(output, /\na letter\n$/);
  });

  it('lead to a backup over the call itself from behind NAT, and say why', async () => {
    // What calls the public address comes from a private one, as it does behind a router.
    const made = await asRoot(`
      set -eu
      ip addr add 203.0.113.5/32 dev lo
      ip addr add 10.0.0.7/32 dev lo
      ip route replace table local local 203.0.113.5 dev lo src 10.0.0.7
      echo '203.0.113.5 vault' >>/etc/hosts
      useradd --create-home --shell /usr/sbin/nologin bob
      su -s /bin/sh - bob -c 'echo "another letter" >letter'
    `);
    assert.equal(made.status, 0, made.output);
    const asBob = async (line: string): Promise<string> => {
      const { status, output } = await run(['su', '-s', '/bin/sh', '-', 'bob', '-c', line]);
      assert.equal(status, 0, `${line}\n${output}`);
      return output;
    };
    const second = nextCommand(await asBob('dialback init --name bobs'));
    const third = nextCommand(await as('dialback', second)).replace('@box', '@vault');
    const said = await asBob(third);
    assert.match(
      said,
      matching`\n${says('with-transport-channel-in-it')}: towards .* 203\.0\.113\.5 .* 10\.0\.0\.7, ${says('so-that-it-is-probably')} \(`,
    );
    const toml = '/home/bob/.config/dialback/client.toml';
    assert.match(readFileSync(machine.path(toml), 'utf8'), /^transport = "channel"$/m);
    assert.match(await asBob(third), matching`\n${says('it-is-set-up-already')} `);
    const other = await run(['su', '-s', '/bin/sh', '-', 'bob', '-c', `${third} --transport direct`]);
    assert.equal(other.status, 2);
    assert.match(
      other.output,
      matching`${says('is-there-already-and-calls-it')} with transport = "channel"\n`,
    );

    await asBob(nextCommand(said));
    const { output } = await asRoot(
      'dialback restore bobs --to /root/bobs --config /var/lib/dialback/.config/dialback/host.toml && cat /root/bobs/home/bob/letter',
    );
    assert.match(output, /\nanother letter\n$/);
    const doctor = await asBob('dialback doctor --client --json || [ $? -eq 1 ]');
    assert.match(doctor, /would probably not work: the shell of \\"bob\\" is \/usr\/sbin\/nologin/);
    assert.doesNotMatch(doctor, /"critical"/);
  });

  itLong('leave the transport as asked for, and as it was where the way is a private one', async () => {
    const transportOf = async (target: string, more: string): Promise<string> => {
      const key = readFileSync(machine.path('/etc/ssh/ssh_host_ed25519_key.pub'), 'utf8').split(' ');
      const { status, output } = await asRoot(`
        set -eu
        useradd --create-home --shell /bin/sh carl
        su - carl -c "dialback init --name carls --target ${target} --host-key '${key[0]} ${key[1]}' ${more}"
        cat /home/carl/.config/dialback/client.toml
        userdel --remove carl 2>/dev/null
      `);
      assert.equal(status, 0, output);
      assert.doesNotMatch(output, says('with-transport-channel-in-it'));
      return /^transport = "(.*)"$/m.exec(output)?.[1] ?? 'direct';
    };
    assert.equal(await transportOf('dialback@vault', '--transport direct'), 'direct');
    assert.equal(await transportOf('dialback@box', '--transport channel'), 'channel');
    for (const target of [
      'dialback@box',
      'dialback@10.0.0.7',
      'dialback@::1',
      'dialback@no-such-host.invalid',
    ])
      assert.equal(await transportOf(target, ''), 'direct', target);
  });

  itShort('show the same fingerprint on both machines, as ssh-keygen shows it', async () => {
    const third = nextCommand(await as('dialback', nextCommand(await as('anna', 'dialback init'))));
    const { output } = await asRoot('ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub');
    const shown = /SHA256:\S{43}/.exec(output)?.[0] ?? 'none';
    assert.ok((await as('anna', third)).includes(`the host's key: ${shown} `));
  });

  itShort('have the client refuse another host at the same name', async () => {
    const { status, output } = await asRoot(`
      set -eu
      kill $(cat /run/sshd.pid)
      rm /etc/ssh/ssh_host_*
      ssh-keygen -q -A
      /usr/sbin/sshd
      su - anna -c 'dialback backup'
    `);
    assert.equal(status, 13, output);
    assert.match(
      output,
      matching`${says('its-key-is-not-the-one')} "\/home\/anna\/\.config\/dialback\/known_hosts" has`,
    );
  });

  itShort('are refused to root on the client, with the line that is right', async () => {
    const { status, output } = await asRoot('dialback init');
    assert.equal(status, 2);
    assert.match(
      output,
      /Cannot run "init" as root: .*\nnext: runuser --pty -u ACCOUNT -- dialback init (…|\.\.\.)\n$/,
    );
  });

  itShort('work as the service account does them by runuser, below its home', async () => {
    const { status, output } = await asRoot(
      'cd /root && runuser --pty -u dialback -- dialback init --name service',
    );
    assert.equal(status, 0, output);
    // The terminal that --pty makes ends lines with both.
    assert.match(output, /^made the key "\/var\/lib\/dialback\/\.config\/dialback\/id_ed25519"\r?\n/);
  });

  itShort('count the config in /etc as one that is there', async () => {
    await asRoot('mkdir /etc/dialback && echo "[[remote]]\ntarget = \\"x@y\\"" >/etc/dialback/client.toml');
    const { status, output } = await asRoot('runuser --pty -u dialback -- dialback init');
    assert.equal(status, 2, output);
    assert.match(
      output,
      matching`"\/etc\/dialback\/client\.toml" ${says('is-there-already-and-calls')} with another key`,
    );
  });
});

describe('init and enroll between two users', { skip: NEEDS_ROOT }, () => {
  let world: World;
  /** What `enroll` printed for the client. */
  let words: { target: string; hostKey: string };
  before(async () => {
    world = await World.make({ isSetUp: false });
  });
  after(async () => {
    await world?.dispose();
  });
  beforeEach(() => {
    const key = readFileSync(join(world.host.home, 'sshd/key.pub'), 'utf8').split(' ').slice(0, 2).join(' ');
    words = { target: `ssh://${world.host.login}@127.0.0.1:${world.port}`, hostKey: key };
    writeFileSync(join(world.data, 'a file'), 'content');
  });
  afterEach(() => {
    for (const folder of [world.client.home, world.host.home])
      for (const name of ['.config', '.local', '.dialback-lock', 'dialback-store'])
        rmSync(join(folder, name), { recursive: true, force: true });
    rmSync(world.authorizedKeys, { force: true });
  });

  const folder = (): string => join(world.client.home, '.config/dialback');
  const file = (name: string): string => join(folder(), name);
  const environment = (): Record<string, string> => ({ PATH: `${dirname(world.binary)}:/usr/bin:/bin` });
  const init = (...args: string[]): Promise<Result> =>
    world.run(world.client, ['init', '--name', 'acorn', ...args]);
  const setUp = (...more: string[]): Promise<Result> =>
    init('--target', words.target, '--host-key', words.hostKey, ...more);
  const sh = (party: 'client' | 'host', line: string): Promise<Result> =>
    world.start(world[party], '/bin/sh', ['-c', line], { environment: environment() }).done;

  /** As the host's account, on a machine whose /etc/ssh has this alone. */
  async function onHost(line: string, sshFolder: Record<string, string>): Promise<Result> {
    const { uid, gid, home } = world.host;
    const files = Object.entries(sshFolder).flat();
    const script = `
      set -eu
      command=$1 uid=$2 gid=$3
      shift 3
      mount -t tmpfs keys /etc/ssh
      while [ $# -gt 0 ]; do cp "$2" "/etc/ssh/$1"; chmod 644 "/etc/ssh/$1"; shift 2; done
      exec setpriv --reuid "$uid" --regid "$gid" --clear-groups -- /bin/sh -c "$command"
    `;
    const args = ['--mount', '/bin/sh', '-c', script, 'sh', line, String(uid), String(gid), ...files];
    return await world.start('root', '/usr/bin/unshare', args, {
      environment: { PATH: `${dirname(world.binary)}:/usr/bin:/bin:/usr/sbin:/sbin`, HOME: home },
    }).done;
  }
  const ownKeys = (): Record<string, string> => ({
    'ssh_host_ed25519_key.pub': join(world.host.home, 'sshd/key.pub'),
  });

  /** Names, modes and contents of all that init writes. */
  function written(): string[] {
    if (!existsSync(folder())) return [];
    return readdirSync(folder())
      .sort()
      .map(
        name =>
          `${name} ${(statSync(file(name)).mode & 0o777).toString(8)} ${readFileSync(file(name), 'utf8')}`,
      );
  }

  itShort('goes from nothing to a backup, with the port put in by hand as `enroll` says', async () => {
    const first = await sh('client', 'dialback init --name acorn');
    assert.equal(first.status, 0, first.stderr);
    const second = await onHost(nextCommand(first.stdout), ownKeys());
    assert.equal(second.status, 0, second.stderr);
    const printed = nextCommand(second.stdout);
    const [, target = ''] = /--target (\S+)/.exec(printed) ?? [];
    assert.ok(second.stdout.includes(`${wording('with-a-port-it-is')}://${target}:PORT\n`));
    const third = await sh(
      'client',
      printed.replace(target, `ssh://${world.host.login}@127.0.0.1:${world.port}`),
    );
    assert.equal(third.status, 0, third.stderr);
    const fourth = await sh('client', nextCommand(third.stdout));
    assert.equal(fourth.status, 0, fourth.stderr);
    assert.equal(fourth.stdout, '', 'cron mails what is printed');
    const kept = join(world.host.home, 'dialback-store/clients/acorn/snapshots');
    const [snapshot = ''] = readdirSync(kept);
    const tree = join(kept, snapshot, 'tree', world.client.home);
    assert.equal(readFileSync(join(tree, 'my data/a file'), 'utf8'), 'content');
    const copied = readdirSync(tree, { recursive: true, encoding: 'utf8' });
    assert.ok(copied.includes('.config/dialback/client.toml'));
    assert.ok(!copied.some(name => name.endsWith('id_ed25519')), 'the key stays here');
  });

  itShort('makes private files in a private folder, whatever the umask', async () => {
    for (const umask of ['000', '077']) {
      const { status, stderr } = await sh(
        'client',
        `umask ${umask} && dialback init --name acorn --target ${words.target} --host-key '${words.hostKey}'`,
      );
      assert.equal(status, 0, stderr);
      assert.equal(statSync(folder()).mode & 0o777, 0o700);
      assert.deepEqual(
        written().map(line => line.split(' ').slice(0, 2).join(' ')),
        ['client.toml 600', 'id_ed25519 600', 'id_ed25519.pub 644', 'known_hosts 600'],
      );
      rmSync(folder(), { recursive: true });
    }
  });

  itShort('changes nothing when it is called again with the same words', async () => {
    const first = await init();
    assert.deepEqual((await init()).stdout.replace('the key is', 'made the key'), first.stdout);
    await setUp();
    const before = written();
    for (const again of [await setUp(), await setUp('--config', file('client.toml'))]) {
      assert.equal(again.status, 0, again.stderr);
      assert.match(again.stdout, matching`\n${says('it-is-set-up-already')} `);
    }
    assert.equal((await init()).status, 0);
    assert.deepEqual(written(), before);
    // What the user has changed meanwhile is not init's business.
    const toml = `${readFileSync(file('client.toml'), 'utf8')}\n[limits]\nnice = 19\n`;
    writeFileSync(file('client.toml'), toml);
    assert.equal((await setUp()).status, 0);
    assert.equal(readFileSync(file('client.toml'), 'utf8'), toml);
  });

  itShort('says that its key is not enrolled yet, when the host was named at once', async () => {
    const { stdout } = await setUp();
    assert.match(stdout, /^made the key /);
    assert.match(
      stdout,
      /\nnext: on the backup host, .*:\n {2}echo '.*' \| dialback enroll acorn -\nthen: dialback backup\n$/,
    );
  });

  itShort('refuses other words than those of the config that is there, and says which', async () => {
    assert.equal((await setUp()).status, 0);
    const before = written();
    const other = words.hostKey.replace(/.{6}$/, 'AAAAAA');
    const refusals: [string, string[], RegExp, number][] = [
      [
        'name',
        ['--name', 'oak'],
        matching`"oak".* ${says('is-there-already-and-change', 'calls it "acorn"')}`,
        2,
      ],
      [
        'target',
        ['--name', 'acorn', '--target', 'x@elsewhere', '--host-key', words.hostKey],
        /and calls "ssh:\/\/\S+"\nnext:/,
        2,
      ],
      [
        'key',
        ['--name', 'acorn', '--target', words.target, '--host-key', other],
        matching`${says('it-has-another-key-for')} \[127\.0\.0\.1\]:\d+\n${says('ask-the-hosts-administrator-which')}; .* ssh-keygen -R`,
        12,
      ],
    ];
    for (const [what, args, message, exit] of refusals) {
      const { status, stderr, stdout } = await world.run(world.client, ['init', ...args]);
      assert.equal(status, exit, `${what}: ${stderr}`);
      assert.match(stderr, message, what);
      assert.equal(stdout, '');
      assert.deepEqual(written(), before, what);
    }
    // The command of the last one mends it.
    const { stderr } = await init('--target', words.target, '--host-key', other);
    const mend = /ssh-keygen -R .*$/m.exec(stderr)?.[0] ?? '';
    assert.equal((await sh('client', mend)).status, 0, mend);
    assert.equal((await init('--target', words.target, '--host-key', other)).status, 0);
  });

  itShort('does not touch a config of another key, and does not make a second one for it', async () => {
    mkdirSync(folder(), { recursive: true });
    world.write(
      world.client,
      file('client.toml'),
      'name = "acorn"\n[[remote]]\ntarget = "a@b"\nidentity = "~/.ssh/own"\n',
    );
    for (const path of [join(world.client.home, '.config'), folder()])
      chownSync(path, world.client.uid, world.client.gid);
    const { status, stderr } = await init();
    assert.equal(status, 2);
    assert.match(stderr, matching`${says('calls-with-another-key')}, ".*\/\.ssh\/own"`);
    assert.deepEqual(readdirSync(folder()), ['client.toml']);
  });

  it('refuses words that are no host, no key and no name, before anything is made', async () => {
    const { target, hostKey } = words;
    const [, blob = ''] = hostKey.split(' ');
    const refusals: [string[], RegExp][] = [
      [['--target', target], matching`--host-key ${says('is-missing-they-belong-together')}`],
      [['--host-key', hostKey], matching`--target ${says('is-missing-they-belong-together')}`],
      [['--transport', 'channel'], matching`--${says('target-and-host-key-are')}`],
      [
        ['--target', target, '--host-key', hostKey, '--transport', 'usb'],
        says('should-be-direct-channel-or'),
      ],
      [['--transport', 'local'], matching`--${says('target-is-missing-the-folder')}`],
      [['--transport', 'local', '--target', '/'], matching`"\/" ${says('cannot-be-the-path-of')}`],
      [
        ['--transport', 'local', '--target', '/x', '--host-key', hostKey],
        matching`--${says('host-key-has-no-effect')}`,
      ],
      [
        ['--transport', 'local', '--target', '/x', '--name', 'A b'],
        matching`${says('cannot-call-this-client')} "A b"`,
      ],
      ...['-oProxyCommand=id', '--', 'a b', 'a@b:22', '$(id)@x', "x'y", 'ssh://', 'a\nb'].map(
        (each): [string[], RegExp] => [
          [`--target=${each}`, '--host-key', hostKey],
          matching`${says('it-is-not-user-host')}\nnext: ${says('copy-both-words-as')}`,
        ],
      ),
      [['--target=ssh://a:0', '--host-key', hostKey], says('there-is-no-such-port')],
      [['--target=ssh://a:65536', '--host-key', hostKey], says('there-is-no-such-port')],
      ...[
        'KEY',
        blob,
        `ssh-rsa ${blob}`,
        `${hostKey}=`,
        hostKey.slice(0, -4),
        `x ${hostKey}`,
        `${hostKey}\n${hostKey}`,
      ].map((each): [string[], RegExp] => [
        ['--target', target, '--host-key', each],
        matching`^dialback: ${says('cannot-use-that-as-the')}`,
      ]),
      ...['Oak', '', '../x', 'a b', "a'b", '-x', 'x'.repeat(64)].map((each): [string[], RegExp] => [
        [`--name=${each}`],
        matching`${says('a-name-is-1-to')}|needs a value`,
      ]),
    ];
    for (const [args, message] of some(refusals, 4)) {
      const { status, stderr, stdout } = await world.run(world.client, ['init', ...args]);
      assert.equal(status, 2, `${args}: ${stderr}`);
      assert.match(stderr, message, args.join(' '));
      assert.match(stderr, /^dialback: Cannot .*\n(next: .*\n)?$/);
      assert.equal(stdout, '');
    }
    assert.ok(!existsSync(join(world.client.home, '.config')));
    assert.ok(!existsSync(join(world.client.home, '.local')));
  });

  describe('with a key that is there', () => {
    beforeEach(async () => {
      assert.equal((await init()).status, 0);
    });
    const identity = (): string => file('id_ed25519');
    const half = (): string => file('id_ed25519.pub');

    itShort('writes its public half anew where that is missing', async () => {
      const before = readFileSync(half(), 'utf8');
      rmSync(half());
      assert.equal((await init()).status, 0);
      assert.equal(readFileSync(half(), 'utf8'), before);
    });

    const broken: [string, () => unknown, RegExp, mend: string | undefined][] = [
      [
        'a public half of another key',
        () => writeFileSync(half(), `${words.hostKey} x\n`),
        matching`id_ed25519\.pub" ${says('is-not-its-public-half-rm', /'.*'/)}`,
        'rm "$HOME/.config/dialback/id_ed25519.pub"',
      ],
      [
        'a public half of rubbish',
        () => writeFileSync(half(), 'x'),
        says('is-not-its-public-half'),
        undefined,
      ],
      [
        'a public half alone',
        () => rmSync(identity()),
        matching`${says('the-public-half-of-a')} '`,
        'rm "$HOME/.config/dialback/id_ed25519.pub"',
      ],
      [
        'a key that others can read',
        () => chmodSync(identity(), 0o640),
        matching`${says('others-may-read-or-write')} '`,
        'chmod 600 "$HOME/.config/dialback/id_ed25519"',
      ],
      [
        'a key of rubbish',
        () => writeFileSync(identity(), 'x'),
        matching`${says('cannot-use-the-key')} ".*": .+\n${says('move-it-away')}`,
        undefined,
      ],
      [
        'an empty key',
        () => writeFileSync(identity(), ''),
        matching`${says('cannot-use-the-key')} ".*": .+\n${says('move-it-away')}`,
        undefined,
      ],
      [
        'a folder for a key',
        () => {
          rmSync(identity());
          mkdirSync(identity());
        },
        says('it-is-not-a-plain'),
        undefined,
      ],
    ];
    for (const [what, breakIt, message, mend] of some(broken, 3)) {
      it(`refuses ${what}, and overwrites nothing`, async () => {
        breakIt();
        const before = readdirSync(folder());
        const { status, stderr } = await init();
        assert.equal(status, 2, stderr);
        assert.match(stderr, message);
        assert.deepEqual(readdirSync(folder()), before);
        if (mend === undefined) return;
        assert.equal((await sh('client', mend)).status, 0);
        assert.equal((await init()).status, 0);
      });
    }

    itLong('refuses one with a passphrase, and one of another type', async () => {
      const kinds: [string, RegExp][] = [
        ['-t ed25519 -N secret', says('it-has-a-passphrase-which')],
        ['-t ecdsa -N ""', says('it-is-not-an-ed25519')],
      ];
      for (const [kind, message] of kinds) {
        const made = await sh(
          'client',
          `cd "$HOME/.config/dialback" && rm id_ed25519* && ssh-keygen -q ${kind} -f id_ed25519`,
        );
        assert.equal(made.status, 0, made.stderr);
        const before = written();
        const { status, stderr } = await init();
        assert.equal(status, 2);
        assert.match(stderr, message);
        assert.deepEqual(written(), before);
      }
    });

    itShort('refuses a folder that others can write', async () => {
      chmodSync(folder(), 0o770);
      const { status, stderr } = await setUp();
      assert.equal(status, 2);
      assert.match(
        stderr,
        matching`${says('can-be-written-by-others-mode')} 770\)\n${says('take-the-right-to-write')}`,
      );
      assert.deepEqual(readdirSync(folder()), ['id_ed25519', 'id_ed25519.pub']);
    });
  });

  itLong(
    'asks for the whole machine where this account has a launcher, and goes openly without one that is not its own',
    async () => {
      world.installLauncher();
      const config = (): string[] => readFileSync(file('client.toml'), 'utf8').split('\n');
      const own = await setUp();
      assert.match(own.stdout, matching`: "\/" to ".*", ${says('in-the-kernels-jail')}\n`);
      assert.ok(config().includes('roots = ["/"]'));
      assert.ok(config().includes('capability = "confined"'));
      assert.equal(
        config().includes('exclude_from = "/etc/dialback/excludes"'),
        existsSync('/etc/dialback/excludes'),
      );
      rmSync(file('client.toml'));
      if (!existsSync('/etc/dialback/excludes')) {
        mkdirSync('/etc/dialback', { recursive: true });
        copyFileSync(join(import.meta.dirname, '../../../share/excludes'), '/etc/dialback/excludes');
        await setUp();
        assert.ok(config().includes('exclude_from = "/etc/dialback/excludes"'));
        // One that others can write is not believed.
        rmSync(file('client.toml'));
        chmodSync('/etc/dialback/excludes', 0o666);
        await setUp();
        assert.ok(!config().includes('exclude_from = "/etc/dialback/excludes"'));
        rmSync('/etc/dialback/excludes');
        rmSync(file('client.toml'));
      }
      // In its group, but it is not the account that the launcher was made for.
      world.installLauncher({ serviceUid: world.host.uid });
      const other = await setUp();
      assert.match(other.stdout, matching`", ${says('as-far-as-this-account')}\n`);
      assert.ok(config().includes(`roots = ["${world.client.home}"]`));
      assert.ok(config().includes('capability = "none"'));
      rmSync(dirname(world.launcher), { recursive: true });
    },
  );

  itShort('says so where nothing can be written', async () => {
    const { home } = world.client;
    chmodSync(home, 0o500);
    const { status, stderr } = await init();
    chmodSync(home, 0o700);
    assert.equal(status, 1);
    assert.match(stderr, matching`^dialback: ${says('cannot-create-the-folder')} ".*": permission denied\n`);
    assert.deepEqual(readdirSync(home).sort(), ['.ssh', 'my data']);
  });

  const INIT_WRITES = ['client.toml', 'id_ed25519', 'id_ed25519.pub', 'known_hosts'];

  itLong('leaves nothing that stops the next try, wherever it is killed', async t => {
    const { target, hostKey } = words;
    const stages = new Set<string>();
    // Each file is written, synced and renamed: so before and after each step of each of the four.
    for (const call of ['fsync', 'rename'])
      for (let nth = 1; nth <= 8; nth += 1) {
        const kill = ['-o', '/dev/null', '-e', `inject=${call}:signal=KILL:when=${nth}`];
        const args = ['init', '--name', 'acorn', '--target', target, '--host-key', hostKey];
        await world.start(world.client, '/usr/bin/strace', [...kill, world.binary, ...args]).done;
        stages.add(existsSync(folder()) ? readdirSync(folder()).sort().join(' ') : 'nothing');
        const { status, stderr } = await setUp();
        assert.equal(status, 0, `${call} ${nth}: ${stderr}`);
        assert.deepEqual(readdirSync(folder()).sort(), INIT_WRITES);
        rmSync(folder(), { recursive: true });
      }
    t.diagnostic(`found half done: ${[...stages].join('; ')}`);
    for (let count = 1; count < INIT_WRITES.length; count += 1)
      assert.ok(
        [...stages].some(
          stage => stage.split(' ').filter(name => INIT_WRITES.includes(name)).length === count,
        ),
      );
  });

  itLong('ends at Ctrl-C, and the next try succeeds', async () => {
    for (let delayMs = 20; delayMs <= 100; delayMs += 5) {
      const { child, done } = world.start(world.client, world.binary, ['init'], { detached: true });
      const timer = setTimeout(() => child.pid && interrupt(child.pid), delayMs);
      const { status, signal, stderr } = await done;
      clearTimeout(timer);
      assert.ok(status === 0 || status === 130 || signal === 'SIGINT', `${status} ${stderr}`);
      const next = await setUp();
      assert.equal(next.status, 0, next.stderr);
      rmSync(folder(), { recursive: true });
    }
  });

  itLong('lets one at a time work', async () => {
    const both = await Promise.all([setUp(), setUp(), setUp()]);
    for (const { status, stderr } of both)
      if (status !== 0) assert.match(stderr, matching`^dialback: ${says('cannot-set-this-client-up')}\n$`);
    assert.equal((await setUp()).status, 0);
  });

  describe('enroll without a config', () => {
    let line = '';
    beforeEach(async () => {
      line = nextCommand((await init()).stdout);
    });
    const hostToml = (): string => join(world.host.home, '.config/dialback/host.toml');

    itShort('writes one, and takes a second client into the same store', async () => {
      const { status, stdout, stderr } = await onHost(line, ownKeys());
      assert.equal(status, 0, stderr);
      assert.match(
        stdout,
        matching`^${says('wrote-backups-go-to', /.*\/\.config\/dialback\/host\.toml/)} ".*\/dialback-store"\ncreated the store `,
      );
      assert.equal(statSync(hostToml()).mode & 0o777, 0o600);
      const before = readFileSync(hostToml(), 'utf8');
      renameSync(file('id_ed25519'), file('old'));
      rmSync(file('id_ed25519.pub'));
      const second = nextCommand((await world.run(world.client, ['init', '--name', 'oak'])).stdout);
      const again = await onHost(second, ownKeys());
      assert.equal(again.status, 0, again.stderr);
      assert.doesNotMatch(again.stdout, /wrote|created/);
      assert.equal(readFileSync(hostToml(), 'utf8'), before);
      assert.deepEqual(readdirSync(join(world.host.home, 'dialback-store/clients')).sort(), ['acorn', 'oak']);
    });

    itShort('takes the store that is named, but not in place of another', async () => {
      const store = join(world.host.home, 'a "store"');
      const { status, stderr } = await onHost(`${line} --store '${store}'`, ownKeys());
      assert.equal(status, 0, stderr);
      assert.ok(existsSync(join(store, 'store.json')));
      assert.equal((await onHost(`${line} --store '${store}'`, ownKeys())).status, 0);
      const other = await onHost(`${line} --store "$HOME/other"`, ownKeys());
      assert.equal(other.status, 2);
      assert.match(other.stderr, says('exists-and-has-the-store'));
      assert.ok(!existsSync(join(world.host.home, 'other')));
      rmSync(store, { recursive: true });
    });

    itLong('writes no config for a folder that cannot be a store', async () => {
      for (const store of [world.host.home, '/proc/store', '/etc']) {
        const { status, stderr } = await onHost(`${line} --store '${store}'`, ownKeys());
        assert.notEqual(status, 0);
        assert.match(stderr, /^dialback: Cannot /);
        assert.ok(!existsSync(hostToml()), stderr);
      }
      const refused = await onHost(`${line} --store /srv/nowhere`, ownKeys());
      assert.match(
        refused.stderr,
        /permission denied\nnext: as root: install -d -o dbtest-host-\S+ -m 700 '\/srv\/nowhere'\n$/,
      );
      assert.equal((await onHost(line, ownKeys())).status, 0, 'and the next try succeeds');
    });

    itShort('makes none by a slip in --config', async () => {
      const { status, stderr } = await onHost(`${line} --config "$HOME/hots.toml"`, ownKeys());
      assert.equal(status, 2);
      assert.match(stderr, matching`hots\.toml": ${says('there-is-no-such-file-or-folder')}\n$`);
      assert.ok(!existsSync(join(world.host.home, 'dialback-store')));
    });

    itLong('says where to get the key of a host that has none in /etc/ssh', async () => {
      const { status, stdout } = await onHost(line, {});
      assert.equal(status, 0);
      assert.match(stdout, matching`\n${says('no-public-key-of-this')}: `);
      const next = nextCommand(stdout);
      assert.match(next, /--host-key 'KEY'$/);
      assert.equal((await sh('client', next)).status, 2, 'and it cannot be pasted as it is');
    });

    itLong('takes the first of the keys that is one', async () => {
      const rsa = join(world.host.home, 'rsa');
      const made = await sh(
        'host',
        `rm -f "$HOME"/rsa* && ssh-keygen -q -t rsa -b 3072 -N '' -f "$HOME/rsa"`,
      );
      assert.equal(made.status, 0, made.stderr);
      const { stdout } = await onHost(line, {
        'ssh_host_ed25519_key.pub': '/etc/hostname',
        'ssh_host_rsa_key.pub': `${rsa}.pub`,
      });
      const next = nextCommand(stdout);
      assert.match(next, /--host-key 'ssh-rsa AAAA\S+'$/);
      assert.equal((await sh('client', next)).status, 0);
      rmSync(rsa);
      rmSync(`${rsa}.pub`);
    });
  });
});

/** As a terminal does it: the whole process group. */
function interrupt(pid: number): void {
  try {
    process.kill(-pid, 'SIGINT');
  } catch {
    // it has ended in time
  }
}
