import { readFileSync, statSync } from 'node:fs';

/** The fields of an inode in a finished snapshot that must not change. Its link count may. */
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
