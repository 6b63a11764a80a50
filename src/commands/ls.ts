/** `dialback ls`: the entries of a folder in a snapshot, as they were on the client. */
import { printRows } from '../output/rows.ts';
import { entryJson, entryText } from '../output/tree-entry.ts';
import { Unread } from '../output/unread.ts';
import { listEntries } from '../store/browse.ts';
import { parsePath } from '../store/tree-path.ts';
import { escapeText } from '../wire/text.ts';
import { Arguments, type Command, JSON_OPTION } from './command.ts';
import { HOST_CONFIG, hostStore } from './host-store.ts';
import { readTarget } from './target.ts';

interface LsRequest {
  client: string;
  snapshot: string;
  paths: string[];
  isRecursive: boolean;
  /** Whether a folder is shown itself, in place of its entries. */
  isItself: boolean;
  config: string | undefined;
  json: boolean;
}

export const ls: Command<LsRequest> = {
  name: 'ls',
  usage: 'ls NAME[@SNAPSHOT] [PATH…] [-R] [-d] [--config F] [--json]',
  side: 'host',
  summary:
    'show what is in a folder, or everything below it (-R), or the folder itself (-d), as it was on the client',
  options: [
    HOST_CONFIG,
    { name: 'recursive', short: 'R', help: 'show everything below the folder' },
    { name: 'directory', short: 'd', help: 'show the folder itself' },
    JSON_OPTION,
  ],
  positionals: [{ name: 'NAME[@SNAPSHOT]' }, { name: 'PATH', isOptional: true, isRepeated: true }],

  parse(words) {
    const given = new Arguments(ls, words);
    const [first = '', ...paths] = given.positionals;
    if (given.has('recursive') && given.has('directory'))
      throw given.refuse('-R and -d contradict each other');
    return {
      ...readTarget(first),
      paths,
      isRecursive: given.has('recursive'),
      isItself: given.has('directory'),
      config: given.path('config'),
      json: given.has('json'),
    };
  },

  async run(request, io) {
    const { paths, isRecursive, json } = request;
    // In a listing of one folder, names without the folder are enough.
    const [path = '/'] = paths;
    const folder =
      paths.length > 1 || isRecursive ? undefined : parsePath(path, `list "${escapeText(path)}"`);
    const unread = new Unread();
    const options = { ...request, store: hostStore(request.config) };
    const entries = listEntries(options, io.interruption(), unread.complain);
    await printRows(io.print, entries, json ? entryJson : undefined, entry => entryText(entry, folder));
    return unread.report(io.warn);
  },
};
