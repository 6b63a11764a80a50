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
 * there. rsync would take them for unchanged. It takes the first of the others, so a file does not count that one before has.
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
       WHERE ${IN_OWN} AND NOT EXISTS (
         SELECT 1 FROM file AS same, json_each($before) AS b WHERE same.name = n.name AND same.ino = n.ino
           AND same.first <= b.value AND (same.last IS NULL OR same.last >= b.value)) LIMIT $limit`,
  );
  const before: number[] = [];
  for (const each of others) {
    const other = ids.get(each);
    if (own === undefined || other === undefined) continue;
    const values = { own, other, limit, before: JSON.stringify(before) };
    for (const { name } of statement.all(values) as { name: number }[]) found.add(name);
    before.push(other);
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

/** A file of a snapshot that is linked to another path of an older one. */
export interface LinkedElsewhere {
  /** The paths that the snapshot before does not have, or has as another file. */
  paths: Buffer[];
  /** The older snapshot, and a path in it. */
  older: string;
  olderPath: Buffer;
}

/**
 * Finds the files that a snapshot shares with older ones, and not with the same path of `base`: moved files, and files that `base` has
 * in another form. rsync looks only at the same path.
 * @param base the snapshot that the others are linked against
 * @param there the older snapshots to look in
 * @param isWanted whether a file counts that the older snapshot has at the same path
 */
export function* linkedElsewhere(
  database: Database,
  { snapshot, base, there }: { snapshot: string; base: string; there: ReadonlySet<string> },
  isWanted: (path: Buffer) => boolean,
  pathOf: (id: number) => Buffer,
): Generator<LinkedElsewhere> {
  const all = indexedSnapshots(database);
  const idOf = (name: string): number | undefined => all.find(each => each.name === name)?.id;
  const [own, last] = [idOf(snapshot), idOf(base)];
  if (own === undefined || last === undefined || last >= own) return;
  const olders = all.filter(each => each.id < own && there.has(each.name));
  const fresh = database.prepare(
    `SELECT n.ino AS ino, json_group_array(n.name) AS names FROM file AS n
       WHERE ${IN_OWN} AND n.first > $last GROUP BY n.ino`,
  );
  fresh.setReadBigInts(true);
  const places = database.prepare('SELECT name, first, last FROM file WHERE ino = ? AND first < ?');
  type Place = { name: number; first: number; last: number | null };
  for (const { ino, names } of fresh.iterate({ own, last }) as Iterable<{ ino: bigint; names: string }>) {
    const ids = JSON.parse(names) as number[];
    for (const place of places.iterate(ino, own) as Iterable<Place>) {
      const older = olders.find(({ id }) => id >= place.first && (place.last === null || id <= place.last));
      if (older === undefined) continue;
      const olderPath = pathOf(place.name);
      const paths = ids.map(pathOf).filter(each => !each.equals(olderPath) || isWanted(each));
      if (paths.length > 0) yield { paths, older: older.name, olderPath };
      break;
    }
  }
}
