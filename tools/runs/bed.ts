/** A client and a host for benchmarks: two accounts, a fresh file system for each, and what each side's processes need. */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Party, World } from '../../test/support/world.ts';
import { Accounting, type Side } from './accounting.ts';
import { wireBytes } from './network.ts';

/** What one command took. */
export interface Cost {
  /** From the start until all is on the disk. */
  seconds: number;
  /** Processor seconds of each side, with what a host still does after the command. */
  client: number;
  host: number;
  /** The most memory of each side's processes at one time, in bytes (MEMORY_METHOD). */
  clientMemory: number;
  hostMemory: number;
  /** Bytes of both directions between the two, with the headers of TCP and IP. */
  wire: number;
  /** Bytes by which the host's file system became fuller. */
  disk: number;
}

export interface BedOptions {
  /** ext4, xfs or btrfs. */
  fileSystem: string;
  /** The size of each file system, sparse. */
  gib: number;
  /** Inodes that ext4 gets; the others make them as needed. */
  inodes: number;
  /** Options of mount(8) beside `loop`, or empty. */
  mount: string;
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const RUN_MS = 6 * 60 * 60_000;
/** For a manifest of a million files on a busy machine. */
const SETTLE_MS = 30 * 60_000;

export class Bed {
  readonly world: World;
  /** The client's file system. */
  readonly clientDisk: string;
  /** The host's, which holds the stores. */
  readonly hostDisk: string;
  /** The files to back up. */
  readonly data: string;
  /** The ports of the accounts' sshds. */
  readonly ports: Record<Side, number> = { client: 0, host: 0 };
  readonly #options: BedOptions;
  /** Has no space in its path, which options such as rsync's -e could not hold. */
  readonly #folder: string;
  readonly #accounting = new Accounting();
  readonly #servers: Server[] = [];
  #isInterrupted = false;
  /** Ends what runs now. The failure of that command then ends the program in order. */
  readonly #interrupt = (): void => {
    this.#isInterrupted = true;
    for (const { pid } of this.world.processes()) process.kill(pid, 'SIGKILL');
  };

  private constructor(world: World, options: BedOptions) {
    this.world = world;
    this.#options = options;
    this.#folder = mkdtempSync(join(tmpdir(), 'dialback-bench-'));
    chmodSync(this.#folder, 0o755);
    this.clientDisk = join(this.#folder, 'client-disk');
    this.hostDisk = join(this.#folder, 'host-disk');
    this.data = join(this.clientDisk, 'data');
  }

  /** Makes the accounts and both file systems. The caller is in a network of its own (enterOwnNetwork). */
  static async make(options: BedOptions): Promise<Bed> {
    const bed = new Bed(await World.make({ launcher: true, isSetUp: false }), options);
    for (const signal of SIGNALS) process.once(signal, bed.#interrupt);
    const { world } = bed;
    bed.#mount(bed.clientDisk);
    bed.#mount(bed.hostDisk);
    bed.#give('client', bed.data);
    bed.#give('host', bed.store(''));
    for (const side of ['client', 'host'] as const) {
      bed.#give(side, bed.home(side));
      for (const name of ['login', 'sshd_key']) world.keygen(world[side], join(bed.home(side), name));
    }
    for (const side of ['client', 'host'] as const) await bed.#serve(side);
    return bed;
  }

  /** Replaces the host's file system by a fresh one, so that each first backup finds the same. */
  renewHost(): void {
    execFileSync('umount', [this.hostDisk]);
    this.#mount(this.hostDisk);
    this.#give('host', this.store(''));
  }

  #mount(disk: string): void {
    const { fileSystem, gib, inodes, mount } = this.#options;
    const image = `${disk}.image`;
    execFileSync('truncate', ['-s', `${gib}G`, image]);
    // What ext4 does not initialize now it would initialize during the measurements.
    const fresh = ['-q', '-F', '-N', String(inodes), '-E', 'lazy_itable_init=0,lazy_journal_init=0'];
    execFileSync(`mkfs.${fileSystem}`, [...(fileSystem === 'ext4' ? fresh : ['-q']), image], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    mkdirSync(disk, { recursive: true });
    execFileSync('mount', ['-o', ['loop', ...(mount === '' ? [] : [mount])].join(','), image, disk]);
    rmSync(image); // the loop device holds it
  }

  #give(side: Side, folder: string): void {
    mkdirSync(folder, { mode: 0o700 });
    this.world.own(this.world[side], folder);
  }

  /** A folder of the host's account. */
  store(name: string): string {
    return join(this.hostDisk, 'host', name);
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
    const joins = this.#accounting.entries(side).map(each => `echo $$ >'${each}' && `);
    const enter = `${joins.join('')}exec "$@"`;
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

  /**
   * Measures one command until all is on the host's disk and the client's, and the host has done what it does afterwards.
   * @param isCold without files in memory
   */
  async measure(work: () => Promise<unknown>, isCold = false): Promise<Cost> {
    spawnSync('sync');
    if (isCold) writeFileSync('/proc/sys/vm/drop_caches', '3');
    const before = this.#counters();
    const endMemory = this.#accounting.watchMemory();
    const begunMs = performance.now();
    let seconds: number;
    let memory: Record<Side, number>;
    try {
      await work();
      for (const disk of [this.hostDisk, this.clientDisk]) execFileSync('sync', ['-f', disk]);
      seconds = (performance.now() - begunMs) / 1000;
      await this.world.settled(SETTLE_MS);
    } finally {
      memory = endMemory();
    }
    execFileSync('sync', ['-f', this.hostDisk]);
    const after = this.#counters();
    return {
      seconds,
      client: after.client - before.client,
      host: after.host - before.host,
      clientMemory: memory.client,
      hostMemory: memory.host,
      wire: after.wire - before.wire,
      disk: after.disk - before.disk,
    };
  }

  #counters(): Record<Side | 'wire' | 'disk', number> {
    const { bsize, blocks, bfree } = statfsSync(this.hostDisk);
    return { ...this.#accounting.processorSeconds(), wire: wireBytes(), disk: (blocks - bfree) * bsize };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const signal of SIGNALS) process.off(signal, this.#interrupt);
    for (const each of this.#servers) each.close();
    for (const disk of [this.clientDisk, this.hostDisk]) spawnSync('umount', [disk]);
    rmSync(this.#folder, { recursive: true, force: true });
    await this.world.dispose();
    this.#accounting[Symbol.dispose]();
  }
}

const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
