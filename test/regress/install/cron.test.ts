// Goal: Debian's cron, for real, starts the line that `make install` lays down. A backup that went well makes no mail; any other
// makes one, which fits on a screen and names the remote, the cause and what to do next. cron acts on the minute: so long
// does the soak wait, once, and all that it starts begins at that moment. In `make test` the line is run as cron runs it, at once.
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { describeLong, describeShort } from '../../support/long.ts';
import type { Ended } from '../../support/machine.ts';
import { Sides } from '../../support/sides.ts';
import { matching, matchingLines, says } from '../../support/wording.ts';
import { until } from '../../support/world.ts';

const SKIP =
  IN_CLEAN_MACHINE ||
  (process.getuid?.() !== 0 && 'needs root: it makes a machine of namespaces and an overlay');

const CRON = '/etc/cron.d/dialback';
const HOME = '/var/lib/dialback';
const MAILS = '/var/tmp/mails';
const DATA = '/srv/data';
/** As many lines as a message may have; cron's head is not in it. */
const MOST_LINES = 20;
/** To the next minute, and then for the runs. */
const TICK_MS = 60_000 + 45_000;

/** Stands where a mail program stands: keeps what it is given, a file a mail. */
const SENDMAIL = `#!/bin/sh
file=$(mktemp ${MAILS}/.XXXXXX) && cat >"$file" && mv "$file" ${MAILS}/mail.\${file##*.}
`;

interface Mail {
  to: string;
  subject: string;
  body: string;
}

class Cronned extends Sides {
  static async make(): Promise<Cronned> {
    return await Sides.install(Cronned, made => made.#prepare());
  }

  async #prepare(): Promise<void> {
    const { site } = this;
    writeFileSync(this.path('/usr/sbin/sendmail'), SENDMAIL, { mode: 0o755 });
    await site.say(`mkdir -m 1777 ${MAILS} && mkdir ${DATA} && echo data >${DATA}/file`);
    await site.say(`mkdir -m 700 ${DATA}/closed`);
    await this.prepareDaemon();
    await this.as(this.host, 'mkdir -p -m 700 ~/.ssh ~/.config/dialback');
    this.configureHost();
    await this.as(this.client, 'mkdir -p -m 700 ~/.ssh ~/.config/dialback');
    writeFileSync(
      this.path(`${HOME}/.ssh/known_hosts`),
      `[127.0.0.1]:${this.port} ${this.read('/home/vault/sshd/key.pub').trim()}\n`,
    );
    for (const name of ['acorn', 'birch', 'stranger']) {
      await this.as(this.client, `ssh-keygen -q -t ed25519 -N '' -f ~/.ssh/${name}`);
      const key = this.read(`${HOME}/.ssh/${name}.pub`).trim();
      if (name !== 'stranger') await this.as(this.host, `echo '${key}' | dialback enroll ${name} - 2>&1`);
    }
    await this.startDaemon();
  }

  configureHost(more = ''): void {
    const text = `store = "/home/vault/the store"\nsyslog = false\n${more}`;
    writeFileSync(this.path('/etc/dialback/host.toml'), text);
  }

  /** A client's config: its name is that of its key. @param remotes where to; undefined: to vault */
  configure(path: string, name: string, options: { top?: string; remotes?: string } = {}): void {
    const { top = '', remotes = this.remote('vault', name) } = options;
    const text = `name = "${name}"\n${top}\n${remotes}[scope]\nroots = ["${DATA}"]\n`;
    writeFileSync(this.path(path), text);
  }

  /** @param port another one is where nobody listens */
  remote(label: string, key: string, port = this.port): string {
    return [
      '[[remote]]',
      `name = "${label}"`,
      `target = "ssh://vault@127.0.0.1:${port}"`,
      `identity = "~/.ssh/${key}"`,
      'from = ["127.0.0.1"]',
      'listen = "127.0.0.1:0"',
      '',
    ].join('\n');
  }

