// Goal: a restore that was killed with SIGKILL, at any step, is finished by the same command again: what it left in DIR is
// recognized, and nothing of it stays. What only looks like it is not touched.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { itLong, itShort, some } from '../../support/long.ts';
import { diffManifests, type Manifest, manifest } from '../../support/manifest.ts';
import { isRefusedToOldRsync } from '../../support/own-rsync.ts';
import { says } from '../../support/wording.ts';
import { makeFolder, NEEDS_ROOT, type Result, until, World } from '../../support/world.ts';

const LARGE_MIB = 32;

describe('a restore that was killed', { skip: NEEDS_ROOT }, () => {
  let world: World;
  /** A second root, so that there are two names to be moved. */
  let other: string;
  let whole: Manifest;
  let number = 0;

  before(async () => {
    world = await World.make();
    other = makeFolder('/var/lib');
    world.own(world.client, other);
    world.write(world.client, join(other, 'file'), 'another root', 0o644);
    for (const name of ['one', 'two']) world.write(world.client, join(world.data, name), name, 0o644);
    world.write(world.client, join(world.data, 'large'), Buffer.alloc(LARGE_MIB * 1024 * 1024, 'x'));
    mkdirSync(join(world.data, 'locked'));
    world.write(world.client, join(world.data, 'locked/in it'), 'in it');
    world.own(world.client, join(world.data, 'locked'));
    world.configure({ scope: `roots = ["${world.data}", "${other}"]` });
    assert.equal((await world.backup()).status, 0);
    const to = join(world.base, 'whole');
    assert.equal((await world.restore(to)).status, 0);
    whole = below(to);
  });
  after(async () => {
    rmSync(other, { recursive: true, force: true });
    await world.dispose();
  });

  /** The top's time is that of the last change in it. */
  const below = (to: string): Manifest => new Map([...manifest(to)].filter(([name]) => name !== '.'));
  const fresh = (): string => {
    number += 1;
    return join(world.base, `to ${number}`);
  };
  const words = (to: string, more: string[] = []): string[] => [
    ...['restore', world.name, '--config', world.hostToml, '--to', to],
    ...more,
  ];
  const stages = (to: string): string[] =>
    readdirSync(to).filter(name => name.startsWith('.dialback-restore-'));
  /** The restore, killed at its Nth call of a system call. */
  const killedAt = async (to: string, call: string, count: number): Promise<Result> =>
    await world.start('root', '/usr/bin/strace', [
      ...[
        '-qq',
        '-o',
        '/dev/null',
        '-e',
        `trace=${call}`,
        '-e',
        `inject=${call}:signal=SIGKILL:when=${count}`,
      ],
      ...[world.binary, ...words(to)],
    ]).done;

  it('is finished by the same command, wherever it was killed', async () => {
    const phases = new Set<string>();
    const points = [
      ['rename', 1], // its mark
      ['rename', 2], // the mark that it moves
      ['rename', 3], // the first name
      ['rename', 4], // the second
      ['rmdir', 1], // the stage is removed
      ['unlink', 1],
    ] as const;
    for (const [call, count] of some(points, 3)) {
      const to = fresh();
      const killed = await killedAt(to, call, count);
      assert.equal(killed.signal ?? killed.status, 'SIGKILL', `${call} ${count}: ${killed.stderr}`);
      const left = stages(to);
      phases.add(left.length === 0 ? 'no stage' : existsSync(join(to, 'tmp')) ? 'moved' : 'staged');
      if (left.length === 0) continue; // it was done
      const dry = await world.run('root', words(to, ['--dry-run']));
      assert.equal(dry.status, 0, `${call} ${count}: ${dry.stderr}`);
      assert.deepEqual(stages(to), left);
      const again = await world.run('root', words(to));
      assert.equal(again.status, 0, `${call} ${count}: ${again.stderr}`);
      assert.match(again.stdout, /^restored 5 files, 32\.0 MiB/);
      assert.deepEqual(diffManifests(whole, below(to)), [], `${call} ${count}`);
      assert.equal((await world.run('root', words(to))).status, 2, 'and the folder is no longer empty');
    }
    assert.ok(phases.has('moved') && phases.has('staged'), [...phases].join());
  });

  itShort('while rsync wrote, as an ordinary account', async () => {
    const to = join(world.host.home, 'restored');
    const running = world.start(world.host, world.binary, words(to));
    await until(
      'it writes',
      () => existsSync(to) && stages(to).some(name => existsSync(join(to, name, 'tree'))),
    );
    running.child.kill('SIGKILL');
    assert.equal((await running.done).signal, 'SIGKILL');
    assert.equal(stages(to).length, 1);
    const again = await world.run(world.host, words(to));
    assert.equal(again.status, 0, again.stderr);
    assert.deepEqual(readdirSync(to).sort(), ['tmp', 'var']);
    assert.equal(readFileSync(join(to, world.data, 'locked/in it'), 'utf8'), 'in it');
  });

  for (const signal of some(['SIGTERM', 'SIGINT'] as const, 2))
    it(`leaves no stage where it was ended by ${signal}`, async () => {
      const to = join(world.host.home, signal);
      const running = world.start(world.host, world.binary, words(to));
      await until(
        'it writes',
        () => existsSync(to) && stages(to).some(name => existsSync(join(to, name, 'tree'))),
      );
      running.child.kill(signal);
      assert.equal((await running.done).status, 130);
      assert.deepEqual(readdirSync(to), []);
      const again = await world.run(world.host, words(to));
      assert.equal(again.status, 0, again.stderr);
      assert.deepEqual(readdirSync(to).sort(), ['tmp', 'var']);
    });

  itLong('is gone on with by nothing but the same restore', async () => {
    const to = fresh();
    await killedAt(to, 'rename', 4);
    const [left = ''] = stages(to);
    assert.notEqual(left, '');
    const refused = await world.run('root', words(to, ['--inert']));
    assert.equal(refused.status, 2, refused.stderr);
    assert.match(refused.stderr, says('an-interrupted-restore-of-has', /acorn@\S+/));
    assert.deepEqual(stages(to), [left]);
    const forced = await world.run('root', words(to, ['--force']));
    if (isRefusedToOldRsync(forced)) return;
    assert.equal(forced.status, 0, forced.stderr);
    assert.deepEqual(diffManifests(whole, below(to)), []);
  });

  itShort('is left alone while it runs', async () => {
    const to = fresh();
    const running = world.start('root', world.binary, words(to));
    await until('it writes', () => existsSync(to) && stages(to).length > 0);
    running.child.kill('SIGSTOP');
    const [left = ''] = stages(to);
    const second = await world.run('root', words(to));
    assert.equal(second.status, 11, second.stderr);
    assert.match(second.stderr, says('another-restore-writes-into-it'));
    assert.deepEqual(stages(to), [left]);
    running.child.kill('SIGCONT');
    assert.equal((await running.done).status, 0);
    assert.deepEqual(diffManifests(whole, below(to)), []);
  });

  itLong(
    'leaves no file of rsync on another file system below DIR, where it was killed while it copied there',
    async () => {
      const to = fresh();
      const inner = join(to, world.data);
      mkdirSync(inner, { recursive: true, mode: 0o700 });
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256m,mode=700', 'none', inner]);
      try {
        writeFileSync(join(to, 'mine'), 'mine');
        // Files of others that have such a name: one of before, and one whose name without the ends is not in the snapshot.
        for (const name of ['.one.abc123', '.mine.abc123']) writeFileSync(join(inner, name), 'mine');
        utimesSync(join(inner, '.one.abc123'), 1e9, 1e9);
        const all = words(to, ['--force']);
        const running = world.start('root', world.binary, all, { detached: true });
        const isCopying = (): boolean => readdirSync(inner).some(name => /^\.large\.\w{6}$/.test(name));
        while (running.child.exitCode === null && !isCopying())
          await new Promise(resolve => setImmediate(resolve));
        if (running.child.exitCode !== null && isRefusedToOldRsync(await running.done)) return;
        process.kill(-(running.child.pid ?? 0), 'SIGKILL');
        assert.equal((await running.done).signal, 'SIGKILL');
        assert.ok(isCopying());
        const again = await world.run('root', all);
        if (isRefusedToOldRsync(again)) return;
        assert.equal(again.status, 0, again.stderr);
        assert.deepEqual(stages(to), []);
        assert.deepEqual(readdirSync(inner).sort(), [
          '.mine.abc123',
          '.one.abc123',
          'large',
          'locked',
          'one',
          'two',
        ]);
      } finally {
        execFileSync('umount', [inner]);
      }
    },
  );

  itShort('is not what only has such a name', async () => {
    const to = fresh();
    await killedAt(to, 'rename', 2);
    const [left = ''] = stages(to);
    assert.notEqual(left, '');
    const copied = fresh();
    const own = fresh();
    mkdirSync(copied, { mode: 0o700 });
    mkdirSync(join(own, '.dialback-restore-abc123'), { recursive: true, mode: 0o700 });
    writeFileSync(join(own, '.dialback-restore-abc123/mine'), 'mine');
    // As a backup of this machine would have one.
    await world.start('root', '/bin/cp', ['-a', join(to, left), join(copied, left)]).done;
    for (const place of [copied, own]) {
      const before = manifest(place);
      const { status, stderr } = await world.run('root', words(place));
      assert.equal(status, 2, stderr);
      assert.deepEqual(diffManifests(before, manifest(place)), []);
    }
  });
});
