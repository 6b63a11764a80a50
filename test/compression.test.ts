import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { decideCompression } from '../src/client/compression.ts';
import { isCurrent } from '../src/client/link-record.ts';
import { measureProcessor } from '../src/client/processor.ts';

const MB = 1_000_000;
type Facts = Parameters<typeof decideCompression>[0];
const decide = (facts: Partial<Facts>): string => {
  const { compress, because } = decideCompression({
    mode: 'auto',
    hasZstd: true,
    rates: { link: 10 * MB, processor: 200 * MB },
    bwlimit: undefined,
    was: false,
    ...facts,
  });
  return `${compress ? 'zstd' : 'no'}: ${because}`;
};

describe('decideCompression()', () => {
  const rates = (link: number, processor: number): Partial<Facts> => ({
    rates: { link: link * MB, processor: processor * MB },
  });
  const table: [string, Partial<Facts>, string][] = [
    ['the link is slow', rates(2.5, 200), 'zstd: measured'],
    ['the link is half as fast as the processor', rates(100, 200), 'zstd: measured'],
    ['the link is a little faster than that', rates(101, 200), 'no: measured'],
    ['the link is as fast as the processor', rates(200, 200), 'no: measured'],
    ['the link is faster', rates(1000, 200), 'no: measured'],
    ['the processor is as slow as the link', rates(2.5, 2.5), 'no: measured'],
    ['it is near the border, and was compressed', { ...rates(120, 200), was: true }, 'zstd: measured'],
    ['it is near the border, and was not', { ...rates(120, 200), was: false }, 'no: measured'],
    ['it is beyond the border, and was compressed', { ...rates(140, 200), was: true }, 'no: measured'],
    ['a fast link is limited', { ...rates(1000, 200), bwlimit: 5 * MB }, 'zstd: measured'],
    ['a limit is above what matters', { ...rates(1000, 200), bwlimit: 500 * MB }, 'no: measured'],
    ['nothing was measured', { rates: undefined }, 'no: unmeasured'],
    ['nothing was measured, and it was compressed', { rates: undefined, was: true }, 'no: unmeasured'],
    ['it is wanted', { mode: 'zstd', rates: undefined }, 'zstd: set'],
    ['it is wanted on a fast link', { mode: 'zstd', ...rates(1000, 200) }, 'zstd: set'],
    ['it is wanted, and rsync cannot', { mode: 'zstd', hasZstd: false }, 'no: no-zstd'],
    ['it is for the measurement, and rsync cannot', { hasZstd: false }, 'no: no-zstd'],
    ['it is not wanted', { mode: 'no', ...rates(0.1, 200), was: true }, 'no: set'],
    ['it is not wanted, and rsync cannot', { mode: 'no', hasZstd: false }, 'no: set'],
  ];
  for (const [when, facts, expected] of table)
    it(`is "${expected}" when ${when}`, () => assert.equal(decide(facts), expected));

  const rate = fc.double({ min: 1, max: 1e11, noNaN: true });
  it('compresses no less when the link is slower, the processor faster, or a limit lower', () => {
    fc.assert(
      fc.property(
        rate,
        rate,
        rate,
        fc.double({ min: 1, max: 100, noNaN: true }),
        fc.boolean(),
        (...drawn) => {
          const [link, processor, bwlimit, factor, was] = drawn;
          const compress = (more: Partial<Facts>): boolean =>
            decide({ rates: { link, processor }, bwlimit, was, ...more }).startsWith('zstd');
          if (!compress({})) return;
          assert.ok(compress({ rates: { link: link / factor, processor } }));
          assert.ok(compress({ rates: { link, processor: processor * factor } }));
          assert.ok(compress({ bwlimit: bwlimit / factor }));
        },
      ),
    );
  });

  it('stays as it is when it is decided again by the same measurement', () => {
    fc.assert(
      fc.property(rate, rate, fc.boolean(), (link, processor, was) => {
        const first = decideCompression({
          ...{ mode: 'auto', hasZstd: true, bwlimit: undefined, rates: { link, processor }, was },
        } as const);
        const again = decide({ rates: { link, processor }, was: first.compress });
        assert.equal(again, `${first.compress ? 'zstd' : 'no'}: measured`);
      }),
    );
  });

  it('never compresses with a processor that is slower than the link', () => {
    fc.assert(
      fc.property(rate, rate, fc.boolean(), (link, processor, was) => {
        if (processor < link) assert.equal(decide({ rates: { link, processor }, was }), 'no: measured');
      }),
    );
  });
});

describe('isCurrent()', () => {
  const day = 86_400_000;
  const at = Date.UTC(2026, 10, 23);
  const link = { at, networks: ['192.0.2.7', '2001:db8:1:2'], compress: false };
  for (const [when, expected, nowMs, networks] of [
    ['it was measured just now', true, at, link.networks],
    ['it was measured six days ago', true, at + 6 * day, link.networks],
    ['it was measured a week ago', false, at + 7 * day, link.networks],
    ['it was measured in a time to come', false, at - 1, link.networks],
    ['the machine is elsewhere', false, at, ['198.51.100.7']],
    ['a network has gone', false, at, ['192.0.2.7']],
    ['a network has come', false, at, ['10.0.0.1', ...link.networks]],
    ['there is no network', false, at, []],
  ] as const)
    it(`is ${expected} when ${when}`, () => assert.equal(isCurrent(link, nowMs, [...networks]), expected));
});

describe('measureProcessor()', () => {
  it('finds a rate that a processor can have', () => {
    const rate = measureProcessor();
    assert.ok(rate > 100_000 && rate < 1e12, `${rate} bytes a second`);
  });
});
