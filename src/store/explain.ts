/**
 * `dialback explain`: why a snapshot has files of its own in place of links to the files of an older snapshot.
 *
 * The two trees are listed side by side. A file is linked if it has the same inode under the same path, and is then not looked at. For
 * the others, the manifests tell content and metadata. Without a manifest, or for a file with an ACL or extended attributes, the stored
 * files are read.
 */
import { Fault } from '../fault.ts';
import { sameContent } from '../os/content.ts';
import { dropGarbage } from '../os/memory.ts';
import { escapeText, jsonName, showName } from '../wire/text.ts';
import { choosePair, type ExplainedPair } from './explained-pair.ts';
import { openIndex } from './file-index.ts';
import type { StoredEntry } from './find-records.ts';
import { ManifestLookup } from './manifest-lookup.ts';
import { type Pair, pairSorted } from './pairs.ts';
import type { Snapshot } from './snapshot.ts';
import type { Complain } from './sorted-find.ts';
import { type ClientStore, openClient, openStore } from './store.ts';
import { listTree, readXattrsOfEach } from './stored-tree.ts';
import { covers, isInside, joinPath, parsePath } from './tree-path.ts';
import {
  because,
  compareMetadata,
  hasOtherContent,
  identicalCause,
  type KnownFile,
  needsXattrs,
  type RunFacts,
  runFacts,
  type Why,
} from './unlinked-cause.ts';
import { type CauseSum, type HeavyFolder, UnlinkedSums } from './unlinked-sums.ts';

interface ExplainOptions {
  store: string;
  client: string;
  /** As findSnapshot takes it. */
  snapshot: string;
  /** Another snapshot; if undefined, the one that the run linked against, or the one before. */
  other: string | undefined;
  /** Absolute, as on the client. If empty, all. Each must exist in one of the two. */
  paths: string[];
}

/** A manifest that could not be used, or only in part. */
export interface ManifestProblem {
  snapshot: string;
  problem: 'missing' | { damage: string };
}

/** The result. The files are names of everything that is no folder. */
export interface Explanation extends ExplainedPair {
  client: string;
  files: number;
  /** The files with the same inode under the same path. */
  linked: number;
  /** The other files that an older snapshot has, under another path or because the run linked against an older one too. */
  linkedElsewhere: number;
  /** The rest, the largest cause first. */
  causes: CauseSum[];
  folders: HeavyFolder[];
  manifests: ManifestProblem[];
}

/**
 * Explains a snapshot.
 * @param complain receives a text for each entry that cannot be read
 * @throws Fault when a snapshot or a PATH is wrong; the signal's reason
 */
export async function explainSnapshot(
  options: ExplainOptions,
  signal: AbortSignal,
  complain: Complain,
): Promise<Explanation> {
  openStore(options.store);
  const client = openClient(options.store, options.client);
  const pair = choosePair(client, options.snapshot, options.other);
  const paths = options.paths.map(path => insideOf(path, pair));
  await using held = new AsyncDisposableStack();
  const comparison = new Comparison(held, { client, pair, paths, signal, complain });
  const counts = await comparison.compare();
  const { sums } = comparison;
  sums.resolve();
  const manifests = comparison.manifestProblems();
  return {
    ...pair,
    client: client.name,
    ...counts,
    causes: sums.causes(),
    folders: sums.folders(),
    manifests,
  };
}

function insideOf(path: string, { newer, older }: ExplainedPair): Buffer {
  const tried = `explain "${escapeText(path)}"`;
  const inside = parsePath(path, tried);
  const both = [newer, ...(older ? [older] : [])];
  if (both.some(each => isInside(each, inside, tried))) return inside;
  const names = both.map(each => each.name);
  const found =
    names.length === 1
      ? `snapshot ${names[0]} does not have it`
      : `neither ${names[0]} nor ${names[1]} has it`;
  throw new Fault({ tried, found });
}

/** Pairs of files whose attributes are read at once. */
const PAIRS = 125;
/** Pairs of inodes that are kept in memory. */
const COMPARED = 1000;

interface ComparisonInput {
  client: ClientStore;
  pair: ExplainedPair;
  /** Below the tree; all of it if there are none. */
  paths: Buffer[];
  signal: AbortSignal;
  complain: Complain;
}

