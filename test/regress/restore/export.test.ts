// Goal: an archive that `export` writes as the store's account has everything that the client had: GNU tar, as root, makes the same
// tree of it. The archive is the same each time. A part of a snapshot, a closed pipe and files that cannot be read are covered too.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { itLong, itShort, some } from '../../support/long.ts';
import { diffManifests, type Manifest, manifest } from '../../support/manifest.ts';
import { plantTortureTree } from '../../support/torture-world.ts';
import { matching, says, wording } from '../../support/wording.ts';
import { NEEDS_ROOT, type Result, until, World } from '../../support/world.ts';

/** A tar archive has no sockets. */
const SOCKET = 'nodes/socket: entry: socket -> none';
const NOTE = `${wording('left-out-of-the-archive', wording('one-socket'))}\n`;
/** What bsdtar 3.6.2 makes of the same archive. The archive is right: GNU tar shows it. */
const BSDTAR_CHANGES = [
  /^acls\/mask narrower: xattr system\.posix_acl_access: /, // it takes a uid above 2147483647 for that number
  /^attributes\/names: xattr user\.a(=|%3D)b: /, // it does not know GNU tar's escape for `=`
  /^times\/\S+ (1960|before-1970): mtimeNs: /, // it adds the fraction of a negative number
];

describe('export', { skip: NEEDS_ROOT }, () => {
  let world: World;
  let source: Manifest;
  let number = 0;
  before(async () => {
    world = await World.make();
    plantTortureTree(world);
    source = manifest(world.data);
    assert.equal((await world.backup()).status, 0);
    // With a second snapshot, every file in the store has two names.
    assert.equal((await world.backup()).status, 0);
  });
  after(async () => {
    await world.dispose();
  });

  /** Runs a script of sh(1). `$1` is the executable, `$2` the config, `$3` and `$4` are given. */
  const shell = async (
    script: string,
    words: string[] = [],
    party: World['host'] | 'root' = world.host,
  ): Promise<Result> =>
    await world.start(party, '/bin/sh', ['-c', script, 'sh', world.binary, world.hostToml, ...words]).done;
  const fresh = (end: string): string => {
    number += 1;
    return join(world.host.home, `export ${number}${end}`);
  };
  /** Exports to a file. @param words behind the options */
  const exported = async (
    words: string[] = [world.name],
    party: World['host'] | 'root' = world.host,
  ): Promise<Result & { file: string }> => {
    const file = fresh('.tar');
    const script =
      'umask 077; to=$3; binary=$1; config=$2; shift 3; exec "$binary" export --config "$config" "$@" >"$to"';
    return { ...(await shell(script, [file, ...words], party)), file };
  };
  /** Unpacks an archive as root. @returns the folder */
  const unpacked = (file: string): string => {
    const to = fresh('');
    mkdirSync(to, { mode: 0o700 });
    const { status, stderr } = spawnSync(
      'tar',
      [
        '-C',
        to,
        '--warning=no-timestamp',
        '--warning=no-unknown-keyword',
        '--xattrs',
        '--xattrs-include=*',
        '--acls',
        '-xpf',
        file,
      ],
      { encoding: 'utf8' },
    );
    assert.equal(stderr, '');
    assert.equal(status, 0);
    return to;
  };
  const names = (file: string): string[] =>
    execFileSync('tar', ['--quoting-style=escape', '-tf', file], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    })
      .split('\n')
      .slice(0, -1);

  itShort('gives GNU tar the same tree, but for sockets', async () => {
    const { status, stdout, stderr, file } = await exported();
    assert.equal(stdout + stderr, NOTE);
    assert.equal(status, 0);
    assert.equal(statSync(file).size % 512, 0);
    const to = unpacked(file);
    assert.deepEqual(diffManifests(source, manifest(join(to, world.data))), [SOCKET]);
    // The folders above it too, after the last entry was put into them.
    for (let above = world.client.home; above !== '/tmp'; above = join(above, '..'))
      assert.equal(statSync(join(to, above)).mtimeMs, statSync(above).mtimeMs, above);
    // A file's holes are not in the archive.
    assert.ok(statSync(file).size < 6 * 1024 * 1024);
  });

  itLong('gives bsdtar the same tree, but for what bsdtar itself cannot do', async context => {
    if (IN_CLEAN_MACHINE) return context.skip(IN_CLEAN_MACHINE);
    const { file } = await exported();
    const to = fresh('');
    mkdirSync(to, { mode: 0o700 });
    const args = ['-C', to, '--numeric-owner', '--acls', '--xattrs', '-xpf', file];
    const { status, stderr } = spawnSync('bsdtar', args, { encoding: 'utf8' });
    assert.equal(stderr, '');
    assert.equal(status, 0);
    const found = diffManifests(source, manifest(join(to, world.data)));
    const others = found.filter(each => !BSDTAR_CHANGES.some(known => known.test(each)));
    assert.deepEqual(others, [SOCKET]);
  });

  itLong('is the same each time, for root too', async () => {
    const all = [await exported(), await exported(), await exported([world.name], 'root')];
    const [one, ...others] = all.map(each => readFileSync(each.file));
    for (const other of others) assert.ok(one?.equals(other));
  });

  itShort('takes an older snapshot and parts of it, each with the folders above it', async () => {
    const [first = ''] = world.snapshots();
    const part = ['links', 'times', 'acls/default/inherits'];
    const paths = part.map(each => join(world.data, each));
    // A path in another one, and one that is given twice, change nothing.
    const { status, stderr, file } = await exported([
      `${world.name}@${first}`,
      ...paths,
      join(world.data, 'links/a'),
      paths[0] ?? '',
    ]);
    assert.equal(stderr, '');
    assert.equal(status, 0);
    const all = names(file);
    assert.equal(new Set(all).size, all.length);
    const found = manifest(join(unpacked(file), world.data));
    const isWanted = (name: string): boolean =>
      part.some(each => each === name || each.startsWith(`${name}/`) || name.startsWith(`${each}/`));
    const wanted = new Map([...source].filter(([name]) => name === '.' || isWanted(name)));
    assert.deepEqual(diffManifests(wanted, found), []);
  });

  itLong('puts the content of a hard link behind the first name that is in the part', async () => {
    for (const name of ['links/a/five', 'links/zz', 'links/a/symlink']) {
      const { status, file } = await exported([world.name, join(world.data, name)]);
      assert.equal(status, 0);
      const found = manifest(join(unpacked(file), world.data)).get(name);
      const wanted = { ...source.get(name) };
      delete wanted.link;
      assert.deepEqual(found, wanted);
    }
    const { file } = await exported([
      world.name,
      join(world.data, 'links/zz'),
      join(world.data, 'links/five'),
    ]);
    const found = manifest(join(unpacked(file), world.data));
    assert.equal(found.get('links/zz')?.link, 'links/five');
    assert.equal(found.get('links/zz')?.sha256, source.get('links/zz')?.sha256);
  });

  itLong('gives the top its attributes where the client sends its whole tree', async () => {
    const snapshot = world.snapshots().at(-1) ?? '';
    const record = join(world.shelf, 'snapshots', snapshot, 'snapshot.json');
    const before = readFileSync(record, 'utf8');
    world.write(world.host, record, before.replace(JSON.stringify(world.data), '"/"'));
    const { file } = await exported();
    world.write(world.host, record, before);
    assert.equal(names(file)[0], './');
    assert.equal(names((await exported()).file)[0], 'tmp/');
  });

  it('refuses what is not there, and then writes nothing', async () => {
    const cases: [words: string[], status: number, message: RegExp][] = [
      [['oak'], 1, matching`^dialback: ${says('cannot-find-the-client-the', 'oak')}\n$`],
      [[`${world.name}@1999`], 1, matching`${says('cannot-find-there-is-no', 'acorn', '1999')} acorn\n$`],
      [
        [world.name, '/nowhere'],
        1,
        matching`^dialback: Cannot export "/nowhere": ${says('snapshot-does-not-have-it', /\S+/)}\n$`,
      ],
      [
        [world.name, 'relative'],
        2,
        matching`^dialback: Cannot export "relative": ${says('it-is-not-an-absolute')}`,
      ],
      [[world.name, `${world.data}/../x`], 2, says('it-is-not-an-absolute')],
      [[world.name, join(world.data, 'symlinks/to a folder/inside')], 1, says('snapshot-does-not-have-it')],
      [[], 2, says('an-argument-is-missing')],
      [[world.name, '--json'], 2, /unknown option/],
    ];
    for (const [words, status, message] of some(cases, 2)) {
      const result = await exported(words);
      assert.equal(result.status, status, words.join());
      assert.match(result.stderr, message);
      assert.equal(statSync(result.file).size, 0);
    }
  });

  itShort('does not write to a terminal', async () => {
    const { stdout, status } = await shell("script -qec \"'$1' export acorn --config '$2'\" /dev/null");
    assert.match(stdout.replaceAll('\r\n', '\n'), says('no-archive-to-a-terminal'));
    assert.equal(status, 2);
  });

  itLong('shows its progress where standard error is a terminal, and then the sum', async () => {
    const file = fresh('.tar');
    const { stdout, status } = await shell(
      "script -qec \"TERM=xterm '$1' export acorn --config '$2' > '$3'\" /dev/null",
      [file],
    );
    assert.equal(status, 0, stdout);
    assert.match(stdout, /Kexported \d{3} files of \S+, \d\.\d MiB\r\ndialback: Note: /);
    assert.ok(statSync(file).size > 1024 * 1024);
  });

  itShort('is quiet about a reader that has gone, and names a full disk', async () => {
    const ended = fresh('');
    const script = '("$1" export acorn --config "$2"; echo $? >"$3") | head -c 1000 >/dev/null';
    const { stderr } = await shell(script, [ended]);
    assert.equal(stderr, '');
    assert.equal(readFileSync(ended, 'utf8'), '0\n');
    const full = await shell('"$1" export acorn --config "$2" >/dev/full');
    assert.equal(full.status, 14);
    assert.equal(
      full.stderr,
      `dialback: ${wording('cannot-write-the-archive', 'write error: No space left on device')}\n`,
    );
  });

  itLong('ends by a signal while its reader does not read', async () => {
    const running = world.start(world.host, '/bin/sh', [
      ...[
        '-c',
        '"$1" export acorn --config "$2" & echo $!; wait $!; echo $? >&2',
        'sh',
        world.binary,
        world.hostToml,
      ],
    ]);
    let pid = 0;
    running.child.stdout?.once('data', text => {
      pid = Number.parseInt(String(text), 10);
      running.child.stdout?.pause();
    });
    const isBlocked = (): boolean => world.processes().some(({ command }) => command === '/usr/bin/cat');
    await until('it writes', () => pid > 0 && isBlocked());
    process.kill(pid, 'SIGTERM');
    await until('it has ended', () => !existsSync(`/proc/${pid}`));
    running.child.stdout?.resume();
    const { stderr } = await running.done;
    assert.equal(stderr, `dialback: ${wording('interrupted-by', 'SIGTERM')}\n130\n`);
    assert.ok(!isBlocked());
  });

  itShort('names what it cannot read, exits with 3, and has everything else', async () => {
    const tree = join(world.tree(world.snapshots().at(-1) ?? ''), world.data);
    const closed = [
      'links/a/pair',
      'contents/one MiB',
      'empty folders/one',
      'symlinks/relative',
      'deep/level 1',
    ];
    const modes = closed.map(each => statSync(join(tree, each)).mode & 0o7777);
    for (const each of closed) chmodSync(join(tree, each), 0);
    const { status, stderr, file } = await exported();
    for (const [at, each] of closed.entries()) chmodSync(join(tree, each), modes[at] ?? 0);
    assert.equal(status, 3, stderr);
    assert.match(
      stderr,
      matching`${says('cannot-read-all-of-the', /\d+ entries/)}; ${says('archive-lacks-entries')}\n`,
    );
    for (const each of ['links/a/pair', 'links/pair', 'contents/one MiB', 'symlinks/relative'])
      assert.ok(stderr.includes(`${world.data}/${each}: `), each);
    for (const each of ['empty folders/one', 'deep/level 1'])
      assert.match(stderr, new RegExp(`${each}.*: Permission denied\n`));
    const found = manifest(join(unpacked(file), world.data));
    const missing = diffManifests(source, found).filter(
      each => !each.endsWith('-> none') && !/^(empty folders|deep): mtimeNs: /.test(each),
    );
    assert.deepEqual(missing, []);
    assert.ok(found.size > source.size - 40);
  });

  itLong('has a file of more than 8 GiB', async () => {
    // Put into the store by hand: a backup would read all of it several times.
    const path = join(world.data, 'contents/empty');
    const stored = join(world.tree(world.snapshots().at(-1) ?? ''), path);
    const write = ['if=/dev/urandom', `of=${stored}`, 'bs=1M', 'seek=9000', 'count=2', 'conv=notrunc'];
    execFileSync('dd', write, { stdio: 'ignore' });
    const { status, file } = await exported([world.name, path]);
    assert.equal(status, 0);
    assert.ok(statSync(file).size < 3 * 1024 * 1024);
    const to = join(unpacked(file), path);
    assert.equal(statSync(to).size, 9002 * 1024 * 1024);
    execFileSync('cmp', ['-i', String(9000 * 1024 * 1024 - 4096), stored, to]);
  });
});
