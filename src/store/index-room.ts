/** How much room the snapshots of a client take, and how much their removal frees, by the client's index. */
import type { Database } from '../os/database.ts';
import { readdir, stat } from '../os/files.ts';
import { BLOCK_BYTES } from './find-records.ts';
import { lastRemoval } from './index-runs.ts';
import { indexedSnapshots } from './index-update.ts';
import type { ClientStore } from './store.ts';

/** Room on the disk. */
export interface Held {
  bytes: number;
  inodes: number;
}

/** The room that all snapshots of a client take together; a shared file counts once. */
export function heldBy(database: Database, client: ClientStore): Held {
  const files = database.prepare('SELECT count(*) AS inodes, total(bytes) AS bytes FROM inode');
  const folders = database.prepare(
    'SELECT total(folders) AS inodes, total(folder_bytes) AS bytes FROM snapshot',
  );
  const own = indexedSnapshots(database).map(({ name }) => recordsOf(client, name));
  return sum([...[files, folders].map(each => each.get() as unknown as Held), ...own]);
}

/**
 * The space that the removal of snapshots in this order frees. A file is freed with the last snapshot that contains it.
 * @returns by snapshot, without those that the index does not know
 */
export function freedBy(
  database: Database,
  client: ClientStore,
  order: readonly string[],
): Map<string, Held> {
  const snapshots = indexedSnapshots(database);
  const ids = snapshots.map(each => each.id);
  const place = new Map(order.map((name, at) => [name, at]));
  /** By place in `ids`: the place in the order of removal; Infinity for a snapshot that stays. */
  const removedAt = snapshots.map(({ name }) => place.get(name) ?? Number.POSITIVE_INFINITY);
  const folders = database.prepare(
    'SELECT folders AS inodes, folder_bytes AS bytes FROM snapshot WHERE name = ?',
  );
  const freed = new Map<string, Held>();
  for (const { name } of snapshots)
    if (place.has(name))
      freed.set(name, sum([folders.get(name) as unknown as Held, recordsOf(client, name)]));
  const groups = database
    .prepare(
      `SELECT runs, count(*) AS inodes, total(bytes) AS bytes FROM (
         SELECT group_concat(DISTINCT first || '-' || ifnull(last, '')) AS runs, inode.bytes
         FROM file JOIN inode USING (ino) GROUP BY ino) GROUP BY runs`,
    )
    .iterate() as Iterable<{ runs: string } & Held>;
  for (const { runs, inodes, bytes } of groups) {
    const at = lastRemoval(runs, ids, removedAt);
    const name = Number.isFinite(at) ? order[at] : undefined;
    if (name !== undefined) freed.set(name, sum([freed.get(name) ?? NOTHING, { inodes, bytes }]));
  }
  return freed;
}

const NOTHING: Held = { bytes: 0, inodes: 0 };

function sum(parts: Held[]): Held {
  return parts.reduce((one, other) => ({
    bytes: one.bytes + other.bytes,
    inodes: one.inodes + other.inodes,
  }));
}

/** The room of a snapshot's own folder and of the files beside its tree. */
function recordsOf(client: ClientStore, name: string): Held {
  const folder = `${client.folder}/snapshots/${name}`;
  try {
    const parts = readdir(folder).filter(each => each !== 'tree');
    const held = ['.', ...parts].map(each => ({
      bytes: stat(`${folder}/${each}`).blocks * BLOCK_BYTES,
      inodes: 1,
    }));
    return sum(held);
  } catch {
    return NOTHING; // the snapshot has just been removed
  }
}
