// Goal: the gate refuses orders (gate.json) that are not exactly what a run writes: before it looks at the command, without
// taking the ticket, with the reason in the journal and without a local path for the peer. With right orders it starts rsync.
import assert from 'node:assert/strict';
import { chownSync, existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { wording } from '../../support/wording.ts';
import { NEEDS_ROOT, World } from '../../support/world.ts';

const ORDERS = {
  niceness: { nice: 0, ionice: null },
  bwlimitKib: 0,
  capability: 'none',
  remote: 'vault',
  isChannel: false,
};

const CASES: [what: string, text: string, reason: RegExp][] = [
  ['no file', '', /gate\.json/],
  ['no JSON', 'x', /is not JSON/],
  ['a capability that does not exist', JSON.stringify({ ...ORDERS, capability: 'all' }), /"capability"/],
  ['no capability', JSON.stringify({ ...ORDERS, capability: undefined }), /"capability"/],
  ['an unknown key', JSON.stringify({ ...ORDERS, more: true }), /"more"/],
  ['a repeated key', JSON.stringify(ORDERS).replace('{', '{"capability":"none",'), /"capability" twice/],
  ['isChannel as text', JSON.stringify({ ...ORDERS, isChannel: 'false' }), /"isChannel"/],
];

describe('orders of the gate', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let world: World;
  let run: string;
  before(async () => {
    world = await World.make();
    mkdirSync(world.clientState, { recursive: true });
    chownSync(world.clientState, world.client.uid, world.client.gid);
    run = join(world.clientState, 'run-AAAAAA');
  });
  after(async () => {
    await world.dispose();
  });

  /** Makes the run folder, and starts the gate in it as the one-time sshd would. */
  async function gate(orders: string | undefined, command: string) {
    rmSync(run, { recursive: true, force: true });
    mkdirSync(run, { mode: 0o700 });
    chownSync(run, world.client.uid, world.client.gid);
    world.write(world.client, join(run, 'ticket'), '');
    if (orders !== undefined && orders !== '') world.write(world.client, join(run, 'gate.json'), orders);
    const environment = { SSH_ORIGINAL_COMMAND: command, SSH_CONNECTION: '192.0.2.7 4000 192.0.2.8 22' };
    const ended = await world.run(world.client, ['gate', '--run', run], { environment });
    const last = world
      .journal('client')
      .filter(each => each.run === 'run-AAAAAA')
      .at(-1);
    return { ...ended, last };
  }

  for (const [what, orders, reason] of CASES)
    for (const command of ['rsync --server --daemon .', 'sh -i'])
      it(`refuses ${what}, whatever is asked for: ${command}`, async () => {
        const { status, stderr, last } = await gate(orders, command);
        assert.equal(status, 12, stderr);
        assert.equal(
          stderr,
          `${wording('cannot-let-this-in-the')}; ${wording('the-client-has-the-reason')}\n`,
          'the peer is told no more',
        );
        assert.deepEqual([last?.event, last?.peer], ['refused', '192.0.2.7 4000 192.0.2.8 22']);
        assert.match(String(last?.reason), reason);
        assert.ok(existsSync(join(run, 'ticket')), 'the ticket is still there');
        assert.equal(existsSync(join(run, 'taken')), false);
      });

  it('with right orders refuses another command, before the ticket', async () => {
    const { status, last } = await gate(JSON.stringify(ORDERS), 'sh -i');
    assert.equal(status, 12);
    assert.deepEqual([last?.event, last?.asked], ['refused', 'sh -i']);
    assert.ok(existsSync(join(run, 'ticket')), 'the ticket is still there');
  });

  it('with right orders takes the ticket and records the grant', async () => {
    const { last } = await gate(JSON.stringify(ORDERS), 'rsync --server --daemon .');
    assert.deepEqual([last?.event, last?.remote, last?.capability], ['granted', 'vault', 'none']);
    assert.equal(existsSync(join(run, 'ticket')), false);
    assert.ok(existsSync(join(run, 'taken')));
  });
});
