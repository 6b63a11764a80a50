/** Files that a killed rsync has left beside those that it was writing: `.NAME.XXXXXX` (rsync's receiver.c, get_tmpname()). */
import { readdir, statusExact, unlink } from '../os/files.ts';
import { covers, joinPath } from '../store/tree-path.ts';
import { leadsThroughLink } from './fetch-links.ts';
import type { OfferList } from './fetch-list.ts';
import type { Target } from './fetch-target.ts';

const TEMPORARY = /^\.(.+)\.[A-Za-z0-9]{6}$/s;
/** rsync shortens a longer name, so that the temporary one has at most 255 bytes. */
const CUT = 200;

/** Whether a name is one that rsync gives to the unfinished file of one of these names. Pure. One character a byte. */
export function isLeftover(name: string, wanted: ReadonlySet<string>): boolean {
  const stem = TEMPORARY.exec(name)?.[1];
  if (stem === undefined || wanted.has(name)) return false;
  if (wanted.has(stem) || wanted.has(`.${stem}`)) return true;
  return stem.length > CUT && [...wanted].some(each => each.startsWith(stem) || each.startsWith(`.${stem}`));
}

/**
 * Removes such files from the folders of the list, after a fetch that was interrupted before. Only plain files that were changed
 * since it began.
 * @param begunMs since 1970
 */
export async function removeLeftovers(
  list: OfferList,
  { base, isInPlace }: Target,
  begunMs: number,
): Promise<void> {
  const folders = new Map<string, Set<string>>();
  for await (const { entry } of list.entries()) {
    if (entry.path.length === 0 || (isInPlace && !list.paths.some(path => covers(path, entry.path))))
      continue;
    const path = entry.path.toString('latin1');
    const folder = path.slice(0, Math.max(0, path.lastIndexOf('/')));
    const names = folders.get(folder) ?? new Set();
    names.add(path.slice(path.lastIndexOf('/') + 1));
    folders.set(folder, names);
  }
  const top = base === '/' ? '' : base;
  const tops = isInPlace ? list.paths : [Buffer.alloc(0)];
  for (const [folder, wanted] of folders) {
    const path = Buffer.from(folder, 'latin1');
    if (!leadsThroughLink(top, tops, path)) removeIn(joinPath(top, path), wanted, begunMs);
  }
}

function removeIn(folder: Buffer, wanted: ReadonlySet<string>, begunMs: number): void {
  let names: Buffer[];
  try {
    if (!statusExact(folder).isDirectory()) return;
    names = readdir(folder, { encoding: 'buffer' });
  } catch {
    return; // the comparison reports what is missing
  }
  for (const name of names) {
    if (!isLeftover(name.toString('latin1'), wanted)) continue;
    const path = Buffer.concat([folder, Buffer.from('/'), name]);
    const found = statusExact(path);
    if (found.isFile() && Number(found.ctimeMs) >= begunMs) unlink(path);
  }
}
