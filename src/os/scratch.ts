/** The folder for temporary files of sort(1) and SQLite. A client decides how large they become. */
import { tmpdir } from 'node:os';

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
