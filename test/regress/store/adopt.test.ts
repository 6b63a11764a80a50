// Goal: adopt makes snapshots of the intervals of rsnapshot, and of plain trees. The trees stay as they are. Hard links between
// intervals are kept, the commands that read a store read the snapshots, and the next backup sends only the files that changed. A doubt
// about a client's folder or a time is refused.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { ClientFiles, forge, makeInterval, recordsIn, stateOf } from '../../support/adopted.ts';
import { compileProgram } from '../../support/compiled.ts';
import { matchingLines, says } from '../../support/wording.ts';
import { NEEDS_ROOT, type Result, World } from '../../support/world.ts';

const FILES = 300;
const CHANGED = 7;
const DAY_MS = 86_400_000;

describe('adopt', { skip: NEEDS_ROOT }, () => {
  let world: World;
  let files: ClientFiles;
  let root: string;
  let state: string;

  before(async () => {
    world = await World.make({ launcher: true });
    files = new ClientFiles(world, FILES);
    root = join(world.base, 'rsnapshot root');
    const start = Math.floor((Date.now() - 10 * DAY_MS) / 1000) * 1000;
    const at = (day: number): Date => new Date(start + day * DAY_MS);
    makeInterval(world, join(root, 'daily.1'), undefined, at(0));
    files.write(1, 'changed on the second day\n');
    makeInterval(world, join(root, 'daily.0'), join(root, 'daily.1'), at(1));
    forge(join(root, 'daily.0/localhost', files.path(2)), 'FILE 2, as it was first\n');
    files.write(1, 'changed on the third day\n');
    makeInterval(world, join(root, 'hourly.0'), join(root, 'daily.0'), at(2));
    mkdirSync(join(root, '_delete.4711'));
    execFileSync('chmod', ['700', root]);
    state = stateOf(root);
  });
  after(async () => {
    await world.dispose();
  });

  const asRoot = async (...words: string[]): Promise<Result> =>
    await world.run('root', ['adopt', ...words, '--config', world.hostToml]);
  const host = async (...words: string[]): Promise<Result> =>
    await world.run(world.host, [...words, '--config', world.hostToml]);
  const names = (): string[] => readdirSync(join(world.shelf, 'snapshots')).sort();
  const stored = (snapshot: string, file: number): string =>
    join(world.shelf, 'snapshots', snapshot, 'tree', files.path(file));
  async function requireRefused(part: RegExp, ...words: string[]): Promise<void> {
    const { status, stderr } = await asRoot(world.name, ...words);
    assert.equal(status, 2, stderr);
    assert.match(stderr, part);
    assert.match(stderr, /^next: /m);
  }

  it('--dry-run shows the snapshots and the bytes to copy, and writes nothing', async () => {
    const { status, stdout, stderr } = await asRoot(world.name, root, '--dry-run', '--json');
    assert.equal(status, 0, stderr);
    const { trees } = JSON.parse(stdout) as { trees: { files: number; new_bytes: number; at: string }[] };
    assert.deepEqual(
      trees.map(each => each.files),
      [FILES, FILES, FILES],
    );
    assert.deepEqual(
      trees.map(each => each.at),
      ['/', '/', '/'],
    );
    // The second and the third have one new file, and one forged file or the one that it was forged from.
    assert.ok((trees[0]?.new_bytes ?? 0) > 50 * (trees[1]?.new_bytes ?? 0), stdout);
    assert.deepEqual(names(), []);
    assert.equal(stateOf(root), state);
  });

  it('is refused to an account that cannot read the tree, and names root', async () => {
    const { status, stderr } = await host('adopt', world.name, root);
    assert.equal(status, 2, stderr);
    assert.match(stderr, /^next: .*root/m);
  });

  it('makes a snapshot of each interval, with the time of its folder', async () => {
    const { status, stdout, stderr } = await asRoot(world.name, root, '--json');
    assert.equal(status, 0, stderr);
    const times = ['daily.1', 'daily.0', 'hourly.0'].map(each =>
      statSync(join(root, each)).mtime.toISOString(),
    );
    assert.deepEqual(
      names(),
      times.map(each => `${each.slice(0, 19).replaceAll(':', '-')}Z`),
    );
    const { trees } = JSON.parse(stdout) as { trees: { linked: number }[] };
    assert.deepEqual(
      trees.map(each => each.linked),
      [0, FILES - 2, FILES - 1],
    );
    assert.ok(recordsIn(world).every(each => each.flags.join() === 'adopted'));
    assert.ok(recordsIn(world).every(({ confined }) => confined.send && confined.receive));
    assert.equal(stateOf(root), state);
  });

  it('keeps hard links, and the content of a file with the size and time of an older one', () => {
    const [first = '', second = '', third = ''] = names();
    const inode = (snapshot: string, file: number): number => statSync(stored(snapshot, file)).ino;
    assert.equal(inode(first, 5), inode(third, 5));
    assert.notEqual(inode(first, 2), inode(second, 2));
    assert.equal(readFileSync(stored(first, 2), 'utf8'), 'file 2, as it was first\n');
    assert.equal(readFileSync(stored(second, 2), 'utf8'), 'FILE 2, as it was first\n');
    // rsnapshot's own rsync took it for unchanged.
    assert.equal(inode(second, 2), inode(third, 2));
    for (const each of names()) {
      const owner = statSync(join(world.shelf, 'snapshots', each, 'tree')).uid;
      assert.equal(owner, world.host.uid);
    }
  });

  it('the commands that read a store read them', async () => {
    const [first = '', second = ''] = names();
    const ls = await host('ls', `${world.name}@${second}`, files.path(1));
    assert.match(ls.stdout, new RegExp(`^-rw-r--r-- .*${world.client.uid}.*file 1$`, 'm'));
    const found = await host('find', world.name, 'file 1', '--json');
    assert.equal((found.stdout.match(/"snapshots":/g) ?? []).length, 3, found.stdout);
    const to = join(world.host.home, 'restored');
    const restored = await host('restore', `${world.name}@${first}`, files.path(1), '--to', to);
    assert.equal(restored.status, 0, restored.stderr);
    assert.equal(readFileSync(join(to, files.path(1)), 'utf8'), 'file 1, as it was first\n');
    const verified = await host('verify', world.name);
    assert.equal(verified.status, 0, verified.stdout + verified.stderr);
    const explained = await host('explain', world.name);
    assert.equal(explained.status, 0, explained.stderr);
    const status = await host('status', world.name, '--json');
    assert.doesNotMatch(status.stdout, /flagged/);
  });

  it('given again, changes nothing', async () => {
    const had = stateOf(join(world.shelf, 'snapshots'));
    const { status, stdout, stderr } = await asRoot(world.name, root);
    assert.equal(status, 0, stderr);
    assert.match(stdout, /adopted 0 snapshots/);
    assert.equal(stateOf(join(world.shelf, 'snapshots')), had);
  });

  it('the next backup sends only the files that changed, and links the others', async () => {
    for (let file = 10; file < 10 + CHANGED; file += 1) files.write(file, `changed since, ${file}\n`);
    const { status, stdout, stderr } = await world.backup();
    assert.equal(status, 0, stdout + stderr);
    await world.settled();
    const [run, newest] = [recordsIn(world).at(-1), names().at(-2)];
    assert.equal(run?.basis, newest);
    const counts: Record<string, number> = run?.counts ?? {};
    assert.equal(counts.linked, FILES - CHANGED);
    assert.equal((counts.new ?? 0) + (counts.content_changed ?? 0), CHANGED);
    assert.ok((counts.transferred_bytes ?? 0) < 1000, JSON.stringify(counts));
  });

  it('stays as it is when rsnapshot writes into its tree and removes it', async () => {
    writeFileSync(join(root, 'hourly.0/localhost', files.path(20)), 'written in place\n');
    execFileSync('chmod', ['777', join(root, 'daily.0/localhost', files.path(21))]);
    rmSync(join(root, 'daily.1'), { recursive: true });
    const { status, stdout, stderr } = await host('verify', world.name);
    assert.equal(status, 0, stdout + stderr);
  });

  it('refuses each doubt, and says what decides it', async () => {
    const interval = join(root, 'weekly.0');
    mkdirSync(join(interval, 'oak/etc'), { recursive: true });
    mkdirSync(join(interval, 'elm/etc'), { recursive: true });
    await requireRefused(/elm, oak/, interval);
    rmSync(join(interval, 'elm'), { recursive: true });
    mkdirSync(join(interval, 'oak/anna'));
    await requireRefused(/"\/anna"/, interval);
    rmSync(join(interval, 'oak/anna'), { recursive: true });
    await requireRefused(/own backups/, interval);
    const plain = join(world.base, 'plain');
    mkdirSync(plain);
    await requireRefused(/--at/, plain);
    await requireRefused(/--time/, plain, '--at', '/home');
    await requireRefused(/future/, plain, '--at', '/home', '--time', '2999-01-01');
    await requireRefused(/--time/, plain, '--at', '/home', '--time', 'yesterday');
    await requireRefused(/not a folder/, files.path(1), '--at', '/home');
    assert.equal((await asRoot(world.name, world.host.home, '--at', '/', '--time', '2026-01-01')).status, 12);
  });

  it('--link makes files of the account itself a part of the snapshot', async () => {
    const tree = join(world.host.home, 'tree of 2026-01-02');
    mkdirSync(tree);
    for (const each of ['one', 'two', 'foreign']) writeFileSync(join(tree, each), `${each}\n`);
    execFileSync('chmod', ['4755', join(tree, 'two')]);
    chownSync(tree, world.host.uid, world.host.gid);
    for (const each of ['one', 'two']) chownSync(join(tree, each), world.host.uid, world.host.gid);
    execFileSync('chmod', ['4755', join(tree, 'two')]);
    utimesSync(join(tree, 'one'), 1_000_000_000, 1_000_000_000);
    const { status, stderr } = await host('adopt', world.name, tree, '--at', '/srv/tree', '--link');
    assert.equal(status, 0, stderr);
    const [first = ''] = names();
    const of = (name: string): string => join(world.shelf, 'snapshots', first, 'tree/srv/tree', name);
    assert.equal(statSync(of('one')).ino, statSync(join(tree, 'one')).ino);
    for (const each of ['two', 'foreign'])
      assert.notEqual(statSync(of(each)).ino, statSync(join(tree, each)).ino);
    const ls = await host('ls', `${world.name}@${first}`, '/srv', '/srv/tree', '-d');
    assert.match(ls.stdout, /^drwxr-xr-x +0:0 .*\/srv$/m);
    const list = await host('ls', `${world.name}@${first}`, '/srv/tree');
    assert.match(list.stdout, /^-rwsr-xr-x .*two$/m);
    assert.match(list.stdout, /^-rw-r--r-- +0:0 .*foreign$/m);
    assert.ok(!existsSync(join(world.shelf, 'snapshots', first, 'links')));
  });

  it('as root, is refused without the jail; the next step works', async () => {
    const tree = join(world.host.home, 'a tree of its own');
    mkdirSync(tree);
    writeFileSync(join(tree, 'file'), 'content\n');
    for (const each of [tree, join(tree, 'file')]) chownSync(each, world.host.uid, world.host.gid);
    const words = [
      'adopt',
      world.name,
      tree,
      '--at',
      '/own',
      '--time',
      '2026-01-03',
      '--config',
      world.hostToml,
    ];
    const had = names();
    const requireNotRead = ({ status, stderr }: Result, found: RegExp): void => {
      assert.equal(status, 1, stderr);
      assert.match(stderr, found);
      assert.match(stderr, matchingLines`^next: .*${says('adopt-as-the-account-that')}`);
      assert.deepEqual(names(), had);
      assert.deepEqual(world.processes(), []);
    };
    renameSync(world.jail, `${world.jail}.aside`);
    requireNotRead(await world.run('root', words), says('this-needs-the-kernels', world.jail));
    renameSync(`${world.jail}.aside`, world.jail);
    const without = join(world.base, 'without-landlock');
    compileProgram(join(import.meta.dirname, '../../support/without-landlock.c'), without, ['-static']);
    // Otherwise the jail of the rsync that writes is refused as well.
    world.write(world.host, world.hostToml, `${readFileSync(world.hostToml, 'utf8')}confined = false\n`);
    const old = await world.start('root', without, [world.binary, ...words]).done;
    requireNotRead(old, says('has-no-landlock-or-has'));
    const account = ['--reuid', String(world.host.uid), '--regid', String(world.host.gid), '--init-groups'];
    const become = ['setpriv', ...account, 'env', `HOME=${world.host.home}`, world.binary];
    const next = await world.start('root', without, [...become, ...words]).done;
    assert.equal(next.status, 0, next.stderr);
    const record = recordsIn(world).find(each => each.snapshot.startsWith('2026-01-03'));
    assert.deepEqual(record?.confined, { send: false, receive: false, landlock_abi: null, own_root: false });
  });
});