/** A path of both snapshots that is not linked. */
interface Unlinked {
  old: Omit<KnownFile, 'xattrs'>;
  fresh: Omit<KnownFile, 'xattrs'>;
  bytes: number;
}

/** One comparison of two trees. */
class Comparison {
  readonly sums: UnlinkedSums;
  readonly #input: ComparisonInput;
  readonly #held: AsyncDisposableStack;
  readonly #facts: RunFacts | undefined;
  readonly #olds: ManifestLookup | undefined;
  readonly #news: ManifestLookup;
  #isOlder: ((inode: bigint) => boolean) | undefined;
  /** Whether the contents of two inodes with several names differ; the last ones that were read. */
  readonly #compared = new Map<string, boolean | undefined>();
  #batch: Unlinked[] = [];
  readonly #counts = { files: 0, linked: 0, linkedElsewhere: 0 };

  constructor(held: AsyncDisposableStack, input: ComparisonInput) {
    const { client, pair, signal } = input;
    this.#held = held;
    this.#input = input;
    this.sums = held.use(new UnlinkedSums());
    const lookup = ({ name }: Snapshot): ManifestLookup => held.use(new ManifestLookup(client, name, signal));
    this.#olds = pair.older && lookup(pair.older);
    this.#news = lookup(pair.newer);
    this.#facts = pair.older && runFacts(pair.older.record, pair.newer.record);
  }

  async compare(): Promise<Pick<Explanation, 'files' | 'linked' | 'linkedElsewhere'>> {
    const { pair, signal, complain } = this.#input;
    const list = ({ tree }: Snapshot): AsyncIterable<StoredEntry> => listTree(tree, { signal, complain });
    const ones = pair.older ? list(pair.older) : nothing();
    const all = pairSorted(ones, list(pair.newer), (one, other) => Buffer.compare(one.path, other.path));
    let count = 0;
    for await (const each of all) {
      count += 1;
      if (count % PAIRS === 0) dropGarbage();
      await this.#take(each);
      if (this.#batch.length >= PAIRS) await this.#explainBatch();
    }
    await this.#explainBatch();
    return this.#counts;
  }

  /** The manifests that were needed and could not be used. */
  manifestProblems(): ManifestProblem[] {
    const { older, newer } = this.#input.pair;
    const of = (snapshot: Snapshot | undefined, lookup: ManifestLookup | undefined): ManifestProblem[] =>
      snapshot && lookup?.problem ? [{ snapshot: snapshot.name, problem: lookup.problem }] : [];
    return [...of(older, this.#olds), ...of(newer, this.#news)];
  }

  async #take({ one, other }: Pair<StoredEntry, StoredEntry>): Promise<void> {
    if (other === undefined || other.isFolder) {
      // A file can move from outside of the PATHs into them.
      if (one !== undefined && !one.isFolder) await this.#takeGone(one);
      return;
    }
    if (!this.#isWanted(other.path)) return;
    this.#counts.files += 1;
    if (one !== undefined && !one.isFolder && one.inode === other.inode) {
      this.#counts.linked += 1;
      return;
    }
    const bytes = await this.#ownBytes(other);
    if (bytes === undefined) {
      this.#counts.linkedElsewhere += 1;
      return;
    }
    const line = await this.#news.find(other);
    if (this.#olds === undefined) this.sums.add(other.path, because('first'), bytes);
    else if (one === undefined)
      this.sums.addNew({ path: other.path, bytes, sha256: line?.sha256 ?? '', size: other.size });
    else if (one.isFolder) this.sums.add(other.path, because('content'), bytes);
    else {
      const old = { stored: one, line: await this.#olds.find(one) };
      this.#batch.push({ old, fresh: { stored: other, line }, bytes });
    }
  }

  async #takeGone(one: StoredEntry): Promise<void> {
    const line = await this.#olds?.find(one);
    if (line !== undefined) this.sums.addGone({ path: one.path, sha256: line.sha256, size: one.size });
  }

  #isWanted(path: Buffer): boolean {
    const { paths } = this.#input;
    return paths.length === 0 || paths.some(each => covers(each, path));
  }

  /** The bytes that a name adds: 0 for a further name of an inode; undefined if an older snapshot has the inode. */
  async #ownBytes({ inode, links, size }: StoredEntry): Promise<number | undefined> {
    if (links === 1) return size;
    const isOlder = this.#isOlder ?? (await this.#openOlder());
    const noted = this.sums.noteInode(inode, () => isOlder(inode));
    return noted === 'shared' ? undefined : noted === 'first' ? size : 0;
  }

  async #openOlder(): Promise<(inode: bigint) => boolean> {
    const { client, pair, signal } = this.#input;
    const index = await openIndex(this.#held, client, signal);
    this.#isOlder = index.olderInodes(pair.newer.name);
    return this.#isOlder;
  }

  async #explainBatch(): Promise<void> {
    const batch = this.#batch;
    this.#batch = [];
    const { older, newer } = this.#input.pair;
    if (older === undefined) return;
    const read = batch.filter(({ old, fresh }) => needsXattrs(old, fresh));
    const [olds, news] = await Promise.all([
      this.#xattrsOf(older, read.map(each => each.old.stored)), // biome-ignore format: one side, one line
      this.#xattrsOf(newer, read.map(each => each.fresh.stored)), // biome-ignore format: one side, one line
    ]);
    for (const { old, fresh, bytes } of batch) {
      const { path } = fresh.stored;
      const why = await this.#whyOf(
        { ...old, xattrs: olds.get(old.stored) },
        { ...fresh, xattrs: news.get(fresh.stored) },
      );
      this.sums.add(path, why, bytes, fresh.stored.mtimeNs - old.stored.mtimeNs);
    }
  }