  /** The mails that came, as the last program wrote them. */
  mails(): Mail[] {
    const folder = this.path(MAILS);
    const files = readdirSync(folder).filter(name => name.startsWith('mail.'));
    return files.map(name => {
      const [head = '', ...body] = readFileSync(`${folder}/${name}`, 'utf8').split('\n\n');
      const field = (key: string): string => new RegExp(`^${key}: (.*)$`, 'm').exec(head)?.[1] ?? '';
      return { to: field('To'), subject: field('Subject'), body: body.join('\n\n') };
    });
  }

  /** cron's line, with another config or the same, as cron would run it now. */
  async run(more = ''): Promise<Ended> {
    const environment = `env -i HOME=${HOME} LOGNAME=dialback SHELL=/bin/sh PATH=/usr/bin:/bin`;
    return await this.start(this.client, `exec ${environment} /bin/sh -c '${command(this.line())}${more}'`);
  }

  /** The line that is switched off as it comes. */
  line(): string {
    return this.read(CRON).trimEnd().split('\n').at(-1) ?? '';
  }
}

/** What a line of /etc/cron.d has behind the time and the account. */
function command(line: string): string {
  const found = /^#?(?:\S+ ){5}dialback (.*)$/.exec(line)?.[1];
  assert.ok(found, line);
  return found;
}

/** It fits on a screen, and each complaint has what comes next. */
function assertMessage(text: string, patterns: RegExp[]): void {
  const lines = text.trimEnd().split('\n');
  assert.ok(lines.length <= MOST_LINES, text);
  assert.match(lines[0] ?? '', /^dialback: /);
  assert.match(text, /^next: /m);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  assert.doesNotMatch(text, /[\u0000-\u0009\u000b-\u001f]/);
  for (const pattern of patterns) assert.match(text, pattern);
}

