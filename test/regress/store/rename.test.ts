// Goal: `rename` gives a client another name without losing a snapshot, whenever it is killed, and the next run links against the old
// snapshots; `retire` keeps the snapshots of a client for the stated time, and `enroll` undoes it.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { describeShort, itLong, itShort } from '../../support/long.ts';
import { diffManifests, type Manifest, manifest } from '../../support/manifest.ts';
import { tracedChanges } from '../../support/traced-changes.ts';
import { NEEDS_ROOT, type Result, until, World } from '../../support/world.ts';

/** System calls that change the disk: a kill comes right before one of them. */
const CHANGES = 'rename,renameat,renameat2,unlink,unlinkat,mkdir,openat,write,fsync';
/** The backups before a rename. */
const RUNS = 2;
const RETENTION = '[retention]\nlast = 1\nmin_keep = 0\nmin_age = "0s"\n';

describe('a client with another name', { skip: NEEDS_ROOT }, () => {
  let world: World;
  let template: string;
  let names: string[];
  const trees = new Map<string, Manifest>();
  /** The same with the inodes, which a copy of the store does not have. */
  const inodes = new Map<string, Manifest>();
  before(async () => {
    world = await World.make();
    for (let run = 0; run < RUNS; run += 1) {
      for (let file = run; file < 6; file += 1)
        writeFileSync(join(world.data, `file ${file}`), `${run} ${file}`);
      execFileSync('chown', ['-R', `${world.client.uid}:${world.client.gid}`, world.data]);
      assert.equal((await world.backup()).status, 0);
    }
    await until('all has ended', () => world.processes().length === 0);
    names = world.snapshots();
    assert.equal(names.length, RUNS);
    for (const name of names) {
      trees.set(name, manifest(world.tree(name)));
      inodes.set(name, manifest(world.tree(name), { includeInode: true }));
    }
    const pin = await host('pin', `${world.name}@${names[0]}`, '--reason', 'before');
    assert.equal(pin.status, 0, pin.stderr);
    // The rules for all clients would keep one snapshot, those of this client keep all.
    world.write(
      world.host,
      world.hostToml,
      `store = "${world.store}"\nsyslog = false\n${RETENTION}[client.${world.name}.retention]\nlast = 9\n[client.${world.name}]\nmax_age = "9d"\n`,
    );
    template = join(world.base, 'template');
    for (const each of [world.host.home]) execFileSync('cp', ['-a', each, template]);
  });
  after(async () => {
    await world?.dispose();
  });

  const host = async (...args: string[]): Promise<Result> =>
    await world.run(world.host, [...args, '--config', world.hostToml]);
  const rename = async (from: string, to: string): Promise<Result> =>
    await host('rename', from, to, '--authorized-keys', world.authorizedKeys);
  const shelfOf = (name: string): string => join(world.store, 'clients', name);
  const keyLines = (): string => readFileSync(world.authorizedKeys, 'utf8');

  /** All snapshots are there under one of the names, with the same inodes. */
  function requireWhole(when: string, expected = trees): void {
    const clients = readdirSync(join(world.store, 'clients'));
    assert.equal(clients.length, 1, `${when}: ${clients}`);
    const folder = join(shelfOf(clients[0] ?? ''), 'snapshots');
    const there = readdirSync(folder).sort().slice(0, RUNS);
    assert.deepEqual(there, names, when);
    for (const name of names) {
      const now = manifest(join(folder, name, 'tree'), { includeInode: expected === inodes });
      assert.deepEqual(diffManifests(expected.get(name) ?? assert.fail(), now), [], `${when}: ${name}`);
    }
    assert.ok(existsSync(join(folder, names[0] ?? '', 'pinned')), `${when}: the pin`);
  }

  itShort('has all that it had, and its next run links against the old snapshots', async () => {
    const offered = await host('offer', world.name);
    assert.equal(offered.status, 0, offered.stderr);
    const { status, stdout, stderr } = await rename(world.name, 'desk');
    assert.equal(status, 0, stderr);
    assert.match(stdout, /^renamed "acorn" to "desk": 2 snapshots/);
    requireWhole('renamed', inodes);
    assert.match(keyLines(), / grab --client desk --config /);
    assert.doesNotMatch(keyLines(), /acorn/);
    const toml = readFileSync(world.hostToml, 'utf8');
    assert.match(toml, /^\[client\.desk\.retention\]$/m);
    assert.doesNotMatch(toml, /acorn/);
    assert.equal(statSync(world.hostToml).mode & 0o777, 0o600);
    assert.equal(existsSync(join(world.store, 'renaming.json')), false);
    assert.match((await host('offer', 'desk', '--list')).stdout, /open/);

    // The client still uses the old name.
    const old = await world.run(world.client, ['backup', '--config', world.clientToml]);
    assert.equal(old.status, 12, old.stderr);
    world.configure({ top: 'name = "desk"' });
    const run = await world.run(world.client, ['backup', '--json', '--config', world.clientToml]);
    assert.equal(run.status, 0, run.stderr);
    await world.settled();
    const made =
      readdirSync(join(shelfOf('desk'), 'snapshots'))
        .sort()
        .at(-1) ?? '';
    const record = JSON.parse(
      readFileSync(join(shelfOf('desk'), 'snapshots', made, 'snapshot.json'), 'utf8'),
    ) as { basis: string; counts: { new: number; linked: number } };
    assert.equal(record.basis, names.at(-1));
    assert.equal(record.counts.new, 0);
    assert.ok(record.counts.linked >= 6);
    assert.equal((await host('verify', 'desk')).status, 0);
    const [state] = JSON.parse((await host('status', '--json')).stdout) as { client: string }[];
    assert.equal(state?.client, 'desk');
    assert.match((await host('metrics')).stdout, /client="desk"/);
    assert.match((await host('prune', '--dry-run', '-v')).stdout, /last 9/);
  });

  itShort('is refused for a name that is in use, and while it has a run', async () => {
    assert.equal((await rename('desk', 'desk')).status, 2);
    assert.equal((await rename('desk', 'Desk')).status, 2);
    assert.equal((await rename('nobody', 'desk2')).status, 1);
    const key = readFileSync(join(world.host.home, 'sshd/key.pub'), 'utf8');
    assert.equal((await world.enroll('other', key)).status, 0);
    for (const [from, to] of [
      ['desk', 'other'],
      ['other', 'desk'],
    ] as const)
      assert.equal((await rename(from, to)).status, 12);
    rmSync(shelfOf('other'), { recursive: true });
    const taken = await rename('desk', 'other');
    assert.equal(taken.status, 12);
    assert.match(taken.stderr, /next: .*unenroll other/);

    world.configure({ top: 'name = "desk"', limits: 'bwlimit = "100K"' });
    writeFileSync(join(world.data, 'large'), Buffer.alloc(300_000, 'x'));
    const run = world.start(world.client, world.binary, ['backup', '--config', world.clientToml]);
    await until('something arrives', () => readdirSync(join(shelfOf('desk'), 'arriving')).length > 0);
    const busy = await rename('desk', 'table');
    assert.equal(busy.status, 11, busy.stderr);
    assert.equal(existsSync(join(world.store, 'renaming.json')), false);
    assert.equal((await run.done).status, 0);
    await world.settled();
  });

  /** Everything as it was before the first rename. */
  function reset(): void {
    for (const each of [world.store, world.hostToml, world.authorizedKeys])
      rmSync(each, { recursive: true, force: true });
    for (const each of [world.store, world.hostToml, world.authorizedKeys])
      execFileSync('cp', ['-a', each.replace(world.host.home, template), each]);
    rmSync(`${world.host.home}/.ssh/.dialback-lock`, { force: true });
  }

  async function traced(strace: string[]): Promise<Result> {
    const command = ['rename', world.name, 'desk', '--config', world.hostToml];
    const words = ['-f', '-qq', '--seccomp-bpf', ...strace, '--', world.binary, ...command];
    return await world.start(world.host, '/usr/bin/strace', [
      ...words,
      ...['--authorized-keys', world.authorizedKeys],
    ]).done;
  }

  itLong(
    'is completed by the same command, whenever it is killed, and no snapshot goes meanwhile',
    async () => {
      reset();
      const log = join(world.host.home, 'trace');
      const whole = await traced(['-e', `trace=${CHANGES}`, '-o', log]);
      assert.equal(whole.status, 0, whole.stderr);
      const calls = tracedChanges(readFileSync(log, 'latin1'));
      const first = calls.findIndex(({ rest }) => rest.includes('renaming.json'));
      assert.ok(first >= 0 && calls.length - first > 12, JSON.stringify(calls));
      let resumed = 0;
      for (const { at } of calls.slice(first)) {
        reset();
        await traced(['-e', `inject=${at}`, '-o', '/dev/null']);
        requireWhole(at);
        const isBegun = existsSync(join(world.store, 'renaming.json'));
        const pruned = await host('prune');
        assert.equal(pruned.status, 0, pruned.stderr);
        requireWhole(`${at}, pruned`);
        if (isBegun) {
          const key = readFileSync(join(world.host.home, 'sshd/key.pub'), 'utf8');
          const enrolled = await world.enroll(world.name, key);
          assert.equal(enrolled.status, 12, at);
          const other = await rename(world.name, 'table');
          assert.equal(other.status, 12, at);
          for (const { stderr } of [enrolled, other])
            assert.match(stderr, /next: dialback rename acorn desk\n/);
          resumed += 1;
        }
        const again = await rename(world.name, 'desk');
        const isDone = again.status === 1 && existsSync(shelfOf('desk'));
        assert.ok(again.status === 0 || isDone, `${at}: ${again.stderr}`);
        requireWhole(`${at}, resumed`);
        assert.deepEqual(readdirSync(join(world.store, 'clients')), ['desk'], at);
        assert.doesNotMatch(keyLines() + readFileSync(world.hostToml, 'utf8'), /acorn/, at);
        assert.equal(existsSync(join(world.store, 'renaming.json')), false, at);
      }
      assert.ok(resumed > 0);
    },
  );
});

