/**
 * A machine for the length of a test: a root file system (this machine's, or another one) under an overlay, in namespaces of
 * its own. Its changes are in memory, and are lost when its first process exits, at the end of its standard input. Then the kernel
 * kills the other processes and drops the mounts, so a test does not have to unmount or remove them.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fairTimeout } from './fair-time.ts';

const TOP = join(import.meta.dirname, '../..');

// /mnt holds the pieces, only in this mount namespace. Propagation is private, so they are not visible outside.
const BOOT = `
  set -eu
  read -r pid rest </proc/self/stat
  mount -t tmpfs machine /mnt
  mkdir /mnt/upper /mnt/work /mnt/root
  mount -t overlay -o "lowerdir=$3,upperdir=/mnt/upper,workdir=/mnt/work" machine /mnt/root
  cd /mnt/root
  mount -t proc proc proc
  mount -t sysfs sysfs sys
  # Device files of its own: a program in the machine that replaces /dev/null or changes its mode changes no other machine's.
  mount -t tmpfs -o mode=755 dev dev
  find /dev -maxdepth 1 '(' -type b -o -type c -o -type l ')' ! -name ptmx -exec cp -a -t dev {} +
  mkdir dev/pts dev/shm
  mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
  ln -s pts/ptmx dev/ptmx
  mount -t tmpfs -o mode=1777 shm dev/shm
  mount -t tmpfs -o mode=1777 tmp tmp
  mount -t tmpfs -o mode=755 run run
  # It can be a link into /run.
  cp --remove-destination /etc/resolv.conf etc/resolv.conf
  # The checkout that this test is a part of, with all that was installed and built there.
  if [ -d ".$1" ]; then mount -t tmpfs hidden ".$1"; fi
  # Other system users than those outside: /proc/net/tcp shows the listeners of both, and a test run out there ends
  # what runs under its own users' ids.
  sed -i -E '/^#? *SYS_[UG]ID_(MIN|MAX)/d' etc/login.defs
  printf '%s\\n' 'SYS_UID_MIN 301' 'SYS_UID_MAX 599' 'SYS_GID_MIN 301' 'SYS_GID_MAX 599' >>etc/login.defs
  if [ "$2" = network ]; then ip link set lo up; fi
  echo "$pid"
  # Not exec: the shell, as process 1, also waits for orphans.
  chroot /mnt/root /bin/sh -c 'cat >/dev/null; true'
`;

export interface Ended {
  status: number | null;
  /** Standard output and error as they came. */
  output: string;
  seconds: number;
}

/** A process of the machine, at one moment. */
export interface Process {
  /** As the machine numbers it. */
  pid: number;
  parent: number;
  command: string;
  /** Real, effective and saved. */
  uids: number[];
  /** Permitted, inheritable, effective, ambient. */
  capabilities: bigint[];
  noNewPrivileges: boolean;
  /** By a seccomp filter. */
  filtered: boolean;
  /** Whether the kernel ends it first when memory runs out. */
  endedFirst: boolean;
}

export interface RunOptions {
  folder: string;
  environment: Record<string, string>;
  timeoutMs: number;
  account?: { uid: number; gid: number };
}

/** The root file system of a machine, if it is not that of this one. */
export interface Base {
  /** A root file system. It is not changed. */
  folder: string;
  /** A file that is locked (flock(1), shared) while the machine exists, so that no process replaces the folder. */
  lock: string;
}

export interface BootOptions {
  /** Whether it has its own host name and its own network, which has only loopback. */
  ownNetwork?: boolean;
  base?: Base;
}

export class Machine {
  readonly #first: ChildProcess;
  /** Process 1 of the machine, as it is numbered outside. */
  readonly #pid: number;
  readonly #ownNetwork: boolean;

  private constructor(first: ChildProcess, pid: number, ownNetwork: boolean) {
    this.#first = first;
    this.#pid = pid;
    this.#ownNetwork = ownNetwork;
  }

