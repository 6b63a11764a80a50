// Goal: a tree of every inode type and hostile name, backed up by one user to another and restored as root, is the
// same tree: type, content, mode, owner, time to the nanosecond, ACLs, xattrs, hard links and holes.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { diffManifests, manifest } from '../../support/manifest.ts';
import { plantTortureTree } from '../../support/torture-world.ts';
import { NEEDS_ROOT, World } from '../../support/world.ts';

describe('a tree of every inode type', { skip: NEEDS_ROOT }, () => {
  let world: World;
  before(async () => {
    world = await World.make();
    plantTortureTree(world);
  });
  after(async () => {
    await world.dispose();
  });

  it('arrives whole', async () => {
    const { status, last, stderr } = await world.backup();
    assert.equal(stderr, '');
    assert.equal(status, 0);
    assert.equal(last.outcome, 'full');
  });

  it('lies in the store as plain files and folders that only the host can read', () => {
    const kinds = new Set<unknown>();
    for (const [path, entry] of manifest(world.tree(world.snapshots()[0] ?? ''), {
      without: ['xattrs', 'holes'],
    })) {
      kinds.add(entry.type);
      assert.equal(entry.uid, world.host.uid, path);
      assert.ok((Number.parseInt(String(entry.mode), 8) & 0o6000) === 0, `${path} is setuid`);
    }
    assert.deepEqual([...kinds].sort(), ['file', 'folder']);
  });

  it('comes back identical when root restores it', async () => {
    const target = join(world.base, 'restored');
    const { status, stderr } = await world.restore(target);
    assert.deepEqual(diffManifests(manifest(world.data), manifest(join(target, world.data))), []);
    assert.equal(stderr, '');
    assert.equal(status, 0);
  });

  it('comes back in part, with a hard link to a file outside of it', async () => {
    const target = join(world.base, 'a part');
    const { status, stderr } = await world.restore(target, [join(world.data, 'links/a/five')]);
    assert.equal(stderr, '');
    assert.equal(status, 0);
    const [wanted, found] = [world.data, join(target, world.data)].map(each => manifest(each));
    assert.deepEqual([...(found?.keys() ?? [])].sort(), ['.', 'links', 'links/a', 'links/a/five']);
    for (const [name, { link: _, ...entry }] of found ?? []) {
      const { link: __, ...same } = wanted?.get(name) ?? assert.fail(name);
      assert.deepEqual(entry, same, name);
    }
  });
});
