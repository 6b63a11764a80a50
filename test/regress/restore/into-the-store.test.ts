// Goal: a restore changes no finished snapshot: a DIR in the store is refused, by whatever path, with --force too.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chownSync, existsSync, mkdirSync, symlinkSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { diffManifests, manifest } from '../../support/manifest.ts';
import { says } from '../../support/wording.ts';
import { NEEDS_ROOT, World } from '../../support/world.ts';

describe('a restore into the store', { skip: NEEDS_ROOT }, () => {
  let world: World;
  before(async () => {
    world = await World.make();
    world.write(world.client, join(world.data, 'file'), 'content');
    assert.equal((await world.backup()).status, 0);
  });
  after(async () => {
    await world.dispose();
  });

  async function refused(to: string, found = says('it-is-in-the-store')): Promise<void> {
    const whole = manifest(world.store);
    for (const more of [['--force'], ['--force', '--dry-run'], ['--force', '--inert']]) {
      const args = ['restore', world.name, '--config', world.hostToml, '--to', to, ...more];
      const { status, stderr } = await world.run(world.host, args);
      assert.equal(status, 2, `${to}: ${stderr}`);
      assert.match(stderr, found);
    }
    assert.deepEqual(diffManifests(whole, manifest(world.store)), [], to);
  }

  it('is refused', async () => {
    const [snapshot = ''] = world.snapshots();
    await refused(world.tree(snapshot));
    await refused(join(world.tree(snapshot), 'new'));
    await refused(world.store);
  });

  it("is refused in the folder of drills, which only a drill's restore may write to", async () => {
    const scratch = join(world.store, 'tmp/drill-abc123');
    for (const path of [dirname(scratch), scratch]) {
      mkdirSync(path, { recursive: true });
      chownSync(path, world.host.uid, world.host.gid);
    }
    await refused(scratch);
    await refused(join(scratch, 'new'));
  });

  it('is refused where the snapshot has something in the place of the store', async () => {
    const [snapshot = ''] = world.snapshots();
    const inTree = join(world.tree(snapshot), basename(world.store));
    mkdirSync(join(inTree, 'clients'), { recursive: true });
    for (const path of [inTree, join(inTree, 'clients')]) chownSync(path, world.host.uid, world.host.gid);
    await refused(dirname(world.store), says('and-that-is-the-place'));
  });

  it('is refused through a link and a bind mount', async () => {
    const link = join(world.host.home, 'link');
    symlinkSync(world.store, link);
    await refused(join(link, 'clients'));
    const bound = join(world.host.home, 'bound');
    mkdirSync(bound);
    execFileSync('mount', ['--bind', world.store, bound]);
    try {
      await refused(join(bound, 'clients', 'new'));
      assert.ok(!existsSync(join(world.store, 'clients', 'new')));
    } finally {
      execFileSync('umount', [bound]);
    }
  });
});
