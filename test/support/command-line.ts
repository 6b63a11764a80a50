// The command line as main.ts reads it, and a process that only collects what a command prints.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import type { Command, Io } from '../../src/commands/command.ts';
import { findCommand, loadCommand, loadCommands } from '../../src/commands/table.ts';
import { Fault } from '../../src/fault.ts';
import { plainText } from '../../src/output/terminal.ts';

const INTERNAL = await Promise.all(['complete', 'relay', 'manifest', 'shell'].map(loadCommand));

/** All commands that help shows. */
export const COMMANDS: readonly Command[] = await loadCommands();

/** The command of a command line, and the words that it has to parse. */
export function commandOf(
  argv: readonly string[],
  calledAs?: string,
): { command: Command; words: readonly string[] } {
  const { name, words } = findCommand(argv, calledAs);
  const command = [...COMMANDS, ...INTERNAL].find(each => each.name === name);
  assert.ok(command, name);
  return { command, words };
}

/** Reads a command line. @returns the result of its command's parser, with the name of the command as `verb` */
export function readWords(
  argv: readonly string[],
  calledAs?: string,
): { verb: string; [key: string]: unknown } {
  const { command, words } = commandOf(argv, calledAs);
  return { verb: command.name, ...(command.parse(words) as object) };
}

/** The same for a line whose words have no blank in them. */
export function readLine(line: string): { verb: string; [key: string]: unknown } {
  return readWords(line.split(' ').filter(Boolean));
}

/** The fault of a command line that is refused. */
export function refusalOf(argv: readonly string[]): Fault {
  try {
    readWords(argv);
  } catch (error) {
    assert.ok(error instanceof Fault, String(error));
    assert.equal(error.exit, 'usage');
    return error;
  }
  throw new Error(`accepted: ${argv.join(' ')}`);
}

/** Runs a command of the host with a host.toml that names only the store. @returns its standard output */
export async function printedOfStore(store: string, ...argv: string[]): Promise<string> {
  const config = `${store}.host.toml`;
  writeFileSync(config, `store = ${JSON.stringify(store)}\n`);
  const io = new CollectingIo();
  const { command, words } = commandOf([...argv, '--config', config]);
  await command.run(command.parse(words), io);
  assert.equal(io.warned, '');
  return io.printed;
}

/** A process without a terminal. `printed` is its standard output, `warned` its standard error. */
export class CollectingIo implements Io {
  readonly environment: NodeJS.ProcessEnv = {};
  readonly #isUtf8: boolean;
  printed = '';
  warned = '';

  constructor({ isUtf8 = false }: { isUtf8?: boolean } = {}) {
    this.#isUtf8 = isUtf8;
  }

  readonly print = (text: string): boolean => {
    this.printed += text;
    return true;
  };
  readonly warn = (text: string): void => {
    this.warned += text;
  };
  readonly plain = (text: string): string => plainText(text, this.#isUtf8);
  readonly isTerminal = (): boolean => false;
  readonly interruption = (): AbortSignal => new AbortController().signal;
}
