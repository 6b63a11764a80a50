/**
 * What is mounted in the scope. File systems that are left out are stored as the empty folders that they are mounted at, and
 * those that can hang are not touched. One that is in the scope and does not answer is named as missing, and the rest is saved.
 *
 * Paths are bytes, one character each.
 */
import { sleep } from '../os/clock.ts';
import { isWithin, type MountEntry } from '../os/mounts.ts';
import { standard, start } from '../os/process.ts';
import { PATH_LIMIT } from '../wire/request.ts';
import { asText, escapeText } from '../wire/text.ts';
import { canHang, isKernelsOwn, mountsLeftOut } from './filter.ts';
import type { Entry, Look } from './never.ts';

/** A mount point that is stored as an empty folder. */
export interface EmptyFolder {
  path: string;
  /** For one that is not looked at: what it is stored with. */
  as?: { mode: number; uid: number; gid: number };
}

/** How a run sees what is mounted. */
export interface MountPoints {
  emptied: EmptyFolder[];
  /** Left out with their name: they are no folders, or cannot be looked at. */
  hidden: string[];
  /** Those of `hidden` that can hang. */
  untouched: string[];
}

/** All of them answer within this on a machine that is well. */
const QUICK_MS = 3_000;
/** One that has not answered by then is left out: a disk may have to spin up, and a server to wake. */
const PATIENT_MS = 10_000;
const AT_ONCE = 200;

/** The file type bits of st_mode (inode(7)). */
const TYPE = 0o170000;
const FOLDER = 0o040000;

/**
 * Which file systems do not answer. Each is asked by a child process: such a call may never return.
 * @param needed paths that the run looks at: roots, `never` and the like
 * @param roots those of the needed paths that are read with all below them
 * @param left mount points that are not read, and are asked only where a needed path is on them
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
  for (let at = 0; at < asked.length; at += AT_ONCE) {
    const some = asked.slice(at, at + AT_ONCE);
    if (await answer(some, Math.min(QUICK_MS, patienceMs))) continue;
    const answers = await Promise.all(some.map(path => answer([path], patienceMs)));
    hung.push(...some.filter((_, index) => !answers[index]));
  }
  return outermost(hung);
}

/**
 * statfs(2): a server is asked for it, while what stat(2) says can be remembered. Refusals are answers too. The paths go through a
 * pipe, since they need not be text (node encodes arguments in UTF-8), nor fit into the arguments of one program.
 */
async function answer(paths: string[], timeoutMs: number): Promise<boolean> {
  const child = await start(standard('xargs', ['-0', 'stat', '-f', '-c', '', '--']), [
    'pipe',
    'nothing',
    'nothing',
  ]);
  child.stdin?.on('error', () => {}); // it ends before it has read all of them
  child.stdin?.end(Buffer.from(paths.map(path => `${path}\0`).join(''), 'latin1'));
  const timer = new AbortController();
  const late = sleep(timeoutMs, timer.signal).then(
    () => false,
    () => false,
  );
  const isThere = await Promise.race([child.exited.then(() => true), late]);
  timer.abort();
  if (!isThere) void child.end(0); // it can hang in the kernel: nothing waits for it
  return isThere;
}

function outermost(paths: readonly string[]): string[] {
  const unique = [...new Set(paths)].sort();
  return unique.filter(path => !unique.some(other => other !== path && isWithin(other, path)));
}

/** Looks at nothing on a file system that does not answer. @param hung as `findHung()` */
export function lookExcept(hung: readonly string[], look: Look): Look {
  return path => (hung.some(each => isWithin(each, path)) ? 'EHOSTDOWN' : look(path));
}

/**
 * What becomes of the mount points that are left out.
 * @param look as `lookExcept()`
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
  // The root of a file system is a folder; of what is below it nothing can be said without looking at it.
  if (root !== '/') return undefined;
  const above = look(path.slice(0, path.lastIndexOf('/')) || '/');
  return isFolder(above)
    ? { path, as: { mode: 0o755, uid: above.uid, gid: above.gid ?? above.uid } }
    : undefined;
}

function isFolder(entry: Entry | string): entry is Entry {
  return typeof entry !== 'string' && (entry.mode & TYPE) === FOLDER;
}

/** The table that src/launcher/mountpoints.c reads. */
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

/** What a run says of a file system that does not answer. */
export function hungWarning(path: string): string {
  const name = escapeText(asText(path));
  return `Cannot read the file system at "${name}": it does not answer; this backup does not have it`;
}
