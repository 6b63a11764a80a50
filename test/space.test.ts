import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { describe, it } from 'node:test';
import { lackOf, type Room, readRoom } from '../src/host/space.ts';

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
      '100 bytes are free, and min_free is 101',
    );
    assert.equal(
      lackOf(ROOM, { ...NOTHING, minFree: { percent: 10.1 } }),
      '100 bytes are free, and min_free is 101',
    );
    assert.equal(
      lackOf(ROOM, { ...NOTHING, minInodes: { percent: 50 } }),
      '10 inodes are free, and min_inodes is 100',
    );
  });

  it('does not ask for inodes where the file system has no number of them', () => {
    const room = { ...ROOM, freeInodes: 0, inodes: 0 };
    for (const minInodes of [{ count: 1000 }, { percent: 50 }])
      assert.equal(lackOf(room, { ...NOTHING, minInodes }), undefined);
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
