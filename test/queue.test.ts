import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import fc from 'fast-check';
import { Fault } from '../src/fault.ts';
import {
  countAhead,
  livePlaces,
  parseTurns,
  type Turns,
  takeTurn,
  withoutPlace,
  withPlace,
  withRun,
} from '../src/host/queue.ts';

const NOW = Date.parse('2026-11-23T12:00:00Z');
const NONE: Turns = { places: [], lately: [] };
const client = fc.constantFrom('acorn', 'beech', 'cedar', 'dogwood', 'elm', 'fir');

const told = (turns: Turns, name: string, nowMs = NOW, concurrent = 4): Turns =>
  withPlace(turns, name, concurrent, nowMs).turns;
const inOrder = (turns: Turns, nowMs = NOW): string[] => livePlaces(turns, nowMs).map(each => each.client);

describe('parseTurns()', () => {
  it('takes what is written', () => {
    const turns = withRun(told(told(NONE, 'acorn'), 'beech'), 'cedar', 1200.4);
    assert.deepEqual(parseTurns(JSON.stringify(turns)), { value: turns });
  });

  for (const text of [
    '',
    'null',
    '[]',
    '{}',
    '{"places":[]}',
    '{"places":{},"lately":[]}',
    '{"places":[null],"lately":[]}',
    '{"places":["acorn"],"lately":[]}',
    '{"places":[{"client":"acorn"}],"lately":[]}',
    '{"places":[{"client":"acorn","untilMs":"1"}],"lately":[]}',
    '{"places":[{"client":"acorn","untilMs":1.5}],"lately":[]}',
    '{"places":[{"client":"../acorn","untilMs":1}],"lately":[]}',
    '{"places":[{"client":["acorn"],"untilMs":1}],"lately":[]}',
    '{"places":[],"lately":[{"client":"acorn","ms":null}]}',
  ])
    it(`refuses ${JSON.stringify(text)}`, () => assert.ok('reason' in parseTurns(text)));
});

describe('withPlace()', () => {
  it('keeps the order in which clients were told first, however often each asks', () => {
    let turns = ['acorn', 'beech', 'cedar'].reduce((all, name) => told(all, name), NONE);
    turns = told(told(told(turns, 'cedar'), 'beech'), 'cedar');
    assert.deepEqual(inOrder(turns), ['acorn', 'beech', 'cedar']);
    assert.deepEqual(inOrder(withoutPlace(turns, 'beech', NOW)), ['acorn', 'cedar']);
  });

  it('loses the place of who does not come within a quarter more than it was told, and two minutes', () => {
    const { turns, waitMs } = withPlace(NONE, 'acorn', 1, NOW);
    const last = NOW + Math.floor(waitMs * 1.25) + 120_000;
    assert.deepEqual(inOrder(turns, last), ['acorn']);
    assert.deepEqual(inOrder(turns, last + 1), []);
    const later = told(told(turns, 'beech', last), 'acorn', last + 1);
    assert.deepEqual(inOrder(later, last + 1), ['beech', 'acorn']);
  });

  it('does not believe a place that lasts longer than places do: the clock was wrong', () => {
    const turns = told(NONE, 'acorn', NOW + 86_400_000);
    assert.deepEqual(inOrder(turns), []);
  });

  it('tells half of the time that those before will take, by the runs of late', () => {
    const runs = [20_000, 60_000, 40_000].map((ms, index) => [`c${index}`, ms] as const);
    const turns = runs.reduce((all, [name, ms]) => withRun(all, name, ms), NONE);
    assert.equal(withPlace(turns, 'acorn', 4, NOW).waitMs, 5_000);
    assert.equal(withPlace(told(turns, 'acorn'), 'beech', 4, NOW).waitMs, 10_000);
    assert.equal(withPlace(told(turns, 'acorn'), 'acorn', 4, NOW).waitMs, 5_000);
    assert.equal(withPlace(turns, 'acorn', 1, NOW).waitMs, 20_000);
  });

  it('tells a second at least, and five minutes at most', () => {
    assert.equal(withPlace(withRun(NONE, 'x', 1), 'acorn', 4, NOW).waitMs, 1000);
    assert.equal(withPlace(withRun(NONE, 'x', 86_400_000), 'acorn', 4, NOW).waitMs, 300_000);
  });

  it('of any course of events: a client has one place at most, and nobody is moved back by another', () => {
    const event = fc.record({
      client,
      does: fc.constantFrom('asks' as const, 'runs' as const, 'takes its turn' as const),
      afterMs: fc.nat({ max: 20_000 }),
    });
    fc.assert(
      fc.property(
        fc.array(event, { maxLength: 60 }),
        fc.integer({ min: 1, max: 9 }),
        (events, concurrent) => {
          let turns = NONE;
          let nowMs = NOW;
          for (const { client: name, does, afterMs } of events) {
            nowMs += afterMs;
            const before = inOrder(turns, nowMs);
            const ahead = countAhead(turns, name, nowMs);
            if (does === 'asks') {
              const placed = withPlace(turns, name, concurrent, nowMs);
              assert.ok(placed.waitMs >= 1000 && placed.waitMs <= 300_000);
              turns = placed.turns;
              assert.deepEqual(inOrder(turns, nowMs), before.includes(name) ? before : [...before, name]);
              assert.equal(countAhead(turns, name, nowMs), ahead);
            } else if (does === 'takes its turn') {
              turns = withoutPlace(turns, name, nowMs);
              assert.deepEqual(
                inOrder(turns, nowMs),
                before.filter(each => each !== name),
              );
            } else {
              turns = withRun(turns, name, afterMs);
              assert.deepEqual(inOrder(turns, nowMs), before);
            }
            assert.deepEqual(parseTurns(JSON.stringify(turns)), { value: turns });
          }
        },
      ),
    );
  });
});

