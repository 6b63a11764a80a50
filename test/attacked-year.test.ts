import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { snapshotName } from '../src/wire/text.ts';
import {
  ATTACKS,
  type Attack,
  attackedYear,
  dropped,
  EACH_RULE,
  Host,
  IN_TURN,
  NIGHTS_BEFORE,
  rules,
} from './support/attacked-year.ts';
import { itLong, itShort, some } from './support/long.ts';

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;
const T0 = Date.UTC(2026, 0, 1, 1, 30);
const at = (ms: number): Date => new Date(T0 + ms);

describe('a client that requests every half hour for a year', () => {
  attackedYear(some(ATTACKS, 3), 30 * MINUTE);

  itLong('nor without any rule and with a disk that is always full, below the floor', () => {
    assert.deepEqual(dropped(rules({}), IN_TURN, 30 * MINUTE).lost, []);
  });

  const DAYS_AND_ABOVE = rules({ daily: 7, weekly: 5, monthly: 12, yearly: 3 });
  itLong('nor with what it has not changed, but for the night that this repeats', () => {
    const { lost } = dropped(
      DAYS_AND_ABOVE,
      () => ({ tree: { kind: 'honest', step: NIGHTS_BEFORE } }),
      30 * MINUTE,
    );
    assert.deepEqual(lost, ['2026-05-31T01-30-00Z']);
  });

  itShort('nor by small steps: what they began from is pinned', () => {
    const slow: Attack = count => ({ tree: { kind: 'slow', step: count } });
    assert.deepEqual(dropped(DAYS_AND_ABOVE, slow, 30 * MINUTE, 190).lost, []);
  });

  itShort('would, were unusual ones not told apart: this simulation can fail', () => {
    const naive = new Host(EACH_RULE);
    const seen = naive.stored;
    for (let night = 0; night < 30; night += 1)
      naive.request(T0 + night * DAY, { kind: 'honest', step: night });
    for (let minute = 1; minute < 2880; minute += 1)
      naive.request(T0 + 29 * DAY + minute * MINUTE, { kind: 'random', step: minute });
    for (const each of seen) Object.assign(each, { record: { state: 'full', flags: [] }, pinned: undefined });
    const left = naive.prune(T0 + 32 * DAY);
    assert.ok(!left.has(snapshotName(at(20 * DAY)))); // one of 24 nights that `hourly = 24` had kept
  });
});
