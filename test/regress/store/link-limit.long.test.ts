// Goal: hard links of a client's never cost a run. Where the store's file system refuses one more link of an inode (ext4 takes
// 65,000), the same request ends with a full snapshot; the contents are right, links are kept as far as the limit allows,
// older snapshots do not change, and what a killed run leaves does not make the next one fail.
// Files that have more names than the limit from the beginning are in link-limit-many.long.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { removeSnapshot } from '../../../src/store/remove.ts';
import { openClient } from '../../../src/store/store.ts';
import { emptyTrash } from '../../../src/store/trash.ts';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { inodes, LIMIT, Site, sum } from '../../support/link-limit.ts';
import { diffManifests, type Manifest, manifest } from '../../support/manifest.ts';
import { NEEDS_ROOT } from '../../support/world.ts';

function suite(title: string, options: { launcher?: boolean }): void {
  describe(title, () => {
    let site: Site;
    let first: { snapshot: string; tree: string };
    let image: Manifest;
    before(async () => {
      site = await Site.make(options);
    });
    after(async () => {
      await site.dispose();
    });

    it('a group that reaches the limit in its middle ends in a second inode', async () => {
      site.group('thousand', 1000);
      site.group('few', 20);
      first = await site.keep();
      image = manifest(site.world.tree(first.snapshot), { includeInode: true });
      // As 64 snapshots of it leave it; and room for ten more names.
      site.fill(join(first.tree, 'thousand/00/0'), LIMIT - 500);
      if (!options.launcher) site.fill(join(first.tree, 'few/00/0'), LIMIT - 10);
      const second = await site.keep();
      assert.ok(second.flags.includes('hard-links-split'), `${second.flags}`);
      const content = 'thousand\n'.repeat(3000);
      const found = inodes(join(second.tree, 'thousand'), content);
      assert.deepEqual([found.length, sum(found)], [2, 1000]);
      assert.equal(inodes(join(second.tree, 'few'), 'few\n'.repeat(3000)).length, options.launcher ? 1 : 2);
      // Nothing of it is left, and the next run has one inode again, for it links against the new one.
      const third = await site.keep();
      assert.deepEqual(inodes(join(third.tree, 'thousand'), content), [1000]);
      assert.ok(!third.flags.includes('hard-links-split'), `${third.flags}`);
    });

    it('has changed no older snapshot', () => {
      const now = manifest(site.world.tree(first.snapshot), { includeInode: true });
      assert.deepEqual(diffManifests(image, now), []);
    });

    it('root gets back bytes, owners, modes, times and attributes', async () => {
      const { world } = site;
      const split = world.snapshots()[1] ?? assert.fail();
      const to = join(world.base, 'back');
      const restored = await world.run('root', [
        'restore',
        `${world.name}@${split}`,
        ...['--config', world.hostToml, '--to', to],
      ]);
      assert.equal(restored.status, 0, restored.stderr);
      const without = { without: ['link'] } as const;
      const back = manifest(join(to, world.data), without);
      assert.deepEqual(diffManifests(manifest(world.data, without), back), []);
      rmSync(to, { recursive: true });
    });

    it('the snapshot with two inodes can be removed, and no other one changes', async () => {
      const client = openClient(site.world.store, site.world.name);
      const split = site.world.snapshots()[1] ?? assert.fail();
      removeSnapshot(client, split, 'a test');
      await emptyTrash(client.folder);
      assert.deepEqual(readdirSync(join(site.world.shelf, 'trash')), []);
      const now = manifest(site.world.tree(first.snapshot), { includeInode: true });
      assert.deepEqual(diffManifests(image, now), []);
    });

    it('a link that is refused for another reason costs no run either', async () => {
      const { world } = site;
      for (const each of ['thousand', 'few']) rmSync(join(world.data, each), { recursive: true });
      site.group('fixed', 100);
      const before = await site.keep();
      const stored = join(before.tree, 'fixed/00/0');
      execFileSync('/usr/bin/chattr', ['+i', stored]); // EPERM
      try {
        const { tree } = await site.keep();
        assert.deepEqual(inodes(join(tree, 'fixed'), 'fixed\n'.repeat(3000)), [100]);
      } finally {
        execFileSync('/usr/bin/chattr', ['-i', stored]);
      }
    });
  });
}

describe('the limit of hard links', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  suite('without the launcher', {});
  suite('with the launcher', { launcher: true });
});
