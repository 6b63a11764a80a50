import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import type { SnapshotRecord } from '../../src/store/snapshot.ts';
import { createClient, createStore } from '../../src/store/store.ts';
import { record } from '../support/client-store.ts';
import { printedOfStore } from '../support/command-line.ts';
import { scratch } from '../support/scratch.ts';

const NAME = '2026-11-23T00-12-00Z';

function addClient(store: string, name: string, more: Partial<SnapshotRecord>): void {
  const folder = `${createClient(store, name).folder}/snapshots/${NAME}`;
  mkdirSync(`${folder}/tree`, { recursive: true });
  writeFileSync(`${folder}/snapshot.json`, JSON.stringify({ ...record(NAME), client: name, ...more }));
}

describe('dialback list', () => {
  const counts = (files: number, bytes: number) =>
    ({ files, bytes, new_bytes: 0 }) as unknown as SnapshotRecord['counts'];

  it('prints a table with a head, in columns', async t => {
    const store = `${scratch(t)}/store`;
    createStore(store);
    addClient(store, 'laptop', { counts: counts(12_345, 4096) });
    addClient(store, 'a', { counts: counts(1, 1), flags: ['x', 'y'] });
    assert.equal(
      await printedOfStore(store, 'list'),
      [
        'client  snapshot              state  files     size  new  flags',
        'a       2026-11-23T00-12-00Z  full       1      1 B  0 B  x,y',
        'laptop  2026-11-23T00-12-00Z  full   12345  4.0 KiB  0 B',
        '',
      ].join('\n'),
    );
  });
  it('prints only the head if the store is empty', async t => {
    const store = `${scratch(t)}/store`;
    createStore(store);
    assert.match(await printedOfStore(store, 'list'), /^client {2}snapshot.*flags\n$/);
  });
});
