// Goal: whatever changes in the store behind our back is found and named, with every snapshot that shares it; what is well
// is not complained of; a verify that was killed goes on; a restore says of what it gives back that it is damaged.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
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
  readSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, before, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { itLong, itShort, some } from '../../support/long.ts';
import { matching, says } from '../../support/wording.ts';
import { NEEDS_ROOT, type Result, until, World } from '../../support/world.ts';

interface Verified {
  client: string;
  snapshots: string[];
  made: string[];
  names: number;
  files_read: number;
  bytes_read: number;
  sample: number;
  resumed: boolean;
  damaged: { path: string; differences: string[]; snapshots: string[] }[];
  damaged_count: number;
  records: { snapshot: string; name: string; found: string }[];
}

describe('verify', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let world: World;
  let names: string[];
  let flips = 0;
  /** Files as the client has them, by what they are called. */
  const FILES = {
    small: Buffer.from('x'),
    'a name with\nodd *bytes*': randomBytes(3000),
    'folder/large': randomBytes(3 * 1024 * 1024 + 17),
    'folder/twin': randomBytes(100),
    'folder/empty': Buffer.alloc(0),
    changes: Buffer.from('first'),
    'only in the first': Buffer.from('gone soon'),
  };

  before(async () => {
    world = await World.make();
    mkdirSync(join(world.data, 'folder'));
    for (const [name, content] of Object.entries(FILES)) put(name, content);
    linkSync(join(world.data, 'folder/twin'), join(world.data, 'folder/other twin'));
    symlinkSync('folder/large', join(world.data, 'a link'));
    await backUp();
    rmSync(join(world.data, 'only in the first'));
    put('changes', 'second');
    put('new in the second', randomBytes(500));
    await backUp();
    await backUp();
    names = world.snapshots();
    assert.equal(names.length, 3);
  });
  after(async () => {
    await world.dispose();
  });

  function put(name: string, content: string | Buffer): void {
    const path = join(world.data, name);
    writeFileSync(path, content);
    chownSync(path, world.client.uid, world.client.gid);
  }

  const at = (snapshot: string, name: string): string => join(world.tree(snapshot), world.data, name);
  const beside = (snapshot: string, name: string): string => join(world.shelf, 'snapshots', snapshot, name);
  const manifest = (snapshot: string): string => beside(snapshot, 'manifest.mtree.gz');

  /** A backup, and the manifest that is made when the client has hung up. */
  async function backUp(): Promise<void> {
    const { status, stderr, last } = await world.backup();
    assert.equal(status, 0, stderr);
    assert.ok(existsSync(manifest(last.snapshot ?? '')), 'its manifest is made');
  }

  function ask(...args: string[]): Promise<Result> {
    return world.run(world.host, ['verify', ...args, '--config', world.hostToml]);
  }

  async function verify(...args: string[]): Promise<Verified & { status: number | null; stderr: string }> {
    const { status, stdout, stderr } = await ask(world.name, '--json', ...args);
    assert.notEqual(stdout, '', stderr);
    const [result] = JSON.parse(stdout) as [Verified];
    return { ...result, status, stderr };
  }

  /** What is named, without the folders above the data. */
  const named = (result: Verified): [string, string[], string[]][] =>
    result.damaged
      .filter(each => each.path.startsWith(`${world.data}/`))
      .map(each => [each.path.slice(world.data.length + 1), each.differences, each.snapshots]);

  /** Changes one bit and nothing else: size and time stay. @returns what changes it back */
  function flip(path: string, offset: number, bit: number): () => void {
    flips += 1;
    const times = `${world.base}/times ${flips}`;
    execFileSync('touch', ['--reference', path, '--', times]);
    const change = (): void => {
      const descriptor = openSync(path, 'r+');
      const byte = Buffer.alloc(1);
      readSync(descriptor, byte, 0, 1, offset);
      byte[0] = (byte[0] ?? 0) ^ (1 << bit);
      writeSync(descriptor, byte, 0, 1, offset);
      closeSync(descriptor);
      execFileSync('touch', ['--reference', times, '--', path]);
    };
    change();
    return change;
  }

  async function everythingIsWell(): Promise<Verified> {
    const result = await verify();
    assert.deepEqual(result.damaged, []);
    assert.deepEqual(result.records, []);
    assert.equal(result.status, 0, result.stderr);
    assert.deepEqual(result.snapshots, names);
    return result;
  }

  itShort('finds all well, and reads each inode once', async () => {
    const { made, files_read: read, bytes_read: bytes, resumed } = await everythingIsWell();
    assert.deepEqual(made, []);
    assert.equal(resumed, false);
    const inodes = new Map<number, number>();
    for (const name of names) {
      const paths = execFileSync('find', [world.tree(name), '-type', 'f', '-print0']);
      for (const path of paths.toString('latin1').split('\0').slice(0, -1)) {
        const { ino, size } = lstatSync(Buffer.from(path, 'latin1'));
        inodes.set(ino, size);
      }
    }
    assert.equal(read >= inodes.size && read <= inodes.size + 1, true, `${read} of ${inodes.size}`);
    const all = [...inodes.values()].reduce((one, other) => one + other, 0);
    assert.ok(bytes <= all + 100, `${bytes} of ${all}`);
  });

  itShort('is a manifest that says what is there, and its sums are as sha256sum takes them', () => {
    for (const name of names) {
      execFileSync('/usr/bin/sha256sum', ['--strict', '--check', 'sha256sums'], {
        cwd: beside(name, '.'),
        stdio: 'pipe',
      });
      const text = execFileSync('/bin/gzip', ['-dc', manifest(name)]).toString('latin1');
      const count = execFileSync('find', [world.tree(name), '-printf', 'x']).length;
      assert.match(text, new RegExp(`^#mtree\n(.*\n)*# end, ${count} entries\n$`));
      // The true owner, not the store's.
      assert.match(
        text,
        new RegExp(`/small type=file mode=0644 uid=${world.client.uid} gid=${world.client.gid} size=1 `),
      );
    }
  });

  itShort('names each file of which one bit has changed, and every snapshot that shares it', async () => {
    const [first = '', second = '', third = ''] = names;
    const where: [string, string, number][] = [
      [first, 'small', 0],
      [first, 'a name with\nodd *bytes*', 2999],
      [first, 'folder/large', 0],
      [first, 'changes', 4],
      [second, 'changes', 2],
      [first, 'only in the first', 3],
      [first, 'folder/twin', 50],
      [second, 'new in the second', 250],
      [first, 'a link', 5],
    ];
    const back = where.map(([snapshot, name, offset], bit) => flip(at(snapshot, name), offset, bit % 8));
    const result = await verify();
    assert.equal(result.status, 1);
    assert.deepEqual(
      named(result),
      [
        ['a link', ['content'], names],
        ['a name with\nodd *bytes*', ['content'], names],
        ['changes', ['content'], [first]],
        ['changes', ['content'], [second, third]],
        ['folder/large', ['content'], names],
        ['folder/other twin', ['content'], names],
        ['folder/twin', ['content'], names],
        ['new in the second', ['content'], [second, third]],
        ['only in the first', ['content'], [first]],
        ['small', ['content'], names],
      ].sort((one, other) => Buffer.compare(Buffer.from(String(one[0])), Buffer.from(String(other[0])))),
    );
    assert.equal(result.damaged.length, named(result).length, 'and nothing else');
    assert.equal(result.stderr.match(/^ {2}acorn: /gm)?.length, result.damaged.length, result.stderr);
    assert.match(result.stderr, matching`${says('cannot-confirm-that-the-store')}: \d+ damaged\n`);
    assert.match(result.stderr, new RegExp(`folder/large: other content; in ${names.join(', ')}\n`));
    // One snapshot alone: those that share it are named all the same.
    const { status, stdout } = await ask(`${world.name}@${third}`, '--json');
    assert.equal(status, 1);
    const [only] = JSON.parse(stdout) as [Verified];
    assert.deepEqual(only.snapshots, [third]);
    assert.deepEqual(named(only).find(([name]) => name === 'small')?.[2], names);
    for (const change of back) change();
    await everythingIsWell();
  });

  itShort('a changed attribute, a missing file, one too many, another time, another size', async () => {
    const [first = '', second = '', third = ''] = names;
    const stat = execFileSync('/usr/bin/getfattr', [
      '-n',
      'user.rsync.%stat',
      '--only-values',
      at(first, 'small'),
    ]);
    const set = (value: string | Buffer): void =>
      void execFileSync('/usr/bin/setfattr', [
        '-n',
        'user.rsync.%stat',
        '-v',
        value.toString(),
        at(first, 'small'),
      ]);
    set(stat.toString().replace('100644', '104755'));
    renameSync(at(second, 'new in the second'), `${world.base}/kept`);
    put('extra', 'x');
    renameSync(join(world.data, 'extra'), at(third, 'extra'));
    const result = await verify();
    assert.equal(result.status, 1);
    const found = named(result);
    assert.deepEqual(
      found.find(([name]) => name === 'small'),
      ['small', ['attributes'], names],
    );
    assert.deepEqual(
      found.find(([name]) => name === 'new in the second'),
      ['new in the second', ['missing'], [second]],
    );
    assert.deepEqual(
      found.find(([name]) => name === 'extra'),
      ['extra', ['extra'], [third]],
    );
    // The two folders whose entries were changed have another time now: that is all that is left.
    const folders = result.damaged.filter(each => each.path === world.data);
    assert.deepEqual(
      folders.map(each => [each.differences, each.snapshots]),
      [[['time'], [second, third]]],
    );
    assert.equal(result.damaged.length, 4);
    set(stat);
    const was = (snapshot: string, action: () => void): void => {
      action();
      execFileSync('touch', ['--reference', at(first, '.'), '--', at(snapshot, '.')]);
    };
    // Their times come back out of the source, which was not changed since the last backup but by `extra`.
    was(second, () => renameSync(`${world.base}/kept`, at(second, 'new in the second')));
    was(third, () => rmSync(at(third, 'extra')));
    setTimes(second);
    setTimes(third);
    await everythingIsWell();

    // Longer, and of another time; both of an inode that the last two share.
    const path = at(third, 'new in the second');
    execFileSync('touch', ['--reference', path, '--', `${world.base}/times`]);
    truncateSync(path, 501);
    assert.deepEqual(named(await verify()), [
      ['new in the second', ['content', 'size', 'time'], [second, third]],
    ]);
    truncateSync(path, 500);
    execFileSync('touch', ['--reference', `${world.base}/times`, '--', path]);
    await everythingIsWell();
  });

  /** Sets a folder's time to what the manifest says of it. */
  function setTimes(snapshot: string): void {
    const text = execFileSync('/bin/gzip', ['-dc', manifest(snapshot)]).toString('latin1');
    const written = world.data.slice(1).replaceAll(' ', '\\040');
    const line = text.split('\n').find(each => each.startsWith(`./${written} `));
    const time = / time=(\S+) /.exec(line ?? '')?.[1];
    execFileSync('touch', ['--date', `@${time}`, '--', at(snapshot, '.')]);
  }

  it('a damaged manifest or record is named as such, and no file is blamed for it', async () => {
    const [first = '', second = ''] = names;
    const size = lstatSync(manifest(first)).size;
    // The header, which no checksum of gzip covers; the data; the checksum; the length.
    for (const offset of some([4, 9, 30, size >> 1, size - 8, size - 1], 3)) {
      const back = flip(manifest(first), offset, offset % 8);
      const result = await verify();
      assert.equal(result.status, 1, `byte ${offset}`);
      assert.deepEqual(result.damaged, []);
      assert.deepEqual(
        result.records.map(each => [each.snapshot, each.name]),
        [[first, 'manifest.mtree.gz']],
      );
      assert.match(result.stderr, new RegExp(`acorn: manifest.mtree.gz of ${first}: `));
      back();
    }
    for (const name of ['snapshot.json', 'sha256sums']) {
      const back = flip(beside(second, name), 20, 3);
      const result = await verify();
      assert.equal(result.status, 1, name);
      assert.deepEqual(result.damaged, []);
      assert.equal(result.records[0]?.snapshot, second);
      back();
    }
    await everythingIsWell();
  });

  itShort('a sample takes another part each time, until all had their turn', async () => {
    const [first = ''] = names;
    const back = flip(at(first, 'small'), 0, 0);
    const results = [];
    for (let turn = 0; turn < 4; turn += 1) results.push(await verify('--sample', '25%'));
    assert.deepEqual(
      results.map(each => each.sample),
      [25, 25, 25, 25],
    );
    assert.deepEqual(results.map(each => each.damaged_count).sort(), [0, 0, 0, 1]);
    back();
    const whole = await everythingIsWell();
    const read = results.reduce((sum, each) => sum + each.files_read, 0);
    assert.ok(Math.abs(read - whole.files_read) <= 4, `${read} of ${whole.files_read}`);
    for (const sample of ['0%', '101%', '5', 'x', '5.5%', '-1%']) {
      const { status, stderr } = await ask(`--sample=${sample}`);
      assert.equal(status, 2, stderr);
    }
  });

  itShort('a restore of a damaged file gives it back, and says so', async () => {
    const [, , third = ''] = names;
    const back = flip(at(third, 'folder/large'), 1_000_000, 7);
    for (const party of ['root', world.host] as const) {
      const to = party === 'root' ? `${world.base}/as root` : join(world.host.home, 'restored');
      const paths = [join(world.data, 'folder'), join(world.data, 'small')];
      const { status, stdout, stderr } = await world.restore(to, [...paths, '--json'], party);
      assert.equal(status, 3, stderr);
      const result = JSON.parse(stdout) as { checked: boolean; damaged: unknown };
      assert.equal(result.checked, true);
      assert.deepEqual(result.damaged, [{ path: join(world.data, 'folder/large'), difference: 'content' }]);
      assert.match(
        stderr,
        matching`${says('cannot-give-back-as-it', 1)}\n {2}\S.*folder\/large: other content\n`,
      );
      assert.equal(lstatSync(join(to, world.data, 'folder/large')).size, FILES['folder/large'].length);
      assert.deepEqual(readFileSync(join(to, world.data, 'small')), FILES.small);
      // What is not damaged is not complained of.
      const other = await world.restore(`${to} 2`, [join(world.data, 'small'), '--json'], party);
      if (party === 'root') assert.equal(other.status, 0, other.stderr);
      assert.deepEqual((JSON.parse(other.stdout) as { damaged: unknown }).damaged, []);
    }
    back();
    const whole = await world.restore(`${world.base}/whole`, ['--json']);
    assert.equal(whole.status, 0, whole.stderr);
    // Root reads the store, and leaves nothing in it.
    const foreign = execFileSync('find', [world.store, '!', '-user', world.host.login]).toString();
    assert.equal(foreign, '');
  });

  itShort('is refused to root, and to two at once', async () => {
    const { status, stderr } = await world.run('root', ['verify', '--config', world.hostToml]);
    assert.equal(status, 2);
    assert.match(
      stderr,
      /Cannot verify in .*: the store belongs to uid \d+, and this is uid 0\nnext: runuser /,
    );
    const lock = openSync(join(world.shelf, 'verify.lock'), 'r+');
    const child = execFileSync('/usr/bin/flock', ['--exclusive', '--nonblock', '3'], {
      stdio: ['ignore', 'pipe', 'pipe', lock],
    });
    assert.equal(child.length, 0);
    const second = await ask(world.name);
    closeSync(lock);
    assert.equal(second.status, 11, second.stderr);
  });

  itShort('says when each was verified last, also after the index was lost', async () => {
    await everythingIsWell();
    const read = (): Record<string, { verified: string | null; damaged: number }> =>
      JSON.parse(readFileSync(join(world.shelf, 'verified.json'), 'utf8')).snapshots;
    const before = read();
    assert.deepEqual(Object.keys(before), names);
    for (const name of readdirSync(world.shelf))
      if (name.startsWith('index.sqlite')) rmSync(join(world.shelf, name));
    await everythingIsWell();
    for (const [name, { verified, damaged }] of Object.entries(read())) {
      assert.ok((verified ?? '') > (before[name]?.verified ?? ''));
      assert.equal(damaged, 0);
    }
    assert.ok(!existsSync(join(world.shelf, 'verify.sqlite')), 'a pass that is over leaves nothing');
  });

  itShort(
    'what has rotted is not taken for good where the index was lost before the next backup',
    async () => {
      const [first = ''] = names;
      const back = flip(at(first, 'small'), 0, 5);
      for (const name of readdirSync(world.shelf))
        if (name.startsWith('index.sqlite')) rmSync(join(world.shelf, name));
      await backUp();
      names = world.snapshots();
      assert.deepEqual(named(await verify()), [['small', ['content'], names]]);
      back();
      await everythingIsWell();
    },
  );

  itShort('a snapshot without a manifest gets one, and is verified the next time', async () => {
    const [, second = ''] = names;
    rmSync(manifest(second));
    const { status, made, snapshots } = await verify();
    assert.equal(status, 0);
    assert.deepEqual(made, [second]);
    assert.deepEqual(
      snapshots,
      names.filter(each => each !== second),
    );
    await everythingIsWell();
  });

  it('killed while it makes a manifest, it leaves none or a whole one', async () => {
    const [, second = ''] = names;
    const good = readFileSync(manifest(second));
    for (const turn of some([0, 1, 2, 3, 4, 5, 6, 7], 3)) {
      rmSync(manifest(second), { force: true });
      rmSync(join(world.shelf, 'index.sqlite'), { force: true });
      const started = world.start(world.host, world.binary, [
        'manifest',
        '--client',
        world.name,
        '--config',
        world.hostToml,
      ]);
      const pauseMs = 40 + turn * 60;
      await new Promise(resolve => setTimeout(resolve, pauseMs)); // the moment of the kill, not a wait
      started.child.kill('SIGKILL');
      await started.done;
      if (existsSync(manifest(second))) assert.deepEqual(readFileSync(manifest(second)), good);
    }
    rmSync(manifest(second), { force: true });
    assert.equal((await verify()).status, 0);
    assert.deepEqual(readFileSync(manifest(second)), good);
    assert.deepEqual(readdirSync(beside(second, '.')).sort(), [
      'excludes',
      'manifest.mtree.gz',
      'sha256sums',
      'snapshot.json',
      'tree',
    ]);
    await everythingIsWell();
  });

  itLong('killed while it verifies, it goes on where it was', async () => {
    // The last one has so much to read that there is time for a kill: a hole takes no room.
    const [first = ''] = names;
    const hole = '2099-01-01T00-00-00Z';
    const tree = world.tree(hole);
    mkdirSync(tree, { recursive: true });
    writeFileSync(join(tree, 'hole'), '');
    truncateSync(join(tree, 'hole'), 1024 ** 3);
    execFileSync('/bin/chown', ['-R', `${world.host.uid}:${world.host.gid}`, dirname(tree)]);
    chmodSync(dirname(tree), 0o700);
    assert.deepEqual((await verify()).made, [hole]);
    names = world.snapshots();
    const whole = await everythingIsWell();

    const back = flip(at(first, 'only in the first'), 0, 1);
    const running = world.start(world.host, world.binary, [
      'verify',
      world.name,
      '--json',
      '--config',
      world.hostToml,
    ]);
    const done = (): number => {
      try {
        using database = new DatabaseSync(join(world.shelf, 'verify.sqlite'), { readOnly: true });
        return (database.prepare('SELECT count(*) AS count FROM done').get() as { count: number }).count;
      } catch {
        return 0; // not there yet
      }
    };
    await until('all but the last are done', () => done() === names.length - 1, 60_000);
    running.child.kill('SIGKILL');
    assert.equal((await running.done).signal, 'SIGKILL');
    const rest = await verify();
    assert.equal(rest.resumed, true);
    assert.equal(rest.files_read, 1, `of ${whole.files_read}`);
    assert.deepEqual(rest.snapshots, names);
    assert.deepEqual(named(rest), [['only in the first', ['content'], [first]]]);
    back();
    assert.equal((await everythingIsWell()).resumed, false);
    rmSync(dirname(tree), { recursive: true });
    names = world.snapshots();
    await everythingIsWell();
  });
});
