/** Commands that show, or fix, why a path cannot be used or trusted. */
import { dirname } from 'node:path';
import { quoteForShell } from '../wire/text.ts';
import { lastVisible, realPath } from './files.ts';
import { type Breach, findBreach } from './trust.ts';

/**
 * The command that mends a breach of trust. A folder that belongs to another account is that account's home, or below it: it
 * stays as it is, and the file goes elsewhere.
 * @param path the file that is to be trusted
 * @param owner the name of whom it should belong to; uid: who may own the folders above, beside root
 * @param elsewhere what brings the file to a place that others cannot change
 */
export function fixCommand(
  breach: Breach,
  path: string,
  owner: { name: string; uid: number },
  elsewhere = moveText(path),
): string {
  const { at, isForeign } = breach;
  if (!isForeign) return `chmod go-w ${quoteForShell(at)}`;
  const isFile = at === realPath(path) && findBreach(dirname(at), owner.uid) === undefined;
  return isFile ? `chown ${owner.name} ${quoteForShell(at)}` : elsewhere;
}

/**
 * The command that shows why a path cannot be looked at: the folder that stops this account, or the path itself. This account can
 * run it: of what is in a closed folder `ls` says no more than that it is closed.
 */
export function inspectCommand(path: string): string {
  return `ls -ld ${quoteForShell(lastVisible(path))}`;
}

function moveText(path: string): string {
  return `move ${quoteForShell(path)} to a folder that only root can change, with every folder above it`;
}
