import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseGivenTime, timeInName } from '../src/store/adopted-time.ts';

describe('timeInName()', () => {
  it('reads a date, and a time behind it', () => {
    const local = (...parts: [number, number, number, number?, number?, number?]): string =>
      new Date(parts[0], parts[1] - 1, ...(parts.slice(2) as [number])).toISOString();
    for (const [name, expected] of [
      ['2026-05-01', local(2026, 5, 1)],
      ['home-20260501', local(2026, 5, 1)],
      ['20260501_0315', local(2026, 5, 1, 3, 15)],
      ['back-2026-05-01T03:15:59', local(2026, 5, 1, 3, 15, 59)],
      ['2026-05-01T03-15-00Z', '2026-05-01T03:15:00.000Z'],
      ['2026-05-01 03.15', local(2026, 5, 1, 3, 15)],
      ['2026-02-29.bak', undefined],
      ['2028-02-29.bak', local(2028, 2, 29)],
    ] as const)
      assert.equal(timeInName(name)?.toISOString(), expected, name);
  });

  it('refuses a name without one date that exists', () => {
    for (const name of [
      '',
      'daily.0',
      'home',
      '2026',
      '2026-13-01',
      '2026-05-32',
      '20260501-20260502',
      '120260501',
      '202605011',
      '2026-05-01T25:00',
      '2026-05-01T03:61',
    ])
      assert.equal(timeInName(name), undefined, name);
  });
});

describe('parseGivenTime()', () => {
  it('reads a date, a local time, and one in UTC', () => {
    assert.equal(parseGivenTime('2026-05-01T03:15:00Z')?.toISOString(), '2026-05-01T03:15:00.000Z');
    assert.equal(parseGivenTime('2026-05-01T03-15-00Z')?.toISOString(), '2026-05-01T03:15:00.000Z');
    assert.equal(parseGivenTime('2026-05-01')?.getTime(), new Date(2026, 4, 1).getTime());
    assert.equal(parseGivenTime('2026-05-01 03:15')?.getTime(), new Date(2026, 4, 1, 3, 15).getTime());
  });

  it('refuses every other text', () => {
    for (const text of [
      '',
      'yesterday',
      '1',
      '2026-5-1',
      '2026-05-01T3:15',
      '2026-05-01T03:15+02:00',
      '2026-02-30',
      ' 2026-05-01',
      '2026-05-01T24:00',
      '20260501',
    ])
      assert.equal(parseGivenTime(text), undefined, text);
  });
});
