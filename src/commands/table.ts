/** All commands, and which of them a command line names. */
import { backup } from './backup.ts';
import { cat } from './cat.ts';
import { type Command, noSuchCommand, usage } from './command.ts';
import { copyStore } from './copy-store.ts';
import { diff } from './diff.ts';
import { doctor } from './doctor.ts';
import { drill } from './drill.ts';
import { enroll } from './enroll.ts';
import { exportArchive } from './export.ts';
import { fetch } from './fetch.ts';
import { find } from './find.ts';
import { gate } from './gate.ts';
import { grab } from './grab.ts';
import { makeHelp } from './help.ts';
import { init } from './init.ts';
import { list } from './list.ts';
import { ls } from './ls.ts';
import { manifest } from './manifest.ts';
import { offer } from './offer.ts';
import { pin } from './pin.ts';
import { prune } from './prune.ts';
import { relay } from './relay.ts';
import { remove } from './remove.ts';
import { removeClient } from './remove-client.ts';
import { restore } from './restore.ts';
import { shell } from './shell.ts';
import { status } from './status.ts';
import { tryOut } from './try.ts';
import { unenroll } from './unenroll.ts';
import { unpin } from './unpin.ts';
import { verify } from './verify.ts';
import { version } from './version.ts';

const help = makeHelp(() => COMMANDS);

/** Every command that has a name on the command line, in the order of help. */
export const COMMANDS: readonly Command[] = [
  init,
  backup,
  gate,
  grab,
  enroll,
  unenroll,
  list,
  ls,
  cat,
  diff,
  find,
  restore,
  exportArchive,
  offer,
  fetch,
  status,
  prune,
  pin,
  unpin,
  remove,
  removeClient,
  verify,
  copyStore,
  drill,
  doctor,
  tryOut,
  help,
  version,
  relay,
  manifest,
];

/**
 * Finds the command of a command line.
 * @param argv without node and the program
 * @param calledAs argv[0] as the caller gave it: login(1) and sshd put a dash before that of a login shell
 * @returns the command, and the words that it has to parse
 * @throws Fault `usage` where there is no such command
 */
export function findCommand(
  argv: readonly string[],
  calledAs = '',
): { command: Command; words: readonly string[] } {
  if (argv[0] === '-c' || calledAs.startsWith('-')) return { command: shell, words: argv };
  const [name, ...words] = argv;
  if (name === undefined) throw usage('start', 'no command was given', 'dialback help');
  if (name === '--help' || name === '-h') return { command: help, words: [] };
  if (name === '--version') return { command: version, words: [] };
  const command = COMMANDS.find(each => each.name === name);
  if (command === undefined) throw noSuchCommand(name);
  const asksForHelp = words.includes('--help') || words.includes('-h');
  if (asksForHelp && !command.isInternal) return { command: help, words: [name] };
  return { command, words };
}
