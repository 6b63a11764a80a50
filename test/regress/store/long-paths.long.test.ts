// Goal: paths as long as a client's file system takes them, or longer, come with the next file beside them; there is a manifest of
// each snapshot; and every reader of the store shows them, compares them and gives them back.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { contentsBelow, makeFolders, NAME } from '../../support/long-path.ts';
import { isRefusedToOldRsync } from '../../support/own-rsync.ts';
import { says } from '../../support/wording.ts';
import { NEEDS_ROOT, type Result, World } from '../../support/world.ts';

const SHORT = `short${'s'.repeat(40)}`;
const DEPTH = 15;
/**
 * What rsync 3.5.0 can store: it opens the folder that a file is in by its whole path, and needs some bytes for a temporary name. Of
 * the file's own path, the folder of the store not counted, there may be PATH_MAX.
 */
const [MOST_IN_STORE, MOST] = [4095, 4080];
/** Where a restore puts it can lie deeper. */
const SPARE = 30;

describe('paths near PATH_MAX', { skip: NEEDS_ROOT }, () => {
  let world: World;
  let deep = '';
  /** With it the path is as long as a path may be. */
  let long = '';
  const at = (name: string): string => `${world.data}/${deep}${name}`;
  const snapshots: string[] = [];

  before(async () => {
    world = await World.make();
    mkdirSync(join(world.data, 'folder'));
    // rsync sends the long ones anew each time, and that must not be unusual.
    for (let at = 0; at < 20; at += 1) writeFileSync(join(world.data, 'folder', `${at}`), `${at}`);
    writeFileSync(join(world.data, 'plain'), 'plain');
    const stored = world.tree('2026-01-01T00-00-00Z').replace('snapshots', 'arriving');
    const names = Array<string>(DEPTH).fill(NAME);
    const left = MOST_IN_STORE - SPARE - `${stored}${world.data}/${names.join('/')}/`.length;
    names.push('last'.padEnd(left, 't'));
    long = 'long'.padEnd(MOST - `${world.data}/${names.join('/')}/`.length + 1, 'g');
    deep = makeFolders(world.data, names, { [SHORT]: 'short', [long]: 'long' }, world.client.uid);
    assert.ok(`${stored}${at(SHORT)}`.length > MOST_IN_STORE);
    for (const content of ['first', 'second']) {
      writeFileSync(join(world.data, 'changes'), content);
      world.own(world.client, world.data);
      const { status, last, stdout } = await world.backup();
      assert.equal(status, 0, stdout.slice(-800) + JSON.stringify(world.journal('host').at(-1)).slice(-6000));
      snapshots.push(last.snapshot ?? assert.fail(stdout.slice(-800)));
    }
  });
  after(async () => {
    await world.dispose();
  });

  async function host(args: string[], party: 'root' | World['host'] = world.host): Promise<Result> {
    const [command = '', ...rest] = args;
    return await world.run(party, [command, '--config', world.hostToml, ...rest]);
  }

  it('arrive, and each snapshot has its manifest', () => {
    for (const snapshot of snapshots) {
      const found = contentsBelow(world.tree(snapshot));
      assert.equal(found[SHORT], 'short');
      assert.equal(found[long], 'long');
      assert.ok(existsSync(join(world.shelf, 'snapshots', snapshot, 'manifest.mtree.gz')));
    }
  });

  it('are verified, found, listed, printed and compared', async () => {
    const verified = await host(['verify', '--json']);
    assert.equal(verified.status, 0, verified.stderr.slice(0, 500));
    const [{ snapshots: done, damaged_count: damaged }] = JSON.parse(verified.stdout);
    assert.deepEqual([done, damaged], [snapshots, 0]);
    for (const name of [SHORT, long]) {
      const found = await host(['find', world.name, name]);
      assert.equal(found.status, 0, found.stderr.slice(0, 500));
      assert.ok(found.stdout.startsWith(at(name)), found.stdout.slice(-300));
      const listed = await host(['ls', world.name, at(name)]);
      assert.equal(listed.status, 0, listed.stderr.slice(0, 500));
      assert.ok(listed.stdout.includes(name));
      const printed = await host(['cat', world.name, at(name)]);
      assert.deepEqual([printed.status, printed.stdout], [0, name === SHORT ? 'short' : 'long']);
    }
    const all = await host(['ls', '-R', world.name]);
    assert.equal(all.status, 0, all.stderr.slice(0, 500));
    assert.ok(all.stdout.includes(long));
    const [one = '', other = ''] = snapshots;
    for (const paths of [[], [at(long), join(world.data, 'changes')]]) {
      const compared = await host(['diff', `${world.name}@${one}`, other, ...paths]);
      assert.equal(compared.status, 0, compared.stderr.slice(0, 500));
      assert.match(compared.stdout, /changes/);
    }
  });

  for (const party of ['root', 'host'] as const)
    it(`are given back, to ${party === 'root' ? 'root' : 'the account'}`, async () => {
      const who = party === 'root' ? party : world.host;
      const home = party === 'root' ? world.base : world.host.home;
      // Not by its own path: with the store's folder in front rsync takes no such argument, and says so.
      for (const paths of [[], [join(world.data, 'plain')]]) {
        const to = join(home, 'given back');
        const dry = await host(['restore', world.name, ...paths, '--to', to, '--dry-run'], who);
        assert.ok(dry.status === 0 || party === 'host', dry.stderr.slice(0, 500));
        const { status, stderr } = await host(['restore', world.name, ...paths, '--to', to], who);
        if (paths[0] === at(long)) {
          // rsync takes no argument of that length.
          assert.equal(status, 1);
          assert.match(stderr, says('name-a-folder-above-it'));
          rmSync(to, { recursive: true });
          continue;
        }
        assert.ok(status === 0 || (party === 'host' && status === 3), stderr.slice(0, 500));
        const found = contentsBelow(to);
        if (paths.length === 0) assert.equal(found.changes, 'second');
        if (paths[0] !== join(world.data, 'plain')) assert.equal(found[long], 'long');
        else assert.equal(found.plain, 'plain');
        assert.deepEqual(
          readdirSync(to).filter(name => name.startsWith('.dialback')),
          [],
        );
        rmSync(to, { recursive: true });
      }
    });

  it('are given back to root below a folder that makes them longer than PATH_MAX', async () => {
    const parent = join(world.base, 'p'.repeat(200));
    mkdirSync(parent);
    const to = join(parent, 'to');
    assert.ok(`${to}${at(long)}`.length > MOST_IN_STORE);
    for (const more of [[], ['--force'], ['--inert']]) {
      if (more.includes('--inert')) rmSync(to, { recursive: true });
      const restored = await host(['restore', world.name, '--to', to, ...more], 'root');
      const { status, stderr } = restored;
      if (more.includes('--force') && isRefusedToOldRsync(restored)) continue;
      assert.equal(status, 0, stderr.slice(0, 500));
      const found = contentsBelow(to);
      assert.deepEqual([found[long], found.changes], ['long', 'second']);
      assert.deepEqual(
        readdirSync(to).filter(name => name.startsWith('.dialback')),
        [],
      );
    }
  });

  it('are in an archive, also one by its own path', async () => {
    for (const paths of [[], [at(long)]]) {
      const file = join(world.host.home, 'archive.tar');
      const script = 'binary=$1 file=$2; shift 2; exec "$binary" export "$@" >"$file"';
      const words = [world.binary, file, world.name, ...paths, '--config', world.hostToml];
      const { status, stderr } = await world.start(world.host, '/bin/sh', ['-c', script, 'sh', ...words])
        .done;
      assert.equal(status, 0, stderr.slice(0, 500));
      const listed = execFileSync('tar', ['--quoting-style=literal', '-tf', file], { encoding: 'utf8' });
      assert.ok(listed.split('\n').includes(at(long).slice(1)));
    }
  });

  it('are removed by prune', async () => {
    world.write(
      world.host,
      world.hostToml,
      `store = "${world.store}"\nsyslog = false\n[retention]\nlast = 1\nmin_keep = 1\nmin_age = "1s"\n`,
    );
    const { status, stderr } = await host(['prune']);
    assert.equal(status, 0, stderr);
    assert.deepEqual(readdirSync(join(world.shelf, 'snapshots')), snapshots.slice(1));
    assert.deepEqual(readdirSync(join(world.shelf, 'trash')), []);
  });
});
