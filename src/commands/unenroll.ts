/** `dialback unenroll`: takes back what `enroll` allowed. */
import { type UnenrollResult, unenroll as unenrollClient } from '../host/unenroll.ts';
import { configPath } from '../shared/toml.ts';
import { Arguments, type Command } from './command.ts';
import { HOST_CONFIG } from './host-store.ts';

interface UnenrollRequest {
  name: string;
  config: string | undefined;
  authorizedKeys: string | undefined;
}

export const unenroll: Command<UnenrollRequest> = {
  name: 'unenroll',
  usage: 'unenroll NAME [--config F] [--authorized-keys F]',
  side: 'host',
  summary: 'take back what `enroll` allowed, and end a run that is under way; the snapshots stay',
  options: [
    HOST_CONFIG,
    {
      name: 'authorized-keys',
      value: 'F',
      help: "change this file in place of the account's authorized_keys",
    },
  ],
  positionals: [{ name: 'NAME' }],

  parse(words) {
    const given = new Arguments(unenroll, words);
    const [name = ''] = given.positionals;
    return { name, config: given.path('config'), authorizedKeys: given.path('authorized-keys') };
  },

  async run(request, io) {
    const config = configPath('host.toml', request.config);
    io.print(unenrollText(request.name, await unenrollClient({ ...request, config })));
    return 'done';
  },
};

function unenrollText(name: string, { authorizedKeys, folder }: UnenrollResult): string {
  const did =
    authorizedKeys === undefined
      ? `"${name}" is unenrolled; no key of it was there`
      : `took "${name}" out of "${authorizedKeys}"`;
  return `${did}\nits snapshots stay in "${folder}"\n`;
}
