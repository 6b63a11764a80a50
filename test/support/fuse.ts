/** File systems that fail (fuse.c): each is mounted until it is disposed of. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { compileProgram } from './compiled.ts';

/** Why a test is skipped that needs one. */
export const NEEDS_FUSE: string | false = existsSync('/dev/fuse') ? false : 'needs /dev/fuse';

export type Failure = 'own' | 'hang' | 'closed' | 'foreign' | 'count' | 'caseless';

export class FailingMount {
  readonly place: string;
  readonly #child: ChildProcess;
  #said = '';

  private constructor(place: string, child: ChildProcess) {
    this.place = place;
    this.#child = child;
  }

  /**
   * @param folder where the program is compiled
   * @param place a folder that is there
   * @param type as mountinfo shows it: fuse.NAME
   */
  static async at(folder: string, place: string, type: string, how: Failure): Promise<FailingMount> {
    const program = join(folder, 'failing-mount');
    const source = join(import.meta.dirname, 'fuse.c');
    if (!existsSync(program)) compileProgram(source, program, ['-std=gnu17', '-O1', '-Wall', '-Werror']);
    const child = spawn(program, [type, place, how], { stdio: ['ignore', 'pipe', 'inherit'] });
    const mount = new FailingMount(place, child);
    await new Promise<void>((resolve, reject) => {
      child.once('exit', status => reject(new Error(`fuse.c ended with ${status}`)));
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        mount.#said += text;
        resolve();
      });
    });
    return mount;
  }

  /** How many requests it has got, of the mode `count`. */
  requests(): number {
    return this.#said.split('\n').filter(line => /^\d+$/.test(line)).length;
  }

  async dispose(): Promise<void> {
    this.#child.removeAllListeners('exit');
    const ended = new Promise(resolve => this.#child.once('exit', resolve));
    this.#child.kill('SIGKILL');
    await ended;
    execFileSync('umount', ['-l', this.place]);
  }
}
