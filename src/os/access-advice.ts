/** Commands that show or fix the reason why a path cannot be used or trusted. */
import { dirname } from 'node:path';
import { quoteForShell } from '../wire/text.ts';
import { lastVisible, realPath } from './files.ts';
import { type Breach, findBreach } from './trust.ts';

/**
 * The command that fixes a breach. A folder of another account is probably its home or below it, so the command does not change that
 * folder, but moves the file.
 * @param path the file to trust
 * @param owner name: the account that should own the file; uid: the account that may own the folders above it, besides root
 * @param elsewhere a step that moves the file to a place that others cannot change
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
 * The command that shows why this account cannot read a path: it lists the folder that denies access, or the path itself. This
 * account can run it.
 */
export function inspectCommand(path: string): string {
  return `ls -ld ${quoteForShell(lastVisible(path))}`;
}

function moveText(path: string): string {
  return `move ${quoteForShell(path)} to a folder that only root can change, with every folder above it`;
}
