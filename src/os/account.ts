/** Accounts: our own, and those of the password file. */
import { homedir, userInfo } from 'node:os';
import { resolve } from 'node:path';
import { Fault } from '../fault.ts';
import { readWhole } from './content.ts';
import { stat } from './files.ts';
import { findEntry, type PasswdEntry } from './passwd.ts';
import { run, standard } from './process.ts';

/** getent(1) may ask a directory service. */
const GETENT_MS = 10_000;
const LIMIT = 16 * 1024 * 1024;

/**
 * Finds an account in /etc/passwd. It does not find accounts of a directory service.
 * @returns undefined when there is no such account, or when the file cannot be read
 */
export function findAccount(key: string | number): PasswdEntry | undefined {
  try {
    return findEntry(readWhole('/etc/passwd', LIMIT).toString('utf8'), key);
  } catch {
    return undefined;
  }
}

/** An account with its login shell. */
export interface Subject extends Account {
  shell: string;
}

/** Finds an account with getent(1), also in a directory service. @returns undefined when there is no such account */
export async function findSubject(name: string | number): Promise<Subject | undefined> {
  const { stdout } = await run(standard('getent', ['passwd', String(name)]), { timeoutMs: GETENT_MS });
  return parsePasswd(stdout.toString('utf8'));
}

/** Reads a line of the password file (passwd(5)). An empty shell means /bin/sh. @returns undefined for any other text */
export function parsePasswd(line: string): Subject | undefined {
  const [name, , uid, gid, , home, shell] = line.trimEnd().split(':');
  if (!name || !/^\d+$/.test(uid ?? '') || !/^\d+$/.test(gid ?? '') || !home || shell === undefined)
    return undefined;
  return { name, uid: Number(uid), gid: Number(gid), home, shell: shell || '/bin/sh' };
}

/** An account, as the password file has it. */
export interface Account {
  uid: number;
  gid: number;
  name: string;
  home: string;
}

/**
 * The account that runs this process. Its home is HOME if that is absolute, since cron, sshd and sudo set HOME on purpose.
 * @throws Fault when the uid is not in the password file; ssh and ssh-keygen would refuse to work too
 */
export function ownAccount(): Account {
  try {
    const info = userInfo();
    const home = homedir();
    return {
      uid: info.uid,
      gid: info.gid,
      name: info.username,
      home: home.startsWith('/') ? resolve(home) : info.homedir, // without a slash at its end
    };
  } catch {
    throw new Fault({
      tried: `find out who runs this (uid ${process.getuid?.() ?? '?'})`,
      found: 'there is no such account in the password file',
      next: 'run it as an account that exists',
      exit: 'usage',
    });
  }
}

/**
 * If this is root, becomes the account that owns a folder, for good: root then opens no file that this account could have put there. A
 * folder of root changes nothing.
 * @throws the system's error
 */
export function becomeOwner(folder: string): void {
  if (process.getuid?.() !== 0) return;
  const { uid, gid } = stat(folder);
  if (uid === 0) return;
  process.setgroups?.([]);
  process.setgid?.(gid);
  process.setuid?.(uid);
}

/** The groups of this process: it may give its files to each of them. */
export function ownGroups(): number[] {
  return [process.getegid?.() ?? -1, ...(process.getgroups?.() ?? [])];
}

/**
 * A command line with which root runs a command as another account. Without `--pty` (util-linux 2.34 or newer) that account could type
 * into root's terminal (TIOCSTI) or read from it.
 * @param account a name, or a shell expression that yields one
 */
export function asAccount(account: string, command: string): string {
  return `runuser --pty -u ${account} -- ${command}`;
}

/** The same for an account whose name is not known. */
export function asUid(uid: number | string, command: string): string {
  return asAccount(`"$(id -nu ${uid})"`, command);
}

/**
 * Refuses to run as root (P8): an ordinary account limits the damage of a mistake.
 * @param verb the command's name, for the message
 * @throws Fault
 */
export function refuseRoot(verb: string): void {
  if (process.getuid?.() === 0 || process.geteuid?.() === 0) {
    throw new Fault({
      tried: `run "${verb}" as root`,
      found: 'it is made for an ordinary account and needs no privilege',
      next: asAccount('ACCOUNT', `dialback ${verb} …`),
      exit: 'usage',
    });
  }
}
