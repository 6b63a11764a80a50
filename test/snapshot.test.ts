import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, describe, it } from 'node:test';
import { pinText, unpinText } from '../src/cli/print.ts';
import { BY_HAND, BY_ITSELF, pin, type Snapshot } from '../src/store/snapshot.ts';

const FOLDER = mkdtempSync(`${tmpdir()}/dialback pins `);
after(() => rmSync(FOLDER, { recursive: true }));
const TREE = `${FOLDER}/snapshots/2026-01-01T00-00-00Z`;
mkdirSync(TREE, { recursive: true });

/** Pins a snapshot that has been pinned before, or not. */
function repin(before: string | undefined, given: string): ReturnType<typeof pin> {
  const snapshot = { name: '2026-01-01T00-00-00Z', folder: TREE, pinned: before } as Snapshot;
  return pin({ name: 'a', folder: FOLDER }, snapshot, given);
}

describe('pin()', () => {
  const cases: [before: string | undefined, given: string, did: string, reason: string][] = [
    [undefined, 'the move', 'pinned', 'the move'],
    [undefined, BY_HAND, 'pinned', BY_HAND],
    ['the move', 'the audit', 'replaced', 'the audit'],
    ['the move', 'the move', 'kept', 'the move'],
    ['the move', BY_HAND, 'kept', 'the move'],
    [BY_HAND, BY_HAND, 'kept', BY_HAND],
    [BY_HAND, 'the move', 'replaced', 'the move'],
    // One that expires becomes one that stays.
    [`${BY_ITSELF} unusual`, BY_HAND, 'replaced', BY_HAND],
    [`${BY_ITSELF} unusual`, 'the move', 'replaced', 'the move'],
  ];
  for (const [before, given, did, reason] of cases)
    it(`has ${did} "${before}", where "${given}" is given`, () =>
      assert.deepEqual(repin(before, given), { did, reason, before }));
});

describe('pinText() and unpinText()', () => {
  it('show the reason that stays, and the one that goes', () => {
    assert.equal(pinText('a@b', repin(undefined, 'the move')), 'pinned "a@b": the move\n');
    assert.equal(pinText('a@b', repin('the move', BY_HAND)), '"a@b" is pinned already: the move\n');
    assert.match(
      pinText('a@b', repin('the move', 'the audit')),
      /was pinned already: the move\n.*now: the audit\n/,
    );
    assert.equal(unpinText('a@b', 'the move'), 'unpinned "a@b", which was pinned: the move\n');
    assert.equal(unpinText('a@b', undefined), '"a@b" is not pinned\n');
  });
});
