/**
 * A tree that is being adopted: clients/NAME/adopting/SNAPSHOT, and its commit.
 *
 * It is not below arriving/, where the next run of the client would link against it or change the times of its files. The next
 * `adopt` moves the rest of a killed one to the trash.
 */
import { Fault } from '../fault.ts';
import { exists, fileFault, link, makeBareFolder, makeFolder, readdir, rename, unlink } from '../os/files.ts';
import { run, standard } from '../os/process.ts';
import { randomHex } from '../os/random.ts';
import { syncFolder } from '../os/replace.ts';
import { type DisposableHolder, takeLock } from '../os/runfolder.ts';
import { SNAPSHOT } from '../wire/text.ts';
import { searchTree } from './find-records.ts';
import { syncFileSystem } from './interrupted-tree.ts';
import { isFatal, linkMissing } from './link-limit.ts';
import { type ClientStore, recordEvent } from './store.ts';
import { emptyTrash } from './trash.ts';
import { joinPath } from './tree-path.ts';

/** Below clients/NAME. */
const ADOPTING = 'adopting';

/** A tree that is being adopted. */
export interface Adoption {
  /** adopting/SNAPSHOT */
  folder: string;
  tree: string;
  /** The folder of the tree that rsync writes into. */
  top: string;
}

/** Locks the adoptions of a client. @returns the lock's descriptor @throws Fault (locked) */
export async function lockAdoption(held: DisposableHolder, client: ClientStore): Promise<number> {
  const lock = await takeLock(held, `${client.folder}/adopt.lock`);
  if (lock !== undefined) return lock;
  throw new Fault({
    tried: `adopt snapshots of "${client.name}"`,
    found: 'another adopt of this client is running',
    exit: 'locked',
  });
}

/** Where the tree of a snapshot is written. @param at the folder of the client that it holds */
function adoptionOf(client: ClientStore, snapshot: string, at: string): Adoption {
  const folder = `${client.folder}/${ADOPTING}/${snapshot}`;
  const tree = `${folder}/tree`;
  return { folder, tree, top: at === '/' ? tree : `${tree}${at}` };
}

/**
 * Removes the rest of earlier calls, and makes the folders of a new tree. The lock must be held.
 * @throws Fault when they cannot be made
 */
export async function beginAdoption(client: ClientStore, snapshot: string, at: string): Promise<Adoption> {
  await discardAdoptions(client);
  const adoption = adoptionOf(client, snapshot, at);
  makeFolder(`${client.folder}/${ADOPTING}`);
  makeFolder(adoption.folder);
  makeFolder(adoption.tree);
  const names = at.split('/').filter(each => each !== '');
  const above = names.map((_, end) => `${adoption.tree}/${names.slice(0, end + 1).join('/')}`);
  for (const each of above) makeFolder(each);
  // rsync sets the attributes of the last one. The attributes of those above it are unknown, so they get those of a system's folders.
  for (const each of above.slice(0, -1))
    await run(standard('setfattr', ['-n', 'user.rsync.%stat', '-v', ROOTS_FOLDER, '--', each]));
  return adoption;
}

/** A folder of root's with mode 0755, as `user.rsync.%stat` has it. */
const ROOTS_FOLDER = '40755 0,0 0:0';

/** Moves what is below adopting/ to the trash, and empties that. The lock must be held. */
export async function discardAdoptions(client: ClientStore): Promise<void> {
  const folder = `${client.folder}/${ADOPTING}`;
  if (!exists(folder)) return;
  for (const name of readdir(folder).filter(each => SNAPSHOT.test(each)))
    rename(`${folder}/${name}`, `${client.folder}/trash/${name}-${randomHex(4)}`);
  await emptyTrash(client.folder);
}

/**
 * Makes a tree of links to a snapshot's files, without some names.
 * @param from the snapshot's tree, or a folder in it
 * @returns the tree's path
 */
export async function maskTree(
  from: string,
  { folder }: Adoption,
  names: readonly Buffer[],
  signal: AbortSignal,
): Promise<string> {
  const mask = `${folder}/mask`;
  makeFolder(mask);
  await linkMissing(from, mask, signal);
  for (const each of names) if (exists(joinPath(mask, each))) unlink(joinPath(mask, each));
  return mask;
}

/** A store has no file with these bits. */
const SET_ID_BITS = '/7000';

/**
 * Makes a tree of links to the files of a foreign tree that the store could have made itself. They belong to its account with
 * uid and gid, this account can read them, and they have no set-id bit. rsync decides about each of them whether its
 * attributes are those of a copy.
 * @returns the tree's path
 * @throws Fault when the trees are on two file systems
 */
export async function linkOwnFiles(
  from: string,
  { folder }: Adoption,
  owner: { uid: number; gid: number },
  signal: AbortSignal,
): Promise<string> {
  const links = `${folder}/links`;
  makeFolder(links);
  const tried = `link the files of "${from}"`;
  const own = [
    '-type',
    'f',
    '-uid',
    String(owner.uid),
    '-gid',
    String(owner.gid),
    '-perm',
    '-0400',
    '!',
    '-perm',
    SET_ID_BITS,
  ];
  const tests = ['(', '-type', 'd', '-mindepth', '1', ')', '-o', '(', ...own, ')'];
  await searchTree(from, { tests, fields: ['%y'], tried, signal }, ([type], path) => {
    const target = joinPath(links, path);
    try {
      if (type === 'd') makeBareFolder(target, 0o700);
      else link(joinPath(from, path), target);
    } catch (error) {
      if (isFatal(error)) throw fileFault(error, tried);
      if (type !== 'd' && isOtherFileSystem(error))
        throw new Fault({
          tried,
          found: 'it is not on the file system of the store',
          next: 'leave out --link',
          exit: 'usage',
        });
    }
  });
  return links;
}

const isOtherFileSystem = (error: unknown): boolean => (error as NodeJS.ErrnoException).code === 'EXDEV';

/** Removes the folders that were only made to link against. */
export async function dropLinkTrees({ folder }: Adoption): Promise<void> {
  const rm = standard('rm', [
    '--recursive',
    '--force',
    '--one-file-system',
    '--',
    `${folder}/mask`,
    `${folder}/links`,
  ]);
  const { status, stderr } = await run(rm, { timeoutMs: 3_600_000 });
  if (status !== 0) throw new Fault({ tried: `delete "${folder}/links"`, found: stderr.trim() });
}

/**
 * Makes an attempt a snapshot: writes the file system to the disk, and renames the folder. The lock must be held.
 * @param facts for the journal
 * @throws Fault when it did not become one
 */
export async function commitAdoption(
  client: ClientStore,
  snapshot: string,
  facts: Record<string, unknown>,
): Promise<void> {
  const { folder } = adoptionOf(client, snapshot, '/');
  const tried = `make "${client.name}@${snapshot}" a snapshot`;
  if (!exists(`${folder}/snapshot.json`)) throw new Fault({ tried, found: 'the adopted tree is gone' });
  try {
    await syncFileSystem(folder);
    rename(folder, `${client.folder}/snapshots/${snapshot}`);
    syncFolder(`${client.folder}/snapshots`);
    syncFolder(`${client.folder}/${ADOPTING}`);
  } catch (error) {
    throw error instanceof Fault ? error : fileFault(error, tried);
  }
  recordEvent(client, ADOPTED_EVENT, { snapshot, ...facts });
}

const ADOPTED_EVENT = 'adopted';
