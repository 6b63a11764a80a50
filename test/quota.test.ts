import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { newLedger } from '../src/host/ledger.ts';
import { growthLeft, nextRequest, noteGrowth, noteStart } from '../src/host/quota.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const T0 = Date.UTC(2026, 0, 1, 1, 30);
const at = (ms: number): Date => new Date(T0 + ms);

describe('nextRequest()', () => {
  it('counts from the start of the last run, however the run ended', () => {
    const ledger = newLedger();
    assert.equal(nextRequest(ledger, HOUR, at(0)), undefined);
    noteStart(ledger, at(0));
    assert.deepEqual(nextRequest(ledger, HOUR, at(0)), at(HOUR));
    assert.deepEqual(nextRequest(ledger, HOUR, at(HOUR - 1)), at(HOUR));
    assert.equal(nextRequest(ledger, HOUR, at(HOUR)), undefined);
  });
  it('lets a client run at any time when no interval is set', () => {
    const ledger = newLedger(T0);
    assert.equal(nextRequest(ledger, 0, at(0)), undefined);
  });
  it('ignores a start in the future', () => {
    assert.equal(nextRequest(newLedger(T0 + 400 * DAY), HOUR, at(0)), undefined);
  });
});

describe('growthLeft()', () => {
  const BUDGET = 24_000;
  it('is the whole budget at first, and after that the rest', () => {
    const ledger = newLedger();
    assert.equal(growthLeft(ledger, BUDGET, at(0)), BUDGET);
    noteGrowth(ledger, 20_000, BUDGET, at(0));
    assert.equal(growthLeft(ledger, BUDGET, at(0)), 4_000);
  });
  it('comes back by a budget a day, and not above it', () => {
    const ledger = newLedger();
    noteGrowth(ledger, 24_000, BUDGET, at(0));
    assert.equal(growthLeft(ledger, BUDGET, at(HOUR)), 1_000);
    assert.equal(growthLeft(ledger, BUDGET, at(DAY)), BUDGET);
    assert.equal(growthLeft(ledger, BUDGET, at(9 * DAY)), BUDGET);
  });
  it('is 0 after a run that added too much, and the excess expires too', () => {
    const ledger = newLedger();
    noteGrowth(ledger, 30_000, BUDGET, at(0));
    assert.equal(growthLeft(ledger, BUDGET, at(0)), 0);
    assert.equal(growthLeft(ledger, BUDGET, at(6 * HOUR)), 0);
    assert.equal(growthLeft(ledger, BUDGET, at(DAY)), 18_000);
  });
  it('does not grow when the clock is set back, and grows from there on', () => {
    const ledger = newLedger();
    noteGrowth(ledger, 24_000, BUDGET, at(100 * DAY));
    assert.equal(growthLeft(ledger, BUDGET, at(0)), 0);
    noteGrowth(ledger, 0, BUDGET, at(0));
    assert.equal(growthLeft(ledger, BUDGET, at(DAY)), BUDGET);
  });
  it('never allows more than one budget and one more for each day, for any requests', () => {
    const steps = fc.array(fc.tuple(fc.nat(2 * DAY), fc.double({ min: 0, max: 1, noNaN: true })), {
      maxLength: 60,
    });
    fc.assert(
      fc.property(steps, asked => {
        const ledger = newLedger();
        let [time, total] = [0, 0];
        for (const [pause, part] of asked) {
          time += pause;
          const bytes = growthLeft(ledger, BUDGET, at(time)) * part;
          noteGrowth(ledger, bytes, BUDGET, at(time));
          total += bytes;
        }
        assert.ok(total <= BUDGET * (1 + time / DAY) + 1e-3);
      }),
      { seed: 6, numRuns: 500 },
    );
  });
});
