/** Checks file capabilities: the launcher's, and the chain that `capability = "inherited"` needs. */

import { CAPABILITY } from '../os/capability-text.ts';
import { ownExecutable } from '../os/executable.ts';
import { fileCapability } from '../os/file-capability.ts';
import { hasProgram, programPath } from '../os/programs.ts';
import { escapeText, quoteForShell } from '../wire/text.ts';
import { type Finding, Topic } from './finding.ts';

/**
 * Checks the capability of a file.
 * @param found as `fileCapability()` returns it
 * @param wanted as getcap(8) prints it
 */
export function checkCapability(
  topic: Topic,
  path: string,
  found: string | undefined,
  wanted: string,
): Finding {
  if (found === undefined) {
    return topic.unknown(
      `neither getcap nor getfattr is installed to look at "${path}"`,
      'apt-get install libcap2-bin',
    );
  }
  if (found === wanted) return topic.ok(`"${path}" has ${wanted}`);
  const what = found === '' ? 'has no capability' : `has ${escapeText(found, 200)}`;
  return topic.critical(`"${path}" ${what}, and needs ${wanted}`, `setcap ${wanted} ${quoteForShell(path)}`);
}

const INHERITED_SELF = new Topic(
  'machine.inherited',
  'the launcher passes the capability to dialback, and dialback to rsync: each of these files must let it through',
);
const INHERITED_RSYNC = new Topic('machine.inherited_rsync', INHERITED_SELF.why);

/** The files that pass on an inherited capability, and the capability of each. */
interface InheritedFacts {
  executable: string;
  ownCapability: string | undefined;
  rsync: string;
  rsyncCapability: string | undefined;
}

/** @returns undefined if rsync is not installed, which `machine.programs` reports */
export async function collectInherited(): Promise<InheritedFacts | undefined> {
  if (!hasProgram('rsync')) return undefined;
  const [executable, rsync] = [ownExecutable(), programPath('rsync')];
  return {
    executable,
    ownCapability: await fileCapability(executable),
    rsync,
    rsyncCapability: await fileCapability(rsync),
  };
}

/** Checks both files of the chain; no finding without facts. */
export function checkInherited(facts: InheritedFacts | undefined): Finding[] {
  if (!facts) return [];
  return [
    checkCapability(INHERITED_SELF, facts.executable, facts.ownCapability, `${CAPABILITY}=i`),
    checkCapability(INHERITED_RSYNC, facts.rsync, facts.rsyncCapability, `${CAPABILITY}=ei`),
  ];
}
