// Goal: `packages` writes an exclude list with which a backup has everything but the files that dpkg can put back, and a list that
// does not fit any more is reported. The packages are unpacked by the real dpkg, in a system below a folder.
import assert from 'node:assert/strict';
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { DebianSystem, NEEDS_DPKG } from '../../support/debian-system.ts';
import { NEEDS_ROOT, type Result, World } from '../../support/world.ts';

const FILES = {
  '/bin/tool': 'a program',
  '/usr/bin/changed': 'as the package has it',
  '/usr/bin/secret': 'only root can read it',
  '/usr/share/tool/data': 'data',
  '/usr/share/tool/more/data': 'more data',
  '/etc/tool.conf': 'the default',
};

describe('a backup without the files of packages', { skip: NEEDS_ROOT || NEEDS_DPKG }, () => {
  let world: World;
  let system: DebianSystem;
  let list: string;
  let other: string;
  before(async () => {
    world = await World.make({ launcher: true });
    const { client } = world;
    system = new DebianSystem(client.home);
    const conffiles = ['/etc/tool.conf'];
    system.install({ name: 'tool', files: FILES, modes: { '/usr/bin/secret': 0o600 }, conffiles });
    system.offer('tool');
    appendFileSync(system.path('usr/bin/changed'), '!');
    mkdirSync(system.path('usr/share/own'));
    for (const name of ['kept', 'left.o']) writeFileSync(system.path(`usr/share/own/${name}`), name);
    [list, other] = [join(client.home, 'lists/packages'), join(client.home, 'lists/other')];
    mkdirSync(join(client.home, 'lists'), { mode: 0o700 });
    world.own(client, join(client.home, 'lists'));
    world.write(client, other, '*.o\n');
    const lists = JSON.stringify([list, other]);
    const folder = join(client.home, 'lists');
    world.configure({ scope: `roots = ["${system.folder}", "${folder}"]\nexclude_from = ${lists}` });
  });
  after(async () => await world.dispose());

  const write = async (to = list): Promise<Result> =>
    await world.run(world.client, ['packages', '--root', system.folder, '--write', to]);
  const has = (snapshot: string | null, path: string): boolean =>
    existsSync(join(world.shelf, 'snapshots', snapshot ?? '', 'tree', system.path(path)));
  const finding = async (): Promise<{ state: string; next: string | null } | undefined> => {
    const { stdout } = await world.run(world.client, [
      'doctor',
      '--client',
      '--json',
      '--config',
      world.clientToml,
    ]);
    return JSON.parse(stdout).find((each: { check: string }) => each.check === 'client.packages');
  };

  it('has the changed, secret and own files and the configuration, and not the others', async () => {
    const written = await write();
    assert.equal(written.status, 0, written.stderr);
    assert.equal(written.stderr, '');
    const { status, stdout, last } = await world.backup();
    assert.equal(status, 0, stdout);
    const left = ['usr/bin/tool', 'usr/share/tool/data', 'usr/share/tool/more', 'usr/share/own/left.o'];
    for (const path of left) assert.ok(!has(last.snapshot, path), path);
    const kept = [
      'usr/bin/changed',
      'usr/bin/secret',
      'usr/share/tool',
      'usr/share/own/kept',
      'etc/tool.conf',
      'bin',
    ];
    for (const path of [...kept, 'var/lib/dpkg/status']) assert.ok(has(last.snapshot, path), path);
    assert.doesNotMatch(stdout, /"event":"warning"/);
    assert.equal((await finding())?.state, 'ok');
    const rebuild = (name: string): string => readFileSync(`${list}.rebuild/${name}`, 'utf8');
    assert.equal(rebuild('versions'), 'tool=1.0-1\n');
    assert.match(rebuild('selections'), /^tool\t+install$/m);
    assert.match(rebuild('files/etc/apt/sources.list'), /deb\.example\.org/);
    assert.equal(rebuild('manual'), 'tool\n');
  });

  it('warns when packages have changed since, and the printed command corrects it', async () => {
    const soon = Date.now() / 1000 + 1;
    utimesSync(system.path('var/lib/dpkg/status'), soon, soon);
    const { stdout } = await world.backup();
    assert.match(stdout, /"event":"warning".*"code":"packages"/);
    const { state, next } = (await finding()) ?? {};
    assert.equal(state, 'warning');
    utimesSync(system.path('var/lib/dpkg/status'), 1, 1);
    const command = (next ?? '').replace(/^dialback /, `'${world.binary}' `);
    const { status, stderr } = await world.start(world.client, '/bin/sh', ['-c', command]).done;
    assert.equal(status, 0, stderr);
    assert.equal((await finding())?.state, 'ok');
    writeFileSync(`${list}.rebuild/written`, `2026-01-01T00:00:00Z\n${system.folder}\n`);
    assert.equal((await finding())?.state, 'warning');
  });

  it('refuses a folder that does not exist, and the printed command makes it', async () => {
    const refused = await write(join(world.client.home, 'absent/list'));
    assert.equal(refused.status, 2);
    const next = /^next: (.*)$/m.exec(refused.stderr)?.[1] ?? '';
    const made = await world.start(world.client, '/bin/sh', ['-c', next]).done;
    assert.equal(made.status, 0, made.stderr);
    assert.equal((await write(join(world.client.home, 'absent/list'))).status, 0);
  });

  it('warns when the backup does not have the list', async () => {
    world.configure({ scope: `roots = ["${system.folder}"]\nexclude_from = "${list}"` });
    assert.equal((await write()).status, 0);
    assert.equal((await finding())?.state, 'warning');
  });

  it('puts files back only as root', async () => {
    const words = ['packages', '--root', system.folder, '--put-back', list];
    const needed = await world.run(world.client, words);
    assert.deepEqual([needed.status, needed.stdout], [0, '']);
    const { status, stderr } = await world.run(world.client, [...words, '--debs', system.archive]);
    assert.equal(status, 2);
    assert.match(stderr, /root/);
    const done = await world.run('root', [...words, '--debs', system.archive]);
    assert.equal(done.status, 0, done.stderr);
    assert.match(done.stdout, / 0 files/);
  });

  it('names the file that an account without privileges cannot look for', async () => {
    const closed = system.path('usr/share/tool');
    chmodSync(closed, 0o700);
    const words = ['packages', '--root', system.folder, '--put-back', list];
    const { status, stdout, stderr } = await world.run(world.client, words);
    chmodSync(closed, 0o755);
    assert.deepEqual([status, stdout], [1, '']);
    assert.match(stderr, /^dialback: Cannot [^\n]*"\/usr\/share\/tool\/[^\n]*\nnext: [^\n]* as root\n$/);
  });

  it('does not replace a list that it has not written', async () => {
    const { status, stderr } = await write(other);
    assert.equal(status, 2);
    assert.match(stderr, /lists\/other/);
    assert.equal(readFileSync(other, 'utf8'), '*.o\n');
  });
});
