// Goal: two machines on one cable that have link-local IPv6 addresses alone back up, direct too: an address with its zone is a
// target, in brackets, and the host that connects back from it is let in.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { some } from '../../support/long.ts';
import { Network } from '../../support/network.ts';
import { NEEDS_ROOT, World } from '../../support/world.ts';

describe('link-local addresses', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let network: Network;
  let world: World;
  before(async () => {
    network = await Network.make(['client', 'host']);
    network.connect(
      { machine: 'client', name: 'cable', address: 'fe80::1/64' },
      { machine: 'host', name: 'uplink', address: 'fe80::2/64' },
    );
    // Not those that the kernel makes of the hardware's address.
    for (const [machine, name, address] of [
      ['client', 'cable', 'fe80::1/64'],
      ['host', 'uplink', 'fe80::2/64'],
    ] as const) {
      network.ip(machine, '-6', 'address', 'flush', 'dev', name);
      network.ip(machine, 'address', 'add', address, 'dev', name);
    }
    const places = { client: network.pid('client'), host: network.pid('host'), address: 'fe80::2%cable' };
    world = await World.make({ places });
    writeFileSync(join(world.data, 'file'), 'content');
  });
  after(async () => {
    await world?.dispose();
    await network.end();
  });

  for (const remote of some(
    [
      'name = "vault"\nfrom = ["fe80::2%cable"]\nlisten = "[::]:0"',
      'name = "vault"\nfrom = ["fe80::/64"]',
      'name = "vault"\ntransport = "channel"',
    ],
    3,
  ))
    it(`back up with ${remote.replaceAll('\n', ', ')}`, async () => {
      world.configure({ remote });
      const { status, stdout, stderr } = await world.backup();
      assert.equal(status, 0, stdout + stderr + JSON.stringify(world.journal('host').at(-1)));
      assert.match(String(world.journal('host').at(-1)?.peer), /^fe80::1%uplink$/);
    });
});
