/** Where a fetch puts its files: below a new or empty folder, or where they were. Decides which folders rsync may write into. */
import { dirname } from 'node:path';
import { Fault } from '../fault.ts';
import { ownAccount } from '../os/account.ts';
import { exists, failedWith, lstat, makeFolder, readdir, realPath, stat, statusExact } from '../os/files.ts';
import { isWithin, mountTableInBytes } from '../os/mounts.ts';
import { requireOwnFolder } from '../store/restore-target.ts';
import { joinPath } from '../store/tree-path.ts';
import { asText, escapeText, jsonName, showName } from '../wire/text.ts';

/** Where the user wants the files. */
export interface Wish {
  /** DIR, absolute; `/` where only --in-place is given. */
  to: string;
  isInPlace: boolean;
}

/** A folder that is ready for rsync. */
export interface Target extends Wish {
  /** The real path of `to`. */
  base: string;
  /** The folders that rsync may write into, by their real paths. */
  writable: string[];
}

/**
 * Folders of a running system that no fetch replaces in place, with everything below them. `/usr/local` belongs to the administrator.
 */
const SYSTEM_TREES = [
  '/bin',
  '/boot',
  '/dev',
  '/lib',
  '/lib32',
  '/lib64',
  '/libx32',
  '/proc',
  '/run',
  '/sbin',
  '/sys',
  '/usr',
];
const ADMINISTRATORS = '/usr/local';
/** Folders that are not replaced as a whole. Their entries can be: /etc/nginx, /var/www. */
const SYSTEM_FOLDERS = [
  '/',
  '/etc',
  '/var',
  '/var/cache',
  '/var/lib',
  '/var/log',
  '/tmp',
  '/mnt',
  '/media',
  ADMINISTRATORS,
];

/** Whether a running system uses a path, so that its files must not be replaced in place. Pure. @param path absolute, real */
export function isSystemPath(path: string): boolean {
  if (SYSTEM_FOLDERS.includes(path)) return true;
  return SYSTEM_TREES.some(tree => isWithin(tree, path)) && !isWithin(ADMINISTRATORS, path);
}

/** Whether a folder is the top of a mounted file system that is not `/`, as a rescue system mounts the disk that it repairs. */
export function isRescueMount(path: string): boolean {
  const real = realPath(path);
  return real !== '/' && mountTableInBytes().some(each => asText(each.path) === real);
}

/**
 * Checks DIR for files that are put below it, and makes it. It must be new or empty, or have what an interrupted fetch left.
 * @param isResumed whether this fetch has begun there before
 * @throws Fault where it cannot be used
 */
export function prepareFolder({ to }: Wish, isResumed: boolean): Target {
  const account = ownAccount();
  const tried = `fetch files to "${escapeText(to)}"`;
  if (lstatOrNothing(to) === undefined) {
    if (!exists(dirname(to)))
      throw new Fault({ tried, found: `there is no folder "${escapeText(dirname(to))}"`, exit: 'usage' });
    requireOwnFolder({ to, account }, dirname(to), true, tried);
    makeFolder(to, { mode: 0o700 });
  }
  requireOwnFolder({ to, account }, to, false, tried);
  const found = stat(to);
  if (!found.isDirectory()) throw new Fault({ tried, found: 'it is not a folder', exit: 'usage' });
  if (!isResumed && readdir(to).some(name => !isEmptyFolder(`${to}/${name}`)))
    throw new Fault({
      tried,
      found: 'the folder is not empty',
      next: 'name an empty or new folder; for a mounted disk that has files: --in-place too, which keeps what it replaces',
      exit: 'usage',
    });
  const base = realPath(to);
  return { to, isInPlace: false, base, writable: [base] };
}

/** Mount points, and the folder that mkfs makes, are no content. */
function isEmptyFolder(path: string): boolean {
  const found = lstat(path);
  if (!found.isDirectory()) return false;
  if (path.endsWith('/lost+found')) return true;
  return readdir(path).every(name => isEmptyFolder(`${path}/${name}`));
}

