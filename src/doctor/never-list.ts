/** The administrator's list of paths that no backup reads, /etc/dialback/never. */
import { dirname, join } from 'node:path';
import { parseNeverList } from '../client/never-list.ts';
import { Fault } from '../fault.ts';
import { readWhole } from '../os/content.ts';
import { ownExecutable } from '../os/executable.ts';
import { exists } from '../os/files.ts';
import { installStep } from '../os/install-steps.ts';
import { NEVER_LIST } from '../os/launcher.ts';
import { quoteForShell } from '../wire/text.ts';
import { type Finding, Topic } from './finding.ts';
import { checkTrust } from './trust.ts';

const NEVER_FILE = new Topic(
  'client.never_list',
  'the launcher reads this list before anything else, and refuses to work without it',
);

/**
 * Checks the list.
 * @param isJailed whether the launcher worked, so that it has some list
 * @returns the findings, and the paths on the list
 */
export function collectNeverList(isJailed: boolean): { findings: Finding[]; paths: string[] } {
  let text: string;
  try {
    text = readWhole(NEVER_LIST, 1024 * 1024).toString('utf8');
  } catch (error) {
    return { findings: [checkUnread(error, isJailed)], paths: [] };
  }
  const trust = checkTrust(NEVER_FILE, NEVER_LIST, 0, `"${NEVER_LIST}"`);
  const { paths, faults } = parseNeverList(text);
  const findings = faults.map(fault =>
    NEVER_FILE.critical(
      `"${NEVER_LIST}", ${fault}`,
      `change that line of ${NEVER_LIST} to a path, or remove it`,
    ),
  );
  return { findings: trust.state === 'ok' && findings.length > 0 ? findings : [trust, ...findings], paths };
}

function checkUnread(error: unknown, isJailed: boolean): Finding {
  if (isJailed && !exists(NEVER_LIST))
    return NEVER_FILE.warning(
      `the launcher uses another list than "${NEVER_LIST}", which does not exist`,
      installStep(true),
    );
  const found = error instanceof Fault ? error.found : String(error);
  const next = exists(NEVER_LIST) ? `as root: chmod 644 ${NEVER_LIST}` : restoreNeverList();
  return NEVER_FILE.critical(`"${NEVER_LIST}": ${found}`, next);
}

/** Puts back the list that was installed: with an empty one, every key and password would be backed up. */
function restoreNeverList(): string {
  const installed = join(dirname(ownExecutable()), '../share/dialback/never');
  return exists(installed)
    ? `as root: install -D -m 644 ${quoteForShell(installed)} ${NEVER_LIST}; then add the paths that yours had`
    : `${installStep(true)}; then add the paths that yours had`;
}
