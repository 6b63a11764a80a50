// Goal: a full disk on the host fails the run that fills it, in one clear line, and no later one: nothing has to be
// repaired by hand, and no finished snapshot changes.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chownSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { diffManifests, type Manifest, manifest } from '../../support/manifest.ts';
import { wording } from '../../support/wording.ts';
import { NEEDS_ROOT, World } from '../../support/world.ts';

const MIB = 1024 * 1024;

describe('a full disk', { skip: NEEDS_ROOT }, () => {
  let world: World;
  let first: Manifest;
  before(async () => {
    world = await World.make();
    const { uid, gid } = world.host;
    const options = `size=24m,mode=700,uid=${uid},gid=${gid}`;
    execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'none', world.store]);
    const key = readFileSync(join(world.client.home, '.ssh/id_ed25519.pub'), 'utf8');
    assert.equal((await world.enroll(world.name, key)).status, 0);
    for (let index = 0; index < 20; index += 1) put(`file ${index}`, `content ${index}`);
    assert.equal((await world.backup()).status, 0);
    first = manifest(world.tree(world.snapshots()[0] ?? ''), { includeInode: true });
  });
  after(async () => {
    execFileSync('umount', [world.store]);
    await world.dispose();
  });

  function put(name: string, content: string | Buffer): void {
    writeFileSync(join(world.data, name), content);
    chownSync(join(world.data, name), world.client.uid, world.client.gid);
  }

  it('fails the run that fills it: exit 14, and one sentence', async () => {
    put('large', randomBytes(40 * MIB));
    for (let round = 0; round < 3; round += 1) {
      const { status, last } = await world.backup();
      assert.equal(status, 14, JSON.stringify(last));
      assert.equal(
        last.error,
        `${wording('cannot-back-up-to-the', 'vault')} ${wording('has-no-space-left')}`,
      );
      assert.equal(world.snapshots().length, 1);
    }
  });

  it('leaves room for the next one', async () => {
    rmSync(join(world.data, 'large'));
    const { status } = await world.backup();
    assert.equal(status, 0);
    assert.equal(world.snapshots().length, 2);
    assert.deepEqual(readdirSync(join(world.shelf, 'arriving')), []);
    assert.deepEqual(readdirSync(join(world.shelf, 'trash')), []);
  });

  it('that is full of what an interrupted run left makes room by itself', async () => {
    // As a killed run leaves it: a tree that fills the disk, and nothing that says so.
    const left = join(world.shelf, 'arriving/2026-01-01T00-00-00Z/tree');
    execFileSync('/usr/bin/install', ['-d', '-o', world.host.login, '-g', world.host.login, left]);
    chownSync(join(left, '..'), world.host.uid, world.host.gid);
    try {
      execFileSync('dd', ['if=/dev/zero', `of=${left}/half`, 'bs=1M', 'count=64'], {
        stdio: 'pipe',
      });
    } catch {
      // until it is full
    }
    put('small', 'something new');
    const statuses = [(await world.backup()).status, (await world.backup()).status];
    assert.equal(statuses.at(-1), 0, `${statuses}`);
    assert.deepEqual(readdirSync(join(world.shelf, 'arriving')), []);
  });

  it('has changed no finished snapshot', () => {
    const now = manifest(world.tree(world.snapshots()[0] ?? ''), { includeInode: true });
    assert.deepEqual(diffManifests(first, now), []);
  });
});