  async #xattrsOf({ tree }: Snapshot, stored: StoredEntry[]) {
    const xattrs = await readXattrsOfEach(tree, stored, this.#input.signal);
    return new Map(stored.map((each, at) => [each, xattrs[at]]));
  }

  async #whyOf(old: KnownFile, fresh: KnownFile): Promise<Why> {
    const isSameTime = old.stored.mtimeNs === fresh.stored.mtimeNs && old.stored.size === fresh.stored.size;
    const isOther = hasOtherContent(old, fresh) ?? (await this.#readBoth(old.stored, fresh.stored));
    if (isOther === true) return because(isSameTime ? 'content-same-time' : 'content');
    const what = isOther === undefined ? undefined : compareMetadata(old, fresh);
    if (what === undefined) {
      if (isOther !== undefined) this.#complain(fresh.stored, 'its attributes cannot be read');
      return because('unreadable');
    }
    if (what === 'other') return because('content');
    if (what.length > 0) return { cause: 'attributes', what };
    return because(this.#facts ? identicalCause(this.#facts, old.stored.links) : 'unknown');
  }

  /** Compares the contents of two files. Further names of the same inodes are not read again. @returns undefined if one cannot be read */
  async #readBoth(old: StoredEntry, fresh: StoredEntry): Promise<boolean | undefined> {
    const key = `${old.inode} ${fresh.inode}`;
    const isKnown = this.#compared.has(key);
    const isOther = isKnown ? this.#compared.get(key) : await this.#readContents(old, fresh);
    if (isKnown || old.links === 1 || fresh.links === 1) return isOther;
    if (this.#compared.size >= COMPARED) this.#compared.clear();
    this.#compared.set(key, isOther);
    return isOther;
  }

  async #readContents(old: StoredEntry, fresh: StoredEntry): Promise<boolean | undefined> {
    const { pair, signal } = this.#input;
    const path = ({ path }: StoredEntry, tree: string): Buffer => joinPath(tree, path);
    try {
      const oldPath = path(old, pair.older?.tree ?? '');
      return !(await sameContent(oldPath, path(fresh, pair.newer.tree), signal));
    } catch (error) {
      signal.throwIfAborted();
      this.#complain(fresh, error instanceof Fault ? error.found : 'its content cannot be read');
      return undefined;
    }
  }

  #complain({ path }: StoredEntry, found: string): void {
    this.#input.complain(`compare "/${showName(jsonName(path))}": ${found}`);
  }
}

async function* nothing(): AsyncGenerator<StoredEntry> {}
