/**
 * Start-up files of a login shell that print. sshd starts a forced command through the account's shell, and what a start-up
 * file prints comes before the command's own words, into the connection.
 */
import { basename } from 'node:path';
import { Fault } from '../fault.ts';
import { exists, readdir } from '../os/files.ts';
import { PLAIN_ENVIRONMENT, type Result, run } from '../os/process.ts';
import { escapeText } from '../wire/text.ts';

/** Whose shell it is. */
export interface ShellAccount {
  name: string;
  home: string;
  shell: string;
}

const PATIENCE_MS = 10_000;

/** What a shell reads when sshd starts it for a command: of the account, and of the machine. */
export function startupFiles({ shell, home }: ShellAccount): { own: string[]; system: string[] } {
  const files = READ_BY[basename(shell)] ?? { own: [], system: [] };
  return { own: files.own.map(name => `${home}/${name}`), system: files.system };
}

/** By the manual page of each, for a shell that is neither a login shell nor interactive. */
const READ_BY: Record<string, { own: string[]; system: string[] }> = {
  bash: { own: ['.bashrc'], system: ['/etc/bash.bashrc', '/etc/bashrc'] }, // since it is started over the network
  zsh: { own: ['.zshenv'], system: ['/etc/zsh/zshenv', '/etc/zshenv'] },
  tcsh: { own: ['.tcshrc', '.cshrc'], system: ['/etc/csh.cshrc'] },
  csh: { own: ['.tcshrc', '.cshrc'], system: ['/etc/csh.cshrc'] },
  fish: {
    own: ['.config/fish/config.fish', '.config/fish/conf.d'],
    system: ['/etc/fish/config.fish', '/etc/fish/conf.d'],
  },
};

/**
 * Runs `SHELL -c true` as sshd does: with what tells bash that it comes over the network, and so has to read ~/.bashrc.
 * @param home instead of the account's
 * @throws Fault where it does not end
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
    { timeoutMs: PATIENCE_MS, limit: 65_536 },
  );
}

/** What a shell printed, and the start-up file that did it (undefined: it is in none of those that are known). */
export interface Printed {
  text: string;
  file: string | undefined;
}

/** @returns undefined for a shell that prints nothing, or that cannot be asked */
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

/** With a home that is not there the shell reads only the machine's files. */
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

/** As a part of a sentence. */
export function printedWords({ text, file }: Printed, name: string): string {
  const whose =
    file === undefined
      ? `a start-up file of "${escapeText(name)}"`
      : `the start-up file "${escapeText(file)}"`;
  return `${whose} prints "${escapeText(text, 100)}"`;
}

/** What mends it. */
export function quietAdvice({ file }: Printed): string {
  return `let ${file === undefined ? 'it' : `"${escapeText(file)}"`} print only to a terminal: [ -t 1 ] before what prints`;
}
