// Goal: what a rsync cannot do safely is said where the backups are: the client tells it with its request, whatever the
// transport, and snapshot.json and `list` have it as a flag. A rsync without a known vulnerability leaves no flag.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { isRsyncVulnerable } from '../../../src/shared/package-changelog.ts';
import { some } from '../../support/long.ts';
import { OtherRsync } from '../../support/other-rsync.ts';
import { isOwnRsyncVulnerable } from '../../support/own-rsync.ts';
import { enrollLocal, shelfOf, TRANSPORTS, type Transport, useTransport } from '../../support/transports.ts';
import { lastLine, NEEDS_ROOT, World } from '../../support/world.ts';

const OLD = '3.1.99'; // older than every fix, and in no changelog

describe('a rsync with known vulnerabilities', { skip: NEEDS_ROOT }, () => {
  let world: World;
  let other: OtherRsync;
  before(async () => {
    world = await World.make();
    await enrollLocal(world);
    other = new OtherRsync(world);
    world.write(world.client, join(world.data, 'a file'), 'content');
  });
  after(async () => {
    await world.dispose();
    other[Symbol.dispose]();
  });

  /** A backup, and what its snapshot's record says. @param version what the client's rsync says that it is */
  async function recordOf(
    transport: Transport,
    version: string | undefined,
  ): Promise<{ flags: string[]; rsync: { client: string; host: string } }> {
    useTransport(world, transport);
    const script = [
      ...(version === undefined
        ? []
        : [`[ "$*" != --version ] || { echo 'rsync  version ${version}  protocol version 31'; exit 0; }`]),
      `exec ${other.real} "$@"`,
    ];
    const result = await other.run(other.write(script), ['backup', '--json', '--config', world.clientToml]);
    await world.settled();
    const { outcome, snapshot } = lastLine(result);
    assert.equal(outcome, 'full', result.stdout + result.stderr);
    const folder = join(shelfOf(world, transport), 'snapshots', snapshot ?? '');
    return JSON.parse(readFileSync(join(folder, 'snapshot.json'), 'utf8'));
  }

  /** @param client's version: with transport `local` the host has the same rsync. Otherwise it has this machine's. */
  const ofHost = (transport: Transport, client: string): string[] => {
    const isVulnerable = transport === 'local' ? isRsyncVulnerable(client) : isOwnRsyncVulnerable();
    return isVulnerable ? ['host-rsync-vulnerable'] : [];
  };

  for (const transport of some(TRANSPORTS, 2)) {
    it(`is not said of one without: ${transport}`, async () => {
      const { flags, rsync } = await recordOf(transport, '99.0.0');
      assert.deepEqual(flags, ofHost(transport, '99.0.0'));
      assert.equal(rsync.client, '99.0.0');
    });
    it(`is a flag of the snapshot: ${transport}`, async () => {
      const { flags, rsync } = await recordOf(transport, OLD);
      assert.deepEqual(flags, ['client-rsync-vulnerable', ...ofHost(transport, OLD)]);
      assert.equal(rsync.client, OLD);
    });
  }

  it('is shown by list, and no problem for status', async () => {
    useTransport(world, 'local');
    const config = ['--config', join(world.client.home, 'local.toml')];
    const listed = await world.run(world.client, ['list', '--json', ...config]);
    const { flags } = JSON.parse(listed.stdout).at(-1);
    assert.deepEqual(flags, ['client-rsync-vulnerable', 'host-rsync-vulnerable']);
    const { status, stdout } = await world.run(world.client, ['status', ...config]);
    assert.equal(status, 0, stdout);
  });
});
