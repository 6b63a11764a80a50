/** The words that can stand next on a command line: from the commands themselves, for the completion of the shells. */
import type { Command, Option } from './command.ts';
import { commandNames, loadCommand, loadCommands } from './table.ts';

/** The kind of thing that a word of a command line names. */
export type Kind =
  | 'client'
  /** `NAME@SNAPSHOT`. */
  | 'snapshot'
  /** `NAME` or `NAME@SNAPSHOT`. */
  | 'client or snapshot'
  /** A snapshot of the client that the first argument names. */
  | 'other snapshot'
  /** A path in the snapshot that the first argument names. */
  | 'path'
  | 'remote'
  | 'topic'
  | 'file'
  | 'folder'
  /** Something that this machine cannot list. */
  | 'free';

/** The kinds of arguments and values, by the name that help shows. */
const KINDS: Record<string, Kind> = {
  NAME: 'client',
  'NAME@SNAPSHOT': 'snapshot',
  'NAME@A': 'snapshot',
  'NAME[@SNAPSHOT]': 'client or snapshot',
  'NAME[@A]': 'client or snapshot',
  B: 'other snapshot',
  TOPIC: 'topic',
  F: 'file',
  'KEYFILE|-': 'file',
  DIR: 'folder',
  'DIR|-': 'folder',
  'DIR|HOST:DIR': 'folder',
  FOLDER: 'folder',
  PATH: 'path',
  PATTERN: 'free',
  CODE: 'free',
  COUNT: 'free',
  ID: 'free',
  KEY: 'free',
  N: 'free',
  NAMES: 'free',
  NEW: 'free',
  PERCENT: 'free',
  SIZE: 'free',
  T: 'free',
  TARGET: 'free',
  TEXT: 'free',
  TIME: 'free',
  WHEN: 'free',
  'ADDRESS:PORT': 'free',
};

/** Those that differ from it, by the command and the name of the argument or option. */
const EXCEPTIONS: Record<string, Kind> = {
  'backup --remote': 'remote',
  'fetch --target': 'remote',
  'init --name': 'free',
  'adopt --point': 'free',
  'enroll NAME': 'free',
  'weigh PATH': 'file',
  'web --socket': 'file',
};

/** The kind of an argument or of an option's value; several words: the only possible ones. */
export type Wanted = Kind | readonly string[];

/**
 * @param name of an argument, or of an option with its dashes
 * @param value as help shows it
 * @throws Error if it is not in {@link KINDS}
 */
function wanted(command: string, name: string, value: string): Wanted {
  const exception = EXCEPTIONS[`${command} ${name}`];
  if (exception !== undefined) return exception;
  if (/^[a-z]+(\|[a-z]+)+$/.test(value)) return value.split('|');
  const kind = KINDS[value];
  if (kind === undefined) throw new Error(`no kind for "${value}": ${command} ${name}`);
  return kind;
}

/** All kinds of a command, by its options and arguments. */
function kindsOf({ name, options, positionals }: Command): Map<string, Wanted> {
  const ofOptions = options.flatMap(({ name: option, value }): [string, Wanted][] =>
    value === undefined ? [] : [[`--${option}`, wanted(name, `--${option}`, value)]],
  );
  const ofArguments = positionals.map(each => [each.name, wanted(name, each.name, each.name)] as const);
  return new Map([...ofOptions, ...ofArguments]);
}

/** The words that can stand at the end of a command line. */
export interface Next {
  /** Words that begin with the last one, each with its description. */
  words: [word: string, help: string][];
  /** The kind of the last word, and the text of it that counts: behind `--option=` only the value. */
  value?: { wanted: Wanted; text: string; before: string };
  /** The command's words so far: its arguments, and the value of --config. */
  given: { positionals: string[]; config: string | undefined };
}

/**
 * Finds the words that can stand at the end of a command line.
 * @param line the words behind the program's name. The last one is the word at the cursor, and may be empty
 */
export async function nextWords(line: readonly string[]): Promise<Next> {
  const last = line.at(-1) ?? '';
  const [name, ...before] = line.slice(0, -1);
  const given: Next['given'] = { positionals: [], config: undefined };
  if (name === undefined) return { words: beginning(last, await firstWords()), given };
  if (!commandNames().includes(name)) return { words: [], given };
  const command = await loadCommand(name);
  const { options } = command;
  let isOptions = true;
  let open: Option | undefined;
  for (const word of before) {
    if (open) {
      if (open.name === 'config') given.config = word;
      open = undefined;
    } else if (isOptions && word === '--') isOptions = false;
    else if (isOptions && word.startsWith('-') && word !== '-') {
      if (word.startsWith('--config=')) given.config = word.slice('--config='.length);
      open = valueOption(options, word);
    } else given.positionals.push(word);
  }
  const kinds = kindsOf(command);
  const asValue = (key: string, text: string, start = ''): Next => {
    const found = kinds.get(key);
    return { words: [], given, ...(found ? { value: { wanted: found, text, before: start } } : {}) };
  };
  if (open) return asValue(`--${open.name}`, last);
  const [, key, text] = /^(--[^=]+)=(.*)$/s.exec(last) ?? [];
  if (isOptions && key !== undefined && text !== undefined) return asValue(key, text, `${key}=`);
  if (isOptions && last.startsWith('-'))
    return { words: beginning(last, optionWords(options, before)), given };
  const { positionals } = command;
  const argument =
    positionals[given.positionals.length] ??
    (positionals.at(-1)?.isRepeated ? positionals.at(-1) : undefined);
  return argument === undefined ? { words: [], given } : asValue(argument.name, last);
}

async function firstWords(): Promise<[string, string][]> {
  const commands = await loadCommands();
  return [
    ...commands.map(({ name, summary }): [string, string] => [name, summary]),
    ['--help', 'show all commands'],
    ['--version', "show dialback's version"],
  ];
}

/** The options that are not there yet, with two dashes. */
function optionWords(options: readonly Option[], before: readonly string[]): [string, string][] {
  const left = options.filter(({ name }) => !before.some(word => word.split('=')[0] === `--${name}`));
  return [
    ...left.map(({ name, help }): [string, string] => [`--${name}`, help]),
    ['--help', 'explain this command'],
  ];
}

/** The option whose value is the next word; undefined if the value is in the same word, or there is none. */
function valueOption(options: readonly Option[], word: string): Option | undefined {
  const letter = /^-[a-z]*([a-z])$/i.exec(word)?.[1];
  const found = options.find(
    ({ name, short }) => word === `--${name}` || (short !== undefined && short === letter),
  );
  return found?.value === undefined ? undefined : found;
}

/** Those of some words that begin with a text. */
export function beginning(text: string, words: readonly [string, string][]): [string, string][] {
  return words.filter(([word]) => word.startsWith(text));
}
