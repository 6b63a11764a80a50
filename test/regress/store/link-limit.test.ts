// Goal: hard links of a client's never cost a run. Where the store's file system refuses one more link of an inode (ext4 takes
// 65,000), the same request ends with a full snapshot; the contents are right, links are kept as far as the limit allows,
// older snapshots do not change, and what a killed run leaves does not make the next one fail.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { openClient, removeSnapshot } from '../../../src/host/store.ts';
import { emptyTrash } from '../../../src/host/trash.ts';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { diffManifests, type Manifest, manifest } from '../../support/manifest.ts';
import { NEEDS_ROOT, until, World } from '../../support/world.ts';

/** ext4's. */
const LIMIT = 65_000;

/** A world whose store is on an ext4 of its own, and whose data is on a file system without a limit. */
class Site {
  readonly world: World;

  private constructor(world: World) {
    this.world = world;
  }

  static async make(options: { launcher?: boolean } = {}): Promise<Site> {
    const world = await World.make(options);
    const image = join(world.base, 'disk');
    closeSync(openSync(image, 'w'));
    truncateSync(image, 2 * 1024 ** 3);
    execFileSync('mkfs.ext4', ['-q', '-F', '-N', '50000', image]);
    rmSync(world.store, { recursive: true });
    mkdirSync(world.store);
    execFileSync('mount', ['-o', 'loop', image, world.store]);
    chownSync(world.store, world.host.uid, world.host.gid);
    chmodSync(world.store, 0o700);
    const { uid, gid } = world.client;
    const own = `size=512m,nr_inodes=1m,uid=${uid},gid=${gid}`;
    execFileSync('mount', ['-t', 'tmpfs', '-o', own, 'none', world.data]);
    const key = readFileSync(join(world.client.home, '.ssh/id_ed25519.pub'), 'utf8');
    assert.equal((await world.enroll(world.name, key)).status, 0);
    return new Site(world);
  }

  async dispose(): Promise<void> {
    for (const each of [this.world.data, this.world.store]) execFileSync('umount', [each]);
    await this.world.dispose();
  }

  /** One file of the client's with so many names, in folders of 1,000. Its times and mode are none that come by themselves. */
  group(name: string, names: number, content = `${name}\n`.repeat(3000)): void {
    const { client, data } = this.world;
    const first = join(data, name, '00/0');
    for (let index = 0; index < names; index += 1) {
      const folder = join(data, name, String(Math.floor(index / 1000)).padStart(2, '0'));
      const path = join(folder, String(index));
      if (index % 1000 === 0) mkdirSync(folder, { recursive: true });
      if (index > 0) linkSync(first, path);
      else writeFileSync(path, content, { mode: 0o640 });
    }
    chmodSync(first, 0o751);
    execFileSync('/usr/bin/setfattr', ['-n', 'user.test', '-v', name, first]);
    utimesSync(first, 1_000_000, 1_234_567.25);
    for (const folder of readdirSync(join(data, name)))
      utimesSync(join(data, name, folder), 2_000_000, 2_345_678 + Number(folder));
    utimesSync(join(data, name), 3_000_000, 3_456_789);
    execFileSync('/usr/bin/chown', ['-R', `${client.uid}:${client.gid}`, join(data, name)]);
  }

  /** A backup of everything. @returns its tree's own part, what is below the data */
  async keep(): Promise<{ snapshot: string; tree: string; flags: string[] }> {
    const { world } = this;
    const { status, last, stderr } = await world.backup();
    const journal = JSON.stringify(world.journal('host').slice(-2));
    assert.equal(status, 0, `${JSON.stringify(last)} ${stderr} ${journal}`);
    assert.equal(last.outcome, 'full');
    const snapshot = last.snapshot ?? assert.fail();
    assert.deepEqual(readdirSync(join(world.shelf, 'arriving')), []);
    const record = JSON.parse(
      readFileSync(join(world.shelf, 'snapshots', snapshot, 'snapshot.json'), 'utf8'),
    ) as { state: string; flags: string[] };
    assert.equal(record.state, 'full');
    return { snapshot, tree: join(world.tree(snapshot), world.data), flags: record.flags };
  }

  /** Gives an inode of the store more names, as older snapshots would. */
  fill(path: string, links: number): void {
    const { ino, nlink } = lstatSync(path);
    const folder = join(this.world.store, `more of ${ino}`);
    mkdirSync(folder);
    for (let at = nlink; at < links; at += 1) linkSync(path, join(folder, String(at)));
    assert.equal(lstatSync(path).nlink, links);
  }
}

/** How many names each inode below a folder has there, the most first; the contents of all of them are looked at. */
function inodes(folder: string, content: string): number[] {
  const names = new Map<number, number>();
  for (const part of readdirSync(folder))
    for (const name of readdirSync(join(folder, part))) {
      const path = join(folder, part, name);
      const { ino } = lstatSync(path);
      if (!names.has(ino)) assert.equal(readFileSync(path, 'utf8'), content);
      names.set(ino, (names.get(ino) ?? 0) + 1);
    }
  return [...names.values()].sort((one, other) => other - one);
}

function sum(numbers: number[]): number {
  return numbers.reduce((all, each) => all + each, 0);
}

