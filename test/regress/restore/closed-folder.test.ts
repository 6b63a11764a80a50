// Goal: what a client has sent gives no account of the host any power by being restored. A DIR that a restore makes is closed
// to others, one that is open is named, and --inert leaves out set-id bits, devices and file capabilities.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, lstatSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { itLong, itShort, some } from '../../support/long.ts';
import { isRefusedToOldRsync } from '../../support/own-rsync.ts';
import { matching, says, wording } from '../../support/wording.ts';
import { NEEDS_ROOT, type Result, World } from '../../support/world.ts';

describe("a restore of a hostile client's files", { skip: NEEDS_ROOT }, () => {
  let world: World;
  let number = 0;

  before(async () => {
    world = await World.make();
    const at = (name: string): string => join(world.data, name);
    world.write(world.client, at('plain'), 'content', 0o640);
    // Root's on the client: the worst that a restore by root can bring back.
    for (const name of ['setuid', 'setgid', 'capable']) writeFileSync(at(name), name, { mode: 0o755 });
    chmodSync(at('setuid'), 0o4755);
    chmodSync(at('setgid'), 0o2755);
    execFileSync('setcap', ['cap_net_raw+ep', at('capable')]);
    execFileSync('setfattr', ['-n', 'user.comment', '-v', 'a comment', at('capable')]);
    mkdirSync(at('team'));
    chmodSync(at('team'), 0o2775);
    execFileSync('mknod', [at('device'), 'c', '1', '5']);
    execFileSync('mkfifo', [at('fifo')]);
    const { status, stderr } = await world.backup();
    assert.equal(status, 0, stderr);
  });
  after(async () => {
    await world.dispose();
  });

  const fresh = (): string => {
    number += 1;
    return join(world.base, `restored ${number}`);
  };
  const mode = (path: string): string => (lstatSync(path).mode & 0o7777).toString(8);
  /** Everything below that runs as another account, opens a device or has a capability. */
  const powers = (to: string): string[] => {
    const found = execFileSync('find', [
      to,
      '(',
      '-perm',
      '/6000',
      '-o',
      '-type',
      'b',
      '-o',
      '-type',
      'c',
      ')',
    ]);
    const capable = execFileSync('getcap', ['-r', to]);
    return `${found}${capable}`.split('\n').filter(line => line !== '');
  };

  itShort('makes a DIR that only its owner can enter, whatever the umask', async () => {
    for (const party of ['root', world.host] as const) {
      const to = party === 'root' ? fresh() : join(world.host.home, 'restored');
      const words = ['-c', 'umask 0; exec "$@"', 'sh', world.binary, 'restore', world.name];
      const { stderr } = await world.start(party, '/bin/sh', [
        ...words,
        '--config',
        world.hostToml,
        '--to',
        to,
      ]).done;
      assert.equal(mode(to), '700', stderr);
      assert.doesNotMatch(stderr, /can get into/);
    }
  });

  itLong('says that one that is there is open, and its next step closes it', async () => {
    const to = fresh();
    mkdirSync(to, { mode: 0o755 });
    const isOpen = ({ stderr }: Result): boolean =>
      stderr.includes(`${wording('other-accounts-can-get-into')} "${to}" (mode 0755)`);
    const dry = await world.restore(to, ['--dry-run']);
    assert.ok(isOpen(dry), dry.stderr);
    const done = await world.restore(to);
    assert.equal(done.status, 0, done.stderr);
    assert.ok(isOpen(done), done.stderr);
    const next = /^next: (chmod .*)$/m.exec(done.stderr)?.[1] ?? '';
    execFileSync('/bin/sh', ['-c', next]);
    const again = await world.restore(to, ['--force']);
    if (isRefusedToOldRsync(again)) return;
    assert.equal(again.status, 0);
    assert.equal(again.stderr, '');
    // One that others cannot reach is not open.
    const closed = join(to, 'inside');
    mkdirSync(closed, { mode: 0o755 });
    assert.equal((await world.restore(closed)).stderr, '');
  });

  /** Does something while the snapshot is one of a whole machine, whose `/` had a mode and an owner. */
  async function asWholeMachine(top: string, action: () => Promise<void>): Promise<void> {
    const [snapshot = ''] = world.snapshots();
    const record = join(world.shelf, 'snapshots', snapshot, 'snapshot.json');
    const text = readFileSync(record, 'utf8');
    const whole = JSON.parse(text) as { scope: { roots: string[] } };
    whole.scope.roots = ['/'];
    writeFileSync(record, JSON.stringify(whole));
    const saved = join(world.base, 'attributes');
    writeFileSync(
      saved,
      execFileSync('getfattr', ['--absolute-names', '-d', '-m', '-', world.tree(snapshot)]),
    );
    execFileSync('setfattr', ['-n', 'user.rsync.%stat', '-v', top, world.tree(snapshot)]);
    try {
      await action();
    } finally {
      writeFileSync(record, text);
      execFileSync('setfattr', ['-x', 'user.rsync.%stat', world.tree(snapshot)]);
      execFileSync('setfattr', [`--restore=${saved}`]);
    }
  }

  itShort('keeps a DIR that it makes closed where the client’s / was open', async () => {
    await asWholeMachine('40755 0,0 0:0', async () => {
      const made = fresh();
      const first = await world.restore(made);
      assert.equal(mode(made), '700', first.stderr);
      assert.match(first.stdout, matching`${says('stays-closed-to-others-mode')} 0755`);
      const there = fresh();
      mkdirSync(there, { mode: 0o700 });
      const second = await world.restore(there);
      assert.equal(mode(there), '755', second.stderr);
      assert.match(second.stderr, says('other-accounts-can-get-into'));
    });
  });

  itLong(
    'gives a DIR that it makes to no account of the host, and names one that it gives away',
    async () => {
      const { uid } = world.host;
      // Closed by its mode, to all but its owner.
      await asWholeMachine(`40700 0,0 ${uid}:0`, async () => {
        for (const more of [[], ['--inert']]) {
          const made = fresh();
          const { stdout, stderr } = await world.restore(made, more);
          assert.deepEqual([lstatSync(made).uid, mode(made)], [0, '700'], stderr);
          assert.ok(stdout.includes(`${wording('the-clients-had-mode')} 0700 of uid ${uid}`), stdout);
          assert.doesNotMatch(stderr, /can get into/);
        }
        const there = fresh();
        mkdirSync(there, { mode: 0o700 });
        const given = await world.restore(there);
        assert.equal(lstatSync(there).uid, uid, given.stderr);
        assert.match(given.stderr, says('other-accounts-can-get-into'));
      });
      // What rsync reads there and dialback does not changes nothing either.
      await asWholeMachine(`40777 0,0 ${uid}:0 more`, async () => {
        const made = fresh();
        const { stderr } = await world.restore(made);
        assert.deepEqual([lstatSync(made).uid, mode(made)], [0, '700'], stderr);
      });
    },
  );

  itShort('leaves out nothing unless asked', async () => {
    const to = fresh();
    assert.equal((await world.restore(to)).status, 0);
    assert.equal(powers(to).length, 5);
  });

  it('with --inert brings none of it back, counts it, and gives the rest', async () => {
    const cases = [
      [false, []],
      [true, ['--force']],
    ] as const;
    for (const [filled, more] of some(cases, 2)) {
      const to = fresh();
      if (filled) mkdirSync(join(to, 'something'), { recursive: true });
      const dry = await world.restore(to, ['--inert', '--dry-run', '--json', ...more]);
      if (filled && isRefusedToOldRsync(dry)) continue;
      assert.equal(dry.status, 0, dry.stderr);
      const { status, stderr, stdout } = await world.restore(to, ['--inert', '--json', ...more]);
      assert.equal(status, 0, stderr);
      assert.deepEqual(powers(to), []);
      const counts = (text: string): Record<string, number> =>
        Object.fromEntries(
          (JSON.parse(text) as { differences: { kind: string; count: number }[] }).differences.map(each => [
            each.kind,
            each.count,
          ]),
        );
      assert.deepEqual(counts(stdout), { 'set-id bits': 3, device: 1, 'system attribute': 1 });
      assert.deepEqual(counts(dry.stdout), counts(stdout));
      const at = (name: string): string => join(to, world.data, name);
      assert.equal(readFileSync(at('setuid'), 'utf8'), 'setuid');
      assert.equal(mode(at('setuid')), '755');
      assert.equal(mode(at('team')), '775');
      assert.equal(mode(at('plain')), '640');
      assert.equal(lstatSync(at('plain')).uid, world.client.uid);
      assert.equal(
        execFileSync('getfattr', ['--only-values', '-n', 'user.comment', at('capable')]).toString(),
        'a comment',
      );
      assert.ok(lstatSync(at('fifo')).isFIFO());
      assert.ok(!existsSync(at('device')));
    }
  });

  itShort(
    'with --inert gives an ordinary account all that is beside a folder that it may not look into',
    async () => {
      const [snapshot = ''] = world.snapshots();
      const folder = join(world.tree(snapshot), world.data, 'team');
      execFileSync('setfattr', ['-n', 'user.rsync.%stat', '-v', `40000 0,0 ${world.client.uid}:0`, folder]);
      const to = join(world.host.home, 'inert');
      const args = ['restore', world.name, '--config', world.hostToml, '--to', to, '--inert'];
      const { stderr } = await world.run(world.host, args);
      assert.equal(mode(join(to, world.data, 'team')), '0', stderr);
      assert.equal(readFileSync(join(to, world.data, 'plain'), 'utf8'), 'content');
      assert.deepEqual(powers(to), []);
    },
  );
});
