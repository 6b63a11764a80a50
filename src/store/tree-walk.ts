/** Lists stored trees without other programs. Memory holds the names of the folders on the way to the current entry. */
import { setImmediate as breathe } from 'node:timers/promises';
import { Fault } from '../fault.ts';
import { monotonicMs } from '../os/clock.ts';
import { failedWith, fileFault, readFolder, statusExact, whatFailed } from '../os/files.ts';
import { escapeText, jsonName, showName } from '../wire/text.ts';
import type { ListedEntry } from './archive-list.ts';
import type { StoredEntry } from './find-records.ts';
import type { Complain } from './sorted-find.ts';
import { storedEntryOf } from './stored-entry.ts';
import type { TreeOptions } from './stored-tree.ts';
import { covers, joinPath } from './tree-path.ts';

/** The event loop serves others after this time. */
const BREATHE_MS = 15;
/** The entries of an archive. Each takes 8 bytes of memory. */
const MOST_IN_ARCHIVE = 5_000_000;
const SLASH = Buffer.from('/');

/** A part of a tree, and the tools to read it. */
interface Walk {
  tree: string;
  /** Levels below a start; Infinity for all. */
  depth: number;
  /** Whether `a/b` comes before `a b`, as in an archive; else the bytes of the whole paths decide. */
  isByFolder: boolean;
  complain: Complain | undefined;
  signal: AbortSignal;
  breathedMs: number;
}

/** An entry with its blocks of 512 bytes. */
type WalkedEntry = StoredEntry & { blocks: number };

/** An entry to come, or the content of a folder. */
interface Step {
  path: Buffer;
  /** Steps are in the order of the bytes of their keys. */
  key: Buffer;
  isContent: boolean;
  level: number;
}

/**
 * Lists a tree as `listTree` does.
 * @throws Fault when something cannot be read and there is no `complain`; the signal's reason
 */
export async function* walkTree(
  tree: string,
  { paths = [Buffer.alloc(0)], depth = Number.POSITIVE_INFINITY, complain, signal }: TreeOptions,
): AsyncGenerator<StoredEntry> {
  yield* walk({ tree, depth, isByFolder: false, complain, signal, breathedMs: monotonicMs() }, paths);
}

/** Starts that are below another one are listed with it. */
async function* walk(on: Walk, paths: readonly Buffer[]): AsyncGenerator<WalkedEntry> {
  const starts = paths.filter(
    (path, at) =>
      !paths.some((other, i) => i !== at && covers(other, path) && (!other.equals(path) || i < at)),
  );
  yield* follow(
    on,
    starts.map(path => entryStep(on, path, 0)),
  );
}

async function* follow(on: Walk, steps: Step[]): AsyncGenerator<WalkedEntry> {
  const waiting = steps.sort(orderOf).reverse();
  for (let step = waiting.pop(); step !== undefined; step = waiting.pop()) {
    await takeTurn(on);
    if (step.isContent) {
      yield* follow(on, contentOf(on, step));
      continue;
    }
    const entry = readEntry(on, step.path);
    if (entry === undefined) continue;
    yield entry;
    if (!entry.isFolder || step.level >= on.depth) continue;
    const content = contentStep(on, step);
    // Its entries can come later than the next names: "a.b" is before "a/c".
    let at = waiting.length;
    for (let next = waiting[at - 1]; next && orderOf(next, content) < 0; next = waiting[at - 1]) at -= 1;
    waiting.splice(at, 0, content);
  }
}

async function takeTurn(on: Walk): Promise<void> {
  on.signal.throwIfAborted();
  if (monotonicMs() - on.breathedMs < BREATHE_MS) return;
  await breathe();
  on.signal.throwIfAborted();
  on.breathedMs = monotonicMs();
}

function orderOf({ key: one }: Step, { key: other }: Step): number {
  return Buffer.compare(one, other);
}

function entryStep(on: Walk, path: Buffer, level: number): Step {
  return { path, key: keyOf(on, path), isContent: false, level };
}

/** A folder's content is where its path with a slash behind it is. The top of the tree comes first. */
function contentStep(on: Walk, { path, level }: Step): Step {
  const key = keyOf(on, path.length > 0 ? Buffer.concat([path, SLASH]) : path);
  return { path, key, isContent: true, level };
}

