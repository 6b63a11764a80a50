// Goal: a folder with an access list and an extended attribute keeps both in each snapshot, and what changes of them is stored and given
// back. rsync sets a folder's attributes twice, and the second time it removes what the client's folder does not have by that name: its
// own %aacl and %dacl, which stand for the list.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { NEEDS_ROOT, World } from '../../support/world.ts';

describe('folders with an access list and an attribute', { skip: NEEDS_ROOT }, () => {
  let world: World;
  const at = (name: string): string => join(world.data, name);
  const acl = (...words: string[]): unknown => execFileSync('setfacl', words);
  const attribute = (name: string, value: string): unknown =>
    execFileSync('setfattr', ['-n', 'user.x', '-v', value, at(name)]);

  before(async () => {
    world = await World.make();
    for (const name of [
      'list',
      'attribute',
      'both',
      'all three',
      'loses list',
      'loses attribute',
      'closed',
    ]) {
      mkdirSync(at(name));
      writeFileSync(at(`${name}/file`), name);
      for (const each of [at(`${name}/file`), at(name)]) world.own(world.client, each);
      if (name !== 'attribute') acl('-m', 'u:12345:rwx,g:54321:r-x', at(name));
      if (name !== 'list') attribute(name, name);
    }
    acl('-d', '-m', 'u:12346:rwx', at('all three'));
    execFileSync('chmod', ['700', at('closed')]);
    acl('-m', 'u:12345:rwx', at('all three/file'));
    attribute('all three/file', 'of a file');
  });
  after(async () => {
    await world.dispose();
  });

  /** Lists and attributes of all that is there. */
  function listed(top: string): string[] {
    const words = (program: string, args: string[]): string =>
      execFileSync(
        'sh',
        ['-c', `cd "$1" && shift && find . | sort | xargs -d "\\n" "$@"`, 'sh', top, program, ...args],
        {
          encoding: 'utf8',
        },
      );
    return [words('getfacl', ['-n', '--']), words('getfattr', ['-d', '--'])];
  }

  let runs = 0;
  /** A backup, and what restores of it have. */
  async function check(): Promise<string> {
    const { status, last, stdout } = await world.backup();
    assert.equal(status, 0, stdout);
    const expected = listed(world.data);
    assert.match(`${expected}`, /user:12345:rwx/);
    for (const more of [[], ['--inert']]) {
      runs += 1;
      const to = join(world.base, `restored ${runs}`);
      const restored = await world.restore(to, more);
      assert.equal(restored.status, 0, restored.stderr);
      assert.deepEqual(listed(join(to, world.data)), expected);
    }
    return last.snapshot ?? assert.fail();
  }

  async function requireSame(one: string, other: string): Promise<void> {
    const names = [one, other].map(each => `${world.name}@${each}`);
    const { stdout, stderr } = await world.run(world.host, [
      'diff',
      ...names,
      world.data,
      '--config',
      world.hostToml,
    ]);
    assert.deepEqual([stdout, stderr], ['', '']);
  }

  it('keep both, in the first snapshot and in those that link to it', async () => {
    const first = await check();
    const second = await check();
    await requireSame(first, second);
  });

  it('keep what is changed of the one and of the other', async () => {
    acl('-m', 'u:12345:r-x,u:777:rwx', at('both'));
    attribute('all three', 'another value');
    acl('-d', '-m', 'u:12347:r-x', at('all three'));
    acl('-b', at('loses list'));
    execFileSync('setfattr', ['-x', 'user.x', at('loses attribute')]);
    acl('-m', 'u:12345:rwx', at('attribute'));
    const third = await check();
    const fourth = await check();
    await requireSame(third, fourth);
  });
});
