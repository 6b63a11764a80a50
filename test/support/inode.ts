import { readFileSync, statSync } from 'node:fs';

/** What must not change in an inode that a finished snapshot has; its number of names may. */
export interface InodeState {
  ino: bigint;
  mode: bigint;
  mtimeNs: bigint;
  size: bigint;
  /** A character a byte. */
  content: string;
}

export function stateOf(path: string): InodeState {
  const { ino, mode, mtimeNs, size } = statSync(path, { bigint: true });
  return { ino, mode, mtimeNs, size, content: readFileSync(path, 'latin1') };
}
