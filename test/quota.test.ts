import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  changeOf,
  choosePin,
  expirePins,
  judgeChange,
  noteChange,
  notePin,
  pickBaseline,
} from '../src/host/anomaly.ts';
import { type Change, type Ledger, newLedger, parseLedger } from '../src/host/ledger.ts';
import { growthLeft, nextRequest, noteGrowth, noteStart } from '../src/host/quota.ts';
import { candidateOf, UNUSUAL } from '../src/store/retention.ts';
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

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const T0 = Date.UTC(2026, 0, 1, 1, 30);
const at = (ms: number): Date => new Date(T0 + ms);
const all = (share: number): Change => ({ fresh: share, lost: share, bytes: share });

/** A ledger of a client that changed so much each night. */
function nights(count: number, share: number | ((night: number) => number)): Ledger {
  const ledger = newLedger();
  for (let night = 0; night < count; night += 1)
    noteChange(ledger, all(typeof share === 'number' ? share : share(night)), at(night * DAY));
  return ledger;
}

describe('nextRequest()', () => {
  it('counts from the start of the last run, however that ended', () => {
    const ledger = newLedger();
    assert.equal(nextRequest(ledger, HOUR, at(0)), undefined);
    noteStart(ledger, at(0));
    assert.deepEqual(nextRequest(ledger, HOUR, at(0)), at(HOUR));
    assert.deepEqual(nextRequest(ledger, HOUR, at(HOUR - 1)), at(HOUR));
    assert.equal(nextRequest(ledger, HOUR, at(HOUR)), undefined);
  });
  it('lets come whoever likes where nothing is set', () => {
    const ledger = newLedger(T0);
    assert.equal(nextRequest(ledger, 0, at(0)), undefined);
  });
  it('does not go by a start from the future', () => {
    assert.equal(nextRequest(newLedger(T0 + 400 * DAY), HOUR, at(0)), undefined);
  });
});

