/**
 * `dialback complete`: the completion of the shells (share/completion) starts it at each press of Tab. It prints the words
 * that can stand at the end of a command line. On an error it prints nothing, since the terminal shows a line that is being typed.
 */
import { readClientConfig, remoteName } from '../client/config.ts';
import { becomeOwner } from '../os/account.ts';
import { configPath } from '../shared/toml.ts';
import { listEntries } from '../store/browse.ts';
import { snapshotNames } from '../store/snapshot.ts';
import { listClients, openClient } from '../store/store.ts';
import { NAME } from '../wire/text.ts';
import { type Command, noSuchCommand } from './command.ts';
import { beginning, type Kind, type Next, nextWords } from './completion.ts';
import { TOPICS } from './help.ts';
import { hostStore } from './host-store.ts';
import { commandNames } from './table.ts';
import { readTarget } from './target.ts';

interface CompleteRequest {
  /** The words of the line behind the program's name, up to the cursor. */
  line: readonly string[];
}

export const complete: Command<CompleteRequest> = {
  name: 'complete',
  usage: 'complete -- WORD…',
  side: 'both',
  summary: 'print what can stand at the end of a command line, for the completion of the shells',
  options: [],
  positionals: [],

  parse([first, ...line]) {
    if (first !== '--') throw noSuchCommand('complete');
    return { line };
  },

  /** The first line is `file`, `folder` or `word`: whether names of files or folders can stand there as well. */
  async run({ line }, io) {
    try {
      const next = await nextWords(line);
      const words = [...next.words, ...valuesOf(next), ...(await pathsOf(next, io.interruption()))];
      const kind = next.value?.wanted;
      const lines = words.map(([word, help]) => `${word}\t${help}\n`);
      io.print(io.plain(`${kind === 'file' || kind === 'folder' ? kind : 'word'}\n${lines.join('')}`));
    } catch {
      // A config that is wrong or a store that cannot be read has no names to offer. The command itself reports it.
    }
    return 'done';
  },
};

type Words = [word: string, help: string][];

const plain = (words: readonly string[]): Words => words.map(word => [word, '']);

/** The values that this machine knows for the last word. */
function valuesOf({ value, given }: Next): Words {
  if (value === undefined) return [];
  const { wanted, text, before } = value;
  const words = typeof wanted === 'string' ? namesOf(wanted, text, given) : plain(wanted);
  return beginning(text, words).map(([word, help]) => [before + word, help]);
}

function namesOf(kind: Kind, text: string, given: Next['given']): Words {
  if (kind === 'topic') return plain([...commandNames(), ...Object.keys(TOPICS)]);
  if (kind === 'remote') return plain(remoteNames(given.config));
  if (kind === 'client') return plain(listClients(openOwn(given.config)));
  if (kind === 'other snapshot') {
    const [client = ''] = given.positionals[0]?.split('@') ?? [];
    return NAME.test(client) ? snapshotsOf(openOwn(given.config), client) : [];
  }
  if (kind !== 'snapshot' && kind !== 'client or snapshot') return [];
  const [client = '', snapshot] = text.split('@');
  const store = openOwn(given.config);
  if (snapshot === undefined) {
    const names = listClients(store);
    const withMark = names.map(name => `${name}@`);
    return plain(kind === 'snapshot' ? withMark : [...names, ...withMark]);
  }
  if (!NAME.test(client)) return [];
  return snapshotsOf(store, client).map(([name, help]) => [`${client}@${name}`, help]);
}

/** A folder with more entries completes nothing: all of them would have to be read at each press of Tab. */
const PATHS = 2000;

/** The entries of a snapshot that can stand in the place of the last word. A folder's name ends in a slash. */
async function pathsOf({ value, given }: Next, signal: AbortSignal): Promise<Words> {
  const [target] = given.positionals;
  if (value?.wanted !== 'path' || target === undefined || !value.text.startsWith('/')) return [];
  const { client, snapshot } = readTarget(target);
  if (!NAME.test(client)) return [];
  const folder = value.text.slice(0, value.text.lastIndexOf('/') + 1);
  const store = openOwn(given.config);
  const options = { store, client, snapshot, paths: [folder], isRecursive: false, isItself: false };
  const words: Words = [];
  // An entry that cannot be read is left out.
  for await (const { path, type } of listEntries(options, signal, () => {})) {
    const text = `/${path.toString('utf8')}${type === 'folder' ? '/' : ''}`;
    // The shells take a line for each word.
    if (!/\p{Cc}|\ufffd/u.test(text)) words.push([text, '']);
    if (words.length > PATHS) return [];
  }
  return beginning(value.text, words);
}

/** The store of host.toml. Root reads nothing in the store of another account: this process becomes that account for good. */
function openOwn(config: string | undefined): string {
  const store = hostStore(config);
  becomeOwner(store);
  return store;
}

function snapshotsOf(store: string, client: string): Words {
  const names = snapshotNames(openClient(store, client));
  return [['latest', 'the newest full snapshot'], ...plain(names.toReversed())];
}

function remoteNames(config: string | undefined): string[] {
  return readClientConfig(configPath('client.toml', config)).remote.map(remoteName);
}
