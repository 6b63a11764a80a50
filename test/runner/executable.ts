/**
 * dist/dialback for all test files of a run. Each links the file (link(2)): a copy of its 114 MB takes 40 ms of processor time, and
 * later as much of the disk. So no test may change its owner, mode, capabilities or content; for that a test makes a copy of its own
 * (putExecutable() of test/support/world.ts).
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, statSync } from 'node:fs';

export class SharedExecutable {
  readonly #path: string;
  #found: string;

  private constructor(path: string) {
    this.#path = path;
    this.#found = this.#look();
  }

  /** @returns undefined if there is no executable to copy */
  static make(from: string, to: string): SharedExecutable | undefined {
    if (!existsSync(from)) return;
    copyFileSync(from, to);
    chmodSync(to, 0o755);
    return new SharedExecutable(to);
  }

  /** Whether a test has changed the file since the last call. */
  hasChanged(): boolean {
    const before = this.#found;
    this.#found = this.#look();
    return this.#found !== before;
  }

  #look(): string {
    const { mode, uid, gid, size, mtimeMs } = statSync(this.#path);
    const capabilities = spawnSync('getcap', [this.#path], { encoding: 'utf8' }).stdout;
    return JSON.stringify([mode, uid, gid, size, mtimeMs, capabilities]);
  }
}
