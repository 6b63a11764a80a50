/** `dialback remove-client`: removes an unenrolled client with all its snapshots. */
import { Arguments, type Command } from './command.ts';
import { type RemoveRequest, readRemoveOptions, removeOptions, runRemove } from './remove.ts';

export const removeClient: Command<RemoveRequest> = {
  name: 'remove-client',
  usage: 'remove-client NAME --confirm NAME|--dry-run [--config F] [--json]',
  side: 'host',
  summary: 'remove a client that is unenrolled, with all its snapshots, pinned ones too',
  options: removeOptions('NAME'),
  positionals: [{ name: 'NAME' }],

  parse(words) {
    const given = new Arguments(removeClient, words);
    const [client = ''] = given.positionals;
    if (client.includes('@')) throw given.refuse('it takes the name of a client');
    return { client, snapshot: undefined, ...readRemoveOptions(given) };
  },

  run: runRemove,
};
