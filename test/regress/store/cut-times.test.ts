// Goal: times outside the range of a file system are not changed in silence. The snapshot has a flag where the store's file system has
// cut one; status names the files; a restore notes them, and counts those that DIR's file system has cut; doctor warns beforehand.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { itLong, some } from '../../support/long.ts';
import { matching, says } from '../../support/wording.ts';
import { NEEDS_ROOT, World } from '../../support/world.ts';

/** In 2100: a small ext4 with inodes of 128 bytes ends in 2038. */
const LATE_S = 4_102_444_800;

for (const launcher of some([true, false], 2))
  describe(`times outside the range of a file system, ${launcher ? 'confined' : 'without a jail'}`, {
    skip: NEEDS_ROOT || IN_CLEAN_MACHINE,
  }, () => {
    let world: World;
    const mounted: string[] = [];

    /** An ext4 with small inodes. */
    const mountSmall = (path: string): void => {
      const image = join(world.base, `image ${mounted.length}`);
      writeFileSync(image, '');
      execFileSync('truncate', ['-s', '16M', image]);
      execFileSync('mkfs.ext4', ['-q', '-F', '-I', '128', image], { stdio: 'pipe' });
      mkdirSync(path, { recursive: true });
      execFileSync('mount', ['-o', 'loop', image, path]);
      mounted.unshift(path);
    };

    before(async () => {
      world = await World.make({ launcher });
      for (const name of ['late', 'usual']) world.write(world.client, join(world.data, name), name);
      utimesSync(join(world.data, 'late'), LATE_S, LATE_S);
    });
    after(async () => {
      for (const each of mounted) execFileSync('umount', [each]);
      await world.dispose();
    });

    const isFlagged = (shelf: string, snapshot: string | null): boolean => {
      const record = readFileSync(join(shelf, 'snapshots', snapshot ?? '', 'snapshot.json'), 'utf8');
      return (JSON.parse(record) as { flags: string[] }).flags.includes('times-cut');
    };

    const restore = async (toml: string, to: string) => {
      const { status, stdout, stderr } = await world.run('root', [
        'restore',
        world.name,
        '--config',
        toml,
        '--to',
        to,
        '--json',
      ]);
      const { differences } = JSON.parse(stdout) as {
        differences: { kind: string; count: number; lacking: number }[];
      };
      return {
        status,
        stderr,
        differences: differences.map(({ kind, count, lacking }) => [kind, count, lacking]),
      };
    };

    it('are counted where DIR cannot hold them', async () => {
      const { status: kept, last } = await world.backup();
      assert.equal(kept, 0);
      assert.equal(isFlagged(world.shelf, last.snapshot), false);
      const whole = await restore(world.hostToml, join(world.base, 'whole'));
      assert.equal(whole.status, 0, whole.stderr);
      const small = join(world.base, 'small');
      mountSmall(small);
      const cut = await restore(world.hostToml, join(small, 'to'));
      assert.equal(cut.status, 3, cut.stderr);
      // Small inodes have no nanoseconds either.
      assert.deepEqual(
        cut.differences.map(([kind]) => kind),
        ['time'],
      );
      assert.match(cut.stderr, /\n {2}\d+ another time, such as ".*"\n/);
    });

    itLong('are named where the store cannot', async () => {
      const disk = join(world.host.home, 'small disk');
      mountSmall(disk);
      const store = join(disk, 'store');
      execFileSync('install', ['-d', '-o', world.host.login, '-m', '700', store]);
      const toml = join(world.host.home, 'small.toml');
      world.write(world.host, toml, `store = "${store}"\nsyslog = false\n`);
      const line = world.authorizedKeys;
      const key = execFileSync('cat', [join(world.client.home, '.ssh/id_ed25519.pub')]).toString();
      const enrolled = await world.run(
        world.host,
        ['enroll', world.name, '-', '--config', toml, '--authorized-keys', line],
        { input: key },
      );
      assert.equal(enrolled.status, 0, enrolled.stderr);
      const shelf = join(store, 'clients', world.name);
      // Each run sends such a file again, so each finds out. The host links it to the one before, for what is stored is equal.
      for (const _ of ['first', 'second']) {
        const { status: done, last } = await world.backup();
        assert.equal(done, 0);
        assert.equal(isFlagged(shelf, last.snapshot), true);
      }
      const listed = await world.run(world.host, ['list', '--config', toml]);
      assert.match(listed.stdout, /times-cut/);
      const examined = await world.run(world.host, ['doctor', '--host', '--json', '--config', toml]);
      assert.match(examined.stdout, matching`small disk.*${says('does-not-keep-them')}`);
      const { status, stdout } = await world.run(world.host, ['status', '--config', toml]);
      assert.match(stdout, says('times-in-the-newest-snapshot'));
      assert.equal(status, 1, stdout);
      assert.match(stdout, matching`1 ${says('files-have-the-earliest-or')}`);
      const {
        status: done,
        stderr,
        differences,
      } = await restore(toml, join(world.base, 'of the small disk'));
      assert.equal(done, 0, stderr);
      assert.deepEqual(differences, [['cut time', 1, 0]]);
      assert.match(
        stderr,
        matching`${says('note-not-as-they-were')}:\n {2}1 ${says('a-time-that-the-file')}, ".*\/late"\n`,
      );
    });
  });