function suite(title: string, options: { launcher?: boolean }): void {
  describe(title, () => {
    let site: Site;
    let first: { snapshot: string; tree: string };
    let image: Manifest;
    before(async () => {
      site = await Site.make(options);
    });
    after(async () => {
      await site.dispose();
    });

    it('a group that reaches the limit in its middle ends in a second inode', async () => {
      site.group('thousand', 1000);
      site.group('few', 20);
      first = await site.keep();
      image = manifest(site.world.tree(first.snapshot), { includeInode: true });
      // As 64 snapshots of it leave it; and room for ten more names.
      site.fill(join(first.tree, 'thousand/00/0'), LIMIT - 500);
      if (!options.launcher) site.fill(join(first.tree, 'few/00/0'), LIMIT - 10);
      const second = await site.keep();
      assert.ok(second.flags.includes('hard-links-split'), `${second.flags}`);
      const content = 'thousand\n'.repeat(3000);
      const found = inodes(join(second.tree, 'thousand'), content);
      assert.deepEqual([found.length, sum(found)], [2, 1000]);
      assert.equal(inodes(join(second.tree, 'few'), 'few\n'.repeat(3000)).length, options.launcher ? 1 : 2);
      // Nothing of it is left, and the next run has one inode again, for it links against the new one.
      const third = await site.keep();
      assert.deepEqual(inodes(join(third.tree, 'thousand'), content), [1000]);
      assert.ok(!third.flags.includes('hard-links-split'), `${third.flags}`);
    });

    it('has changed no older snapshot', () => {
      const now = manifest(site.world.tree(first.snapshot), { includeInode: true });
      assert.deepEqual(diffManifests(image, now), []);
    });

    it('root gets back bytes, owners, modes, times and attributes', async () => {
      const { world } = site;
      const split = world.snapshots()[1] ?? assert.fail();
      const to = join(world.base, 'back');
      const restored = await world.run('root', [
        'restore',
        `${world.name}@${split}`,
        ...['--config', world.hostToml, '--to', to],
      ]);
      assert.equal(restored.status, 0, restored.stderr);
      const without = { without: ['link'] } as const;
      const back = manifest(join(to, world.data), without);
      assert.deepEqual(diffManifests(manifest(world.data, without), back), []);
      rmSync(to, { recursive: true });
    });

    it('the snapshot with two inodes can be removed, and no other one changes', async () => {
      const client = openClient(site.world.store, site.world.name);
      const split = site.world.snapshots()[1] ?? assert.fail();
      removeSnapshot(client, split, 'a test');
      await emptyTrash(client.folder);
      assert.deepEqual(readdirSync(join(site.world.shelf, 'trash')), []);
      const now = manifest(site.world.tree(first.snapshot), { includeInode: true });
      assert.deepEqual(diffManifests(image, now), []);
    });
  });
}

describe('the limit of hard links', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  suite('without the launcher', {});
  suite('with the launcher', { launcher: true });

  describe('a file with 70,000 names', () => {
    let site: Site;
    before(async () => {
      site = await Site.make({ launcher: true });
    });
    after(async () => {
      await site.dispose();
    });

    it('is two inodes in every snapshot, and every run is full', async () => {
      site.group('many', 70_000);
      const content = 'many\n'.repeat(3000);
      for (let run = 0; run < 2; run += 1) {
        const { tree, flags } = await site.keep();
        const found = inodes(join(tree, 'many'), content);
        assert.deepEqual([found.length, sum(found)], [2, 70_000], `run ${run}: ${found}`);
        assert.ok(flags.includes('hard-links-split'));
        for (const folder of ['00', '35', '69'])
          assert.equal(lstatSync(join(tree, 'many', folder)).mtimeMs, (2_345_678 + Number(folder)) * 1000);
      }
    });
  });

  describe('two files with 22,000 and 33,000 names', () => {
    let site: Site;
    before(async () => {
      site = await Site.make();
      site.group('one', 22_000);
      site.group('other', 33_000);
    });
    after(async () => {
      await site.dispose();
    });

    function look(tree: string): void {
      assert.equal(sum(inodes(join(tree, 'one'), 'one\n'.repeat(3000))), 22_000);
      const found = inodes(join(tree, 'other'), 'other\n'.repeat(3000));
      assert.ok(found.length <= 2 && sum(found) === 33_000, `${found}`);
    }

    it('are full three times, though the first inode has no room for the second run', async () => {
      for (let run = 0; run < 3; run += 1) look((await site.keep()).tree);
    });

    it('so is the one after runs that were killed in the middle of a group', async () => {
      const { world } = site;
      const arriving = join(world.shelf, 'arriving');
      const newest = join(world.tree(world.snapshots().at(-1) ?? ''), world.data, 'other/00/0');
      site.fill(newest, LIMIT - 20_000);
      for (let run = 0; run < 2; run += 1) {
        const { done } = world.start(world.client, world.binary, ['backup', '--config', world.clientToml]);
        const last = (): string => readdirSync(arriving).sort().at(-1) ?? '';
        const old = last();
        await until('rsync is in the middle', () => {
          const folder = join(arriving, last(), 'tree', world.data, 'other', run === 0 ? '20' : '10');
          return last() !== old && existsSync(folder);
        });
        for (const { pid, command } of world.processes())
          if (/^\/usr\/bin\/rsync -aHAXS/.test(command)) process.kill(pid, 'SIGKILL');
        assert.notEqual((await done).status, 0);
        await world.settled();
        await until('all of it has ended', () => world.leftovers().length === 0, 30_000);
      }
      assert.notDeepEqual(readdirSync(arriving), []);
      look((await site.keep()).tree);
    });

    it('a link that is refused for another reason costs no run either', async () => {
      const { world } = site;
      for (const each of ['one', 'other']) rmSync(join(world.data, each), { recursive: true });
      site.group('fixed', 100);
      const before = await site.keep();
      const stored = join(before.tree, 'fixed/00/0');
      execFileSync('/usr/bin/chattr', ['+i', stored]); // EPERM
      try {
        const { tree } = await site.keep();
        assert.deepEqual(inodes(join(tree, 'fixed'), 'fixed\n'.repeat(3000)), [100]);
      } finally {
        execFileSync('/usr/bin/chattr', ['-i', stored]);
      }
    });
  });
});
