/** The versions of one path over all snapshots of a client, from the trees themselves. */
import { fileFault } from '../os/files.ts';
import { escapeText } from '../wire/text.ts';
import type { TreeEntry } from './fake-super.ts';
import type { StoredEntry } from './find-records.ts';
import { snapshotNames } from './snapshot.ts';
import type { ClientStore } from './store.ts';
import { storedEntryIfThere } from './stored-entry.ts';
import { readAttributes } from './stored-tree.ts';

/** Snapshots in a row that have the same file: a run links a file that has not changed. */
export interface PathVersion {
  /** Oldest first. */
  snapshots: string[];
  stored: StoredEntry;
}

/** Snapshots between two looks at the signal. */
const SNAPSHOTS_BETWEEN = 100;

/**
 * Finds the versions of a path. A folder has one for each row of snapshots that contain it, because each snapshot has folders of its own.
 * @param path below tree/
 * @returns the newest version first
 * @throws Fault when a snapshot cannot be read; the signal's reason
 */
export function versionsOfPath(client: ClientStore, path: Buffer, signal: AbortSignal): PathVersion[] {
  const versions: PathVersion[] = [];
  let last: PathVersion | undefined;
  for (const [at, name] of snapshotNames(client).entries()) {
    if (at % SNAPSHOTS_BETWEEN === 0) signal.throwIfAborted();
    const stored = entryIn(`${client.folder}/snapshots/${name}/tree`, path);
    if (stored === undefined) {
      last = undefined;
      continue;
    }
    const isSame =
      last?.stored.isFolder === stored.isFolder && (stored.isFolder || last.stored.inode === stored.inode);
    if (last !== undefined && isSame) {
      last.snapshots.push(name);
      last.stored = stored;
    } else {
      last = { snapshots: [name], stored };
      versions.push(last);
    }
  }
  return versions.reverse();
}

/** Reads the attributes of a version, as they were on the client. @throws Fault */
export async function readVersion(
  client: ClientStore,
  { snapshots, stored }: PathVersion,
  signal: AbortSignal,
): Promise<TreeEntry | undefined> {
  const tree = `${client.folder}/snapshots/${snapshots.at(-1)}/tree`;
  return (await readAttributes(tree, [stored], signal))[0];
}

function entryIn(tree: string, path: Buffer): StoredEntry | undefined {
  try {
    return storedEntryIfThere(tree, path);
  } catch (error) {
    throw fileFault(error, `read "${escapeText(tree)}"`);
  }
}
