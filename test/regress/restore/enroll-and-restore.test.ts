// Goal: enroll lets one key ask for one client and nothing else; restore gives back what is asked for, where it is asked
// for, and says what it could not.
import assert from 'node:assert/strict';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { itLong, itShort, some } from '../../support/long.ts';
import { diffManifests, manifest } from '../../support/manifest.ts';
import { isRefusedToOldRsync } from '../../support/own-rsync.ts';
import { matching, matchingLines, says } from '../../support/wording.ts';
import { NEEDS_ROOT, putExecutable, type Result, World } from '../../support/world.ts';

describe('enroll and unenroll', { skip: NEEDS_ROOT }, () => {
  let world: World;
  before(async () => {
    world = await World.make();
    writeFileSync(join(world.data, 'a file'), 'content');
  });
  after(async () => {
    await world.dispose();
  });

  const key = (name: string): string => {
    const path = join(world.client.home, name);
    if (!existsSync(path)) world.keygen(world.client, path);
    return readFileSync(`${path}.pub`, 'utf8');
  };
  const lines = (): string[] => readFileSync(world.authorizedKeys, 'utf8').split('\n').slice(0, -1);

  it('writes one line, which allows one command and nothing else', () => {
    const [line = '', ...more] = lines();
    assert.deepEqual(more, []);
    const own = readFileSync(join(world.client.home, '.ssh/id_ed25519.pub'), 'utf8').trim();
    assert.equal(
      line,
      `restrict,command="'${world.binary}' grab --client ${world.name} --config '${world.hostToml}'" ${own}`,
    );
    assert.equal(statSync(world.authorizedKeys).mode & 0o777, 0o600);
    assert.equal(statSync(world.store).mode & 0o777, 0o700);
    assert.equal(readFileSync(join(world.store, 'store.json'), 'utf8'), '{"version":1}\n');
  });

  it('says yes to the same key again, and changes nothing', async () => {
    const before = lines();
    const { status, stdout } = await world.enroll(
      world.name,
      readFileSync(join(world.client.home, '.ssh/id_ed25519.pub'), 'utf8'),
    );
    assert.equal(status, 0);
    assert.match(stdout, says('enrolled-with-this-key-already'));
    assert.deepEqual(lines(), before);
  });

  it('keeps every other line of the file as it was', async () => {
    const foreign =
      '# a comment\nssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIP8AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA someone';
    writeFileSync(world.authorizedKeys, `${foreign}\n${lines()[0]}`); // without a newline at its end
    assert.equal((await world.enroll('second', key('second'))).status, 0);
    assert.equal(lines().length, 4);
    assert.deepEqual(lines().slice(0, 2), foreign.split('\n'));
    const { status } = await world.run(world.host, [
      'unenroll',
      'second',
      '--config',
      world.hostToml,
      '--authorized-keys',
      world.authorizedKeys,
    ]);
    assert.equal(status, 0);
    assert.equal(lines().length, 3);
    assert.ok(existsSync(join(world.store, 'clients/second/snapshots')), 'snapshots stay');
  });

  it('refuses what would open more, or close something by accident', async () => {
    const before = lines();
    const refusals: [string, () => Promise<Result>, RegExp][] = [
      [
        'another key for a known name',
        () => world.enroll(world.name, key('third')),
        matching`${says('already-with-another-key')}\nnext: use --replace`,
      ],
      [
        'a key of another client',
        () => world.enroll('thief', readFileSync(join(world.client.home, '.ssh/id_ed25519.pub'), 'utf8')),
        /already, for "acorn"/,
      ],
      [
        'a key that opens a login',
        () => world.enroll('someone', before[1] ?? ''),
        says('without-a-command-of-dialback'),
      ],
      [
        'a private key',
        () => world.enroll('x', readFileSync(join(world.client.home, '.ssh/id_ed25519'), 'utf8')),
        /private half/,
      ],
      ['a key with options', () => world.enroll('x', `no-pty ${key('third')}`), /not one line/],
      ['two keys', () => world.enroll('x', key('third') + key('second')), /2 lines/],
      ['an empty file', () => world.enroll('x', ''), /it is empty/],
      ['rubbish', () => world.enroll('x', 'ssh-ed25519 AAAA\n'), says('not-a-key-of-type')],
      ['a name with a slash', () => world.enroll('../x', key('third')), says('a-name-has-1-to')],
      ['a name with a capital', () => world.enroll('Acorn', key('third')), says('a-name-has-1-to')],
    ];
    for (const [what, attempt, message] of some(refusals, 2)) {
      const { status, stderr } = await attempt();
      assert.notEqual(status, 0, what);
      assert.match(stderr, message, what);
      assert.deepEqual(lines(), before, what);
    }
  });

  itShort('takes a new key with --replace: the old one is out', async () => {
    assert.equal((await world.enroll(world.name, key('third'), ['--replace'])).status, 0);
    assert.equal((await world.backup()).status, 12);
    assert.equal(
      (
        await world.enroll(world.name, readFileSync(join(world.client.home, '.ssh/id_ed25519.pub'), 'utf8'), [
          '--replace',
        ])
      ).status,
      0,
    );
    assert.equal((await world.backup()).status, 0);
  });

  itShort('runs as the account that receives, and as no other', async () => {
    const args = ['enroll', 'x', '-', '--config', world.hostToml];
    const root = await world.run('root', args, { input: key('third') });
    assert.equal(root.status, 2);
    assert.match(root.stderr, matching`${says('belongs-to-uid-the-account', /\d+/)}\nnext: runuser --pty -u`);
  });

  itShort('is not talked into an executable that others can write', async () => {
    putExecutable(world.binary, true); // the common one would be open to all other test files
    chmodSync(world.binary, 0o777);
    const { status, stderr } = await world.enroll('x', key('third'));
    chmodSync(world.binary, 0o755);
    assert.equal(status, 2);
    assert.match(stderr, says('can-be-written-by-others'));
  });

  itShort('makes no store of a folder that is something else', async () => {
    const folder = join(world.host.home, 'photos');
    mkdirSync(folder);
    writeFileSync(join(folder, 'cat.jpg'), '');
    const { uid, gid } = world.host;
    const { chownSync } = await import('node:fs');
    chownSync(folder, uid, gid);
    const toml = join(world.host.home, 'other.toml');
    world.write(world.host, toml, `store = "${folder}"\n`);
    const { status, stderr } = await world.run(world.host, ['enroll', 'x', '-', '--config', toml], {
      input: key('third'),
    });
    assert.equal(status, 2);
    assert.match(stderr, says('not-empty-and-is-not'));
    assert.deepEqual(readdirSync(folder), ['cat.jpg']);
  });
});

