/** `dialback find`: every version of a file, over all snapshots of a client. */
import { clientPath } from '../output/path.ts';
import { printRows } from '../output/rows.ts';
import { showBytes, showTime } from '../output/units.ts';
import type { Version } from '../store/file-index.ts';
import { parseTime } from '../store/file-time.ts';
import { findVersions } from '../store/find.ts';
import { showName } from '../wire/text.ts';
import { Arguments, type Command, JSON_OPTION } from './command.ts';
import { HOST_CONFIG, hostStore } from './host-store.ts';

interface FindRequest {
  client: string;
  pattern: string | undefined;
  ignoresCase: boolean;
  config: string | undefined;
  json: boolean;
}

export const find: Command<FindRequest> = {
  name: 'find',
  usage: 'find NAME [PATTERN] [-i] [--config F] [--json]',
  side: 'host',
  summary: 'show each version of the files whose name matches PATTERN (*, ?, []), and the snapshots with it',
  options: [
    HOST_CONFIG,
    { name: 'ignore-case', short: 'i', help: 'treat capital and small letters as the same' },
    JSON_OPTION,
  ],
  positionals: [{ name: 'NAME' }, { name: 'PATTERN', isOptional: true }],

  parse(words) {
    const given = new Arguments(find, words);
    const [client = '', pattern] = given.positionals;
    if (client.includes('@'))
      throw given.refuse('it searches all snapshots, so it does not take the name of one');
    return {
      client,
      pattern,
      ignoresCase: given.has('ignore-case'),
      config: given.path('config'),
      json: given.has('json'),
    };
  },

  async run(request, io) {
    await using held = new AsyncDisposableStack();
    const options = { ...request, store: hostStore(request.config) };
    const versions = await findVersions(held, options, io.interruption());
    await printRows(io.print, versions, request.json ? versionJson : undefined, versionText);
    return 'done';
  },
};

function versionJson({ path, isFolder, size, mtime, snapshots }: Version): Record<string, unknown> {
  return {
    path: clientPath(path),
    folder: isFolder,
    size: isFolder ? null : size,
    mtime: mtime === undefined || isFolder ? null : showTime(parseTime(mtime), 9),
    snapshots,
  };
}

function versionText({ path, isFolder, size, mtime, snapshots }: Version): string {
  const what =
    mtime === undefined || isFolder ? 'folder' : `${showBytes(size)}  ${showTime(parseTime(mtime), 0)}`;
  const [first = '', last = ''] = [snapshots[0], snapshots.at(-1)];
  const held = snapshots.length === 1 ? first : `${first} … ${last} (${snapshots.length} snapshots)`;
  return `${showName(clientPath(path))}  ${what}  ${held}\n`;
}
