// Goal: what a client causes beside its files' contents counts: exclude lists, the index, manifests. The paths of a snapshot have a
// bound, and temporary files are the store's.
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { matching, says } from '../../support/wording.ts';
import { NEEDS_ROOT, World } from '../../support/world.ts';

const KIB = 1024;
const FILES = 1500;

describe('what a client causes', { skip: NEEDS_ROOT }, () => {
  let world: World;

  before(async () => {
    world = await World.make();
    put('first', 'content');
    await backup(0);
  });
  after(async () => {
    await world.dispose();
  });

  function put(name: string, content: string): void {
    writeFileSync(join(world.data, name), content);
    world.own(world.client, join(world.data, name));
  }

  function allow(space: string): void {
    world.write(world.host, world.hostToml, `store = "${world.store}"\nsyslog = false\n[space]\n${space}\n`);
  }

  async function backup(expected: number): Promise<void> {
    const { status, stdout } = await world.backup();
    assert.equal(status, expected, stdout.slice(-600) + JSON.stringify(world.journal('host').at(-1)));
  }

  const growth = (): number =>
    (JSON.parse(readFileSync(join(world.shelf, 'ledger.json'), 'utf8')) as { growth: { bytes: number } })
      .growth.bytes;
  const indexBytes = (): number => statSync(join(world.shelf, 'index.sqlite')).size;

  it('counts as growth where it comes after the run: the index and the manifest', async () => {
    allow('growth_budget = "50M"'); // 600 bytes of growth are forgotten each second
    await backup(0);
    const [index, before] = [indexBytes(), growth()];
    mkdirSync(join(world.data, 'many'));
    for (let at = 0; at < FILES; at += 1) put(`many/${'n'.repeat(40)}${at}`, '');
    await backup(0);
    const grown = indexBytes() - index;
    assert.ok(grown > 150 * KIB, `the index has grown by ${grown}`);
    const atOnce = growth() - before;
    await backup(0);
    const later = growth() - before - atOnce;
    assert.ok(later > 0.9 * grown, `${later} were noted, and the index alone had grown by ${grown}`);
  });

  it('counts before it is written: the exclude list', async () => {
    allow('growth_budget = "50M"'); // of which 600 bytes are forgotten each second
    const patterns = Array.from({ length: 800 }, (_, at) => `"${'x'.repeat(500)}${at}"`);
    world.configure({ scope: `roots = ["${world.data}"]\nexclude = [${patterns.join(', ')}]` });
    const before = growth();
    await backup(0);
    assert.ok(growth() - before > 400_000 * 0.9, `${growth() - before}`);
    // What is used up is forgotten by and by; so much is left of it now that another such list has no room.
    allow(`growth_budget = "${Math.ceil(growth() / KIB) + 100}K"`);
    await backup(14);
    assert.match(JSON.stringify(world.journal('host').at(-1)), /over-budget/);
    world.configure();
  });

  it('has a bound on the paths of one snapshot', async () => {
    allow('max_path_bytes = "100K"');
    const snapshots = world.snapshots();
    await backup(14);
    assert.match(
      JSON.stringify(world.journal('host').at(-1)),
      matching`its paths have \d+ ${says('bytes-and-max-path-bytes')} 102400`,
    );
    assert.deepEqual(world.snapshots(), snapshots);
    allow('max_path_bytes = "10M"');
    await backup(0);
  });

  it('leaves no temporary file in the store; what a killed sort left is removed after two days', async () => {
    const place = join(world.store, 'tmp');
    const longAgo = new Date(Date.now() - 3 * 86_400_000);
    for (const name of ['sortAb12Cd', 'sortEf34Gh']) {
      writeFileSync(join(place, name), 'left');
      world.own(world.host, join(place, name));
    }
    utimesSync(join(place, 'sortAb12Cd'), longAgo, longAgo);
    await backup(0);
    assert.deepEqual(readdirSync(place), ['sortEf34Gh']);
  });
});
