// Goal: a second run of an unchanged tree sends no file data and stores no file twice, and yet each snapshot is a whole
// tree that stays whole when the other one is removed.
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { diffManifests, manifest } from '../../support/manifest.ts';
import { plantTortureTree } from '../../support/torture-world.ts';
import { NEEDS_ROOT, World } from '../../support/world.ts';

describe('two runs of an unchanged tree', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let world: World;
  before(async () => {
    world = await World.make();
    plantTortureTree(world);
    assert.equal((await world.backup()).status, 0);
  });
  after(async () => {
    await world.dispose();
  });

  it('send file data only once', async () => {
    const { status, last } = await world.backup();
    assert.equal(status, 0);
    assert.equal(last.transferred_bytes, 0);
  });

  it('share the inode of everything that is no folder', () => {
    const [first = '', second = ''] = world.snapshots();
    const options = { includeInode: true } as const;
    const older = manifest(world.tree(first), options);
    const newer = manifest(world.tree(second), options);
    let compared = 0;
    for (const [path, entry] of newer) {
      if (entry.type === 'folder') continue;
      assert.equal(entry.inode, older.get(path)?.inode, path);
      compared += 1;
    }
    assert.ok(compared > 500, `${compared} files`);
  });

  it('leave two whole trees, either of which may go', async () => {
    const source = manifest(world.data);
    const [first = '', second = ''] = world.snapshots();
    rmSync(join(world.shelf, 'snapshots', first), { recursive: true });
    const one = join(world.base, 'from the second');
    assert.equal((await world.restore(one)).status, 0);
    assert.deepEqual(diffManifests(source, manifest(join(one, world.data))), []);
    assert.equal((await world.backup()).status, 0);
    rmSync(join(world.shelf, 'snapshots', second), { recursive: true });
    const other = join(world.base, 'from the third');
    assert.equal((await world.restore(other)).status, 0);
    assert.deepEqual(diffManifests(source, manifest(join(other, world.data))), []);
  });
});
