/** A command as one value: how it is called, what it does, how its words are read, and how it runs. */
import { resolve } from 'node:path';
import minimist from 'minimist';
import { EXIT, type ExitName, Fault } from '../fault.ts';
import { suggestion } from '../shared/nearest.ts';
import { escapeText } from '../wire/text.ts';

/**
 * An option of a command. One with a value may be given once. One without a value is a flag; it may be repeated, which
 * changes nothing.
 */
export interface Option {
  /** Without the two dashes. */
  name: string;
  /** One letter, without the dash. */
  short?: string;
  /** The value as help shows it, or the values that are possible with `|` between them. Absent: a flag. */
  value?: string;
  /** One line for help. */
  help: string;
}

/** An argument that is not an option. */
interface Positional {
  /** As help shows it. */
  name: string;
  isOptional?: boolean;
  /** Whether it may be given several times. Only the last argument of a command may. */
  isRepeated?: boolean;
}

/** The part of a command that says how it is written. */
interface Grammar {
  name: string;
  /** The command line as help shows it, without the program's name. */
  usage: string;
  options: readonly Option[];
  positionals: readonly Positional[];
}

/** The parts of its process that a command may use. */
export interface Io {
  environment: NodeJS.ProcessEnv;
  /** Writes to standard output. @returns false where the reader has gone away */
  print: (text: string) => boolean;
  /** Writes to standard error. */
  warn: (text: string) => void;
  /** @returns the text in the characters that the reader of this process's output can show */
  plain: (text: string) => string;
  isTerminal: (descriptor: 1 | 2) => boolean;
  /**
   * @returns a signal that aborts at SIGINT, SIGTERM and SIGHUP. From this call on these signals no longer end the
   *   process: the command has to end by itself.
   */
  interruption: () => AbortSignal;
}

/** The text that the other machine gets in place of a message. */
interface PeerFailure {
  text: string;
  /** The exit status; that of the error where it is absent. */
  exit?: ExitName;
}

/** A command of dialback. `T` is what its words mean. */
export interface Command<T = unknown> extends Grammar {
  /** On which machine a person runs it. */
  side: 'client' | 'host' | 'both';
  /** One line of help. */
  summary: string;
  /**
   * Reads the words behind the command's name.
   * @throws Fault `usage` that names the word
   */
  parse(words: readonly string[]): T;
  /** @throws Fault where the command fails */
  run(value: T, io: Io): Promise<ExitName>;
  /**
   * For a command that another program starts: the text that this program gets if the command fails. Undefined: a person
   * reads standard error.
   */
  failureForPeer?(words: readonly string[], environment: NodeJS.ProcessEnv): PeerFailure | undefined;
}

/** @param next the command that is right */
export function usage(tried: string, found: string, next: string): Fault {
  return new Fault({ tried, found, next, exit: 'usage' });
}

/**
 * @param word what stood where a command's name was expected
 * @param known the names of all commands
 */
export function noSuchCommand(word: string, known: readonly string[] = []): Fault {
  const found = `there is no such command${word.startsWith('-') ? '' : suggestion(word, known)}`;
  return usage(`run "${escapeText(word, 60)}"`, found, 'dialback help');
}

/** @returns the name of an exit status that a command of the client or the host ended with */
export function exitName(status: number): ExitName {
  return (Object.keys(EXIT) as ExitName[]).find(name => EXIT[name] === status) ?? 'failed';
}

/** More arguments than that are refused, also where the last one may be repeated. */
const MOST_POSITIONALS = 10_000;

/** The words of one command line, read by the command's grammar. */
export class Arguments {
  readonly positionals: readonly string[];
  readonly #command: Grammar;
  readonly #texts = new Map<string, string>();
  readonly #flags = new Set<string>();

  /** @throws Fault `usage` for an unknown, repeated or incomplete option, and for an argument that is missing or too many */
  constructor(command: Grammar, words: readonly string[]) {
    this.#command = command;
    const parsed = this.#split(words);
    this.positionals = parsed._.map(String);
    for (const { name, value } of command.options) {
      const given: unknown = parsed[name];
      if (value === undefined) {
        if (given === true) this.#flags.add(name);
      } else if (given !== undefined) this.#texts.set(name, this.#readText(name, given));
    }
    this.#countPositionals();
  }

