// Goal: what part of a machine only root can read is backed up whole by an installed dialback, started as cron starts it:
// no root at any time, nobody's hand when the rsync package is installed anew, and where the launcher is not as it was
// installed, one clear line instead of a smaller backup.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { IS_LONG, itLong } from '../../support/long.ts';
import type { Ended, Process } from '../../support/machine.ts';
import { diffManifests, manifest } from '../../support/manifest.ts';
import { Sides } from '../../support/sides.ts';
import { SERVICE_UID, type User } from '../../support/site.ts';
import { makeTortureTree } from '../../support/tree.ts';
import { matching, says } from '../../support/wording.ts';
import { until } from '../../support/world.ts';

const SKIP =
  IN_CLEAN_MACHINE ||
  (process.getuid?.() !== 0 && 'needs root: it makes a machine of namespaces and an overlay');

const LAUNCHER = '/usr/local/libexec/dialback/launch';
const HOME = '/var/lib/dialback';
const TREE = '/srv/a torture tree';
/** CAP_DAC_READ_SEARCH, as a set of capabilities. */
const THE_ONE = 1n << 2n;
/** Large, and slow enough to be looked at while it is on its way. */
const LARGE = '/srv/root/large';

/** What only root, or only its owner, can read: by path, how it is made. */
const SECRETS: [path: string, make: string][] = [
  ["/srv/root/root's own", 'chmod 600'],
  ['/srv/root/nobody may', 'chmod 0'],
  ['/srv/root/closed/below mode 0000', 'chmod 600'],
  ['/home/anna/private', 'chown anna: /home/anna "$1"; chmod 700 /home/anna; chmod 600'],
  ['/home/anna/nobody may', 'chown anna: "$1"; chmod 0'],
  ['/var/tmp/a file', 'chmod 600'],
];

class Installed extends Sides {
  static async make(): Promise<Installed> {
    return await Sides.install(Installed, made => made.#prepare());
  }

  async #prepare(): Promise<void> {
    const { port } = this;
    await this.prepareDaemon();
    await this.as(
      this.host,
      `mkdir -p -m 700 ~/.ssh ~/.config/dialback
       printf '%s\\n' 'store = "/home/vault/the store"' 'syslog = false' >~/.config/dialback/host.toml`,
    );
    await this.as(
      this.client,
      "mkdir -p -m 700 ~/.ssh ~/.config/dialback && ssh-keygen -q -t ed25519 -N '' -f ~/.ssh/id_ed25519",
    );
    writeFileSync(
      this.path(`${HOME}/.ssh/known_hosts`),
      `[127.0.0.1]:${port} ${this.read('/home/vault/sshd/key.pub').trim()}\n`,
    );
    const key = this.read(`${HOME}/.ssh/id_ed25519.pub`).trim();
    await this.as(this.host, `echo '${key}' | dialback enroll acorn - 2>&1`);
    this.configure();
    await this.startDaemon();
  }

  /** For every account of the machine that has no config of its own. */
  configure(
    top = '',
    limits = 'deadline = "5m"',
    way = 'from = ["127.0.0.1"]\nlisten = "127.0.0.1:0"',
  ): void {
    const roots = ['/etc', '/srv/root', '/home/anna', '/var/tmp', TREE].map(each => JSON.stringify(each));
    const toml = [
      'name = "acorn"',
      top,
      '[[remote]]',
      `target = "ssh://vault@127.0.0.1:${this.port}"`,
      way,
      '[scope]',
      `roots = [${roots.join(', ')}]`,
      '[limits]',
      limits,
      '',
    ];
    writeFileSync(this.path('/etc/dialback/client.toml'), toml.join('\n'));
  }

