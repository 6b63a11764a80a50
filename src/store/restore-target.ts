/**
 * The folder DIR that a restore writes to. It must not be in the store. An account that can change DIR, or a folder
 * above it, could replace what the restore has just made with a symlink or another folder. The restore would then
 * follow it, even as root. So DIR is refused unless only the restoring account and root can change it and every
 * folder above it.
 */
import { dirname } from 'node:path';
import { Fault } from '../fault.ts';
import type { Account } from '../os/account.ts';
import { readWhole } from '../os/content.ts';
import { exists, failedWith, fileFault, lstat, makeFolder, mayWrite, realPath, stat } from '../os/files.ts';
import { isPrivateGroup } from '../os/passwd.ts';
import { run, standard } from '../os/process.ts';
import { hasProgram } from '../os/programs.ts';
import { findBreachOnTheWay } from '../os/trust.ts';
import { escapeText } from '../wire/text.ts';
import { isScratchFolder } from './drill-scratch.ts';
import { namesBesideStages } from './restore-stage.ts';

/** DIR, and the options that decide whether it can be used. */
export interface TargetOptions {
  /** DIR, absolute. */
  to: string;
  /** The store that is restored from. */
  store: string;
  /** Whether DIR may have entries. */
  force: boolean;
  /** The account that restores. Its home is suggested when DIR is refused. */
  account: Account;
  /** Whether DIR is a scratch folder of the store. No other account than the store's can change it or the store. */
  isScratch?: boolean;
}

/** `filled` only with --force. */
type TargetState = 'absent' | 'empty' | 'filled';

/**
 * Checks DIR, and changes nothing.
 * @throws Fault when DIR cannot be restored to
 */
export function checkTarget(options: TargetOptions): TargetState {
  const { to } = options;
  const tried = `restore to "${escapeText(to)}"`;
  if (isAbsent(to)) {
    if (!exists(dirname(to)))
      throw new Fault({ tried, found: `there is no folder "${escapeText(dirname(to))}"`, exit: 'usage' });
    requireOutside(options, dirname(to));
    requireOwnFolder(options, dirname(to), true);
    if (!mayWrite(dirname(to))) throw new Fault({ tried, found: 'permission denied' });
    return 'absent';
  }
  let names: string[];
  try {
    names = namesBesideStages(to);
  } catch (error) {
    throw failedWith(error, 'ENOTDIR')
      ? new Fault({ tried, found: 'it is not a folder', exit: 'usage' })
      : fileFault(error, tried);
  }
  if (!isOwnScratch(options)) {
    requireOutside(options, to);
    requireOwnFolder(options, to, false);
  }
  const isEmpty = names.every(name => name === 'lost+found');
  if (isEmpty || options.force) return isEmpty && names.length === 0 ? 'empty' : 'filled';
  throw new Fault({
    tried,
    found: 'the folder is not empty',
    next: 'name an empty or new folder, or use --force to replace files of the same name',
    exit: 'usage',
  });
}

/**
 * Checks DIR, and makes it if it is absent. Other accounts get no access to a new DIR: a client's files in it can be
 * setuid programs and devices.
 * @returns whether DIR is empty, and whether it was made
 * @throws Fault when DIR cannot be restored to
 */
export function prepareTarget(options: TargetOptions): { isEmpty: boolean; isNew: boolean } {
  const found = checkTarget(options);
  if (found !== 'absent') return { isEmpty: found === 'empty', isNew: false };
  makeFolder(options.to, { mode: 0o700 });
  // In a sticky folder another account may have made it first, with entries.
  return { isEmpty: checkTarget(options) === 'empty', isNew: true };
}

/**
 * Removes the ACLs that a new DIR has inherited from the folder above it: a later chmod(1) would open DIR to their
 * accounts, and later files would inherit them. Without setfattr(1), which comes with getfattr, they stay. Then mode
 * 0700 keeps these accounts out. A file system without ACLs makes setfattr fail, which changes nothing.
 */
