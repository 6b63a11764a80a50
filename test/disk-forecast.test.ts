import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { forecast } from '../src/store/disk-forecast.ts';
import { snapshotName } from '../src/wire/text.ts';

const DAY_MS = 86_400_000;
const AT = new Date('2026-11-30T12:00:00.000Z');
const before = (days: number): Date => new Date(AT.getTime() - days * DAY_MS);
const sample = (days: number, bytes: number): { at: string; bytes: number } => ({
  at: before(days).toISOString(),
  bytes,
});
const snapshot = (days: number, bytes: number): { name: string; new_bytes: number } => ({
  name: snapshotName(before(days)),
  new_bytes: bytes,
});

describe('forecast()', () => {
  const none = { at: AT, free: 1000, room: 800, samples: [], snapshots: [] };

  it('draws a line through the free space of the last month', () => {
    const samples = [sample(200, 5), sample(10, 2000), sample(5, 1500), sample(-5, 7)];
    assert.deepEqual(forecast({ ...none, samples }), {
      growth_bytes_per_day: 100,
      days_until_full: 8,
      basis: 'free-space',
    });
  });

  it('has no day for a store that shrinks or stays as it is', () => {
    const found = forecast({ ...none, samples: [sample(10, 100), sample(5, 500)] });
    assert.equal(found?.days_until_full, null);
    assert.equal((found?.growth_bytes_per_day ?? 0) < 0, true);
    const same = forecast({ ...none, samples: [sample(10, 1000), sample(5, 1000)] });
    assert.deepEqual([same?.growth_bytes_per_day, same?.days_until_full], [0, null]);
  });

  it('is 0 days where no room is left', () => {
    assert.equal(
      forecast({ ...none, room: -5, samples: [sample(10, 2000), sample(5, 1500)] })?.days_until_full,
      0,
    );
  });

  it('counts new bytes as long as there are too few samples', () => {
    const snapshots = [snapshot(100, 10 ** 9), snapshot(4, 300), snapshot(2, 100), snapshot(-2, 10 ** 9)];
    for (const samples of [[], [sample(2, 9000)], [sample(2, 9000), sample(1, 5000)]])
      assert.deepEqual(forecast({ ...none, samples, snapshots }), {
        growth_bytes_per_day: 100,
        days_until_full: 8,
        basis: 'new-bytes',
      });
  });

  it('is null where there is too little of either', () => {
    assert.equal(forecast(none), null);
    assert.equal(forecast({ ...none, snapshots: [snapshot(1, 300), snapshot(2, 100)] }), null);
  });
});
