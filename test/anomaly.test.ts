import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  changeOf,
  checkChange,
  choosePin,
  expirePins,
  noteChange,
  notePin,
  pickBaseline,
} from '../src/host/anomaly.ts';
import { type Change, type Ledger, newLedger } from '../src/host/ledger.ts';
import { candidateOf, UNUSUAL } from '../src/store/retention.ts';
import { snapshotName } from '../src/wire/text.ts';
import { wording } from './support/wording.ts';

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

describe('changeOf()', () => {
  const tree = { files: 1000, freshFiles: 100, bytes: 5000, freshBytes: 2500 };
  it('computes the shares of fresh files, lost files and fresh bytes', () => {
    assert.deepEqual(changeOf(tree, 1000), { fresh: 0.1, lost: 0.1, bytes: 0.5 });
    assert.deepEqual(changeOf(tree, 900), { fresh: 0.1, lost: 0, bytes: 0.5 });
    assert.deepEqual(changeOf({ files: 10, freshFiles: 0, bytes: 0, freshBytes: 0 }, 1000), {
      fresh: 0,
      lost: 0.99,
      bytes: 0,
    });
  });
  it('stays between 0 and 1 for any counts', () => {
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

describe('checkChange()', () => {
  it('accepts what the client does each day', () => {
    for (const share of [0, 0.02, 0.2, 0.3])
      assert.equal(checkChange(nights(60, share), all(share), at(60 * DAY)).isUnusual, false);
  });
  it('flags a change that is far larger', () => {
    const judged = checkChange(nights(60, 0.02), all(0.97), at(60 * DAY));
    assert.equal(judged.isUnusual, true);
    assert.equal(judged.began, at(60 * DAY).getTime());
    assert.deepEqual(judged.reasons, [
      'fresh 97% in 24 hours, usually 2%',
      `lost 97% ${wording('in-24-hours-usually')} 2%`,
      `bytes 97% ${wording('in-24-hours-usually')} 2%`,
    ]);
  });
  it('checks each share by itself', () => {
    for (const key of ['fresh', 'lost', 'bytes'] as const) {
      const judged = checkChange(nights(60, 0.02), { ...all(0.02), [key]: 0.6 }, at(60 * DAY));
      assert.deepEqual(judged.reasons, [`${key} 60% ${wording('in-24-hours-usually')} 2%`]);
    }
  });
  it('does not flag a small change, however little is usual', () =>
    assert.equal(checkChange(nights(60, 0), all(0.25), at(60 * DAY)).isUnusual, false));
  it('accepts the weekly change of a client that changes a lot every week', () => {
    const ledger = nights(70, night => (night % 7 === 6 ? 0.45 : 0.01));
    assert.equal(checkChange(ledger, all(0.45), at(76 * DAY)).isUnusual, false);
  });
  it('ignores a share that is mostly new every night', () => {
    assert.equal(checkChange(nights(60, 1), all(1), at(60 * DAY)).isUnusual, false);
  });
  it('accepts larger changes in the first week, up to a half', () => {
    for (const days of [0, 1, 6]) {
      assert.equal(checkChange(nights(days, 0.01), all(0.5), at(days * DAY)).isUnusual, false);
      assert.equal(checkChange(nights(days, 0.01), all(0.51), at(days * DAY)).isUnusual, true);
    }
    assert.equal(checkChange(nights(7, 0.01), all(0.5), at(7 * DAY)).isUnusual, true);
  });
  it('adds up small steps within 24 hours, and returns when they began', () => {
    const ledger = nights(60, 0.02);
    const start = 60 * DAY;
    let steps = 0;
    let judged = checkChange(ledger, all(0.05), at(start));
    for (; !judged.isUnusual; steps += 1) {
      noteChange(ledger, all(0.05), at(start + steps * HOUR));
      judged = checkChange(ledger, all(0.05), at(start + (steps + 1) * HOUR));
    }
    assert.equal(steps, 5);
    assert.equal(judged.began, at(start).getTime());
  });
  it('does not learn from one day of many runs', () => {
    const ledger = nights(60, 0.02);
    for (let run = 0; run < 1440; run += 1) noteChange(ledger, all(0.5), at(60 * DAY + run * MINUTE));
    assert.equal(checkChange(ledger, all(0.5), at(62 * DAY)).isUnusual, true);
  });
  it('does not learn within a year from a client that changes a little more each day', () => {
    const ledger = nights(60, 0.02);
    let share = 0.02;
    for (let day = 60; day < 60 + 365; day += 1) {
      if (!checkChange(ledger, all(share * 1.1), at(day * DAY)).isUnusual) share *= 1.1;
      if (!checkChange(ledger, all(share), at(day * DAY)).isUnusual)
        noteChange(ledger, all(share), at(day * DAY));
    }
    assert.ok(share <= 0.25, `${share}`);
    assert.equal(checkChange(ledger, all(0.3), at(426 * DAY)).isUnusual, true);
  });
  it('keeps the ledger at a few kilobytes', () => {
    const ledger = newLedger();
    for (let hour = 0; hour < 1000 * 24; hour += 1) noteChange(ledger, all(0.123456789), at(hour * HOUR));
    assert.ok(ledger.hours.length <= 26);
    assert.ok(ledger.days.length <= 401);
    assert.ok(JSON.stringify(ledger).length < 64 * 1024);
  });
});

const snapshot = (ms: number, flags: string[] = [], state: 'full' | 'incomplete' = 'full') => ({
  name: snapshotName(at(ms)),
  record: { state, flags },
  pinned: undefined as string | undefined,
});

describe('pickBaseline()', () => {
  it('picks the newest snapshot that is not unusual', () => {
    const [good, bad] = [snapshot(0), snapshot(DAY, [UNUSUAL])];
    assert.equal(pickBaseline([], at(DAY)), undefined);
    assert.equal(pickBaseline([good], at(DAY)), good);
    assert.equal(pickBaseline([bad, good], at(2 * DAY)), good);
  });
  it('picks the newest of all when that one is older than 30 days', () => {
    const [good, bad] = [snapshot(0), snapshot(DAY, [UNUSUAL])];
    assert.equal(pickBaseline([good, bad], at(30 * DAY)), good);
    assert.equal(pickBaseline([good, bad], at(30 * DAY + 1000)), bad);
  });
  it('picks no snapshot from the future', () => {
    const good = snapshot(0);
    assert.equal(pickBaseline([good, snapshot(9 * DAY)], at(DAY)), good);
  });
});

describe('choosePin()', () => {
  const good = candidateOf(snapshot(0));
  const later = candidateOf(snapshot(DAY));
  const began = at(2 * DAY).getTime();
  it('chooses the newest full snapshot from before the change', () => {
    assert.equal(choosePin(newLedger(), [later, good], began, at(2 * DAY)), later.name);
    assert.equal(choosePin(newLedger(), [later, good], at(DAY).getTime(), at(2 * DAY)), good.name);
    assert.equal(choosePin(newLedger(), [later, good], at(DAY).getTime() + 999, at(2 * DAY)), good.name);
  });
  it('chooses no incomplete and no unusual snapshot', () => {
    const rest = [candidateOf(snapshot(DAY, [], 'incomplete')), candidateOf(snapshot(DAY + HOUR, [UNUSUAL]))];
    assert.equal(choosePin(newLedger(), [good, ...rest], began, at(2 * DAY)), good.name);
    assert.equal(choosePin(newLedger(), rest, began, at(2 * DAY)), undefined);
  });
  it('chooses none when the newest is pinned already', () => {
    const pinned = { ...later, isPinned: true };
    assert.equal(choosePin(newLedger(), [good, pinned], began, at(2 * DAY)), undefined);
  });
  it('chooses at most two in 30 days', () => {
    const ledger = newLedger();
    notePin(ledger, good.name, at(0));
    assert.equal(choosePin(ledger, [good, later], began, at(2 * DAY)), later.name);
    notePin(ledger, later.name, at(2 * DAY));
    assert.equal(choosePin(ledger, [good, later], began, at(30 * DAY - 1)), undefined);
    assert.equal(choosePin(ledger, [good, later], began, at(30 * DAY)), later.name);
  });
});

describe('expirePins()', () => {
  it('removes the pins that are 200 days old, and no other', () => {
    const ledger = newLedger();
    notePin(ledger, 'a', at(0));
    notePin(ledger, 'b', at(1));
    assert.deepEqual(expirePins(ledger, at(200 * DAY - 1)), []);
    assert.deepEqual(expirePins(ledger, at(200 * DAY)), ['a']);
    assert.deepEqual(expirePins(ledger, at(200 * DAY)), []);
    assert.deepEqual(ledger.pins, [{ snapshot: 'b', at: at(1).getTime() }]);
  });
});
