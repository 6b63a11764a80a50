// Goal: on a host, the next step that `doctor` names for a store, its disk, the runs in it and the jail mends what it found, as it is
// printed; a step that only shows something shows the thing that is in the way.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { appendFileSync, chmodSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import type { Finding } from '../../../src/doctor/finding.ts';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { Follower, mount, worstOf } from '../../support/steps.ts';
import { matching, matchingLines, says, wording } from '../../support/wording.ts';
import { mayMakeNamespaces, NEEDS_ROOT, type Party, World } from '../../support/world.ts';

describe('a next step of doctor about a store and its runs', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let world: World;
  let follower: Follower;
  let host: Party;
  const undone: (() => void)[] = [];

  before(async () => {
    world = await World.make();
    follower = new Follower(world);
    ({ host } = world);
    world.write(world.client, join(world.data, 'file'), 'content');
  });
  afterEach(() => {
    for (const undo of undone.splice(0).reverse()) undo();
  });
  after(async () => {
    await world.dispose();
  });

  const next = async (check: string, found: RegExp): Promise<string> =>
    await follower.nextOf(host, check, found);
  const isWell = async (...checks: string[]): Promise<void> => await follower.isWell(host, ...checks);

  it('for a store that cannot be written to, and shows a mount that is the reason', async () => {
    chmodSync(world.store, 0o500);
    await follower.follow(host, await next('host.store', /cannot write to/));
    await isWell('host.store');
    undone.push(mount('--bind', world.store, world.store));
    execFileSync('mount', ['-o', 'remount,bind,ro', world.store]);
    const said = await follower.follow(host, await next('host.store', /mounted read-only/));
    assert.match(said, /^\/\S+.* ro,/m);
    execFileSync('mount', ['-o', 'remount,bind,rw', world.store]);
    await isWell('host.store');
  });

  it('for a store of another account asks as that account', async () => {
    const toml = join(world.client.home, 'host.toml');
    world.write(world.client, toml, readFileSync(world.hostToml));
    chmodSync(host.home, 0o711);
    chmodSync(world.store, 0o755);
    for (const mode of [0o600, 0o644]) {
      chmodSync(join(world.store, 'store.json'), mode);
      const { stdout } = await world.run(world.client, ['doctor', '--json', '--host', '--config', toml]);
      const step = worstOf(JSON.parse(stdout) as Finding[], 'host.store').next ?? '';
      if (mode === 0o644) assert.match(step, matching`, ${says('because-that-account-receives-the')}$`);
      const told = await follower.shell(
        'root',
        step.replace(matching`, ${says('because-that-account-receives-the')}$`, ''),
      );
      assert.match(
        told.stdout,
        matchingLines`^ {2}critical +store: ".*" ${says('is-open-to-others-mode')} 0755\)`,
      );
    }
    chmodSync(host.home, 0o700);
    chmodSync(world.store, 0o700);
    rmSync(toml);
  });

  it('for a disk that is full shows what fills it', async () => {
    const disk = join(world.base, 'small disk');
    mkdirSync(disk);
    undone.push(mount('-t', 'tmpfs', '-o', 'size=32m,nr_inodes=40', 'small', disk));
    const store = join(disk, 'the store');
    execFileSync('cp', ['-a', world.store, store]);
    const toml = readFileSync(world.hostToml, 'utf8');
    world.write(host, world.hostToml, toml.replace(world.store, store));
    undone.push(() => world.write(host, world.hostToml, toml));
    writeFileSync(join(store, 'clients', world.name, 'large'), Buffer.alloc(1024 ** 2));
    const du = await next('host.store_space', /^3\d MiB free/);
    const sizes = await follower.follow(host, du.replace(matching`; ${says('make-room-or-use-a')}$`, ''));
    assert.match(sizes, new RegExp(`^1\\.\\dM\\s+${store}/clients/${world.name}$`, 'm'));
    execFileSync('mount', ['-o', 'remount,size=4g', disk]);
    await isWell('host.store_space');

    let made = 0;
    assert.throws(() => {
      for (; made < 100; made += 1) writeFileSync(join(disk, `${made}`), '');
    }, /ENOSPC/);
    const df = await next('host.store', /ENOSPC|no space/i);
    const room = await follower.follow(host, df);
    assert.match(room, /^small\s+40\s+40\s+0\s+100% /m);
    for (let at = 0; at < made; at += 1) rmSync(join(disk, `${at}`), { force: true });
    await isWell('host.store');
  });

  it('for runs that fail, requests without room, and files in doubt tells the reason, and the next run mends it', async () => {
    assert.equal((await world.backup()).status, 0);
    const [first = ''] = world.snapshots();
    const record = join(world.shelf, 'snapshots', first, 'snapshot.json');
    const text = readFileSync(record, 'utf8');
    const older = text.replace(/,\s*"durable": true/, ''); // as 0.1.0 wrote it
    assert.notEqual(older, text);
    writeFileSync(record, older);
    const sums = join(dirname(record), 'sha256sums');
    const sum = (of: string): string => createHash('sha256').update(of).digest('hex');
    writeFileSync(sums, readFileSync(sums, 'utf8').replace(sum(text), sum(older)));
    const journal = join(world.shelf, 'journal.jsonl');
    for (const minute of ['1', '2', '3'])
      appendFileSync(
        journal,
        `${JSON.stringify({
          time: `2026-11-23T00:0${minute}:00.000Z`,
          event: 'run',
          outcome: 'failed',
          code: 'rsync',
          reason: wording('rsync-status', 12),
        })}\n`,
      );
    const toml = readFileSync(world.hostToml, 'utf8');
    world.write(host, world.hostToml, `${toml}[space]\nmin_free = "99%"\n`);
    const findings = (await follower.doctor(host)).filter(each => each.state !== 'ok');
    const step = (found: RegExp): string => findings.find(each => found.test(each.found))?.next ?? 'false';

    const room = await follower.follow(
      host,
      step(matching`^"acorn": ${says('the-host-refuses-its-requests')}: \d+ bytes are free`),
    );
    assert.match(room, new RegExp(first));
    world.write(host, world.hostToml, toml);
    const runs = await follower.shell(host, step(/^"acorn": the last 3 runs failed/));
    assert.equal(runs.status, 1, runs.stderr); // as monitoring plugins have it: a warning
    assert.match(runs.stdout, says('rsync-status', 12));
    const doubt = step(matching`${says('did-not-flush-the-files')} .*: acorn$`).split('; ');
    assert.match(doubt[1] ?? '', matching`^it lists .*, ${says('and-the-next-backup')} `);
    await follower.follow(host, doubt[0] ?? '');
    assert.equal((await world.backup()).status, 0);
    await isWell('host.store_contents');
    assert.ok(!(await follower.doctor(host)).some(each => each.check === 'host.runs'));
  });

  it('for a jail without a root of its own names the setting of the kernel', async () => {
    world.installLauncher();
    undone.push(() => rmSync(join(world.base, 'libexec'), { recursive: true }));
    const isAllowed = mayMakeNamespaces(host);
    if (isAllowed) await isWell('host.jail');
    /** In a user namespace with all users in it, for which root sets how many more may be made in it. */
    const inside = async (most: number, command: string, ...account: string[]): Promise<string> => {
      const script = 'echo; read -r mapped; sysctl -qw user.max_user_namespaces=$1; shift; exec "$@"';
      const words = [String(most), 'setpriv', ...account, '--', 'env', `HOME=${host.home}`];
      const mapped = Promise.withResolvers<void>();
      const { child, done } = world.start(
        'root',
        '/usr/bin/unshare',
        ['--user', '--', '/bin/sh', '-c', script, 'sh', ...words, '/bin/sh', '-c', command],
        { keepsInput: true, onLine: () => mapped.resolve() },
      );
      await mapped.promise;
      for (const map of ['uid_map', 'gid_map']) writeFileSync(`/proc/${child.pid}/${map}`, '0 0 65536');
      child.stdin?.end('\n');
      const { stdout, stderr } = await done;
      assert.equal(stderr, '');
      return stdout.slice(1);
    };
    const as = ['--reuid', String(host.uid), '--regid', String(host.gid), '--clear-groups'];
    const look = async (most: number): Promise<Finding> =>
      worstOf(
        JSON.parse(await inside(most, `'${world.binary}' doctor --json`, ...as)) as Finding[],
        'host.jail',
      );
    const finding = await look(0);
    assert.match(finding.found, says('without-a-root-file-system-of'));
    const step = (finding.next ?? '').replace(matching` ${says('shows-which-of-them')} .*$`, '');
    assert.match(await inside(0, step, ...as), /^user\.max_user_namespaces = 0$/m);
    if (isAllowed) assert.equal((await look(100)).state, 'ok');
  });
});
