// Goal: what an ordinary account restores never runs as that account: setuid and setgid bits of a client's files are left out,
// and the restore says so.
import assert from 'node:assert/strict';
import { chmodSync, lstatSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { matchingLines, says } from '../../support/wording.ts';
import { NEEDS_ROOT, World } from '../../support/world.ts';

describe("a restore of a client's setuid files", { skip: NEEDS_ROOT }, () => {
  let world: World;
  const modes: Record<string, number> = { setuid: 0o4755, setgid: 0o2755, both: 0o6755, plain: 0o755 };
  before(async () => {
    world = await World.make();
    for (const [name, mode] of Object.entries(modes)) {
      world.write(world.client, join(world.data, name), name);
      chmodSync(join(world.data, name), mode);
    }
    assert.equal((await world.backup()).status, 0);
  });
  after(async () => {
    await world.dispose();
  });
  const restored = (to: string, name: string): number => lstatSync(join(to, world.data, name)).mode & 0o7777;

  it('leaves the bits out for an ordinary account, and counts the files', async () => {
    const to = join(world.host.home, 'restored');
    const args = ['restore', world.name, '--to', to, '--config', world.hostToml];
    const dry = await world.run(world.host, [...args, '--dry-run']);
    assert.equal(dry.status, 3);
    const { status, stderr } = await world.run(world.host, args);
    assert.equal(status, 3, stderr);
    for (const text of [dry.stderr, stderr])
      assert.match(
        text,
        matchingLines`^ {2}3 ${says('without-setuid-and-setgid-bits')}, such as ".*\/(?:setuid|setgid|both)"$`,
      );
    for (const [name, mode] of Object.entries(modes))
      assert.equal(restored(to, name).toString(8), (mode & 0o777).toString(8), name);
  });

  it('gives them back for root', async () => {
    const to = join(world.base, 'of root');
    const args = ['restore', world.name, '--to', to, '--config', world.hostToml];
    const { status, stderr } = await world.run('root', args);
    assert.equal(status, 0, stderr);
    for (const [name, mode] of Object.entries(modes))
      assert.equal(restored(to, name).toString(8), mode.toString(8), name);
  });
});
