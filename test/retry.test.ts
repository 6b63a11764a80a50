import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { decideRetry, isPassing, jitterWait } from '../src/client/retry.ts';
import { EXIT, type ExitName, Fault } from '../src/fault.ts';
import { FAILURES, type FailureCode } from '../src/wire/events.ts';

type Ended = Parameters<typeof decideRetry>[0];
type Limits = Parameters<typeof decideRetry>[1];

const MINUTE = 60_000;

const ends = (exit: ExitName, code: FailureCode | null = null, faultCode?: string): Ended => ({
  fault: new Fault({
    tried: 'back up to "vault"',
    found: 'it is not so',
    exit,
    ...(faultCode ? { code: faultCode } : {}),
  }),
  code,
  toldMs: undefined,
});
const limits = (more: Partial<Limits> = {}): Limits => ({
  failures: 1,
  turns: 1,
  failingMs: 0,
  retryMs: 30 * MINUTE,
  leftMs: 1440 * MINUTE,
  ...more,
});

/** All that an attempt can end in, by the host's code. */
const CODES = Object.entries(FAILURES).map(
  ([code, [exit]]) => [code as FailureCode, ends(exit, code as FailureCode)] as const,
);
const anyEnded = fc.oneof(
  fc.constantFrom(...CODES.map(([, ended]) => ended)),
  fc.constantFrom(...(Object.keys(EXIT) as ExitName[]).map(exit => ends(exit))),
  fc.record({ toldMs: fc.nat() }).map(({ toldMs }) => ({ ...ends('locked', 'full'), toldMs })),
);
const share = fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true });

describe('isPassing()', () => {
  it('says yes to a host that cannot be reached, in either direction, and to one that is busy with this client', () => {
    assert.ok(isPassing(ends('unreachable')));
    assert.ok(isPassing(ends('unreachable', 'unreachable')));
    assert.ok(isPassing(ends('locked', 'busy')));
  });

  it('says no to success, and to what a second attempt would only end in again', () => {
    assert.ok(!isPassing({ fault: undefined, code: null, toldMs: undefined }));
    assert.ok(!isPassing(ends('unreachable', null, 'wrong-key')));
    assert.ok(!isPassing(ends('unreachable', null, 'asked')));
    assert.ok(!isPassing(ends('locked')), 'our own lock');
    for (const exit of Object.keys(EXIT) as ExitName[])
      if (exit !== 'unreachable') assert.ok(!isPassing(ends(exit)), exit);
    for (const [code, ended] of CODES)
      assert.equal(isPassing(ended), code === 'busy' || code === 'unreachable', code);
  });
});

describe('decideRetry()', () => {
  it('waits twice as long each time, spread over half of it, and never more than ten minutes', () => {
    const waits = [1, 2, 3, 8, 9, 10, 11, 1000].map(failures =>
      [0, 0.5, 0.999].map(random => decideRetry(ends('unreachable'), limits({ failures }), random)?.waitMs),
    );
    assert.deepEqual(waits.slice(0, 3), [
      [1000, 1500, 1999],
      [2000, 3000, 3998],
      [4000, 6000, 7996],
    ]);
    assert.deepEqual(waits.at(-1), [5 * MINUTE, 7.5 * MINUTE, 599_700]);
  });

  it('does nothing again where `retry` is 0, once its time is up, or past the deadline', () => {
    assert.equal(decideRetry(ends('unreachable'), limits({ retryMs: 0 }), 0.5), undefined);
    assert.equal(decideRetry(ends('unreachable'), limits({ failingMs: 30 * MINUTE }), 0.5), undefined);
    assert.equal(decideRetry(ends('unreachable'), limits({ failingMs: 31 * MINUTE }), 0.5), undefined);
    assert.equal(decideRetry(ends('unreachable'), limits({ leftMs: 1500 }), 0.5), undefined);
    assert.equal(decideRetry(ends('unreachable'), limits({ leftMs: -1 }), 0.5), undefined);
    assert.equal(
      decideRetry({ ...ends('locked', 'full'), toldMs: 5000 }, limits({ leftMs: 5000 }), 0),
      undefined,
    );
  });

  it('makes the last attempt when the time of `retry` ends', () => {
    const late = limits({ failures: 20, failingMs: 29 * MINUTE });
    assert.deepEqual(decideRetry(ends('unreachable'), late, 0.9), { why: 'retry', waitMs: MINUTE });
  });

  it('waits for its turn as it was told and up to a quarter and a second more, whatever `retry` is', () => {
    const full = { ...ends('locked', 'full'), toldMs: 40_000 };
    const wait = (random: number, retryMs = 0): unknown => decideRetry(full, limits({ retryMs }), random);
    assert.deepEqual(wait(0), { why: 'turn', waitMs: 40_000 });
    assert.deepEqual(wait(0.5), { why: 'turn', waitMs: 45_500 });
    assert.deepEqual(wait(0.5, MINUTE), { why: 'turn', waitMs: 45_500 });
    assert.deepEqual(decideRetry({ ...full, toldMs: 0 }, limits(), 0), { why: 'turn', waitMs: 1000 });
    assert.deepEqual(decideRetry({ ...full, toldMs: undefined }, limits(), 0), {
      why: 'turn',
      waitMs: 30_000,
    });
  });

  it('does not let a host call it again and again: the least wait grows, and no place is lost by that', () => {
    const full = { ...ends('locked', 'full'), toldMs: 0 };
    const waits = [1, 7, 8, 16, 40, 5000].map(turns => decideRetry(full, limits({ turns }), 0)?.waitMs);
    assert.deepEqual(waits, [1000, 1000, 2000, 4000, 20_000, 20_000]);
    const patient = { ...full, toldMs: 60_000 };
    assert.equal(decideRetry(patient, limits({ turns: 5000 }), 0)?.waitMs, 60_000);
  });

  it('of any end and any limits, waits within them, and never less than half a second', () => {
    const anyLimits = fc.record({
      failures: fc.integer({ min: 1, max: 5000 }),
      turns: fc.integer({ min: 1, max: 5000 }),
      failingMs: fc.nat({ max: 50 * MINUTE }),
      retryMs: fc.nat({ max: 50 * MINUTE }),
      leftMs: fc.integer({ min: -MINUTE, max: 50 * MINUTE }),
    });
    fc.assert(
      fc.property(anyEnded, anyLimits, share, (ended, given, random) => {
        const retry = decideRetry(ended, given, random);
        if (retry === undefined) return;
        assert.ok(retry.waitMs >= 500 && retry.waitMs < given.leftMs);
        assert.ok(Number.isInteger(retry.waitMs));
        if (retry.why === 'turn')
          assert.ok(ended.code === 'full' && retry.waitMs >= (ended.toldMs ?? 30_000));
        else assert.ok(isPassing(ended) && given.failingMs + retry.waitMs <= given.retryMs);
      }),
    );
  });
});

describe('jitterWait()', () => {
  it('is nothing where somebody waits for it, and else less than was set', () => {
    assert.equal(jitterWait(10 * MINUTE, true, 0.9), 0);
    assert.equal(jitterWait(0, false, 0.9), 0);
    fc.assert(
      fc.property(fc.nat(), share, (most, random) => {
        const ms = jitterWait(most, false, random);
        assert.ok(Number.isInteger(ms) && ms >= 0 && ms <= most);
      }),
    );
  });
});
