/** An emulated machine of test/machines/lab. Disposing of it, or a signal, removes it. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { quoteForShell } from '../../src/wire/text.ts';
import { seconds } from './report.ts';

export const LAB = join(import.meta.dirname, 'lab');
export const LAB_DATA = process.env.LAB_DATA ?? '/var/tmp/dialback-lab';
/** A backup, or a command in a machine, that takes longer hangs. Emulation on a loaded machine is slow. */
export const DEADLINE_MS = 45 * 60_000;
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

export interface Ended {
  status: number | null;
  stdout: string;
  stderr: string;
}

/** The software of a machine. */
export interface Facts {
  kernel: string;
  landlock: string;
  systemd: string;
  rsync: string;
  openssh: string;
}

export class Machine implements Disposable {
  readonly name: string;
  /** The content of a read-only disk at /mnt/with; removed here when the machine has it. */
  readonly folder: string;
  /** Whether the machine stays when this is disposed of. */
  isKept = false;
  readonly #children = new Set<ChildProcess>();
  readonly #interrupt = (): void => {
    this[Symbol.dispose]();
    process.exit(130);
  };

  /** @param label a part of its name; several machines may run side by side */
  constructor(label: string) {
    this.name = `${label}-${process.pid}`;
    mkdirSync(LAB_DATA, { recursive: true });
    this.folder = mkdtempSync(join(LAB_DATA, 'with-'));
    for (const signal of SIGNALS) process.once(signal, this.#interrupt);
  }

  /** Makes it from the image of a suite, which is built if there is none, and starts it. @param options of `lab up` */
  async create(suite: string, options: string[]): Promise<void> {
    await this.lab('up', this.name, suite, '--with', this.folder, ...options);
    rmSync(this.folder, { recursive: true });
  }

  /**
   * Starts it again with its disks as they are.
   * @param clock the time of its clock at the start, as 2026-11-30T12:00:00 (UTC); now, if absent
   * @returns the milliseconds until ssh answered
   */
  async up(clock?: string): Promise<number> {
    const startedMs = performance.now();
    await this.lab('up', this.name, ...(clock === undefined ? [] : ['--clock', clock]));
    return performance.now() - startedMs;
  }

  async cut(): Promise<void> {
    await this.lab('cut', this.name);
  }

  async halt(): Promise<void> {
    await this.lab('halt', this.name);
  }

  /** Runs a shell command as root. @throws Error where it fails. @returns its standard output */
  async ssh(command: string): Promise<string> {
    return await this.lab('ssh', this.name, command);
  }

  /** Runs a shell command as root, which may fail. */
  async run(command: string): Promise<Ended> {
    return await this.#run('ssh', this.name, command);
  }

  async facts(): Promise<Facts> {
    const lines = await this.ssh(
      `uname -r; systemctl --version | head -n 1; rsync --version | head -n 1; ssh -V 2>&1; dpkg-query -W -f '\${Version}' rsync`,
    );
    const [kernel = '', systemd = '', rsync = '', openssh = '', packaged = ''] = lines.trim().split('\n');
    return {
      kernel,
      landlock: '', // the checks find out
      systemd: /^systemd (\d+)/.exec(systemd)?.[1] ?? systemd,
      rsync: `${/version v?(\S+)/.exec(rsync)?.[1]} (${packaged})`,
      openssh: /^OpenSSH_(\S+?),? /.exec(openssh)?.[1] ?? openssh,
    };
  }

  /** The shell command that runs another one in a login of a user. */
  as(user: string, command: string): string {
    return `runuser -l ${user} -c ${quoteForShell(command)}`;
  }

  async lab(...args: string[]): Promise<string> {
    const { status, stdout, stderr } = await this.#run(...args);
    if (status !== 0) throw new Error(`Cannot run lab ${args.join(' ')}: exit ${status}\n${stdout}${stderr}`);
    return stdout;
  }

  /** Starts lab in a session of its own: Ctrl-C ends this program, which then ends the others in order. */
  spawn(...args: string[]): ChildProcess {
    const child = spawn(LAB, args, { detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
    this.#children.add(child);
    child.once('close', () => this.#children.delete(child));
    return child;
  }

  async #run(...args: string[]): Promise<Ended> {
    const child = this.spawn(...args);
    const text = { stdout: '', stderr: '' };
    for (const stream of ['stdout', 'stderr'] as const)
      child[stream]?.setEncoding('utf8').on('data', (part: string) => {
        text[stream] += part;
      });
    // Not "close": the ssh that keeps the connection for later commands holds standard error open.
    const ended = Promise.all([
      new Promise<number | null>(done => child.once('exit', done)),
      new Promise<void>(done => child.stdout?.once('end', done)),
    ]);
    const result = await Promise.race([ended, sleep(DEADLINE_MS, undefined, { ref: false })]);
    if (result === undefined)
      throw new Error(`Cannot finish lab ${args.join(' ')}: not ended after ${seconds(DEADLINE_MS)}`);
    return { status: result[0], ...text };
  }

  /** Kills its processes and removes the machine. */
  [Symbol.dispose](): void {
    for (const signal of SIGNALS) process.off(signal, this.#interrupt);
    for (const { pid } of this.#children)
      if (pid !== undefined)
        try {
          process.kill(-pid, 'SIGKILL');
        } catch {
          // it has ended
        }
    if (!this.isKept) spawnSync(LAB, ['down', this.name], { stdio: 'inherit' });
    rmSync(this.folder, { recursive: true, force: true });
  }
}
