// Goal: folders can be nested as deeply as a path allows, confined or not: the limits of the jails do not depend on the data.
import assert from 'node:assert/strict';
import { chownSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { some } from '../../support/long.ts';
import { NEEDS_ROOT, World } from '../../support/world.ts';

/** The first is more than the jail of 0.1.1 allowed. rsync needs time for each folder of each path, so more would only take longer. */
const DEPTHS = [70, 400];

for (const launcher of some([true, false], 2))
  describe(`deep folders, ${launcher ? 'confined' : 'not confined'}`, { skip: NEEDS_ROOT }, () => {
    let world: World;
    before(async () => {
      world = await World.make({ launcher });
    });
    after(async () => {
      await world.dispose();
    });

    for (const never of some([false, true], 2, 1))
      it(`come whole${never ? ' beside a `never`' : ''}`, async () => {
        const kept = join(world.data, 'kept');
        mkdirSync(kept, { recursive: true });
        const files = DEPTHS.map(depth => {
          const folder = join(world.data, `to ${depth}`, ...Array<string>(depth).fill('d'));
          mkdirSync(folder, { recursive: true });
          writeFileSync(join(folder, 'f'), 'content');
          return join(folder, 'f');
        });
        chownSync(world.data, world.client.uid, world.client.gid);
        world.configure({ scope: `roots = ["${world.data}"]\nnever = [${never ? `"${kept}"` : ''}]` });
        const { status, stdout, last } = await world.backup();
        assert.equal(status, 0, stdout.slice(-500));
        for (const file of files)
          assert.ok(
            existsSync(join(world.shelf, 'snapshots', last.snapshot ?? '', 'tree', file)),
            file.slice(0, 60),
          );
      });
  });
