/**
 * `dialback adopt`: makes snapshots of existing trees, of rsnapshot or of a script with `rsync --link-dest`.
 *
 * Two processes share the work, since a tree often has files that only root may read, and root must leave no file in the
 * store. This one reads the tree: it plans, lists, and starts the rsync that sends, in the jail of `jail adopt`. As root it starts it
 * as the store's account, with the right to read every file and no other. Its child (receive-adopted.ts) is that account, without that right,
 * and writes the store. The foreign tree is only read.
 */
import { Fault } from '../fault.ts';
import { ownAccount } from '../os/account.ts';
import { now } from '../os/clock.ts';
import { ownExecutable } from '../os/executable.ts';
import { makePipePair } from '../os/fifo.ts';
import { close, fstat, makeFolder, open, openFlags, realPath, stat } from '../os/files.ts';
import { installStep } from '../os/install-steps.ts';
import { hasJail, jailCommand, jailPath, notConfined, readJailLine } from '../os/launcher.ts';
import { isWithin } from '../os/mounts.ts';
import { type Child, type Command, endingText, PLAIN_ENVIRONMENT, start } from '../os/process.ts';
import { programPath } from '../os/programs.ts';
import { eachLine } from '../os/records.ts';
import { writeNew } from '../os/replace.ts';
import { defaultStateFolder, makeRunFolder, prepareStateFolder } from '../os/runfolder.ts';
import { writeUnnamed } from '../os/scratch.ts';
import { compareTrees, type TreeComparison } from '../store/adopt-compare.ts';
import {
  type AdoptPlan,
  type AdoptWishes,
  findConfig,
  type PlannedTree,
  planAdoption,
  requireNoRsnapshot,
} from '../store/adopt-plan.ts';
import { freeBytesQuietly } from '../store/free-space.ts';
import { snapshotNames } from '../store/snapshot.ts';
import { type ClientStore, openClient, openStore, requireOwner } from '../store/store.ts';
import {
  type AdoptCounts,
  type AdoptOrder,
  decodeAnswer,
  encodeOrder,
  RECEIVE_ADOPTED,
} from '../wire/adopt.ts';
import { STORE_FILE } from '../wire/local.ts';
import { daemonArguments, moduleConfig, NEEDED } from '../wire/rsync.ts';
import { escapeText, plainJson } from '../wire/text.ts';
import type { HostConfig } from './config.ts';

/** The options of `adopt`. */
export interface AdoptOptions extends AdoptWishes {
  config: HostConfig;
  client: string;
  /** Whether the tree holds owners in `user.rsync.%stat`, as rsync's --fake-super writes them. */
  isFakeSuper: boolean;
  /** Whether files of the tree itself may become a part of the snapshots. */
  mayLink: boolean;
  dryRun: boolean;
}

/** A tree and the result for it. */
export interface AdoptedTree extends PlannedTree {
  /** Its files, or null if it was not looked at: the store has the snapshot. */
  files: number | null;
  /** Bytes of the files that the older tree does not share; in a dry run the bytes to copy at most. */
  new_bytes: number | null;
  /** Files that were linked; null in a dry run. */
  linked: number | null;
}

/** The result. */
export interface AdoptResult {
  dry_run: boolean;
  client: string;
  trees: AdoptedTree[];
  /** Intervals that do not have the backup point. */
  skipped: string[];
}

/** A part of the progress. */
export interface AdoptProgress {
  tree: PlannedTree;
  /** The number of the tree among those to adopt, from 1 on. */
  number: number;
  count: number;
  step: 'listing' | 'copying' | 'checking';
}

/**
 * Makes snapshots of trees, oldest first, or says what would be made. Snapshots that exist are left as they are, so the same command
 * goes on after an interruption.
 * @param tell receives the progress
 * @throws Fault when something about the trees is not certain, or a tree could not be adopted; the signal's reason
 */
