// Goal: the real rsnapshot makes a tree of 10,000 files in four intervals. adopt makes snapshots of them in spite of kills, with the commands
// of docs/migrate.md, in the jail. The next backup sends only the files that changed, and older intervals can be listed, searched and
// restored. A full disk is a clear error, and leaves nothing.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ClientFiles, recordsIn, stateOf } from '../../support/adopted.ts';
import { commandsOf } from '../../support/document.ts';
import { says } from '../../support/wording.ts';
import { NEEDS_ROOT, type Result, until, World } from '../../support/world.ts';

const FILES = 10_000;
const CHANGED = 25;
const DAY_MS = 86_400_000;
/** Milliseconds after the start of adopt; the last ones meet the second and third snapshot. */
const KILLS = [50, 150, 300, 500, 800, 1200, 1700, 2300, 3200, 4500];
/** rsnapshot's rsync takes a file of the same size and second for unchanged. */
const written = (round: number): string => `written in round ${'I'.repeat(round)}\n`;
const DOCUMENT = readFileSync(join(import.meta.dirname, '../../../docs/migrate.md'), 'utf8');

/** Its effective and permitted capabilities, no_new_privs and the mode of seccomp(2); '' if it has ended. */
function powersOf({ pid }: { pid: number }): string {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'latin1');
    return ['CapEff', 'CapPrm', 'NoNewPrivs', 'Seccomp']
      .map(name => new RegExp(`^${name}:\\t(\\w+)$`, 'm').exec(status)?.[1])
      .join(' ');
  } catch {
    return '';
  }
}

