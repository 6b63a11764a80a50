/**
 * On XFS and Btrfs, files with equal content and different attributes share their blocks.
 *
 * A file whose mode, owner or time the client has changed is a new inode in the store. duperemove(1) asks the kernel
 * to let it share the blocks of the old file. The kernel compares both contents first, and locks them for that
 * (ioctl_fideduperange(2)). No attribute and no time of a file changes. This happens before the commit, and only to
 * files of one client. It needs duperemove, and one of these file systems.
 */
import { digestFile } from '../os/content.ts';
import { type Database, inTransaction, rowBatches } from '../os/database.ts';
import { link, statfs, statusExact, unlink } from '../os/files.ts';
import { run, standard } from '../os/process.ts';
import { hasProgram } from '../os/programs.ts';
import type { NamedInode } from './inode-names.ts';
import { joinPath } from './tree-path.ts';

/** statfs(2), f_type. */
const TYPES = [0x5846_5342, 0x9123_683e];
const DUPEREMOVE = 'duperemove';
/** Bytes. Smaller files are a few blocks, and XFS and Btrfs keep the smallest in the inode. */
const LEAST_BYTES = 64 * 1024;
/** Files that one duperemove gets. */
const ROWS = 200;
const TIMEOUT_MS = 24 * 3_600_000;

/** Whether the file system can share blocks, and duperemove is there. @param folder on that file system */
export function canShareExtents(folder: string): boolean {
  return TYPES.includes(statfs(folder).type) && hasProgram(DUPEREMOVE) && !folder.includes('\n');
}

/** A search for files with equal content, by a client's index. */
interface ExtentSearch {
  database: Database;
  /** The path below the client's folder of an inode. */
  oldPath: (inode: bigint) => Buffer | undefined;
  /** clients/NAME */
  folder: string;
  tree: string;
  /** A folder on the same file system, for names without line breaks. */
  work: string;
  signal: AbortSignal;
}

/** Files that now share their blocks with older ones. */
export interface SharedExtents {
  files: number;
  bytes: number;
}

/**
 * Lets files of an arriving tree share the blocks of equal files in snapshots.
 * @param fresh the files of the tree that no snapshot has
 * @throws Fault; the signal's reason. The files are as good as before.
 */
export async function shareExtents(
  search: ExtentSearch,
  fresh: AsyncIterable<NamedInode[]>,
): Promise<SharedExtents> {
  const { database } = search;
  const shared = { files: 0, bytes: 0 };
  database.exec(`DROP TABLE IF EXISTS temp.large; DROP TABLE IF EXISTS temp.known;
    CREATE TEMP TABLE large (ino INTEGER PRIMARY KEY, size INTEGER, path BLOB);
    CREATE TEMP TABLE known (size INTEGER, digest BLOB, ino INTEGER);`);
  const insert = database.prepare('INSERT INTO large VALUES (?, ?, ?)');
  for await (const batch of fresh)
    inTransaction(database, () => {
      for (const { inode, size, names } of batch)
        if (size >= LEAST_BYTES) insert.run(BigInt.asIntN(64, inode), size, names[0]?.path ?? null);
    });
  database.exec(`INSERT INTO known SELECT size, digest, ino FROM inode
      WHERE digest IS NOT NULL AND size IN (SELECT size FROM large);
    CREATE INDEX temp.known_look ON known (size, digest);
    DELETE FROM large WHERE size NOT IN (SELECT size FROM known);`);
  for (const rows of batches(database)) {
    const pairs = await findPairs(search, rows);
    if (pairs.length > 0 && (await share(search, pairs))) {
      shared.files += pairs.length;
      shared.bytes += pairs.reduce((sum, each) => sum + each.size, 0);
    }
  }
  return shared;
}

interface LargeFile {
  inode: bigint;
  size: number;
  path: Buffer;
}

function* batches(database: Database): Generator<LargeFile[]> {
  const statement = database.prepare(
    `SELECT ino AS inode, size, path FROM large WHERE ino > ? ORDER BY ino LIMIT ${ROWS}`,
  );
  type Row = { inode: bigint; size: bigint; path: Uint8Array };
  for (const rows of rowBatches<Row>(statement, each => each.inode))
    yield rows.map(each => ({ ...each, size: Number(each.size), path: Buffer.from(each.path) }));
}

interface ExtentPair {
  fresh: Buffer;
  old: Buffer;
  size: number;
}

/** Reads the files, and finds an older file with the same digest for each. The kernel compares the contents later. */
async function findPairs(
  { database, oldPath, folder, tree, signal }: ExtentSearch,
  files: readonly LargeFile[],
): Promise<ExtentPair[]> {
  const find = database.prepare('SELECT ino FROM known WHERE size = ? AND digest = ? AND ino <> ? LIMIT 1');
  find.setReadBigInts(true);
  const pairs: ExtentPair[] = [];
  for (const { inode, size, path } of files) {
    try {
      const { sha256 } = await digestFile(joinPath(tree, path), signal);
      const found = find.get(size, sha256, inode) as { ino: bigint } | undefined;
      const older = found && oldPath(found.ino);
      if (older === undefined) continue;
      const old = joinPath(folder, older);
      const status = statusExact(old);
      if (BigInt.asIntN(64, status.ino) === found?.ino && Number(status.size) === size)
        pairs.push({ fresh: joinPath(tree, path), old, size });
    } catch {
      signal.throwIfAborted(); // otherwise it was removed meanwhile
    }
  }
  return pairs;
}

/** @returns whether duperemove succeeded */
async function share({ work, signal }: ExtentSearch, pairs: readonly ExtentPair[]): Promise<boolean> {
  const names: string[] = [];
  const make = (from: Buffer, to: string): void => {
    link(from, to);
    names.push(to);
  };
  try {
    // A client's name can have line breaks, and duperemove reads lines.
    for (const [at, { fresh, old }] of pairs.entries()) {
      make(old, `${work}/old-${at}`);
      make(fresh, `${work}/fresh-${at}`);
    }
    const input = pairs.map((_, at) => `${work}/old-${at}\n${work}/fresh-${at}\n\n`).join('');
    const { status } = await run(standard(DUPEREMOVE, ['--fdupes']), {
      input,
      timeoutMs: TIMEOUT_MS,
      signal,
    });
    return status === 0;
  } finally {
    for (const each of names) unlink(each);
  }
}
