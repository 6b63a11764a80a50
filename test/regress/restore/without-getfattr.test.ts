// Goal: on a host without getfattr (Debian's package attr) backups and root's restores work. What cannot be known is not told as a
// difference or as damage, nothing false gets into a manifest, and the message names the package.
import assert from 'node:assert/strict';
import { chmodSync, chownSync, existsSync, readdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { diffManifests, manifest } from '../../support/manifest.ts';
import { hide } from '../../support/steps.ts';
import { matchingLines, says } from '../../support/wording.ts';
import { NEEDS_ROOT, World } from '../../support/world.ts';

describe('a host without getfattr', { skip: NEEDS_ROOT }, () => {
  let world: World;
  let show: (() => void) | undefined;

  before(async () => {
    world = await World.make();
    world.write(world.client, join(world.data, 'a file'), 'content', 0o640);
    symlinkSync('a file', join(world.data, 'a link'));
    chownSync(join(world.data, 'a file'), world.client.uid, 12345);
    chmodSync(world.data, 0o751);
    show = hide('/usr/bin/getfattr');
  });
  after(async () => {
    show?.();
    await world.dispose();
  });

  it('backs up, and makes no manifest', async () => {
    const { status, stderr } = await world.backup();
    assert.equal(status, 0, stderr);
    await world.settled();
    const [name = ''] = world.snapshots();
    assert.equal(existsSync(join(world.shelf, 'snapshots', name, 'manifest.mtree.gz')), false);
  });

  it('restores, and says that nothing was compared', async () => {
    const to = join(world.base, 'restored');
    const { status, stderr } = await world.restore(to, [world.data]);
    assert.equal(status, 0, stderr);
    assert.match(
      stderr,
      matchingLines`^dialback: Note: .* not compared .*: ${says('getfattr-is-not-installed-apt')}\n$`,
    );
    show?.(); // the comparison of the test reads attributes
    assert.deepEqual(diffManifests(manifest(world.data), manifest(join(to, world.data))), []);
    show = hide('/usr/bin/getfattr');
    assert.deepEqual(
      readdirSync(to).filter(each => each.startsWith('.dialback')),
      [],
    );
  });

  it('takes nothing for damaged: verify names the package', async () => {
    const { status, stdout, stderr } = await world.run(world.host, ['verify', '--config', world.hostToml]);
    assert.notEqual(status, 0);
    assert.match(stderr, /"getfattr"[^\n]* it is in none of /);
    assert.doesNotMatch(stdout + stderr, /damaged|unreadable/);
    show?.();
    const again = await world.run(world.host, ['verify', '--config', world.hostToml]);
    assert.equal(again.status, 0, again.stdout + again.stderr);
  });
});
