/**
 * `dialback restore`: gives back files with all that they had. rsync does the work, out of the fake-super tree.
 *
 * As root everything comes back. What is restored is staged in a private folder (0700) inside DIR and moved into
 * place when it is whole: setuid files and devices become real there, half a tree must not be usable by others.
 */
import { Fault } from '../fault.ts';
import {
  breachOf,
  chmod,
  exists,
  failedWith,
  linkStatus,
  list,
  makeUniqueFolder,
  openFlags,
  realPath,
  removeAll,
  rename,
  sameContent,
} from '../os/files.ts';
import { hasLauncher, launcherCommand } from '../os/launcher.ts';
import { now, ownAccount, ownGroups } from '../os/machine.ts';
import { type Ending, eachLine, programPath, rsyncKnows, run, standard, start } from '../os/process.ts';
import { checkTarget, prepareTarget, type TargetOptions } from '../store/restore-target.ts';
import { NANOSECONDS, RSYNC_EXIT } from '../wire/rsync.ts';
import { escapeText, jsonName, showName, snapshotTime } from '../wire/text.ts';
import {
  covers,
  listTree,
  readAttributes,
  readTree,
  type StoredEntry,
  type TreeEntry,
  type TreeOptions,
} from './attributes.ts';
import { inBatches } from './manifest.ts';
import {
  type ClientStore,
  findSnapshot,
  openClient,
  openStore,
  pathInside,
  type Snapshot,
  snapshotNames,
} from './store.ts';
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

export interface RestorePlan {
  snapshot: string;
  state: 'full' | 'incomplete';
  /** How long ago it was made, in milliseconds. */
  age_ms: number;
  /** Newer snapshots that were passed over, oldest first: they are incomplete, or from the future. Empty where one was named. */
  newer: string[];
  files: number;
  bytes: number;
  /** What could not be given back, a line each: rsync's message, or its itemized difference and the path. Not all of many. */
  notGivenBack: string[];
  /** Of all of them. */
  notGivenBackCount: number;
}

/** What a restore has given back. */
export interface RestoreResult extends RestorePlan {
  /** Whether the contents were compared with the snapshot's manifest; false where it has none yet. */
  checked: boolean;
  /**
   * Files that are not as they were when they were backed up: they are given back as they are in the store. At most
   * DAMAGED_SHOWN of them.
   */
  damaged: Checked['damaged'];
  damagedCount: number;
}

/** How far a restore is. */
export interface RestoreProgress {
  bytes: number;
  /** Of all bytes; what is there already counts. */
  percent: number;
  /** Files whose content was written. */
  files: number;
}

/** The mode changes of a large tree take long, and end by Ctrl-C. */
const RESTORE_TIMEOUT_MS = 14 * 86_400_000; // within what setTimeout can hold
/** Characters of rsync's --stats. */
const STATS_LIMIT = 65_536;

/** Lines for a person: the first of them are kept, and all are counted. */
class Lines {
  static readonly #LIMIT = 10_000;
  /** Characters. */
  static readonly #TEXT_LIMIT = 2 * 1024 * 1024;
  readonly #kept = new Set<string>();
  #length = 0;
  count = 0;

