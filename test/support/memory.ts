/**
 * How much memory programs of ours take while they run: looked up again and again in /proc/PID/smaps (proc_pid_smaps(5)).
 * It counts private pages, which no other process has. It counts clean pages of the program's own file apart, since they belong to
 * the page cache: the kernel can drop them, and two processes share them.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** The most that one kind of process had, in KiB. */
export interface Peak {
  /** Private_Clean and Private_Dirty of all mappings, but clean pages of files. */
  own: number;
  /** Private clean pages of files, when `own` was at its most. */
  file: number;
  /** How often it was looked at. */
  samples: number;
}

export class MemoryWatch {
  /** By the command of a process: `dialback verify`, `jail pump`. */
  readonly peaks = new Map<string, Peak>();
  readonly #programs: Map<string, string>;
  #timer: NodeJS.Timeout | undefined;

  /**
   * @param programs what they are called here, by the path of the file that they run
   * @param everyMs between two looks
   */
  constructor(programs: Map<string, string>, everyMs: number) {
    this.#programs = programs;
    this.#timer = setInterval(() => this.#look(), everyMs);
  }

  end(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    for (const name of readdirSync('/proc')) {
      if (!/^\d+$/.test(name)) continue;
      try {
        const called = this.#programs.get(readlinkSync(`/proc/${name}/exe`));
        if (called === undefined) continue;
        const words = readFileSync(`/proc/${name}/cmdline`, 'latin1').split('\0');
        const verb = words[1] === '-c' ? 'grab' : (words[1] ?? '');
        this.#note(`${called} ${verb}`.trim(), privateOf(readFileSync(`/proc/${name}/smaps`, 'latin1')));
      } catch {
        // it has ended in between
      }
    }
  }

  #note(what: string, { own, file }: { own: number; file: number }): void {
    const peak = this.peaks.get(what) ?? { own: 0, file: 0, samples: 0 };
    peak.samples += 1;
    if (own > peak.own) Object.assign(peak, { own, file });
    this.peaks.set(what, peak);
  }
}

/** Adds up what smaps says of each mapping, in KiB. */
export function privateOf(smaps: string): { own: number; file: number } {
  let isFile = false;
  const sum = { own: 0, file: 0 };
  for (const line of smaps.split('\n')) {
    const head = /^[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ (\d+)/.exec(line);
    if (head) isFile = head[1] !== '0';
    const found = /^Private_(Clean|Dirty): +(\d+) kB$/.exec(line);
    if (!found) continue;
    sum[isFile && found[1] === 'Clean' ? 'file' : 'own'] += Number(found[2]);
  }
  return sum;
}
