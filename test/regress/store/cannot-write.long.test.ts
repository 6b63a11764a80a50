// Goal: a store that cannot be written, since its file system is read-only or full, can be read with every command, by its
// owner and by root, and none of them writes into it. prune frees space on a disk without one free byte or inode.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chownSync,
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { diffManifests, manifest } from '../../support/manifest.ts';
import { NEEDS_ROOT, type Party, type Result, World } from '../../support/world.ts';

const MIB = 1024 * 1024;
const SNAPSHOTS = 4;

describe('a store that cannot be written', { skip: NEEDS_ROOT }, () => {
  let world: World;
  let isMounted = false;

  /** A store on a small file system of its own, with snapshots of which all files are new each time. */
  async function makeStore(inodes: number): Promise<void> {
    world = await World.make();
    const image = join(world.base, 'disk.img');
    closeSync(openSync(image, 'w'));
    truncateSync(image, 48 * MIB);
    execFileSync('mkfs.ext4', ['-q', '-m', '0', '-N', String(inodes), image]);
    execFileSync('mount', ['-o', 'loop', image, world.store]);
    isMounted = true;
    const account = ['-o', world.host.login, '-g', world.host.login, '-m', '700'];
    execFileSync('/usr/bin/install', ['-d', ...account, world.store]);
    world.write(
      world.host,
      world.hostToml,
      [
        `store = "${world.store}"`,
        'syslog = false',
        '[space]\nmin_free = "0%"\nmin_inodes = "0%"',
        '[retention]\nlast = 2\nmin_keep = 1\nmin_age = "1s"',
        '',
      ].join('\n'),
    );
    const key = readFileSync(join(world.client.home, '.ssh/id_ed25519.pub'), 'utf8');
    assert.equal((await world.enroll(world.name, key)).status, 0);
    for (let round = 0; round < SNAPSHOTS; round += 1) {
      for (let index = 0; index < 5; index += 1) put(`file ${index}`, randomBytes(200_000));
      const { status, stdout } = await world.backup();
      assert.equal(status, 0, stdout);
    }
  }

  function put(name: string, content: Buffer): void {
    writeFileSync(join(world.data, name), content);
    chownSync(join(world.data, name), world.client.uid, world.client.gid);
  }

  async function host(party: Party | 'root', args: string[]): Promise<Result> {
    const [command = '', ...rest] = args;
    return await world.run(party, [command, '--config', world.hostToml, ...rest]);
  }

  beforeEach(() => {
    isMounted = false;
  });
  afterEach(async () => {
    if (isMounted) execFileSync('umount', [world.store]);
    await world.dispose();
  });

  for (const isIndexed of [false, true])
    it(`read-only, ${isIndexed ? 'with' : 'without'} an index: readers work and write nothing`, async () => {
      await makeStore(4096);
      if (isIndexed) assert.equal((await host(world.host, ['find', world.name, 'file*'])).status, 0);
      execFileSync('sync', ['-f', world.store]);
      execFileSync('mount', ['-o', 'remount,ro', world.store]);
      const before = manifest(world.store, { includeInode: true });
      for (const party of [world.host, 'root'] as const) {
        const found = await host(party, ['find', world.name, 'file 0']);
        assert.equal(found.status, 0, found.stderr);
        assert.equal(found.stdout.split('\n').filter(line => /file 0/.test(line)).length, SNAPSHOTS);
        const dry = await host(party, ['prune', '--dry-run', '--json']);
        assert.equal(dry.status, 0, dry.stderr);
        const [pruned] = JSON.parse(dry.stdout).clients;
        const gone = pruned.snapshots.filter((each: { keep: boolean }) => !each.keep);
        assert.equal(gone.length, 1);
        assert.ok(gone[0].frees.bytes > 900_000, JSON.stringify(gone));
        const [oldest = ''] = readdirSync(join(world.shelf, 'snapshots')).sort();
        const to = join(party === 'root' ? world.base : world.host.home, 'given back');
        for (const args of [
          ['list'],
          ['ls', world.name, world.data],
          ['cat', world.name, join(world.data, 'file 0')],
          ['diff', `${world.name}@${oldest}`, 'latest', world.data],
          ['explain', world.name, world.data],
          ['restore', world.name, '--to', to],
          ['status'],
        ]) {
          const { status, stderr } = await host(party, args);
          assert.doesNotMatch(stderr, /read-only/, args.join(' '));
          // status ends with 1, since the files have changed more than usual.
          assert.ok(status === 0 || args[0] === 'status', `${args}: ${stderr}`);
        }
      }
      const verified = await host(world.host, ['verify', '--json']);
      assert.equal(verified.status, 0, verified.stderr);
      const [client] = JSON.parse(verified.stdout);
      assert.equal(client.snapshots.length, SNAPSHOTS);
      assert.equal(client.damaged_count, 0);
      assert.match(client.unrecorded, /read-only/);
      for (const words of [['prune'], ['pin', `${world.name}@latest`]]) {
        const { status, stderr } = await host(world.host, words);
        assert.equal(status, 1, words.join(' '));
        assert.match(stderr, /read-only/, words.join(' '));
      }
      const examined = await host(world.host, ['doctor', '--host']);
      assert.equal(examined.status, 2, examined.stderr);
      assert.match(examined.stdout, /read-only/);
      const backup = await world.backup();
      assert.equal(backup.status, 10, backup.stdout + backup.stderr);
      assert.deepEqual(diffManifests(before, manifest(world.store, { includeInode: true })), []);
    });

  for (const what of ['bytes', 'inodes'])
    it(`without free ${what}: readers work, and prune frees space`, async () => {
      await makeStore(what === 'bytes' ? 4096 : 256);
      const fill = join(world.store, 'fill');
      if (what === 'bytes') fillBytes(fill);
      else fillInodes(fill);
      const found = await host(world.host, ['find', world.name, 'file 0']);
      assert.equal(found.status, 0, found.stderr);
      const verified = await host(world.host, ['verify', '--json']);
      assert.equal(verified.status, 0, verified.stderr);
      assert.match(JSON.parse(verified.stdout)[0].unrecorded, /no space/);
      const { status, stderr } = await host(world.host, ['prune']);
      assert.equal(status, 0, stderr);
      assert.equal(readdirSync(join(world.shelf, 'snapshots')).length, SNAPSHOTS - 1);
      assert.deepEqual(readdirSync(join(world.shelf, 'trash')), []);
      assert.ok(existsSync(fill));
      // The next backup has room again.
      const { status: after, stdout } = await world.backup();
      assert.equal(after, 0, stdout);
    });

  function fillBytes(path: string): void {
    for (const size of ['1M', '4k', '1'])
      try {
        execFileSync('dd', ['if=/dev/zero', `of=${path}`, `bs=${size}`, 'oflag=append', 'conv=notrunc'], {
          stdio: 'pipe',
        });
      } catch {
        // until it is full
      }
  }

  function fillInodes(folder: string): void {
    execFileSync('mkdir', [folder]);
    const script = 'i=0; while : >"$1/$i"; do i=$((i+1)); done';
    try {
      execFileSync('/bin/sh', ['-c', script, 'fill', folder], { stdio: 'pipe' });
    } catch {
      // until there is none
    }
  }
});