  /** One that is there already is not taken again. */
  add(line: string): void {
    if (this.#kept.has(line)) return;
    this.count += 1;
    if (this.#kept.size >= Lines.#LIMIT || this.#length + line.length > Lines.#TEXT_LIMIT) return;
    this.#kept.add(line);
    this.#length += line.length;
  }

  get kept(): string[] {
    return [...this.#kept];
  }
}

/** In the place of a host's name: the remote shell is env(1), which takes it for a variable and starts rsync. */
const OTHER_SIDE = 'dialback=restore:';

/** What root's rsync may reach, where the launcher is installed: it changes files below `to`, and reads `tree`. */
interface Place {
  to: string;
  tree: string;
}

/** By names without links. Below the store there may be none: they would be the account's that owns it. */
function placeOf({ to, store }: RestoreOptions, { tree }: Snapshot): Place {
  return { to: realPath(to), tree: `${realPath(store)}${tree.slice(store.length)}` };
}

/** How a fake-super tree is read, and real files written. */
function restoreArguments(isRootUser: boolean): string[] {
  return [
    '-aHAXS',
    '--numeric-ids',
    '--fake-super', // the sending side: owners, modes and devices out of the xattrs
    isRootUser ? '-M--super' : '-M--no-super',
    // A client's setuid program would run as the account that restores it.
    ...(isRootUser ? [] : ['--chmod=Fu-s,Fg-s']),
    // Never -M with a local copy: before 3.3.0 rsync then writes to a path in freed memory, and exits 0.
    '-e',
    programPath('env'),
    `--rsync-path=${programPath('rsync')}`,
    '-s', // the names go over the protocol, and not on env's command line
    '--whole-file', // as a local copy
    '--relative',
    NANOSECONDS,
    '--stats',
    '--no-human-readable',
  ];
}

/** What is to be restored: the snapshot, and what of it; none: all. */
interface Selection {
  client: ClientStore;
  snapshot: Snapshot;
  /** As in RestorePlan. */
  newer: string[];
  /** Below its tree, without a slash in front; empty: all that the tree has. */
  paths: Buffer[];
  /** DIR stands for the client's `/`, and gets its attributes. */
  isWholeMachine: boolean;
}

function select(options: RestoreOptions): Selection {
  openStore(options.store);
  const client = openClient(options.store, options.client);
  const snapshot = findSnapshot(client, options.snapshot);
  const isWholeMachine = options.paths.length === 0 && snapshot.record.scope.roots.includes('/');
  const paths = options.paths.map(path => pathInside(snapshot, path, `restore "${escapeText(path)}"`));
  const newer =
    options.snapshot === 'latest' ? snapshotNames(client).filter(name => name > snapshot.name) : [];
  return {
    client,
    snapshot,
    newer,
    paths: paths.some(path => path.length === 0) ? [] : paths,
    isWholeMachine,
  };
}

function describeSnapshot({
  snapshot,
  newer,
}: Selection): Pick<RestorePlan, 'snapshot' | 'state' | 'age_ms' | 'newer'> {
  const made = snapshotTime(snapshot.name) ?? now();
  return {
    snapshot: snapshot.name,
    state: snapshot.record.state,
    age_ms: now().getTime() - made.getTime(),
    newer,
  };
}

/**
 * Restores, and finds out what could not be given back.
 * @param signal ends it in good order
 * @param tell is told how far it is, where somebody wants to know
 */
export async function restore(
  options: RestoreOptions,
  signal: AbortSignal,
  tell?: (progress: RestoreProgress) => void,
): Promise<RestoreResult> {
  const selection = select(options);
  const { client, snapshot } = selection;
  const account = ownAccount();
  const isRootUser = account.uid === 0;
  const target: TargetOptions = { ...options, account };
  if (checkTarget(target) === 'filled') await requireSafeMerge(selection, options.to, signal);
  const isEmpty = prepareTarget(target);

  // Private, and no part of what rsync writes: it would give the top the attributes of the client's `/` at once.
  const stage = makeUniqueFolder(`${options.to}/.dialback-restore-`);
  const staged = `${stage}/tree`;
  const lines = new Lines();
  const isHeld = isRootUser && hasLauncher();
  const place = isHeld ? placeOf(options, snapshot) : undefined;
  const telling = { signal, lines, place };
  const tried = `restore to "${escapeText(options.to)}"`;
  let given: Copied;
  let checked: Checked;
  try {
    given = await copySelected(restoreArguments(isRootUser), selection, `${staged}/`, { ...telling, tell });
    if (!isDone(given)) throw rsyncFault(tried, given);
    await requireArrived(selection, staged, { ...telling, tried, isStrict: given.status === 0 });
    // Before anything is moved: what has become of it later is not the store's fault.
    checked = await checkRestored(client, snapshot, { staged, paths: selection.paths }, signal);
    if (checked.found !== undefined)
      lines.add(`the manifest of ${snapshot.name} cannot be trusted: ${checked.found}`);
    await moveIntoPlace(staged, options.to, isEmpty, telling);
  } finally {
    // Before DIR gets the attributes of the client's `/`: with these it can belong to another user.
    await removeStage(stage, isRootUser);
  }
  if (selection.isWholeMachine) await applyTop(snapshot, options.to, isRootUser, telling);
  if (!isRootUser) await findDifferences(selection, options.to, telling);
  const output = given.stdout;
  return {
    ...describeSnapshot(selection),
    files:
      Number(/^Number of files: (\d+)/m.exec(output)?.[1] ?? 0) -
      Number(/^Number of files:.*\bdir: (\d+)/m.exec(output)?.[1] ?? 0),
    bytes: Number(/^Total file size: (\d+)/m.exec(output)?.[1] ?? 0),
    notGivenBack: lines.kept,
    notGivenBackCount: lines.count,
    checked: checked.isChecked,
    damaged: checked.damaged,
    damagedCount: checked.count,
  };
}

/** A name that a restore would write. */
export interface Planned {
  /** As on the client, without a slash in front; empty: DIR itself. */
  path: Buffer;
  type: TreeEntry['type'];
  /** Something of that name is below DIR already, and is no folder like this one. */
  isReplacing: boolean;
}

/**
 * What `restore` would do, and nothing of it: DIR is not made either. What could not be given back is told by what is
 * stored and who runs this, in words, and not by rsync's letters.
 * @param take is told of each name that would be written, parents first
 */
export async function planRestore(
  options: RestoreOptions,
  signal: AbortSignal,
  take: (planned: Planned) => void,
): Promise<RestorePlan> {
  const selection = select(options);
  const { snapshot } = selection;
  if (checkTarget({ ...options, account: ownAccount() }) === 'filled')
    await requireSafeMerge(selection, options.to, signal);
  const giver = ownAccount().uid === 0 ? undefined : { uid: ownAccount().uid, groups: ownGroups() };
  const result = { ...describeSnapshot(selection), files: 0, bytes: 0 };
  const lines = new Lines();
  for (const pass of passesOf(selection)) {
    for await (const entry of readTree(snapshot.tree, { ...pass, signal })) {
      const { path, type, size } = entry;
      if (path.length === 0 && !selection.isWholeMachine) continue;
      if (type !== 'folder') result.files += 1;
      if (type === 'file' || type === 'symlink') result.bytes += size;
      const lacks = giver === undefined ? [] : lackingIn(entry, giver);
      if (lacks.length > 0) lines.add(`/${showName(jsonName(path))}: ${lacks.join(', ')}`);
      take({ path, type, isReplacing: isInTheWay(options.to, entry) });
    }
  }
  return { ...result, notGivenBack: lines.kept, notGivenBackCount: lines.count };
}

/**
 * What an ordinary account cannot give back of an entry: rsync leaves it as it comes out, or out.
 * @param giver who restores, with all groups that files may be given to
 */
export function lackingIn(entry: TreeEntry, giver: { uid: number; groups: number[] }): string[] {
  if (entry.device) return [`a ${entry.type}`];
  const names = entry.xattrs
    .map(each => jsonName(each.name))
    .filter(each => !showName(each).startsWith('user.'));
  return [
    ...(entry.uid === giver.uid ? [] : [`its owner ${entry.uid}`]),
    ...(giver.groups.includes(entry.gid) ? [] : [`its group ${entry.gid}`]),
    ...(entry.type === 'file' && (entry.mode & SETUID_OR_SETGID) !== 0 ? ['its setuid and setgid bits'] : []),
    ...names.map(showName),
  ];
}

const SETUID_OR_SETGID = 0o6000;

/** What of a tree is selected, as `listTree` takes it: the folders above the paths, then the paths with all below them. */
function passesOf({ paths }: Selection): Pick<TreeOptions, 'paths' | 'depth'>[] {
  const parents = paths.flatMap(parentsOf).filter(parent => !paths.some(path => covers(path, parent)));
  return [...(parents.length > 0 ? [{ paths: parents, depth: 0 }] : []), paths.length > 0 ? { paths } : {}];
}

/** The folders above a path, the top excepted, outermost first. */
function parentsOf(path: Buffer): Buffer[] {
  const parents: Buffer[] = [];
  for (let end = path.indexOf('/'); end >= 0; end = path.indexOf('/', end + 1))
    parents.push(path.subarray(0, end));
  return parents;
}

function isInTheWay(to: string, { path, type }: TreeEntry): boolean {
  try {
    return !(linkStatus(beneath(to, path)).isDirectory() && type === 'folder');
  } catch {
    return false;
  }
}

const NOT_WHOLE = 'update rsync, or restore to another file system';

/** What is missing after rsync has ended: a failure where rsync has not said so. */
class Lacking {
  readonly #tried: string;
  readonly #isStrict: boolean;
  readonly #lines: Lines;
  #first: string | undefined;
  #count = 0;

  /** @param isStrict whether rsync says that all is well */
  constructor(tried: string, isStrict: boolean, lines: Lines) {
    this.#tried = tried;
    this.#isStrict = isStrict;
    this.#lines = lines;
  }

  /** @param path below the tree */
  add(path: Buffer): void {
    const name = `/${showName(jsonName(path))}`;
    this.#first ??= name;
    this.#count += 1;
    if (!this.#isStrict) this.#lines.add(`${name}: missing`);
  }

  /** @throws Fault that names the first one */
  end(): void {
    if (!this.#isStrict || this.#first === undefined) return;
    const more = this.#count > 1 ? ` and ${this.#count - 1} more are` : ' is';
    const found = `rsync reported success, and "${this.#first}"${more} missing or not whole`;
    throw new Fault({ tried: this.#tried, found, next: NOT_WHOLE });
  }
}

/**
 * Compares what has arrived with what was selected: rsync's exit status does not prove that it wrote anything, or where.
 * @param telling isStrict: whether rsync says that all is well
 */
async function requireArrived(
  selection: Selection,
  staged: string,
  { tried, isStrict, signal, lines }: Telling & { tried: string; isStrict: boolean },
): Promise<void> {
  const { tree } = selection.snapshot;
  if (!exists(staged))
    throw new Fault({
      tried,
      found: 'rsync has written nothing into the folder that it was given',
      next: NOT_WHOLE,
    });
  const lacks = new Lacking(tried, isStrict, lines);
  async function* absent(pass: TreeOptions): AsyncGenerator<StoredEntry> {
    for await (const entry of listTree(tree, pass))
      if (!isThere(beneath(staged, entry.path), entry)) yield entry;
  }
  const isRootUser = ownAccount().uid === 0;
  for (const pass of passesOf(selection))
    for await (const batch of inBatches(
      absent({ ...pass, complain: isStrict ? undefined : () => {}, signal }),
    )) {
      // An ordinary account gets no devices. findDifferences() lists them.
      const entries = isRootUser ? batch : await readAttributes(tree, batch, signal);
      for (const each of entries) if (!('device' in each && each.device)) lacks.add(each.path);
    }
  lacks.end();
}

/** Whether a path has what the entry is: a folder, or no folder; and a file of that size. */
function isThere(path: Buffer, { isFolder, size }: StoredEntry): boolean {
  try {
    const found = linkStatus(path);
    return found.isDirectory() === isFolder && (!found.isFile() || found.size === size);
  } catch (error) {
    return failedWith(error, 'EACCES'); // an ordinary account may not look into what it has just got
  }
}

/**
 * Refuses to let root's rsync write through folders that another account controls, where rsync follows a link that this
 * account puts into the place of one of them meanwhile. From 3.5.0 on it does not, unless `--insecure-links` says so: an rsync
 * that knows this option is one of these.
 * @throws Fault that names the first such folder
 */
async function requireSafeMerge(selection: Selection, to: string, signal: AbortSignal): Promise<void> {
  if (ownAccount().uid !== 0 || (await rsyncKnows('--insecure-links'))) return;
  for (const pass of passesOf(selection))
    for await (const { path, type, uid, gid, mode } of readTree(selection.snapshot.tree, {
      ...pass,
      signal,
    })) {
      if (type !== 'folder' || path.length === 0) continue;
      const place = beneath(to, path);
      const name = escapeText(`${to}/${showName(jsonName(path))}`);
      const isFolder = exists(place) && linkStatus(place).isDirectory();
      const breach =
        (isFolder ? breachOf(name, linkStatus(place), 0, false) : undefined) ??
        breachOf(name, { uid, gid, mode }, 0, false);
      if (breach === undefined) continue;
      throw new Fault({
        tried: `restore to "${escapeText(to)}"`,
        found: `${breach.found}, now or in the snapshot, and this rsync would follow a link that is put there`,
        next: 'restore into an empty folder and copy from there as that user, or install rsync 3.5.0 or later',
        exit: 'usage',
      });
    }
}

/** How rsync ended, and what it said. */
interface Copied extends Ending {
  /** What no `take` took, without the lines that tell how far it is. */
  stdout: string;
  /** The first line of its standard error. */
  found: string | undefined;
  isFull: boolean;
}

/** Where what could not be given back is told. */
interface Telling {
  signal: AbortSignal;
  lines: Lines;
  place: Place | undefined;
}

/** Who is told what of an rsync that runs; of what it could not do, `lines`. */
interface Listeners extends Telling {
  /** Of each line of its standard output. */
  take?: (line: string) => void;
  tell?: ((progress: RestoreProgress) => void) | undefined;
}

/** Whether rsync did what it could: all of it, or all but what it complained of (23). */
function isDone(result: Copied): boolean {
  return result.status === 0 || result.status === RSYNC_EXIT.partial;
}

/**
 * An ordinary user cannot remove what lies in a folder that was restored without the right to write. Only folders get that
 * right here: files of the stage can be links to what is in place already.
 */
async function removeStage(stage: string, isRootUser: boolean): Promise<void> {
  // -execdir: from the folder that it is in, however long its path is.
  const find = [stage, '-type', 'd', '!', '-perm', '-700', '-execdir', 'chmod', 'u+rwx', '{}', ';'];
  if (!isRootUser) await run(standard('find', find), { timeoutMs: RESTORE_TIMEOUT_MS });
  removeAll(stage);
}

/**
 * rsync from what is selected: everything behind `/./` is made anew below `to`. The paths are arguments, since with
 * --files-from rsync 3.5.0 gets a fake-super tree's xattrs mixed up, and ends with 2 ("internal abbrev error").
 */
async function copySelected(
  args: string[],
  { snapshot, paths }: Selection,
  to: string,
  listeners: Listeners,
): Promise<Copied> {
  const sources = paths.length === 0 ? [Buffer.alloc(0)] : paths;
  const words = sources.map(path => Buffer.concat([Buffer.from(`${snapshot.tree}/./`), path]));
  return await runRsync([...args, '--', ...words.map(asWord), `${OTHER_SIDE}${to}`], listeners);
}

/** A string where nothing is lost by it. */
function asWord(bytes: Buffer): string | Buffer {
  const text = bytes.toString('utf8');
  return Buffer.from(text, 'utf8').equals(bytes) ? text : bytes;
}

/** Names on standard input: they need not be UTF-8. One that begins with `#` or `;` is no comment of rsync's. */
function asFileList(names: Buffer[]): Buffer {
  return Buffer.concat(names.flatMap(name => [Buffer.from('/'), name, Buffer.from([0])]));
}

/** Into an empty folder by renames; into one that is not by rsync, which links what it would copy. */
async function moveIntoPlace(staged: string, to: string, isEmpty: boolean, telling: Telling): Promise<void> {
  const names = list(staged, { encoding: 'buffer' });
  if (isEmpty) {
    for (const name of names) moveEntry(beneath(staged, name), beneath(to, name));
    return;
  }
  // The top, DIR's own, is not among the names.
  const args = ['-aHAXS', '--recursive', '--numeric-ids', '--relative', NANOSECONDS, `--link-dest=${staged}`];
  const result = await runRsync([...args, '--from0', '--files-from=-', '--', `${staged}/`, `${to}/`], {
    ...telling,
    input: asFileList(names),
  });
  const tried = `put what was restored into "${escapeText(to)}"`;
  if (!isDone(result)) throw rsyncFault(tried, result);
  const isStrict = result.status === 0;
  const { signal, lines } = telling;
  const lacks = new Lacking(tried, isStrict, lines);
  for await (const { path } of listTree(staged, { complain: isStrict ? undefined : () => {}, signal })) {
    const state = await stateInPlace(beneath(to, path), beneath(staged, path), signal);
    if (state === 'missing') lacks.add(path);
    // No failure: in a folder that is in use another process may have replaced it since.
    if (state === 'other') lines.add(`/${showName(jsonName(path))}: its content is not what was restored`);
  }
  lacks.end();
}

/** Whether a path has what was staged: a link to it, or the same type and, of a file, the same content. */
async function stateInPlace(
  path: Buffer,
  staged: Buffer,
  signal: AbortSignal,
): Promise<'same' | 'missing' | 'other'> {
  try {
    const [found, wanted] = [linkStatus(path), linkStatus(staged)];
    if (typeBits(found.mode) !== typeBits(wanted.mode)) return 'missing';
    if (!wanted.isFile() || (found.ino === wanted.ino && found.dev === wanted.dev)) return 'same';
    return (await sameContent(path, staged, signal)) ? 'same' : 'other';
  } catch (error) {
    signal.throwIfAborted();
    // An ordinary account may not look into, or read, what it has just got without that right.
    if (failedWith(error, 'EACCES')) return 'same';
    if (failedWith(error, 'ENOENT') || failedWith(error, 'ENOTDIR')) return 'missing';
    return 'other'; // it cannot be read: that one is named
  }
}

function typeBits(mode: number): number {
  return mode & openFlags.S_IFMT;
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

/** The client's `/`, as it was. */
async function readTop({ tree }: Snapshot, signal: AbortSignal): Promise<TreeEntry | undefined> {
  for await (const entry of readTree(tree, { depth: 0, signal })) return entry;
  return undefined;
}

/** Gives DIR itself the attributes of the client's `/`. */
async function applyTop(
  snapshot: Snapshot,
  to: string,
  isRootUser: boolean,
  telling: Telling,
): Promise<void> {
  const args = restoreArguments(isRootUser).filter(each => each !== '--relative' && each !== '--stats');
  const words = ['--exclude=/*', '--', `${snapshot.tree}/`, `${OTHER_SIDE}${to}/`];
  const result = await runRsync([...args, ...words], telling);
  if (!isDone(result)) throw rsyncFault(`give "${to}" its attributes`, result);
  const top = await readTop(snapshot, telling.signal);
  const found = linkStatus(to);
  const isGiven = found.uid === top?.uid && found.gid === top.gid && (found.mode & 0o7777) === top.mode;
  if (isRootUser && !isGiven) telling.lines.add('/: it has not got its owner, group and mode');
}

/**
 * What differs from the snapshot, by rsync's dry run: without root rsync does not even try what it may not, and says
 * nothing of it. (For root it is of no use: it takes a file with a capability and other xattrs for different, as a
 * fake-super tree lists them in another order. Measured, rsync 3.5.0.)
 */
async function findDifferences(selection: Selection, to: string, telling: Telling): Promise<void> {
  const args = ['-n', '-i', ...restoreArguments(true).filter(each => each !== '--stats')];
  const result = await copySelected(args, selection, `${to}/`, {
    ...telling,
    take: line => {
      if (/^[<>ch.*][fdLDS]/.test(line) && !/ \.\/$/.test(line)) telling.lines.add(line);
    },
  });
  if (!isDone(result)) throw rsyncFault('compare what was restored', result);
}

const LINE_LIMIT = 65_536;

/**
 * Runs rsync, and tells what it says; of that, little is kept.
 * @param args bytes where an argument is no UTF-8: then xargs(1) gives them, since node can give only strings
 * @throws the signal's reason
 */
async function runRsync(
  args: (string | Buffer)[],
  { signal, lines, place, input, take, tell }: Listeners & { input?: Buffer },
): Promise<Copied> {
  signal.throwIfAborted();
  // All names before the first is copied: else the percents are of what it knows so far.
  const more = tell === undefined ? [] : ['--info=progress2', '--no-inc-recursive'];
  const words = [...more, ...args];
  const plain = words.filter(word => typeof word === 'string');
  const isPlain = plain.length === words.length;
  const given = isPlain
    ? input
    : Buffer.concat(words.flatMap(word => [Buffer.from(word as string), Buffer.from([0])]));
  const rsync = place ? launcherCommand(['place', place.to, place.tree, '--']) : standard('rsync', []);
  const command = isPlain
    ? { ...rsync, args: [...rsync.args, ...plain] }
    : standard('xargs', ['-0', '-x', '-n', String(words.length), rsync.program, ...rsync.args]);
  const child = await start(command, [given ? 'pipe' : 'nothing', 'pipe', 'pipe']);
  const abort = (): void => void child.end();
  if (signal.aborted) abort();
  signal.addEventListener('abort', abort, { once: true });
  const copied: Copied = { status: null, signal: null, stdout: '', found: undefined, isFull: false };
  eachLine(child.stdout, LINE_LIMIT, line => {
    const progress = tell === undefined ? undefined : readProgress(line);
    if (progress) tell?.(progress);
    else if (take) take(line);
    else if (copied.stdout.length < STATS_LIMIT) copied.stdout += `${line}\n`;
  });
  let code: string | undefined;
  eachLine(child.stderr, LINE_LIMIT, line => {
    if (line === '') return;
    copied.found ??= line;
    if (/No space left on device|Disk quota exceeded/.test(line)) copied.isFull = true;
    code ??= /^rsync error: .* \(code (\d+)\) at /.exec(line)?.[1];
    if (!line.startsWith('rsync error: ')) lines.add(line);
  });
  if (given) child.stdin?.end(given);
  Object.assign(copied, await child.ended);
  // xargs has one status for all that rsync can end with; rsync itself says which it was.
  if (!isPlain && copied.status !== 0 && code !== undefined) copied.status = Number(code);
  signal.removeEventListener('abort', abort);
  signal.throwIfAborted();
  return copied;
}

/** A line of rsync's --info=progress2. */
function readProgress(line: string): RestoreProgress | undefined {
  const found = /^\s*(\d+)\s+(\d{1,3})%\s+\S+\s+\S+(?:\s+\(xfr#(\d+),.*\))?\s*$/.exec(line);
  if (!found) return undefined;
  return { bytes: Number(found[1]), percent: Number(found[2]), files: Number(found[3] ?? 0) };
}

function rsyncFault(tried: string, { status, found, isFull }: Copied): Fault {
  return new Fault({
    tried,
    found: escapeText(found ?? `rsync ended with status ${status}`),
    ...(isFull ? ({ exit: 'noSpace' } as const) : {}),
  });
}
