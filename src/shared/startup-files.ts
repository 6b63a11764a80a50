/**
 * Start-up files of a login shell that print. sshd starts a forced command by the account's shell, and the output of a start-up file
 * goes into the connection, before the command's own output.
 */
import { basename } from 'node:path';
import { Fault } from '../fault.ts';
import { exists, readdir } from '../os/files.ts';
import { PLAIN_ENVIRONMENT, type Result, run } from '../os/process.ts';
import { escapeText } from '../wire/text.ts';

/** An account and its login shell. */
interface ShellAccount {
  name: string;
  home: string;
  shell: string;
}

const SHELL_MS = 10_000;

/** Lists the files that a shell reads when sshd starts it for a command: the account's own, and the machine's. */
function startupFiles({ shell, home }: ShellAccount): { own: string[]; system: string[] } {
  const files = READ_BY[basename(shell)] ?? { own: [], system: [] };
  return { own: files.own.map(name => `${home}/${name}`), system: files.system };
}

/** From the manual page of each shell, if it is neither a login shell nor interactive. */
const READ_BY: Record<string, { own: string[]; system: string[] }> = {
  bash: { own: ['.bashrc'], system: ['/etc/bash.bashrc', '/etc/bashrc'] }, // it detects a network connection
  zsh: { own: ['.zshenv'], system: ['/etc/zsh/zshenv', '/etc/zshenv'] },
  tcsh: { own: ['.tcshrc', '.cshrc'], system: ['/etc/csh.cshrc'] },
  csh: { own: ['.tcshrc', '.cshrc'], system: ['/etc/csh.cshrc'] },
  fish: {
    own: ['.config/fish/config.fish', '.config/fish/conf.d'],
    system: ['/etc/fish/config.fish', '/etc/fish/conf.d'],
  },
};

/**
 * Runs `SHELL -c true` as sshd does, with the variables by which bash detects a network connection and reads ~/.bashrc.
 * @param home a home folder instead of the account's
 * @throws Fault if it cannot be started or does not end
 */
export async function runShell({ name, home: own, shell }: ShellAccount, home = own): Promise<Result> {
  const environment = {
    ...PLAIN_ENVIRONMENT,
    HOME: home,
    USER: name,
    LOGNAME: name,
    SHELL: shell,
    SSH_CLIENT: '127.0.0.1 1 1',
    SSH_CONNECTION: '127.0.0.1 1 127.0.0.1 1',
  };
  const cwd = exists(home) ? home : '/';
  return await run(
    { program: shell, args: ['-c', 'true'], environment, cwd },
    { timeoutMs: SHELL_MS, limit: 65_536 },
  );
}

/** A shell's output, and the start-up file that printed it; undefined if it is none of the known files. */
export interface Printed {
  text: string;
  file: string | undefined;
}

/** Finds the start-up file that prints. @returns undefined if the shell prints nothing, or cannot be run */
export async function findPrinter(account: ShellAccount): Promise<Printed | undefined> {
  try {
    const { stdout } = await runShell(account);
    if (stdout.length === 0) return undefined;
    return { text: stdout.toString('utf8').trim(), file: await findFile(account) };
  } catch (error) {
    if (error instanceof Fault) return undefined;
    throw error;
  }
}

/** If the home folder does not exist, the shell only reads the machine's files. */
async function findFile(account: ShellAccount): Promise<string | undefined> {
  const { own, system } = startupFiles(account);
  const isSystems = (await runShell(account, '/nonexistent')).stdout.length > 0;
  return (isSystems ? system : own).find(path => exists(path) && !isEmptyFolder(path));
}

function isEmptyFolder(path: string): boolean {
  try {
    return readdir(path).length === 0;
  } catch {
    return false; // it is a file
  }
}

/** The main clause of a message. @param name the account's */
export function printedWords({ text, file }: Printed, name: string): string {
  const whose =
    file === undefined
      ? `a start-up file of "${escapeText(name)}"`
      : `the start-up file "${escapeText(file)}"`;
  return `${whose} prints "${escapeText(text, 100)}"`;
}

/** The next step. */
export function quietAdvice({ file }: Printed): string {
  return `let ${file === undefined ? 'it' : `"${escapeText(file)}"`} print only to a terminal: put [ -t 1 ] && before the command`;
}
