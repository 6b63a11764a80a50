// Goal: a fixed port in `listen` that another program uses does not end the run at once: it says so and tries again; a port that
// stays taken is named, with the command that finds the program.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { matching, says } from '../../support/wording.ts';
import { NEEDS_ROOT, World } from '../../support/world.ts';

describe('a port of `listen` that is taken', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let world: World;
  let other: Server;
  let port = 0;
  before(async () => {
    world = await World.make();
    writeFileSync(join(world.data, 'file'), 'content');
    other = createServer();
    await new Promise<void>(resolve => other.listen(0, '127.0.0.1', resolve));
    port = (other.address() as AddressInfo).port;
    world.configure({ remote: `name = "vault"\nfrom = ["127.0.0.1"]\nlisten = "127.0.0.1:${port}"` });
  });
  after(async () => {
    await new Promise(resolve => other.close(resolve));
    await world.dispose();
  });

  it('is named where it stays taken', async () => {
    const { status, last } = await world.backup();
    assert.equal(status, 13);
    assert.match(
      last.error ?? '',
      matching`^Cannot listen on "127\.0\.0\.1:\d+": ${says('another-program-uses-this-port')}$`,
    );
    const { stderr } = await world.run(world.client, ['backup', '--config', world.clientToml]);
    assert.match(stderr, new RegExp(`^next: ss -tanp 'sport = :${port}' `, 'm'));
  });

  it('is used once it is free again', async () => {
    const { status, stdout } = await world.backup([], {
      onLine: line => {
        if (/"event":"warning".*trying again/.test(line)) other.close();
      },
    });
    assert.equal(status, 0, stdout);
  });
});
