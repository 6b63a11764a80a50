/**
 * All commands, and which of them a command line names. The executable loads a command when it is wanted, by import(), so that a
 * process has only the code of its command in memory. The commands of each night have an import() of their own. The others share two
 * (for-setup.ts, for-store.ts), since more of them would split the common code into more scripts, and each costs a start 0.1 ms.
 */
import { type Command, noSuchCommand, usage } from './command.ts';

type Loaders = Record<string, () => Promise<Command>>;

/** The commands that help shows, in its order. */
const COMMANDS: Loaders = {
  init: async () => (await import('./for-setup.ts')).init,
  'rotate-key': async () => (await import('./for-setup.ts')).rotateKey,
  backup: async () => (await import('./backup.ts')).backup,
  packages: async () => (await import('./for-setup.ts')).packages,
  weigh: async () => (await import('./for-setup.ts')).weigh,
  gate: async () => (await import('./gate.ts')).gate,
  grab: async () => (await import('./grab.ts')).grab,
  enroll: async () => (await import('./for-setup.ts')).enroll,
  unenroll: async () => (await import('./for-setup.ts')).unenroll,
  retire: async () => (await import('./for-setup.ts')).retire,
  rename: async () => (await import('./for-setup.ts')).rename,
  list: async () => (await import('./for-store.ts')).list,
  ls: async () => (await import('./for-store.ts')).ls,
  cat: async () => (await import('./for-store.ts')).cat,
  diff: async () => (await import('./for-store.ts')).diff,
  explain: async () => (await import('./for-store.ts')).explain,
  find: async () => (await import('./for-store.ts')).find,
  restore: async () => (await import('./restore.ts')).restore,
  export: async () => (await import('./for-store.ts')).exportArchive,
  offer: async () => (await import('./for-store.ts')).offer,
  fetch: async () => (await import('./fetch.ts')).fetch,
  status: async () => (await import('./for-store.ts')).status,
  metrics: async () => (await import('./for-store.ts')).metrics,
  report: async () => (await import('./report.ts')).report,
  web: async () => (await import('./for-store.ts')).web,
  prune: async () => (await import('./for-store.ts')).prune,
  pin: async () => (await import('./for-store.ts')).pin,
  unpin: async () => (await import('./for-store.ts')).unpin,
  remove: async () => (await import('./for-store.ts')).remove,
  'remove-client': async () => (await import('./for-store.ts')).removeClient,
  verify: async () => (await import('./for-store.ts')).verify,
  'copy-store': async () => (await import('./for-store.ts')).copyStore,
  adopt: async () => (await import('./for-store.ts')).adopt,
  drill: async () => (await import('./for-store.ts')).drill,
  config: async () => (await import('./for-setup.ts')).config,
  doctor: async () => (await import('./for-setup.ts')).doctor,
  try: async () => (await import('./for-setup.ts')).tryOut,
  help: async () => (await import('./for-setup.ts')).help,
  version: async () => (await import('./version.ts')).version,
};

/** The commands that other programs start. `shell` has no name on the command line. */
const INTERNAL: Loaders = {
  complete: async () => (await import('./for-store.ts')).complete,
  relay: async () => (await import('./relay.ts')).relay,
  manifest: async () => (await import('./manifest.ts')).manifest,
  shell: async () => (await import('./shell.ts')).shell,
  'receive-adopted': async () => (await import('./for-store.ts')).receiveAdopted,
  'serve-web': async () => (await import('./serve-web.ts')).serveWeb,
};

/**
 * Finds the command of a command line.
 * @param argv without node and the program
 * @param calledAs argv[0] as the caller gave it: login(1) and sshd put a dash before that of a login shell
 * @returns the name for `loadCommand`, and the words that the command has to parse
 * @throws Fault `usage` where there is no such command
 */
export function findCommand(
  argv: readonly string[],
  calledAs = '',
): { name: string; words: readonly string[] } {
  if (argv[0] === '-c' || calledAs.startsWith('-')) return { name: 'shell', words: argv };
  const [name, ...words] = argv;
  if (name === undefined) throw usage('start', 'no command was given', 'dialback help');
  if (name === '--help' || name === '-h') return { name: 'help', words: [] };
  if (name === '--version') return { name: 'version', words: [] };
  const isShown = Object.hasOwn(COMMANDS, name);
  if (!isShown && (name === 'shell' || !Object.hasOwn(INTERNAL, name)))
    throw noSuchCommand(name, Object.keys(COMMANDS));
  const asksForHelp = words.includes('--help') || words.includes('-h');
  return isShown && asksForHelp ? { name: 'help', words: [name] } : { name, words };
}

/** @param name as `findCommand` returns it */
export async function loadCommand(name: string): Promise<Command> {
  const load = COMMANDS[name] ?? INTERNAL[name];
  if (load === undefined) throw noSuchCommand(name, Object.keys(COMMANDS));
  return await load();
}

/** The names of the commands that help shows, in its order. */
export function commandNames(): string[] {
  return Object.keys(COMMANDS);
}

/** @returns the commands that help shows, in its order */
export async function loadCommands(): Promise<Command[]> {
  return await Promise.all(Object.values(COMMANDS).map(load => load()));
}
