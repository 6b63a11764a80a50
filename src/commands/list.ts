/** `dialback list`: the snapshots of one client, or of all. */
import { jsonText } from '../output/json.ts';
import { table } from '../output/table.ts';
import { showBytes } from '../output/units.ts';
import { Unread } from '../output/unread.ts';
import { type Listed, listAll } from '../store/list.ts';
import { escapeText } from '../wire/text.ts';
import { Arguments, type Command, JSON_OPTION } from './command.ts';
import { HOST_CONFIG, hostStore } from './host-store.ts';

interface ListRequest {
  name: string | undefined;
  config: string | undefined;
  json: boolean;
}

export const list: Command<ListRequest> = {
  name: 'list',
  usage: 'list [NAME] [--config F] [--json]',
  side: 'host',
  summary: 'show the snapshots of one client, or of all, oldest first',
  options: [HOST_CONFIG, JSON_OPTION],
  positionals: [{ name: 'NAME', isOptional: true }],

  parse(words) {
    const given = new Arguments(list, words);
    return { name: given.positionals[0], config: given.path('config'), json: given.has('json') };
  },

  async run({ name, config, json }, io) {
    const unread = new Unread();
    const rows = listAll(hostStore(config), name, unread.complain);
    io.print(json ? jsonText(rows) : listText(rows));
    return unread.report(io.warn);
  },
};

/** @param rows one for each snapshot */
function listText(rows: Listed[]): string {
  const cells = rows.map(row => [
    row.client,
    row.snapshot,
    row.state,
    String(row.files),
    showBytes(row.bytes),
    showBytes(row.new_bytes),
    [...(row.retired === null ? [] : ['retired']), ...(row.pinned ? ['pinned'] : []), ...row.flags]
      .map(each => escapeText(each))
      .join(','),
  ]);
  return table(['client', 'snapshot', 'state', 'files', 'size', 'new', 'flags'], cells, [3, 4, 5]);
}
