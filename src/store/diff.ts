/**
 * `dialback diff`: what differs between two snapshots, each path once.
 *
 * Two names of the same inode are the same in everything, since a run links what did not change; they are not read. Of
 * others every attribute is compared, and the bytes where the sizes are the same: exact also where a time was set back.
 */

import { Fault } from '../fault.ts';
import { fileFault, sameContent, statusExact } from '../os/files.ts';
import { escapeText, jsonName, showName } from '../wire/text.ts';
import type { TreeEntry, Xattr } from './fake-super.ts';
import type { StoredEntry } from './find-records.ts';
import { type Pair, pairSorted } from './pairs.ts';
import { openSnapshot, type Snapshot } from './snapshot.ts';
import type { Complain } from './sorted-find.ts';
import { inBatches, listTree, readAttributes } from './stored-tree.ts';
import { isInside, joinPath, parsePath } from './tree-path.ts';

export interface DiffOptions {
  store: string;
  client: string;
  /** As findSnapshot takes them. */
  before: string;
  after: string;
  /** Absolute, as on the client; none: all. Each must be in one of the two. */
  paths: string[];
}

/** What of an entry differs; where its type does, nothing else is said. */
export type Aspect = 'type' | 'content' | 'target' | 'device' | 'mode' | 'owner' | 'time' | 'acl' | 'xattrs';

/** One path that is not the same in both. */
export interface Difference {
  path: Buffer;
  change: 'added' | 'removed' | 'changed';
  /** Of what is in both. */
  what: Aspect[];
  before: TreeEntry | null;
  after: TreeEntry | null;
}

/** A path with what the tree before and the tree after store there. */
type StoredPair = Pair<StoredEntry, StoredEntry>;

/** Pairs whose attributes are read at once. */
const BATCH = 125;

/**
 * The differences, sorted by the paths' bytes.
 * @param complain is told of what cannot be read; left out: that is a Fault
 * @throws Fault before the first where a snapshot or a PATH is wrong
 */
export async function* compareSnapshots(
  options: DiffOptions,
  signal: AbortSignal,
  complain?: Complain,
): AsyncGenerator<Difference> {
  const [before, after] = [options.before, options.after].map(
    snapshot => openSnapshot({ ...options, snapshot }).snapshot,
  ) as [Snapshot, Snapshot];
  const paths = options.paths.map(path => {
    const tried = `compare "${escapeText(path)}"`;
    const inside = parsePath(path, tried);
    const isThere = [before, after].map(each => isInside(each, inside, tried));
    if (isThere.includes(true)) return { inside, isThere };
    throw new Fault({ tried, found: `neither ${before.name} nor ${after.name} has it` });
  });
  const side = (snapshot: Snapshot, index: number): AsyncIterable<StoredEntry> => {
    if (paths.length === 0) return listTree(snapshot.tree, { signal, complain });
    const there = paths.filter(each => each.isThere[index]).map(each => each.inside);
    return there.length === 0 ? nothing() : listTree(snapshot.tree, { paths: there, signal, complain });
  };
  const comparison = { before: before.tree, after: after.tree, signal, complain };
  // Across file systems an inode's number says nothing.
  const areLinked = statusExact(before.tree).dev === statusExact(after.tree).dev;
  // Where `/` itself was not backed up, the tree's top is only the folder that it lies in.
  const hasTop = [before, after].every(each => each.record.scope.roots.includes('/'));
  const isDifferent = ({ one, other }: StoredPair): boolean => {
    if (!hasTop && one?.path.length === 0) return false;
    return !areLinked || one === undefined || one.inode !== other?.inode;
  };
  const all = pairSorted(side(before, 0), side(after, 1), (one, other) =>
    Buffer.compare(one.path, other.path),
  );
  for await (const batch of inBatches(filtered(all, isDifferent), BATCH))
    yield* compareBatch(comparison, batch);
}

async function* nothing(): AsyncGenerator<StoredEntry> {}

async function* filtered<T>(all: AsyncIterable<T>, isWanted: (each: T) => boolean): AsyncGenerator<T> {
  for await (const each of all) if (isWanted(each)) yield each;
}

/** Two trees, and who is told of what cannot be read. */
interface Comparison {
  before: string;
  after: string;
  signal: AbortSignal;
  complain: Complain | undefined;
}

async function* compareBatch(comparison: Comparison, batch: StoredPair[]): AsyncGenerator<Difference> {
  const { before, after, signal, complain } = comparison;
  const there = (entry: StoredEntry | undefined): StoredEntry[] => (entry ? [entry] : []);
  const [olds, news] = await Promise.all([
    readAttributes(
      before,
      batch.flatMap(each => there(each.one)),
      signal,
      complain,
    ),
    readAttributes(
      after,
      batch.flatMap(each => there(each.other)),
      signal,
      complain,
    ),
  ]);
  for (const pair of batch) {
    const old = pair.one ? (olds.shift() ?? null) : null;
    const fresh = pair.other ? (news.shift() ?? null) : null;
    if (old && fresh) {
      const what = compareEntries(old, fresh);
      if (await hasOtherContent(old, fresh, comparison)) what.unshift('content');
      if (what.length > 0) yield { path: old.path, change: 'changed', what, before: old, after: fresh };
    } else if (fresh) yield { path: fresh.path, change: 'added', what: [], before: null, after: fresh };
    else if (old) yield { path: old.path, change: 'removed', what: [], before: old, after: null };
  }
}

/** Which attributes differ; content is not looked at. */
export function compareEntries(before: TreeEntry, after: TreeEntry): Aspect[] {
  if (before.type !== after.type) return ['type'];
  const differs: [Aspect, boolean][] = [
    ['target', !isSame(before.target, after.target)],
    ['device', before.device?.major !== after.device?.major || before.device?.minor !== after.device?.minor],
    ['mode', before.mode !== after.mode],
    ['owner', before.uid !== after.uid || before.gid !== after.gid],
    ['time', before.mtimeNs !== after.mtimeNs],
    ['acl', before.acl !== after.acl],
    ['xattrs', !haveSame(before.xattrs, after.xattrs)],
  ];
  return differs.filter(([, is]) => is).map(([aspect]) => aspect);
}

function isSame(one: Buffer | null, other: Buffer | null): boolean {
  return one === null || other === null ? one === other : one.equals(other);
}

/** Both are sorted. */
function haveSame(ones: Xattr[], others: Xattr[]): boolean {
  return (
    ones.length === others.length &&
    ones.every((one, index) => {
      const other = others[index];
      return other !== undefined && one.name.equals(other.name) && one.value.equals(other.value);
    })
  );
}

async function hasOtherContent(
  old: TreeEntry,
  fresh: TreeEntry,
  { before, after, signal, complain }: Comparison,
): Promise<boolean> {
  if (old.type !== 'file' || fresh.type !== 'file') return false;
  if (old.size !== fresh.size) return true;
  try {
    return !(await sameContent(joinPath(before, old.path), joinPath(after, old.path), signal));
  } catch (error) {
    signal.throwIfAborted();
    const tried = `compare "/${showName(jsonName(old.path))}"`;
    const fault = error instanceof Fault ? new Fault({ tried, found: error.found }) : fileFault(error, tried);
    if (complain === undefined) throw fault;
    complain(fault.message);
    return true;
  }
}
