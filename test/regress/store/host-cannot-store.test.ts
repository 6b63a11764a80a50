// Goal: what this host's file system cannot store is named to the client by the client's own path, with the reason, in text and in
// JSON; the rest is saved (exit 3), and the host's journal names it too. Nothing of the host's paths reaches the client.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { itLong, some } from '../../support/long.ts';
import { makeFolders, NAME } from '../../support/long-path.ts';
import { matching, says, wording } from '../../support/wording.ts';
import { NEEDS_ROOT, World } from '../../support/world.ts';

/** More than an ext4 with blocks of 1 KiB has room for. */
const LARGE = 'x'.repeat(1500);
const NO_ROOM = `the backup host ${wording('could-not-store-all-of')}: ${wording('its-file-system-has-no')}`;
const TOO_LARGE = `${wording('the-backup-host-could-not')} it: ${wording('it-is-larger-than-a')}`;

for (const launcher of some([true, false], 2)) {
  const skip = NEEDS_ROOT || IN_CLEAN_MACHINE;
  describe(`what the host cannot store, ${launcher ? 'confined' : 'without a jail'}`, { skip }, () => {
    let world: World;
    const at = (...names: string[]): string => join(world.data, ...names);

    /** A file with an attribute for which the store has no room. */
    const withLarge = (path: string): void => {
      world.write(world.client, path, 'content');
      execFileSync('setfattr', ['-n', 'user.large', '-v', LARGE, path]);
    };

    before(async () => {
      world = await World.make({ launcher });
      const image = join(world.base, 'image');
      execFileSync('truncate', ['-s', '64M', image]);
      execFileSync('mkfs.ext4', ['-q', '-F', '-b', '1024', '-O', '^ea_inode', image], { stdio: 'pipe' });
      execFileSync('mount', ['-o', 'loop', image, world.store]);
      rmSync(join(world.store, 'lost+found'), { recursive: true });
      execFileSync('chmod', ['700', world.store]);
      world.own(world.host, world.store);
      const key = readFileSync(join(world.client.home, '.ssh/id_ed25519.pub'), 'utf8');
      const enrolled = await world.enroll(world.name, key);
      assert.equal(enrolled.status, 0, enrolled.stderr);
      world.write(world.client, at('usual'), 'usual');
    });
    after(async () => {
      execFileSync('umount', [world.store]);
      await world.dispose();
    });

    /** A backup that lacks these, with the reason for each; the rest is in the snapshot. */
    async function lacks(expected: [path: string, reason: string][]): Promise<void> {
      const { status, last, stdout } = await world.backup();
      const { missing, missing_reasons: reasons } = last;
      assert.equal(status, 3, stdout);
      const sorted = (pairs: unknown[][]): unknown[][] =>
        pairs.toSorted((a, b) => (`${a}` < `${b}` ? -1 : 1));
      assert.deepEqual(sorted(missing.map((each, index) => [each, reasons[index]])), sorted(expected));
      assert.equal(last.missing_count, expected.length);
      const tree = world.tree(last.snapshot ?? '');
      assert.equal(readFileSync(join(tree, at('usual')), 'utf8'), 'usual');
      assert.ok(!stdout.includes(world.store));
      const { flags } = JSON.parse(readFileSync(join(tree, '../snapshot.json'), 'utf8'));
      assert.ok(flags.includes('host-errors'));
      const { reason } = world.journal('host').findLast(each => each.event === 'run') ?? {};
      for (const [path, why] of expected.filter(([, each]) => each.startsWith('the backup host'))) {
        const line = `${path.replace('\n', '\\n')}" (${why.replace('the backup host ', '')})`;
        assert.ok(`${reason}`.includes(line), `${reason}`);
      }
    }

    it('is named when attributes are too large, for files and folders, hidden and with odd names', async () => {
      const files = ['plain', '.hidden', '.bashrc.backup', 'quote" failed: \n "x","y', 'ünïcode', '..x'];
      for (const name of files) withLarge(at(name));
      mkdirSync(at('folder'));
      world.own(world.client, at('folder'));
      execFileSync('setfattr', ['-n', 'user.large', '-v', LARGE, at('folder')]);
      world.write(world.client, at('folder/within'), 'within');
      const names = [...files, 'folder'];
      await lacks(names.map(each => [at(each), NO_ROOM]));
      for (const name of names) rmSync(at(name), { recursive: true });
    });

    itLong(
      'is named once, whatever the number of its attributes, and in text with the next step',
      async () => {
        withLarge(at('many'));
        for (const name of ['user.a', 'user.b', 'user.c'])
          execFileSync('setfattr', ['-n', name, '-v', 'y'.repeat(700), at('many')]);
        await lacks([[at('many'), NO_ROOM]]);
        const { status, stderr } = await world.run(world.client, ['backup', '--config', world.clientToml]);
        await world.settled();
        assert.equal(status, 3);
        assert.match(
          stderr,
          matching`"vault": ${says('the-backup-host-could-not')} 1 completely\n {2}\/.*\/many \(the backup host `,
        );
        assert.match(stderr, matching`\n${says('ask-the-hosts-administrator')}`);
        const listed = await world.run(world.host, ['status', '--config', world.hostToml]);
        assert.match(listed.stdout, says('the-newest-snapshot-lacks-files'));
        assert.doesNotMatch(listed.stdout, matching`0 ${says('could-not-be-read')}`);
        rmSync(at('many'));
      },
    );

    itLong('is named when a file is larger than a file can be there', async () => {
      const lines = readFileSync(world.authorizedKeys, 'utf8');
      world.write(world.host, world.authorizedKeys, lines.replace('command="', 'command="ulimit -f 2000; '));
      world.write(world.client, at('huge'), '');
      execFileSync('truncate', ['-s', '3M', at('huge')]);
      await lacks([[at('huge'), TOO_LARGE]]);
      world.write(world.host, world.authorizedKeys, lines);
      const { status, last } = await world.backup();
      assert.deepEqual([status, last.missing_count], [0, 0]);
      rmSync(at('huge'));
    });

    // In the jail rsync opens it by its path below the tree, which is short enough.
    if (!launcher)
      it('is named when its path is too long with the folder of the store before it', async () => {
        const names = Array<string>(15).fill(NAME);
        // rsync opens the folder of the file by its whole path, and makes that folder from the one above, which is short enough.
        names.push('last'.padEnd(4035 - at(...names).length, 't'));
        const deep = makeFolders(world.data, names, { file: 'deep' }, world.client.uid);
        await lacks([[`${world.data}/${deep}file`, 'the backup host could not store it: name too long']]);
        rmSync(at(NAME), { recursive: true });
      });

    itLong('is named beside what could not be read', async () => {
      withLarge(at('large'));
      writeFileSync(at('locked'), 'locked', { mode: 0o600 });
      // Root's, which the launcher may read.
      const unread: [string, string][] = launcher ? [] : [[at('locked'), 'permission denied']];
      await lacks([...unread, [at('large'), NO_ROOM]]);
      rmSync(at('large'));
      rmSync(at('locked'));
    });

    it('is full again when nothing is left that cannot be stored', async () => {
      const { status, last } = await world.backup();
      assert.deepEqual([status, last.outcome, last.missing, last.missing_count], [0, 'full', [], 0]);
    });
  });
}
