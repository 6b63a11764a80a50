/** The known_hosts file that `init` writes: the host's key, by which ssh verifies the host. */
import { Fault, type Parsed } from '../fault.ts';
import { readWhole } from '../os/content.ts';
import { lstat, realPath } from '../os/files.ts';
import { placeFile, replaceFile } from '../os/replace.ts';
import { type PublicKey, showKey } from '../wire/key.ts';
import { quoteForShell } from '../wire/text.ts';

const KNOWN_HOSTS_BYTES = 1024 * 1024;

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

/**
 * Writes a host's key into a known_hosts file.
 * @param host `target`: as the config names it; `knownAs`: its name in the file
 * @throws Fault (exit 12) where the file has another key for this host
 */
export function rememberHostKey(
  path: string,
  host: { target: string; knownAs: string; key: PublicKey },
): void {
  const isNew = lstat(path, { throwIfNoEntry: false }) === undefined;
  // As bytes: lines of other programs need not be UTF-8.
  const text = isNew ? '' : readWhole(path, KNOWN_HOSTS_BYTES).toString('latin1');
  const placed = placeHostKey(text, host.knownAs, host.key);
  if ('reason' in placed) {
    throw new Fault({
      tried: `verify the host "${host.target}" by that key`,
      found: `"${path}": ${placed.reason}`,
      next: `ask the host's administrator which is right; to forget the old one: ssh-keygen -R '${host.knownAs}' -f ${quoteForShell(path)}`,
      exit: 'refused',
    });
  }
  if (isNew) placeFile(path, placed.value);
  else if (placed.value !== text) replaceFile(realPath(path), Buffer.from(placed.value, 'latin1'));
}
