/** The lines of authorized_keys by client and by key: an enrollment of thousands of clients looks at each line once. */
import { enrolledName } from './authorized-keys.ts';

/** The lines of an authorized_keys file. A call changes those of one client only. */
export class KeyLines {
  /** By their numbers, which only grow. A Map keeps their order. */
  readonly #lines = new Map<number, string>();
  readonly #byClient = new Map<string, Set<number>>();
  readonly #byWord = new Map<string, Set<number>>();
  #next = 0;

  /** @param lines as `openKeys()` returns them */
  constructor(lines: readonly string[]) {
    for (const line of lines) this.#add(line);
  }

  /** The lines that decide whether a client can have a key: its own, and all that have the key, but for comments. In the file's order. */
  about(client: string, blob: string): string[] {
    const numbers = new Set([...(this.#byClient.get(client) ?? []), ...(this.#byWord.get(blob) ?? [])]);
    return [...numbers].sort((one, other) => one - other).map(number => this.#lines.get(number) ?? '');
  }

  /** Puts lines behind all others in the place of a client's own. */
  replace(client: string, lines: readonly string[]): void {
    for (const number of this.#byClient.get(client) ?? []) {
      for (const word of wordsOf(this.#lines.get(number) ?? '')) this.#byWord.get(word)?.delete(number);
      this.#lines.delete(number);
    }
    this.#byClient.delete(client);
    for (const line of lines) this.#add(line);
  }

  /** All lines, for `writeKeys()`. */
  all(): string[] {
    return [...this.#lines.values()];
  }

  #add(line: string): void {
    const number = this.#next++;
    this.#lines.set(number, line);
    if (line.startsWith('#')) return;
    const client = enrolledName(line);
    if (client !== undefined) note(this.#byClient, client, number);
    for (const word of wordsOf(line)) note(this.#byWord, word, number);
  }
}

/** As `hasKey()` finds a key. */
const wordsOf = (line: string): string[] => line.split(/\s+/);

function note(map: Map<string, Set<number>>, key: string, number: number): void {
  const numbers = map.get(key);
  if (numbers === undefined) map.set(key, new Set([number]));
  else numbers.add(number);
}
