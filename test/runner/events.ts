/** The events of a test file, its report, and the summary of a run. */

/** An event of a file's tests (test/runner/reporter.ts). `begin` and `end` arrive at once, the others in order. */
export type FileEvent =
  | Result
  | { type: 'begin' | 'end'; name: string }
  | { type: 'diagnostic'; message: string }
  | { type: 'summary' };

type Result =
  | ({ type: 'pass' } & Told)
  | ({ type: 'fail'; why?: string } & Told)
  | ({ type: 'skip'; reason: string } & Told);

interface Told {
  name: string;
  /** The number of suites around it. */
  nesting: number;
  durationMs: number;
  isSuite: boolean;
}

/** How a file's process exited. */
export interface End {
  status: number | null;
  signal: string | null;
  /** The runner's reason for killing it. */
  killed?: string | undefined;
  /** Processes and files that it left behind, a line each. */
  left: string[];
}

export interface Skip {
  place: string;
  reason: string;
}

/** One file's report as it grows. */
export class FileReport {
  readonly file: string;
  passed = 0;
  readonly failures: string[] = [];
  readonly skips: Skip[] = [];
  /** The test that ended last. */
  last: string | undefined;
  #text = '';
  #isWhole = false;
  #isOver = false;

  constructor(file: string) {
    this.file = file;
  }

  get text(): string {
    return this.#text;
  }

  /** The file's own output. */
  print(text: string): void {
    this.#text += text;
  }

  add(event: FileEvent): void {
    if (event.type === 'end') this.last = event.name;
    else if (event.type === 'summary') this.#isWhole = true;
    else if (event.type === 'diagnostic') this.#text += `  ℹ ${event.message}\n`;
    else if (event.type === 'pass' || event.type === 'fail' || event.type === 'skip') this.#addResult(event);
  }

  #addResult(event: Result): void {
    const { name, nesting, durationMs } = event;
    const indent = '  '.repeat(nesting + 1);
    if (event.type === 'skip') {
      this.#text += `${indent}﹣ ${name} (skipped: ${event.reason})\n`;
      this.skips.push({ place: `${this.file}: ${name}`, reason: event.reason });
    } else if (event.type === 'fail') {
      this.#text += `${indent}✖ ${name} (${seconds(durationMs)})\n`;
      if (event.why === undefined) return;
      this.#text += indented(event.why, `${indent}  `);
      this.failures.push(`${this.file}: ${name}`);
    } else if (event.isSuite) {
      this.#text += `${indent}${name}\n`;
    } else {
      this.#text += `${indent}✔ ${name} (${seconds(durationMs)})\n`;
      this.passed += 1;
    }
  }

  /** Takes the exit of its process. A contradiction in the events counts as a failure of the file itself. */
  finish({ status, signal, killed, left }: End): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const isPlain = status === 0 || (status === 1 && this.failures.length > 0);
    if (killed !== undefined) this.#fail(killed);
    else if (!this.#isWhole || !isPlain)
      this.#fail(`ended early or badly: ${signal ?? `exit status ${status}`}`);
    else if (this.passed + this.failures.length + this.skips.length === 0) this.#fail('has no test');
    if (left.length > 0) this.#fail(`left something behind:\n${left.join('\n')}`);
  }

  #fail(why: string): void {
    this.#text += `  ✖ the file itself\n${indented(why, '    ')}`;
    this.failures.push(`${this.file}: ${why.split('\n', 1)[0]}`);
  }
}

export function seconds(ms: number): string {
  return ms < 1000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

function indented(text: string, indent: string): string {
  return `${text}\n`.replaceAll(/^(?=.)/gm, indent);
}

/** The beginning of a reason for which tests may be skipped, and whether it holds here. */
export interface ExpectedSkip {
  reason: string;
  isExpected: boolean;
}

export interface Totals {
  passed: number;
  failures: string[];
  skips: Skip[];
}

/**
 * Makes the end of a run's output. It groups skips by their reasons; a skip without an expected reason is a failure.
 * @returns lines, of which the last is "N passed, N failed[, N skipped]"; .ci/run reads it and the lines "skipped: …"
 */
export function summary(totals: Totals, expected: readonly ExpectedSkip[]): { text: string; failed: number } {
  const isExpected = (skip: Skip): boolean =>
    expected.some(each => each.isExpected && skip.reason.startsWith(each.reason));
  const skips = totals.skips.filter(isExpected);
  const unexpected = totals.skips.filter(skip => !isExpected(skip));
  const failures = [
    ...totals.failures,
    ...unexpected.map(({ place, reason }) => `${place}: skipped, which was not expected: ${reason}`),
  ];
  const byReason = Map.groupBy(skips, ({ reason }) => reason);
  const lines = [
    ...[...byReason].map(([reason, all]) => `skipped: ${all.length}: ${reason}`),
    ...failures.map(each => `failed: ${each}`),
  ];
  const counts = `${totals.passed} passed, ${failures.length} failed`;
  const last = `${counts}${skips.length > 0 ? `, ${skips.length} skipped` : ''}`;
  return { text: `${[...lines, last].join('\n')}\n`, failed: failures.length };
}
