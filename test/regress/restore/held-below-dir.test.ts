// Goal: where the launcher is installed, the kernel holds root's rsync below DIR. A tree of every inode type comes back whole
// through it, and a program in rsync's place can change nothing outside DIR and read nothing outside the snapshot.
import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { Jail, outcomeOf } from '../../support/jail.ts';
import { describeShort, IS_LONG, itLong, itShort } from '../../support/long.ts';
import { diffManifests, manifest } from '../../support/manifest.ts';
import { plantTortureTree } from '../../support/torture-world.ts';
import { says } from '../../support/wording.ts';
import { NEEDS_ROOT, World } from '../../support/world.ts';

const SKIP = NEEDS_ROOT || IN_CLEAN_MACHINE;

describe('a restore by root with the launcher', { skip: SKIP }, () => {
  let world: World;
  before(async () => {
    world = await World.make({ launcher: true });
    if (IS_LONG) plantTortureTree(world);
    else world.write(world.client, join(world.data, 'file'), 'content');
    assert.equal((await world.backup()).status, 0);
  });
  after(async () => {
    await world.dispose();
  });

  itLong('gives everything back, into an empty folder and over it', async () => {
    const to = join(world.base, 'back');
    for (const more of [[], ['--force']]) {
      const { status, stderr } = await world.restore(to, more);
      assert.equal(status, 0, stderr);
      assert.equal(stderr, '');
      assert.deepEqual(diffManifests(manifest(world.data), manifest(join(to, world.data))), []);
    }
  });

  itShort('goes through it', async () => {
    world.installLauncher({ rsync: '/bin/false' });
    const { status, stderr } = await world.restore(join(world.base, 'none'));
    assert.equal(status, 1, stderr);
  });
});

describeShort('jail place', { skip: SKIP }, () => {
  let jail: Jail;
  let to: string;
  let tree: string;
  let outside: string;
  before(() => {
    jail = Jail.make();
    [to, tree, outside] = ['to', 'tree', 'outside'].map(name => join(jail.base, name)) as [
      string,
      string,
      string,
    ];
  });
  after(() => {
    jail.dispose();
  });

  /** What becomes of one attempt, of root's, in fresh folders. */
  async function attempt(call: string[], words = [to, tree, '--', '--a-word']): Promise<string> {
    for (const folder of [to, tree, outside]) {
      rmSync(folder, { recursive: true, force: true });
      mkdirSync(join(folder, 'empty'), { recursive: true });
      for (const name of ['file', 'other']) writeFileSync(join(folder, name), 'a text\n');
    }
    const input = `${call.join('\t')}\n`;
    return outcomeOf(call[0] ?? '', await jail.start('root', jail.jailPath, ['place', ...words], { input }));
  }

  it('lets rsync do below DIR what a restore needs, and read the snapshot', async () => {
    for (const call of [
      ['open', join(to, 'file'), 'write'],
      ['creat', join(to, 'new')],
      ['mkdir', join(to, 'new')],
      ['rmdir', join(to, 'empty')],
      ['unlink', join(to, 'file')],
      ['rename', join(to, 'file'), join(to, 'empty/file')],
      ['link', join(to, 'file'), join(to, 'empty/file')],
      ['symlink', 'anywhere', join(to, 'new')],
      ['truncate', join(to, 'file')],
      ['lchown', join(to, 'file')],
      ['open', join(tree, 'file'), 'read'],
      ['fork'],
    ])
      assert.equal(await attempt(call), 'works', call.join(' '));
  });

  it('lets it change and read nothing else', async () => {
    for (const call of [
      ...[tree, outside].flatMap(folder => [
        ['open', join(folder, 'file'), 'write'],
        ['creat', join(folder, 'new')],
        ['mkdir', join(folder, 'new')],
        ['rmdir', join(folder, 'empty')],
        ['unlink', join(folder, 'file')],
        ['rename', join(folder, 'file'), join(folder, 'new')],
        ['symlink', 'anywhere', join(folder, 'new')],
        ['truncate', join(folder, 'file')],
      ]),
      ['open', join(outside, 'file'), 'read'],
      ['execve', '/bin/true'],
    ])
      assert.match(await attempt(call), /^EACCES$/, call.join(' '));
    for (const call of ['rename', 'link'])
      for (const folder of [tree, outside]) {
        assert.match(await attempt([call, join(to, 'file'), join(folder, 'new')]), /^EACCES|EXDEV$/);
        assert.match(await attempt([call, join(folder, 'file'), join(to, 'new')]), /^EACCES|EXDEV$/);
        assert.ok(existsSync(join(folder, 'file')));
      }
    assert.equal(readFileSync(join(outside, 'file'), 'utf8'), 'a text\n');
  });

  it('is for root alone, and takes only folders by their own names', async () => {
    chmodSync(jail.base, 0o755);
    const { account, jailPath } = jail;
    const user = await jail.start(account, jailPath, ['place', to, tree, '--', '--x']);
    assert.equal(user.status, 126);
    assert.match(user.stderr, says('it-is-for-root-only'));
    symlinkSync(to, join(jail.base, 'link'));
    const theirs = jail.folder(join(jail.base, 'theirs'));
    for (const words of [
      [to],
      [to, tree],
      [to, tree, '--'],
      [to, '--', '--x'],
      [to, tree, tree, '--', '--x'],
      [join(jail.base, 'link'), tree, '--', '--x'],
      [to, join(jail.base, 'link'), '--', '--x'],
      [`${to}/.`, tree, '--', '--x'],
      [join(to, 'nothing'), tree, '--', '--x'],
      [theirs, tree, '--', '--x'],
    ]) {
      const { status, stderr } = await jail.start('root', jailPath, ['place', ...words]);
      assert.equal(status, 126, `${words.join(' ')}: ${stderr}`);
    }
  });
});
