import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { describe, it } from 'node:test';
import { isFarBelow, lackOf, msToNextLook, readRoom } from '../src/store/free-space.ts';
import { wording } from './support/wording.ts';

type Room = ReturnType<typeof readRoom>;
const ROOM: Room = { freeBytes: 100, bytes: 1000, freeInodes: 10, inodes: 200 };
const NOTHING = { minFree: { count: 0 }, minInodes: { count: 0 } };

describe('lackOf()', () => {
  it('finds enough where as much is free as has to be', () => {
    for (const minFree of [{ count: 100 }, { percent: 10 }])
      assert.equal(lackOf(ROOM, { ...NOTHING, minFree }), undefined);
    for (const minInodes of [{ count: 10 }, { percent: 5 }])
      assert.equal(lackOf(ROOM, { ...NOTHING, minInodes }), undefined);
    assert.equal(lackOf({ ...ROOM, freeBytes: 0, freeInodes: 0 }, NOTHING), undefined);
  });

  it('names what there is too little of, and how much is needed', () => {
    assert.equal(
      lackOf(ROOM, { ...NOTHING, minFree: { count: 101 } }),
      `100 ${wording('bytes-are-free-and-min')} 101`,
    );
    assert.equal(
      lackOf(ROOM, { ...NOTHING, minFree: { percent: 10.1 } }),
      `100 ${wording('bytes-are-free-and-min')} 101`,
    );
    assert.equal(
      lackOf(ROOM, { ...NOTHING, minInodes: { percent: 50 } }),
      `10 ${wording('inodes-are-free-and-min')} 100`,
    );
  });

  it('does not ask for inodes where the file system has no number of them', () => {
    const room = { ...ROOM, freeInodes: 0, inodes: 0 };
    for (const minInodes of [{ count: 1000 }, { percent: 50 }])
      assert.equal(lackOf(room, { ...NOTHING, minInodes }), undefined);
  });
});

describe('msToNextLook()', () => {
  const marks = { minFree: { count: 1000 }, minInodes: { count: 10 } };
  const room = (freeBytes: number, freeInodes = 1e9): Room => ({
    freeBytes,
    bytes: 1e12,
    freeInodes,
    inodes: 1e9,
  });
  it('is the sooner the nearer a mark is, and never long enough to write up to it', () => {
    assert.equal(msToNextLook(room(1e12), marks, 3000), 3000);
    for (const each of [0, 999, 1000, 1e6, 1e7, 1e8, 1e9, 1e10]) {
      const ms = msToNextLook(room(each), marks, 3000);
      assert.ok(ms >= 10 && ms <= 3000);
      assert.ok(ms === 10 || each - ms * 2e6 >= 999, `${each}: ${ms}`);
    }
    assert.equal(msToNextLook(room(1e12, 20), marks, 3000), 10);
    assert.equal(msToNextLook({ ...room(1e12, 0), inodes: 0 }, marks, 3000), 3000);
  });
});

describe('isFarBelow()', () => {
  const marks = { minFree: { count: 1000 }, minInodes: { count: 100 } };
  it('lets a run use up a quarter of what has to stay free, and no more', () => {
    const room: Room = { freeBytes: 750, bytes: 1e6, freeInodes: 75, inodes: 1000 };
    assert.ok(!isFarBelow(room, marks));
    assert.ok(isFarBelow({ ...room, freeBytes: 749 }, marks));
    assert.ok(isFarBelow({ ...room, freeInodes: 74 }, marks));
    assert.ok(!isFarBelow({ ...room, freeInodes: 0, inodes: 0 }, marks));
    assert.ok(!isFarBelow({ ...room, freeBytes: 0 }, { minFree: { count: 0 }, minInodes: { count: 0 } }));
  });
});

describe('readRoom()', () => {
  it('tells of the file system that a path is on', () => {
    const room = readRoom(tmpdir());
    assert.ok(room.bytes > 0 && room.freeBytes <= room.bytes);
    assert.ok(room.freeInodes <= room.inodes);
    assert.throws(() => readRoom('/nonexistent/place'));
  });
});
