/** Temporary accounts for tests. */
import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  chownSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
} from 'node:fs';

/**
 * Uids that neither the machine of a test nor a test file outside of this place uses. A search by uid must not find processes in the
 * machine of another test (test/support/machine.ts: the same kernel, other accounts). test/run.ts chooses them.
 */
const [UID_MIN = 20_000, UID_MAX = 29_999] = process.env.DIALBACK_TEST_UIDS?.split('-').map(Number) ?? [];

/** The accounts are this file's own (test/runner/place.ts), so no other program writes to them. */
const HAS_OWN_ACCOUNTS = process.env.DIALBACK_TEST_PLACE === '1';

const FILES = ['passwd', 'shadow', 'group', 'gshadow'] as const;

export interface AccountOptions {
  /** By default one that does not exist. */
  home?: string;
  shell?: string;
}

/** Makes a system account, and a group of its own. Its password is locked. It makes no home folder. */
export function addUser(login: string, options: AccountOptions = {}): { uid: number; gid: number } {
  const home = options.home ?? `/home/${login}`;
  const shell = options.shell ?? '/bin/sh';
  if (HAS_OWN_ACCOUNTS) return addLines(login, home, shell);
  const range = ['UID', 'GID'].flatMap(each => [
    ...['-K', `SYS_${each}_MIN=${UID_MIN}`],
    ...['-K', `SYS_${each}_MAX=${UID_MAX}`],
  ]);
  const list = process.env.DIALBACK_TEST_USERS;
  if (list !== undefined) appendFileSync(list, `${login}\n`);
  const words = [
    '--system',
    '--user-group',
    ...range,
    '--no-create-home',
    '--home-dir',
    home,
    '--shell',
    shell,
    login,
  ];
  execFileSync('/usr/sbin/useradd', words, { stdio: 'pipe' });
  const id = (which: string): number => Number(execFileSync('/usr/bin/id', [which, login]).toString());
  return { uid: id('-u'), gid: id('-g') };
}

/** Removes an account whose processes have ended, or are about to. @throws Error when one of them stays for 5 s */
export function removeUser(login: string): void {
  if (HAS_OWN_ACCOUNTS) {
    removeLines(login);
    return;
  }
  for (let tries = 1; ; tries++) {
    try {
      execFileSync('/usr/sbin/userdel', [login], { stdio: 'pipe' });
      return;
    } catch (error) {
      if (tries === 100) throw error;
      execFileSync('sleep', ['0.05']); // a process of the account is still ending
    }
  }
}

/** The running processes of an account, without zombies. */
export function processesOf(uid: number): number[] {
  return readdirSync('/proc').flatMap(name => {
    if (!/^\d+$/.test(name)) return [];
    try {
      const status = readFileSync(`/proc/${name}/status`, 'latin1');
      const isOurs = Number(/^Uid:\s+(\d+)/m.exec(status)?.[1]) === uid;
      return isOurs && !/^State:\s+[ZX]/m.test(status) ? [Number(name)] : [];
    } catch {
      return []; // it has ended in between
    }
  });
}

/** Removes an account from the place's own files. */
function removeLines(login: string): void {
  for (const name of FILES) {
    const path = `/etc/${name}`;
    const kept = readFileSync(path, 'latin1')
      .split('\n')
      .filter(line => !line.startsWith(`${login}:`))
      .join('\n');
    const { mode, uid, gid } = statSync(path);
    writeFileSync(`${path}.new`, kept, { encoding: 'latin1', mode: 0o600 });
    chownSync(`${path}.new`, uid, gid);
    chmodSync(`${path}.new`, mode & 0o7777);
    renameSync(`${path}.new`, path);
  }
}

/**
 * Writes what useradd(8) would. That program and userdel(8) start three more programs each: 20 ms of processor time for an account,
 * of which most test files make two.
 */
function addLines(login: string, home: string, shell: string): { uid: number; gid: number } {
  const used = ['passwd', 'group'].flatMap(name =>
    readFileSync(`/etc/${name}`, 'latin1')
      .split('\n')
      .map(line => Number(line.split(':')[2])),
  );
  let id = UID_MAX;
  while (used.includes(id)) id -= 1;
  if (id < UID_MIN) throw new Error(`no uid is free from ${UID_MIN} to ${UID_MAX}`);
  const lines = {
    passwd: `${login}:x:${id}:${id}::${home}:${shell}`,
    shadow: `${login}:!:20000::::::`,
    group: `${login}:x:${id}:`,
    gshadow: `${login}:!::`,
  };
  for (const name of FILES) appendFileSync(`/etc/${name}`, `${lines[name]}\n`, { encoding: 'latin1' });
  return { uid: id, gid: id };
}
