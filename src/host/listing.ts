/** `dialback list`: what the store holds. */
import { listClients, listSnapshots, openClient, openStore } from './store.ts';

/** One snapshot, with the JSON keys of the design. */
export interface Listed {
  client: string;
  snapshot: string;
  started: string;
  finished: string;
  state: 'full' | 'incomplete';
  files: number;
  bytes: number;
  /** Bytes in files that no older snapshot shares. */
  new_bytes: number;
  pinned: boolean;
  flags: string[];
}

/** All snapshots of one client, or of all, oldest first. */
export function listAll(store: string, client: string | undefined): Listed[] {
  openStore(store);
  const names = client === undefined ? listClients(store) : [openClient(store, client).name];
  return names.flatMap(name =>
    listSnapshots(openClient(store, name)).map(({ name: snapshot, pinned, record }) => ({
      client: name,
      snapshot,
      started: record.started,
      finished: record.finished,
      state: record.state,
      files: record.counts.files,
      bytes: record.counts.bytes,
      new_bytes: record.counts.new_bytes,
      pinned: pinned !== undefined,
      flags: record.flags,
    })),
  );
}
