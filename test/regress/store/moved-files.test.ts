// Goal: a moved or renamed folder is stored once, with launcher and without. Each snapshot is still a whole tree that restores with
// all attributes and folder times. Two files of the client are two files in every snapshot and every restore, whatever was moved,
// copied or interrupted before; hard links stay hard links.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  chownSync,
  cpSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { itLong, itShort } from '../../support/long.ts';
import { diffManifests, manifest } from '../../support/manifest.ts';
import { NEEDS_ROOT, World } from '../../support/world.ts';

const MIB = 1024 * 1024;
const LARGE = 8 * MIB;

describe('moved files', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let world: World;
  const source = (name: string): string => join(world.data, name);
  const stored = (snapshot: string, name: string): string => join(world.tree(snapshot), world.data, name);
  const inode = (snapshot: string, name: string): number => lstatSync(stored(snapshot, name)).ino;
  const growth = (): number =>
    Number(execFileSync('du', ['-s', '-B1', world.shelf]).toString().split('\t')[0]);

  before(async () => {
    world = await World.make({ launcher: true });
    plant();
  });
  after(async () => {
    await world.dispose();
  });

  function plant(): void {
    const inner = source('a folder/inner');
    mkdirSync(inner, { recursive: true });
    writeFileSync(join(inner, 'large'), Buffer.alloc(LARGE, 'x'));
    writeFileSync(join(inner, 'new\nline'), 'a name of two lines');
    writeFileSync(join(inner, 'empty'), '');
    for (const name of ['twin one', 'twin two']) writeFileSync(join(inner, name), 'the same\n');
    execFileSync('touch', [
      '-d',
      '2020-02-02 02:02:02.123456789',
      join(inner, 'twin one'),
      join(inner, 'twin two'),
    ]);
    writeFileSync(join(inner, 'group one'), 'a group of hard links');
    linkSync(join(inner, 'group one'), join(inner, 'group two'));
    linkSync(join(inner, 'group one'), source('outside of it'));
    symlinkSync('large', join(inner, 'link'));
    writeFileSync(join(inner, 'with ACL'), 'an ACL');
    execFileSync('setfacl', ['-m', 'u:1:r', join(inner, 'with ACL')]);
    execFileSync('setfattr', ['-n', 'user.note', '-v', 'kept', join(inner, 'large')]);
    chmodSync(join(inner, 'empty'), 0o400);
    execFileSync('chown', ['-hR', `${world.client.uid}:${world.client.gid}`, world.data]);
    execFileSync('touch', ['-d', '2001-01-01 01:01:01.987654321', inner, source('a folder')]);
  }

  async function backup(status = 0): Promise<string> {
    const { status: found, stderr, last } = await world.backup();
    assert.equal(found, status, stderr);
    return last.snapshot ?? assert.fail(stderr);
  }

  async function requireEqual(): Promise<void> {
    const to = join(world.base, 'back');
    const { status, stderr } = await world.restore(to);
    assert.equal(status, 0, stderr);
    assert.deepEqual(diffManifests(manifest(world.data), manifest(join(to, world.data))), []);
    rmSync(to, { recursive: true });
  }

  it('a renamed folder adds no file, and restores with every attribute and time', async () => {
    const first = await backup();
    const before = growth();
    renameSync(source('a folder'), source('b\nfolder'));
    execFileSync('touch', ['-d', '2002-02-02 02:02:02.000000001', world.data]);
    const second = await backup();
    assert.ok(growth() - before < LARGE / 20, `${growth() - before} bytes`);
    for (const name of readdirSync(source('b\nfolder/inner')))
      if (!/^twin/.test(name))
        assert.equal(inode(second, `b\nfolder/inner/${name}`), inode(first, `a folder/inner/${name}`), name);
    const twins = (snapshot: string, folder: string) =>
      ['one', 'two'].map(each => inode(snapshot, `${folder}/inner/twin ${each}`)).sort();
    assert.deepEqual(twins(second, 'b\nfolder'), twins(first, 'a folder'));
    assert.deepEqual(readdirSync(join(world.shelf, 'snapshots', second)).sort(), [
      'excludes',
      'manifest.mtree.gz',
      'sha256sums',
      'snapshot.json',
      'tree',
    ]);
    await requireEqual();
  });

  itShort('the record, the journal and status say so', async () => {
    const second = world.snapshots()[1] ?? assert.fail();
    const record = JSON.parse(readFileSync(join(world.shelf, 'snapshots', second, 'snapshot.json'), 'utf8'));
    // large, the name with a line break, empty, two twins, the link, and the file with an ACL
    assert.equal(record.counts.moved, 7);
    assert.ok(record.counts.moved_bytes > LARGE && record.counts.moved_bytes < LARGE + 1000);
    assert.equal(record.counts.new_bytes, 0);
    const committed = world.journal('host').filter(each => each.event === 'committed');
    assert.deepEqual(
      committed.map(each => each.moved),
      [undefined, 7],
    );
    const json = await world.run(world.host, ['status', '--json', '--config', world.hostToml]);
    assert.deepEqual(JSON.parse(json.stdout)[0].moved, { files: 7, bytes: record.counts.moved_bytes });
    const text = await world.run(world.host, ['status', '--config', world.hostToml]);
    assert.match(text.stdout, /^acorn: [^\n]*: 7, 8\.0 MiB$/m);
  });

  itShort('verify finds no damage', async () => {
    const { status, stderr } = await world.run(world.host, [
      'verify',
      world.name,
      '--config',
      world.hostToml,
    ]);
    assert.equal(status, 0, stderr);
  });

  it('a copy with the same attributes is a file of its own', async () => {
    cpSync(source('b\nfolder/inner/large'), source('copy'), { preserveTimestamps: true });
    execFileSync('cp', ['-a', source('b\nfolder/inner/large'), source('copy')]);
    const third = await backup();
    assert.notEqual(inode(third, 'copy'), inode(third, 'b\nfolder/inner/large'));
    await requireEqual();
  });

  itLong(
    'two files stay two when a run links against two snapshots that have one inode under two names',
    async () => {
      writeFileSync(source('before'), 'one content\n');
      chownSync(source('before'), world.client.uid, world.client.gid);
      const full = await backup();
      renameSync(source('before'), source('behind'));
      const config = readFileSync(world.hostToml, 'utf8');
      world.write(world.host, world.hostToml, `${config}[space]\nmax_size = "4M"\n`);
      const incomplete = await backup(3);
      world.write(world.host, world.hostToml, config);
      assert.equal(inode(incomplete, 'behind'), inode(full, 'before'));
      execFileSync('cp', ['-a', source('behind'), source('before')]);
      linkSync(source('behind'), source('true link'));
      const last = await backup();
      assert.notEqual(inode(last, 'behind'), inode(last, 'before'));
      assert.equal(inode(last, 'behind'), inode(last, 'true link'));
      // What only the older one has is linked too: its large files.
      assert.equal(inode(last, 'copy'), inode(full, 'copy'));
      assert.equal(inode(last, 'b\nfolder/inner/large'), inode(full, 'b\nfolder/inner/large'));
      await requireEqual();
      // A later change of one is no change of the other, and no older snapshot changes.
      chmodSync(source('behind'), 0o600);
      appendFileSync(source('before'), 'more\n');
      const changed = await backup();
      assert.equal(lstatSync(stored(full, 'before')).size, 12);
      assert.equal(inode(changed, 'behind'), inode(changed, 'true link'));
      await requireEqual();
    },
  );

  itLong('with link_moved = false moved files are stored again', async () => {
    const before = readFileSync(world.hostToml, 'utf8');
    world.write(world.host, world.hostToml, `${before}[space]\nlink_moved = false\n`);
    const [older] = world.snapshots().slice(-1);
    renameSync(source('copy'), source('moved copy'));
    const newer = await backup();
    assert.notEqual(inode(newer, 'moved copy'), inode(older ?? '', 'copy'));
    await requireEqual();
  });

  itLong('files of an interrupted tree are linked too, although rsync sends none of them', async () => {
    const config = readFileSync(world.hostToml, 'utf8').replace('link_moved = false', 'link_moved = true');
    world.write(world.host, world.hostToml, config);
    const [older = '', left = ''] = world.snapshots().slice(-2);
    // Such a tree is what a run leaves that ends before its commit.
    const folder = join(world.shelf, 'arriving', left);
    renameSync(join(world.shelf, 'snapshots', left), folder);
    for (const each of readdirSync(folder)) if (each !== 'tree') rmSync(join(folder, each));
    world.write(world.host, join(folder, 'synced'), '');
    const { last } = await world.backup();
    assert.equal(last.transferred_bytes, 0);
    assert.equal(inode(last.snapshot ?? '', 'moved copy'), inode(older, 'copy'));
    await requireEqual();
  });

  it('leaves nothing in arriving/', () => {
    assert.deepEqual(readdirSync(join(world.shelf, 'arriving')), []);
  });
});
