/** Roots from which excludes and `never` leave out everything: a backup of them is empty. */
import { asBytes, joinPath } from '../os/byte-path.ts';
import { exists, lstat, makeFolder, readdir, removeAll } from '../os/files.ts';
import { isWithin } from '../os/mounts.ts';
import { run, standard } from '../os/process.ts';
import { writeNew } from '../os/replace.ts';
import { asText } from '../wire/text.ts';
import { type Exclude, scopeFilter, splitExcludes } from './filter.ts';
import type { Root } from './roots.ts';

/** A root with more entries is taken for one that is not empty. */
const ENTRIES_LIMIT = 2000;

/**
 * Finds roots that are folders with entries if a run would back up no entry of them. rsync itself decides, with the filter
 * of a run and with empty folders and files that have the names of the entries.
 * @param folder a private folder, in which they are made and removed
 * @param never places without symbolic links
 */
export async function emptiedRoots(
  folder: string,
  roots: readonly Root[],
  excludes: readonly Exclude[],
  never: readonly string[],
): Promise<Root[]> {
  const emptied: Root[] = [];
  for (const [number, root] of roots.entries()) {
    const names = entriesOf(asText(root.path));
    if (names === undefined || names.length === 0) continue;
    const left = names.filter(name => !never.some(each => isWithin(each, joinPath(root.path, `/${name}`))));
    const isTaken = left.length > 0 && (await takesAny(`${folder}/left${number}`, root, left, excludes));
    if (!isTaken) emptied.push(root);
  }
  return emptied;
}

/** The names in a folder, as bytes; undefined where it is not a folder, cannot be read or has too many. */
function entriesOf(path: string): string[] | undefined {
  try {
    if (!lstat(path).isDirectory()) return undefined;
    const names = readdir(path);
    return names.length > ENTRIES_LIMIT ? undefined : names.map(each => asBytes(each));
  } catch {
    return undefined;
  }
}

async function takesAny(
  work: string,
  root: Root,
  names: string[],
  excludes: readonly Exclude[],
): Promise<boolean> {
  const top = `${work}/tree${asText(root.path)}`;
  const out = `${work}/seen`;
  try {
    makeFolder(top, { parents: true });
    for (const name of names) makeAlike(`${asText(root.path)}/${asText(name)}`, `${top}/${asText(name)}`);
    const text = scopeFilter({ roots: [root.path], never: [], ...splitExcludes(excludes) });
    writeNew(`${work}/filter`, Buffer.from(text, 'latin1'));
    const words = ['-r', `--filter=. ${work}/filter`, `${work}/tree/`, `${out}/`];
    const copied = await run(standard('rsync', words));
    // Without a result, the root is not reported as empty.
    if (copied.status !== 0) return true;
    const taken = `${out}${asText(root.path)}`;
    return exists(taken) && readdir(taken).length > 0;
  } finally {
    removeAll(work);
  }
}

function makeAlike(from: string, to: string): void {
  try {
    if (lstat(from).isDirectory()) makeFolder(to);
    else writeNew(to, '');
  } catch {
    // It has been removed, or its name cannot be created here.
  }
}
