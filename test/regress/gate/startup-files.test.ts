// Goal: a start-up file that prints is named in one message, whichever side has it, where it breaks the connection; and where it
// breaks nothing, nothing is said.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { type Transport, useTransport } from '../../support/transports.ts';
import { matching, matchingLines, says } from '../../support/wording.ts';
import { NEEDS_ROOT, type Party, until, World } from '../../support/world.ts';

describe('a start-up file that prints', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let world: World;
  before(async () => {
    world = await World.make();
    writeFileSync(join(world.data, 'file'), 'content');
    for (const { login } of [world.client, world.host])
      execFileSync('/usr/sbin/usermod', ['--shell', '/bin/bash', login], { stdio: 'pipe' });
  });
  after(async () => {
    await world.dispose();
  });
  afterEach(() => {
    // Not as soon as the client has ended: the host may look for the file that prints only then.
    for (const { home } of [world.client, world.host]) rmSync(join(home, '.bashrc'), { force: true });
  });

  async function backUp(
    transport: Transport,
    party: Party,
  ): Promise<{ status: number | null; stderr: string }> {
    world.write(party, join(party.home, '.bashrc'), 'echo "Welcome home"\n');
    useTransport(world, transport);
    return await world.run(world.client, ['backup', '--config', world.clientToml]);
  }

  it('on the client: direct', async () => {
    const { status, stderr } = await backUp('direct', world.client);
    assert.equal(status, 1, stderr);
    const file = join(world.client.home, '.bashrc');
    assert.ok(
      stderr.includes(`the start-up file "${file}" prints "Welcome home" into the connection`),
      stderr,
    );
    assert.match(stderr, matchingLines`^next: let ".*\/\.bashrc" ${says('print-only-to-a-terminal')}`);
  });

  it('on the client: channel, which starts no shell there', async () => {
    const { status, stderr } = await backUp('channel', world.client);
    assert.equal(status, 0, stderr);
  });

  it('on the host: channel', async () => {
    const { status, stderr } = await backUp('channel', world.host);
    assert.equal(status, 13, stderr);
    assert.match(stderr, matching`${says('the-backup-host-asks-for')} "Welcome home"`);
    assert.match(stderr, matchingLines`^next: .*${says('start-up-file-of-its')}.*dialback doctor`);
    const line = `the start-up file "${join(world.host.home, '.bashrc')}" prints "Welcome home"`;
    // The client has gone by then.
    await until('the journal names it', () => String(world.journal('host').at(-1)?.reason).includes(line));
  });

  it('on the host: direct, where nobody reads it', async () => {
    const { status, stderr } = await backUp('direct', world.host);
    assert.equal(status, 0, stderr);
  });
});
