// Goal: what has changed on the client without a trace, same size and same time, comes with the run that compares contents:
// so often as the client says, and the host cannot have it otherwise. In the jail as without one.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chownSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { itLong, some } from '../../support/long.ts';
import { NEEDS_ROOT, World } from '../../support/world.ts';

for (const launcher of some([true, false], 2))
  describe(`checksum_every, ${launcher ? 'confined' : 'without a jail'}`, {
    skip: NEEDS_ROOT || IN_CLEAN_MACHINE,
  }, () => {
    let world: World;
    before(async () => {
      world = await World.make({ launcher });
      world.configure({ limits: 'deadline = "5m"\nchecksum_every = "30d"' });
      write('one');
    });
    after(async () => {
      await world.dispose();
    });

    const source = (): string => join(world.data, 'file');

    /** Writes three bytes, and sets the time to what it was at first. */
    function write(content: string): void {
      writeFileSync(source(), content);
      chownSync(source(), world.client.uid, world.client.gid);
      execFileSync('touch', ['--date', '@1700000000.5', '--', source()]);
    }

    const checksums = (): string => join(world.clientState, 'checksums.json');

    async function backUp(args: string[] = []): Promise<{ content: string; hasCompared: boolean }> {
      const { status, last, stderr } = await world.backup(args);
      assert.equal(status, 0, stderr + last.error);
      const name = last.snapshot ?? world.snapshots().at(-1) ?? '';
      const record = readFileSync(join(world.shelf, 'snapshots', name, 'snapshot.json'), 'utf8');
      const { options } = (JSON.parse(record) as { rsync: { options: string[] } }).rsync;
      const content = readFileSync(join(world.tree(name), source()), 'utf8');
      return { content, hasCompared: options.includes('--checksum') };
    }

    it('counts from the first run, and sees nothing until it is due', async () => {
      assert.deepEqual(await backUp(), { content: 'one', hasCompared: false });
      const noted = readFileSync(checksums(), 'utf8');
      write('two');
      assert.deepEqual(await backUp(), { content: 'one', hasCompared: false });
      assert.equal(readFileSync(checksums(), 'utf8'), noted);
    });

    it('takes it when it is due, once, and leaves the older snapshots as they were', async () => {
      const month = 30 * 86_400_000;
      const now = Date.now();
      world.write(world.client, checksums(), JSON.stringify({ vault: now - month + 3_600_000 }));
      assert.deepEqual(await backUp(), { content: 'one', hasCompared: false });
      world.write(world.client, checksums(), JSON.stringify({ vault: now - month }));
      await backUp(['--dry-run']);
      assert.deepEqual(await backUp(), { content: 'two', hasCompared: true });
      const noted = JSON.parse(readFileSync(checksums(), 'utf8')) as { vault: number };
      assert.ok(noted.vault >= now);
      assert.deepEqual(await backUp(), { content: 'two', hasCompared: false });
      const [first = ''] = world.snapshots();
      assert.equal(readFileSync(join(world.tree(first), source()), 'utf8'), 'one');
    });

    itLong(
      'takes a time to come for a clock that was wrong, and a file that is damaged for none',
      async () => {
        write('six');
        world.write(world.client, checksums(), '{"vault":');
        assert.deepEqual(await backUp(), { content: 'two', hasCompared: false });
        world.write(world.client, checksums(), JSON.stringify({ vault: Date.now() + 1e10 }));
        assert.deepEqual(await backUp(), { content: 'six', hasCompared: true });
      },
    );
  });
