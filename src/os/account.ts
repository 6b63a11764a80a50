/** Accounts, by their name or number. */
import { readWhole } from './files.ts';
import type { Account } from './machine.ts';
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
