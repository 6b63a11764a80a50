/** The program: finds the command, parses its words, runs it, and maps its end to text and an exit status. */
import type { Command, Io } from './commands/command.ts';
import { findCommand, loadCommand } from './commands/table.ts';
import { EXIT, type ExitName, Fault, firstError } from './fault.ts';
import { interruption, interruptWith } from './os/async.ts';
import { ownArguments } from './os/executable.ts';
import { isTerminal, outputLost, say } from './os/streams.ts';
import { readsUtf8 } from './os/terminal.ts';
import { plainText } from './output/terminal.ts';
import { decodeName, escapeText } from './wire/text.ts';

const io: Io = {
  environment: process.env,
  print: text => say(1, text),
  warn: text => void say(2, text),
  plain: text => plainText(text, readsUtf8(process.env)),
  isTerminal,
  interruption,
};

let chosen: { command: Command; words: readonly string[] } | undefined;

async function main(): Promise<ExitName> {
  const { name, words } = findCommand(ownArguments().map(decodeName), process.argv0);
  const command = await loadCommand(name);
  chosen = { command, words };
  return await command.run(command.parse(words), io);
}

/** Reports an error to the person or the program that reads standard error. Anything but a Fault is a bug in dialback. */
function explain(error: unknown): ExitName {
  const exit = error instanceof Fault ? error.exit : 'failed';
  const toPeer = chosen?.command.failureForPeer?.(chosen.words, process.env);
  if (toPeer) {
    io.warn(toPeer.text);
    return toPeer.exit ?? exit;
  }
  if (error instanceof Fault) io.warn(io.plain(`dialback: ${error.text()}\n`));
  else {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    const lines = text.split('\n').map(line => escapeText(line));
    io.warn(`dialback: Cannot go on: ${lines.join('\n')}\n`);
  }
  return exit;
}

function fail(error: unknown): never {
  process.exit(EXIT[explain(firstError(error))]);
}

/** A success whose output could not be written is a failure. */
function succeed(exit: ExitName): never {
  process.exit(EXIT[exit === 'done' && outputLost() ? 'failed' : exit]);
}

/** How long a command may clean up after an error that no code awaited. */
const CLEAN_UP_MS = 30_000;

/** Such an error interrupts the command as a signal does; the command then ends with it. */
process.on('uncaughtException', error => {
  process.exitCode = EXIT.failed; // for the case that node has nothing left to wait for
  interruptWith(error);
  setTimeout(() => fail(error), CLEAN_UP_MS).unref();
});

// Not `await`: the bundle is CommonJS, where it is not possible at the top level.
main().then(succeed, fail);
