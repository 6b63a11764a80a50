/** Whether other accounts can change a file. */
import { fixCommand, inspectCommand } from '../os/access-advice.ts';
import { type Breach, findBreach } from '../os/trust.ts';
import type { Finding, Topic } from './finding.ts';

/**
 * Checks that only its owner and root can change a file and every folder above it.
 * @param owner uid that may own the file and the folders, besides root
 * @param what names the file in the message, quoted
 * @param elsewhere the step that puts the file into another place, as `fixCommand()` takes it
 * @returns ok, critical, or unknown if this account may not look at the file
 */
export function checkTrust(
  topic: Topic,
  path: string,
  owner: number,
  what: string,
  elsewhere?: () => string,
): Finding {
  let breach: Breach | undefined;
  try {
    breach = findBreach(path, owner);
  } catch (error) {
    return topic.unknown(`${what}: ${(error as NodeJS.ErrnoException).code}`, inspectCommand(path));
  }
  return breach
    ? topic.critical(breach.found, fixCommand(breach, path, { name: 'root', uid: owner }, elsewhere?.()))
    : topic.ok(`other accounts cannot change ${what}`);
}