describe('growthLeft()', () => {
  const BUDGET = 24_000;
  it('is the whole budget at first, and what was not added yet after that', () => {
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
  it('is nothing, and not less, after a run that overshot; the excess is paid off', () => {
    const ledger = newLedger();
    noteGrowth(ledger, 30_000, BUDGET, at(0));
    assert.equal(growthLeft(ledger, BUDGET, at(0)), 0);
    assert.equal(growthLeft(ledger, BUDGET, at(6 * HOUR)), 0);
    assert.equal(growthLeft(ledger, BUDGET, at(DAY)), 18_000);
  });
  it('does not grow when the clock goes back, and comes back from there', () => {
    const ledger = newLedger();
    noteGrowth(ledger, 24_000, BUDGET, at(100 * DAY));
    assert.equal(growthLeft(ledger, BUDGET, at(0)), 0);
    noteGrowth(ledger, 0, BUDGET, at(0));
    assert.equal(growthLeft(ledger, BUDGET, at(DAY)), BUDGET);
  });
  it('never lets more through than one budget and one more a day, however it is asked', () => {
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

describe('changeOf()', () => {
  const tree = { files: 1000, freshFiles: 100, bytes: 5000, freshBytes: 2500 };
  it('says what is fresh, what is lost, and how many of the bytes', () => {
    assert.deepEqual(changeOf(tree, 1000), { fresh: 0.1, lost: 0.1, bytes: 0.5 });
    assert.deepEqual(changeOf(tree, 900), { fresh: 0.1, lost: 0, bytes: 0.5 });
    assert.deepEqual(changeOf({ files: 10, freshFiles: 0, bytes: 0, freshBytes: 0 }, 1000), {
      fresh: 0,
      lost: 0.99,
      bytes: 0,
    });
  });
  it('stays between 0 and 1 whatever is counted', () => {
    fc.assert(
      fc.property(
        fc.nat(),
        fc.nat(),
        fc.nat(),
        fc.nat(),
        fc.nat(),
        (files, freshFiles, bytes, freshBytes, before) => {
          for (const share of Object.values(changeOf({ files, freshFiles, bytes, freshBytes }, before)))
            assert.ok(share >= 0 && share <= 1);
        },
      ),
      { seed: 7 },
    );
  });
});

describe('judgeChange()', () => {
  it('takes for usual what this client does each day', () => {
    for (const share of [0, 0.02, 0.2, 0.3])
      assert.equal(judgeChange(nights(60, share), all(share), at(60 * DAY)).isUnusual, false);
  });
  it('flags what is far more than that', () => {
    const judged = judgeChange(nights(60, 0.02), all(0.97), at(60 * DAY));
    assert.equal(judged.isUnusual, true);
    assert.equal(judged.began, at(60 * DAY).getTime());
    assert.deepEqual(judged.reasons, [
      'fresh 97% in 24 hours, usually 2%',
      'lost 97% in 24 hours, usually 2%',
      'bytes 97% in 24 hours, usually 2%',
    ]);
  });
  it('looks at each share by itself', () => {
    for (const key of ['fresh', 'lost', 'bytes'] as const) {
      const judged = judgeChange(nights(60, 0.02), { ...all(0.02), [key]: 0.6 }, at(60 * DAY));
      assert.deepEqual(judged.reasons, [`${key} 60% in 24 hours, usually 2%`]);
    }
  });
  it('does not flag a little, however little is usual', () =>
    assert.equal(judgeChange(nights(60, 0), all(0.25), at(60 * DAY)).isUnusual, false));
  it('knows a client that changes a lot every week', () => {
    const ledger = nights(70, night => (night % 7 === 6 ? 0.45 : 0.01));
    assert.equal(judgeChange(ledger, all(0.45), at(76 * DAY)).isUnusual, false);
  });
  it('says nothing of a share that is mostly new every night', () => {
    assert.equal(judgeChange(nights(60, 1), all(1), at(60 * DAY)).isUnusual, false);
  });
  it('is patient in the first week, and not without end', () => {
    for (const days of [0, 1, 6]) {
      assert.equal(judgeChange(nights(days, 0.01), all(0.5), at(days * DAY)).isUnusual, false);
      assert.equal(judgeChange(nights(days, 0.01), all(0.51), at(days * DAY)).isUnusual, true);
    }
    assert.equal(judgeChange(nights(7, 0.01), all(0.5), at(7 * DAY)).isUnusual, true);
  });
  it('adds up small steps within 24 hours, and says where they began', () => {
    const ledger = nights(60, 0.02);
    const start = 60 * DAY;
    let steps = 0;
    let judged = judgeChange(ledger, all(0.05), at(start));
    for (; !judged.isUnusual; steps += 1) {
      noteChange(ledger, all(0.05), at(start + steps * HOUR));
      judged = judgeChange(ledger, all(0.05), at(start + (steps + 1) * HOUR));
    }
    assert.equal(steps, 5);
    assert.equal(judged.began, at(start).getTime());
  });
  it('does not learn from one day of many runs', () => {
    const ledger = nights(60, 0.02);
    for (let run = 0; run < 1440; run += 1) noteChange(ledger, all(0.5), at(60 * DAY + run * MINUTE));
    assert.equal(judgeChange(ledger, all(0.5), at(62 * DAY)).isUnusual, true);
  });
  it('does not learn within a year from whoever goes a little further each day', () => {
    const ledger = nights(60, 0.02);
    let share = 0.02;
    for (let day = 60; day < 60 + 365; day += 1) {
      if (!judgeChange(ledger, all(share * 1.1), at(day * DAY)).isUnusual) share *= 1.1;
      if (!judgeChange(ledger, all(share), at(day * DAY)).isUnusual)
        noteChange(ledger, all(share), at(day * DAY));
    }
    assert.ok(share <= 0.25, `${share}`);
    assert.equal(judgeChange(ledger, all(0.3), at(426 * DAY)).isUnusual, true);
  });
  it('stays a few kilobytes large', () => {
    const ledger = newLedger();
    for (let hour = 0; hour < 1000 * 24; hour += 1) noteChange(ledger, all(0.123456789), at(hour * HOUR));
    assert.ok(ledger.hours.length <= 26);
    assert.ok(ledger.days.length <= 401);
    assert.ok(JSON.stringify(ledger).length < 64 * 1024);
  });
});

describe('parseLedger()', () => {
  it('reads what was written', () => {
    const ledger = nights(60, 0.1);
    noteStart(ledger, at(0));
    noteGrowth(ledger, 5, 10, at(0));
    notePin(ledger, snapshotName(at(0)), at(1));
    assert.deepEqual(parseLedger(JSON.stringify(ledger)), { value: ledger });
  });
  const refused: [string, unknown][] = [
    ['of another version', { ...newLedger(), version: 2 }],
    ['nothing', null],
    ['a list', []],
    ['a start that is no number', { ...newLedger(), lastStart: 'now' }],
    ['growth below nothing', { ...newLedger(), growth: { bytes: -1, at: 0 } }],
    ['no days', { ...newLedger(), days: undefined }],
    ['a day without its shares', { ...newLedger(), days: [{ at: 1 }] }],
    ['a pin that is a path', { ...newLedger(), pins: [{ snapshot: '../..', at: 1 }] }],
    ['a pin that is null', { ...newLedger(), pins: [null] }],
  ];
  for (const [what, value] of refused)
    it(`refuses ${what}`, () => assert.ok('reason' in parseLedger(JSON.stringify(value))));
  it('refuses what is no JSON', () => assert.ok('reason' in parseLedger('{"version":1')));
});

const snapshot = (ms: number, flags: string[] = [], state: 'full' | 'incomplete' = 'full') => ({
  name: snapshotName(at(ms)),
  record: { state, flags },
  pinned: undefined as string | undefined,
});

describe('pickYardstick()', () => {
  it('is the newest one that is not unusual', () => {
    const [good, bad] = [snapshot(0), snapshot(DAY, [UNUSUAL])];
    assert.equal(pickBaseline([], at(DAY)), undefined);
    assert.equal(pickBaseline([good], at(DAY)), good);
    assert.equal(pickBaseline([bad, good], at(2 * DAY)), good);
  });
  it('is the newest of all when that is older than 30 days', () => {
    const [good, bad] = [snapshot(0), snapshot(DAY, [UNUSUAL])];
    assert.equal(pickBaseline([good, bad], at(30 * DAY)), good);
    assert.equal(pickBaseline([good, bad], at(30 * DAY + 1000)), bad);
  });
  it('is none from the future', () => {
    const good = snapshot(0);
    assert.equal(pickBaseline([good, snapshot(9 * DAY)], at(DAY)), good);
  });
});

describe('choosePin()', () => {
  const good = candidateOf(snapshot(0));
  const later = candidateOf(snapshot(DAY));
  const began = at(2 * DAY).getTime();
  it('is the newest full one from before the change', () => {
    assert.equal(choosePin(newLedger(), [later, good], began, at(2 * DAY)), later.name);
    assert.equal(choosePin(newLedger(), [later, good], at(DAY).getTime(), at(2 * DAY)), good.name);
    assert.equal(choosePin(newLedger(), [later, good], at(DAY).getTime() + 999, at(2 * DAY)), good.name);
  });
  it('is no incomplete one, and no unusual one', () => {
    const rest = [candidateOf(snapshot(DAY, [], 'incomplete')), candidateOf(snapshot(DAY + HOUR, [UNUSUAL]))];
    assert.equal(choosePin(newLedger(), [good, ...rest], began, at(2 * DAY)), good.name);
    assert.equal(choosePin(newLedger(), rest, began, at(2 * DAY)), undefined);
  });
  it('is none where the newest is pinned already', () => {
    const pinned = { ...later, isPinned: true };
    assert.equal(choosePin(newLedger(), [good, pinned], began, at(2 * DAY)), undefined);
  });
  it('is there twice in 30 days, and no more', () => {
    const ledger = newLedger();
    notePin(ledger, good.name, at(0));
    assert.equal(choosePin(ledger, [good, later], began, at(2 * DAY)), later.name);
    notePin(ledger, later.name, at(2 * DAY));
    assert.equal(choosePin(ledger, [good, later], began, at(30 * DAY - 1)), undefined);
    assert.equal(choosePin(ledger, [good, later], began, at(30 * DAY)), later.name);
  });
});

describe('lapsePins()', () => {
  it('gives up those that are 200 days old, and no other', () => {
    const ledger = newLedger();
    notePin(ledger, 'a', at(0));
    notePin(ledger, 'b', at(1));
    assert.deepEqual(expirePins(ledger, at(200 * DAY - 1)), []);
    assert.deepEqual(expirePins(ledger, at(200 * DAY)), ['a']);
    assert.deepEqual(expirePins(ledger, at(200 * DAY)), []);
    assert.deepEqual(ledger.pins, [{ snapshot: 'b', at: at(1).getTime() }]);
  });
});

describe('a client that requests every half hour for a year', () => {
  attackedYear(ATTACKS, 30 * MINUTE);

  it('nor without any rule and with a disk that is always full, below the floor', () => {
    assert.deepEqual(dropped(rules({}), IN_TURN, 30 * MINUTE).lost, []);
  });

  const DAYS_AND_ABOVE = rules({ daily: 7, weekly: 5, monthly: 12, yearly: 3 });
  it('nor with what it has not changed, but for the night that this repeats', () => {
    const { lost } = dropped(
      DAYS_AND_ABOVE,
      () => ({ tree: { kind: 'honest', step: NIGHTS_BEFORE } }),
      30 * MINUTE,
    );
    assert.deepEqual(lost, ['2026-05-31T01-30-00Z']);
  });

  it('nor by small steps: what they began from is pinned', () => {
    const slow: Attack = count => ({ tree: { kind: 'slow', step: count } });
    assert.deepEqual(dropped(DAYS_AND_ABOVE, slow, 30 * MINUTE, 190).lost, []);
  });

  it('would, were unusual ones not told apart: this simulation can fail', () => {
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
