/** How the files of a snapshot are linked to those of older snapshots, by a client's index. */
import type { Database } from '../os/database.ts';
import { indexedSnapshots } from './index-update.ts';

/** The files of a snapshot that are in it at the number `$own`, for a statement about the table `file`. */
const IN_OWN = 'n.ino <> 0 AND n.first <= $own AND (n.last IS NULL OR n.last >= $own)';

/**
 * Lists older snapshots that share files with this one which the snapshot in between lacks. Most shared files are in
 * the snapshot before, too, and do not count here.
 * @param limit how many at most
 * @returns names, the one with most such files first
 */
export function sharedAcrossGap(database: Database, snapshot: string, limit: number): string[] {
  const snapshots = indexedSnapshots(database);
  const own = snapshots.find(each => each.name === snapshot)?.id;
  if (own === undefined) return [];
  const rows = database
    .prepare(
      `SELECT older.last AS id FROM file AS n
         JOIN file AS older ON older.name = n.name AND older.ino = n.ino AND older.last < n.first
         WHERE n.first = $own AND n.ino <> 0 GROUP BY older.last ORDER BY count(*) DESC LIMIT $limit`,
    )
    .all({ own, limit }) as { id: number }[];
  return rows.flatMap(({ id }) => snapshots.find(each => each.id === id)?.name ?? []);
}

/**
 * Lists the files of a snapshot that look the same in another one, by path, size and time, and are another inode
 * there. rsync would take them for unchanged.
 * @param pathOf the path of a name by its number
 * @param limit how many at most
 */
export function alikeButUnlinked(
  database: Database,
  { snapshot, others, limit }: { snapshot: string; others: readonly string[]; limit: number },
  pathOf: (id: number) => Buffer,
): Buffer[] {
  const ids = new Map(indexedSnapshots(database).map(({ id, name }) => [name, id]));
  const own = ids.get(snapshot);
  const found = new Set<number>();
  const statement = database.prepare(
    `SELECT DISTINCT n.name AS name FROM file AS n JOIN inode AS mine ON mine.ino = n.ino
       JOIN file AS m ON m.name = n.name AND m.ino <> n.ino AND m.ino <> 0
         AND m.first <= $other AND (m.last IS NULL OR m.last >= $other)
       JOIN inode AS theirs ON theirs.ino = m.ino AND theirs.size = mine.size AND theirs.mtime = mine.mtime
       WHERE ${IN_OWN} LIMIT $limit`,
  );
  for (const each of others) {
    const other = ids.get(each);
    if (own === undefined || other === undefined) continue;
    for (const { name } of statement.all({ own, other, limit }) as { name: number }[]) found.add(name);
  }
  return [...found].slice(0, limit).map(pathOf);
}

/**
 * Prepares the question whether an older snapshot has an inode. The answer takes one step for each group of names that appeared and
 * disappeared together, however many names the inode has.
 * @param snapshot only snapshots with a lesser name count
 */
export function olderInodes(database: Database, snapshot: string): (inode: bigint) => boolean {
  const older = indexedSnapshots(database)
    .filter(each => each.name < snapshot)
    .map(each => each.id);
  const runs = database.prepare('SELECT DISTINCT first, last FROM file WHERE ino = ?');
  return inode =>
    (runs.all(BigInt.asIntN(64, inode)) as { first: number; last: number | null }[]).some(({ first, last }) =>
      older.some(id => id >= first && (last === null || id <= last)),
    );
}