describe('list and restore', { skip: NEEDS_ROOT }, () => {
  let world: World;
  let target = 0;
  before(async () => {
    world = await World.make();
    const { data } = world;
    mkdirSync(join(data, 'folder/sub'), { recursive: true });
    writeFileSync(join(data, 'folder/sub/one'), 'one');
    world.write(world.client, join(data, 'folder/two'), 'two');
    symlinkSync('folder', join(data, 'link'));
    writeFileSync(join(data, 'setuid'), 'x');
    chmodSync(join(data, 'setuid'), 0o4755);
    assert.equal((await world.backup()).status, 0);
    writeFileSync(join(data, 'folder/two'), 'two, changed');
    assert.equal((await world.backup()).status, 0);
  });
  after(async () => {
    await world.dispose();
  });
  const fresh = (): string => {
    target += 1;
    return join(world.base, `target ${target}`);
  };

  itShort('lists what there is, as JSON with exactly the keys of the design', async () => {
    const { status, stdout } = await world.run(world.host, ['list', '--json', '--config', world.hostToml]);
    assert.equal(status, 0);
    const rows = JSON.parse(stdout) as Record<string, unknown>[];
    assert.equal(rows.length, 2);
    const keys = [
      'client',
      'snapshot',
      'started',
      'finished',
      'state',
      'files',
      'bytes',
      'new_bytes',
      'pinned',
      'flags',
      'retired',
    ];
    for (const row of rows) assert.deepEqual(Object.keys(row), keys);
    assert.deepEqual(
      rows.map(row => row.new_bytes),
      [7, 12],
    );
    const text = await world.run(world.host, ['list', world.name, '--config', world.hostToml]);
    assert.equal(text.stdout.split('\n').length, 4);
    const none = await world.run(world.host, ['list', 'nobody', '--config', world.hostToml]);
    assert.equal(none.status, 1);
  });

  it('restores one file, one folder, one link, each with its parents', async () => {
    const { data } = world;
    for (const path of some(['folder', 'folder/sub/one', 'link', 'setuid'], 2)) {
      const to = fresh();
      const { status, stderr } = await world.restore(to, [join(data, path)]);
      assert.equal(status, 0, stderr);
      const source = path === 'folder' ? manifest(join(data, path)) : undefined;
      if (source) assert.deepEqual(diffManifests(source, manifest(join(to, data, path))), []);
      assert.ok(lstatSync(join(to, data, path)));
      assert.deepEqual(readdirSync(join(to, data)), [path.split('/')[0]], 'nothing else');
      assert.equal(statSync(join(to, data)).mtimeMs, statSync(data).mtimeMs, 'parents have their attributes');
    }
  });

  itShort('restores an older snapshot by name or prefix, and says when there is no such thing', async () => {
    const [first = ''] = world.snapshots();
    const to = fresh();
    const args = (snapshot: string, where: string): string[] => [
      'restore',
      `${world.name}@${snapshot}`,
      '--config',
      world.hostToml,
      '--to',
      where,
    ];
    assert.equal((await world.run('root', args(first, to))).status, 0);
    assert.equal(readFileSync(join(to, world.data, 'folder/two'), 'utf8'), 'two');
    for (const [snapshot, message] of [
      ['20', matching`2 ${says('snapshots-begin-with-that')}`],
      ['1999', says('there-is-no-such-snapshot')],
      ['', says('there-is-no-such-snapshot')],
      ['../..', says('there-is-no-such-snapshot')],
    ] as const) {
      const { status, stderr } = await world.run('root', args(snapshot, fresh()));
      assert.equal(status, 1, snapshot);
      assert.match(stderr, message);
    }
  });

  it('refuses paths that are none of the snapshot, and leaves no target half done', async () => {
    const paths = [
      'relative',
      '/nowhere',
      `${world.data}/../x`,
      `${world.data}//folder`,
      `${world.data}/link/two`,
      `${world.data}/folder/two/x`,
    ];
    for (const path of some(paths, 2)) {
      const to = fresh();
      const { status, stderr } = await world.restore(to, [path]);
      assert.ok(status === 1 || status === 2, path);
      assert.match(stderr, /^dialback: Cannot restore "/);
      assert.ok(!existsSync(to), path);
    }
  });

  itShort('does not write into a folder that has something in it, unless told', async () => {
    const to = fresh();
    mkdirSync(join(to, world.data, 'folder'), { recursive: true });
    writeFileSync(join(to, 'mine'), 'mine');
    writeFileSync(join(to, world.data, 'folder/two'), 'in the way');
    writeFileSync(join(to, world.data, 'folder/other'), 'stays');
    const refused = await world.restore(to);
    assert.equal(refused.status, 2);
    assert.match(refused.stderr, says('not-empty-name-an-empty'));
    assert.equal(readFileSync(join(to, world.data, 'folder/two'), 'utf8'), 'in the way');
    const forced = await world.restore(to, ['--force']);
    if (isRefusedToOldRsync(forced)) return;
    assert.equal(forced.status, 0, forced.stderr);
    assert.equal(readFileSync(join(to, world.data, 'folder/two'), 'utf8'), 'two, changed');
    assert.equal(readFileSync(join(to, world.data, 'folder/other'), 'utf8'), 'stays');
    assert.equal(readFileSync(join(to, 'mine'), 'utf8'), 'mine');
    assert.deepEqual(readdirSync(to).sort(), ['mine', 'tmp']);
    assert.equal(statSync(join(to, world.data, 'setuid')).mode & 0o7777, 0o4755);
    assert.equal(readlinkSync(join(to, world.data, 'link')), 'folder');
    rmSync(join(to, world.data, 'folder/other')); // which changes the folder's time
    const untimed = { without: ['mtimeNs'] } as const;
    const restored = manifest(join(to, world.data, 'folder'), untimed);
    assert.deepEqual(diffManifests(manifest(join(world.data, 'folder'), untimed), restored), []);
  });

  itShort('does not follow a link that lies in the way', async () => {
    const to = fresh();
    const elsewhere = fresh();
    mkdirSync(elsewhere);
    mkdirSync(join(to, 'tmp'), { recursive: true });
    symlinkSync(elsewhere, join(to, 'tmp', world.data.split('/')[2] ?? ''));
    await world.restore(to, ['--force']);
    assert.deepEqual(readdirSync(elsewhere), []);
  });

  itShort('without root: what it can, exit 3, and a list of the rest', async () => {
    const to = join(world.host.home, 'restored');
    const { status, stderr } = await world.restore(to, [], world.host);
    assert.equal(status, 3);
    assert.match(
      stderr,
      matching`^${says('cannot-give-everything-back')}: \d+ ${says('differ-from-the-snapshot')}\n`,
    );
    assert.match(stderr, matchingLines`^ {2}1 ${says('without-setuid-and-setgid-bits')}, ".*\/setuid"$`);
    assert.match(
      stderr,
      matching`${says('left-out-since-only-root')}:\n {2}\d+ another owner, such as ".*"\n`,
    );
    assert.match(stderr, /next: restore as root/);
    assert.equal(readFileSync(join(to, world.data, 'folder/two'), 'utf8'), 'two, changed');
  });

  itLong('says that there is no store rather than making one', async () => {
    const toml = join(world.host.home, 'unmounted.toml');
    world.write(world.host, toml, `store = "${world.host.home}/mnt"\n`);
    for (const args of [['list'], ['restore', 'acorn', '--to', fresh()]]) {
      const { status, stderr } = await world.run(world.host, [...args, '--config', toml]);
      assert.equal(status, 10);
      assert.match(stderr, says('cannot-use-the-store'));
    }
    assert.ok(!existsSync(join(world.host.home, 'mnt')));
  });
});
