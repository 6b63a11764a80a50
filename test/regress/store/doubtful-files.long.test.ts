// Goal: a store in which 0.1.0 has put files that a power cut had emptied heals: verify lists them, the next run compares them
// with the client (only them: what has no holes is linked), and the older snapshots stay as they are.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import {
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { stateOf } from '../../support/inode.ts';
import { NEEDS_ROOT, World } from '../../support/world.ts';

const MIB = 1024 * 1024;
/** The time of what was lost, on both sides: a whole second, since a number of node's is exact to 0.2 microseconds only. */
const SECONDS = 1_700_000_000;

describe('doubtful files of an older version', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let world: World;
  const content = new Map<string, Buffer>();
  before(async () => {
    world = await World.make({ launcher: true });
    mkdirSync(join(world.data, 'a folder'));
    content.set('a folder/emptied\n*[x]', Buffer.concat([randomBytes(20_000), Buffer.alloc(5_000)]));
    content.set('a folder/-rf', Buffer.concat([randomBytes(70_000), Buffer.alloc(1)]));
    content.set('half', randomBytes(3 * MIB));
    content.set('never written', Buffer.concat([randomBytes(9_000), Buffer.alloc(50)]));
    content.set('holes of the client', Buffer.concat([Buffer.from('x'), Buffer.alloc(1 * MIB)]));
    content.set('whole', randomBytes(8 * MIB));
    // So that what is compared is a small part: a larger one is an unusual change, and the older snapshot stays a basis.
    for (let at = 0; at < 30; at += 1) content.set(`text ${at}`, randomBytes(100));
    for (const [name, bytes] of content) writeFileSync(join(world.data, name), bytes);
    truncateSync(join(world.data, 'holes of the client'), 1);
    truncateSync(join(world.data, 'holes of the client'), MIB + 1);
    linkSync(join(world.data, 'a folder/-rf'), join(world.data, 'another name'));
    content.set('another name', content.get('a folder/-rf') ?? Buffer.alloc(0));
  });
  after(async () => {
    await world.dispose();
  });

  const EMPTIED = ['a folder/emptied\n*[x]', 'a folder/-rf'];
  const stored = (snapshot: string, name: string): string => join(world.tree(snapshot), world.data, name);
  const recordOf = (snapshot: string): { durable?: boolean } =>
    JSON.parse(readFileSync(join(world.shelf, 'snapshots', snapshot, 'snapshot.json'), 'utf8')) as {
      durable?: boolean;
    };

  /** As a power cut leaves it: size and time, and no data behind the first bytes. */
  function lose(path: string, kept: number): void {
    const { size } = statSync(path);
    truncateSync(path, kept);
    truncateSync(path, size);
    utimesSync(path, SECONDS, SECONDS);
  }

  /** The same, where the blocks were allocated and never written: they read as zeros. */
  function blank(path: string): void {
    writeFileSync(path, Buffer.alloc(statSync(path).size));
    utimesSync(path, SECONDS, SECONDS);
  }

  it('a snapshot of this version says that its data were on the disk', async () => {
    assert.equal((await world.backup()).last.outcome, 'full');
    const [first = ''] = world.snapshots();
    assert.equal(recordOf(first).durable, true);
    assert.equal(existsSync(join(world.shelf, 'recheck')), false);
  });

  it('verify names what ends in holes or zeros in one of an older version, and doctor the client', async () => {
    const [first = ''] = world.snapshots();
    for (const name of EMPTIED) lose(stored(first, name), 0);
    lose(stored(first, 'half'), MIB);
    blank(stored(first, 'never written'));
    for (const name of [...EMPTIED, 'half', 'never written'])
      utimesSync(join(world.data, name), SECONDS, SECONDS);
    const path = join(world.shelf, 'snapshots', first, 'snapshot.json');
    const { durable: _, ...older } = recordOf(first);
    writeFileSync(path, JSON.stringify(older));
    const doctor = await world.run(world.host, ['doctor', '--host', '--json', '--config', world.hostToml]);
    const findings = JSON.parse(doctor.stdout) as { check: string; state: string; found: string }[];
    const finding = findings.find(each => each.check === 'host.store_contents');
    assert.equal(finding?.state, 'warning');
    assert.match(finding?.found ?? '', /acorn/);
    const { stdout } = await world.run(world.host, ['verify', '--json', '--config', world.hostToml]);
    const [result] = JSON.parse(stdout) as {
      doubtful: { snapshot: string; count: number; paths: string[] }[];
    }[];
    assert.equal(result?.doubtful[0]?.snapshot, first);
    const names = [...EMPTIED, 'half', 'never written', 'holes of the client', 'another name'].map(name =>
      join(world.data, name),
    );
    assert.deepEqual([...(result?.doubtful[0]?.paths ?? [])].sort(), names.sort());
    assert.equal(result?.doubtful[0]?.count, names.length);
    assert.ok(existsSync(join(world.shelf, 'recheck', first, 'done')));
    const after = await world.run(world.host, ['doctor', '--host', '--json', '--config', world.hostToml]);
    const now = (JSON.parse(after.stdout) as { check: string; state: string }[]).find(
      each => each.check === 'host.store_contents',
    );
    assert.equal(now?.state, 'ok');
  });

  it('the next run has every byte of the client, links the rest, and leaves the older snapshot as it is', async () => {
    const [first = ''] = world.snapshots();
    const before = [...content.keys()].map(name => stateOf(stored(first, name)));
    const { last, status } = await world.backup();
    assert.equal(status, 0, last.error ?? '');
    const second = last.snapshot ?? '';
    for (const [name, bytes] of content)
      assert.ok(readFileSync(stored(second, name)).equals(bytes), JSON.stringify(name));
    assert.equal(statSync(stored(second, 'whole')).ino, statSync(stored(first, 'whole')).ino);
    assert.equal(statSync(stored(second, 'another name')).ino, statSync(stored(second, 'a folder/-rf')).ino);
    assert.ok(last.transferred_bytes < 2.5 * MIB, `${last.transferred_bytes} bytes sent`);
    assert.deepEqual(
      [...content.keys()].map(name => stateOf(stored(first, name))),
      before,
    );
    assert.equal(recordOf(second).durable, true);
    assert.deepEqual(readdirSync(join(world.shelf, 'recheck')), []);
    const { stdout } = await world.run(world.host, [
      'verify',
      `${world.name}@${second}`,
      '--json',
      '--config',
      world.hostToml,
    ]);
    const [result] = JSON.parse(stdout) as { doubtful: unknown[]; damaged_count: number }[];
    assert.deepEqual([result?.doubtful, result?.damaged_count], [[], 0]);
  });

  it('without verify the run after the next one compares them: the manifest’s process prepares it', async () => {
    const last = world.snapshots().at(-1) ?? '';
    lose(stored(last, 'half'), 0);
    utimesSync(join(world.data, 'half'), SECONDS, SECONDS);
    const { durable: _, ...older } = recordOf(last);
    writeFileSync(join(world.shelf, 'snapshots', last, 'snapshot.json'), JSON.stringify(older));
    const third = (await world.backup()).last.snapshot ?? '';
    assert.equal(recordOf(third).durable, false);
    const fourth = (await world.backup()).last.snapshot ?? '';
    assert.equal(recordOf(fourth).durable, true);
    assert.ok(readFileSync(stored(fourth, 'half')).equals(content.get('half') ?? Buffer.alloc(0)));
  });
});
