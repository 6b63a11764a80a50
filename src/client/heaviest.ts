/** Keeps the heaviest of any number of values, in memory for a few of them. */

export class Heaviest<T> {
  readonly #limit: number;
  readonly #weigh: (value: T) => number;
  #kept: T[] = [];
  /** Values that weigh less than this would be dropped at once. */
  #least = Number.NEGATIVE_INFINITY;

  /** @param limit how many are kept */
  constructor(limit: number, weigh: (value: T) => number) {
    this.#limit = limit;
    this.#weigh = weigh;
  }

  take(value: T): void {
    if (this.#limit === 0 || this.#weigh(value) <= this.#least) return;
    this.#kept.push(value);
    if (this.#kept.length >= 2 * this.#limit + 16) this.#cut();
  }

  /** @returns the heaviest first. Values with the same weight keep their order */
  list(): T[] {
    this.#cut();
    return [...this.#kept];
  }

  #cut(): void {
    this.#kept.sort((a, b) => this.#weigh(b) - this.#weigh(a));
    this.#kept = this.#kept.slice(0, this.#limit);
    const last = this.#kept.at(-1);
    if (this.#kept.length === this.#limit && last !== undefined) this.#least = this.#weigh(last);
  }
}
