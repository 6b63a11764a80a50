/** dialback as the login shell of the account that receives backups: sshd starts it with `-c` and a forced command. */
import { readHostConfig } from '../host/config.ts';
import { grab as serveClient } from '../host/grab.ts';
import { accountConfig, parseShell } from '../host/login-shell.ts';
import { ownAccount } from '../os/account.ts';
import { ownExecutable } from '../os/executable.ts';
import { type Command, exitName } from './command.ts';
import { INTERNAL_FAILURE } from './grab.ts';

export const shell: Command<{ words: readonly string[] }> = {
  name: 'shell',
  usage: '-c COMMAND',
  side: 'host',
  summary: 'serve one backup request, as the login shell of the account that receives',
  options: [],
  positionals: [],

  parse(words) {
    return { words };
  },

  /** Refuses everything but a backup request, with one line: the other machine reads it. */
  async run({ words }, io) {
    const config = accountConfig(ownAccount().home);
    const client = config === undefined ? undefined : accountClient(config);
    const account = config !== undefined && client !== undefined ? { client, config } : undefined;
    const parsed = parseShell([...words], ownExecutable(), io.environment.SSH_ORIGINAL_COMMAND, account);
    if ('reason' in parsed) {
      io.warn(`dialback: Cannot do this here: ${parsed.reason}\n`);
      return 'refused';
    }
    const { originalCommand, ...request } = parsed.value;
    const environment = { ...io.environment, SSH_ORIGINAL_COMMAND: originalCommand };
    return exitName(await serveClient({ ...request, isLocal: false, environment }, io.interruption()));
  },

  failureForPeer(_words, environment) {
    return environment.SSH_CONNECTION === undefined ? undefined : INTERNAL_FAILURE;
  },
};

/** @returns undefined where the config cannot be read: then only a forced command, which names its own config, is served */
function accountClient(config: string): string | undefined {
  try {
    return readHostConfig(config).account_client;
  } catch {
    return undefined;
  }
}
