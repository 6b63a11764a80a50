/** A client and a host for `tools/bench-runs.ts`: two accounts, a fresh file system, and an accounting of processor time by side. */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Party, World } from '../../test/support/world.ts';

export type Side = 'client' | 'host';

/** What one command took. */
export interface Cost {
  /** From the start until all is on the disk. */
  seconds: number;
  /** Processor time of both sides, with what a host still does after the command. */
  client: number;
  host: number;
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const RUN_MS = 60 * 60_000;

export class Bed {
  readonly world: World;
  /** A fresh file system, which holds the client's files and the host's store. */
  readonly disk: string;
  /** The files to back up. */
  readonly data: string;
  /** The ports of the accounts' sshds. */
  readonly ports: Record<Side, number> = { client: 0, host: 0 };
  /** Has no space in its path, which options such as rsync's -e could not hold. */
  readonly #folder: string;
  readonly #groups: string;
  readonly #servers: Server[] = [];
  #isInterrupted = false;
  /** Ends what runs now. The failure of that command then ends the program in order. */
  readonly #interrupt = (): void => {
    this.#isInterrupted = true;
    for (const { pid } of this.world.processes()) process.kill(pid, 'SIGKILL');
  };

  private constructor(world: World) {
    this.world = world;
    this.#folder = mkdtempSync(join(tmpdir(), 'dialback-bench-'));
    chmodSync(this.#folder, 0o755);
    this.disk = join(this.#folder, 'disk');
    this.data = join(this.disk, 'data');
    const mount = /^\S+ (\S+) cgroup2 /m.exec(readFileSync('/proc/mounts', 'utf8'))?.[1];
    if (mount === undefined) throw new Error('Cannot count processor time: there is no cgroup2 file system');
    this.#groups = join(mount, `dialback-bench-${process.pid}`);
  }

  /** @param fileSystem ext4, xfs or btrfs @param gib its size, sparse */
  static async make(fileSystem: string, gib: number): Promise<Bed> {
    const bed = new Bed(await World.make({ launcher: true, isSetUp: false }));
    for (const signal of SIGNALS) process.once(signal, bed.#interrupt);
    const { world, disk } = bed;
    for (const each of ['', 'client', 'host']) mkdirSync(join(bed.#groups, each));
    const image = join(bed.#folder, 'image');
    execFileSync('truncate', ['-s', `${gib}G`, image]);
    const options =
      fileSystem === 'ext4' ? ['-q', '-F', '-N', '8000000', '-E', 'lazy_itable_init=0'] : ['-q'];
    execFileSync(`mkfs.${fileSystem}`, [...options, image], { stdio: ['ignore', 'ignore', 'inherit'] });
    mkdirSync(disk);
    execFileSync('mount', ['-o', 'loop', image, disk]);
    rmSync(image); // the loop device holds it
    for (const [side, folder] of [
      ['client', bed.data],
      ['host', bed.store('')],
    ] as const) {
      mkdirSync(folder, { mode: 0o700 });
      chownSync(folder, world[side].uid, world[side].gid);
      mkdirSync(bed.home(side), { mode: 0o700 });
      world.own(world[side], bed.home(side));
      for (const name of ['login', 'sshd_key']) world.keygen(world[side], join(bed.home(side), name));
    }
    for (const side of ['client', 'host'] as const) await bed.#serve(side);
    return bed;
  }

  /** A folder of the host's account. */
  store(name: string): string {
    return join(this.disk, 'host', name);
  }

  /** A private folder of an account. */
  home(side: Side): string {
    return join(this.#folder, side);
  }

  /** The words of ssh from one side to the other, without the address. */
  ssh(from: Side): string[] {
    const to = from === 'client' ? 'host' : 'client';
    const known = join(this.home(from), 'known');
    return [
      'ssh',
      '-F',
      'none',
      '-i',
      join(this.home(from), 'login'),
      '-o',
      `UserKnownHostsFile=${known}`,
      '-o',
      'BatchMode=yes',
    ].concat(['-p', String(this.ports[to]), '-l', this.world[to].login]);
  }

  /** The same as one string, for options such as rsync's -e. */
  shell(from: Side): string {
    return this.ssh(from).join(' ');
  }

  /** Starts an sshd of an account, whose processes count for its side. The other side may log in. */
  async #serve(side: Side): Promise<void> {
    const { world } = this;
    const party = world[side];
    const other = side === 'client' ? world.host : world.client;
    const home = this.home(side);
    const authorized = join(home, 'authorized');
    world.write(
      party,
      authorized,
      readFileSync(join(this.home(side === 'client' ? 'host' : 'client'), 'login.pub')),
    );
    const config = join(home, 'sshd_config');
    const lines = [
      `HostKey "${home}/sshd_key"`,
      `AuthorizedKeysFile "${authorized}" "${world.authorizedKeys}"`,
      'UsePAM no',
      'PidFile none',
      'StrictModes no',
      'PrintMotd no',
      'Subsystem sftp internal-sftp',
    ];
    world.write(party, config, lines.map(line => `${line}\n`).join(''));
    const server = createServer({ pauseOnConnect: true }, socket => {
      const [program = '', ...args] = this.#counted(side, party, ['/usr/sbin/sshd', '-i', '-f', config]);
      const child = spawn(program, args, { env: { PATH }, cwd: '/', stdio: [socket, socket, 'ignore'] });
      child.once('spawn', () => socket.destroy());
    });
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
    this.#servers.push(server);
    const address = server.address();
    const port = typeof address === 'object' && address ? address.port : 0;
    this.ports[side] = port;
    const hostKey = readFileSync(join(home, 'sshd_key.pub'), 'utf8').trim();
    world.write(
      other,
      join(this.home(side === 'client' ? 'host' : 'client'), 'known'),
      `[127.0.0.1]:${port} ${hostKey}\n`,
    );
    if (side === 'host') world.port = port;
  }

  /** A command whose processes count for a side. */
  #counted(side: Side, { uid, gid }: Party, command: string[]): string[] {
    const enter = `echo $$ >'${this.#groups}/${side}/cgroup.procs' && exec "$@"`;
    const become = ['setpriv', `--reuid=${uid}`, `--regid=${gid}`, '--clear-groups'];
    return ['sh', '-c', enter, 'sh', ...become, ...command];
  }

  /** Runs a program as an account. @returns its standard output @throws if it fails */
  async run(side: Side, command: string[], environment: Record<string, string> = {}): Promise<string> {
    if (this.#isInterrupted) throw new Error('interrupted');
    const party = this.world[side];
    const [program = '', ...args] = this.#counted(side, party, command);
    const { status, stdout, stderr } = await this.world.start('root', program, args, {
      environment: { HOME: party.home, ...environment },
      timeoutMs: RUN_MS,
    }).done;
    if (status !== 0) throw new Error(`${command.join(' ')}: ${status}\n${stdout}${stderr}`);
    return stdout;
  }

  /** @param isCold without the files in memory */
  async measure(work: () => Promise<unknown>, isCold = false): Promise<Cost> {
    spawnSync('sync');
    if (isCold) writeFileSync('/proc/sys/vm/drop_caches', '3');
    const before = this.#used();
    const begunMs = performance.now();
    await work();
    execFileSync('sync', ['-f', this.disk]);
    const seconds = (performance.now() - begunMs) / 1000;
    await this.world.settled();
    const after = this.#used();
    return { seconds, client: after.client - before.client, host: after.host - before.host };
  }

  /** Seconds of processor time since the beginning. */
  #used(): Record<Side, number> {
    const of = (side: Side): number =>
      Number(/^usage_usec (\d+)/m.exec(readFileSync(join(this.#groups, side, 'cpu.stat'), 'utf8'))?.[1]) /
      1e6;
    return { client: of('client'), host: of('host') };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const signal of SIGNALS) process.off(signal, this.#interrupt);
    for (const each of this.#servers) each.close();
    spawnSync('umount', [this.disk]);
    rmSync(this.#folder, { recursive: true, force: true });
    await this.world.dispose();
    for (const each of ['client', 'host', '']) rmdirSync(join(this.#groups, each));
  }
}

const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
