/**
 * dialback as the login shell of the account that receives. It only accepts `dialback -c STRING`. sshd passes the key's forced command as
 * STRING, and the client's own command as SSH_ORIGINAL_COMMAND.
 */
import type { Parsed } from '../fault.ts';
import { exists } from '../os/files.ts';
import { NAME, parseCallCommand } from '../wire/text.ts';
import { enrolledCommand } from './authorized-keys.ts';
import { offerCommand } from './offer-keys.ts';

/** The request that the login shell serves, as `grab` would as a forced command. */
interface ShellRequest {
  client: string;
  config: string;
  /** The client's own command. */
  originalCommand: string;
  /** The id of the offer that the key is bound to. */
  offer?: string;
  /** The id of a key that has come by a rotation. */
  key?: string;
}

/**
 * Decides what the login shell does. Pure.
 * @param words the arguments
 * @param executable this program's path, as `enroll` writes it
 * @param originalCommand SSH_ORIGINAL_COMMAND, which sshd only sets together with a forced command
 * @param account `account_client` in the account's host.toml, if it is set
 * @returns the request, or the reason for the refusal
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
    const found =
      / grab (?:--offer ([0-9a-f]{8}) |--key ([0-9a-f]{16}) )?--client (\S+) --config '([^']+)'$/.exec(
        command,
      );
    const [, id, keyId, name = '', config = ''] = found ?? [];
    const parts = { executable, name, config };
    // Compare with the line that enroll or offer would write, so that there is no second way to write it.
    if (
      found &&
      NAME.test(name) &&
      config.startsWith('/') &&
      command ===
        (id === undefined ? enrolledCommand({ ...parts, keyId }) : offerCommand({ ...parts, id })) &&
      // An account with `account_client` only serves that client, whatever the command is.
      (!account || (account.client === name && account.config === config))
    ) {
      const bound = id !== undefined ? { offer: id } : keyId !== undefined ? { key: keyId } : {};
      return { value: { client: name, config, originalCommand, ...bound } };
    }
    return { reason: 'the key is bound to another command than `dialback enroll` writes' };
  }
  // Historic form, with one account for each client: no command is forced, and the client's own command is parsed.
  if (account && 'value' in parseCallCommand(command)) {
    return { value: { client: account.client, config: account.config, originalCommand: command } };
  }
  return { reason: 'only a backup can be asked for here' };
}

/** The config for an account without a forced command: the first of the usual paths that exists. */
export function accountConfig(home: string): string | undefined {
  return [`${home}/.config/dialback/host.toml`, '/etc/dialback/host.toml'].find(exists);
}
