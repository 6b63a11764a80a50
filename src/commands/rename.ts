/** `dialback rename`: gives a client another name. */
import { type Renamed, renameClient } from '../host/rename.ts';
import { jsonText } from '../output/json.ts';
import { configPath } from '../shared/toml.ts';
import { Arguments, type Command, JSON_OPTION } from './command.ts';
import { HOST_CONFIG } from './host-store.ts';

interface RenameRequest {
  from: string;
  to: string;
  config: string | undefined;
  authorizedKeys: string | undefined;
  json: boolean;
}

export const rename: Command<RenameRequest> = {
  name: 'rename',
  usage: 'rename NAME NEW [--config F] [--authorized-keys F] [--json]',
  side: 'host',
  summary:
    'give a client another name; its snapshots, pins, settings and keys stay; the same command resumes it',
  options: [
    HOST_CONFIG,
    {
      name: 'authorized-keys',
      value: 'F',
      help: "change this file in place of the account's authorized_keys",
    },
    JSON_OPTION,
  ],
  positionals: [{ name: 'NAME' }, { name: 'NEW' }],

  parse(words) {
    const given = new Arguments(rename, words);
    const [from = '', to = ''] = given.positionals;
    return {
      ...{ from, to, config: given.path('config') },
      ...{ authorizedKeys: given.path('authorized-keys'), json: given.has('json') },
    };
  },

  async run(request, io) {
    const renamed = await renameClient({ ...request, config: configPath('host.toml', request.config) });
    io.print(request.json ? jsonText(renamed) : renamedText(renamed));
    return 'done';
  },
};

function renamedText(renamed: Renamed): string {
  const { from, to, folder, snapshots } = renamed;
  return [
    `${renamed.resumed ? 'completed: ' : ''}renamed "${from}" to "${to}": ${snapshots} snapshots in "${folder}"`,
    ...(renamed.key_lines > 0 ? [`changed its line in "${renamed.authorized_keys}"`] : []),
    ...(renamed.config_changed ? ['changed its tables in host.toml'] : []),
    ...(renamed.config_left === null ? [] : [`remove [client.${from}] from "${renamed.config_left}"`]),
    `next: on the client, in client.toml: name = "${to}"`,
    '',
  ].join('\n');
}
