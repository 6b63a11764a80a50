/**
 * The processor time and the memory of the client's and the host's processes, by control groups (cgroups(7)). So processes count
 * whether or not their parent waits for them.
 */
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export type Side = 'client' | 'host';

const SIDES = ['client', 'host'] as const;
const SAMPLE_MS = 25;

/** How the memory is counted, for a reader of the results. */
export const MEMORY_METHOD = `the anonymous memory of all processes of a side at one time. It is the most of samples every ${SAMPLE_MS} ms, from memory.stat of their control group. It does not include the page cache and the files of programs`;

export class Accounting implements Disposable {
  readonly #cpu: string;
  readonly #memory: string;
  /** The key in memory.stat: in cgroup v2 it is another one. */
  readonly #key: RegExp;

  /** Makes the groups. @throws if there is no cgroup v2, or nothing that counts memory */
  constructor() {
    const mounts = readFileSync('/proc/mounts', 'latin1');
    const unified = /^\S+ (\S+) cgroup2 /m.exec(mounts)?.[1];
    if (unified === undefined) throw new Error('Cannot count processor time: cgroup v2 is not mounted');
    const isUnified = /\bmemory\b/.test(readFileSync(join(unified, 'cgroup.subtree_control'), 'latin1'));
    const older = /^\S+ (\S+) cgroup \S*\bmemory\b/m.exec(mounts)?.[1];
    const memory = isUnified ? unified : older;
    if (memory === undefined) throw new Error('Cannot count memory: no control group does');
    this.#key = isUnified ? /^anon (\d+)/m : /^total_rss (\d+)/m;
    this.#cpu = join(unified, `dialback-bench-${process.pid}`);
    this.#memory = join(memory, `dialback-bench-${process.pid}`);
    for (const top of this.#tops()) {
      mkdirSync(top);
      if (isUnified) writeFileSync(join(top, 'cgroup.subtree_control'), '+memory');
      for (const each of SIDES) mkdirSync(join(top, each));
    }
  }

  /** The files that a process of a side writes its number to. */
  entries(side: Side): string[] {
    return this.#tops().map(top => join(top, side, 'cgroup.procs'));
  }

  /** Seconds of processor time since the beginning. */
  processorSeconds(): Record<Side, number> {
    const of = (side: Side): number =>
      Number(/^usage_usec (\d+)/m.exec(readFileSync(join(this.#cpu, side, 'cpu.stat'), 'latin1'))?.[1]) / 1e6;
    return { client: of('client'), host: of('host') };
  }

  /** Begins to look at the memory. @returns ends that, and gives the most bytes of each side at one time */
  watchMemory(): () => Record<Side, number> {
    const most = { client: 0, host: 0 };
    const look = (): void => {
      for (const side of SIDES) most[side] = Math.max(most[side], this.#bytes(side));
    };
    look();
    const timer = setInterval(look, SAMPLE_MS);
    return () => {
      clearInterval(timer);
      return most;
    };
  }

  #bytes(side: Side): number {
    const text = readFileSync(join(this.#memory, side, 'memory.stat'), 'latin1');
    const found = this.#key.exec(text)?.[1];
    if (found === undefined) throw new Error(`Cannot read the memory of "${this.#memory}/${side}"`);
    return Number(found);
  }

  #tops(): string[] {
    return [...new Set([this.#cpu, this.#memory])];
  }

  [Symbol.dispose](): void {
    for (const top of this.#tops())
      for (const each of [...SIDES, '']) if (existsSync(join(top, each))) rmdirSync(join(top, each));
  }
}
