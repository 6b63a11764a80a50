/**
 * `dialback diff`: lists the paths that differ between two snapshots.
 *
 * Two names of the same inode are equal in everything, because a run links unchanged files. They are not read. For
 * other pairs, all attributes are compared, and the bytes if the sizes are equal. So the result is exact even if a
 * time was set back.
 */

import { Fault } from '../fault.ts';
import { sameContent } from '../os/content.ts';
import { fileFault, statusExact } from '../os/files.ts';
import { escapeText, jsonName, showName } from '../wire/text.ts';
import type { TreeEntry, Xattr } from './fake-super.ts';
import type { StoredEntry } from './find-records.ts';
import { type Pair, pairSorted } from './pairs.ts';
import { openSnapshot, type Snapshot } from './snapshot.ts';
import type { Complain } from './sorted-find.ts';
import { inBatches, listTree, readAttributes } from './stored-tree.ts';
import { isInside, joinPath, parsePath } from './tree-path.ts';

interface DiffOptions {
  store: string;
  client: string;
  /** As findSnapshot takes them. */
  before: string;
  after: string;
  /** Absolute, as on the client. If empty, all. Each must exist in one of the two. */
  paths: string[];
  /** Only differences behind this path, which is below the tree; if left out, all. */
  behind?: Buffer | undefined;
}

/** The attributes that can differ. If the type differs, the others are not reported. */
type Aspect = 'type' | 'content' | 'target' | 'device' | 'mode' | 'owner' | 'time' | 'acl' | 'xattrs';

/** A path that differs between the two. */
export interface Difference {
  path: Buffer;
  change: 'added' | 'removed' | 'changed';
  /** Which attributes differ, for a path that exists in both. */
  what: Aspect[];
  before: TreeEntry | null;
  after: TreeEntry | null;
}

/** A path with its stored entry in the tree before and in the tree after. */
type StoredPair = Pair<StoredEntry, StoredEntry>;

/** Pairs whose attributes are read at once. */
const BATCH = 125;

/**
 * Compares two snapshots.
 * @param complain receives a text for each entry that cannot be read; if left out, such an entry is a Fault
 * @returns the differences, sorted by the bytes of the paths
 * @throws Fault before the first difference when a snapshot or a PATH is wrong
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
  const { behind } = options;
  const comparison = { before: before.tree, after: after.tree, signal, complain };
  // Inode numbers can be compared only within one file system.
  const areLinked = statusExact(before.tree).dev === statusExact(after.tree).dev;
  // If `/` itself was not backed up, the top of the tree is only a container.
  const hasTop = [before, after].every(each => each.record.scope.roots.includes('/'));
  const isDifferent = ({ one, other }: StoredPair): boolean => {
    if (!hasTop && one?.path.length === 0) return false;
    if (behind !== undefined && !isBehind({ one, other }, behind)) return false;
    return !areLinked || one === undefined || one.inode !== other?.inode;
  };
  const all = pairSorted(side(before, 0), side(after, 1), (one, other) =>
    Buffer.compare(one.path, other.path),
  );
  for await (const batch of inBatches(filtered(all, isDifferent), BATCH))
    yield* compareBatch(comparison, batch);
}

function isBehind({ one, other }: StoredPair, limit: Buffer): boolean {
  const path = (one ?? other)?.path;
  return path !== undefined && Buffer.compare(path, limit) > 0;
}

async function* nothing(): AsyncGenerator<StoredEntry> {}

async function* filtered<T>(all: AsyncIterable<T>, isWanted: (each: T) => boolean): AsyncGenerator<T> {
  for await (const each of all) if (isWanted(each)) yield each;
}

/** The two trees, and the receiver of texts about unreadable entries. */
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

/** Compares all attributes; not the content. */
function compareEntries(before: TreeEntry, after: TreeEntry): Aspect[] {
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
