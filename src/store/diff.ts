/**
 * `dialback diff`: what differs between two snapshots, each path once.
 *
 * Two names of the same inode are the same in everything, since a run links what did not change; they are not read. Of
 * others every attribute is compared, and the bytes where the sizes are the same: exact also where a time was set back.
 */
import { Fault } from '../fault.ts';
import { sameContent } from '../os/content.ts';
import { fileFault, statusExact } from '../os/files.ts';
import { dropGarbage } from '../os/memory.ts';
import { escapeText, jsonName, showName } from '../wire/text.ts';
import { listTree, readAttributes, type StoredEntry, type TreeEntry, type Xattr } from './fake-super.ts';
import type { Complain } from './sorted-find.ts';
import { findSnapshot, isInside, openClient, openStore, parsePath, type Snapshot } from './store.ts';

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

/** A path with what the two trees store there. */
interface Pair {
  before: StoredEntry | undefined;
  after: StoredEntry | undefined;
}

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
  openStore(options.store);
  const client = openClient(options.store, options.client);
  const before = findSnapshot(client, options.before);
  const after = findSnapshot(client, options.after);
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
  let batch: Pair[] = [];
  for await (const pair of pairs(side(before, 0), side(after, 1))) {
    if (!hasTop && pair.before?.path.length === 0) continue;
    if (areLinked && pair.before !== undefined && pair.before.inode === pair.after?.inode) continue;
    batch.push(pair);
    if (batch.length < BATCH) continue;
    yield* compareBatch(comparison, batch);
    batch = [];
    dropGarbage();
  }
  yield* compareBatch(comparison, batch);
}

async function* nothing(): AsyncGenerator<StoredEntry> {}

/** Two sorted lists as one. */
async function* pairs(
  before: AsyncIterable<StoredEntry>,
  after: AsyncIterable<StoredEntry>,
): AsyncGenerator<Pair> {
  const [ones, others] = [before[Symbol.asyncIterator](), after[Symbol.asyncIterator]()];
  try {
    let [one, other] = await Promise.all([ones.next(), others.next()]);
    while (!one.done || !other.done) {
      const order =
        one.done ? 1
        : other.done ? -1
        : Buffer.compare(one.value.path, other.value.path); // biome-ignore format: a table
      yield {
        before: order <= 0 ? one.value : undefined,
        after: order >= 0 ? other.value : undefined,
      };
      if (order <= 0) one = await ones.next();
      if (order >= 0) other = await others.next();
    }
  } finally {
    await Promise.all([ones.return?.(), others.return?.()]);
  }
}

/** Two trees, and who is told of what cannot be read. */
interface Comparison {
  before: string;
  after: string;
  signal: AbortSignal;
  complain: Complain | undefined;
}

async function* compareBatch(comparison: Comparison, batch: Pair[]): AsyncGenerator<Difference> {
  const { before, after, signal, complain } = comparison;
  const there = (entry: StoredEntry | undefined): StoredEntry[] => (entry ? [entry] : []);
  const [olds, news] = await Promise.all([
    readAttributes(
      before,
      batch.flatMap(each => there(each.before)),
      signal,
      complain,
    ),
    readAttributes(
      after,
      batch.flatMap(each => there(each.after)),
      signal,
      complain,
    ),
  ]);
  for (const pair of batch) {
    const old = pair.before ? (olds.shift() ?? null) : null;
    const fresh = pair.after ? (news.shift() ?? null) : null;
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
  const at = (tree: string): Buffer => Buffer.concat([Buffer.from(`${tree}/`), old.path]);
  try {
    return !(await sameContent(at(before), at(after), signal));
  } catch (error) {
    signal.throwIfAborted();
    const tried = `compare "/${showName(jsonName(old.path))}"`;
    const fault = error instanceof Fault ? new Fault({ tried, found: error.found }) : fileFault(error, tried);
    if (complain === undefined) throw fault;
    complain(fault.message);
    return true;
  }
}
