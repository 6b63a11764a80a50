import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { checkLinkedShare } from '../src/host/few-linked.ts';
import type { SnapshotRecord } from '../src/store/snapshot.ts';
import type { UnlinkedCounts } from '../src/wire/rsync-output.ts';
import { record } from './support/client-store.ts';

const NONE: UnlinkedCounts = { new: 0, content: 0, time: 0, mode: 0, owner: 0, acl: 0, xattrs: 0 };
const RSYNC = { client: '3.5.0', host: '3.5.0' };
const FILES = 10_000;

function run(files: number, linked: number, more: Partial<SnapshotRecord> = {}): SnapshotRecord {
  const made = record('2026-11-01T00-00-00Z');
  const counts = { ...made.counts, files, linked };
  return { ...made, durable: true, rsync: { ...RSYNC, exit: 0, options: [] }, ...more, counts };
}

/** The records of a first run, and of later ones that linked nearly everything. */
const history = (runs: number, files = FILES, share = 0.99): SnapshotRecord[] => [
  run(files, 0),
  ...Array.from({ length: runs }, () => run(files, Math.round(files * share))),
];

/** Checks a run that came after these. */
function checked(
  earlier: SnapshotRecord[],
  counts: { files: number; linked: number; moved?: number },
  unlinked: Partial<UnlinkedCounts> = { mode: 9000 },
  rsync = RSYNC,
): string[] | undefined {
  const basis = earlier.at(-1);
  return checkLinkedShare(earlier, { basis, counts, unlinked: { ...NONE, ...unlinked }, rsync })?.flags;
}

describe('checkLinkedShare()', () => {
  const FEW = { files: FILES, linked: 1000 };

  it('flags a run whose share is far below the usual one, with both shares', () => {
    const earlier = history(5);
    const found = checkLinkedShare(earlier, {
      basis: earlier.at(-1),
      counts: FEW,
      unlinked: { ...NONE, mode: 9000 },
      rsync: RSYNC,
    });
    assert.deepEqual(found, { flags: ['few-linked-mode'], share: 10, usual: 99 });
  });
  it('flags no usual run, and none before it knows what is usual', () => {
    assert.equal(checked(history(5), { files: FILES, linked: 9000 }), undefined);
    assert.equal(checked(history(5), { files: FILES, linked: 4950 }), undefined);
    assert.equal(checked(history(2), FEW), undefined);
    assert.deepEqual(checked(history(3), FEW), ['few-linked-mode']);
    assert.equal(checked([], FEW), undefined);
  });
  it('counts moved files that were linked later as linked', () => {
    const few = { files: FILES, linked: 1000 };
    assert.equal(checked(history(5), { ...few, moved: 8500 }, { new: 9000 }), undefined);
    assert.deepEqual(checked(history(5), { ...few, moved: 2000 }, { new: 5000, mode: 4000 }), [
      'few-linked-mode',
    ]);
    const moved = run(FILES, 0, {});
    const earlier = history(2);
    earlier.push({ ...moved, counts: { ...moved.counts, moved: 9900 } });
    assert.deepEqual(checked(earlier, few), ['few-linked-mode']);
  });
  it('does not take noise of a small client for a change', () => {
    assert.equal(checked(history(30, 400), { files: 400, linked: 0 }), undefined);
    assert.equal(checked(history(30, 500), { files: 500, linked: 0 }), undefined);
    assert.deepEqual(checked(history(30, 600), { files: 600, linked: 0 }), ['few-linked-mode']);
  });
  it('goes by what is usual for this client: one that always changes much is not flagged', () => {
    assert.equal(checked(history(30, FILES, 0.15), FEW), undefined);
  });
  it('counts neither files that come nor files that go', () => {
    assert.equal(checked(history(5), { files: 100 * FILES, linked: 9900 }, { new: 99 * FILES }), undefined);
    assert.equal(checked(history(5), { files: 1000, linked: 990 }), undefined);
    const grown = [...history(4), run(100 * FILES, 9900)];
    assert.equal(checked(grown, { files: 100 * FILES, linked: 99 * FILES }), undefined);
  });
  it('does not learn from flagged and incomplete runs', () => {
    const flagged = Array.from({ length: 60 }, () => run(FILES, 500, { flags: ['few-linked-mode'] }));
    const incomplete = Array.from({ length: 60 }, () => run(FILES, 500, { state: 'incomplete' }));
    assert.deepEqual(checked([...history(5), ...flagged, ...incomplete], FEW), ['few-linked-mode']);
  });
  it('gives the most frequent reason', () => {
    const flags = (unlinked: Partial<UnlinkedCounts>): string[] | undefined =>
      checked(history(5), FEW, unlinked);
    assert.deepEqual(flags({ time: 9000, mode: 10 }), ['few-linked-time']);
    assert.deepEqual(flags({ owner: 9000, mode: 9000 }), ['few-linked-owner']);
    assert.deepEqual(flags({ acl: 9000, mode: 9000 }), ['few-linked-acl']);
    assert.deepEqual(flags({ new: 9000, content: 3 }), ['few-linked-new']);
    assert.deepEqual(flags({ content: 9000, time: 3 }), ['few-linked-content']);
  });
  it('names another rsync, alone where it found no file of the older snapshot', () => {
    const other = { client: '3.5.0', host: '3.6.0' };
    assert.deepEqual(checked(history(5), FEW, { new: 9000 }, other), ['few-linked-rsync']);
    assert.deepEqual(checked(history(5), FEW, { xattrs: 9000 }, other), [
      'few-linked-xattrs',
      'few-linked-rsync',
    ]);
    assert.equal(checked(history(5), { files: FILES, linked: 9900 }, {}, other), undefined);
  });
  it('flags nothing where the basis was rechecked or cannot be read', () => {
    for (const durable of [false, undefined]) {
      const basis = run(FILES, 9900, durable === undefined ? {} : { durable });
      if (durable === undefined) delete basis.durable;
      assert.equal(checked([...history(5), basis], FEW), undefined);
    }
  });
  it('takes records without counts', () => {
    const bare = { ...run(1, 1), counts: { files: 1 } as SnapshotRecord['counts'] };
    assert.equal(
      checked(
        Array.from({ length: 9 }, () => bare),
        FEW,
      ),
      undefined,
    );
  });
});
