// Goal: a `never` holds whatever its path, and that of a root, is called by: another spelling on a file system that takes "A" for
// "a", or another mount of a folder above it.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { FailingMount, NEEDS_FUSE } from '../../support/fuse.ts';
import { some } from '../../support/long.ts';
import { NEEDS_ROOT, World } from '../../support/world.ts';

describe('a never by another name', { skip: NEEDS_ROOT || NEEDS_FUSE || IN_CLEAN_MACHINE }, () => {
  let world: World;
  let caseless: FailingMount;
  let disk: string;
  let at: (name: string) => string;

  before(async () => {
    world = await World.make({ launcher: true });
    at = name => join(world.data, name);
    disk = at('disk');
    for (const name of ['disk', 'real', 'real/folder', 'bound']) mkdirSync(at(name));
    for (const name of ['real/folder/secret', 'real/folder/open']) writeFileSync(at(name), name);
    execFileSync('mount', ['--bind', at('real'), at('bound')]);
    caseless = await FailingMount.at(world.base, disk, 'fuse.caseless', 'caseless');
  });
  after(async () => {
    execFileSync('umount', [at('bound')]);
    await caseless.dispose();
    await world.dispose();
  });

  /** Names below a folder of the snapshot. @param list who has the `never` */
  async function check(list: string, root: string, never: string, kept: string, open: string): Promise<void> {
    const own = list === 'client.toml' ? `never = ["${never}"]` : '';
    writeFileSync(world.neverList, list === 'client.toml' ? '' : `${never}\n`);
    world.configure({ scope: `roots = ["${root}"]\n${own}` });
    const { last, stdout } = await world.backup();
    assert.ok(last.snapshot, stdout);
    assert.ok(!existsSync(join(world.tree(last.snapshot), root, kept)), stdout);
    assert.ok(existsSync(join(world.tree(last.snapshot), root, open)), stdout);
  }

  // In `make test` each spelling against one of the lists.
  const lists = ['client.toml', 'the list of the administrator'];
  for (const list of some(lists, 2)) {
    it(`is kept back with its folder in another spelling in ${list}`, async () => {
      await check(list, disk, join(disk, 'data/private'), 'Data/Private', 'Data/Open');
    });
  }
  for (const list of some(lists, 2, 1)) {
    it(`is kept back where a root is spelled in another way than in ${list}`, async () => {
      await check(list, join(disk, 'DATA'), join(disk, 'Data/Private'), 'Private', 'Open');
    });
    it(`is kept back in another mount of a folder above it, with ${list}`, async () => {
      await check(list, at('bound'), at('real/folder/secret'), 'folder/secret', 'folder/open');
    });
  }
});
