/** One machine with dialback installed, where its client's account, `dialback`, is backed up to another one, `vault`. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { Ended } from './machine.ts';
import { SERVICE_UID, Site, type User } from './site.ts';
import { QUICK_EXCHANGE } from './sshd.ts';

export class Sides {
  readonly site: Site;
  /** Where vault's sshd listens. */
  readonly port: number;
  readonly client: User;
  readonly host: User;
  /** Somebody else. */
  readonly anna: User;

  constructor(site: Site, port: number, users: [User, User, User]) {
    this.site = site;
    this.port = port;
    [this.client, this.host, this.anna] = users;
  }

  /** Boots the machine and installs. @param made what is made of it: the kind of sides that is wanted, and all that it needs */
  static async install<Kind extends Sides>(
    kind: new (site: Site, port: number, users: [User, User, User]) => Kind,
    prepare: (made: Kind) => Promise<void>,
  ): Promise<Kind> {
    const site = await Site.make();
    try {
      site.compile({ SERVICE_UID });
      await site.say(`make install SERVICE_UID=${SERVICE_UID}`);
      const made = new kind(site, await freePort(), [
        await site.user('dialback'),
        await site.addUser('vault'),
        await site.addUser('anna'),
      ]);
      await prepare(made);
      return made;
    } catch (error) {
      await site.machine.end();
      throw error;
    }
  }

  /** Where something of the machine is, seen from outside. */
  path(inside: string): string {
    return this.site.machine.path(inside);
  }

  read(inside: string): string {
    return readFileSync(this.path(inside), 'utf8');
  }

  /** Runs a script as an account that has logged in: its groups, its home, and no process of root's around it. */
  start(user: User | 'root', script: string, timeoutMs = 600_000): Promise<Ended> {
    const home = user === 'root' ? '/root' : user.home;
    const become =
      user === 'root' ? [] : ['setpriv', `--reuid=${user.uid}`, `--regid=${user.gid}`, '--init-groups'];
    return this.site.machine.run([...become, 'env', '-C', home, '/bin/sh', '-c', script], {
      folder: '/',
      environment: { HOME: home, LC_ALL: 'C', PATH: '/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin' },
      timeoutMs,
    });
  }

  /** @throws with its output if it fails */
  async as(user: User | 'root', script: string): Promise<string> {
    const { status, output } = await this.start(user, script);
    assert.equal(status, 0, `${script}\n${output}`);
    return output.trimEnd();
  }

  /** A key for vault's sshd, and its config. @param more lines of sshd_config(5) */
  async prepareDaemon(more: string[] = []): Promise<void> {
    const { host, port } = this;
    const lines = [
      `HostKey ${host.home}/sshd/key`,
      `AuthorizedKeysFile ${host.home}/.ssh/authorized_keys`,
      'AuthenticationMethods publickey',
      'UsePAM no',
      'PidFile none',
      QUICK_EXCHANGE,
      `Port ${port}`,
      'ListenAddress 127.0.0.1',
      ...more,
    ];
    await this.as(
      host,
      `set -eu
       mkdir -m 700 ~/sshd
       ssh-keygen -q -t ed25519 -N '' -f ~/sshd/key
       printf '%s\\n' ${lines.map(line => `'${line}'`).join(' ')} >~/sshd/config`,
    );
  }

  /** Starts vault's sshd, which ends with the machine. */
  async startDaemon(): Promise<void> {
    this.start(this.host, 'exec /usr/sbin/sshd -D -e -f ~/sshd/config').catch(() => {});
    await this.site.say(
      `timeout 5 sh -c 'until ssh-keyscan -p ${this.port} 127.0.0.1 2>/dev/null | grep -q .; do sleep 0.05; done'`,
    );
  }
}

/** A port that is not in use now. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise(resolve => server.close(resolve));
  return typeof address === 'object' && address ? address.port : 0;
}
