/** The output of `make test-machines`: each check with its result, and the name of the running one. */

/** Without a terminal, a line about what is running is printed after this long without any other. */
const QUIET_MS = 10_000;
const TICK_MS = 1_000;

export class Report {
  passed = 0;
  readonly failed: string[] = [];
  #step = '';
  #stepMs = 0;
  #lastMs = performance.now();
  #isLineOpen = false;
  readonly #ticker = setInterval(() => this.#tick(), TICK_MS);

  constructor() {
    this.#ticker.unref();
  }

  /** Sets the name of the running check. */
  step(text: string): void {
    this.#step = text;
    this.#stepMs = performance.now();
  }

  say(line: string): void {
    this.#clear();
    process.stdout.write(`${line}\n`);
    this.#lastMs = performance.now();
  }

  /**
   * Runs a check and counts it.
   * @returns whether it passed
   */
  async check(name: string, run: () => Promise<void>): Promise<boolean> {
    this.step(name);
    const startedMs = performance.now();
    try {
      await run();
    } catch (error) {
      this.failed.push(name);
      this.say(`✖ ${name} (${seconds(performance.now() - startedMs)})`);
      const text = error instanceof Error ? error.message : String(error);
      this.say(text.trim().replaceAll(/^/gm, '    '));
      return false;
    }
    this.passed += 1;
    this.say(`✔ ${name} (${seconds(performance.now() - startedMs)})`);
    return true;
  }

  /**
   * Counts a check that has been made.
   * @param found the differences; none if it passed
   */
  count(line: string, found: string[]): void {
    if (found.length === 0) this.passed += 1;
    else this.failed.push(line);
    this.say(`${found.length === 0 ? '✔' : '✖'} ${line}`);
    for (const each of found.slice(0, 5)) this.say(`    ${each}`);
    if (found.length > 5) this.say(`    … and ${found.length - 5} more`);
  }

  /** The last lines of a run. @returns the exit status */
  end(): number {
    clearInterval(this.#ticker);
    if (this.failed.length > 0) this.say(`\nfailed:\n${this.failed.map(each => `  ${each}`).join('\n')}`);
    this.say(`${this.passed} passed, ${this.failed.length} failed`);
    return this.failed.length === 0 && this.passed > 0 ? 0 : 1;
  }

  #tick(): void {
    const nowMs = performance.now();
    if (this.#step === '') return;
    const line = `  … ${this.#step}: ${Math.round((nowMs - this.#stepMs) / 1000)} s`;
    if (process.stdout.isTTY) {
      process.stdout.write(`\r\x1b[K${line.slice(0, process.stdout.columns - 1)}`);
      this.#isLineOpen = true;
    } else if (nowMs - this.#lastMs >= QUIET_MS) this.say(line);
  }

  #clear(): void {
    if (this.#isLineOpen) process.stdout.write('\r\x1b[K');
    this.#isLineOpen = false;
  }
}

export function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