/**
 * Checks the places of offered paths for files that are put back where they were.
 * @param paths below `/`, as they are offered; the empty one for a whole machine
 * @param roots of client.toml: the host chooses the paths, and may choose only among these; undefined without a client.toml
 * @throws Fault for a folder in use by the system, for one outside of the roots, and where a folder above is missing or a link
 */
export function prepareInPlace(
  { to }: Wish,
  paths: readonly Buffer[],
  roots: readonly string[] | undefined,
): Target {
  const base = realPath(to);
  const isRescue = base !== '/' && isRescueMount(base);
  if (base !== '/' && !isRescue)
    throw new Fault({
      tried: `put files back in "${escapeText(to)}"`,
      found: 'it is not the top of a mounted file system',
      next: 'omit --to, or omit --in-place',
      exit: 'usage',
    });
  if (!isRescue && roots !== undefined) for (const path of paths) requireInRoots(path, roots);
  const writable = paths.map(path => writableFor(base, path, isRescue));
  return { to, isInPlace: true, base, writable: withoutInner(writable) };
}

function requireInRoots(path: Buffer, roots: readonly string[]): void {
  const spelled = roots.flatMap(root => (exists(root) ? [root, realPath(root)] : [root]));
  if (spelled.some(root => isWithin(root, `/${path.toString('utf8')}`))) return;
  throw new Fault({
    tried: `put "/${showName(jsonName(path))}" back`,
    found: 'it is not below a root of client.toml',
    next: 'use --to DIR',
    exit: 'refused',
  });
}

function writableFor(base: string, path: Buffer, isRescue: boolean): string {
  const at = joinPath(base === '/' ? '' : base, path);
  const shown = showName(jsonName(at));
  const tried = `put "${shown}" back`;
  const parent = path.includes('/') ? at.subarray(0, at.lastIndexOf('/')) : Buffer.from(base);
  const found = lstatOrNothing(at);
  const isFolder = path.length === 0 || found?.isDirectory() === true;
  if (!isRescue && isSystemPath(path.length === 0 ? '/' : `/${path.toString('utf8')}`))
    throw new Fault({
      tried,
      found: 'the running system uses it',
      next: 'use --to DIR and move what you need; or start a rescue system, mount the disk, and use --in-place --to MOUNTPOINT',
      exit: 'refused',
    });
  if (lstatOrNothing(parent) === undefined)
    throw new Fault({
      tried,
      found: 'the folder above it does not exist',
      next: 'offer that folder too, or use --to DIR',
    });
  const folder = path.length === 0 ? Buffer.from(base) : isFolder ? at : parent;
  const real = realPathOf(folder);
  // rsync follows no link, and the jail opens none.
  if (!Buffer.from(real).equals(folder))
    throw new Fault({
      tried,
      found: `a folder above it is a link, which leads to "${escapeText(real)}"`,
      next: 'use --to DIR',
      exit: 'refused',
    });
  // rsync could then write everywhere, and no jail can be made around it.
  if (real === '/')
    throw new Fault({
      tried,
      found: 'rsync would write into "/" itself',
      next: 'if it is a folder, make it with mkdir first; or use --to DIR',
      exit: 'refused',
    });
  return real;
}

function realPathOf(path: Buffer): string {
  const real = realPath(path, { encoding: 'buffer' });
  const text = real.toString('utf8');
  if (Buffer.from(text, 'utf8').equals(real)) return text;
  throw new Fault({
    tried: `put files back in "${showName(jsonName(real))}"`,
    found: 'its name is not UTF-8',
    next: 'use --to DIR',
  });
}

/** Without the folders that are in another one of them. */
function withoutInner(folders: string[]): string[] {
  const all = [...new Set(folders)];
  return all.filter(each => !all.some(other => other !== each && isWithin(other, each)));
}

function lstatOrNothing(path: string | Buffer): ReturnType<typeof statusExact> | undefined {
  try {
    return statusExact(path);
  } catch (error) {
    if (failedWith(error, 'ENOENT') || failedWith(error, 'ENOTDIR')) return undefined;
    throw error;
  }
}