export async function removeInheritedAcls(to: string): Promise<void> {
  if (!hasProgram('setfattr')) return;
  for (const name of ['system.posix_acl_access', 'system.posix_acl_default'])
    await run(standard('setfattr', ['-h', '-x', name, '--', to]));
}

/**
 * Whether other accounts can reach DIR, because it and each folder above it let them pass, by the mode or as the
 * owner.
 * @returns DIR's mode in octal; undefined if they cannot
 */
export function modeForOthers({ to, account }: Pick<TargetOptions, 'to' | 'account'>): string | undefined {
  const closedGids = [0, privateGidOf(account)];
  const top = realPath(to);
  for (let at = top; ; at = dirname(at)) {
    const { mode, uid, gid } = stat(at);
    const isOwn = uid === 0 || uid === account.uid;
    if (isOwn && (mode & (closedGids.includes(gid) ? 0o001 : 0o011)) === 0) return undefined;
    if (at === '/') break;
  }
  return (stat(top).mode & 0o7777).toString(8).padStart(4, '0');
}

function isAbsent(path: string): boolean {
  try {
    lstat(path);
    return false;
  } catch (error) {
    return failedWith(error, 'ENOENT');
  }
}

/** Whether a drill restores into its folder in the store, which is as safe as the store. */
function isOwnScratch({ to, store, isScratch = false }: TargetOptions): boolean {
  return isScratch && isScratchFolder(store, to);
}

/** A restore into the store would change finished snapshots, also through another path such as a bind mount. */
function requireOutside({ to, store }: TargetOptions, folder: string): void {
  const { dev, ino } = stat(store);
  for (let at = realPath(folder); ; at = dirname(at)) {
    const found = stat(at);
    if (found.dev === dev && found.ino === ino)
      throw new Fault({
        tried: `restore to "${escapeText(to)}"`,
        found: 'it is in the store',
        next: 'name a folder outside the store',
        exit: 'usage',
      });
    if (at === '/') return;
  }
}

/**
 * Refuses a folder that another account can change.
 * @param isParent whether DIR will be made in this folder; then it may be sticky, as /tmp is
 * @throws Fault that names a better place
 */
export function requireOwnFolder(
  { to, account }: Pick<TargetOptions, 'to' | 'account'>,
  folder: string,
  isParent: boolean,
  tried = `restore to "${escapeText(to)}"`,
): void {
  const { uid, home } = account;
  const privateGid = privateGidOf(account);
  const breach = findBreachOnTheWay(folder, uid, { isParent, privateGid });
  if (breach === undefined) return;
  const only = uid === 0 ? 'root' : `uid ${uid} and root`;
  const place = isOwnFolder(home, uid, privateGid) ? `: --to "${escapeText(home)}/restored"` : '';
  throw new Fault({
    tried,
    found: `${escapeText(breach.found)}, and could redirect what is written`,
    next: `name a new folder where only ${only} can change it and every folder above it${place}`,
    exit: 'usage',
  });
}

function isOwnFolder(path: string, uid: number, privateGid: number | undefined): boolean {
  try {
    return findBreachOnTheWay(path, uid, { privateGid }) === undefined;
  } catch {
    return false;
  }
}

const ACCOUNTS_LIMIT = 16 * 1024 * 1024;

/**
 * An ordinary account's group, if no other account has it. With a umask of 002 the group can write to the account's
 * folders.
 */
function privateGidOf(account: Account): number | undefined {
  if (account.uid === 0) return undefined;
  try {
    const [group = '', passwd = ''] = ['/etc/group', '/etc/passwd'].map(path =>
      readWhole(path, ACCOUNTS_LIMIT).toString('utf8'),
    );
    return isPrivateGroup(account, group, passwd) ? account.gid : undefined;
  } catch {
    return undefined;
  }
}
