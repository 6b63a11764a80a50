// Goal: a file that becomes shorter, grows or is removed while it is read is a file that changed during the run, not one that could
// not be read: the snapshot is full, and holds the file as it is after the change, or as it was where it grew or is gone.
import assert from 'node:assert/strict';
import {
  appendFileSync,
  chownSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { some } from '../../support/long.ts';
import { NEEDS_ROOT, until, World } from '../../support/world.ts';

const MIB = 1024 * 1024;

describe('a file that changes while it is read', { skip: NEEDS_ROOT }, () => {
  let world: World;
  let log: string;
  before(async () => {
    world = await World.make();
    // Slow enough that the change comes in the middle.
    world.configure({ limits: 'deadline = "5m"\nbwlimit = "3M"' });
    log = join(world.data, 'log');
  });
  after(async () => {
    await world.dispose();
  });

  /** Whether a part of the file has arrived. */
  function isUnderWay(): boolean {
    const arriving = join(world.shelf, 'arriving');
    try {
      const [run = ''] = readdirSync(arriving);
      const folder = join(arriving, run, 'tree', world.data);
      const [name = ''] = readdirSync(folder).filter(each => each.startsWith('.log.'));
      return name !== '' && statSync(join(folder, name)).size > MIB;
    } catch {
      return false;
    }
  }

  const changes: [string, () => void][] = [
    ['becomes shorter', () => truncateSync(log, MIB)],
    ['is emptied and written again', () => writeFileSync(log, 'one line\n')],
    ['grows', () => appendFileSync(log, Buffer.alloc(MIB))],
    ['is removed', () => rmSync(log)],
  ];
  for (const [what, change] of some(changes, 4))
    it(`that ${what} is in a full snapshot`, async () => {
      writeFileSync(log, Buffer.alloc(8 * MIB, what));
      chownSync(log, world.client.uid, world.client.gid);
      const running = world.backup();
      await until('a part of the file has arrived', isUnderWay, 60_000);
      change();
      const { status, stdout, last } = await running;
      assert.equal(status, 0, stdout);
      assert.equal(last.outcome, 'full');
      assert.equal(last.missing_count, 0);
      const folder = join(world.shelf, 'snapshots', last.snapshot ?? '');
      const record = JSON.parse(readFileSync(join(folder, 'snapshot.json'), 'utf8'));
      assert.ok(!record.flags.includes('host-errors'), JSON.stringify(record.flags));
      const stored = readFileSync(join(folder, 'tree', log));
      const now = existsSync(log) ? readFileSync(log) : undefined;
      // rsync reads as much as there was when it opened the file: what is added comes with the next run.
      const isAsBefore = what === 'grows' || what === 'is removed';
      assert.ok(now?.equals(stored) || (isAsBefore && stored.length === 8 * MIB), `${stored.length} bytes`);
      if (!isAsBefore) assert.equal(record.counts.changed_during_run, 1);
    });
});
