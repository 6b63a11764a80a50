// Goal: what a hostile reading of the code once found stays mended. One scenario each; its comment says what went wrong.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { IS_LONG, itLong, itShort } from '../../support/long.ts';
import { diffManifests, manifest } from '../../support/manifest.ts';
import { matching, says } from '../../support/wording.ts';
import { NEEDS_ROOT, until, World } from '../../support/world.ts';

describe('found in review', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let world: World;
  before(async () => {
    world = await World.make();
    for (let index = 0; index < 20; index += 1) put(`file ${index}`, `content ${index}`);
    assert.equal((await world.backup()).status, 0);
  });
  after(async () => {
    await world.dispose();
  });

  function put(name: string, content: string | Buffer): void {
    writeFileSync(join(world.data, name), content);
    chownSync(join(world.data, name), world.client.uid, world.client.gid);
  }
  const tree = (): string => join(world.tree(world.snapshots().at(-1) ?? ''), world.data);

  itLong('a large exclude list arrives as it was sent', async () => {
    // It was wiped (for the key in the same bytes) before all of it was written.
    const lines = Array.from(
      { length: 9_000 },
      (_, index) => `/nowhere/a rather long name, so that it fills some pipes/${index}`,
    );
    const file = join(world.client.home, 'excludes');
    world.write(world.client, file, lines.map(line => `${line}\n`).join(''));
    world.configure({ scope: `roots = ["${world.data}"]\nexclude_from = "${file}"` });
    const { status } = await world.backup();
    assert.equal(status, 0);
    const kept = readFileSync(
      join(world.shelf, 'snapshots', world.snapshots().at(-1) ?? '', 'excludes'),
      'utf8',
    );
    assert.equal(kept, lines.map(line => `${line}\n`).join(''));
  });

  itLong('an exclude pattern that is not UTF-8 excludes', async () => {
    const odd = Buffer.concat([Buffer.from(`${world.data}/caf`), Buffer.from([0xe9])]);
    writeFileSync(odd, 'x');
    const file = join(world.client.home, 'excludes');
    world.write(world.client, file, Buffer.from([0x63, 0x61, 0x66, 0xe9, 0x0a]));
    assert.equal((await world.backup()).status, 0);
    assert.deepEqual(
      readdirSync(tree()).filter(name => name.startsWith('caf')),
      [],
    );
    world.configure();
    rmSync(odd);
  });

  itLong('a file whose attributes do not fit is an incomplete backup, not a full disk', async () => {
    // ext4 says ENOSPC for an attribute that does not fit beside the others: it was taken for the disk's end.
    put('attributes', 'x');
    const path = join(world.data, 'attributes');
    execFileSync('/usr/bin/setfattr', ['-n', 'user.big', '-v', 'x'.repeat(3950), path]);
    try {
      for (const name of ['f1', 'f2', 'f3', 'f4'])
        execFileSync('/usr/bin/setfattr', ['-n', `user.${name}`, '-v', '12345678', path], { stdio: 'pipe' });
    } catch {
      // as many as there is room for
    }
    const { status, last } = await world.backup();
    rmSync(path);
    // A file system with room for it keeps it all; else the rest is there, and the snapshot says what it is.
    assert.ok(status === 0 || status === 3, JSON.stringify(last));
    if (status === 3) {
      const record = JSON.parse(
        readFileSync(join(world.shelf, 'snapshots', last.snapshot ?? '', 'snapshot.json'), 'utf8'),
      ) as { flags: string[] };
      assert.deepEqual(record.flags, ['host-errors']);
    }
    assert.ok(readdirSync(tree()).length > 10);
  });

  itLong('a damaged record blocks neither backups nor list nor restore', async () => {
    const name = world.snapshots().at(-1) ?? '';
    truncateSync(join(world.shelf, 'snapshots', name, 'snapshot.json'), 0);
    const { status } = await world.backup();
    assert.equal(status, 0);
    const list = await world.run(world.host, ['list', '--json', '--config', world.hostToml]);
    assert.equal(list.status, 0, list.stderr);
    const row = (JSON.parse(list.stdout) as { snapshot: string; flags: string[] }[]).find(
      each => each.snapshot === name,
    );
    assert.deepEqual(row?.flags, ['damaged']);
    const to = join(world.base, 'of a damaged one');
    const restored = await world.run('root', [
      'restore',
      `${world.name}@${name}`,
      '--config',
      world.hostToml,
      '--to',
      to,
    ]);
    assert.equal(restored.status, 0, restored.stderr);
    assert.equal(readFileSync(join(to, world.data, 'file 1'), 'utf8'), 'content 1');
  });

  itLong('a client that uploads and hangs up again and again does not fill the trash', async () => {
    put('large', randomBytes(4 * 1024 * 1024));
    world.configure({ limits: 'bwlimit = "2M"' });
    for (let round = 0; round < 4; round += 1) {
      const running = world.start(world.client, world.binary, [
        'backup',
        '--json',
        '--config',
        world.clientToml,
      ]);
      await until(
        'something arrives',
        () =>
          readdirSync(join(world.shelf, 'arriving')).some(
            name => readdirSync(join(world.shelf, 'arriving', name, 'tree')).length > 0,
          ) && world.journal('client').at(-1)?.event === 'granted',
      );
      running.child.kill('SIGTERM');
      await running.done;
      await until('all has ended', () => world.leftovers().length === 0, 15_000);
      assert.deepEqual(readdirSync(join(world.shelf, 'trash')), []);
      assert.ok(readdirSync(join(world.shelf, 'arriving')).length <= 1);
    }
    world.configure();
    rmSync(join(world.data, 'large'));
    assert.equal((await world.backup()).status, 0);
  });

  itLong(
    'a folder that its owner may not write into is restored without root, and leaves no stage',
    async () => {
      mkdirSync(join(world.data, 'locked'));
      writeFileSync(join(world.data, 'locked', 'inside'), 'x');
      for (const path of ['locked/inside', 'locked'])
        chownSync(join(world.data, path), world.client.uid, world.client.gid);
      chmodSync(join(world.data, 'locked'), 0o555);
      assert.equal((await world.backup()).status, 0);
      for (const [to, more] of [
        [join(world.host.home, 'empty'), []],
        [join(world.host.home, 'not empty'), ['--force']],
      ] as const) {
        mkdirSync(to);
        chownSync(to, world.host.uid, world.host.gid);
        if (more.length > 0) world.write(world.host, join(to, 'mine'), 'mine');
        const { status, stderr } = await world.restore(to, [join(world.data, 'locked'), ...more], world.host);
        assert.equal(status, 0, stderr);
        assert.equal(readFileSync(join(to, world.data, 'locked/inside'), 'utf8'), 'x');
        assert.equal(statSync(join(to, world.data, 'locked')).mode & 0o777, 0o555);
        assert.deepEqual(
          readdirSync(to).filter(name => name.startsWith('.dialback')),
          [],
        );
      }
    },
  );

  itLong('a restore that cannot read all of the store says so', async () => {
    const name = world.snapshots().at(-1) ?? '';
    const hidden = join(world.tree(name), world.data, 'locked');
    const { mode } = statSync(hidden);
    chmodSync(hidden, 0);
    const to = join(world.host.home, 'partly');
    const { status, stderr } = await world.restore(to, [], world.host);
    chmodSync(hidden, mode & 0o7777);
    assert.equal(status, 3, stderr);
    assert.match(stderr, /locked.*Permission denied|Permission denied.*locked/s);
  });

  itShort('the stage of a restore is private all the time, whatever the client says its top is', async () => {
    chmodSync(world.data, 0o777);
    const to = join(world.base, 'watched');
    const seen = new Set<string>();
    const running = world.start('root', world.binary, [
      'restore',
      world.name,
      '--config',
      world.hostToml,
      '--to',
      to,
    ]);
    let isOver = false;
    void running.done.then(() => {
      isOver = true;
    });
    while (!isOver) {
      try {
        for (const name of readdirSync(to)) {
          if (!name.startsWith('.dialback-restore-')) continue;
          const { mode, uid } = statSync(join(to, name));
          seen.add(`${(mode & 0o777).toString(8)} ${uid}`);
        }
      } catch {
        // not there yet, or not any more
      }
      await new Promise(resolve => setImmediate(resolve));
    }
    assert.equal((await running.done).status, 0);
    chmodSync(world.data, 0o755);
    assert.deepEqual(
      [...seen].filter(each => each !== '700 0'),
      [],
    );
  });

  itShort('no user of the client makes an attribute of his a capability', async () => {
    // rsync keeps security.capability as user.rsync.security.capability, which anybody may write on a file of his.
    put('disguised', 'x');
    put('given', 'x');
    const disguised = join(world.data, 'disguised');
    const { uid, gid } = world.client;
    const capability = '0x0100000200040000000000000000000000000000';
    for (const [name, value] of [
      ['user.rsync.security.capability', capability],
      ['user.rsync.%stat', '104755 0,0 0:0'],
      ['user.rsync.user.x', '1'],
      // A pattern with one asterisk goes by what follows the last slash.
      ['user.rsync.security.a/b', '1'],
      ['user.rsync.x/y', '1'],
      ['user.keep', '1'],
    ] as const)
      execFileSync('/usr/bin/setfattr', ['-n', name, '-v', value, disguised], { uid, gid });
    execFileSync('/usr/bin/setfacl', ['-m', 'u:12345:r', disguised], { uid, gid });
    const given = join(world.data, 'given');
    execFileSync('/usr/bin/setfattr', ['-n', 'security.capability', '-v', capability, given]);
    assert.equal((await world.backup()).status, 0);
    const to = join(world.base, 'undisguised');
    const { status, stderr } = await world.restore(to, [world.data]);
    assert.equal(status, 0, stderr);
    const xattrs = (path: string): string[] =>
      execFileSync('/usr/bin/getfattr', ['-m', '-', '--absolute-names', path], { encoding: 'utf8' })
        .split('\n')
        .slice(1)
        .filter(Boolean)
        .sort();
    assert.deepEqual(xattrs(join(to, disguised)), ['system.posix_acl_access', 'user.keep']);
    assert.deepEqual(xattrs(join(to, given)), ['security.capability']);
    // And what is kept back makes no file look changed.
    const inode = (name: string): number => statSync(join(tree(), name)).ino;
    const before = ['disguised', 'given', 'file 1'].map(inode);
    assert.equal((await world.backup()).status, 0);
    assert.deepEqual(['disguised', 'given', 'file 1'].map(inode), before);
    rmSync(disguised);
    rmSync(given);
    rmSync(to, { recursive: true });
  });

  itShort('relative paths are those of the caller', async () => {
    const { host } = world;
    const script = 'cd "$1" && exec "$2" restore "$3" --config host.toml --to relative';
    const { status, stderr } = await world.start(host, '/bin/sh', [
      '-c',
      script,
      'sh',
      host.home,
      world.binary,
      world.name,
    ]).done;
    assert.equal(status, 0, stderr);
    assert.ok(readdirSync(join(host.home, 'relative')).length > 0);
  });

  itShort('a name in another encoding in authorized_keys stays as it is', async () => {
    const foreign = Buffer.concat([Buffer.from('# Jos'), Buffer.from([0xe9, 0x0a])]);
    writeFileSync(world.authorizedKeys, Buffer.concat([foreign, readFileSync(world.authorizedKeys)]));
    world.keygen(world.client, join(world.client.home, 'further'));
    assert.equal(
      (await world.enroll('further', readFileSync(join(world.client.home, 'further.pub'), 'utf8'))).status,
      0,
    );
    assert.deepEqual(readFileSync(world.authorizedKeys).subarray(0, foreign.length), foreign);
  });

  itLong('a login shell that prints is told as what it is', async () => {
    execFileSync('/usr/sbin/usermod', ['--shell', '/bin/bash', world.client.login], { stdio: 'pipe' });
    world.write(world.client, join(world.client.home, '.bashrc'), 'echo hello\n');
    const { status, last } = await world.backup();
    rmSync(join(world.client.home, '.bashrc'));
    assert.equal(status, 1);
    assert.match(
      last.error ?? '',
      matching`the start-up file ".*\/\.bashrc" prints "hello" ${says('into-the-connection-before-rsync')}`,
    );
    execFileSync('/usr/sbin/usermod', ['--shell', '/bin/sh', world.client.login], { stdio: 'pipe' });
    await until('all has ended', () => world.leftovers().length === 0, 15_000);
  });

  it('a signal at the moment of admission leaves no reader behind', async () => {
    // The ticket was taken while the run was being cleaned up: the reader stayed.
    for (let round = 0; round < (IS_LONG ? 12 : 2); round += 1) {
      const running = world.start(world.client, world.binary, [
        'backup',
        '--json',
        '--config',
        world.clientToml,
      ]);
      await until(
        'the gate runs',
        () =>
          world.processes().some(each => / gate --run /.test(each.command)) ||
          world.journal('client').at(-1)?.event === 'granted',
      );
      running.child.kill(round % 2 === 0 ? 'SIGTERM' : 'SIGINT');
      const { status, stderr } = await running.done;
      assert.equal(stderr, '');
      assert.ok(status === 130 || status === 0, `${status}`);
      const own = world
        .leftovers()
        .filter(each => /: \/usr\/bin\/rsync --server|backup --json|client\/state\/run-/.test(each));
      assert.deepEqual(own, [], `round ${round}`);
      await until('all has ended', () => world.leftovers().length === 0, 15_000);
    }
  });

  itShort('what looks like a run folder, whatever it is, does not keep a run from its work', async () => {
    const { client } = world;
    const make = (name: string, mode: number): string => {
      const path = join(world.clientState, name);
      mkdirSync(path);
      chownSync(path, client.uid, client.gid);
      chmodSync(path, mode);
      return path;
    };
    // As a power cut leaves it; as a strange umask does; no folder at all; somebody else's; a link.
    world.write(client, join(make('run-AAAAAA', 0o700), 'taken'), '');
    make('run-BBBBBB', 0);
    world.write(client, join(world.clientState, 'run-CCCCCC'), '');
    mkdirSync(join(world.clientState, 'run-DDDDDD'));
    symlinkSync(world.data, join(world.clientState, 'run-EEEEEE'));
    assert.equal((await world.backup()).status, 0);
    const left = readdirSync(world.clientState).filter(name => name.startsWith('run-'));
    assert.deepEqual(left.sort(), ['run-CCCCCC', 'run-DDDDDD', 'run-EEEEEE'], 'what is none of ours stays');
    assert.ok(!readdirSync(world.data).includes('lock'), 'nothing is written through the link');
    for (const name of left) rmSync(join(world.clientState, name), { recursive: true });
  });

  itLong('the kernel has no watch left: the run looks by itself', async () => {
    // Whoever else runs as the client's user can use them up (max_user_instances).
    const script =
      'use strict; my @f; while ((my $d = syscall(294, 0)) >= 0) { push @f, $d } print "used up\\n"; $| = 1; print ""; sleep 30;';
    const hog = world.start(world.client, '/usr/bin/perl', ['-e', `$| = 1; ${script}`], { keepsInput: true });
    let said = '';
    hog.child.stdout?.on('data', (text: string) => {
      said += text;
    });
    await until('they are used up', () => said.includes('used up'));
    const { status, last } = await world.backup();
    hog.child.kill('SIGKILL');
    await hog.done;
    assert.equal(status, 0, JSON.stringify(last));
  });

  itLong('and the tree is still what it was', async () => {
    assert.equal((await world.backup()).status, 0);
    const to = join(world.base, 'at the end');
    assert.equal((await world.restore(to)).status, 0);
    assert.deepEqual(diffManifests(manifest(world.data), manifest(join(to, world.data))), []);
  });
});
