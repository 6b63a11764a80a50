/** Accounts, by their name or number. */
import { homedir, userInfo } from 'node:os';
import { resolve } from 'node:path';
import { Fault } from '../fault.ts';
import { readWhole } from './content.ts';
import { run, standard } from './process.ts';

/** getent(1) may ask a directory service. */
const GETENT_MS = 10_000;
const LIMIT = 16 * 1024 * 1024;

/** An account and its home folder. */
export interface PasswdEntry {
  name: string;
  uid: number;
  home: string;
}

/** @param text as passwd(5) has it @param key a name, or a uid */
export function findEntry(text: string, key: string | number): PasswdEntry | undefined {
  for (const line of text.split('\n')) {
    const [name = '', , uid = '', , , home = ''] = line.split(':');
    const isWanted = typeof key === 'number' ? uid === String(key) : name === key;
    if (isWanted && /^\d{1,10}$/.test(uid) && home.startsWith('/')) return { name, uid: Number(uid), home };
  }
  return undefined;
}

/**
 * Reads /etc/passwd alone, so it does not find an account of a directory service.
 * @returns undefined where there is no such account, or the file cannot be read
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

/** Asks getent(1), which finds accounts of a directory service too. @returns undefined where there is none */
export async function findSubject(name: string | number): Promise<Subject | undefined> {
  const { stdout } = await run(standard('getent', ['passwd', String(name)]), { timeoutMs: GETENT_MS });
  return parsePasswd(stdout.toString('utf8'));
}

/** A line of the password file (passwd(5)); an empty shell is /bin/sh. */
export function parsePasswd(line: string): Subject | undefined {
  const [name, , uid, gid, , home, shell] = line.trimEnd().split(':');
  if (!name || !/^\d+$/.test(uid ?? '') || !/^\d+$/.test(gid ?? '') || !home || shell === undefined)
    return undefined;
  return { name, uid: Number(uid), gid: Number(gid), home, shell: shell || '/bin/sh' };
}

/** The account that runs us. */
export interface Account {
  uid: number;
  gid: number;
  name: string;
  home: string;
}

/**
 * The account that runs us, from the password file; HOME is believed where it is absolute, since cron, sshd
 * and sudo all set it on purpose.
 * @throws Fault when the uid has no entry: ssh and ssh-keygen would refuse to work too.
 */
export function ownAccount(): Account {
  try {
    const info = userInfo();
    const home = homedir();
    return {
      uid: info.uid,
      gid: info.gid,
      name: info.username,
      home: home.startsWith('/') ? resolve(home) : info.homedir, // a slash at its end would be doubled in every path
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

/** The groups that files of ours may be given to. */
export function ownGroups(): number[] {
  return [process.getegid?.() ?? -1, ...(process.getgroups?.() ?? [])];
}

/**
 * A command line for root's terminal that runs something as another account. `--pty`: else that account has root's terminal,
 * and can type into it (TIOCSTI) or read what root types (util-linux 2.34 or newer).
 * @param account a name, or what a shell makes one of
 */
export function asAccount(account: string, command: string): string {
  return `runuser --pty -u ${account} -- ${command}`;
}

/** The same where the account is known by its number. */
export function asUid(uid: number | string, command: string): string {
  return asAccount(`"$(id -nu ${uid})"`, command);
}

/**
 * Refuses uid 0 (P8): these verbs work as an ordinary user, so that a mistake in them stays small.
 * @param verb the verb's name, for the message
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
