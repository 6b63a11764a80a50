/** The known_hosts file that `init` writes: the host's key, by which ssh verifies the host. */
import { Fault } from '../fault.ts';
import { readWhole } from '../os/content.ts';
import { lstat, realPath } from '../os/files.ts';
import { placeFile, replaceFile } from '../os/replace.ts';
import type { PublicKey } from '../wire/key.ts';
import { placeHostKey } from '../wire/known-hosts.ts';
import { quoteForShell } from '../wire/text.ts';

const KNOWN_HOSTS_BYTES = 1024 * 1024;

/**
 * Writes a host's key into a known_hosts file.
 * @param host `target`: as the config names it; `knownAs`: its name in the file
 * @returns whether the file was changed
 * @throws Fault (exit 12) where the file has another key for this host
 */
export function rememberHostKey(
  path: string,
  host: { target: string; knownAs: string; key: PublicKey },
): boolean {
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
  return isNew || placed.value !== text;
}
