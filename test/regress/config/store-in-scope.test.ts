// Goal: a backup whose scope contains a store of this machine says so, in the run and in doctor: it would lose the store's attributes.
// `never` or an exclude ends the warning.
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { itLong, some } from '../../support/long.ts';
import { says } from '../../support/wording.ts';
import { NEEDS_ROOT, World } from '../../support/world.ts';

describe('a scope that contains a store', { skip: NEEDS_ROOT }, () => {
  let world: World;
  let store: string;
  const FOUND = says('store-in-the-scope', /[^"]*its store/);

  before(async () => {
    world = await World.make();
    // A store of the client's own account, which its host.toml names.
    store = join(world.data, 'its store');
    for (const each of ['', 'clients']) {
      mkdirSync(join(store, each), { mode: 0o700 });
      world.own(world.client, join(store, each));
    }
    world.write(world.client, join(store, 'store.json'), '{"version":1}\n');
    const folder = join(world.client.home, '.config/dialback');
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    for (const each of [join(world.client.home, '.config'), folder]) world.own(world.client, each);
    world.write(world.client, join(folder, 'host.toml'), `store = "${store}"\n`);
    writeFileSync(join(world.data, 'file'), 'x');
  });
  after(async () => {
    await world.dispose();
  });

  /** What the run prints, and what doctor finds. */
  async function look(scope: string): Promise<{ run: string; doctor: { check: string; found: string }[] }> {
    world.configure({ scope });
    const { status, stdout, stderr } = await world.run(world.client, [
      'backup',
      '--config',
      world.clientToml,
    ]);
    assert.equal(status, 0, stderr);
    await world.settled();
    const doctor = await world.run(world.client, [
      'doctor',
      '--client',
      '--json',
      '--config',
      world.clientToml,
    ]);
    const all = JSON.parse(doctor.stdout) as { check: string; state: string; found: string; next: string }[];
    return { run: stdout + stderr, doctor: all.filter(each => each.check === 'client.stores') };
  }

  it('warns of it, and backs up the rest', async () => {
    const { run, doctor } = await look(`roots = ["${world.data}"]`);
    assert.match(run, FOUND);
    assert.equal(doctor.length, 1);
    assert.match(doctor[0]?.found ?? '', FOUND);
  });

  itLong('warns of a root that is a part of a store', async () => {
    const { run } = await look(`roots = ["${store}/clients"]`);
    assert.match(run, FOUND);
  });

  it('does not warn where `never` or an exclude leaves it out', async () => {
    const ways = [`never = ["${store}"]`, `exclude = ["${store}/"]`, `exclude = ["${store}/**"]`];
    for (const more of some(ways, 3)) {
      const { run, doctor } = await look(`roots = ["${world.data}"]\n${more}`);
      assert.doesNotMatch(run, FOUND, more);
      assert.deepEqual(doctor, [], more);
    }
  });
});
