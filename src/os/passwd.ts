/** Accounts of /etc/passwd, without a program: an account of a directory service is not found. */
import { readWhole } from './files.ts';

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

/** @returns undefined where there is no such account, or the file cannot be read */
export function findAccount(key: string | number): PasswdEntry | undefined {
  try {
    return findEntry(readWhole('/etc/passwd', LIMIT).toString('utf8'), key);
  } catch {
    return undefined;
  }
}
