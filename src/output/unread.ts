/** Entries of a store that a command could not read while it printed the rest. */
import type { ExitName } from '../fault.ts';
import { moreText } from './table.ts';

/** Entries that are named; a damaged disk can have many more. */
const SHOWN = 15;

/** Collects these entries and reports them after everything else. */
export class Unread {
  readonly #first: string[] = [];
  #count = 0;

  /** Takes one entry: its name, and why it could not be read. */
  readonly complain = (found: string): void => {
    this.#count += 1;
    if (this.#first.length < SHOWN) this.#first.push(found);
  };

  /**
   * Writes the report, if there is any entry.
   * @param effect on the output of the command
   * @returns the exit status of the command
   */
  report(warn: (text: string) => void, effect?: string): ExitName {
    if (this.#count === 0) return 'done';
    const entries = `${this.#count} ${this.#count === 1 ? 'entry' : 'entries'}`;
    const text = [
      `dialback: Cannot read all of the store: ${entries} could not be read${effect === undefined ? '' : `; ${effect}`}\n`,
      ...this.#first.map(each => `  ${each}\n`),
      moreText(this.#count, this.#first),
      'next: dialback verify (it tells what is damaged)\n',
    ];
    warn(text.join(''));
    return 'failed';
  }
}
