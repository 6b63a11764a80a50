// Goal: a restore for which there is no room writes nothing: bytes and inodes are compared before the first file, on DIR's file
// system and on those that are mounted below it, with --dry-run too. What fits is not refused.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { linkSync, mkdirSync, readdirSync, statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { itLong, itShort } from '../../support/long.ts';
import { matching, says } from '../../support/wording.ts';
import { NEEDS_ROOT, World } from '../../support/world.ts';

const MIB = 1024 * 1024;

describe('a restore without room', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let world: World;
  const mounted: string[] = [];
  let number = 0;

  before(async () => {
    world = await World.make();
    mkdirSync(join(world.data, 'many'));
    world.own(world.client, join(world.data, 'many'));
    for (let at = 0; at < 100; at += 1) world.write(world.client, join(world.data, `many/${at}`), 'x');
    world.write(world.client, join(world.data, 'large'), Buffer.alloc(12 * MIB, 'x'));
    // Neither takes room: one file with three names, and a hole.
    for (const name of ['second', 'third']) linkSync(join(world.data, 'large'), join(world.data, name));
    world.write(world.client, join(world.data, 'hole'), '');
    truncateSync(join(world.data, 'hole'), 512 * MIB);
    assert.equal((await world.backup()).status, 0);
  });
  after(async () => {
    for (const each of mounted) execFileSync('umount', [each]);
    await world.dispose();
  });

  /** A file system of a size. */
  const place = (options: string, at?: string): string => {
    number += 1;
    const path = at ?? join(world.base, `disk ${number}`);
    mkdirSync(path, { recursive: true, mode: 0o700 });
    execFileSync('mount', ['-t', 'tmpfs', '-o', `${options},mode=700`, 'none', path]);
    mounted.unshift(path);
    return path;
  };

  const refused = async (to: string, more: string[], found: RegExp): Promise<void> => {
    for (const dry of [[], ['--dry-run']]) {
      const { status, stdout, stderr } = await world.restore(to, [...more, ...dry]);
      assert.equal(status, 14, `${stdout}${stderr}`);
      assert.match(stderr, found);
      assert.match(stderr, matching`\n${says('restore-to-another-file-system')}`);
    }
  };

  itShort('of bytes is refused before it writes', async () => {
    const disk = place('size=8m');
    await refused(
      disk,
      [],
      matching`needs 12\.0 MiB ${says('on-the-file-system-of')} ".*disk 1", and 8\.0 MiB are free`,
    );
    assert.deepEqual(readdirSync(disk), []);
    await refused(join(disk, 'new'), [], /needs 12\.0 MiB/);
    assert.deepEqual(readdirSync(disk), []);
    // Its next step: a part.
    const part = await world.restore(disk, [join(world.data, 'many')]);
    assert.equal(part.status, 0, part.stderr);
  });

  itLong('of inodes too', async () => {
    const disk = place('size=64m,nr_inodes=60');
    await refused(
      disk,
      [],
      matching`needs 10\d inodes ${says('on-the-file-system-of')} ".*", and \d+ are free`,
    );
    assert.deepEqual(readdirSync(disk), []);
    const part = await world.restore(disk, [join(world.data, 'large')]);
    assert.equal(part.status, 0, part.stderr);
  });

  itLong('on a file system that is mounted below DIR', async () => {
    const to = join(world.base, 'filled');
    mkdirSync(to, { mode: 0o700 });
    const inner = place('size=8m', join(to, world.data));
    const paths = ['large', 'many'].map(name => join(world.data, name));
    const found = matching`needs 12\.0 MiB ${says('on-the-file-system-of')} ".*filled/.*my data", and 8\.0 MiB are free`;
    await refused(to, [...paths, '--force'], found);
    assert.deepEqual(readdirSync(inner), []);
    execFileSync('mount', ['-o', 'remount,size=32m', inner]);
    // rsync cannot link from another file system, and fills the hole.
    await refused(to, ['--force'], matching`needs 5\d\d\.0 MiB ${says('on-the-file-system-of')} ".*my data"`);
    const fits = await world.restore(to, [...paths, '--force']);
    assert.equal(fits.status, 0, fits.stderr);
    // What is replaced gives its room back: 12 MiB more would not fit.
    execFileSync('mount', ['-o', 'remount,size=20m', inner]);
    const again = await world.restore(to, [...paths, '--force']);
    assert.equal(again.status, 0, again.stderr);
  });

  itLong('on another mount of the same file system below DIR, beside the stage', async () => {
    const disk = place('size=20m');
    const to = join(disk, 'filled');
    const [elsewhere, inner] = [join(disk, 'elsewhere'), join(to, world.data)];
    for (const each of [elsewhere, inner]) mkdirSync(each, { recursive: true, mode: 0o700 });
    execFileSync('mount', ['--bind', elsewhere, inner]);
    mounted.unshift(inner);
    const paths = ['large', 'many'].map(name => join(world.data, name));
    const found = matching`needs 24\.0 MiB ${says('on-the-file-system-of')} ".*/filled", and \d+\.\d MiB are free`;
    await refused(to, [...paths, '--force'], found);
    assert.deepEqual(readdirSync(to), ['tmp']);
    execFileSync('mount', ['-o', 'remount,size=32m', disk]);
    const fits = await world.restore(to, [...paths, '--force']);
    assert.equal(fits.status, 0, fits.stderr);
  });

  itShort('takes what fits: links and holes need none', async () => {
    const disk = place('size=14m');
    const { status, stderr } = await world.restore(disk);
    assert.equal(status, 0, stderr);
    assert.equal(statSync(join(disk, world.data, 'hole')).size, 512 * MIB);
    assert.equal(statSync(join(disk, world.data, 'large')).nlink, 3);
  });

  itLong('counts what a killed restore has left as free', async () => {
    const disk = place('size=16m');
    const rename = 'inject=rename:signal=SIGKILL:when=2';
    const words = ['restore', world.name, '--config', world.hostToml, '--to', disk];
    await world.start('root', '/usr/bin/strace', [
      '-qq',
      '-o',
      '/dev/null',
      '-e',
      'trace=rename',
      '-e',
      rename,
      world.binary,
      ...words,
    ]).done;
    assert.equal(readdirSync(disk).length, 1);
    for (const more of [['--dry-run'], []]) {
      const { status, stderr } = await world.restore(disk, more);
      assert.equal(status, 0, stderr);
    }
  });
});
