// Goal: a store whose file system is damaged in two places, a file and a folder of one snapshot, still takes backups, describes and
// verifies all else, shows and compares it, and prunes it. What is damaged is named.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { matching, says } from '../../support/wording.ts';
import { NEEDS_ROOT, type Result, World } from '../../support/world.ts';

describe('one bad entry in the store', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let world: World;
  let isMounted = false;
  const snapshots: string[] = [];

  function put(name: string, content: string): void {
    mkdirSync(join(world.data, name, '..'), { recursive: true });
    writeFileSync(join(world.data, name), content);
    world.own(world.client, join(world.data, name));
  }

  async function backup(): Promise<void> {
    const { status, last, stdout } = await world.backup();
    assert.equal(status, 0, stdout.slice(-600) + JSON.stringify(world.journal('host').at(-1)));
    snapshots.push(last.snapshot ?? assert.fail());
  }

  async function host(args: string[]): Promise<Result> {
    const [command = '', ...rest] = args;
    return await world.run(world.host, [command, '--config', world.hostToml, ...rest]);
  }
  const manifestOf = (snapshot: string): string =>
    join(world.shelf, 'snapshots', snapshot, 'manifest.mtree.gz');

  before(async () => {
    world = await World.make();
    const image = join(world.base, 'disk');
    const mount = (options: string): void => {
      execFileSync('mount', ['-o', options, image, world.store]);
      isMounted = true;
    };
    execFileSync('/usr/bin/truncate', ['-s', '64M', image]);
    execFileSync('mkfs.ext4', ['-q', '-F', image]);
    rmSync(world.store, { recursive: true });
    mkdirSync(world.store);
    mount('loop');
    chownSync(world.store, world.host.uid, world.host.gid);
    chmodSync(world.store, 0o700);
    const key = readFileSync(join(world.client.home, '.ssh/id_ed25519.pub'), 'utf8');
    assert.equal((await world.enroll(world.name, key)).status, 0);
    for (const name of ['a', 'bad', 'folder/inside', 'z']) put(name, name);
    // What is damaged comes anew with the next run, and that must not be unusual.
    for (let at = 0; at < 20; at += 1) put(`filler ${at}`, `${at}`);
    await backup();
    put('changes', 'first');
    await backup();
    // Without its manifest: it is made on the damaged disk.
    for (const each of ['manifest.mtree.gz', 'sha256sums'])
      rmSync(join(world.shelf, 'snapshots', snapshots[1] ?? '', each));
    execFileSync('umount', [world.store]);
    isMounted = false;
    const tree = `/clients/${world.name}/snapshots/${snapshots[1]}/tree${world.data}`;
    for (const name of ['bad', 'folder'])
      execFileSync('/usr/sbin/debugfs', ['-w', '-R', `clri "${tree}/${name}"`, image], { stdio: 'pipe' });
    mount('loop,errors=continue');
    assert.throws(() => lstatSync(join(world.tree(snapshots[1] ?? ''), world.data, 'bad')));
  });
  after(async () => {
    if (isMounted) execFileSync('umount', [world.store]);
    await world.dispose();
  });

  it('costs no backup, and the next snapshot is whole', async () => {
    put('changes', 'second');
    await backup();
    const last = join(world.tree(snapshots[2] ?? ''), world.data);
    for (const name of ['a', 'bad', 'folder/inside', 'z'])
      assert.equal(readFileSync(join(last, name), 'utf8'), name);
    assert.ok(existsSync(manifestOf(snapshots[2] ?? '')));
  });

  it('is named by verify, which verifies all else', async () => {
    const { stdout, status } = await host(['verify', '--json']);
    assert.equal(status, 1, stdout);
    const [{ snapshots: done, records, damaged, failed }] = JSON.parse(stdout);
    assert.equal(failed, null);
    assert.deepEqual(done, [snapshots[0], snapshots[2]]);
    // The damaged folder is not known: a manifest without what is in it would later blame it.
    assert.deepEqual(
      records.map((each: { snapshot: string; name: string }) => [each.snapshot, each.name]),
      [
        [snapshots[0], 'tree'],
        [snapshots[1], 'manifest.mtree.gz'],
      ],
    );
    for (const { found } of records) assert.match(found, /bad|folder/);
    // The file is shared with the first snapshot; a folder is not.
    assert.deepEqual(
      damaged.map((each: { path: string; differences: string[] }) => [each.path, each.differences]),
      [[join(world.data, 'bad'), ['missing']]],
    );
  });

  it('is named by ls and diff, which show all else; find and list do as ever', async () => {
    const [one = '', two = '', three = ''] = snapshots;
    const listed = await host(['ls', '-R', `${world.name}@${two}`, world.data]);
    assert.equal(listed.status, 1);
    for (const name of ['a', 'changes', 'z']) assert.match(listed.stdout, new RegExp(`/${name}\n`));
    assert.match(listed.stderr, matching`${says('could-not-be-read')}\n {2}.*(bad|folder)`);
    const compared = await host(['diff', `${world.name}@${two}`, three]);
    assert.equal(compared.status, 1);
    assert.match(compared.stdout, /^M .*changes/m);
    assert.match(compared.stdout, /^\+ .*bad/m);
    const found = await host(['find', world.name, 'changes']);
    assert.equal(found.status, 0, found.stderr);
    assert.equal(found.stdout.split('\n').length - 1, 2);
    assert.equal((await host(['list'])).stdout.split('\n').filter(line => line.includes(one)).length, 1);
  });

  it('does not keep a restore from the rest', async () => {
    const to = join(world.host.home, 'given back');
    const args = ['restore', `${world.name}@${snapshots[1]}`, '--to', to];
    const { status, stderr } = await host(args);
    assert.equal(status, 3, stderr);
    assert.match(stderr, /\/bad/);
    for (const name of ['a', 'z']) assert.equal(readFileSync(join(to, world.data, name), 'utf8'), name);
  });

  it('does not stop a prune', async () => {
    const toml = `store = "${world.store}"\nsyslog = false\n[retention]\nlast = 1\nmin_keep = 1\nmin_age = "1s"\n`;
    world.write(world.host, world.hostToml, toml);
    const { status, stderr } = await host(['prune']);
    assert.equal(status, 0, stderr);
    assert.match(
      stderr,
      matching`^${says('note-removed-snapshots-of-still', 'acorn')}: .*: ${says('the-file-system-is-damaged')}\nnext: .*fsck\)\n$`,
    );
    assert.deepEqual(world.snapshots(), [snapshots[2]]);
  });
});