describe('withRun()', () => {
  it('counts a client once, the newest time, and keeps sixteen', () => {
    let turns = NONE;
    for (let index = 0; index < 20; index += 1) turns = withRun(turns, `c${index}`, index);
    turns = withRun(turns, 'c19', 5);
    assert.equal(turns.lately.length, 16);
    assert.deepEqual(turns.lately.at(-1), { client: 'c19', ms: 5 });
    assert.deepEqual(turns.lately[0], { client: 'c4', ms: 4 });
  });
});

describe('takeTurn()', () => {
  let store: string;
  let waits: number[];
  beforeEach(() => {
    store = mkdtempSync(join(tmpdir(), 'a store '));
    waits = [];
  });
  afterEach(() => rmSync(store, { recursive: true }));

  const { signal } = new AbortController();
  async function take(name: string, concurrent = 2, life = signal): Promise<AsyncDisposableStack> {
    const held = new AsyncDisposableStack();
    await takeTurn(held, { store, concurrent, client: name, signal: life }, ms => waits.push(ms));
    return held;
  }
  async function isRefused(name: string, concurrent = 2): Promise<void> {
    await assert.rejects(
      take(name, concurrent),
      error => error instanceof Fault && error.code === 'full' && error.exit === 'locked',
    );
  }
  const queue = (): Turns => JSON.parse(readFileSync(join(store, 'turns/queue.json'), 'utf8'));

  it('lets in so many at once, tells the next how long, and lets it in when one has ended', async () => {
    const [first, second] = [await take('acorn'), await take('beech')];
    await isRefused('cedar');
    assert.equal(waits.length, 1);
    assert.deepEqual(inOrder(queue(), Date.now()), ['cedar']);
    await first.disposeAsync();
    const third = await take('cedar');
    assert.deepEqual(inOrder(queue(), Date.now()), []);
    await isRefused('acorn');
    await second.disposeAsync();
    await third.disposeAsync();
    assert.deepEqual(
      queue().lately.map(each => each.client),
      ['acorn', 'beech', 'cedar'],
    );
  });

  it('keeps a free slot for who was told first, and gives the second one to who was told second', async () => {
    const [first, second] = [await take('acorn'), await take('beech')];
    await isRefused('cedar');
    await isRefused('dogwood');
    await first.disposeAsync();
    await isRefused('elm');
    await isRefused('dogwood');
    await second.disposeAsync();
    await isRefused('elm');
    const third = await take('dogwood'); // two are free, and one is before it
    const fourth = await take('cedar');
    await isRefused('elm');
    for (const each of [third, fourth]) await each.disposeAsync();
    await (await take('elm')).disposeAsync();
  });

  it('gives a slot on when its holder has lost its place', async () => {
    const first = await take('acorn', 1);
    await isRefused('beech', 1);
    await first.disposeAsync();
    await isRefused('cedar', 1);
    const late = { ...queue(), places: queue().places.map(each => ({ ...each, untilMs: Date.now() - 1 })) };
    writeFileSync(join(store, 'turns/queue.json'), JSON.stringify(late));
    await (await take('cedar', 1)).disposeAsync();
  });

  it('begins anew with a queue that is damaged', async () => {
    const first = await take('acorn', 1);
    await isRefused('beech', 1);
    writeFileSync(join(store, 'turns/queue.json'), '{"places":[{');
    await isRefused('cedar', 1);
    assert.deepEqual(inOrder(queue(), Date.now()), ['cedar']);
    await first.disposeAsync();
  });

  it('gives nothing to who has hung up', async () => {
    const reason = new Fault({ tried: 'serve', found: 'gone', code: 'gone' });
    await assert.rejects(take('acorn', 1, AbortSignal.abort(reason)), reason);
    await (await take('beech', 1)).disposeAsync();
    assert.deepEqual(inOrder(queue(), Date.now()), []);
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
