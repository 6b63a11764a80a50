/** The folder of the store: whether it is private to the account, which can write to it. */

import { asUid } from '../os/account.ts';
import { quoteForShell } from '../wire/text.ts';
import { type Finding, Topic } from './finding.ts';

export const STORE = new Topic(
  'host.store',
  'the host keeps all backups in its store, which no other account may look into',
);

/**
 * Checks that the store is private to the account.
 * @param found by stat(2)
 * @param account the one that doctor looks as
 */
export function checkStore(
  store: string,
  found: { uid: number; mode: number },
  account: { uid: number; name: string },
  isWritable: boolean,
): Finding {
  const quoted = quoteForShell(store);
  const mode = (found.mode & 0o7777).toString(8).padStart(4, '0');
  if (found.uid !== account.uid)
    return STORE.critical(
      `"${store}" belongs to uid ${found.uid}, not to "${account.name}"`,
      found.uid === 0
        ? `as root: chown -R ${account.name} ${quoted}`
        : `${asUid(found.uid, 'dialback doctor --host')}, because that account receives the backups`,
    );
  if ((found.mode & 0o077) !== 0)
    return STORE.critical(`"${store}" is open to others (mode ${mode})`, `chmod 700 ${quoted}`);
  if (!isWritable)
    return STORE.critical(
      `this account cannot write to "${store}" (mode ${mode}, or mounted read-only)`,
      `chmod 700 ${quoted}; findmnt -T ${quoted}`,
    );
  return STORE.ok(`"${store}" is private to "${account.name}"`);
}