describe('cron', { skip: SKIP }, () => {
  let world: Cronned;
  before(async () => {
    world = await Cronned.make();
  });
  after(async () => {
    await world?.site.machine.end();
  });

  describeLong('at the minute', { skip: false }, () => {
    const OTHERS = '/etc/dialback/others';
    let mails: Mail[];
    before(async () => {
      mkdirSync(world.path(OTHERS));
      // Without the launcher it reads what its account may; so all of them are of one kind.
      world.configure('/etc/dialback/client.toml', 'acorn');
      world.configure(`${OTHERS}/stranger.toml`, 'stranger');
      world.configure(`${OTHERS}/several.toml`, 'birch', {
        top: 'capability = "none"',
        remotes: world.remote('away', 'birch', 1) + world.remote('near', 'birch'),
      });
      const plain = world.line();
      await world.site.say(`sed -i '/backup$/s/^#41 2 /* * /' ${CRON}`);
      assert.equal(world.line(), plain.replace('#41 2', '* *'));
      for (const name of ['stranger', 'several']) {
        const more = ` --config ${OTHERS}/${name}.toml --state ${HOME}/${name}`;
        const lines = `SHELL=/bin/sh\nMAILTO=${name}\n* * * * * dialback ${command(plain)}${more}\n`;
        writeFileSync(world.path(`/etc/cron.d/${name}`), lines);
      }
      const cron = world.start('root', 'echo $$ >/run/the-cron; exec cron -f');
      const states = ['.local/state/dialback', 'stranger', 'several'];
      const ended = (state: string): number => {
        try {
          const journal = readFileSync(world.path(`${HOME}/${state}/journal.jsonl`), 'utf8');
          return journal.split('"event":"finished"').length - 1;
        } catch {
          return 0; // not begun yet
        }
      };
      await until(
        'all have ended',
        () => states.every((state, index) => ended(state) >= (index === 2 ? 2 : 1)),
        TICK_MS,
      );
      // It begins no more; those that have begun, and their mails, are its children's.
      await world.site.say('kill $(cat /run/the-cron); rm /etc/cron.d/stranger /etc/cron.d/several');
      await cron;
      await until('no more of cron runs', () => !world.site.machine.programs().includes('cron'));
      mails = world.mails();
    });

    it('a backup that went well makes no mail, and is there', async () => {
      const list = await world.as(world.host, 'dialback list acorn --json');
      assert.deepEqual(
        (JSON.parse(list) as { state: string }[]).map(each => each.state),
        ['full'],
      );
      assert.deepEqual(
        mails.filter(({ to }) => to === 'root'),
        [],
      );
    });

    it('a key that the host does not know makes one', () => {
      const [mail, ...more] = mails.filter(({ to }) => to === 'stranger');
      assert.deepEqual(more, []);
      assert.match(mail?.subject ?? '', /dialback backup/);
      assertMessage(mail?.body ?? '', [
        matching`${says('call-the-backup-host')} "ssh:\/\/vault@127\.0\.0\.1:\d+"`,
        matching`${says('it-does-not-accept-the')} "\S+stranger"`,
        /^next: .*dialback enroll /m,
      ]);
    });

    it('several remotes make one, with what befell each', async () => {
      const [mail, ...more] = mails.filter(({ to }) => to === 'several');
      assert.deepEqual(more, []);
      assertMessage(mail?.body ?? '', [
        matchingLines`^dialback: away: ${says('cannot-call-the-backup-host')} .*Connection refused$`,
        matchingLines`^${says('see-that-this-machine-is')}`,
        matchingLines`^${says('cannot-back-up-everything-to')} "near": 1 ${says('could-not-be-read')}$`,
        /^ {2}\/srv\/data\/closed \(permission denied\)$/m,
        matchingLines`^next: ${says('let-this-account-read-them')}`,
      ]);
      const list = await world.as(world.host, 'dialback list birch --json');
      assert.deepEqual(
        (JSON.parse(list) as { state: string }[]).map(each => each.state),
        ['incomplete'],
      );
    });

    it('there is no other', () => assert.equal(mails.length, 2));
  });

  describeShort('as cron runs it', { skip: false }, () => {
    before(() => world.configure('/etc/dialback/client.toml', 'acorn'));

    it('a backup that went well says nothing', async () => {
      assert.deepEqual(await world.run().then(({ status, output }) => [status, output]), [0, '']);
    });

    it('says in one message that the host is full', async () => {
      world.configureHost('[space]\nmin_free = "1000T"\n');
      const { status, output } = await world.run();
      world.configureHost();
      assert.equal(status, 14, output);
      assertMessage(output, [
        matchingLines`"vault": ${says('the-backup-host-has-no')}$`,
        matchingLines`^${says('ask-its-administrator')}`,
      ]);
    });

    it('says in one message that the store is not there', async () => {
      await world.site.say("mv '/home/vault/the store' /home/vault/away");
      const { status, output } = await world.run();
      await world.site.say("mv /home/vault/away '/home/vault/the store'");
      assert.equal(status, 10, output);
      assertMessage(output, [
        matchingLines`"vault": ${says('the-backup-host-has-no-store')}$`,
        /^next: .*mounted/m,
      ]);
    });

    it('says in one message that the config is wrong, and where', async () => {
      world.configure('/etc/dialback/client.toml', 'acorn', { top: 'nmae = "acorn"' });
      const { status, output } = await world.run();
      world.configure('/etc/dialback/client.toml', 'acorn');
      assert.equal(status, 2, output);
      assertMessage(output, [
        /"\/etc\/dialback\/client\.toml": line \d+: unknown key "nmae" \(did you mean "name"\?\)$/m,
        /^next: compare it with \/etc\/dialback\/client\.toml\.sample/m,
      ]);
    });

    it('names no more of what is missing than fits, and the same list once', async () => {
      await world.site.say(
        `cd ${DATA} && for each in $(seq 40); do echo x >"no $each"; chmod 0 "no $each"; done`,
      );
      world.configure('/etc/dialback/client.toml', 'acorn', {
        top: 'capability = "none"',
        remotes: world.remote('vault', 'acorn') + world.remote('again', 'acorn'),
      });
      const { status, output } = await world.run();
      await world.site.say(`rm ${DATA}/no*`);
      assert.equal(status, 3, output);
      assertMessage(output, [
        matchingLines`to "vault": 41 ${says('could-not-be-read')}$`,
        /^ {2}and 26 more$/m,
        matchingLines`to "again": 41 ${says('could-not-be-read')}\n {2}the same as to "vault"$`,
      ]);
    });
  });
});
