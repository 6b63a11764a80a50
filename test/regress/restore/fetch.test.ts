// Goal: a tree of every inode type, offered by the host and fetched by root onto the client, is the tree that was backed up. An
// ordinary account gets what it may have, and is told what it did not get.
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { jsonName } from '../../../src/wire/text.ts';
import { fetchFiles, offer, offerState } from '../../support/fetching.ts';
import { itLong, some } from '../../support/long.ts';
import { diffManifests, manifest } from '../../support/manifest.ts';
import { plantTortureTree } from '../../support/torture-world.ts';
import { says } from '../../support/wording.ts';
import { NEEDS_ROOT, World } from '../../support/world.ts';

for (const launcher of some([true, false], 2))
  describe(`a fetch ${launcher ? 'in the jails' : 'without a launcher'}`, { skip: NEEDS_ROOT }, () => {
    let world: World;
    before(async () => {
      world = await World.make({ launcher });
      plantTortureTree(world);
      const { status, stderr } = await world.backup();
      assert.equal(stderr, '');
      assert.equal(status, 0);
    });
    after(async () => {
      await world.dispose();
    });

    it('gives root back the tree that was backed up, and uses the offer up', async () => {
      const { id, code, snapshot } = await offer(world);
      assert.equal(snapshot, world.snapshots()[0]);
      const to = join(world.base, 'fetched');
      const { status, stdout, stderr } = await fetchFiles(world, code, ['--to', to], 'root');
      assert.equal(stderr, '');
      assert.deepEqual(diffManifests(manifest(world.data), manifest(join(to, world.data))), []);
      assert.equal(status, 0, stdout);
      assert.equal(statSync(to).mode & 0o7777, 0o700, 'a new folder stays closed');
      assert.equal(await offerState(world, id), 'used');
      const again = await fetchFiles(world, code, ['--to', join(world.base, 'again')], 'root');
      assert.equal(again.status, 12);
      assert.ok(!existsSync(join(world.base, 'again')));
      rmSync(to, { recursive: true });
    });

    itLong('gives an ordinary account what it may have, and lists the rest', async () => {
      const { id, code } = await offer(world);
      const to = join(world.client.home, 'fetched');
      const { status, stderr } = await fetchFiles(world, code, ['--to', to]);
      assert.equal(status, 3, stderr);
      assert.match(stderr, says('cannot-give-everything-back'));
      assert.match(stderr, /devices, not made/);
      assert.match(stderr, says('without-setuid-and-setgid-bits'));
      assert.equal(await offerState(world, id), 'used');
    });

    itLong('takes paths of any bytes, one by one', async () => {
      const { id, code } = await offer(world, [world.data]);
      const file = join(world.shelf, 'offers', `${id}.json`);
      const record = JSON.parse(readFileSync(file, 'utf8')) as { paths: unknown[] };
      const folder = Buffer.from(`${world.data.slice(1)}/names/files`);
      const names = readdirSync(join(world.data, 'names/files'), { encoding: 'buffer' });
      record.paths = names.map(name => jsonName(Buffer.concat([folder, Buffer.from('/'), name])));
      world.write(world.host, file, JSON.stringify(record));
      const to = join(world.base, 'names');
      const { status, stderr } = await fetchFiles(world, code, ['--to', to], 'root');
      assert.equal(stderr, '');
      assert.equal(status, 0);
      const [before, after] = [world.data, join(to, world.data)].map(each =>
        manifest(join(each, 'names/files')),
      );
      assert.deepEqual(diffManifests(before ?? new Map(), after ?? new Map()), []);
      rmSync(to, { recursive: true });
    });
  });