describeShort('a retired client', { skip: NEEDS_ROOT }, () => {
  let world: World;
  before(async () => {
    world = await World.make();
    for (let file = 0; file < 40; file += 1)
      writeFileSync(join(world.data, `same ${file}`), 'x'.repeat(5000));
    for (const content of ['one', 'two']) {
      writeFileSync(join(world.data, 'file'), content);
      assert.equal((await world.backup()).status, 0);
    }
    // A run that changes everything pins the snapshot before it.
    for (const name of world.snapshots())
      assert.equal((await host('unpin', `${world.name}@${name}`)).status, 0);
    world.write(
      world.host,
      world.hostToml,
      `store = "${world.store}"\nsyslog = false\nmax_age = "1s"\n${RETENTION}`,
    );
  });
  after(async () => {
    await world?.dispose();
  });

  const host = async (...args: string[]): Promise<Result> =>
    await world.run(world.host, [...args, '--config', world.hostToml]);
  const retire = async (...args: string[]): Promise<Result> =>
    await host('retire', world.name, '--authorized-keys', world.authorizedKeys, ...args);
  const key = (): string => readFileSync(join(world.client.home, '.ssh/id_ed25519.pub'), 'utf8');

  it('is refused, is no alarm, and keeps all snapshots for the stated time', async () => {
    const { status, stdout, stderr } = await retire('--keep', '365d', '--json');
    assert.equal(status, 0, stderr);
    const told = JSON.parse(stdout) as {
      changed: boolean;
      kept_until: string;
      since: string;
      snapshots: number;
    };
    assert.equal(told.changed, true);
    assert.equal(told.snapshots, 2);
    assert.equal(Date.parse(told.kept_until) - Date.parse(told.since), 365 * 86_400_000);
    assert.equal((await world.backup()).status, 12);
    const again = JSON.parse((await retire('--keep', '365d', '--json')).stdout) as typeof told;
    assert.deepEqual([again.changed, again.kept_until], [false, told.kept_until]);

    const [state] = JSON.parse((await host('status', '--json')).stdout) as Record<string, unknown>[];
    assert.equal(state?.level, 'ok');
    assert.equal(state?.silent, null);
    assert.deepEqual(state?.kept, { until: told.kept_until });
    assert.match((await host('status')).stdout, /acorn: retired: .*kept until 20/);
    assert.match((await host('list')).stdout, /retired/);
    const metrics = (await host('metrics')).stdout;
    assert.match(metrics, /dialback_client_retired\{.*\} 1/);
    assert.match(metrics, /dialback_client_kept_until_timestamp_seconds\{.*\} \d{10}/);
    assert.match(metrics, /dialback_client_silent\{.*\} 0/);

    assert.equal((await host('prune')).status, 0);
    assert.equal(world.snapshots().length, 2);
    const name = `${world.name}@${world.snapshots()[0]}`;
    const removed = await host('remove', name, '--confirm', name);
    assert.equal(removed.status, 1);
    assert.match(removed.stderr, /next: dialback retire acorn --keep 0s/);
    assert.equal((await host('remove-client', world.name, '--confirm', world.name)).status, 12);
    assert.equal(world.snapshots().length, 2);
  });

  it('is left to the rules after that time', async () => {
    const record = join(world.shelf, 'retired.json');
    const retired = JSON.parse(readFileSync(record, 'utf8')) as { since: string };
    world.write(world.host, record, JSON.stringify({ ...retired, since: '2020-01-01T00:00:00.000Z' }));
    const [state] = JSON.parse((await host('status', '--json')).stdout) as Record<string, unknown>[];
    assert.equal(state?.kept, null);
    // A damaged record keeps everything.
    world.write(world.host, record, '{"version":1}');
    assert.equal((await host('prune')).status, 0);
    assert.equal(world.snapshots().length, 2);
    world.write(world.host, record, JSON.stringify({ ...retired, since: '2020-01-01T00:00:00.000Z' }));
    assert.equal((await host('prune')).status, 0);
    assert.equal(world.snapshots().length, 1);
  });

  it('comes back by enroll', async () => {
    assert.equal((await world.enroll(world.name, key())).status, 0);
    assert.equal(existsSync(join(world.shelf, 'retired.json')), false);
    const { status, last } = await world.backup();
    assert.equal(status, 0);
    assert.equal(last.outcome, 'full');
    const [state] = JSON.parse((await host('status', '--json')).stdout) as Record<string, unknown>[];
    assert.deepEqual([state?.retired, state?.kept], [null, null]);
    assert.equal((await retire()).status, 0);
    assert.match((await host('status')).stdout, /kept, without/);
    const name = `${world.name}@${world.snapshots()[0]}`;
    const refused = await host('remove', name, '--confirm', name);
    assert.match(refused.stderr, /next: dialback retire acorn --keep 0s\n/);
    assert.equal((await retire('--keep', '0s')).status, 0);
    assert.equal((await host('remove', name, '--confirm', name)).status, 0);
  });
});