export async function adopt(
  options: AdoptOptions,
  signal: AbortSignal,
  tell: (progress: AdoptProgress) => void = () => {},
): Promise<AdoptResult> {
  const { store } = options.config;
  openStore(store, 'adopt …');
  if (ownAccount().uid !== 0) requireOwner(store, 'adopt');
  const client = openClient(store, options.client);
  const plan = planAdoption(client, options, now());
  requireApart(store, plan);
  requireNoRsnapshot(
    plan.trees.map(each => each.folder),
    options.rsnapshotConfig,
  );
  if (options.mayLink) requireLinkable(store, plan, options);
  if (!options.dryRun) requireJail(options.config);
  const result: AdoptResult = {
    dry_run: options.dryRun,
    client: client.name,
    trees: [],
    skipped: plan.skipped,
  };
  const wanted = plan.trees.filter(each => !each.isPresent);
  let older: PlannedTree | undefined;
  for (const tree of plan.trees) {
    const news = { tree, number: wanted.indexOf(tree) + 1, count: wanted.length };
    if (tree.isPresent) result.trees.push({ ...tree, files: null, new_bytes: null, linked: null });
    else {
      tell({ ...news, step: 'listing' });
      const compared = await compare(tree, older, signal);
      const done = options.dryRun
        ? { files: compared.files, new_bytes: compared.newBytes, linked: null }
        : await take(options, client, {
            tree,
            older,
            compared,
            signal,
            tell: step => tell({ ...news, step }),
          });
      result.trees.push({ ...tree, ...done });
    }
    older = tree;
  }
  return result;
}

/** Refuses a tree in the store, or one that has the store in it. */
function requireApart(store: string, { trees }: AdoptPlan): void {
  const own = realPath(store);
  const near = trees.find(({ source }) => isWithin(own, realPath(source)) || isWithin(realPath(source), own));
  if (near === undefined) return;
  throw new Fault({
    tried: `adopt "${escapeText(near.source)}"`,
    found: `the store "${store}" is in it, or it is in the store`,
    exit: 'refused',
  });
}

/** With --link, a snapshot shares files with the tree, so no program may write into the tree any more. */
function requireLinkable(store: string, { trees }: AdoptPlan, { rsnapshotConfig }: AdoptOptions): void {
  requireOwner(store, 'adopt');
  const active = trees.find(
    each => rsnapshotConfig === undefined && findConfig(each.folder, undefined) !== undefined,
  );
  if (active === undefined) return;
  throw new Fault({
    tried: `link the files of "${escapeText(active.folder)}"`,
    found:
      '/etc/rsnapshot.conf still names this tree, and rsnapshot can change files that it shares with a snapshot',
    next: 'move that config away, and name it with --rsnapshot-conf; or leave out --link, so that the files are copied',
    exit: 'refused',
  });
}

async function compare(
  tree: PlannedTree,
  older: PlannedTree | undefined,
  signal: AbortSignal,
): Promise<TreeComparison> {
  // Trees that hold different folders of the client have no file at the same path.
  const beside = older !== undefined && older.at === tree.at ? older.source : undefined;
  try {
    return await compareTrees(tree.source, beside, signal);
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof Fault) || ownAccount().uid === 0) throw error;
    throw new Fault({
      tried: error.tried,
      found: error.found,
      next: 'run it as root, which can read every tree',
      exit: error.exit,
    });
  }
}

interface Taking {
  tree: PlannedTree;
  /** The tree that was adopted before it. */
  older: PlannedTree | undefined;
  compared: TreeComparison;
  signal: AbortSignal;
  tell: (step: AdoptProgress['step']) => void;
}