describe('adopt, of a tree of the real rsnapshot', { skip: NEEDS_ROOT }, () => {
  let world: World;
  let files: ClientFiles;
  let place: string;
  let root: string;
  let config: string;
  let state: string;

  before(async () => {
    world = await World.make({ launcher: true });
    files = new ClientFiles(world, FILES);
    place = mkdtempSync('/var/lib/dialback-rsnapshot-');
    root = join(place, 'snapshots');
    config = join(place, 'rsnapshot.conf');
    const lines = [
      ['config_version', '1.2'],
      ['snapshot_root', `${root}/`],
      ['cmd_cp', '/bin/cp'],
      ['cmd_rm', '/bin/rm'],
      ['cmd_rsync', '/usr/bin/rsync'],
      ['retain', 'alpha', '3'],
      ['retain', 'beta', '2'],
      ['lockfile', join(place, 'rsnapshot.pid')],
      ['backup', `${world.data}/`, 'localhost/'],
    ];
    writeFileSync(config, `${lines.map(line => line.join('\t')).join('\n')}\n`);
    const start = Math.floor((Date.now() - 20 * DAY_MS) / 1000);
    for (let round = 0; round < 4; round += 1) {
      for (let file = 0; file < CHANGED * round; file += 1) files.write(file, written(round));
      if (round === 3) rsnapshot('beta');
      rsnapshot('alpha');
      // rsnapshot sets the time of the newest interval, and keeps it in a rotation.
      utimesSync(join(root, 'alpha.0'), start + round * 86_400, start + round * 86_400);
    }
    assert.deepEqual(intervals(), ['alpha.0', 'alpha.1', 'alpha.2', 'beta.0']);
    state = stateOf(root);
  });
  after(async () => {
    rmSync(place, { recursive: true, force: true });
    await world.dispose();
  });

  function rsnapshot(interval: string): void {
    execFileSync('rsnapshot', ['-c', config, interval], { stdio: 'pipe' });
  }

  const intervals = (): string[] => readdirSync(root).sort();
  const words = (...more: string[]): string[] => [
    ...['adopt', world.name, root, '--rsnapshot-conf', config, '--config', world.hostToml],
    ...more,
  ];
  const host = async (...more: string[]): Promise<Result> =>
    await world.run(world.host, [...more, '--config', world.hostToml]);
  const filesIn = (tree: string): number =>
    execFileSync('find', [tree, '-type', 'f', '-printf', 'x']).toString().length;
  const left = (folder: string): string[] =>
    existsSync(join(world.shelf, folder)) ? readdirSync(join(world.shelf, folder)) : [];

  it('a full disk: exit 14, one clear line, and nothing is left', async () => {
    const options = `size=24m,mode=700,uid=${world.host.uid},gid=${world.host.gid}`;
    execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'none', world.store]);
    try {
      const key = readFileSync(join(world.client.home, '.ssh/id_ed25519.pub'), 'utf8');
      assert.equal((await world.enroll(world.name, key)).status, 0);
      const { status, stderr } = await world.run('root', words());
      assert.equal(status, 14, stderr);
      assert.match(stderr, says('no-space-is-left-in'));
      assert.deepEqual([world.snapshots(), left('adopting'), left('trash')], [[], [], []]);
    } finally {
      execFileSync('umount', [world.store]);
    }
  });

  it('a running rsnapshot is refused', async () => {
    writeFileSync(join(place, 'rsnapshot.pid'), `${process.pid}\n`);
    const { status, stderr } = await world.run('root', words());
    rmSync(join(place, 'rsnapshot.pid'));
    assert.equal(status, 11, stderr);
  });

  it('kills at ten moments leave whole snapshots only', async () => {
    const counts: number[] = [];
    const senders: string[] = [];
    for (const [number, ms] of KILLS.entries()) {
      const running = world.start('root', world.binary, words());
      await sleep(ms);
      // The parent, or a process that writes the store.
      const victims = world.processes().filter(({ command }) => /receive-adopted|rsync/.test(command));
      senders.push(
        ...victims
          .filter(({ command }) => / --daemon --config=/.test(command))
          .map(powersOf)
          .filter(Boolean),
      );
      const victim = number % 2 === 0 ? undefined : victims[number % victims.length];
      try {
        process.kill(victim?.pid ?? running.child.pid ?? 0, 'SIGKILL');
      } catch {
        running.child.kill('SIGKILL'); // it has ended by itself
      }
      await running.done;
      await until('its processes have ended', () => world.processes().length === 0);
      counts.push(world.snapshots().length);
      for (const each of world.snapshots()) {
        assert.equal(filesIn(world.tree(each)), FILES, each);
        assert.ok(existsSync(join(world.shelf, 'snapshots', each, 'snapshot.json')));
      }
    }
    assert.deepEqual([...counts].sort(), counts);
    assert.ok((counts[0] ?? 9) === 0 && (counts.at(-1) ?? 9) < 4, counts.join());
    assert.equal(stateOf(root), state);
    // Every rsync that reads has one capability, and is in its jail.
    assert.ok(senders.length > 0);
    assert.deepEqual([...new Set(senders)], ['0000000000000004 0000000000000004 1 2']);
  });

  it('the commands of docs/migrate.md adopt the rest', async () => {
    const steps = [...commandsOf(DOCUMENT, '2. Look at the plan'), ...commandsOf(DOCUMENT, '3. Adopt')];
    assert.equal(steps.length, 4);
    for (const { user, command } of steps) {
      const [program, ...rest] = command
        .replace('/var/cache/rsnapshot', `${root} --rsnapshot-conf ${config}`)
        .replace('laptop', world.name)
        .split(' ');
      assert.equal(program, 'dialback');
      const party = user === 'root' ? 'root' : world.host;
      const { status, stdout, stderr } = await world.run(party, [...rest, '--config', world.hostToml]);
      assert.equal(status, 0, `${command}: ${stdout}${stderr}`);
    }
    assert.equal(world.snapshots().length, 4);
    assert.deepEqual([left('adopting'), left('trash')], [[], []]);
    assert.equal(stateOf(root), state);
  });

  it('keeps the hard links of rsnapshot, and uses the jail', () => {
    const records = recordsIn(world);
    const linked = records.map(each => each.counts.linked);
    assert.deepEqual(linked, [0, FILES - CHANGED, FILES - 2 * CHANGED, FILES - 3 * CHANGED]);
    assert.ok(records.every(each => each.confined.receive && each.confined.own_root));
    const [first = '', ...others] = world.snapshots();
    const inode = (each: string): number => statSync(join(world.tree(each), files.path(FILES - 1))).ino;
    assert.ok(others.every(each => inode(each) === inode(first)));
  });

  it('older intervals are readable by ls, find and restore', async () => {
    const [first = '', second = ''] = world.snapshots();
    const ls = await host('ls', '-R', `${world.name}@${first}`, world.data);
    assert.equal(ls.stdout.match(/ file \d+$|\/file \d+$/gm)?.length, FILES);
    const found = await host('find', world.name, 'file 3', '--json');
    assert.equal((found.stdout.match(/"snapshots":/g) ?? []).length, 4, found.stdout);
    for (const [snapshot, content] of [
      [first, 'file 3, as it was first\n'],
      [second, written(1)],
    ] as const) {
      const to = join(place, `restored from ${snapshot}`);
      const { status, stderr } = await world.run('root', [
        ...['restore', `${world.name}@${snapshot}`, world.data, '--to', to, '--config', world.hostToml],
      ]);
      assert.equal(status, 0, stderr);
      const path = join(to, files.path(3));
      assert.equal(readFileSync(path, 'utf8'), content);
      assert.deepEqual([statSync(path).uid, statSync(path).mode & 0o777], [world.client.uid, 0o600]);
      assert.equal(filesIn(to), FILES);
    }
  });

  it('the next backup sends only the files that changed', async () => {
    for (let file = 500; file < 500 + CHANGED; file += 1) files.write(file, `changed since, ${file}\n`);
    const { status, stdout, stderr } = await world.backup();
    assert.equal(status, 0, stdout + stderr);
    const run = recordsIn(world).at(-1);
    assert.equal(run?.basis, world.snapshots().at(-2));
    const counts: Record<string, number> = run?.counts ?? {};
    assert.equal(counts.linked, FILES - CHANGED);
    assert.equal((counts.new ?? 0) + (counts.content_changed ?? 0), CHANGED);
    assert.ok((counts.transferred_bytes ?? 0) < CHANGED * 30, JSON.stringify(counts));
    assert.deepEqual(
      run?.flags.filter(each => each.startsWith('few-linked')),
      [],
    );
  });

  it('rsnapshot goes on: no snapshot changes, and its new interval is adopted', async () => {
    rsnapshot('alpha');
    const [adopted, verified] = [await world.run('root', words('--json')), await host('verify', world.name)];
    assert.equal(adopted.status, 0, adopted.stderr);
    assert.equal(
      JSON.parse(adopted.stdout).trees.filter((each: { isPresent: boolean }) => !each.isPresent).length,
      1,
    );
    assert.equal(verified.status, 0, verified.stdout + verified.stderr);
    assert.equal(world.snapshots().length, 6);
  });

  it('prune and a copy of the store treat them as others', async () => {
    const copy = join(world.host.home, 'the copy');
    const copied = await host('copy-store', copy);
    assert.equal(copied.status, 0, copied.stdout + copied.stderr);
    assert.deepEqual(readdirSync(join(copy, 'clients', world.name, 'snapshots')).sort(), world.snapshots());
    world.write(
      world.host,
      world.hostToml,
      `store = "${world.store}"\nsyslog = false\n[retention]\nlast = 2\n`,
    );
    const pruned = await host('prune', world.name);
    assert.equal(pruned.status, 0, pruned.stderr);
    assert.ok(world.snapshots().length < 6, world.snapshots().join());
    assert.equal((await host('verify', world.name)).status, 0);
  });
});
