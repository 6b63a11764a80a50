/**
 * `dialback restore`: gives back files with all that they had. rsync does the work, out of the fake-super tree.
 *
 * As root everything comes back. What is restored is staged in a private folder (0700) inside DIR and moved into
 * place when it is whole: setuid files and devices become real there, half a tree must not be usable by others.
 */
import { dirname } from 'node:path';
import { Fault } from '../fault.ts';
import {
  chmod,
  exists,
  failedWith,
  fileFault,
  linkStatus,
  list,
  makeFolder,
  makeUniqueFolder,
  removeAll,
  rename,
} from '../os/files.ts';
import { ownAccount } from '../os/machine.ts';
import { type Result, run, standard } from '../os/process.ts';
import { isRoot } from '../wire/request.ts';
import { NANOSECONDS, RSYNC_EXIT } from '../wire/rsync.ts';
import { escapeText } from '../wire/text.ts';
import { findSnapshot, openClient, openStore, type Snapshot } from './store.ts';
import { type Checked, checkRestored } from './verify.ts';

export interface RestoreOptions {
  store: string;
  client: string;
  /** As findSnapshot takes it. */
  snapshot: string;
  /** Absolute, as on the client; none: all. */
  paths: string[];
  to: string;
  force: boolean;
}

export interface RestoreResult {
  snapshot: string;
  state: 'full' | 'incomplete';
  files: number;
  bytes: number;
  /** What could not be given back, a line each: rsync's message, or its itemized difference and the path. */
  notGivenBack: string[];
  /** Whether the contents were compared with the snapshot's manifest; false where it has none yet. */
  checked: boolean;
  /** Files that are not as they were when they were backed up: they are given back as they are in the store. */
  damaged: Checked['damaged'];
}

/** A restore of a large tree takes long, and ends by Ctrl-C. */
const RESTORE_TIMEOUT_MS = 14 * 86_400_000; // within what setTimeout can hold
const LIST_LIMIT = 64 * 1024 * 1024;

/** How a fake-super tree is read, and real files written. */
function restoreArguments(isRootUser: boolean): string[] {
  return [
    '-aHAXS',
    '--numeric-ids',
    '--fake-super', // the sending side: owners, modes and devices out of the xattrs
    isRootUser ? '-M--super' : '-M--no-super',
    '--relative',
    NANOSECONDS,
    '--stats',
    '--no-human-readable',
  ];
}

/** Restores, and finds out what could not be given back. @param signal ends it in good order */
export async function restore(options: RestoreOptions, signal: AbortSignal): Promise<RestoreResult> {
  openStore(options.store);
  const client = openClient(options.store, options.client);
  const snapshot = findSnapshot(client, options.snapshot);
  const sources =
    options.paths.length === 0
      ? [`${snapshot.tree}/./`]
      : options.paths.map(path => sourceOf(snapshot, path));
  const isRootUser = ownAccount().uid === 0;
  const isEmpty = prepareTarget(options);

  // Private, and no part of what rsync writes: it would give the top the attributes of the client's `/` at once.
  const stage = makeUniqueFolder(`${options.to}/.dialback-restore-`);
  const staged = `${stage}/tree`;
  try {
    const args = [...restoreArguments(isRootUser), '--', ...sources, `${staged}/`];
    const given = await runRsync(args, signal);
    if (!isDone(given)) throw rsyncFault(`restore to "${options.to}"`, given);
    const complaints = complaintsOf(given);
    // Before anything is moved: what has become of it later is not the store's fault.
    const what = { staged, paths: options.paths };
    const { isChecked, damaged, found } = await checkRestored(client, snapshot, what, signal);
    if (found !== undefined) complaints.push(`the manifest of ${snapshot.name} cannot be trusted: ${found}`);
    if (exists(staged)) complaints.push(...(await moveIntoPlace(staged, options.to, isEmpty, signal)));
    const isWholeMachine = options.paths.length === 0 && snapshot.record.scope.roots.includes('/');
    if (isWholeMachine) complaints.push(...(await applyTop(snapshot, options.to, isRootUser, signal)));
    if (!isRootUser) complaints.push(...(await differences(sources, options.to, signal)));
    const output = given.stdout.toString('latin1');
    return {
      snapshot: snapshot.name,
      state: snapshot.record.state,
      files:
        Number(/^Number of files: (\d+)/m.exec(output)?.[1] ?? 0) -
        Number(/^Number of files:.*\bdir: (\d+)/m.exec(output)?.[1] ?? 0),
      bytes: Number(/^Total file size: (\d+)/m.exec(output)?.[1] ?? 0),
      notGivenBack: [...new Set(complaints)],
      checked: isChecked,
      damaged,
    };
  } finally {
    await removeStage(stage, isRootUser);
  }
}

/** Whether rsync did what it could: all of it, or all but what it complained of (23). */
function isDone(result: Result): boolean {
  return result.status === 0 || result.status === RSYNC_EXIT.partial;
}

function complaintsOf(result: Result): string[] {
  return result.stderr.split('\n').filter(line => line !== '' && !/^rsync error: /.test(line));
}

/** An ordinary user cannot remove what lies in a folder that was restored without the right to write. */
async function removeStage(stage: string, isRootUser: boolean): Promise<void> {
  if (!isRootUser)
    await run(standard('chmod', ['-R', 'u+rwx', '--', stage]), { timeoutMs: RESTORE_TIMEOUT_MS });
  removeAll(stage);
}

