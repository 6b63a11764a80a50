/**
 * dialback as the login shell of the account that receives: `dialback -c STRING`, and nothing else. sshd gives a shell
 * the forced command of the key as STRING, and what the client asked for as SSH_ORIGINAL_COMMAND.
 */

import type { Parsed } from '../fault.ts';
import { exists } from '../os/files.ts';
import { NAME, parseSummons } from '../wire/text.ts';
import { enrolledCommand } from './enroll.ts';

/** What a shell that is asked for STRING becomes: one request, as if sshd had forced it. */
export interface ShellRequest {
  client: string;
  config: string;
  /** What the client asked for. */
  originalCommand: string;
}

/**
 * Decides what the login shell does. Pure.
 * @param words what came after the program's name
 * @param executable this program, as `enroll` wrote it
 * @param originalCommand SSH_ORIGINAL_COMMAND; sshd sets it only where a command is forced
 * @param account `account_client` of the host's own host.toml, where that has one
 */
export function parseShell(
  words: string[],
  executable: string,
  originalCommand: string | undefined,
  account: { client: string; config: string } | undefined,
): Parsed<ShellRequest> {
  const [option, command, ...more] = words;
  if (option !== '-c' || command === undefined || more.length > 0)
    return { reason: 'this account has no login' };
  if (originalCommand !== undefined) {
    const found = / grab --client (\S+) --config '([^']+)'$/.exec(command);
    const [, name = '', config = ''] = found ?? [];
    // Built anew and compared whole: exactly the line that enroll writes, and no second way to write it.
    if (
      found &&
      NAME.test(name) &&
      config.startsWith('/') &&
      command === enrolledCommand({ executable, name, config }) &&
      // An account that is one client's serves that client alone, whatever the words are and whoever set them.
      (!account || (account.client === name && account.config === config))
    ) {
      return { value: { client: name, config, originalCommand } };
    }
    return { reason: 'the key is bound to another command than `dialback enroll` writes' };
  }
  // One account a client, the historic form: no command is forced, and the client's own is the summons.
  if (account && 'value' in parseSummons(command)) {
    return { value: { client: account.client, config: account.config, originalCommand: command } };
  }
  return { reason: 'only a backup can be asked for here' };
}

/** The config that speaks for an account without a forced command: the first of the usual places that is there. */
export function accountConfig(home: string): string | undefined {
  return [`${home}/.config/dialback/host.toml`, '/etc/dialback/host.toml'].find(exists);
}