async function take(options: AdoptOptions, client: ClientStore, taking: Taking): Promise<AdoptCounts> {
  const { tree, older, compared, signal, tell } = taking;
  const { config } = options;
  if (!options.mayLink) requireRoom(config.store, tree, compared);
  const basis = older !== undefined && older.at === tree.at ? older.snapshot : nearest(client, tree.snapshot);
  const order: AdoptOrder = {
    step: 'receive',
    store: config.store,
    client: client.name,
    snapshot: tree.snapshot,
    at: tree.at,
    roots: tree.roots,
    from: plainJson(tree.source).slice(1, -1),
    basis: basis ?? null,
    checksum: basis !== undefined && basis !== older?.snapshot,
    link: options.mayLink ? tree.source : null,
    confined: config.confined ?? hasJail(),
    senderConfined: ownerOf(config.store) !== undefined || (config.confined ?? hasJail()),
  };
  const top = open(tree.source, openFlags.O_RDONLY | openFlags.O_DIRECTORY | openFlags.O_NOFOLLOW);
  try {
    const before = identityOf(tree, top);
    tell('copying');
    await send(order, compared.doubtful, { top, isFakeSuper: options.isFakeSuper, signal });
    if (identityOf(tree, top) !== before)
      throw new Fault({
        tried: `adopt "${escapeText(tree.folder)}"`,
        found: 'it has changed, or was moved or removed, while it was read',
        next: 'keep the program that writes into the tree from running, and give the same command again',
      });
    tell('checking');
    return await command({ ...order, step: 'commit' }, signal);
  } finally {
    close(top);
  }
}

/** As root, rsync can read every file: it must have its jail. */
function requireJail({ store }: HostConfig): void {
  if (ownerOf(store) === undefined || hasJail()) return;
  throw new Fault({
    tried: 'start rsync with the right to read every file',
    found: `this needs the kernel's jail, and "${jailPath()}" does not exist`,
    next: `${installStep()}; or adopt as the account that owns the store, if it can read the tree`,
    code: 'config',
  });
}

/** A text that differs after the folder was replaced, moved away, or changed at its top. */
function identityOf({ folder, source }: PlannedTree, top: number): string {
  const facts = [folder, source].map(path => stat(path, { throwIfNoEntry: false }));
  const own = fstat(top);
  return [...facts, own].map(each => (each ? `${each.dev} ${each.ino} ${each.mtimeMs}` : 'gone')).join();
}

/** The snapshot whose files a tree may share, if no tree was adopted before it: the next older one, or the next newer one. */
function nearest(client: ClientStore, snapshot: string): string | undefined {
  const names = snapshotNames(client);
  return names.findLast(each => each < snapshot) ?? names.find(each => each > snapshot);
}

function requireRoom(store: string, tree: PlannedTree, { newBytes }: TreeComparison): void {
  const free = freeBytesQuietly(store);
  if (free === null || newBytes <= free) return;
  throw new Fault({
    tried: `adopt "${escapeText(tree.folder)}"`,
    found: `it needs up to ${newBytes} bytes in the store, and ${free} are free`,
    next: 'free space, or adopt fewer intervals',
    exit: 'noSpace',
  });
}

/** The store's account, as the account of a child; undefined if that is this account. */
function ownerOf(store: string): { uid: number; gid: number } | undefined {
  const { uid, gid } = stat(`${store}/${STORE_FILE}`);
  return uid === ownAccount().uid ? undefined : { uid, gid };
}

function childCommand({ store }: AdoptOrder): Command {
  const account = ownerOf(store);
  return {
    program: ownExecutable(),
    args: [RECEIVE_ADOPTED],
    environment: { ...PLAIN_ENVIRONMENT, HOME: '/' },
    deathSignal: 'TERM',
    ...(account ? { account } : {}),
  };
}

/** Runs a step that needs no connection. */
async function command(order: AdoptOrder, signal: AbortSignal): Promise<AdoptCounts> {
  await using held = new AsyncDisposableStack();
  const input = writeUnnamed(encodeOrder(order, []));
  const child = await start(childCommand(order), ['nothing', 'nothing', 'pipe', input]);
  held.defer(() => child.end(CHILD_GRACE_MS));
  close(input);
  return await answerOf(child, signal);
}

/** rsync gets 10 s to end. */
const CHILD_GRACE_MS = 15_000;
const LINE_LIMIT = 64 * 1024;
const LINES_KEPT = 10;

