// Goal: as link-limit, of files that have more names than the limit, or nearly as many, from the beginning; and of runs that are
// killed in the middle of such a file.
import assert from 'node:assert/strict';
import { existsSync, lstatSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { inodes, LIMIT, Site, sum } from '../../support/link-limit.ts';
import { NEEDS_ROOT, until } from '../../support/world.ts';

describe('the limit of hard links, with tens of thousands of names', {
  skip: NEEDS_ROOT || IN_CLEAN_MACHINE,
}, () => {
  describe('a file with 70,000 names', () => {
    let site: Site;
    before(async () => {
      site = await Site.make({ launcher: true });
    });
    after(async () => {
      await site.dispose();
    });

    it('is two inodes in every snapshot, and every run is full', async () => {
      site.group('many', 70_000);
      const content = 'many\n'.repeat(3000);
      for (let run = 0; run < 2; run += 1) {
        const { tree, flags } = await site.keep();
        const found = inodes(join(tree, 'many'), content);
        assert.deepEqual([found.length, sum(found)], [2, 70_000], `run ${run}: ${found}`);
        assert.ok(flags.includes('hard-links-split'));
        for (const folder of ['00', '35', '69'])
          assert.equal(lstatSync(join(tree, 'many', folder)).mtimeMs, (2_345_678 + Number(folder)) * 1000);
      }
    });
  });

  describe('two files with 22,000 and 33,000 names', () => {
    let site: Site;
    before(async () => {
      site = await Site.make();
      site.group('one', 22_000);
      site.group('other', 33_000);
    });
    after(async () => {
      await site.dispose();
    });

    function look(tree: string): void {
      assert.equal(sum(inodes(join(tree, 'one'), 'one\n'.repeat(3000))), 22_000);
      const found = inodes(join(tree, 'other'), 'other\n'.repeat(3000));
      assert.ok(found.length <= 2 && sum(found) === 33_000, `${found}`);
    }

    it('are full three times, though the first inode has no room for the second run', async () => {
      for (let run = 0; run < 3; run += 1) look((await site.keep()).tree);
    });

    it('so is the one after runs that were killed in the middle of a group', async () => {
      const { world } = site;
      const arriving = join(world.shelf, 'arriving');
      const newest = join(world.tree(world.snapshots().at(-1) ?? ''), world.data, 'other/00/0');
      site.fill(newest, LIMIT - 20_000);
      for (let run = 0; run < 2; run += 1) {
        const { done } = world.start(world.client, world.binary, ['backup', '--config', world.clientToml]);
        const last = (): string => readdirSync(arriving).sort().at(-1) ?? '';
        const old = last();
        await until('rsync is in the middle', () => {
          const folder = join(arriving, last(), 'tree', world.data, 'other', run === 0 ? '20' : '10');
          return last() !== old && existsSync(folder);
        });
        for (const { pid, command } of world.processes())
          if (/^\/usr\/bin\/rsync -aHAXS/.test(command)) process.kill(pid, 'SIGKILL');
        assert.notEqual((await done).status, 0);
        await world.settled();
        await until('all of it has ended', () => world.leftovers().length === 0, 30_000);
      }
      assert.notDeepEqual(readdirSync(arriving), []);
      look((await site.keep()).tree);
    });
  });
});
