/** What a reader of the store could not read, while it showed the rest. */

const SHOWN = 15;

/** Entries of snapshots that could not be read; a damaged disk can have many. */
export class Unread {
  readonly #first: string[] = [];
  count = 0;

  /** To be handed on. */
  readonly complain = (found: string): void => {
    this.count += 1;
    if (this.#first.length < SHOWN) this.#first.push(found);
  };

  /** For standard error; empty where all could be read. */
  text(): string {
    if (this.count === 0) return '';
    const rest = this.count - this.#first.length;
    return [
      `dialback: Cannot read all of the store: ${this.count} ${this.count === 1 ? 'entry' : 'entries'} could not be read\n`,
      ...this.#first.map(each => `  ${each}\n`),
      ...(rest > 0 ? [`  and ${rest} more\n`] : []),
      'next: dialback verify (it tells what is damaged)\n',
    ].join('');
  }
}
