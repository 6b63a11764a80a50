/**
 * Keeps two files of a client apart if a run links against more than one tree.
 *
 * rsync looks for each file of the client at the same path in each tree of --link-dest, and links the first one that
 * is equal in content and attributes. If one inode is `a` in one tree and `b` in another, a client with two equal
 * files `a` and `b` gets one inode for both (measured, rsync 3.5.0). A restore then makes them hard links of each
 * other. An inode has such names since a moved file is linked to the file that it was (moved-files.ts), and if the
 * client changes a group of hard links.
 *
 * So for each inode that two trees share, all names of the one tree must be among those of the other. Otherwise a mask
 * replaces the later tree of the list. That is a tree of links to its files. It lacks the names of such an inode, and
 * the files that an earlier tree has at the same path.
 *
 * The comparison reads all inodes of the trees, which can take minutes on a cold disk. It is not needed if each shared
 * file has the same path in both trees. rsync makes only such links, and each run writes down of which trees that is
 * true (`same_paths` of its record, or of the file `synced` of an interrupted tree).
 */
import { dirname } from 'node:path';
import { Fault } from '../fault.ts';
import { deadlineSignal } from '../os/clock.ts';
import { exists, fileFault, link, makeBareFolder, makeFolder } from '../os/files.ts';
import { makeWork } from './arrival-work.ts';
import { inodesIn, type NamedInode } from './inode-names.ts';
import { isFatal } from './link-limit.ts';
import { joinPath } from './tree-path.ts';

/** The client waits meanwhile, and gives up 90 s after its call. Doubt about an interrupted tree can take 30 s of it. */
const COMPARE_LIMIT_MS = 40_000;

/** A tree that a run can link against. */
export interface LinkTree {
  /** The name of its snapshot, finished or interrupted. */
  name: string;
  tree: string;
  /**
   * The names of older trees of which each shared file has the same path here. `any`: it shares no file with another
   * tree. `unmoved`: a version of dialback made it that linked no moved files.
   */
  samePaths: ReadonlySet<string> | 'any' | 'unmoved';
}

/** Whether it is known that a tree and a later one in the list share files only at equal paths. Pure. */
function isKnownSeparate(one: LinkTree, other: LinkTree): boolean {
  if (one.samePaths === 'any' || other.samePaths === 'any') return true;
  return one.samePaths === 'unmoved' ? other.samePaths === 'unmoved' : one.samePaths.has(other.name);
}

/**
 * Finds out which trees a run can link against, so that two files of the client stay two inodes.
 * @param trees best first
 * @param folder arriving/SNAPSHOT; its work folder gets the masks
 * @returns a tree for each of `trees`, itself or its mask
 * @throws Fault when the trees could not be compared in time, or a mask could not be made
 */
export async function separateTrees(trees: readonly LinkTree[], folder: string): Promise<string[]> {
  const tops = trees.map(each => each.tree);
  const isKnown = trees.every((one, at) => trees.slice(at + 1).every(other => isKnownSeparate(one, other)));
  if (isKnown) return tops;
  const tried = 'compare the trees to link against';
  using deadline = deadlineSignal(
    COMPARE_LIMIT_MS,
    () => new Fault({ tried, found: `timeout after ${COMPARE_LIMIT_MS / 1000} s` }),
  );
  const options = { signal: deadline.signal, tried };
  const mixed = new Set<number>();
  for await (const found of inodesIn(tops, options))
    for (const each of mixedTrees(namesByTree(found))) mixed.add(each);
  if (mixed.size === 0) return tops;
  const work = makeWork(folder);
  const masks = tops.map((tree, at) => (mixed.has(at) ? `${work}/mask-${at}` : tree));
  for (const at of mixed) makeFolder(masks[at] ?? '');
  for await (const found of inodesIn(tops, options)) {
    const names = namesByTree(found);
    const left = mixedTrees(names);
    for (const { tree, path } of found.names) {
      const isEarlier = names.some(([at, own]) => at < tree && own.has(path.toString('latin1')));
      if (mixed.has(tree) && !left.includes(tree) && !isEarlier)
        linkInto(tops[tree] ?? '', masks[tree] ?? '', path, tried);
    }
  }
  return masks;
}

/** The names of an inode by the place of their tree, the first tree first. */
function namesByTree({ names }: NamedInode): [number, Set<string>][] {
  const trees = new Map<number, Set<string>>();
  for (const { tree, path } of names) {
    const known = trees.get(tree) ?? new Set();
    trees.set(tree, known.add(path.toString('latin1')));
  }
  return [...trees].sort(([one], [other]) => one - other);
}

/** The trees in which an inode has other names than in an earlier one, so that neither has all of them. Pure. */
function mixedTrees(names: readonly [number, Set<string>][]): number[] {
  const isPart = (one: Set<string>, other: Set<string>): boolean =>
    one.size <= other.size && [...one].every(path => other.has(path));
  return names
    .filter(([, own], at) =>
      names.slice(0, at).some(([, earlier]) => !isPart(own, earlier) && !isPart(earlier, own)),
    )
    .map(([tree]) => tree);
}

/** Links one file into a mask, and makes the folders above it. A file that cannot be linked is left out. */
function linkInto(tree: string, mask: string, path: Buffer, tried: string): void {
  try {
    makeFoldersAbove(mask, path);
    link(joinPath(tree, path), joinPath(mask, path));
  } catch (error) {
    if (isFatal(error)) throw fileFault(error, tried);
  }
}

function makeFoldersAbove(mask: string, path: Buffer): void {
  const folder = dirname(path.toString('latin1'));
  if (folder === '.') return;
  const inside = Buffer.from(folder, 'latin1');
  if (exists(joinPath(mask, inside))) return;
  makeFoldersAbove(mask, inside);
  makeBareFolder(joinPath(mask, inside), 0o700);
}
