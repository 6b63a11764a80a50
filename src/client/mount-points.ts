/**
 * The mount points in the scope. A file system that is left out is stored as the empty folder that it is mounted on; one that
 * could hang is not touched. One that is in the scope and does not answer is reported as missing, and the rest is backed up.
 *
 * Paths are bytes (os/byte-path.ts).
 */
import { parentOf, showPath } from '../os/byte-path.ts';
import { sleep } from '../os/clock.ts';
import { S_IFDIR, S_IFMT } from '../os/files.ts';
import { isWithin, type MountEntry } from '../os/mounts.ts';
import { standard, start } from '../os/process.ts';
import { PATH_LIMIT } from '../wire/request.ts';
import { canHang, isKernelsOwn, mountsLeftOut } from './filter.ts';
import type { Entry, Look } from './never.ts';

/** A mount point that is stored as an empty folder. */
export interface EmptyFolder {
  path: string;
  /** The attributes that it is stored with, where it is not looked at. */
  as?: { mode: number; uid: number; gid: number };
}

/** The mount points that are left out, and how rsync sees each one. */
interface MountPoints {
  emptied: EmptyFolder[];
  /** Left out together with their name: they are not folders, or cannot be looked at. */
  hidden: string[];
  /** Those of `hidden` that can hang. */
  untouched: string[];
}

/** On a healthy machine all file systems answer within this time. */
const QUICK_MS = 3_000;
/** A file system that has not answered by then is left out. A disk may have to spin up, and a server to wake. */
const PATIENT_MS = 10_000;
/** Mount points for one child process. */
const BATCH = 200;

/**
 * Finds the file systems that do not answer. A child process asks each one, because such a call may never return.
 * @param paths `needed`: paths that the run looks at, such as roots and `never`. `roots`: paths that are read with everything
 *   below them. `left`: mount points that are not read; they are asked only if a needed path is on them
 * @returns their mount points, without those below another one
 */
export async function findHung(
  table: readonly MountEntry[],
  paths: { needed: readonly string[]; roots: readonly string[]; left: readonly string[] },
  patienceMs = PATIENT_MS,
): Promise<string[]> {
  const isAsked = ({ path, type }: MountEntry): boolean =>
    path !== '/' &&
    !(isKernelsOwn(type) && !canHang(type)) &&
    (paths.needed.some(each => isWithin(path, each)) ||
      (paths.roots.some(root => isWithin(root, path)) && !paths.left.some(each => isWithin(each, path))));
  const asked = [...new Set(table.filter(isAsked).map(each => each.path))];
  const hung: string[] = [];
  for (let at = 0; at < asked.length; at += BATCH) {
    const some = asked.slice(at, at + BATCH);
    if (await doAnswer(some, Math.min(QUICK_MS, patienceMs))) continue;
    const answers = await Promise.all(some.map(path => doAnswer([path], patienceMs)));
    hung.push(...some.filter((_, index) => !answers[index]));
  }
  return outermost(hung);
}

/**
 * Asks with statfs(2): a server must answer it, while the kernel can answer stat(2) from its cache. An error is an answer too. The
 * paths go through a pipe: they need not be UTF-8, as node's arguments are, and may not fit into the arguments of one program.
 * @returns whether all of them answered in time
 */
async function doAnswer(paths: string[], timeoutMs: number): Promise<boolean> {
  const child = await start(standard('xargs', ['-0', 'stat', '-f', '-c', '', '--']), [
    'pipe',
    'nothing',
    'nothing',
  ]);
  child.stdin?.on('error', () => {}); // It can exit before it has read all paths.
  child.stdin?.end(Buffer.from(paths.map(path => `${path}\0`).join(''), 'latin1'));
  const timer = new AbortController();
  const late = sleep(timeoutMs, timer.signal).then(
    () => false,
    () => false,
  );
  const isThere = await Promise.race([child.exited.then(() => true), late]);
  timer.abort();
  if (!isThere) void child.end(0); // It can hang in the kernel, so its exit is not awaited.
  return isThere;
}

function outermost(paths: readonly string[]): string[] {
  const unique = [...new Set(paths)].sort();
  return unique.filter(path => !unique.some(other => other !== path && isWithin(other, path)));
}

/** A `look` that does not touch file systems that do not answer. @param hung as `findHung()` returns it */
export function lookExcept(hung: readonly string[], look: Look): Look {
  return path => (hung.some(each => isWithin(each, path)) ? 'EHOSTDOWN' : look(path));
}

/**
 * Decides what becomes of the mount points that are left out.
 * @param mode `mounts` of the config
 * @param look as `lookExcept()` returns it
 */
export function sortMountPoints(
  table: readonly MountEntry[],
  mode: 'local' | 'all' | 'one',
  roots: readonly string[],
  look: Look,
): MountPoints {
  const found: MountPoints = { emptied: [], hidden: [], untouched: [] };
  for (const path of outermost(mountsLeftOut(table, mode, roots))) {
    const mount = table.findLast(each => each.path === path);
    const folder = mount === undefined || !isStorable(path) ? undefined : asFolder(mount, look);
    if (folder === undefined || !roots.some(root => isWithin(root, path))) {
      found.hidden.push(path);
      if (mount !== undefined && canHang(mount.type) && isStorable(path)) found.untouched.push(path);
    } else found.emptied.push(folder);
  }
  return found;
}

const isStorable = (path: string): boolean => path.length <= PATH_LIMIT - 3 && path !== '/';

function asFolder({ path, type, root }: MountEntry, look: Look): EmptyFolder | undefined {
  if (!canHang(type)) {
    const entry = look(path);
    return isFolder(entry) ? { path } : undefined;
  }
  // The root of a file system is a folder. Below that, only a look could tell.
  if (root !== '/') return undefined;
  const above = look(parentOf(path));
  return isFolder(above)
    ? { path, as: { mode: 0o755, uid: above.uid, gid: above.gid ?? above.uid } }
    : undefined;
}

function isFolder(entry: Entry | string): entry is Entry {
  return typeof entry !== 'string' && (entry.mode & S_IFMT) === S_IFDIR;
}

/** Writes the table that src/launcher/mountpoints.c reads. @returns one character for each byte */
export function mountTableText({
  emptied,
  hung,
  untouched,
}: Pick<MountPoints, 'emptied'> & { hung: readonly string[]; untouched: readonly string[] }): string {
  return [
    ...emptied.map(({ path, as }) =>
      as === undefined ? `e ${path}` : `s ${as.mode.toString(8)} ${as.uid} ${as.gid} ${path}`,
    ),
    ...[...hung, ...untouched].map(path => `f ${path}`),
  ]
    .map(record => `${record}\0`)
    .join('');
}

/** The warning of a run about a file system that does not answer. */
export function hungWarning(path: string): string {
  return `Cannot read the file system at "${showPath(path)}": it does not answer; this backup does not have it`;
}
