/** Reads the parts of a page's request: the client, the snapshot, the path and the query. */
import { Fault } from '../../fault.ts';
import { findSnapshot, type Snapshot } from '../../store/snapshot.ts';
import { type ClientStore, openClient, openStore } from '../../store/store.ts';
import { parsePath } from '../../store/tree-path.ts';
import { escapeText } from '../../wire/text.ts';
import type { PageContext, PageRequest } from '../contract.ts';

/** A request whose first segments name a client. */
export interface ClientRequest {
  client: ClientStore;
  /** The segments behind the client's name. */
  rest: readonly string[];
  /** The values of the query, by key. */
  query: Readonly<Record<string, string | undefined>>;
}

/**
 * Reads the client and the query.
 * @param keys that the page's query may have
 * @throws Fault when the store has no such client; `usage` for an unknown key
 */
export function clientRequest(
  { path, query }: PageRequest,
  { store }: PageContext,
  keys: readonly string[],
): ClientRequest {
  openStore(store);
  const [, name = '', ...rest] = path;
  return { client: openClient(store, name), rest, query: readQuery(query, keys) };
}

/** Checks the keys of a query. @throws Fault `usage` for an unknown one */
export function readQuery(
  query: ReadonlyMap<string, string>,
  keys: readonly string[],
): Record<string, string | undefined> {
  const unknown = [...query.keys()].find(key => !keys.includes(key));
  if (unknown !== undefined)
    throw new Fault({
      tried: 'read the address',
      found: `unknown key "${escapeText(unknown, 60)}" in the query`,
      exit: 'usage',
    });
  return Object.fromEntries(query);
}

/** A request for a path in a snapshot. */
export interface SnapshotRequest extends ClientRequest {
  snapshot: Snapshot;
  /** Below the tree, without a leading slash; empty for the top. */
  inside: Buffer;
}

/** Reads the client, the snapshot and the path. @throws Fault when one of them is not there; `usage` for an unknown key */
export function snapshotRequest(
  request: PageRequest,
  context: PageContext,
  keys: readonly string[],
): SnapshotRequest {
  const found = clientRequest(request, context, keys);
  const [wanted = 'latest', ...names] = found.rest;
  return { ...found, snapshot: findSnapshot(found.client, wanted), inside: pathOf(names) };
}

/** The path of segments, as bytes below the tree. @throws Fault `usage` for a segment that is no name */
export function pathOf(names: readonly string[]): Buffer {
  return parsePath(`/${names.join('/')}`, 'read the address');
}

/** Reads a whole number of a query. @throws Fault `usage` for anything else */
export function wholeNumber(text: string | undefined, key: string, least: number): number {
  if (text === undefined) return least;
  const value = /^\d{1,15}$/.test(text) ? Number(text) : -1;
  if (value >= least) return value;
  throw new Fault({
    tried: 'read the address',
    found: `bad value "${escapeText(text, 60)}" of "${key}"; numbers start at ${least}`,
    exit: 'usage',
  });
}
