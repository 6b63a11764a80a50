// Goal: what a power cut leaves of an interrupted run never gets into a snapshot unread. After the cut a file can have its size and
// its time, and no data: the next run compares contents, ends full, and every byte is the client's. A tree that was on the
// disk before the cut is used as it is.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { stateOf } from '../../support/inode.ts';
import { itLong } from '../../support/long.ts';
import { NEEDS_ROOT, until, World } from '../../support/world.ts';

const MIB = 1024 * 1024;
/** rsync takes folders in the order of their names. */
const LAST = 'z folder/last';
/** A whole second: a number of node's is exact to 0.2 microseconds only. */
const SECONDS = 1_700_000_000;
/** Names, and whether the file ends in NULs: on ext4 those are the ones that a power cut empties. */
const FILES: [name: string, bytes: number, nuls: number][] = [
  ...Array.from({ length: 40 }, (_, at): [string, number, number] => [`archive ${at}.tar`, 9_000 + at, 1024]),
  ...Array.from({ length: 40 }, (_, at): [string, number, number] => [`text ${at}`, 500 + at, 0]),
  ['disk image', 2 * MIB, 300_000],
  ['a database', 2 * MIB, 1],
  ['all holes', 0, 100_000],
];

describe('an interrupted tree after a power cut', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let world: World;
  const content = new Map<string, Buffer>();
  before(async () => {
    world = await World.make();
    for (const each of ['a folder', 'z folder']) mkdirSync(join(world.data, each));
    for (const [name, bytes, nuls] of FILES)
      content.set(`a folder/${name}`, Buffer.concat([randomBytes(bytes), Buffer.alloc(nuls)]));
    // It comes last, and slowly: the run is cut off while the others are there.
    content.set(LAST, randomBytes(8 * MIB));
    for (const [name, bytes] of content) writeFileSync(join(world.data, name), bytes);
  });
  after(async () => {
    await world.dispose();
  });

  const arriving = (): string[] => readdirSync(join(world.shelf, 'arriving'));
  const inArriving = (name: string): string =>
    join(world.shelf, 'arriving', arriving()[0] ?? '', 'tree', world.data, name);

  /** A run that ends while the last file comes. @param how in order, or with all of the host's processes killed at once */
  async function interrupt(how: 'in order' | 'killed'): Promise<void> {
    world.configure({ limits: 'bwlimit = "4M"' });
    const running = world.start(world.client, world.binary, ['backup', '--config', world.clientToml]);
    let isOver = false;
    void running.done.then(() => {
      isOver = true;
    });
    const hasBegun = (): boolean =>
      arriving().length > 0 &&
      existsSync(inArriving('z folder')) &&
      readdirSync(inArriving('z folder')).some(each => each.startsWith('.last.'));
    await until('the last file comes', () => isOver || hasBegun());
    assert.ok(!isOver, 'it is still under way');
    if (how === 'in order') running.child.kill('SIGTERM');
    else killHost();
    await running.done;
    await until('nothing of the host runs', () =>
      world.processes().every(each => !/ grab |rsync/.test(each.command)),
    );
  }

  /** Each is stopped first, so that none has the time to do anything about the end of another. */
  function killHost(): void {
    const all = world.processes().filter(({ command, pid }) => isOfHost(pid) && / grab |rsync/.test(command));
    assert.ok(all.length > 1);
    for (const signal of ['SIGSTOP', 'SIGKILL'] as const) {
      for (const { pid } of all) {
        try {
          process.kill(pid, signal);
        } catch {
          // it ended with its parent
        }
      }
    }
  }

  function isOfHost(pid: number): boolean {
    const text = readFileSync(`/proc/${pid}/status`, 'latin1');
    return Number(/^Uid:\s+(\d+)/m.exec(text)?.[1]) === world.host.uid;
  }

  /** What a power cut makes of a file whose data were not on the disk: its size, the client's time, and no block. */
  function empty(name: string): void {
    const path = inArriving(name);
    const { size } = statSync(path);
    truncateSync(path, 0);
    truncateSync(path, size);
    for (const each of [path, join(world.data, name)]) utimesSync(each, SECONDS, SECONDS);
    const [client, host] = [join(world.data, name), path].map(each => statSync(each, { bigint: true }));
    assert.equal(client?.mtimeNs, host?.mtimeNs, name);
    assert.equal(client?.size, host?.size, name);
    assert.equal(host?.blocks, 0n);
  }

  async function backUp(): Promise<{ snapshot: string; sent: number }> {
    world.configure();
    const { status, last } = await world.backup();
    assert.equal(status, 0, last.error ?? '');
    assert.equal(last.outcome, 'full');
    return { snapshot: last.snapshot ?? '', sent: last.transferred_bytes };
  }

  function compare(snapshot: string): void {
    for (const [name, bytes] of content)
      assert.ok(readFileSync(join(world.tree(snapshot), world.data, name)).equals(bytes), name);
  }

  it('its files have size and time and no data: every byte is compared with the client, and the snapshot is full', async () => {
    await interrupt('killed');
    assert.equal(existsSync(join(world.shelf, 'arriving', arriving()[0] ?? '', 'synced')), false);
    for (const name of content.keys()) {
      if (name === LAST) continue;
      empty(name);
    }
    const { snapshot } = await backUp();
    compare(snapshot);
    assert.deepEqual(arriving(), []);
    const verified = await world.run(world.host, ['verify', world.name, '--config', world.hostToml]);
    assert.equal(verified.status, 0, verified.stdout);
  });

  itLong('the finished snapshots that it shares files with stay as they are', async () => {
    const [first = ''] = world.snapshots();
    const inFirst = [...content.keys()].map(name => join(world.tree(first), world.data, name));
    const old = inFirst.map(stateOf);
    content.set(LAST, randomBytes(8 * MIB));
    content.set('a folder/text 0', randomBytes(5000));
    for (const name of [LAST, 'a folder/text 0'])
      writeFileSync(join(world.data, name), content.get(name) ?? '');
    await interrupt('killed');
    empty('a folder/text 0');
    const { snapshot } = await backUp();
    compare(snapshot);
    assert.deepEqual(inFirst.map(stateOf), old);
    // What the snapshot before has is linked, not sent and not copied.
    const name = 'a folder/disk image';
    const inode = (each: string): number => statSync(join(world.tree(each), world.data, name)).ino;
    assert.equal(inode(snapshot), inode(first));
  });

  itLong('one that ended in order is on the disk, and is linked against as it is', async () => {
    for (const name of content.keys()) content.set(name, randomBytes(name === LAST ? 8 * MIB : 100_000));
    for (const [name, bytes] of content) writeFileSync(join(world.data, name), bytes);
    await interrupt('in order');
    const [left = ''] = arriving();
    assert.ok(existsSync(join(world.shelf, 'arriving', left, 'synced')));
    const [name] = [...content.keys()];
    const { ino } = statSync(inArriving(name ?? ''));
    const { snapshot, sent } = await backUp();
    compare(snapshot);
    assert.ok(sent < 9 * MIB, `${sent} bytes sent`);
    assert.equal(statSync(join(world.tree(snapshot), world.data, name ?? '')).ino, ino);
  });

  itLong(
    'one whose record is gone (an older version, a disk that came back without it) is compared',
    async () => {
      for (const name of content.keys())
        content.set(name, Buffer.concat([randomBytes(50_000), Buffer.alloc(5000)]));
      content.set(LAST, randomBytes(8 * MIB));
      for (const [name, bytes] of content) writeFileSync(join(world.data, name), bytes);
      await interrupt('in order');
      rmSync(join(world.shelf, 'arriving', arriving()[0] ?? '', 'synced'));
      for (const name of content.keys()) {
        if (name === LAST) continue;
        empty(name);
      }
      const { snapshot } = await backUp();
      compare(snapshot);
    },
  );
});
