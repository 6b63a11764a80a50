import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  countAhead,
  EMPTY_QUEUE,
  parseQueue,
  type Queue,
  withoutPosition,
  withPosition,
  withRun,
} from '../src/host/queue.ts';

const NOW = Date.parse('2026-11-23T12:00:00Z');
const NONE = EMPTY_QUEUE;
const client = fc.constantFrom('acorn', 'beech', 'cedar', 'dogwood', 'elm', 'fir');

const queued = (queue: Queue, name: string, nowMs = NOW, concurrent = 4): Queue =>
  withPosition(queue, name, concurrent, nowMs).queue;
const inOrder = (queue: Queue, nowMs = NOW): string[] =>
  withoutPosition(queue, 'zelkova', nowMs).places.map(each => each.client);

describe('parseQueue()', () => {
  it('takes what withPosition() and withRun() return', () => {
    const queue = withRun(queued(queued(NONE, 'acorn'), 'beech'), 'cedar', 1200.4);
    assert.deepEqual(parseQueue(JSON.stringify(queue)), { value: queue });
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
    it(`refuses ${JSON.stringify(text)}`, () => assert.ok('reason' in parseQueue(text)));
});

describe('withPosition()', () => {
  it('keeps the order of the first requests, however often each client asks', () => {
    let queue = ['acorn', 'beech', 'cedar'].reduce((all, name) => queued(all, name), NONE);
    queue = queued(queued(queued(queue, 'cedar'), 'beech'), 'cedar');
    assert.deepEqual(inOrder(queue), ['acorn', 'beech', 'cedar']);
    assert.deepEqual(inOrder(withoutPosition(queue, 'beech', NOW)), ['acorn', 'cedar']);
  });

  it('drops a client that does not come within a quarter more than its retry time and two minutes', () => {
    const { queue, retryAfterMs } = withPosition(NONE, 'acorn', 1, NOW);
    const last = NOW + Math.floor(retryAfterMs * 1.25) + 120_000;
    assert.deepEqual(inOrder(queue, last), ['acorn']);
    assert.deepEqual(inOrder(queue, last + 1), []);
    const later = queued(queued(queue, 'beech', last), 'acorn', last + 1);
    assert.deepEqual(inOrder(later, last + 1), ['beech', 'acorn']);
  });

  it('ignores a position that lasts longer than positions do: the clock was wrong', () => {
    const queue = queued(NONE, 'acorn', NOW + 86_400_000);
    assert.deepEqual(inOrder(queue), []);
  });

  it('lets retry after half of the time that the clients ahead will take, by the last runs', () => {
    const runs = [20_000, 60_000, 40_000].map((ms, index) => [`c${index}`, ms] as const);
    const queue = runs.reduce((all, [name, ms]) => withRun(all, name, ms), NONE);
    assert.equal(withPosition(queue, 'acorn', 4, NOW).retryAfterMs, 5_000);
    assert.equal(withPosition(queued(queue, 'acorn'), 'beech', 4, NOW).retryAfterMs, 10_000);
    assert.equal(withPosition(queued(queue, 'acorn'), 'acorn', 4, NOW).retryAfterMs, 5_000);
    assert.equal(withPosition(queue, 'acorn', 1, NOW).retryAfterMs, 20_000);
  });

  it('lets retry after a second at least, and after five minutes at most', () => {
    assert.equal(withPosition(withRun(NONE, 'x', 1), 'acorn', 4, NOW).retryAfterMs, 1000);
    assert.equal(withPosition(withRun(NONE, 'x', 86_400_000), 'acorn', 4, NOW).retryAfterMs, 300_000);
  });

  it('gives a client one position at most and moves no client back, for any course of events', () => {
    const event = fc.record({
      client,
      does: fc.constantFrom('asks' as const, 'runs' as const, 'gets a slot' as const),
      afterMs: fc.nat({ max: 20_000 }),
    });
    fc.assert(
      fc.property(
        fc.array(event, { maxLength: 60 }),
        fc.integer({ min: 1, max: 9 }),
        (events, concurrent) => {
          let queue = NONE;
          let nowMs = NOW;
          for (const { client: name, does, afterMs } of events) {
            nowMs += afterMs;
            const before = inOrder(queue, nowMs);
            const ahead = countAhead(queue, name, nowMs);
            if (does === 'asks') {
              const positioned = withPosition(queue, name, concurrent, nowMs);
              assert.ok(positioned.retryAfterMs >= 1000 && positioned.retryAfterMs <= 300_000);
              queue = positioned.queue;
              assert.deepEqual(inOrder(queue, nowMs), before.includes(name) ? before : [...before, name]);
              assert.equal(countAhead(queue, name, nowMs), ahead);
            } else if (does === 'gets a slot') {
              queue = withoutPosition(queue, name, nowMs);
              assert.deepEqual(
                inOrder(queue, nowMs),
                before.filter(each => each !== name),
              );
            } else {
              queue = withRun(queue, name, afterMs);
              assert.deepEqual(inOrder(queue, nowMs), before);
            }
            assert.deepEqual(parseQueue(JSON.stringify(queue)), { value: queue });
          }
        },
      ),
    );
  });
});

describe('withRun()', () => {
  it('counts the last run of a client only, and keeps sixteen clients', () => {
    let queue = NONE;
    for (let index = 0; index < 20; index += 1) queue = withRun(queue, `c${index}`, index);
    queue = withRun(queue, 'c19', 5);
    assert.equal(queue.lately.length, 16);
    assert.deepEqual(queue.lately.at(-1), { client: 'c19', ms: 5 });
    assert.deepEqual(queue.lately[0], { client: 'c4', ms: 4 });
  });
});