function keyOf({ isByFolder }: Walk, path: Buffer): Buffer {
  if (!isByFolder) return path;
  const key = Buffer.from(path);
  for (let at = key.indexOf(SLASH); at >= 0; at = key.indexOf(SLASH, at + 1)) key[at] = 0;
  return key;
}

function contentOf(on: Walk, { path, level }: Step): Step[] {
  try {
    const names = readFolder(joinPath(on.tree, path));
    const isTop = path.length === 0;
    return names.map(name => entryStep(on, isTop ? name : Buffer.concat([path, SLASH, name]), level + 1));
  } catch (error) {
    refuse(on, path, error);
    return [];
  }
}

function readEntry(on: Walk, path: Buffer): WalkedEntry | undefined {
  try {
    const status = statusExact(path.length === 0 ? on.tree : joinPath(on.tree, path));
    return { ...storedEntryOf(path, status), blocks: Number(status.blocks) };
  } catch (error) {
    refuse(on, path, error);
    return undefined;
  }
}

/** @throws Fault without `complain`, and when the whole tree is gone */
function refuse(on: Walk, path: Buffer, error: unknown): void {
  const tried = `read "/${showName(jsonName(path))}"`;
  if (on.complain === undefined || (path.length === 0 && failedWith(error, 'ENOENT')))
    throw fileFault(error, tried);
  on.complain(`"/${showName(jsonName(path))}": ${escapeText(whatFailed(error))}`);
}

/**
 * Lists a tree as `listForArchive` does. It goes through the tree twice: first for the inodes that have several names in the archive.
 * @throws Fault when there are too many entries; as `listForArchive`
 */
export async function* walkForArchive(
  tree: string,
  passes: readonly Pick<TreeOptions, 'paths' | 'depth'>[],
  { complain, signal }: { complain: Complain; signal: AbortSignal },
): AsyncGenerator<ListedEntry> {
  const shared = await findShared(walkPasses({ tree, complain: () => {}, signal }, passes));
  const firsts = new Map<bigint, Buffer>();
  for await (const entry of walkPasses({ tree, complain, signal }, passes)) {
    const first = firsts.get(entry.inode);
    if (!entry.isFolder && first === undefined && shared.has(entry.inode))
      firsts.set(entry.inode, entry.path);
    yield { ...entry, first: entry.isFolder ? undefined : first };
  }
}

/** The passes of a selection: folders above the paths, each by itself, and then the paths with everything below. */
async function* walkPasses(
  { tree, complain, signal }: { tree: string; complain: Complain; signal: AbortSignal },
  passes: readonly Pick<TreeOptions, 'paths' | 'depth'>[],
): AsyncGenerator<WalkedEntry> {
  const on = { tree, isByFolder: true, complain, signal, breathedMs: monotonicMs() };
  for (const { paths = [Buffer.alloc(0)], depth } of passes) {
    const isFlat = depth === 0;
    const walkOn = { ...on, depth: depth ?? Number.POSITIVE_INFINITY };
    if (!isFlat) yield* walk(walkOn, paths);
    else
      yield* follow(
        walkOn,
        unique(paths).map(path => entryStep(walkOn, path, 0)),
      );
  }
}

function unique(paths: readonly Buffer[]): Buffer[] {
  return [...new Map(paths.map(path => [path.toString('latin1'), path])).values()];
}

/** Finds the inodes that are there more than once, with 8 bytes for each entry. */
async function findShared(entries: AsyncIterable<WalkedEntry>): Promise<ReadonlySet<bigint>> {
  let inodes = new BigUint64Array(1024);
  let count = 0;
  for await (const { isFolder, links, inode } of entries) {
    if (isFolder || links < 2) continue;
    if (count === MOST_IN_ARCHIVE)
      throw new Fault({
        tried: 'write the archive',
        found: `it would have more than ${MOST_IN_ARCHIVE} files`,
        next: 'dialback export NAME@SNAPSHOT PATH',
      });
    if (count === inodes.length) {
      const larger = new BigUint64Array(2 * count);
      larger.set(inodes);
      inodes = larger;
    }
    inodes[count] = BigInt.asUintN(64, inode);
    count += 1;
  }
  const sorted = inodes.subarray(0, count).sort();
  const shared = new Set<bigint>();
  for (let at = 1; at < count; at += 1) if (sorted[at] === sorted[at - 1]) shared.add(sorted[at] ?? 0n);
  return shared;
}
