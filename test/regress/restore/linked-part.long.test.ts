// Goal: a part of a snapshot is restored whole when its files have hard links to files outside of it: each name has its content and
// attributes, the names inside the part share an inode, and files in DIR that have the other names are not touched.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { diffManifests, type Manifest, manifest } from '../../support/manifest.ts';
import { isRefusedToOldRsync } from '../../support/own-rsync.ts';
import { plantTortureTree } from '../../support/torture-world.ts';
import { NEEDS_ROOT, World } from '../../support/world.ts';

describe('a part with hard links to files outside of it', { skip: NEEDS_ROOT }, () => {
  let world: World;
  let source: Manifest;
  let number = 0;
  before(async () => {
    world = await World.make();
    plantTortureTree(world);
    source = manifest(world.data);
    assert.equal((await world.backup()).status, 0);
    assert.equal((await world.backup()).status, 0);
  });
  after(async () => {
    await world.dispose();
  });
  const fresh = (): string => {
    number += 1;
    return join(world.base, `to ${number}`);
  };
  const paths = (names: string[]): string[] => names.map(name => join(world.data, name));
  /** The source's entries below some names and above them, with the links that are among them. */
  const wantedOf = (names: string[]): Manifest => {
    const isIn = (name: string): boolean => names.some(each => name === each || name.startsWith(`${each}/`));
    const isAbove = (name: string): boolean =>
      name === '.' || names.some(each => each.startsWith(`${name}/`));
    const kept = [...source].filter(([name]) => isIn(name) || isAbove(name));
    return new Map(
      kept.map(([name, entry]) => {
        const group = kept.filter(([, other]) => entry.link !== undefined && other.link === entry.link);
        const { link: _, ...rest } = entry;
        return [name, group.length > 1 ? { ...rest, link: group[0]?.[0] ?? '' } : rest];
      }),
    );
  };

  const parts = [
    ['links/a/five'],
    ['links/zz', 'links/five'],
    ['links/a'],
    ['links/b', 'links/pair'],
    ['links/a/symlink', 'links/b/fifo', 'links/a/block', 'links/b/empty'],
  ];
  for (const names of parts)
    it(`is whole: ${names.join(', ')}`, async () => {
      const to = fresh();
      const { status, stderr } = await world.restore(to, paths(names));
      assert.equal(stderr, '');
      assert.equal(status, 0);
      assert.deepEqual(diffManifests(wantedOf(names), manifest(join(to, world.data))), []);
    });

  it('does not touch the other names in DIR', async () => {
    const to = fresh();
    assert.equal((await world.restore(to, paths(['links']))).status, 0);
    const [inside, outside] = ['links/a/five', 'links/five'].map(each => join(to, world.data, each));
    // Both names in DIR are the same file, which has changed since.
    writeFileSync(outside ?? '', 'changed');
    const { status, stderr } = await world.restore(to, [...paths(['links/a/five']), '--force']);
    if (isRefusedToOldRsync({ status, stderr })) return;
    assert.equal(status, 0, stderr);
    assert.equal(readFileSync(outside ?? '', 'utf8'), 'changed');
    assert.ok(readFileSync(inside ?? '').equals(readFileSync(join(world.data, 'links/five'))));
    assert.notEqual(statSync(inside ?? '').ino, statSync(outside ?? '').ino);
  });

  it('is whole for an ordinary account', async () => {
    const to = join(world.host.home, 'own');
    mkdirSync(to, { mode: 0o700 });
    world.own(world.host, to);
    const { status, stderr } = await world.restore(to, paths(['links/a/five', 'links/b/five']), world.host);
    assert.equal(status, 0, stderr);
    const found = manifest(join(to, world.data), { without: ['uid', 'gid'] });
    assert.equal(found.get('links/b/five')?.link, 'links/a/five');
    assert.equal(found.get('links/a/five')?.sha256, source.get('links/a/five')?.sha256);
    assert.equal(found.get('links/a/five')?.mode, source.get('links/a/five')?.mode);
  });
});