  /** Needs root. Fails with the error of the refused call. */
  static async boot({ ownNetwork = false, base }: BootOptions = {}): Promise<Machine> {
    const namespaces = ['--mount', '--pid', '--fork', '--kill-child', '--propagation', 'private'];
    if (ownNetwork) namespaces.push('--net', '--uts');
    const words = [TOP, ownNetwork ? 'network' : '', base?.folder ?? '/'];
    const unshare = ['unshare', ...namespaces, '/bin/sh', '-c', BOOT, 'sh', ...words];
    // flock passes its descriptor on: the lock is held until the last process of the machine has ended.
    const [program = '', ...args] = base ? ['flock', '--shared', base.lock, ...unshare] : unshare;
    const first = spawn(program, args, {
      cwd: '/',
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    let said = '';
    first.stderr.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    const lines = createInterface({ input: first.stdout });
    const pid = await Promise.race([
      once(lines, 'line').then(([line]) => Number(line)),
      once(first, 'close').then(([status]) => {
        throw new Error(`Cannot make a machine: status ${status}\n${said}`);
      }),
    ]);
    return new Machine(first, pid, ownNetwork);
  }

  /** Its first process, as it is numbered outside: for ip(8)'s `netns` and the like. */
  get pid(): number {
    return this.#pid;
  }

  /** Where a path of the machine is found from outside. */
  path(inside: string): string {
    return `/proc/${this.#pid}/root/mnt/root${inside}`;
  }

  /**
   * The changes to the file system below: a line for each name with kind, mode, owner, size, times and inode. /tmp, /run and the
   * like are other file systems, and not included.
   * @param without paths to omit, with everything below them
   */
  changes(without: string[] = []): string[] {
    const upper = `/proc/${this.#pid}/root/mnt/upper`;
    const pruned = without.flatMap(path => ['-path', `${upper}${path}`, '-prune', '-o']);
    // Not the folders' times: they say that a name came and went, which the names themselves tell.
    const print = [
      '-type',
      'd',
      '-printf',
      '/%P d %m %U:%G\n',
      '-o',
      '-printf',
      '/%P %y %m %U:%G %s %T@ %C@ %i\n',
    ];
    return execFileSync('find', [upper, ...pruned, ...print], { encoding: 'utf8' })
      .trimEnd()
      .split('\n')
      .sort();
  }

  /** The program and arguments that run a command in it from outside. */
  command(command: string[], { folder, account }: Pick<RunOptions, 'folder' | 'account'>): string[] {
    const enter = ['nsenter', '--target', String(this.#pid), '--mount', '--pid', `--root=${this.path('')}`];
    if (this.#ownNetwork) enter.push('--net', '--uts');
    const as = account ? ['--setuid', String(account.uid), '--setgid', String(account.gid)] : [];
    return [...enter, ...as, 'env', '-C', folder, ...command];
  }

  /** Runs a command in it. @throws with its output, if it exceeds its time limit */
  async run(command: string[], { folder, environment, timeoutMs, account }: RunOptions): Promise<Ended> {
    const startedMs = performance.now();
    const [program = '', ...args] = this.command(command, { folder, ...(account ? { account } : {}) });
    const child = spawn(program, args, {
      cwd: '/',
      env: environment,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text;
      });
    const end = new AbortController();
    const status = await Promise.race([
      once(child, 'close', { signal: end.signal }).then(([it]) => it as number | null),
      new Promise<never>((_, reject) => {
        const clear = fairTimeout(() => {
          reject(new Error(`"${command.join(' ')}" has not ended after ${timeoutMs} ms:\n${output}`));
        }, timeoutMs);
        end.signal.addEventListener('abort', clear);
      }),
    ]).finally(() => end.abort());
    return { status, output, seconds: (performance.now() - startedMs) / 1000 };
  }

  /** The processes in it, including its own. */
  processes(): Process[] {
    const proc = this.path('/proc');
    const found: Process[] = [];
    for (const name of readdirSync(proc).filter(each => /^\d+$/.test(each))) {
      try {
        const commandOf = (): string =>
          readFileSync(`${proc}/${name}/cmdline`, 'latin1').replaceAll('\0', ' ').trim();
        const command = commandOf();
        const status = readFileSync(`${proc}/${name}/status`, 'latin1');
        // It became another program in between, or is about to: the two would not belong together.
        if (command === '' || commandOf() !== command) continue;
        const field = (key: string): string => new RegExp(`^${key}:\\s*(.*)$`, 'm').exec(status)?.[1] ?? '';
        if (/^[ZX]/.test(field('State'))) continue; // a zombie
        found.push({
          pid: Number(name),
          parent: Number(field('PPid')),
          command,
          uids: field('Uid').split(/\s+/).slice(0, 3).map(Number),
          capabilities: ['CapPrm', 'CapInh', 'CapEff', 'CapAmb'].map(each => BigInt(`0x${field(each)}`)),
          noNewPrivileges: field('NoNewPrivs') === '1',
          filtered: field('Seccomp') === '2',
          endedFirst: readFileSync(`${proc}/${name}/oom_score_adj`, 'latin1') === '1000\n',
        });
      } catch {
        // it has ended in between
      }
    }
    return found;
  }

  /** The names of the programs that run in it, sorted. It is itself made of `cat`, `sh` and `sh`. */
  programs(): string[] {
    const proc = this.path('/proc');
    const found: string[] = [];
    for (const pid of readdirSync(proc).filter(name => /^\d+$/.test(name))) {
      try {
        found.push(readFileSync(`${proc}/${pid}/comm`, 'utf8').trim());
      } catch {
        // it has ended in between
      }
    }
    return found.sort();
  }

  /** Ends it and all that runs in it. */
  async end(): Promise<void> {
    const first = this.#first;
    const exited = first.exitCode === null && first.signalCode === null ? once(first, 'exit') : undefined;
    first.stdin?.end();
    await exited;
  }
}
