/**
 * STORE/tmp/drill-XXXXXX/ (0700): the folder that a drill restores into. It is on the store's file system, so it has
 * the store's free space, its xattrs and its limits. One drill at a time has the lock STORE/tmp/drill.lock, and removes
 * the folders that killed drills have left.
 */
import { dirname } from 'node:path';
import { Fault } from '../fault.ts';
import { ownAccount } from '../os/account.ts';
import { exists, lstat, makeFolder, makeUniqueFolder, readdir, realPath } from '../os/files.ts';
import { run, standard } from '../os/process.ts';
import { type DisposableHolder, takeLock } from '../os/runfolder.ts';
import { escapeText } from '../wire/text.ts';
import { SCRATCH_FOLDER } from './scratch.ts';

const PREFIX = 'drill-';
const SCRATCH = /^drill-[A-Za-z0-9]{6}$/;
/** A drill restores a limited number of names; removing them never takes this long. */
const TIMEOUT_MS = 3_600_000;

/** Whether a folder is a drill's scratch folder of this store. @param folder exists */
export function isScratchFolder(store: string, folder: string): boolean {
  const real = realPath(folder);
  const name = real.slice(dirname(real).length + 1);
  return SCRATCH.test(name) && dirname(real) === `${realPath(store)}/${SCRATCH_FOLDER}`;
}

/**
 * Takes the lock of drills, and removes what killed drills have left.
 * @throws Fault `locked` when another drill of this store runs
 */
export async function lockScratch(held: DisposableHolder, store: string): Promise<void> {
  const folder = `${store}/${SCRATCH_FOLDER}`;
  makeFolder(folder);
  if ((await takeLock(held, `${folder}/drill.lock`)) === undefined)
    throw new Fault({ tried: `drill "${store}"`, found: 'another drill is running', exit: 'locked' });
  for (const name of readdir(folder)) if (SCRATCH.test(name)) await removeScratch(store, `${folder}/${name}`);
}

/**
 * Makes a scratch folder. Releasing `held` removes it. The caller has the lock.
 * @throws Fault
 */
export function makeScratch(held: DisposableHolder, store: string): string {
  const path = makeUniqueFolder(`${store}/${SCRATCH_FOLDER}/${PREFIX}`);
  held.defer(() => removeScratch(store, path));
  return path;
}

/**
 * Removes a scratch folder. Restored folders can lack the right to write, so they get it first. rm(1) goes down folder
 * by folder, so the length of a path does not matter.
 * @throws Fault when it is still there
 */
async function removeScratch(store: string, path: string): Promise<void> {
  const found = lstat(path);
  if (!found.isDirectory() || found.uid !== ownAccount().uid || !isScratchFolder(store, path)) return;
  const find = [path, '-xdev', '-type', 'd', '!', '-perm', '-700', '-execdir', 'chmod', 'u+rwx', '{}', ';'];
  await run(standard('find', find), { timeoutMs: TIMEOUT_MS });
  const remove = ['--recursive', '--force', '--one-file-system', '--', path];
  const { stderr } = await run(standard('rm', remove), { timeoutMs: TIMEOUT_MS });
  if (!exists(path)) return;
  throw new Fault({
    tried: `remove "${escapeText(path)}"`,
    found: escapeText(stderr.trim().split('\n')[0] ?? '', 400),
  });
}
