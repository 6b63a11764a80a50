import { mkdirSync, utimesSync, writeFileSync } from 'node:fs';
import type { TestContext } from 'node:test';
import type { SnapshotRecord } from '../../src/store/snapshot.ts';
import { type ClientStore, createClient, createStore } from '../../src/store/store.ts';
import { scratch } from './scratch.ts';

/** A new store with the client `a`. */
export function makeClient(context: TestContext): ClientStore {
  const store = `${scratch(context)}/store`;
  createStore(store);
  return createClient(store, 'a');
}

/** A record with only the required fields. */
export const record = (snapshot: string, state: 'full' | 'incomplete' = 'full'): SnapshotRecord =>
  ({
    version: 1,
    client: 'a',
    snapshot,
    state,
    started: '',
    finished: '',
    counts: { files: 1, bytes: 1, new_bytes: 1 },
    scope: { roots: ['/'] },
    flags: [],
  }) as unknown as SnapshotRecord;

/** Makes a finished snapshot, as commitSnapshot() does. */
export function addSnapshot(client: ClientStore, name: string, state: 'full' | 'incomplete' = 'full'): void {
  mkdirSync(`${client.folder}/snapshots/${name}/tree`, { recursive: true });
  writeFileSync(`${client.folder}/snapshots/${name}/snapshot.json`, JSON.stringify(record(name, state)));
}

/** Makes an interrupted tree, of a run that ended cleanly. */
export function addArriving(client: ClientStore, name: string, files: Record<string, string>): string {
  mkdirSync(`${client.folder}/arriving/${name}`);
  writeFileSync(`${client.folder}/arriving/${name}/synced`, '');
  const tree = `${client.folder}/arriving/${name}/tree`;
  mkdirSync(tree, { recursive: true });
  for (const [file, content] of Object.entries(files)) {
    mkdirSync(`${tree}/${file}`.slice(0, `${tree}/${file}`.lastIndexOf('/')), { recursive: true });
    writeFileSync(`${tree}/${file}`, content);
    utimesSync(`${tree}/${file}`, 1_000_000_000.5, 1_000_000_000.25);
  }
  return tree;
}
