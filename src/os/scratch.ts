/** Where sort(1) and SQLite put what they cannot hold in memory: a client decides how much that is. */
import { tmpdir } from 'node:os';

let chosen: string | undefined;

/** The folder for such files. */
export function scratchFolder(): string {
  return chosen ?? temporaryFolder();
}

/** Another folder, from now on. Before this process opens its first database: SQLite asks once. */
export function useScratchFolder(path: string): void {
  chosen = path;
  process.env.SQLITE_TMPDIR = path;
}

/** Where files that are gone at once are made. */
export function temporaryFolder(): string {
  return tmpdir();
}
