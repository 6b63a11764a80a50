// Goal: a drill restores random files and folders by the code of restore, names each file that the store cannot give back as it was,
// and leaves nothing in the store but its result, which `status` shows. A killed drill's folder is removed by the next one.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { DrillRecord } from '../../../src/store/drill-record.ts';
import { IS_LONG, itLong, itShort, some } from '../../support/long.ts';
import { diffManifests, manifest } from '../../support/manifest.ts';
import { Follower, nextOf } from '../../support/steps.ts';
import { matching, matchingLines, says, wording } from '../../support/wording.ts';
import { NEEDS_ROOT, type Result, until, World } from '../../support/world.ts';

describe('a drill', { skip: NEEDS_ROOT }, () => {
  let world: World;
  let follower: Follower;

  before(async () => {
    world = await World.make();
    follower = new Follower(world);
    const at = (name: string): string => join(world.data, name);
    for (const name of ['small', 'damaged', 'with\na newline', 'lost'])
      world.write(world.client, at(name), name);
    world.write(world.client, at('medium'), Buffer.alloc(100_000, 'm'));
    world.write(world.client, at('large'), Buffer.alloc(48 * 1024 * 1024, 'x'));
    symlinkSync('small', at('link'));
    // Root's on the client. An ordinary account cannot give these back, and that is no damage.
    writeFileSync(at('setuid'), 'setuid', { mode: 0o755 });
    chmodSync(at('setuid'), 0o4755);
    execFileSync('setcap', ['cap_net_raw+ep', at('setuid')]);
    execFileSync('mknod', [at('device'), 'c', '1', '5']);
    execFileSync('mkfifo', [at('fifo')]);
    mkdirSync(at('closed'));
    world.write(world.client, at('closed/in it'), 'in it', 0o400);
    chmodSync(at('closed'), 0o500);
    world.own(world.client, at('closed'));
    assert.equal((await world.backup()).status, 0);
  });
  after(async () => {
    await world.dispose();
  });

  const words = (more: string[] = []): string[] => ['drill', '--config', world.hostToml, ...more];
  const drill = async (...more: string[]): Promise<Result> => await world.run(world.host, words(more));
  /** All that can be chosen. */
  const all = async (...more: string[]): Promise<Result> => await drill('--sample', '1000', ...more);
  const tmp = (): string => join(world.store, 'tmp');
  const folders = (): string[] =>
    existsSync(tmp()) ? readdirSync(tmp()).filter(name => name.startsWith('drill-')) : [];
  const record = (): DrillRecord =>
    JSON.parse(readFileSync(join(world.shelf, 'drill.json'), 'utf8')) as DrillRecord;
  const status = async (...more: string[]): Promise<Result> =>
    await world.run(world.host, ['status', '--config', world.hostToml, ...more]);
  const drillOf = async (): Promise<DrillRecord | null> => {
    const [only] = JSON.parse((await status('--json')).stdout) as { last_drill: DrillRecord | null }[];
    assert.ok(only);
    return only.last_drill;
  };
  const isHeld = (path: string): boolean =>
    readFileSync('/proc/locks', 'utf8').includes(`:${lstatSync(path).ino} `);
  /** A path in the newest tree. */
  const stored = (name: string): string => {
    const [snapshot = ''] = world.snapshots();
    return join(world.tree(snapshot), world.data, name);
  };

  itShort('is not required: without one, status reports no problem', async () => {
    const { status: exit, stdout } = await status();
    assert.equal(exit, 0, stdout);
    assert.match(stdout, /never/);
    assert.equal(await drillOf(), null);
  });

  it('gives everything back, changes nothing in the snapshots, and is recorded', async () => {
    const before = manifest(join(world.shelf, 'snapshots'));
    const { status: exit, stdout, stderr } = await all();
    assert.equal(exit, 0, stderr);
    assert.equal(stderr, '');
    assert.match(
      stdout,
      matching`^${says('drill-result', 'acorn', /\d+/, /\d+/, /\S+/, 11, '48.1 MiB', wording('drill-without-problems'))}\n$`,
    );
    assert.deepEqual(diffManifests(before, manifest(join(world.shelf, 'snapshots'))), []);
    assert.deepEqual(
      folders(),
      ['drill.lock'].filter(name => name.startsWith('drill-')),
    );
    const { problems, failed, files, at, succeeded } = record();
    assert.deepEqual([problems, failed, files, succeeded], [0, null, 11, at]);
    assert.equal(lstatSync(join(world.shelf, 'drill.json')).mode & 0o777, 0o600);
    const shown = await status();
    assert.equal(shown.status, 0, shown.stdout);
    assert.ok(shown.stdout.includes(at.slice(0, 10)), shown.stdout);
    assert.deepEqual({ version: 1, ...(await drillOf()) }, record());
  });

  it('chooses as many entries as asked for, and no file above the limit', async () => {
    for (let round = 0; round < (IS_LONG ? 2 : 1); round += 1) {
      const {
        status: exit,
        stdout,
        stderr,
      } = await drill(world.name, '--sample', '2', '--max-bytes', '1M', '--json');
      assert.equal(exit, 0, stderr);
      const [only] = JSON.parse(stdout) as { chosen: number; too_large: number; bytes: number }[];
      assert.ok(only);
      assert.deepEqual([only.chosen, only.too_large], [2, 1]);
      assert.ok(only.bytes <= 1024 ** 2);
    }
  });

  /** Changes the store, drills all of it, and puts it right again. */
  async function damagedBy(change: () => () => void, problem: RegExp): Promise<void> {
    const undo = change();
    try {
      const result = await all();
      assert.equal(result.status, 3, result.stderr);
      assert.match(result.stderr, problem);
      const step = nextOf(result).replace(/ \(it tells .*\)$/, '');
      const verified = await follower.shell(world.host, step);
      assert.equal(verified.status, 1, step);
      assert.match(verified.stderr, matching`${says('cannot-confirm-that-the-store')}: [12] damaged`);
      assert.deepEqual(folders(), []);
      const shown = await status();
      assert.equal(shown.status, 2, shown.stdout);
      assert.match(
        shown.stdout,
        matchingLines`^critical .*\n(?:.*\n)*acorn: ${says('drill-was-incomplete', /\S+/, '1 problem')}\n`,
      );
      const last = await drillOf();
      assert.ok(last?.succeeded && last.succeeded < last.at, 'the last success is known');
    } finally {
      undo();
    }
    // doctor knows the same, and its next step shows that all is well again.
    await follower.follow(
      world.host,
      await follower.nextOf(world.host, 'host.drills', says('drill-was-incomplete')),
    );
    assert.ok(!(await follower.doctor(world.host)).some(each => each.check === 'host.drills'));
    assert.equal((await follower.shell(world.host, 'dialback verify')).status, 0);
    assert.equal((await status()).status, 0);
  }

  /** Changes something and gives a path its old time to the nanosecond, so that only the change can be noticed. */
  function keepingTime(path: string, change: () => unknown): void {
    const reference = join(world.base, 'time');
    execFileSync('touch', ['-r', path, reference]);
    change();
    execFileSync('touch', ['-r', reference, path]);
  }

  itShort('names a file with other content', async () => {
    const put = (content: string): void =>
      keepingTime(stored('damaged'), () => writeFileSync(stored('damaged'), content));
    await damagedBy(() => {
      put('DAMAGED');
      return () => put('damaged');
    }, /^ {2}\S+ test-\S+ data\/damaged: other content$/m);
  });

  itLong('names a file that is missing', async () => {
    const moved = join(world.shelf, 'lost');
    await damagedBy(() => {
      keepingTime(stored('.'), () => renameSync(stored('lost'), moved));
      return () => keepingTime(stored('.'), () => renameSync(moved, stored('lost')));
    }, /^ {2}\S+ test-\S+ data\/lost: missing$/m);
  });

  itLong(
    'names a file with another owner and mode, which an ordinary account could not restore',
    async () => {
      const get = ['--absolute-names', '--only-values', '-n', 'user.rsync.%stat', stored('setuid')];
      const old = execFileSync('getfattr', get, { encoding: 'utf8' });
      const put = (value: string): unknown =>
        execFileSync('setfattr', ['-n', 'user.rsync.%stat', '-v', value, stored('setuid')]);
      await damagedBy(() => {
        put('100755 0,0 0:0');
        return () => void put(old);
      }, /^ {2}\S+ test-\S+ data\/setuid: other attributes$/m);
    },
  );

  itShort('warns when the last drill is old', async () => {
    const path = join(world.shelf, 'drill.json');
    const text = readFileSync(path, 'utf8');
    const old = new Date(Date.now() - 36 * 86_400_000).toISOString();
    writeFileSync(path, text.replaceAll(record().at, old));
    const { status: exit, stdout } = await status();
    assert.equal(exit, 1, stdout);
    assert.match(stdout, matching`acorn: ${says('drill-is-old', /\S+/, 35)}`);
    assert.equal((await drill()).status, 0);
    assert.equal((await status()).status, 0);
  });

  /** Starts a drill and waits until it writes into its folder, which no other account can enter. */
  async function writing(): Promise<ReturnType<World['start']>> {
    const running = world.start(world.host, world.binary, words(['--sample', '1000']));
    await until('it writes', () =>
      folders().some(name =>
        readdirSync(join(tmp(), name)).some(stage => existsSync(join(tmp(), name, stage, 'tree'))),
      ),
    );
    const [folder = ''] = folders();
    assert.equal((lstatSync(join(tmp(), folder)).mode & 0o777).toString(8), '700');
    return running;
  }

  for (const signal of some(['SIGTERM', 'SIGINT', 'SIGHUP'] as const, 3))
    it(`leaves nothing when it is ended by ${signal}`, async () => {
      const before = record();
      const running = await writing();
      running.child.kill(signal);
      assert.equal((await running.done).status, 130);
      assert.deepEqual(folders(), []);
      assert.deepEqual(record(), before);
    });

  itShort('removes what a killed one has left, and nothing else', async () => {
    const running = await writing();
    running.child.kill('SIGKILL');
    assert.equal((await running.done).signal, 'SIGKILL');
    assert.equal(folders().length, 1);
    const others = ['drill-', 'drill-too-long', 'other'].map(name => join(tmp(), name));
    for (const path of others) mkdirSync(path);
    mkdirSync(join(tmp(), 'drill-abc123')); // root's
    const { status: exit, stderr } = await drill();
    assert.equal(exit, 0, stderr);
    assert.deepEqual(folders().sort(), ['drill-', 'drill-abc123', 'drill-too-long']);
    for (const path of [...others, join(tmp(), 'drill-abc123')]) execFileSync('rmdir', [path]);
  });

  itShort('is refused beside another one, to another account, and without a client', async () => {
    const lock = join(tmp(), 'drill.lock');
    const holder = world.start(world.host, '/usr/bin/flock', [lock, 'cat'], { keepsInput: true });
    try {
      await until('the lock is held', () => isHeld(lock));
      const { status: exit, stderr } = await drill();
      assert.equal(exit, 11, stderr);
      assert.match(stderr, says('drill-under-way'));
    } finally {
      holder.child.stdin?.end();
      await holder.done;
    }
    const asRoot = await world.run('root', words());
    assert.equal(asRoot.status, 2, asRoot.stderr);
    assert.match(asRoot.stderr, /next: .*dialback drill/);
    assert.equal((await drill('birch')).status, 1);
  });

  itLong('does not start without room, and says so in status', async () => {
    const toml = readFileSync(world.hostToml, 'utf8');
    world.write(world.host, world.hostToml, `${toml}[space]\nmin_free = "900T"\n`);
    const { status: exit, stderr } = await drill(world.name);
    assert.equal(exit, 14, stderr);
    assert.match(
      stderr,
      matching`${says('bytes-are-free-and-min')} \d+\nnext: dialback prune; ${says('or-a-larger-disk')}\n`,
    );
    assert.equal((await drill()).status, 1);
    world.write(world.host, world.hostToml, toml);
    const shown = await status();
    assert.equal(shown.status, 1, shown.stdout);
    assert.match(shown.stdout, matching`acorn: ${says('drill-not-done', /\S+/, 'Cannot drill "acorn": ')}`);
    assert.equal((await drill()).status, 0);
  });

  itLong('makes a missing manifest, and fails where it cannot be trusted', async () => {
    const [snapshot = ''] = world.snapshots();
    const path = join(world.shelf, 'snapshots', snapshot, 'manifest.mtree.gz');
    const whole = readFileSync(path);
    truncateSync(path, whole.length - 20);
    const { status: exit, stdout, stderr } = await drill();
    assert.equal(exit, 1, stderr);
    assert.equal(stdout, 'acorn: not drilled\n');
    assert.match(stderr, matching`${says('manifest-not-trusted', 'acorn')}\nnext: dialback drill acorn\n`);
    execFileSync('rm', [path]);
    assert.equal((await drill()).status, 0);
    assert.ok(existsSync(path));
    execFileSync('rm', [path]);
    const lock = join(world.shelf, 'manifest.lock');
    const holder = world.start(world.host, '/usr/bin/flock', [lock, 'cat'], { keepsInput: true });
    try {
      await until('the lock is held', () => isHeld(lock));
      const refused = await drill(world.name);
      assert.equal(refused.status, 1);
      assert.match(
        refused.stderr,
        matching`${says('no-manifest-to-compare', wording('manifest-under-way'))}\n`,
      );
      holder.child.stdin?.end();
      await holder.done;
      await follower.follow(world.host, nextOf(refused));
    } finally {
      holder.child.stdin?.end();
    }
    assert.equal((await drill(world.name)).status, 0);
  });
});
