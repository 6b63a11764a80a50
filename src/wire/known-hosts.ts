/** The text of a known_hosts file (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT). */
import type { Parsed } from '../fault.ts';
import { type PublicKey, showKey } from './key.ts';

/**
 * Adds a host's key to the text of a known_hosts file. Pure.
 * @param knownAs the host's name in the file, in lower case
 * @returns the new text, unchanged if it has the key already; a reason if the file has another key for this host
 */
export function placeHostKey(text: string, knownAs: string, key: PublicKey): Parsed<string> {
  const own = `${knownAs} ${showKey(key)}`;
  for (const line of text.split(/\r?\n/)) {
    const [hosts = '', type = '', blob = ''] = line.trim().split(/\s+/);
    if (!hosts.toLowerCase().split(',').includes(knownAs)) continue;
    if (type === key.type && blob === key.blob) return { value: text };
    return { reason: `it has another key for ${knownAs}` };
  }
  return { value: `${text}${text === '' || text.endsWith('\n') ? '' : '\n'}${own}\n` };
}
