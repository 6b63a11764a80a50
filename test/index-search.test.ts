import assert from 'node:assert/strict';
import { linkSync, mkdirSync, writeFileSync } from 'node:fs';
import { describe, it, type TestContext } from 'node:test';
import { openIndex } from '../src/store/file-index.ts';
import { type SearchResult, searchIndex } from '../src/store/index-search.ts';
import { parsePattern } from '../src/store/name-pattern.ts';
import type { ClientStore } from '../src/store/store.ts';
import { addSnapshot, makeClient } from './support/client-store.ts';

const { signal } = new AbortController();
const NAMES = ['2026-11-01T00-00-00Z', '2026-11-02T00-00-00Z'] as const;

async function update(client: ClientStore): Promise<void> {
  await using held = new AsyncDisposableStack();
  await openIndex(held, client);
}

/** Two snapshots: d/a is in both, d/b has two versions, `d/c N` are in the second one. */
async function prepare(context: TestContext, count = 0): Promise<ClientStore> {
  const client = makeClient(context);
  const trees = NAMES.map(name => `${client.folder}/snapshots/${name}/tree`);
  for (const name of NAMES) addSnapshot(client, name);
  for (const tree of trees) mkdirSync(`${tree}/d`);
  writeFileSync(`${trees[0]}/d/a`, 'a');
  linkSync(`${trees[0]}/d/a`, `${trees[1]}/d/a`);
  writeFileSync(`${trees[0]}/d/b`, 'b');
  writeFileSync(`${trees[1]}/d/b`, 'bb');
  for (let at = 0; at < count; at += 1) writeFileSync(`${trees[1]}/d/c ${at}`, '');
  await update(client);
  return client;
}

function search(
  client: ClientStore,
  pattern: string,
  more: { from?: number; count?: number; timeMs?: number } = {},
): Promise<SearchResult> {
  const options = { from: 0, count: 100, timeMs: 60_000, ...more };
  return searchIndex(
    client,
    { isWanted: parsePattern(pattern, true), needsPath: pattern.includes('/'), ...options },
    signal,
  );
}

describe('searchIndex()', () => {
  it('finds names with their newest version and all snapshots', async context => {
    const client = await prepare(context);
    const { found, next, missing } = await search(client, 'B');
    assert.deepEqual([next, missing], [undefined, []]);
    const [b] = found;
    assert.deepEqual(
      [b?.path.toString(), b?.size, b?.versions, b?.snapshots, b?.isFolder],
      ['d/b', 2, 2, [...NAMES], false],
    );
    assert.deepEqual(
      (await search(client, 'd')).found.map(each => [each.path.toString(), each.isFolder]),
      [['d', true]],
    );
    assert.deepEqual(
      (await search(client, '/d/?')).found.map(each => each.path.toString()),
      ['d/a', 'd/b'],
    );
    assert.deepEqual((await search(client, 'nothing')).found, []);
  });

  it('goes on where the search before stopped, and finds each name once', async context => {
    const client = await prepare(context, 5000);
    const found: string[] = [];
    let from: number | undefined = 0;
    let parts = 0;
    while (from !== undefined) {
      const part = await search(client, 'c *', { from, count: 700 });
      found.push(...part.found.map(each => each.path.toString()));
      assert.ok(part.found.length <= 700);
      from = part.next;
      parts += 1;
    }
    assert.deepEqual([parts, found.length, new Set(found).size], [8, 5000, 5000]);
  });

  it('stops at its time, with the place to go on from', async context => {
    const client = await prepare(context, 5000);
    const first = await search(client, 'c *', { timeMs: -1, count: 5000 });
    assert.ok(first.next !== undefined && first.next > 0);
    assert.ok(first.found.length < 5000);
    const rest = await search(client, 'c *', { from: first.next, count: 5000 });
    const found = [...first.found, ...rest.found].map(each => each.path.toString());
    assert.deepEqual([found.length, new Set(found).size, rest.next], [5000, 5000, undefined]);
  });

  it('names the snapshots that the index does not have', async context => {
    const client = await prepare(context);
    addSnapshot(client, '2026-11-03T00-00-00Z');
    assert.deepEqual((await search(client, 'a')).missing, ['2026-11-03T00-00-00Z']);
  });

  it('fails without an index', async context => {
    const client = makeClient(context);
    await assert.rejects(search(client, 'a'), { tried: `open "${client.folder}/index.sqlite"` });
  });
});
