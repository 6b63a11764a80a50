import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { showBytes, showDuration, showTime } from '../src/output/units.ts';

describe('showBytes()', () => {
  for (const [bytes, text] of [
    [0, '0 B'],
    [1, '1 B'],
    [1023, '1023 B'],
    [1024, '1.0 KiB'],
    [1536, '1.5 KiB'],
    [1024 ** 2, '1.0 MiB'],
    [1024 ** 3, '1.0 GiB'],
    [1024 ** 4, '1.0 TiB'],
    [1024 ** 5, '1024.0 TiB'],
  ] as const)
    it(`shows ${bytes} as ${text}`, () => assert.equal(showBytes(bytes), text));

  it('is within a twentieth of a unit of what it is told', () => {
    fc.assert(
      fc.property(fc.nat({ max: Number.MAX_SAFE_INTEGER }), bytes => {
        const [number = '', unit = ''] = showBytes(bytes).split(' ');
        const size = 1024 ** ['B', 'KiB', 'MiB', 'GiB', 'TiB'].indexOf(unit);
        assert.ok(Math.abs(Number(number) * size - bytes) <= size * 0.050001);
      }),
    );
  });
});

describe('showDuration()', () => {
  for (const [ms, text] of [
    [0, '0.0 s'],
    [1234, '1.2 s'],
    [59_900, '59.9 s'],
    [60_000, '1 min 0 s'],
    [185_000, '3 min 5 s'],
    [119_999, '2 min 0 s'],
  ] as const)
    it(`shows ${ms} ms as ${text}`, () => assert.equal(showDuration(ms), text));
});

describe('showTime()', () => {
  it('is RFC 3339 in UTC, down to the nanosecond before 1970 too', () => {
    assert.equal(showTime(0n, 9), '1970-01-01T00:00:00.000000000Z');
    assert.equal(showTime(-1n, 9), '1969-12-31T23:59:59.999999999Z');
    assert.equal(showTime(-1n, 0), '1969-12-31T23:59:59Z');
    assert.equal(showTime(1_700_000_000_123_456_789n, 9), '2023-11-14T22:13:20.123456789Z');
  });
  it('says the seconds where there is no year of four digits', () => {
    assert.equal(showTime(253_402_300_799_000_000_000n, 0), '9999-12-31T23:59:59Z');
    assert.equal(showTime(253_402_300_800_000_000_000n, 9), '@253402300800.000000000');
    assert.equal(showTime(2n ** 62n * 1_000_000_000n, 0), '@4611686018427387904');
    assert.equal(showTime(-62_167_219_201_000_000_000n, 0), '@-62167219201');
  });
});
