import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { Fault } from '../src/fault.ts';
import type { Queue } from '../src/host/queue.ts';
import { takeSlot } from '../src/host/slots.ts';

describe('takeSlot()', () => {
  let store: string;
  let retries: number[];
  beforeEach(() => {
    store = mkdtempSync(join(tmpdir(), 'a store '));
    retries = [];
  });
  afterEach(() => rmSync(store, { recursive: true }));

  const { signal } = new AbortController();
  async function take(name: string, concurrent = 2, life = signal): Promise<AsyncDisposableStack> {
    const held = new AsyncDisposableStack();
    await takeSlot(held, { store, concurrent, client: name, signal: life }, ms => retries.push(ms));
    return held;
  }
  async function isRefused(name: string, concurrent = 2): Promise<void> {
    await assert.rejects(
      take(name, concurrent),
      error => error instanceof Fault && error.code === 'full' && error.exit === 'locked',
    );
  }
  const queue = (): Queue => JSON.parse(readFileSync(join(store, 'turns/queue.json'), 'utf8'));
  const waiting = (): string[] => queue().places.map(each => each.client);

  it('gives out max_concurrent slots, tells the next client when to retry, and gives it a slot when a run has ended', async () => {
    const [first, second] = [await take('acorn'), await take('beech')];
    await isRefused('cedar');
    assert.equal(retries.length, 1);
    assert.deepEqual(waiting(), ['cedar']);
    await first.disposeAsync();
    const third = await take('cedar');
    assert.deepEqual(waiting(), []);
    await isRefused('acorn');
    await second.disposeAsync();
    await third.disposeAsync();
    assert.deepEqual(
      queue().lately.map(each => each.client),
      ['acorn', 'beech', 'cedar'],
    );
  });

  it('reserves a free slot for the first client in the queue, and gives the second one to the second client', async () => {
    const [first, second] = [await take('acorn'), await take('beech')];
    await isRefused('cedar');
    await isRefused('dogwood');
    await first.disposeAsync();
    await isRefused('elm');
    await isRefused('dogwood');
    await second.disposeAsync();
    await isRefused('elm');
    const third = await take('dogwood'); // two are free, and one client is ahead
    const fourth = await take('cedar');
    await isRefused('elm');
    for (const each of [third, fourth]) await each.disposeAsync();
    await (await take('elm')).disposeAsync();
  });

  it('gives a free slot to the next client when the first one has lost its position', async () => {
    const first = await take('acorn', 1);
    await isRefused('beech', 1);
    await first.disposeAsync();
    await isRefused('cedar', 1);
    const late = { ...queue(), places: queue().places.map(each => ({ ...each, untilMs: Date.now() - 1 })) };
    writeFileSync(join(store, 'turns/queue.json'), JSON.stringify(late));
    await (await take('cedar', 1)).disposeAsync();
  });

  it('starts with an empty queue when queue.json is damaged', async () => {
    const first = await take('acorn', 1);
    await isRefused('beech', 1);
    writeFileSync(join(store, 'turns/queue.json'), '{"places":[{');
    await isRefused('cedar', 1);
    assert.deepEqual(waiting(), ['cedar']);
    await first.disposeAsync();
  });

  it('gives neither slot nor position to a client that has disconnected', async () => {
    const reason = new Fault({ tried: 'serve', found: 'gone', code: 'gone' });
    await assert.rejects(take('acorn', 1, AbortSignal.abort(reason)), reason);
    await (await take('beech', 1)).disposeAsync();
    assert.deepEqual(waiting(), []);
  });

  it('leaves no more than the slots, the queue and its lock, private', async () => {
    for (const each of [await take('acorn'), await take('beech')]) await each.disposeAsync();
    const folder = join(store, 'turns');
    assert.deepEqual(readdirSync(folder).sort(), ['0', '1', 'lock', 'queue.json']);
    for (const name of readdirSync(folder))
      assert.equal(statSync(join(folder, name)).mode & 0o777, 0o600, name);
    assert.equal(statSync(folder).mode & 0o777, 0o700);
  });
});
