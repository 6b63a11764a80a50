// Goal: a file that is all holes, and larger than any disk, does not take the time of all others: it is left out, and named as
// missing. The client and the host can each set a smaller limit.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe } from 'node:test';
import { itLong, itShort } from '../../support/long.ts';
import { matching, says } from '../../support/wording.ts';
import { NEEDS_ROOT, World } from '../../support/world.ts';

describe('a file that is too large', { skip: NEEDS_ROOT }, () => {
  let world: World;
  const giant = (): string => join(world.data, 'a giant\n of holes');
  const medium = (): string => join(world.data, 'medium');

  before(async () => {
    world = await World.make();
    execFileSync('/usr/bin/truncate', ['-s', '15T', giant()]);
    writeFileSync(medium(), Buffer.alloc(100_000, 'x'));
    writeFileSync(join(world.data, 'small'), 'small');
    for (const path of [giant(), medium(), join(world.data, 'small')]) world.own(world.client, path);
  });
  after(async () => {
    await world.dispose();
  });

  async function check(missing: string[]): Promise<void> {
    const { status, last, stdout } = await world.backup();
    assert.equal(status, missing.length > 0 ? 3 : 0, stdout.slice(-1000));
    assert.deepEqual([...last.missing].sort(), [...missing].sort());
    assert.equal(last.missing_count, missing.length);
    const has = (path: string): boolean => existsSync(join(world.tree(last.snapshot ?? ''), path));
    assert.ok(has(join(world.data, 'small')));
    for (const path of missing) assert.ok(!has(path));
  }

  itShort('is left out by itself, and the rest is saved at once', async () => {
    await check([giant()]);
    const { stderr } = await world.run(world.client, ['backup', '--config', world.clientToml]);
    await world.settled();
    assert.match(stderr, matching`1 ${says('could-not-be-read')}`);
    assert.match(stderr, /a giant.*larger than `max_size`/);
    assert.match(stderr, /next: set `max_size` higher/);
  });

  itShort('is what the client says', async () => {
    world.configure({ limits: 'max_size = "50K"' });
    await check([giant(), medium()]);
    world.configure();
  });

  itLong('is what the host says, for all clients or for one', async () => {
    const toml = `store = "${world.store}"\nsyslog = false\n`;
    world.write(world.host, world.hostToml, `${toml}[space]\nmax_size = "50K"\n`);
    await check([giant(), medium()]);
    world.write(
      world.host,
      world.hostToml,
      `${toml}[space]\nmax_size = "50K"\n[client.${world.name}.space]\nmax_size = "1M"\n`,
    );
    await check([giant()]);
  });

  itShort('is no longer missing once it is gone', async () => {
    rmSync(giant());
    await check([]);
  });
});
