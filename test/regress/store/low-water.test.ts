// Goal: one large file does not get far below min_free before its run is ended, however fast it comes.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { NEEDS_ROOT, World } from '../../support/world.ts';

const MIB = 1024 * 1024;
const MARK = 160 * MIB;
const LOOK_MS = 5;

describe('a store with little room', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let world: World;
  let isMounted = false;

  before(async () => {
    world = await World.make();
    const image = join(world.base, 'disk');
    execFileSync('/usr/bin/truncate', ['-s', '512M', image]);
    execFileSync('mkfs.ext4', ['-q', '-F', '-m', '0', '-E', 'lazy_itable_init=0', image]);
    rmSync(world.store, { recursive: true });
    mkdirSync(world.store);
    execFileSync('mount', ['-o', 'loop', image, world.store]);
    isMounted = true;
    chownSync(world.store, world.host.uid, world.host.gid);
    chmodSync(world.store, 0o700);
    const toml = `store = "${world.store}"\nsyslog = false\n[space]\nmin_free = "160M"\n`;
    world.write(world.host, world.hostToml, toml);
    const key = readFileSync(join(world.client.home, '.ssh/id_ed25519.pub'), 'utf8');
    assert.equal((await world.enroll(world.name, key)).status, 0);
    writeFileSync(join(world.data, 'small'), 'small');
    world.own(world.client, join(world.data, 'small'));
    const { status, stdout } = await world.backup();
    assert.equal(status, 0, stdout);
  });
  after(async () => {
    if (isMounted) execFileSync('umount', [world.store]);
    await world.dispose();
  });

  it('ends the run of a file that is larger than the room, near the mark', async () => {
    const large = join(world.data, 'large');
    execFileSync('/bin/sh', ['-c', 'yes dialback | head -c 600M >"$0"', large]);
    world.own(world.client, large);
    let least = Number.POSITIVE_INFINITY;
    const timer = setInterval(() => {
      const { bavail, bsize } = statfsSync(world.store);
      least = Math.min(least, bavail * bsize);
    }, LOOK_MS);
    const { status, last } = await world.backup();
    clearInterval(timer);
    assert.equal(status, 14, JSON.stringify(last));
    assert.ok(least < MARK, `the mark was not reached: ${least}`);
    // Before, a run was looked at each 3 s, and filled the disk.
    assert.ok(least > MARK / 2, `${Math.round(least / MIB)} MiB were left, of ${MARK / MIB}`);
    const { bavail, bsize } = statfsSync(world.store);
    assert.ok(bavail * bsize > MARK / 2);
    assert.equal(world.snapshots().length, 1);
  });
});
