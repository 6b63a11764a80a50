// Goal: where the host takes the call and says nothing, doctor waits for it 30 s, and what it says to run tells the same of a backup,
// which goes well once the host answers.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { findingOf, Steps } from '../../support/steps.ts';
import { wording } from '../../support/wording.ts';
import { NEEDS_ROOT, World } from '../../support/world.ts';

describe('a host that takes the call and says nothing', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let world: World;
  before(async () => {
    world = await World.make();
    world.write(world.client, join(world.data, 'file'), 'content');
  });
  after(async () => {
    await world.dispose();
  });

  it('is found by doctor, and by the backup that it names', async () => {
    world.configure({ remote: 'name = "vault"\ntransport = "channel"', limits: 'deadline = "5s"' });
    const steps = new Steps(world);
    const lines = readFileSync(world.authorizedKeys, 'utf8');
    world.write(
      world.host,
      world.authorizedKeys,
      // It goes on after the end of its input, and ends with the connection.
      lines.replace(/command="[^"]*(?:\\"[^"]*)*"/, 'command="while sleep 1; do echo >&2; done"'),
    );
    const { state, found, next } = findingOf(await steps.doctor(world.client), 'client.call');
    assert.deepEqual([state, found], ['warning', `"vault" ${wording('accepted-the-call-and-sent')} 30 s`]);
    const shape = /(dialback backup -v)/;
    const { status, stderr } = await steps.shell(world.client, next ?? '');
    assert.notEqual(status, 0);
    assert.match(stderr, /^dialback: Cannot .*"?vault"?.*/m);
    world.write(world.host, world.authorizedKeys, lines);
    await steps.follow(next, shape, world.client);
    await world.settled();
    assert.equal(findingOf(await steps.doctor(world.client), 'client.call').state, 'ok');
  });
});