  /** The line that /etc/cron.d/dialback has, run as cron runs it. */
  async cron(user: User = this.client): Promise<Ended> {
    const line = this.read('/etc/cron.d/dialback').trimEnd().split('\n').at(-1);
    const [, account, command] = /^#?(?:\S+ ){5}(\S+) (.*)$/.exec(line ?? '') ?? [];
    assert.equal(account, 'dialback');
    const login = user === this.client ? 'dialback' : 'anna';
    const clean = `env -i HOME=${user.home} LOGNAME=${login} SHELL=/bin/sh PATH=/usr/bin:/bin`;
    return await this.start(user, `cd && exec ${clean} /bin/sh -c '${command}'`);
  }

  async list(): Promise<{ snapshot: string; state: string }[]> {
    return JSON.parse(await this.as(this.host, 'dialback list acorn --json')) as {
      snapshot: string;
      state: string;
    }[];
  }

  /** The record of the newest snapshot. */
  async newest(): Promise<{
    state: string;
    confined: Record<string, unknown>;
    counts: Record<string, number>;
  }> {
    const name = (await this.list()).at(-1)?.snapshot ?? '';
    const path = `/home/vault/the store/clients/acorn/snapshots/${name}/snapshot.json`;
    return JSON.parse(this.read(path));
  }
}

