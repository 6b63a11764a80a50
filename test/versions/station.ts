/** A machine of a suite with dialback installed as from a package. It is client and host: the account `dialback` is backed up, `vault` receives. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Ended, Machine } from '../support/machine.ts';
import { type Manifest, manifest } from '../support/manifest.ts';
import { makeTortureTree } from '../support/tree.ts';
import { bootRoot, ENVIRONMENT, type Root } from './roots.ts';

const TOP = join(import.meta.dirname, '../..');
/** No suite's packages make a user of that number. */
const SERVICE_UID = 397;
const STEP_MS = 5 * 60_000;

/** The folder that is backed up. */
export const TREE = '/srv/a torture tree';
/** Has files that are excluded or never read. */
export const KEPT = '/srv/kept';
/** Only root can read it. */
export const SECRETS = '/srv/secrets';

export type Account = 'root' | 'dialback' | 'vault';

/** The files of `make install DESTDIR=`, and the script that it printed. */
export interface Package {
  folder: string;
  script: string;
}

/**
 * Makes the package, with this machine's compiler. Its `launch` can lend without a jail, for the runs with "inherited", but rsync
 * gets no capability from it.
 * @param folder becomes the files; it must not exist
 */
export function makePackage(folder: string): Package {
  const env = { ...process.env, SERVICE_UID: String(SERVICE_UID) };
  const script = execFileSync(join(TOP, 'tools/install.sh'), ['install'], {
    env: { ...env, DESTDIR: folder },
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  execFileSync(
    join(TOP, 'tools/launcher.sh'),
    ['launch', join(folder, 'usr/local/libexec/dialback/launch')],
    {
      env: { ...env, INHERITED: '1' },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  return { folder, script };
}

export class Station {
  readonly root: Root;
  readonly machine: Machine;
  /** Of vault's machine, as it stands in known_hosts. */
  hostKey = '';
  #enrolled: Promise<void> = Promise.resolve();
  #source: { tree: Manifest; secrets: Manifest } | undefined;

  private constructor(root: Root, machine: Machine) {
    this.root = root;
    this.machine = machine;
  }

  get name(): string {
    return this.root.suite.name;
  }

  /** Boots it, installs, makes accounts and files, and starts the suite's sshd with the suite's config. */
  static async make(root: Root, { folder, script }: Package): Promise<Station> {
    const station = new Station(root, await bootRoot(root, { ownNetwork: true }));
    try {
      execFileSync('cp', ['-a', '--no-preserve=ownership', `${folder}/.`, station.path('/')]);
      await station.say('root', script);
      await station.say(
        'root',
        `set -eu
         useradd --create-home --shell /bin/sh --password '*' vault
         mkdir -p /run/sshd
         ssh-keygen -q -A`,
      );
      await station.say(
        'vault',
        `set -eu
         umask 077
         mkdir -p ~/.ssh
         more='syslog = false
         [requests]
         max_concurrent = 16'
         printf '%s\\n' 'store = "/home/vault/the store"' 'confined = true' "$more" >~/confined.toml
         printf '%s\\n' 'store = "/home/vault/plain"' 'confined = false' "$more" >~/plain.toml`,
      );
      await station.#makeFiles();
      await station.#startDaemon();
      return station;
    } catch (error) {
      await station.machine.end();
      throw error;
    }
  }

  /** The path of a file of the machine, from outside. */
  path(inside: string): string {
    return this.machine.path(inside);
  }

  read(inside: string): string {
    return readFileSync(this.path(inside), 'utf8');
  }

  /** Runs a script as an account that has logged in. */
  run(account: Account, script: string, timeoutMs = STEP_MS): Promise<Ended> {
    const home = { root: '/root', dialback: '/var/lib/dialback', vault: '/home/vault' }[account];
    const become =
      account === 'root' ? [] : ['setpriv', `--reuid=${account}`, `--regid=${account}`, '--init-groups'];
    return this.machine.run([...become, 'env', '-C', home, '/bin/sh', '-c', script], {
      folder: '/',
      environment: { ...ENVIRONMENT, HOME: home },
      timeoutMs,
    });
  }

  /** Runs a script that must succeed. @returns its output @throws with its output */
  async say(account: Account, script: string, timeoutMs = STEP_MS): Promise<string> {
    const { status, output } = await this.run(account, script, timeoutMs);
    if (status !== 0)
      throw new Error(`${this.name}: "${script}" as ${account} ended with ${status}:\n${output}`);
    return output.trimEnd();
  }

  /** The entries that must be restored. */
  get source(): { tree: Manifest; secrets: Manifest } {
    this.#source ??= { tree: manifest(this.path(TREE)), secrets: manifest(this.path(SECRETS)) };
    return this.#source;
  }

  /** Enrolls a client. One at a time: a second `enroll` would be refused while the first one runs. */
  async enroll(account: Account, script: string): Promise<void> {
    const done = this.#enrolled.then(async () => void (await this.say(account, script)));
    this.#enrolled = done.catch(() => {});
    await done;
  }

  async #makeFiles(): Promise<void> {
    // Readable by the plain account too, for runs without a capability.
    makeTortureTree(this.path(TREE), { asRoot: true, owner: { uid: SERVICE_UID, gid: SERVICE_UID } });
    await this.say(
      'root',
      `set -eu
       mkdir -p ${KEPT}/folder ${KEPT}/never/folder ${SECRETS}/closed
       for each in file folder/file folder/left.o left.o never/key never/folder/key; do echo "$each" >"${KEPT}/$each"; done
       echo 'mode 0' >${SECRETS}/file
       echo 'below mode 0' >${SECRETS}/closed/file
       chmod 0 ${SECRETS}/file ${SECRETS}/closed/file ${SECRETS}/closed
       chmod 700 ${SECRETS}`,
    );
  }

  async #startDaemon(): Promise<void> {
    // It ends with the machine.
    this.run('root', 'exec /usr/sbin/sshd -D -e', 24 * 60 * 60_000).catch(() => {});
    await this.say(
      'root',
      "timeout 20 sh -c 'until ssh-keyscan -t ed25519 127.0.0.1 2>/dev/null | grep -q .; do sleep 0.1; done'",
    );
    this.hostKey = this.read('/etc/ssh/ssh_host_ed25519_key.pub').split(' ').slice(0, 2).join(' ');
  }

  async end(): Promise<void> {
    await this.machine.end();
  }
}

/** The addresses at which two machines reach each other. */
export interface Cable extends AsyncDisposable {
  client: string;
  host: string;
}

let cables = 0;

/** A cable between two machines; for one machine its loopback. */
export function connect(client: Station, host: Station): Cable {
  if (client === host)
    return { client: '127.0.0.1', host: '127.0.0.1', [Symbol.asyncDispose]: async () => {} };
  cables += 1;
  const number = cables;
  const ends = [client, host].map((station, index) => ({
    station,
    name: `dbv-${number}-${index}`,
    address: `10.77.${number}.${index + 1}`,
  }));
  const words = ends.map(({ station, name }) => [name, 'netns', String(station.machine.pid)]);
  execFileSync('ip', [
    'link',
    'add',
    ...(words[0] ?? []),
    'type',
    'veth',
    'peer',
    'name',
    ...(words[1] ?? []),
  ]);
  const inside = (station: Station, ...args: string[]): void => {
    // This machine's ip: the network namespace alone is theirs.
    const enter = ['--target', String(station.machine.pid), '--net', 'ip', ...args];
    execFileSync('nsenter', enter, { stdio: 'pipe' });
  };
  for (const { station, name, address } of ends) {
    inside(station, 'address', 'add', `${address}/24`, 'dev', name);
    inside(station, 'link', 'set', name, 'up');
  }
  return {
    client: `10.77.${number}.1`,
    host: `10.77.${number}.2`,
    // With one end the other is gone.
    [Symbol.asyncDispose]: async () => inside(client, 'link', 'delete', `dbv-${number}-0`),
  };
}