/** A path as on the client, as rsync's source: everything behind `/./` is made anew below DIR. */
export function sourceOf(snapshot: Pick<Snapshot, 'name' | 'tree'>, path: string): string {
  const tried = `restore "${escapeText(path)}"`;
  const shortest = path.length > 1 ? path.replace(/\/+$/, '') : path;
  if (!isRoot(shortest))
    throw new Fault({
      tried,
      found: 'it is not an absolute path without ".", ".." or doubled slashes',
      exit: 'usage',
    });
  if (shortest === '/') return `${snapshot.tree}/./`;
  try {
    linkStatus(`${snapshot.tree}${shortest}`);
  } catch (error) {
    if (!failedWith(error, 'ENOENT') && !failedWith(error, 'ENOTDIR')) throw fileFault(error, tried);
    throw new Fault({ tried, found: `snapshot ${snapshot.name} does not have it` });
  }
  return `${snapshot.tree}/.${shortest}`;
}

/** @returns whether DIR is empty; it is created where it is absent */
function prepareTarget(options: RestoreOptions): boolean {
  const { to } = options;
  const tried = `restore to "${escapeText(to)}"`;
  if (!exists(to)) {
    if (!exists(dirname(to)))
      throw new Fault({ tried, found: `there is no folder "${dirname(to)}"`, exit: 'usage' });
    makeFolder(to, { mode: 0o755 });
    return true;
  }
  let names: string[];
  try {
    names = list(to);
  } catch (error) {
    throw failedWith(error, 'ENOTDIR')
      ? new Fault({ tried, found: 'it is not a folder', exit: 'usage' })
      : fileFault(error, tried);
  }
  const isEmpty = names.every(name => name === 'lost+found');
  if (isEmpty || options.force) return isEmpty && names.length === 0;
  throw new Fault({
    tried,
    found: 'the folder is not empty',
    next: 'name an empty or new one, or say --force: then what is restored replaces what has the same name',
    exit: 'usage',
  });
}

/**
 * Into an empty folder by renames; into one that is not by rsync, which links what it would copy.
 * @returns what could not be put into place
 */
async function moveIntoPlace(
  staged: string,
  to: string,
  isEmpty: boolean,
  signal: AbortSignal,
): Promise<string[]> {
  const names = list(staged, { encoding: 'buffer' });
  if (isEmpty) {
    for (const name of names) moveEntry(beneath(staged, name), beneath(to, name));
    return [];
  }
  // The names on standard input: they need not be UTF-8, and the top, DIR's own, is not among them.
  const args = ['-aHAXS', '--recursive', '--numeric-ids', '--relative', NANOSECONDS, `--link-dest=${staged}`];
  const input = Buffer.concat(names.flatMap(name => [name, Buffer.from([0])]));
  const result = await runRsync(
    [...args, '--from0', '--files-from=-', '--', `${staged}/`, `${to}/`],
    signal,
    input,
  );
  if (!isDone(result)) throw rsyncFault(`put what was restored into "${to}"`, result);
  return complaintsOf(result);
}

function beneath(folder: string, name: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${folder}/`), name]);
}

/** To move a folder to another one, an ordinary user must be allowed to write into it. */
function moveEntry(from: Buffer, to: Buffer): void {
  const { mode } = linkStatus(from);
  const isLocked = linkStatus(from).isDirectory() && (mode & 0o200) === 0;
  if (isLocked) chmod(from, (mode & 0o7777) | 0o200);
  rename(from, to);
  if (isLocked) chmod(to, mode & 0o7777);
}

/** Gives DIR itself the attributes of the client's `/`. @returns what could not be given */
async function applyTop(
  snapshot: Snapshot,
  to: string,
  isRootUser: boolean,
  signal: AbortSignal,
): Promise<string[]> {
  const args = restoreArguments(isRootUser).filter(each => each !== '--relative' && each !== '--stats');
  const result = await runRsync([...args, '--exclude=/*', '--', `${snapshot.tree}/`, `${to}/`], signal);
  if (!isDone(result)) throw rsyncFault(`give "${to}" its attributes`, result);
  return complaintsOf(result);
}

/**
 * What differs from the snapshot, by rsync's dry run: without root rsync does not even try what it may not, and says
 * nothing of it. (For root it is of no use: it takes a file with a capability and other xattrs for different, as a
 * fake-super tree lists them in another order. Measured, rsync 3.5.0.)
 */
async function differences(sources: string[], to: string, signal: AbortSignal): Promise<string[]> {
  const args = ['-n', '-i', ...restoreArguments(true).filter(each => each !== '--stats')];
  const result = await runRsync([...args, '--', ...sources, `${to}/`], signal);
  if (!isDone(result)) throw rsyncFault('compare what was restored', result);
  const lines = result.stdout.toString('latin1').split('\n');
  return [
    ...lines.filter(line => /^[<>ch.*][fdLDS]/.test(line) && !/ \.\/$/.test(line)),
    ...complaintsOf(result),
  ];
}

async function runRsync(args: string[], signal: AbortSignal, input?: Buffer): Promise<Result> {
  return await run(standard('rsync', args), {
    timeoutMs: RESTORE_TIMEOUT_MS,
    limit: LIST_LIMIT,
    signal,
    ...(input ? { input } : {}),
  });
}

function rsyncFault(tried: string, result: Result): Fault {
  const lines = result.stderr.trim().split('\n');
  const found = lines.find(line => line !== '') ?? `rsync ended with status ${result.status}`;
  const exit = /No space left on device|Disk quota exceeded/.test(result.stderr)
    ? ({ exit: 'noSpace' } as const)
    : {};
  return new Fault({ tried, found: escapeText(found), ...exit });
}
