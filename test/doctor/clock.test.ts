import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { checkClock, measureSkew } from '../../src/doctor/clock.ts';
import { check } from '../support/findings.ts';

describe('measureSkew()', () => {
  const line = (event: string, time: string, more: object = {}) => ({ time, event, remote: 'nas', ...more });
  const run = (
    snapshot: string | null,
    started = '2026-11-23T00:12:00.500Z',
    granted = '2026-11-23T00:12:02.500Z',
  ) => [
    line('started', started),
    line('granted', granted),
    line('finished', '2026-11-23T00:13:00.000Z', { snapshot }),
  ];
  const cases: [string, number][] = [
    ['2026-11-23T00-12-00Z', 0], // its second had begun before the run, and was not over
    ['2026-11-23T00-12-02Z', 0],
    ['2026-11-23T00-12-03Z', 500],
    ['2026-11-23T00-11-59Z', -500],
    ['2026-11-23T01-12-02Z', 3_599_500],
    ['2026-11-22T00-12-00Z', -86_399_500],
  ];
  for (const [snapshot, skewMs] of cases)
    it(`is ${skewMs} ms when the snapshot is called ${snapshot}`, () =>
      assert.deepEqual(measureSkew(run(snapshot), 'nas'), { skewMs, at: '2026-11-23T00:12:00.500Z' }));

  it('goes by the last run that made a snapshot, of this remote alone', () => {
    const other = run('2020-01-01T00-00-00Z').map(each => ({ ...each, remote: 'other' }));
    const journal = [...run('2020-01-01T00-00-00Z'), ...run('2026-11-23T00-12-01Z'), ...run(null), ...other];
    assert.equal(measureSkew(journal, 'nas')?.skewMs, 0);
    assert.equal(measureSkew(run('2026-11-23T00-12-01Z'), 'other'), undefined);
  });

  it('does not know, when the journal does not tell', () => {
    const [started, granted, finished] = run('2026-11-23T00-12-01Z');
    for (const journal of [
      [],
      [{}],
      [finished],
      [started, finished],
      [granted, finished],
      [granted, started, finished],
      [started, granted],
      run(null),
      run('2026-02-30T00-00-00Z'),
      run('latest'),
      run('2026-11-23T00-12-01Z', 'yesterday'),
      run('2026-11-23T00-12-01Z', '2026-11-23T00:12:03Z', '2026-11-23T00:12:02Z'),
    ])
      assert.equal(
        measureSkew(journal as Record<string, unknown>[], 'nas'),
        undefined,
        JSON.stringify(journal),
      );
  });

  it('warns from a minute on', () => {
    const at = '2026-11-23T00:12:00.500Z';
    check(checkClock('nas', { skewMs: 0, at }), 'ok');
    check(checkClock('nas', { skewMs: -59_999, at }), 'ok');
    check(
      checkClock('nas', { skewMs: 60_000, at }),
      'warning',
      /60 s ahead of this one/,
      /timedatectl set-ntp true; /,
    );
    check(checkClock('nas', { skewMs: -3_600_000, at }), 'warning', /3600 s behind this one/);
    check(checkClock('nas', undefined), 'unknown', undefined, /^dialback backup$/);
  });
});
