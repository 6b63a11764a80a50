// Goal: root restores with --force over folders of a user, who exchanges one of them with a link to root's folder all the
// time. Nothing in root's folder changes; an rsync that would follow the link is refused.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { IS_LONG } from '../../support/long.ts';
import { diffManifests, type Manifest, manifest } from '../../support/manifest.ts';
import { compileSwap } from '../../support/swap.ts';
import { NEEDS_ROOT, World } from '../../support/world.ts';

const FILES = 300;
const ROUNDS = IS_LONG ? 8 : 2;

describe('a folder that its user exchanges with a link', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let world: World;
  let program: string;
  before(async () => {
    world = await World.make();
    const { client, data } = world;
    for (let each = 0; each < FILES; each += 1) {
      world.write(client, join(data, `file ${each}`), `new ${each}`, 0o644);
      if (each % 5 > 0) continue;
      mkdirSync(join(data, `folder ${each}`));
      world.own(client, join(data, `folder ${each}`));
      execFileSync('setfacl', ['-m', 'u:12345:rwx', join(data, `folder ${each}`)]);
    }
    assert.equal((await world.backup()).status, 0);
    program = join(world.base, 'swap');
    compileSwap(program);
  });
  after(async () => {
    await world.dispose();
  });

  /** Root's folder, with half of the names that the restore writes. */
  function makeTarget(): string {
    const target = join(world.base, 'of root');
    mkdirSync(target, { mode: 0o700 });
    for (let each = 0; each < FILES; each += 2) {
      writeFileSync(join(target, `file ${each}`), 'of root', { mode: 0o600 });
      if (each % 5 === 0) mkdirSync(join(target, `folder ${each}`));
    }
    return target;
  }

  it('does not lead root’s rsync into root’s folder', async () => {
    const target = makeTarget();
    const state = (): Manifest => manifest(target, { includeInode: true });
    const untouched = state();
    const { client, data } = world;
    const asked = await world.start('root', '/usr/bin/rsync', ['--insecure-links', '--version']).done;
    for (let round = 0; round < ROUNDS; round += 1) {
      const to = join(world.base, `to ${round}`);
      const place = join(to, dirname(data));
      mkdirSync(join(place, basename(data)), { recursive: true });
      chmodSync(to, 0o755);
      symlinkSync(target, join(place, 'link'));
      for (const path of [place, join(place, basename(data))]) world.own(client, path);
      execFileSync('chown', ['-h', String(client.uid), join(place, 'link')]);
      const attack = world.start(client, program, ['flip', place, basename(data), 'link']);
      const { status, stderr } = await world.restore(to, ['--force']);
      attack.child.kill('SIGKILL');
      await attack.done;
      // Whether all came back, the user has decided: 0, 3 or 1.
      if (asked.status !== 0) assert.equal(status, 2, stderr);
      assert.deepEqual(diffManifests(untouched, state()), [], stderr);
    }
  });
});
