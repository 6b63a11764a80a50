import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Meter } from '../src/output/meter.ts';
import { progressText } from '../src/output/progress-text.ts';
import { ANY_CHARACTER } from './support/any-character.ts';

type Progress = Parameters<typeof progressText>[0];

const WHOLE: Progress = {
  label: 'vault: copying',
  percent: 34,
  files: { done: 1234, total: 3210 },
  bytes: 58_720_256,
  bytesPerSecond: 12_897_485,
  leftMs: 150_000,
};

describe('progressText()', () => {
  for (const [columns, text] of [
    [200, 'vault: copying, 34%, 1234 of 3210 files, 56.0 MiB, 12.3 MiB/s, about 3 min left'],
    [80, 'vault: copying, 34%, 1234 of 3210 files, 56.0 MiB, 12.3 MiB/s, about 3 min left'],
    [79, 'vault: copying, 34%, 56.0 MiB, 12.3 MiB/s, about 3 min left'],
    [59, 'vault: copying, 34%, 56.0 MiB, about 3 min left'],
    [40, 'vault: copying, 34%, about 3 min left'],
    [30, 'vault: copying, 34%'],
    [19, 'vault: copying'],
    [9, 'vault: c'],
    [1, ''],
    [0, ''],
  ] as const)
    it(`has its most important parts on ${columns} columns`, () =>
      assert.equal(progressText(WHOLE, columns), text));

  for (const [more, text] of [
    [{}, 'x'],
    [{ elapsedMs: 1_999 }, 'x'],
    [{ elapsedMs: 12_345 }, 'x, 12 s so far'],
    [{ elapsedMs: 61_000 }, 'x, 1 min 1 s so far'],
    [{ elapsedMs: 7_320_000 }, 'x, 2 h 2 min so far'],
    [{ elapsedMs: 12_345, leftMs: 10_000 }, 'x, about 10 s left'],
    [{ files: { done: 3, total: undefined } }, 'x, 3 files'],
    [{ percent: 0, bytes: 0, bytesPerSecond: 0 }, 'x, 0%'],
    [{ bytes: 5, bytesPerSecond: 1.4 }, 'x, 5 B, 1 B/s'],
    [{ leftMs: 1 }, 'x, about 5 s left'],
    [{ leftMs: 54_999 }, 'x, about 55 s left'],
    [{ leftMs: 55_000 }, 'x, about 1 min left'],
    [{ leftMs: 3_600_000 * 26 }, 'x, about 26 h 0 min left'],
  ] satisfies [Partial<Progress>, string][])
    it(`says ${JSON.stringify(more)} as "${text}"`, () =>
      assert.equal(progressText({ label: 'x', ...more }, 80), text));

  it('is never wider than the terminal, and plain ASCII, whatever a remote is called', () => {
    const number = fc.oneof(fc.nat(), fc.constant(Number.MAX_SAFE_INTEGER), fc.constant(undefined));
    const progress = fc.record({
      label: fc.string({ unit: ANY_CHARACTER }),
      elapsedMs: number,
      percent: number,
      files: fc.option(fc.record({ done: fc.nat(), total: number }), { nil: undefined }),
      bytes: number,
      bytesPerSecond: number,
      leftMs: number,
    });
    fc.assert(
      fc.property(progress, fc.nat(300), (each, columns) => {
        const text = progressText(each, columns);
        assert.ok(text.length <= Math.max(0, columns - 1), text);
        assert.match(text, /^[ -~]*$/);
      }),
    );
  });
});

describe('Meter', () => {
  it('knows no rate at once, and no time left before something is done', () => {
    const meter = new Meter(1_000);
    assert.deepEqual([meter.rate, meter.leftMs(1_000)], [undefined, undefined]);
    meter.read(1_001, 1_000_000, 0);
    assert.deepEqual([meter.rate, meter.leftMs(2_000)], [undefined, undefined]);
    meter.read(2_000, 1_000_000, 0);
    meter.read(5_000, 4_000_000, 1);
    assert.deepEqual([meter.rate, meter.leftMs(5_000)], [1_000_000, undefined]);
  });
  it('has the rate of all the time in the first seconds, and then of the last ones', () => {
    const meter = new Meter(0);
    meter.read(1_000, 40_000, undefined);
    meter.read(2_000, 40_000, undefined);
    assert.equal(meter.rate, 20_000);
    for (let ms = 3_000; ms <= 40_000; ms += 1_000) meter.read(ms, 40_000 + ms, undefined);
    assert.ok((meter.rate ?? 0) < 1_100, `${meter.rate}`);
  });
  it('says nothing of the time left while nobody knows how much there is', () => {
    const meter = new Meter(0);
    for (let ms = 1_000; ms < 100_000; ms += 1_000) {
      meter.read(ms, ms, undefined);
      assert.equal(meter.leftMs(ms), undefined);
    }
  });
  it('is right about a steady run, and counts down within a hundredth', () => {
    const meter = new Meter(0);
    for (let ms = 1_000; ms < 1_000_000; ms += 1_000) {
      meter.read(ms, ms * 1_000, Math.floor(ms / 10_000));
      if (ms < 20_000) continue;
      const leftMs = meter.leftMs(ms) ?? 0;
      assert.ok(Math.abs(leftMs - (1_000_000 - ms)) < 1, `${leftMs} at ${ms}`);
      assert.ok(Math.abs((meter.rate ?? 0) - 1_000_000) < 1, `${meter.rate}`);
    }
    meter.read(1_000_000, 1e9, 100);
    assert.equal(meter.leftMs(1_000_000), undefined);
  });
  it('sinks to nothing where nothing comes any more, and says no time below zero', () => {
    const meter = new Meter(0);
    for (let ms = 1_000; ms <= 10_000; ms += 1_000) meter.read(ms, ms * 1_000, ms / 100);
    assert.equal(meter.leftMs(10_000), undefined);
    const stalled = new Meter(0);
    for (let ms = 1_000; ms <= 10_000; ms += 1_000) stalled.read(ms, ms * 1_000, ms / 200);
    assert.equal(stalled.leftMs(10_000), 10_000);
    for (let ms = 15_000; ms <= 120_000; ms += 5_000) stalled.read(ms, 10_000_000, 50);
    assert.ok((stalled.rate ?? 1e9) < 100, `${stalled.rate}`);
    assert.equal(stalled.leftMs(120_000), undefined);
  });
  it('is never negative or without bounds, however a peer jumps', () => {
    const reading = fc.tuple(fc.nat(10_000), fc.nat(), fc.option(fc.nat(100), { nil: undefined }));
    fc.assert(
      fc.property(fc.array(reading), readings => {
        const meter = new Meter(0);
        let ms = 0;
        for (const [later, bytes, percent] of readings) {
          ms += later;
          meter.read(ms, bytes, percent);
          const { rate = 0 } = meter;
          const leftMs = meter.leftMs(ms) ?? 1;
          assert.ok(Number.isFinite(rate) && rate >= 0, `${rate}`);
          assert.ok(Number.isFinite(leftMs) && leftMs > 0, `${leftMs}`);
        }
      }),
    );
  });
});
