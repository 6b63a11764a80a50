/** Temporary files: the folder for those of sort(1) and SQLite, which become as large as a client likes, and files without a name. */
import { tmpdir } from 'node:os';
import { appendText, close, open, openFlags, unlink } from './files.ts';
import { randomHex } from './random.ts';

let chosen: string | undefined;

/** The folder that was chosen, or the system's temporary folder. */
export function scratchFolder(): string {
  return chosen ?? temporaryFolder();
}

/** Chooses another folder. Call it before this process opens its first database: SQLite reads the variable once. */
export function useScratchFolder(path: string): void {
  chosen = path;
  process.env.SQLITE_TMPDIR = path;
}

/** The system's temporary folder. */
export function temporaryFolder(): string {
  return tmpdir();
}

/**
 * Writes a private file that has no name, so that it does not outlive the processes that have it open, however they end.
 * @returns a descriptor for reading it from its beginning, which the caller closes
 * @throws the failed call's error
 */
export function writeUnnamed(parts: Iterable<Buffer>, folder = temporaryFolder()): number {
  const { O_WRONLY, O_RDONLY, O_CREAT, O_EXCL, O_NOFOLLOW } = openFlags;
  const path = `${folder}/dialback-${randomHex(8)}`;
  const writing = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
  try {
    unlink(path);
    for (const part of parts) appendText(writing, part);
    return open(`/proc/self/fd/${writing}`, O_RDONLY);
  } finally {
    close(writing);
  }
}
