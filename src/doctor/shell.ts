/** The account's login shell, which sshd starts for every forced command. */
import { Fault } from '../fault.ts';
import type { Subject } from '../os/account.ts';
import { ownExecutable } from '../os/executable.ts';
import { mayRun, realPath } from '../os/files.ts';
import { endingText, type Result } from '../os/process.ts';
import { findPrinter, type Printed, quietAdvice, runShell } from '../shared/startup-files.ts';
import { escapeText } from '../wire/text.ts';
import { type Finding, Topic } from './finding.ts';

const SHELL = new Topic(
  'machine.shell',
  "sshd starts forced commands through the account's login shell; output of the shell would come before rsync's data",
);

/** The behavior of an account's shell. */
export interface ShellFacts {
  subject: Subject;
  /** The shell is dialback itself, which runs only its own command. */
  isDialback: boolean;
  isThere: boolean;
  /** How `SHELL -c true` ended, or why it failed; undefined if it was not tried. */
  result: Result | Fault | undefined;
  printed?: Printed | undefined;
}

/** Runs the shell as sshd does, and finds the start-up file that prints, if one does. */
export async function collectShell(subject: Subject): Promise<ShellFacts> {
  const { shell } = subject;
  const isThere = mayRun(shell);
  const facts = { subject, isThere };
  const isDialback = isThere && realPath(shell) === realPath(ownExecutable());
  if (!isThere || isDialback) return { ...facts, isDialback, result: undefined };
  const result = await runShell(subject).catch((error: unknown) => {
    if (error instanceof Fault) return error;
    throw error;
  });
  const isQuiet = result instanceof Fault || result.stdout.length === 0;
  return { ...facts, isDialback, result, printed: isQuiet ? undefined : await findPrinter(subject) };
}

/**
 * Checks that the shell runs commands and prints nothing.
 * @param isDialed whether the account belongs to a client that its host connects back to, rather than to a host
 */
export function checkShell(facts: ShellFacts & { isDialed: boolean }): Finding {
  const { subject, result, isDialed } = facts;
  const { name, shell } = subject;
  const without = isDialed ? '; or transport = "channel" in client.toml, which needs no shell' : '';
  const change = `usermod --shell /bin/sh ${name}${without}`;
  if (/\/(nologin|false|true)$/.test(shell))
    return SHELL.critical(`the shell of "${name}" is ${shell}, which runs no command`, change);
  if (!facts.isThere)
    return SHELL.critical(`the shell of "${name}" is "${shell}", which it cannot run`, change);
  if (facts.isDialback) {
    return isDialed
      ? SHELL.critical(
          `the shell of "${name}" is dialback, which runs no gate: only a host's account may have it`,
          change,
        )
      : SHELL.ok(`the shell of "${name}" is dialback itself`);
  }
  if (!result) return SHELL.unknown(`${shell} -c true was not tried`, `${shell} -c true`);
  return checkResult(shell, result, facts.printed, change);
}

/** @param change the step that gives the account another shell */
function checkResult(
  shell: string,
  result: Result | Fault,
  printed: Printed | undefined,
  change: string,
): Finding {
  const said = (text: string): string => `"${escapeText(text.trim(), 100)}"`;
  const quiet = `${change}; or find the command that prints in the start-up files of ${shell}, and let it print to a terminal only`;
  if (result instanceof Fault) return SHELL.critical(`${shell} -c true: ${result.found}`, quiet);
  if (result.stdout.length > 0) {
    const where = printed?.file === undefined ? '' : `, in "${escapeText(printed.file)}"`;
    return SHELL.critical(
      `${shell} -c true prints ${said(result.stdout.toString('utf8'))}${where}`,
      printed === undefined ? quiet : `${change}; or ${quietAdvice(printed)}`,
    );
  }
  if (result.status !== 0) return SHELL.critical(`${shell} -c true ${endingText(result)}`, quiet);
  if (result.stderr !== '')
    return SHELL.warning(`${shell} -c true prints ${said(result.stderr)} to standard error`, quiet);
  return SHELL.ok(`${shell} -c true prints nothing`);
}
