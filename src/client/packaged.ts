/** The paths that packages of the system have: dpkg's lists. */
import { readWhole } from '../os/content.ts';
import { exists, lstat, readdir, readlink } from '../os/files.ts';
import { dropGarbage } from '../os/memory.ts';

const INFO = '/var/lib/dpkg/info';
const LIST_BYTES = 64 * 1024 * 1024;
/** Folders that are links to folders below /usr since the merge of both; many lists still have the old names. */
const MERGED = ['bin', 'sbin', 'lib', 'lib32', 'lib64', 'libx32'];

/** Whether there are such lists on this machine. */
export function hasPackageLists(): boolean {
  return exists(`${INFO}/dpkg.list`);
}

/** Bytes of a list that are read at once: some lists have more than 60,000 paths. */
const PORTION = 65_536;

/**
 * Reads the lists, one after the other.
 * @returns the paths of a part of a list, without a slash in front; one character a byte
 */
export function* packagedPaths(): Generator<string[]> {
  const merged = MERGED.filter(isMerged);
  for (const name of readdir(INFO)) {
    if (!name.endsWith('.list')) continue;
    const list = readList(`${INFO}/${name}`);
    for (let from = 0; from < list.length; ) {
      const end = list.indexOf(LINE_END, Math.min(from + PORTION, list.length - 1));
      const to = end === -1 ? list.length : end + 1;
      const lines = list.toString('latin1', from, to).split('\n');
      from = to;
      yield lines
        .filter(each => each.startsWith('/') && each !== '/.')
        .map(each => moved(each.slice(1), merged));
      dropGarbage();
    }
  }
}

const LINE_END = 0x0a;

function moved(path: string, merged: readonly string[]): string {
  const [first = ''] = path.split('/', 1);
  return merged.includes(first) ? `usr/${path}` : path;
}

function isMerged(name: string): boolean {
  try {
    return (
      lstat(`/${name}`).isSymbolicLink() && readlink(Buffer.from(`/${name}`)).toString() === `usr/${name}`
    );
  } catch {
    return false;
  }
}

/** A package that is just removed has no list any more. */
function readList(path: string): Buffer {
  try {
    return readWhole(path, LIST_BYTES);
  } catch {
    return Buffer.alloc(0);
  }
}
