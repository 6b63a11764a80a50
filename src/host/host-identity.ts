/** How a client finds this host: the account and the name to call, and the key of this machine's sshd. */
import { readWhole } from '../os/content.ts';
import { type PublicKey, parseHostKey } from '../wire/key.ts';
import { TARGET } from '../wire/text.ts';

const KEY_LIMIT = 16 * 1024;

/** @returns `user@host`, or the placeholder `USER@HOST` if no client could call one of the names */
export function ownTarget(user: string, host: string): string {
  const target = `${user}@${host}`;
  return TARGET.test(target) && !host.includes(':') ? target : 'USER@HOST';
}

/** The default paths of sshd's public keys (sshd_config(5), HostKey). Every account may read them. */
const HOST_KEY_FILES = ['ed25519', 'ecdsa', 'rsa'].map(type => `/etc/ssh/ssh_host_${type}_key.pub`);

/** @returns the first valid key of this machine's sshd, with its path; undefined if there is none */
export function readHostKey(): { key: PublicKey; path: string } | undefined {
  for (const path of HOST_KEY_FILES) {
    try {
      const parsed = parseHostKey(readWhole(path, KEY_LIMIT).toString('utf8'));
      if ('value' in parsed) return { key: parsed.value, path };
    } catch {
      // Try the next one if this one is missing or not readable.
    }
  }
  return undefined;
}