describe('an installed dialback', { skip: SKIP }, () => {
  let world: Installed;
  let own: Set<number>;
  const path = (inside: string): string => world.site.machine.path(inside);
  before(async () => {
    world = await Installed.make();
    // What others have left there changes under the test, or is too large for it. It is gone in this machine alone.
    await world.site.say('find /var/tmp -mindepth 1 -delete');
    await world.site.say('mkdir -m 700 /srv/root && mkdir /srv/root/closed');
    for (const [secret, make] of SECRETS) {
      writeFileSync(path(secret), `the content of ${secret}`);
      await world.site.say(`set -- "${secret}"; ${make} "$1"`);
    }
    await world.site.say('chmod 0 /srv/root/closed');
    makeTortureTree(path(TREE), { asRoot: true });
    own = new Set(world.site.machine.processes().map(each => each.pid));
  });
  after(async () => {
    await world?.site.machine.end();
  });

  /** A backup that has to go well: cron mails nothing. */
  async function succeeds(): Promise<void> {
    const { status, output } = await world.cron();
    assert.equal(output, '');
    assert.equal(status, 0);
    assert.equal((await world.newest()).state, 'full');
  }

  it('backs up from cron’s environment what only root can read', async () => {
    await succeeds();
    const { confined } = await world.newest();
    assert.equal(confined.send, true);
    assert.equal(confined.receive, true);
  });

  it('gives all of it back to root, identical', async () => {
    await world.site.say(
      'dialback restore acorn --config /home/vault/.config/dialback/host.toml --to /srv/restored 2>&1',
    );
    for (const [secret] of SECRETS)
      assert.equal(readFileSync(path(`/srv/restored${secret}`), 'utf8'), `the content of ${secret}`);
    for (const folder of [TREE, '/etc', '/srv/root', '/home/anna', '/var/tmp'])
      assert.deepEqual(
        diffManifests(manifest(path(folder)), manifest(path(`/srv/restored${folder}`))),
        [],
        folder,
      );
  });

  it('has no process of root’s while it runs, and one kind that can read all: rsync in its jail', async () => {
    await world.site.say(`head -c 3000000 /dev/urandom >${LARGE} && chmod 600 ${LARGE}`);
    world.configure('', 'bwlimit = "1M"');
    const seen = new Map<string, Process>();
    const run = world.cron();
    let ended = false;
    void run.finally(() => {
      ended = true;
    });
    await until(
      'the backup has ended',
      () => {
        for (const each of world.site.machine.processes())
          if (!own.has(each.pid)) seen.set(JSON.stringify([each.pid, each.command, each.uids.join()]), each);
        return ended;
      },
      60_000,
    );
    assert.equal((await run).status, 0, (await run).output);
    world.configure();

    const users = new Set([world.client.uid, world.host.uid]);
    // What comes from outside of the machine (its parent is not in it) is the test itself, on its way to an account.
    const all = [...seen.values()].filter(
      ({ command, parent }) => parent !== 0 || !/^(nsenter|env -C|setpriv --reuid)/.test(command),
    );
    assert.deepEqual(
      all.filter(({ uids }) => !uids.every(uid => users.has(uid))),
      [],
      'only the two accounts',
    );
    const both = (program: RegExp): string[] =>
      [...users]
        .filter(user => all.some(({ uids, command }) => uids[0] === user && program.test(command)))
        .map(String);
    for (const program of [/^rsync /, /^\S*dialback /, /^sshd/])
      assert.equal(
        both(program).length,
        2,
        `${program} was seen on both sides:\n${all.map(each => each.command).join('\n')}`,
      );

    const reader = all.filter(({ uids, command }) => uids[0] === world.client.uid && /^rsync /.test(command));
    assert.ok(reader.length > 0);
    const jailed = all.filter(({ capabilities }) => capabilities.some(set => set !== 0n));
    for (const { command, uids, capabilities, noNewPrivileges, filtered } of jailed) {
      assert.equal(uids[0], world.client.uid, command);
      assert.ok(
        capabilities.every(set => (set & ~THE_ONE) === 0n),
        command,
      );
      if (/^rsync /.test(command)) assert.ok(noNewPrivileges && filtered, command);
      else assert.match(command, /^\S*\/launch (?:send|never) /);
    }
    assert.ok(
      jailed.some(({ command }) => /^rsync /.test(command)),
      'the reader was seen at work',
    );
  });

  itLong('goes on when the rsync package was installed anew, without anybody’s help', async () => {
    const file = await world.site.packRsync();
    const inode = await world.site.say('stat -c %i /usr/bin/rsync');
    await world.site.say(
      `DEBIAN_FRONTEND=noninteractive apt-get install -qy --reinstall --allow-downgrades ${file} 2>&1`,
    );
    assert.notEqual(await world.site.say('stat -c %i /usr/bin/rsync'), inode);
    await succeeds();
  });

  describe('where the launcher is not as it was installed', () => {
    /** One line, and what to do next; no snapshot. */
    async function fails(user: User, pattern: RegExp): Promise<void> {
      const before = await world.list();
      const { status, output } = await world.cron(user);
      assert.equal(status, 1, output);
      const [line, next, ...more] = output.trimEnd().split('\n');
      assert.match(line ?? '', pattern);
      assert.equal(next, 'next: dialback doctor');
      assert.deepEqual(more, []);
      assert.deepEqual(await world.list(), before);
      if (user === world.client) assert.match(await doctorSays(), /\S/, 'doctor names a mend');
    }
    /** The mends of what is critical about the launcher, as doctor names them. */
    async function doctorSays(): Promise<string> {
      const said = await world.as(world.client, 'dialback doctor --client --json || [ $? -lt 3 ]');
      const findings = JSON.parse(said) as { check: string; state: string; next: string | null }[];
      const critical = findings.filter(
        ({ check, state }) => state === 'critical' && /^(launcher|client\.never)/.test(check),
      );
      return critical.map(({ next }) => next ?? '').join('\n');
    }
    /** `make install` mends it. */
    async function mended(): Promise<void> {
      const said = await world.site.say('make install');
      assert.match(said, /^install: \S+\/launch/m);
      await succeeds();
    }

    it('says so when it has no capability', async () => {
      await world.site.say(`setcap -r ${LAUNCHER}`);
      await fails(world.client, /^dialback: Cannot confine rsync: .*cap_dac_read_search/);
      await world.site.say((await doctorSays()).split('\n')[0] ?? '');
      await succeeds();
      assert.equal(await doctorSays(), '');
    });

    itLong('says so when it has no capability, and `make install` corrects it', async () => {
      await world.site.say(`setcap -r ${LAUNCHER}`);
      await mended();
    });

    itLong('says so when its group is another', async () => {
      await world.site.say(`chgrp root ${LAUNCHER}`);
      await fails(world.client, matching`^dialback: ${says('cannot-run-the-launcher-this', /\S+/)}$`);
      await mended();
    });

    itLong('says so when others could change it', async () => {
      await world.site.say(`chmod 770 ${LAUNCHER}`);
      await world.site.say(`setcap cap_dac_read_search=ep ${LAUNCHER}`);
      await fails(world.client, /^dialback: Cannot confine rsync: .*written by others/);
      await mended();
    });

    it('says so to an account that it does not serve, though that is in its group', async () => {
      await world.site.say('usermod --append --groups dialback anna');
      await world.site.say(`cp -r ${HOME}/.ssh /home/anna && chown -R anna: /home/anna/.ssh`);
      await fails(world.anna, /^dialback: Cannot confine rsync: .*(uid|account)/);
    });

    it('says so when what no backup may read is not root’s alone to say', async () => {
      await world.site.say('chmod 666 /etc/dialback/never');
      await fails(world.client, /^dialback: Cannot confine rsync: .*\/etc\/dialback\/never/);
      await world.site.say('chmod 644 /etc/dialback/never');
      if (IS_LONG) await succeeds();
    });
  });

  itLong('reads the same with capability = "inherited", after rsync was installed anew as well', async () => {
    world.site.compile({ SERVICE_UID, INHERITED: '1' });
    await world.site.say('make install INHERITED=1');
    await succeeds(); // confined all the same, until a config says otherwise
    world.configure('capability = "inherited"');
    await succeeds();
    await world.site.say(`dpkg -i ${await world.site.packRsync()} 2>&1`);
    await world.site.say(`head -c 3000000 /dev/urandom >${LARGE}`);
    world.configure('capability = "inherited"', 'bwlimit = "1M"');
    const run = world.cron();
    // Whoever lends and inherits may set this of himself all the same.
    await until('the reader is one that is ended first', () =>
      world.site.machine
        .processes()
        .some(
          ({ command, endedFirst }) => /^\S*rsync --server --daemon --config=/.test(command) && endedFirst,
        ),
    );
    assert.deepEqual(await run.then(({ status, output }) => [status, output]), [0, '']);
    world.configure('capability = "inherited"');
    const { confined } = await world.newest();
    assert.equal(confined.send, false);
  });

  itLong('reads the same over the channel, in both ways', async () => {
    for (const capability of ['confined', 'inherited']) {
      world.configure(`capability = "${capability}"`, 'deadline = "5m"', 'transport = "channel"');
      await succeeds();
      assert.equal((await world.newest()).confined.send, capability === 'confined');
    }
    world.configure('capability = "inherited"');
  });

  itLong('does not go on with less when rsync has lost that capability, and names the mend', async () => {
    await world.site.say('setcap -r /usr/bin/rsync');
    const { status, output } = await world.cron();
    assert.equal(status, 1, output);
    assert.match(output, /^dialback: Cannot lend "\/usr\/bin\/rsync" .*not set.*\nnext: (setcap .*)\n$/);
    await world.site.say(/^next: (.*)$/m.exec(output)?.[1] ?? 'false');
    await succeeds();
  });

  it('reads without the launcher what the account may read, and says what is missing', async () => {
    world.configure('capability = "none"');
    const { status, output } = await world.cron();
    assert.equal(status, 3, output);
    assert.match(output, /\/srv\/root/);
    assert.equal((await world.newest()).state, 'incomplete');
  });

  it('leaves nothing behind', async () => {
    const runs = (home: string): string[] =>
      readdirSync(path(`${home}/.local/state/dialback`)).filter(name => name.startsWith('run-'));
    await until(
      'only the host’s sshd runs',
      () => world.site.machine.processes().every(({ pid }) => own.has(pid)),
      15_000,
    );
    assert.deepEqual([...runs(HOME), ...runs('/home/vault')], []);
  });
});
