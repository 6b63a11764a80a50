/** Temporary files: the folder for those of sort(1) and SQLite, which become as large as a client likes, and files without a name. */
import { tmpdir } from 'node:os';
import { appendText, close, makeUniqueFolder, open, openFlags, removeAll } from './files.ts';

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
 * @returns a descriptor for reading it from its beginning
 */
export function writeUnnamed(parts: Iterable<Buffer>): number {
  const folder = makeUniqueFolder(`${temporaryFolder()}/dialback-`);
  let written: number | undefined;
  try {
    const flags = openFlags.O_WRONLY | openFlags.O_CREAT | openFlags.O_EXCL;
    written = open(`${folder}/file`, flags, 0o600);
    const reader = open(`${folder}/file`, openFlags.O_RDONLY);
    removeAll(folder);
    for (const part of parts) appendText(written, part);
    return reader;
  } finally {
    removeAll(folder);
    if (written !== undefined) close(written);
  }
}
