/**
 * Machines with cables between them: network namespaces and veth pairs. They have no names, so a test need not remove them. A
 * namespace disappears with the process that holds it, which exits at the end of its standard input. A cable disappears with either
 * of its ends.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';

/** One end of a cable. */
export interface Plug {
  machine: string;
  /** The interface's name there. */
  name: string;
  /** With its prefix length. */
  address: string;
}

export class Network {
  readonly #holders = new Map<string, ChildProcess>();

  /** Makes machines without any cable. Needs root. */
  static async make(machines: string[]): Promise<Network> {
    const network = new Network();
    for (const each of machines) await network.#add(each);
    return network;
  }

  async #add(machine: string): Promise<void> {
    const holder = spawn('/usr/bin/unshare', ['--net', '/bin/sh', '-c', 'echo made; exec cat'], {
      cwd: '/',
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#holders.set(machine, holder);
    const made = once(holder.stdout, 'data');
    const ended = once(holder, 'exit').then(([status]) => {
      throw new Error(`Cannot make a network namespace: status ${status}`);
    });
    ended.catch(() => {}); // at the end it is meant
    await Promise.race([made, ended]);
    this.ip(machine, 'link', 'set', 'lo', 'up');
    // No test of a new address for another who has it (RFC 4862 section 5.4): it would have to be waited for.
    this.run(machine, ['/bin/sh', '-c', 'echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad']);
  }

  /** A process in the machine, for nsenter(1). */
  pid(machine: string): number {
    const pid = this.#holders.get(machine)?.pid;
    if (pid === undefined) throw new Error(`there is no machine "${machine}"`);
    return pid;
  }

  /** Runs a program there, as root. @returns its output @throws with its error */
  run(machine: string, command: string[], input = ''): string {
    const enter = [`--net=/proc/${this.pid(machine)}/ns/net`, '--', ...command];
    return execFileSync('/usr/bin/nsenter', enter, { cwd: '/', input, encoding: 'utf8', stdio: 'pipe' });
  }

  ip(machine: string, ...args: string[]): string {
    return this.run(machine, ['ip', ...args]);
  }

  /** A cable between two machines. */
  connect(one: Plug, other: Plug): void {
    const end = ({ machine, name }: Plug): string[] => [name, 'netns', String(this.pid(machine))];
    const pair = ['link', 'add', ...end(one), 'type', 'veth', 'peer', 'name', ...end(other)];
    execFileSync('ip', pair, { stdio: 'pipe' });
    for (const { machine, name, address } of [one, other]) {
      this.ip(machine, 'address', 'add', address, 'dev', name);
      this.ip(machine, 'link', 'set', name, 'up');
    }
  }

  /** Makes it a router. */
  forward(machine: string): void {
    const script =
      'for each in ipv4/ip_forward ipv6/conf/all/forwarding; do echo 1 >/proc/sys/net/$each; done';
    this.run(machine, ['/bin/sh', '-c', script]);
  }

  /** Adds rules of nftables (nft(8)). */
  filter(machine: string, rules: string): void {
    this.run(machine, ['/usr/sbin/nft', '-f', '-'], rules);
  }

  /** Ends all of it. */
  async end(): Promise<void> {
    for (const holder of this.#holders.values()) {
      const exited =
        holder.exitCode === null && holder.signalCode === null ? once(holder, 'exit') : undefined;
      holder.stdin?.end();
      await exited;
    }
  }
}
