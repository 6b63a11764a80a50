// Goal: a config that cannot work is refused with its line before the host is called, and roots below symbolic links are
// backed up under their real path. No snapshot of nothing is called full.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { some } from '../../support/long.ts';
import { NEEDS_ROOT, type Result, World } from '../../support/world.ts';

for (const launcher of some([true, false], 2))
  describe(`roots and excludes of client.toml, ${launcher ? 'confined' : 'not confined'}`, {
    skip: NEEDS_ROOT,
  }, () => {
    let world: World;
    let top: string;
    let data: string;
    before(async () => {
      world = await World.make({ launcher });
      top = join(world.client.home, 'top');
      data = join(top, 'real/data');
      mkdirSync(join(data, 'tmp/x'), { recursive: true });
      mkdirSync(join(data, '.ssh'));
      for (const name of ['kept', 'tmp/file', 'tmp/x/file', '.ssh/key'])
        writeFileSync(join(data, name), name);
      mkdirSync(join(top, 'beside'));
      writeFileSync(join(top, 'beside/file'), 'beside');
      symlinkSync(join(top, 'real'), join(top, 'absolute'));
      symlinkSync('real', join(top, 'relative'));
      symlinkSync(data, join(top, 'data'));
      symlinkSync(join(top, 'nowhere'), join(top, 'dangling'));
    });
    after(async () => {
      await world.dispose();
    });

    const snapshots = (): string[] =>
      existsSync(join(world.shelf, 'snapshots')) ? readdirSync(join(world.shelf, 'snapshots')) : [];
    const tree = (snapshot: string | null): string => join(world.shelf, 'snapshots', snapshot ?? '', 'tree');
    const scope = (roots: string[], more = ''): void =>
      world.configure({ scope: `roots = ${JSON.stringify(roots)}\n${more}` });
    const doctor = async (): Promise<Result> =>
      await world.run(world.client, ['doctor', '--client', '--config', world.clientToml]);

    for (const name of ['absolute', 'relative'])
      it(`follows the ${name} link above a root, and says so`, async () => {
        rmSync(join(data, 'tmp2'), { recursive: true, force: true });
        const beside = name === 'relative' ? [join(top, 'beside')] : [];
        scope([join(top, name, 'data'), ...beside], `exclude = ["${join(top, name, 'data')}/tmp/"]`);
        const { status, stdout, last } = await world.backup();
        assert.equal(status, 0, stdout);
        assert.equal(last.outcome, 'full');
        assert.match(stdout, /"event":"warning".*real\/data/);
        assert.deepEqual(readdirSync(join(tree(last.snapshot), data)).sort(), ['.ssh', 'kept']);
        for (const root of beside) assert.ok(existsSync(join(tree(last.snapshot), root, 'file')));
        assert.match((await doctor()).stdout, /real\/data.*in client\.toml/);
      });

    it('takes roots in each other, and an exclude that hides only a part', async () => {
      scope([data, join(data, 'tmp')], 'exclude = ["x/"]');
      const { status, stdout, last } = await world.backup();
      assert.equal(status, 0, stdout);
      assert.deepEqual(readdirSync(join(tree(last.snapshot), data)).sort(), ['.ssh', 'kept', 'tmp']);
      assert.deepEqual(readdirSync(join(tree(last.snapshot), data, 'tmp')), ['file']);
    });

    /** `backup` refuses the config with these words, and doctor finds them too. */
    const isRefused = async (says: RegExp): Promise<void> => {
      const args = ['backup', '--config', world.clientToml];
      const { status, stdout, stderr } = await world.run(world.client, args);
      assert.equal(status, 2, stdout + stderr);
      assert.match(stdout + stderr, says);
      assert.match((await doctor()).stdout, says);
    };

    // What is refused before the jail is asked is the same with it.
    if (launcher) return;

    const refused: { what: string; roots: () => string[]; more?: string; says: RegExp }[] = [
      {
        what: 'a root that is a link',
        roots: () => [join(top, 'data')],
        says: /symbolic link to ".*real\/data"/,
      },
      {
        what: 'a root that is a link beside another root',
        roots: () => [data, join(top, 'dangling')],
        says: /dangling.*symbolic link/,
      },
      {
        what: 'an exclude that hides a root',
        roots: () => [join(data, '.ssh')],
        more: 'exclude = ["*.o", ".ssh/"]',
        says: /line 2 of `exclude` in client\.toml excludes it: "\.ssh\/"/,
      },
      {
        what: 'an exclude that hides one of two roots',
        roots: () => [data, join(data, '.ssh')],
        more: 'exclude = [".ssh/"]',
        says: /\.ssh.*line 1 of/,
      },
      {
        what: 'an exclude of a folder above a root',
        roots: () => [join(data, 'tmp/x')],
        more: 'exclude = ["a", "b", "tmp/", "c", "d"]',
        says: /line 3 of .*"tmp\/"/,
      },
      {
        what: 'an exclude with a wildcard',
        roots: () => [join(data, 'tmp/x')],
        more: 'exclude = ["t?p/*"]',
        says: /line 1 of .*"t\?p\/\*"/,
      },
      {
        what: 'never over a root',
        roots: () => [data],
        more: 'never = ["~/top"]',
        says: /above it is never read/,
      },
      {
        what: 'a variable in never',
        roots: () => [data],
        more: 'never = ["$HOME/top/real/data/tmp"]',
        says: /never.*absolute/,
      },
      { what: 'a root below /proc', roots: () => ['/proc/sys'], says: /"\/proc" above it is never read/ },
    ];
    for (const { what, roots, more, says } of refused)
      it(`refuses ${what}; doctor says the same`, async () => {
        scope(roots(), more);
        const before = snapshots();
        await isRefused(says);
        assert.deepEqual(snapshots(), before);
      });

    it('expands the home folder in excludes, and takes a byte-order mark', async () => {
      const list = join(world.client.home, 'excludes');
      const bytes = Buffer.from('\ufeff~/top/real/data/tmp/\r\n$HOME/top/real/data/.s?h/\n', 'utf8');
      world.write(world.client, list, bytes);
      scope([data], `exclude_from = "${list}"`);
      const { status, stdout, last } = await world.backup();
      assert.equal(status, 0, stdout);
      assert.deepEqual(readdirSync(join(tree(last.snapshot), data)), ['kept']);
    });

    it('refuses an exclude list in UTF-16, and a pattern that cannot match', async () => {
      const list = join(world.client.home, 'excludes');
      const contents: [Buffer, RegExp][] = [
        [Buffer.from('\ufefftmp/\n', 'utf16le'), /UTF-16/],
        [Buffer.from('*.o\n./tmp\n'), /line 2 of .*cannot match/],
        [Buffer.from('$'.concat('{XDG_CACHE_HOME}/x\n')), /line 1 of .*not expanded/],
      ];
      for (const [content, says] of contents) {
        world.write(world.client, list, content);
        scope([data], `exclude_from = "${list}"`);
        await isRefused(says);
      }
    });
  });
