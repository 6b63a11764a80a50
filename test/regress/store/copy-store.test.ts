// Goal: copy-store makes a second store with all clients and snapshots: the same links, space, attributes and records. The copy works as
// a store. A later call brings it up to date, and a killed one is resumed by the same command. It refuses each place that it must not
// write to.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { isLocked } from '../../../src/os/runfolder.ts';
import { linksIn, StoreOfThree, sizeOf, snapshotsIn, storedFacts } from '../../support/copied-store.ts';
import { diffManifests, manifest } from '../../support/manifest.ts';
import { matchingLines, says, wording } from '../../support/wording.ts';
import { NEEDS_ROOT, type Result, until, type World } from '../../support/world.ts';

describe('copy-store', { skip: NEEDS_ROOT }, () => {
  let three: StoreOfThree;
  let world: World;
  let copy: string;
  let toml: string;

  before(async () => {
    three = await StoreOfThree.make();
    world = three.world;
    for (let round = 0; round < 2; round += 1) await three.backUp();
    copy = join(world.host.home, 'the copy');
    toml = three.configFor(copy);
    forgeAlike();
    const pinned = await world.run(world.host, [
      'pin',
      `birch@${namesOf('birch')[0]}`,
      '--config',
      world.hostToml,
    ]);
    assert.equal(pinned.status, 0, pinned.stderr);
  });
  after(async () => {
    await world.dispose();
  });

  const namesOf = (client: string, store = world.store): string[] =>
    readdirSync(join(store, 'clients', client, 'snapshots')).sort();
  const host = async (...words: string[]): Promise<Result> => await world.run(world.host, words);

  /** The plain files that are not empty: one, or those below a folder. */
  function filesWithText(path: Buffer): Buffer[] {
    const found = lstatSync(path);
    if (found.isFile()) return found.size > 0 ? [path] : [];
    if (!found.isDirectory()) return [];
    return readdirSync(path, { encoding: 'buffer' }).flatMap(name =>
      filesWithText(Buffer.concat([path, Buffer.from('/'), name])),
    );
  }

  /**
   * Gives files of the newest snapshots another inode and content, and the same size and time, as a run that compares contents
   * does. Their names have each character that means something in a pattern of rsync.
   */
  function forgeAlike(): void {
    for (const [client, below] of [
      ['acorn', 'tree/names'],
      ['cedar', 'file 3'],
      ['cedar', 'file 7'],
    ] as const) {
      const folder = join(world.store, 'clients', client, 'snapshots', namesOf(client).at(-1) ?? '');
      const at = join(folder, 'tree', three.dataOf(client), below);
      const forged = join(folder, 'forged');
      const cp = (...words: string[]): void => {
        execFileSync('cp', [...words, '-T', '--', at, forged], { stdio: 'pipe' });
      };
      cp('-a', '--no-preserve=links');
      const forgeFile = (name: Buffer): void => {
        const file = openSync(Buffer.concat([Buffer.from(forged), name]), 'r+');
        writeSync(file, 'X', 0);
        closeSync(file);
      };
      const files = filesWithText(Buffer.from(at)).map(path => path.subarray(Buffer.byteLength(at)));
      for (const name of files) forgeFile(name);
      cp('-R', '--attributes-only', '--preserve=timestamps');
      for (const name of files)
        renameSync(Buffer.concat([Buffer.from(forged), name]), Buffer.concat([Buffer.from(at), name]));
      rmSync(forged, { recursive: true, force: true });
      for (const each of ['manifest.mtree.gz', 'sha256sums']) rmSync(join(folder, each), { force: true });
      for (const each of ['', '-wal', '-shm'])
        rmSync(join(world.store, `clients/${client}/index.sqlite${each}`), { force: true });
    }
  }

  /** Compares everything that the copy must have with the store. */
  function requireEqual(): void {
    assert.deepEqual(snapshotsIn(copy), snapshotsIn(world.store));
    assert.deepEqual(storedFacts(copy), storedFacts(world.store));
    assert.deepEqual(linksIn(copy), linksIn(world.store));
    const [one, other] = [sizeOf(world.store), sizeOf(copy)];
    assert.ok(Math.abs(one - other) <= one / 100, `${one} KiB and ${other} KiB`);
  }

  async function requireVerified(): Promise<void> {
    const { status, stdout, stderr } = await host('verify', '--config', toml);
    assert.equal(status, 0, stdout + stderr);
  }

  it('--dry-run says what would be copied, and writes nothing', async () => {
    const { status, stdout, stderr } = await three.copy(copy, '--dry-run');
    assert.equal(status, 0, stderr);
    assert.match(stdout, /^acorn: 2 snapshots to copy \(/);
    assert.ok(!existsSync(copy));
  });

  it('killed in the middle shows no part of a snapshot, and is resumed', async () => {
    const running = world.start(world.host, world.binary, ['copy-store', copy, '--config', world.hostToml]);
    const isAt = (): boolean =>
      world.processes().some(({ command }) => /rsync .*\/copying\/birch\//.test(command));
    await until('birch is being copied', isAt);
    running.child.kill('SIGKILL');
    await running.done;
    await until('rsync has ended', () => world.processes().length === 0);
    const there = snapshotsIn(copy);
    assert.ok(there.length >= 2 && there.length < snapshotsIn(world.store).length, there.join());
    for (const each of there) {
      const [client = '', name = ''] = each.split('@');
      const tree = (store: string): string => join(store, 'clients', client, 'snapshots', name);
      assert.deepEqual(diffManifests(manifest(tree(world.store)), manifest(tree(copy))), []);
    }
  });

  it('copies the rest, and verifies all of it', async () => {
    const { status, stdout, stderr } = await three.copy(copy);
    assert.equal(status, 0, stdout + stderr);
    assert.match(stdout, /: 6 snapshots verified$/m);
    requireEqual();
    await requireVerified();
    assert.deepEqual(readdirSync(join(copy, 'copying/birch')), []);
  });

  it('copies journals and marks, and no lock or index', () => {
    for (const name of three.clients) {
      const shelf = (store: string): string => join(store, 'clients', name);
      for (const file of ['journal.jsonl', 'ledger.json'])
        assert.deepEqual(
          readFileSync(join(shelf(copy), file), 'utf8'),
          readFileSync(join(shelf(world.store), file), 'utf8'),
        );
    }
  });

  it('makes a store: list, ls, restore, and backups that go on', async () => {
    const listed = async (config: string): Promise<unknown> =>
      JSON.parse((await host('list', '--json', '--config', config)).stdout);
    assert.deepEqual(await listed(toml), await listed(world.hostToml));
    const ls = await host('ls', `birch@latest`, three.dataOf('birch'), '--config', toml);
    assert.match(ls.stdout, /file 10 again/);
    const restored = async (config: string, name: string): Promise<string> => {
      const to = join(world.base, name);
      const paths = ['acls', 'links', 'owners'].map(each => join(world.data, 'tree', each));
      const words = ['restore', world.name, ...paths, '--to', to, '--config', config];
      const result = await world.run('root', words);
      assert.equal(result.status, 0, result.stderr);
      return to;
    };
    const [one, other] = [await restored(world.hostToml, 'restored'), await restored(toml, 'from the copy')];
    assert.deepEqual(diffManifests(manifest(join(one, world.data)), manifest(join(other, world.data))), []);
  });

  it('brings the copy up to date: new snapshots, a removed pin, and what the store has removed stays', async () => {
    await three.backUp(); // a run that changes so much pins snapshots by itself, so unpin after it
    const [first = ''] = namesOf('birch');
    assert.equal((await host('unpin', `birch@${first}`, '--config', world.hostToml)).status, 0);
    const [gone = ''] = namesOf('cedar');
    await host('unpin', `cedar@${gone}`, '--config', world.hostToml);
    const removed = await host(
      ...['remove', `cedar@${gone}`, '--confirm', `cedar@${gone}`, '--config', world.hostToml],
    );
    assert.equal(removed.status, 0, removed.stderr);
    const newest = namesOf('cedar').at(-1) ?? '';
    const closed = join(world.store, 'clients/cedar/snapshots', newest, 'excludes');
    chmodSync(closed, 0);
    const partly = await three.copy(copy);
    assert.equal(partly.status, 3, partly.stderr);
    assert.match(partly.stderr, /Cannot copy 1 snapshots: .*\n {2}cedar@.*excludes.*Permission denied/);
    assert.ok(!namesOf('cedar', copy).includes(newest));
    chmodSync(closed, 0o600);
    const { status, stdout, stderr } = await three.copy(copy);
    assert.equal(status, 0, stdout + stderr);
    assert.match(stdout, matchingLines`^cedar: 1 snapshots copied .*; 1 ${says('only-in-the-copy')}$`);
    assert.match(stdout, /: 1 snapshots verified$/m);
    for (const store of [world.store, copy])
      assert.ok(!existsSync(join(store, 'clients/birch/snapshots', first, 'pinned')), store);
    assert.ok(namesOf('cedar', copy).includes(gone));
    rmSync(join(copy, 'clients/cedar/snapshots', gone), { recursive: true });
    requireEqual();
    await requireVerified();
  });

  it('refuses a place that it must not write to', async () => {
    const at = (name: string): string => join(world.host.home, name);
    const refused = async (to: string, found: RegExp): Promise<void> => {
      const { status, stderr } = await three.copy(to);
      assert.equal(status, 12, `${to}: ${stderr}`);
      assert.match(stderr, found);
      assert.match(stderr, /^next: /m);
    };
    const lock = ['--no-fork', join(world.store, 'copy.lock'), '/bin/sleep', '600'];
    const other = world.start(world.host, '/usr/bin/flock', lock);
    await until('the store is locked', () => isLocked(join(world.store, 'copy.lock')));
    const locked = await three.copy(copy);
    assert.equal(locked.status, 11, locked.stderr);
    assert.match(locked.stderr, says('copy-under-way'));
    other.child.kill('SIGKILL');
    await other.done;
    await refused(world.store, says('copy-inside-the-store'));
    await refused(join(world.store, 'clients/copy'), says('copy-inside-the-store'));
    await refused(join(copy, 'clients/new'), says('copy-inside-the-store'));
    await refused(world.host.home, says('store-inside-the-copy'));
    mkdirSync(at('full'), { mode: 0o700 });
    world.own(world.host, at('full'));
    world.write(world.host, at('full/file'), 'x');
    await refused(at('full'), says('copy-to-full-folder'));
    mkdirSync(at('open'), { mode: 0o755 });
    world.own(world.host, at('open'));
    await refused(at('open'), /not private/);
    const mark = join(copy, 'copy.json');
    copyFileSync(mark, at('mark'));
    world.write(world.host, mark, `${JSON.stringify({ version: 1, of: '0'.repeat(32), path: '/other' })}\n`);
    await refused(copy, says('copy-of-another-store', '/other'));
    world.write(world.host, mark, 'x');
    await refused(copy, /its copy.json cannot be read/);
    rmSync(mark);
    await refused(copy, says('store-and-no-copy'));
    world.write(world.host, mark, readFileSync(at('mark')));
  });

  it('refuses a file system without extended attributes or space', async () => {
    const at = join(world.host.home, 'mounted');
    mkdirSync(at);
    const mounted = async (options: string[], found: RegExp, status: number): Promise<void> => {
      execFileSync('mount', [...options, at]);
      try {
        const to = join(at, 'copy');
        execFileSync('install', ['-d', '-m', '700', '-o', world.host.login, to]);
        const result = await three.copy(to);
        assert.equal(result.status, status, result.stderr);
        assert.match(result.stderr, found);
        assert.deepEqual(
          readdirSync(to).filter(each => each !== 'lost+found'),
          [],
        );
      } finally {
        execFileSync('umount', [at]);
      }
    };
    await mounted(
      ['-t', 'ramfs', 'ramfs'],
      says('file-system-for-no-store', /.*/, wording('store-without-attributes')),
      12,
    );
    await mounted(
      ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs'],
      /it needs \d+ bytes there, and \d+ are free/,
      14,
    );
  });

  it('refuses a copy that has got backups of its own', async () => {
    const config = readFileSync(world.hostToml);
    world.write(world.host, world.hostToml, readFileSync(toml));
    const { status, last } = await world.backup();
    world.write(world.host, world.hostToml, config);
    assert.equal(status, 0);
    const name = last.snapshot ?? '';
    const shared = execFileSync('find', [
      join(copy, 'clients/acorn/snapshots', name),
      '-type',
      'f',
      '-links',
      '+1',
    ]);
    assert.ok(shared.toString('latin1').split('\n').length > 500, 'it links to the copied snapshots');
    const result = await three.copy(copy);
    assert.equal(result.status, 12, result.stderr);
    assert.match(result.stderr, says('backups-made-into-the-copy', 'acorn'));
  });
});
