/**
 * The rules for tags: which files in a folder say that a backup need not have its contents, and which folders a run leaves out.
 * Pure. Paths are bytes (os/byte-path.ts).
 */
import { showPath } from '../os/byte-path.ts';
import { isWithin } from '../os/mounts.ts';
import type { ClientConfig } from './config.ts';

/** The name of the tag of the Cache Directory Tagging Specification. */
export const CACHE_TAG = 'CACHEDIR.TAG';
/** The first bytes of a CACHEDIR.TAG. */
export const SIGNATURE = 'Signature: 8a477f597d28d172789f06886806bc55';

/** A folder and the tags in it. */
export interface TaggedFolder {
  path: string;
  /** Names. A CACHEDIR.TAG has its signature. */
  tags: string[];
}

/** The most folders that one run leaves out by tags: rsync compares each name with each rule. */
const MOST_FOLDERS = 1000;
/** Their bytes in the exclude list, which has a limit of its own. */
const MOST_BYTES = 256 * 1024;
const STICKY = 0o1000;

/**
 * Whether a tag can keep the contents of its folder out of a backup. Another user must not be able to put it there: that would
 * keep the files of third users out. So the owner of the folder or root must own it. Others must not be able to write to the folder,
 * because they could move a file of root there. The folder's group may write, unless the folder is sticky: a group that can remove
 * the files can leave them out too.
 */
export function doesCount(
  folder: { uid: number | undefined; mode: number | undefined },
  tag: { uid: number },
): boolean {
  const { uid, mode } = folder;
  if (uid === undefined || mode === undefined) return false;
  if ((mode & 0o002) !== 0 || ((mode & STICKY) !== 0 && (mode & 0o020) !== 0)) return false;
  return tag.uid === 0 || tag.uid === uid;
}

/** The names of tags that a config lets count. */
export function tagNames({ scope }: ClientConfig): string[] {
  return [...new Set([...(scope.exclude_caches ? [CACHE_TAG] : []), ...scope.exclude_if_present])];
}

/** A folder whose contents a run leaves out. */
export interface LeftOutFolder {
  path: string;
  tag: string;
}

/**
 * Chooses the folders that a run leaves out: the outermost ones. A root and the folders above it stay, since client.toml names
 * the root. Pure.
 * @param names of `tagNames()`
 * @param warn receives a sentence for each folder that stays in the backup in spite of its tag
 */
export function chooseLeftOut(
  tagged: readonly TaggedFolder[],
  names: readonly string[],
  roots: readonly string[],
  warn: (message: string) => void,
): LeftOutFolder[] {
  const chosen: LeftOutFolder[] = [];
  let bytes = 0;
  let rest = 0;
  for (const { path, tags } of tagged) {
    const tag = tags.find(each => names.includes(each));
    if (tag === undefined || chosen.some(each => isWithin(each.path, path))) continue;
    if (roots.some(root => isWithin(path, root))) {
      warn(`Cannot leave out "${showPath(path)}" by its ${tag}: \`roots\` in client.toml names a path in it`);
      continue;
    }
    bytes += path.length;
    if (chosen.length < MOST_FOLDERS && bytes <= MOST_BYTES) chosen.push({ path, tag });
    else rest += 1;
  }
  if (rest > 0)
    warn(
      `Cannot leave out ${rest} more folders by their tags: a run leaves out ${MOST_FOLDERS}; add patterns to the exclude list`,
    );
  return chosen;
}