  /** The value of an option; undefined where it was not given. */
  text(name: string): string | undefined {
    this.#assertKnown(name);
    return this.#texts.get(name);
  }

  /** The same as an absolute path: programs that dialback starts run in `/`. */
  path(name: string): string | undefined {
    const value = this.text(name);
    return value === undefined ? undefined : resolve(value);
  }

  /** The value of an option that must be given. @throws Fault `usage` where it was not */
  need(name: string): string {
    const value = this.text(name);
    if (value === undefined) throw this.refuse(`--${name} is missing`);
    return value;
  }

  /** Whether a flag was given. */
  has(name: string): boolean {
    this.#assertKnown(name);
    return this.#flags.has(name);
  }

  /** The fault of these words, with the usage as the next step; for the caller to throw. */
  refuse(found: string): Fault {
    const next = `dialback ${this.#command.usage}`;
    return usage(`run "${this.#command.name}"`, found, next);
  }

  #assertKnown(name: string): void {
    if (!this.#command.options.some(each => each.name === name))
      throw new Error(`${this.#command.name} has no option --${name}`);
  }

  #split(words: readonly string[]): minimist.ParsedArgs {
    const { options } = this.#command;
    const end = words.indexOf('--');
    const before = end < 0 ? words : words.slice(0, end);
    const odd = before.find(word => isOdd(word, options));
    if (odd) throw this.#unknown(odd);
    const plain = [...before.flatMap(word => plainFlags(word, options)), ...words.slice(before.length)];
    return minimist(plain, {
      string: [...options.filter(each => each.value !== undefined).map(each => each.name), '_'],
      boolean: options.filter(each => each.value === undefined).map(each => each.name),
      alias: Object.fromEntries(
        options.flatMap(({ name, short }) => (short === undefined ? [] : [[name, short]])),
      ),
      unknown: word => {
        if (!word.startsWith('-') || word === '-') return true;
        throw this.#unknown(word);
      },
    });
  }

  #unknown(word: string): Fault {
    const [name = ''] = word.split('=');
    const known = this.#command.options.map(each => `--${each.name}`);
    const similar = name.startsWith('--') ? suggestion(name, known) : '';
    return this.refuse(`unknown option "${escapeText(word, 60)}"${similar}`);
  }

  #readText(name: string, given: unknown): string {
    if (Array.isArray(given)) throw this.refuse(`--${name} was given twice`);
    if (given === '') throw this.refuse(`--${name} needs a value`);
    return String(given);
  }

  #countPositionals(): void {
    const { positionals: known } = this.#command;
    const least = known.filter(each => !each.isOptional).length;
    const most = known.at(-1)?.isRepeated ? MOST_POSITIONALS : known.length;
    if (this.positionals.length < least) throw this.refuse('an argument is missing');
    if (this.positionals.length > most)
      throw this.refuse(`unexpected argument "${escapeText(this.positionals[most] ?? '', 60)}"`);
  }
}

/**
 * Whether minimist would misread a word: it takes `--no-config` for a config called "false", `--json=x` and `-v5` for flags,
 * and fails at names that every object has (`--constructor`).
 */
function isOdd(word: string, options: readonly Option[]): boolean {
  if (!word.startsWith('--')) return /^-[a-z]+[^a-z]/i.test(word);
  const [name = '', value] = word.slice(2).split('=');
  const option = options.find(each => each.name === name);
  return option === undefined || (value !== undefined && option.value === undefined);
}

/** Flags with their value: minimist takes a following word `true` or `false` (a path, say) for the value of a flag. */
function plainFlags(word: string, options: readonly Option[]): string[] {
  const flags = options.filter(each => each.value === undefined);
  const letters = /^-([a-z]+)$/i.exec(word)?.[1]?.split('');
  const names = letters
    ? letters.map(letter => flags.find(each => each.short === letter)?.name)
    : flags.filter(each => word === `--${each.name}`).map(each => each.name);
  const isFlag = names.length > 0 && names.every(name => name !== undefined);
  return isFlag ? names.map(name => `--${name}=true`) : [word];
}

/** The option of every command that can print JSON. */
export const JSON_OPTION: Option = { name: 'json', help: 'print JSON, for programs' };
