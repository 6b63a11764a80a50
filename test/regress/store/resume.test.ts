// Goal: a large file that was backed up before, has changed, and arrived in part before its run was cut off, comes with the
// next runs: what had arrived is not sent again, nor what the old version had behind it; and the old version stays as it was.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { itLong, itShort } from '../../support/long.ts';
import { NEEDS_ROOT, until, World } from '../../support/world.ts';

const MIB = 1024 * 1024;

describe('a changed file that has come in part', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let world: World;
  before(async () => {
    world = await World.make({ launcher: true });
  });
  after(async () => {
    await world.dispose();
  });

  const inTree = (area: string, snapshot: string, name = ''): string =>
    join(world.shelf, area, snapshot, 'tree', world.data, name);

  /** Bytes of a file's temporary in the tree that is arriving, beyond what an older version gave it at once. */
  function arrived(name: string): number {
    for (const snapshot of readdirSync(join(world.shelf, 'arriving'))) {
      const folder = inTree('arriving', snapshot);
      if (!existsSync(folder)) continue;
      const temporary = readdirSync(folder).find(each => each.startsWith(`.${name.replace(/^\./, '')}.`));
      if (temporary) return statSync(join(folder, temporary), { throwIfNoEntry: false })?.size ?? 0;
    }
    return 0;
  }

  async function backUp(): Promise<{ snapshot: string; sent: number }> {
    world.configure();
    const { status, last } = await world.backup();
    assert.equal(status, 0, last.error ?? '');
    return { snapshot: last.snapshot ?? '', sent: last.transferred_bytes };
  }

  /** A run that is ended once so much of a file has come. @param how kills all of the host's rsync at once, or lets it finish */
  async function cutOff(name: string, bytes: number, how: 'end' | 'kill' = 'end'): Promise<void> {
    world.configure({ limits: 'bwlimit = "4M"' });
    const running = world.start(world.client, world.binary, ['backup', '--config', world.clientToml]);
    let isOver = false;
    void running.done.then(() => {
      isOver = true;
    });
    await until(`${bytes} bytes of ${name} have come`, () => isOver || arrived(name) >= bytes);
    assert.ok(!isOver, 'it is cut off before its end');
    if (how === 'end') running.child.kill('SIGTERM');
    else killReceivers();
    await running.done;
    await until('the host is done', () => world.processes().every(({ command }) => !/ grab /.test(command)));
  }

  /** Each of them stands still first, so that none has the time to do anything when another one ends. */
  function killReceivers(): void {
    const receivers = world
      .processes()
      .filter(({ pid, command }) => /^\S*(rsync|jail) /.test(command) && isOfHost(pid));
    assert.ok(receivers.length > 1);
    for (const { pid } of receivers) process.kill(pid, 'SIGSTOP');
    for (const { pid } of receivers) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // it ended with another one of them: the first process of its namespace
      }
    }
  }

  function isOfHost(pid: number): boolean {
    const text = readFileSync(`/proc/${pid}/status`, 'latin1');
    return Number(/^Uid:\s+(\d+)/m.exec(text)?.[1]) === world.host.uid;
  }

  itShort('all of it new: each run sends what the last one did not', async () => {
    const path = join(world.data, 'new');
    const old = randomBytes(12 * MIB);
    writeFileSync(path, old);
    const first = await backUp();
    const content = randomBytes(12 * MIB);
    writeFileSync(path, content);
    await cutOff('new', 4 * MIB);
    await cutOff('new', 8 * MIB);
    const { snapshot, sent } = await backUp();
    assert.ok(sent < 5 * MIB, `${sent} bytes sent, 4 MiB were left`);
    assert.deepEqual(readFileSync(inTree('snapshots', snapshot, 'new')), content);
    assert.deepEqual(readFileSync(inTree('snapshots', first.snapshot, 'new')), old);
    assert.equal(statSync(inTree('snapshots', first.snapshot, 'new')).nlink, 1);
  });

  itLong('its receiver killed with -9: what was being written is used all the same', async () => {
    const path = join(world.data, '.hidden');
    const old = randomBytes(12 * MIB);
    writeFileSync(path, old);
    await backUp();
    const content = Buffer.concat([randomBytes(8 * MIB), old.subarray(8 * MIB)]);
    writeFileSync(path, content);
    await cutOff('.hidden', 4 * MIB, 'kill');
    const [left = ''] = readdirSync(join(world.shelf, 'arriving'));
    const names = readdirSync(inTree('arriving', left));
    assert.ok(
      names.some(each => each.startsWith('.hidden.')) && !names.includes('.hidden'),
      'nothing was put in order',
    );
    const { snapshot, sent } = await backUp();
    assert.ok(sent < 5 * MIB, `${sent} bytes sent, 4 MiB were left`);
    assert.deepEqual(readFileSync(inTree('snapshots', snapshot, '.hidden')), content);
    assert.deepEqual(
      readdirSync(inTree('snapshots', snapshot)).filter(each => each.startsWith('.hidden.')),
      [],
    );
  });

  itLong('a part of it new: what is as it was behind that part is not sent', async () => {
    const path = join(world.data, 'part');
    const old = randomBytes(24 * MIB);
    writeFileSync(path, old);
    const first = await backUp();
    // Longer by a little, so that all that follows has moved.
    const content = Buffer.concat([
      ...[old.subarray(0, 6 * MIB), randomBytes(6 * MIB + 4321), old.subarray(12 * MIB)],
      randomBytes(1000),
    ]);
    writeFileSync(path, content);
    await cutOff('part', 9 * MIB);
    const { snapshot, sent } = await backUp();
    assert.ok(sent < 4.5 * MIB, `${sent} bytes sent, of 3 MiB that had changed and were not there`);
    assert.deepEqual(readFileSync(inTree('snapshots', snapshot, 'part')), content);
    assert.deepEqual(readFileSync(inTree('snapshots', first.snapshot, 'part')), old);
  });

  itLong(
    'of the time 0, and completed to the size that it is to have: it is not taken for the file itself',
    async () => {
      const path = join(world.data, 'epoch');
      const old = randomBytes(8 * MIB);
      writeFileSync(path, old);
      await backUp();
      const content = randomBytes(8 * MIB);
      writeFileSync(path, content);
      utimesSync(path, 0, 0);
      await cutOff('epoch', 3 * MIB);
      const { snapshot, sent } = await backUp();
      assert.deepEqual(readFileSync(inTree('snapshots', snapshot, 'epoch')), content);
      assert.ok(sent < 6 * MIB, `${sent} bytes sent`);
    },
  );
});
