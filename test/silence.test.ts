import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { decideSilence, decodeTold, encodeTold, type Told } from '../src/store/silence.ts';

const HOUR_MS = 3_600_000;
const AT = new Date('2026-11-30T12:00:00.000Z');
const OLD = '2026-11-28T12-00-00Z';
const YOUNG = '2026-11-30T00-00-00Z';

describe('decideSilence()', () => {
  const known = { lastFull: OLD, enrolledMs: 0, maxAgeMs: 36 * HOUR_MS, told: undefined };

  const cases: [what: string, more: Partial<Parameters<typeof decideSilence>[0]>, isSilent: boolean][] = [
    ['an old full snapshot', {}, true],
    ['a young one', { lastFull: YOUNG }, false],
    ['one that is as old as max_age', { lastFull: '2026-11-29T00-00-00Z' }, false],
    ['no max_age', { maxAgeMs: undefined }, false],
    ['none, and an old enrollment', { lastFull: undefined }, true],
    ['none, and a new enrollment', { lastFull: undefined, enrolledMs: AT.getTime() - HOUR_MS }, false],
    ['none, and an enrollment from the future', { lastFull: undefined, enrolledMs: AT.getTime() + 1 }, true],
    [
      'a young one, told earlier',
      { lastFull: YOUNG, told: { last_full: YOUNG, told: '2026-11-29T12:00:00.000Z', result: 'done' } },
      false,
    ],
    [
      'a young one, told later: the clock was set back',
      { lastFull: YOUNG, told: { last_full: YOUNG, told: '2026-12-03T12:00:00.000Z', result: 'done' } },
      true,
    ],
    [
      'a new one, and an older one told later',
      { lastFull: YOUNG, told: { last_full: OLD, told: '2026-12-03T12:00:00.000Z', result: 'done' } },
      false,
    ],
  ];
  for (const [what, more, isSilent] of cases)
    it(`is ${isSilent ? 'silent' : 'not silent'} with ${what}`, () => {
      assert.equal(decideSilence({ ...known, ...more }, AT) !== null, isSilent);
    });

  it('names the snapshot, the time, and whether this silence was told', () => {
    const told: Told = { last_full: OLD, told: '2026-11-30T06:00:00.000Z', result: 'done' };
    const silence = {
      last_full: OLD,
      since: '2026-11-30T00:00:00.000Z',
      max_age_ms: 36 * HOUR_MS,
      told: told.told,
      reason: `no full backup since ${OLD}; max_age is 36 h`,
    };
    assert.deepEqual(decideSilence({ ...known, told }, AT), silence);
    const other = { ...told, last_full: null };
    assert.deepEqual(decideSilence({ ...known, told: other }, AT), { ...silence, told: null });
  });

  it('stays, once told, whatever the clock is set back by, until there is a new full snapshot', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 400 * 24 * HOUR_MS }), backMs => {
        const told: Told = { last_full: OLD, told: AT.toISOString(), result: 'started' };
        assert.notEqual(decideSilence({ ...known, told }, new Date(AT.getTime() - backMs)), null);
      }),
    );
  });
});

describe('decodeTold()', () => {
  const good = { version: 1, last_full: OLD, told: AT.toISOString(), result: 'done' };
  it('reads its own form', () => {
    const told: Told = { last_full: OLD, told: AT.toISOString(), result: 'done' };
    assert.deepEqual(decodeTold(JSON.stringify(good)), { value: told });
    assert.deepEqual(decodeTold(encodeTold(told)), { value: told });
    assert.ok('value' in decodeTold(JSON.stringify({ ...good, last_full: null })));
  });
  for (const [what, text] of [
    ['no JSON', '{'],
    ['a list', '[]'],
    ['null', 'null'],
    ['another version', JSON.stringify({ ...good, version: 2 })],
    ['an unknown key', JSON.stringify({ ...good, more: 1 })],
    ['a missing key', JSON.stringify({ version: 1, told: good.told })],
    ['a name that is none', JSON.stringify({ ...good, last_full: '../x' })],
    ['a time that is none', JSON.stringify({ ...good, told: '2026-13-40T00:00:00.000Z' })],
    ['an unknown result', JSON.stringify({ ...good, result: 'maybe' })],
    ['a number as the time', JSON.stringify({ ...good, told: 1 })],
  ] as const)
    it(`refuses ${what}`, () => assert.ok('reason' in decodeTold(text)));
});
