/** `dialback list`: lists the snapshots of the store. */
import { whatFailed } from '../os/files.ts';
import { escapeText } from '../wire/text.ts';
import { retiredSince } from './retirement.ts';
import { listSnapshots } from './snapshot.ts';
import type { Complain } from './sorted-find.ts';
import { listClients, openClient, openStore } from './store.ts';

/** One snapshot, with the JSON keys of docs/design.md. */
export interface Listed {
  client: string;
  snapshot: string;
  started: string;
  finished: string;
  state: 'full' | 'incomplete';
  files: number;
  bytes: number;
  /** Bytes of the files that no older snapshot shares. */
  new_bytes: number;
  pinned: boolean;
  flags: string[];
  /** When its client was unenrolled (ISO 8601, or `unknown`); null if it is enrolled. */
  retired: string | null;
}

/**
 * Lists the snapshots of one client, or of all, oldest first.
 * @param complain receives a text for each client that cannot be read, if all are listed
 * @throws Fault when the store or the named client is missing
 */
export function listAll(store: string, client: string | undefined, complain: Complain): Listed[] {
  openStore(store);
  if (client !== undefined) return listOne(store, openClient(store, client).name);
  return listClients(store).flatMap(name => {
    try {
      return listOne(store, name);
    } catch (error) {
      complain(`the client "${name}": ${escapeText(whatFailed(error))}`);
      return [];
    }
  });
}

function listOne(store: string, name: string): Listed[] {
  const client = openClient(store, name);
  const retired = retiredSince(client) ?? null;
  return listSnapshots(client).map(({ name: snapshot, pinned, record }) => ({
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
    retired,
  }));
}
