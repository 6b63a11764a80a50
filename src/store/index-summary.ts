/** The sums of a client's file index. */
import { peekIndex } from './file-index.ts';
import type { Held } from './index-room.ts';
import type { ClientStore } from './store.ts';

/** The sums. */
export interface IndexSummary {
  /** The room of all snapshots of the client together. */
  held: Held;
  /** How many files have the first or the last time that the store's file system can hold. */
  cut_times: number;
}

/** Reads the index without updating it. @returns null if it is out of date or cannot be read */
export function summarizeIndex(client: ClientStore): IndexSummary | null {
  const index = peekIndex(client);
  if (index === undefined) return null;
  try {
    return { held: index.held(), cut_times: index.atTimeLimit() };
  } finally {
    index.close();
  }
}
