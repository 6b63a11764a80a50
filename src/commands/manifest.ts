/** `dialback manifest`, which `grab` starts after a run: writes the manifest of the new snapshot. */
import { readHostConfig } from '../host/config.ts';
import { describeClient } from '../store/manifest-writer.ts';
import { type Command, noSuchCommand } from './command.ts';
import { HOST_CONFIG } from './host-store.ts';

interface ManifestRequest {
  client: string;
  config: string;
}

export const manifest: Command<ManifestRequest> = {
  name: 'manifest',
  usage: 'manifest --client NAME --config F',
  side: 'host',
  summary: 'write the manifest of a new snapshot',
  options: [{ name: 'client', value: 'NAME', help: 'the client' }, HOST_CONFIG],
  positionals: [],

  /** Takes the words exactly as grab writes them. */
  parse([option, client, other, config]) {
    if (option !== '--client' || !client || other !== '--config' || !config) throw noSuchCommand('manifest');
    return { client, config };
  },

  async run({ client, config }, io) {
    await describeClient({ client, store: readHostConfig(config).store }, io.interruption());
    return 'done';
  },
};