/** Waits for the end of a child, and reads its answer. @throws Fault of the child; the signal's reason */
async function answerOf(child: Child, signal: AbortSignal, lines: string[] = []): Promise<AdoptCounts> {
  let answer: AdoptCounts | Fault | undefined;
  eachLine(child.stderr, LINE_LIMIT, line => {
    const found = decodeAnswer(line);
    if (found !== undefined) answer ??= found;
    else if (line !== '' && lines.length < LINES_KEPT) lines.push(escapeText(line));
  });
  const abort = (): void => void child.end(CHILD_GRACE_MS);
  signal.addEventListener('abort', abort, { once: true });
  const ending = await child.ended;
  signal.removeEventListener('abort', abort);
  signal.throwIfAborted();
  if (answer instanceof Fault) {
    const more = lines.length > 0 ? ` | ${lines.join(' | ')}` : '';
    const { tried, found, next, exit } = answer;
    throw new Fault({ tried, found: `${found}${more}`, ...(next === undefined ? {} : { next }), exit });
  }
  if (answer !== undefined && ending.status === 0) return answer;
  throw new Fault({
    tried: 'write the store',
    found: [`the process that writes it ${endingText(ending)}`, ...lines].join(' | '),
  });
}

/** The exit status of `jail` when it refuses (REFUSED in src/launcher/die.h). */
const JAIL_REFUSED = 126;

const withoutLandlock = (): string =>
  'write `confined = false` into host.toml, and adopt as the account that owns the store, if it can read the tree';

/** The folder's descriptor in the sender (FOLDER in src/launcher/caller.h). */
const TOP_DESCRIPTOR = 3;

/** Has a child receive the content of a folder from an rsync that only reads. */
async function send(
  order: AdoptOrder,
  doubtful: readonly Buffer[],
  { top, isFakeSuper, signal }: { top: number; isFakeSuper: boolean; signal: AbortSignal },
): Promise<AdoptCounts> {
  await using held = new AsyncDisposableStack();
  const state = defaultStateFolder(ownAccount());
  prepareStateFolder(state);
  const folder = await makeRunFolder(held, state);
  const [there, back] = await makePipePair(`${folder}/there`, `${folder}/back`);
  const input = writeUnnamed(encodeOrder(order, doubtful));
  makeFolder(`${folder}/rsyncd`);
  writeNew(`${folder}/rsyncd/rsyncd.conf`, senderConfig(order, isFakeSuper));
  const ends = [there.reading, there.writing, back.reading, back.writing, input];
  const lines: string[] = [];
  try {
    const child = await start(childCommand(order), [there.reading, back.writing, 'pipe', input]);
    held.defer(() => child.end(CHILD_GRACE_MS));
    const sender = await start(senderCommand(order, folder), [back.reading, there.writing, 'pipe', top]);
    held.defer(() => sender.end(1000));
    eachLine(sender.stderr, LINE_LIMIT, line => {
      if (line !== '' && readJailLine(line) === undefined && lines.length < LINES_KEPT)
        lines.push(escapeText(line));
    });
    for (const each of ends.splice(0)) close(each);
    return await answerOf(child, signal, lines).catch(async (error: unknown) => {
      signal.throwIfAborted();
      await sender.end(CHILD_GRACE_MS);
      const { status } = await sender.ended;
      if (status !== JAIL_REFUSED) throw error;
      throw notConfined({ status, signal: null, stderr: lines.join('\n') }, withoutLandlock);
    });
  } finally {
    for (const each of ends) close(each);
  }
}

/** The sender knows its folder by a descriptor: rsnapshot may rename it, and its name may have any bytes. */
function senderConfig({ senderConfined }: AdoptOrder, isFakeSuper: boolean): string {
  return moduleConfig({
    path: `/proc/self/fd/${TOP_DESCRIPTOR}`,
    filter: '/dev/null',
    idleSeconds: 0, // the receiver is a process of ours
    confined: senderConfined,
    needed: [...NEEDED, 'checksum'],
    more: isFakeSuper ? ['fake super = yes'] : [],
  });
}

/** Without the jail the sender is this account's, which can read no more than this process. @param folder the run folder */
function senderCommand({ store, senderConfined }: AdoptOrder, folder: string): Command {
  if (!senderConfined)
    return {
      program: programPath('rsync'),
      args: daemonArguments(`${folder}/rsyncd/rsyncd.conf`, 0),
      environment: PLAIN_ENVIRONMENT,
    };
  const account = ownerOf(store);
  return { ...jailCommand(['adopt', folder]), ...(account ? { account, readsAll: true } : {}) };
}
