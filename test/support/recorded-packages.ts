/** A backup without the files of packages, for a package manager that records the attributes of files: rpm or pacman. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  existsSync,
  globSync,
  lutimesSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { diffManifests, type Manifest, manifest } from './manifest.ts';
import type { TestPackage } from './package-tree.ts';
import { NEEDS_ROOT, type Result, World } from './world.ts';

/** A system of a package manager. */
export interface RecordedSystem extends AsyncDisposable {
  folder: string;
  archive: string;
  path(inside: string): string;
  install(...packages: TestPackage[]): void;
  offer(web: string[], medium?: string[]): Promise<void>;
  verify(): string[];
}

/** The same time in each archive. */
const PACKAGED = Date.UTC(2026, 0, 2, 3, 4, 5) / 1000;

export const TOOL: TestPackage = {
  name: 'tool',
  files: {
    '/usr/bin/tool': 'a program',
    '/usr/bin/setuid': 'a setuid program',
    '/usr/bin/secret': 'only root can read it',
    '/usr/bin/changed': 'as the package has it',
    '/usr/bin/modes': 'mode',
    '/usr/bin/owned': 'owner',
    '/usr/bin/capable': 'capability',
    '/usr/bin/acl': 'acl',
    '/usr/bin/touched': 'time',
    '/usr/bin/one': 'one inode',
    '/usr/bin/two': '= /usr/bin/one',
    '/usr/bin/removed': 'removed',
    '/usr/bin/replaced': '-> tool',
    '/usr/bin/turned': '-> tool',
    '/usr/bin/link': '-> tool',
    '/usr/bin/shared': 'of two packages',
    '/usr/lib/tool/data': 'data',
    '/usr/lib/tool/more/data': 'more data',
    '/usr/lib/tool/folder': '-> more',
    '/usr/share/tool/odd [name]*': 'odd',
    '/usr/share/tool/caf\u00e9 "x" \\': 'quoted',
    '/usr/share/gone/deep/removed': 'removed with its folder',
    '/etc/tool.conf': 'the default',
    '/etc/own.conf': 'the default',
  },
  modes: { '/usr/bin/setuid': 0o4755, '/usr/bin/secret': 0o600 },
  conffiles: ['/etc/tool.conf', '/etc/own.conf'],
};
export const OTHERS: TestPackage[] = [
  { name: 'other', files: { '/usr/bin/shared': 'of two packages', '/usr/bin/other': 'other' } },
  { name: 'local', files: { '/usr/bin/local': 'in no package source' } },
  { name: 'medium', files: { '/usr/bin/medium': 'on a disc of this machine' } },
];

/** Left out of the backup: as the packages have it. */
const LEFT = [
  'usr/bin/tool',
  'usr/bin/setuid',
  'usr/bin/link',
  'usr/bin/other',
  'usr/lib/tool/data',
  'usr/lib/tool/more/data',
  'usr/share/tool/odd [name]*',
  'usr/share/tool/caf\u00e9 "x" \\',
];
const KEPT: [path: string, reason: string][] = [
  ['/etc/tool.conf', 'conffile'],
  ['/etc/own.conf', 'conffile'],
  ['/usr/bin/changed', 'content'],
  ['/usr/bin/secret', 'unreadable'],
  ['/usr/bin/modes', 'differs'],
  ['/usr/bin/touched', 'differs'],
  ['/usr/bin/owned', 'owner'],
  ['/usr/bin/capable', 'attributes'],
  ['/usr/bin/acl', 'attributes'],
  ['/usr/bin/one', 'linked'],
  ['/usr/bin/two', 'linked'],
  ['/usr/bin/shared', 'shared'],
  ['/usr/lib/tool/folder', 'folderLink'],
  ['/usr/bin/local', 'unoffered'],
  ['/usr/bin/medium', 'unoffered'],
];

/** The changes of an administrator. */
function change(path: (inside: string) => string): void {
  // With the same size and time.
  writeFileSync(path('usr/bin/changed'), 'as nobody has made it');
  utimesSync(path('usr/bin/changed'), PACKAGED, PACKAGED);
  appendFileSync(path('etc/own.conf'), '# changed\n');
  chmodSync(path('usr/bin/modes'), 0o755);
  execFileSync('chown', ['1:1', path('usr/bin/owned')]);
  execFileSync('setcap', ['cap_net_raw=ep', path('usr/bin/capable')]);
  execFileSync('setfacl', ['-m', 'u:1:r', path('usr/bin/acl')]);
  utimesSync(path('usr/bin/touched'), 1, 1);
  for (const name of ['removed', 'turned', 'replaced']) rmSync(path(`usr/bin/${name}`));
  symlinkSync('link', path('usr/bin/turned'));
  lutimesSync(path('usr/bin/turned'), PACKAGED, PACKAGED);
  // The same link again: another time is enough to keep it.
  symlinkSync('tool', path('usr/bin/replaced'));
  rmSync(path('usr/share/gone/deep'), { recursive: true });
  mkdirSync(path('usr/lib/own'));
  writeFileSync(path('usr/lib/own/file'), 'of no package');
}

/** The result of `packages --json`. */
export interface Found {
  manager: string;
  left_out: { files: number };
  kept: Record<string, { files: number; examples: string[] }>;
  not_offered: string[];
}

/**
 * Describes the backup, and the restore with `--put-back`.
 * @param manager the name of the package manager
 * @param make installs `TOOL` and `OTHERS`, and more that belongs to the package manager, in a system below a folder
 * @param own what this package manager's own files become
 * @param more more tests with the same system
 */
export function describePackages(
  manager: { name: string; skip: string | false; rebuild: Record<string, RegExp> },
  make: (base: string) => Promise<RecordedSystem>,
  own: { left?: string[]; kept?: [path: string, reason: string][] } = {},
  more: (system: () => RecordedSystem, ask: () => Promise<Found>) => void = () => {},
): void {
  const left = [...LEFT, ...(own.left ?? [])];
  const kept = [...KEPT, ...(own.kept ?? [])];
  describe(`a backup without the files of ${manager.name}`, { skip: NEEDS_ROOT || manager.skip }, () => {
    let world: World;
    let system: RecordedSystem;
    let list: string;
    let found: Found;
    let snapshot: string;
    let original: Manifest;

    const run = async (party: World['client'] | 'root', words: string[]): Promise<Result> =>
      await world.run(party, ['packages', '--root', system.folder, ...words]);
    const ask = async (): Promise<Found> => {
      const { status, stdout, stderr } = await run(world.client, ['--json']);
      assert.equal(status, 0, stderr);
      return JSON.parse(stdout) as Found;
    };

    before(async () => {
      world = await World.make({ launcher: true });
      const { client } = world;
      system = await make(client.home);
      await system.offer(['tool', 'other'], ['medium']);
      change(inside => system.path(inside));
      list = join(client.home, 'lists/packages');
      mkdirSync(join(client.home, 'lists'), { mode: 0o700 });
      world.own(client, join(client.home, 'lists'));
      const scope = `roots = ["${system.folder}", "${client.home}/lists"]\nexclude_from = "${list}"`;
      world.configure({ scope });
    });
    after(async () => {
      // dnf makes a folder for its locks there.
      for (const each of globSync(`/var/tmp/dnf-${world.client.login}-*`)) rmSync(each, { recursive: true });
      await world.dispose();
      await system[Symbol.asyncDispose]();
    });

    it('finds why each file stays in the backup', async () => {
      found = await ask();
      assert.equal(found.manager, manager.name);
      for (const [path, reason] of kept)
        assert.ok(
          found.kept[reason]?.examples.includes(path),
          `${path} ${reason}: ${JSON.stringify(found.kept)}`,
        );
      assert.equal(found.kept.differs?.files, 4);
      assert.equal(found.left_out.files, left.length);
      assert.equal(found.not_offered.length, 2, String(found.not_offered));
    });

    it('leaves out no file that the package manager itself finds to differ', async () => {
      const different = system.verify();
      for (const path of [
        '/usr/bin/changed',
        '/usr/bin/modes',
        '/usr/bin/owned',
        '/usr/bin/touched',
        '/etc/own.conf',
      ])
        assert.ok(different.includes(path), `${path}: ${different}`);
      for (const path of left) assert.ok(!different.includes(`/${path}`), path);
    });

    it('has the other files, the configuration and the lists for a rebuild in the backup', async () => {
      const written = await run(world.client, ['--write', list]);
      assert.equal(written.status, 0, written.stderr);
      original = manifest(system.folder, { without: ['holes'] });
      const { status, stdout, last } = await world.backup();
      assert.equal(status, 0, stdout);
      assert.doesNotMatch(stdout, /"event":"warning"/);
      snapshot = last.snapshot ?? '';
      const tree = join(world.shelf, 'snapshots', snapshot, 'tree');
      const has = (path: string): boolean => existsSync(join(tree, system.path(path)));
      for (const path of left) assert.ok(!has(path), path);
      for (const [path] of kept) assert.ok(has(path), path);
      for (const path of ['usr/bin/replaced', 'usr/bin/turned', 'usr/lib/own/file', 'usr/lib/tool', 'bin'])
        assert.ok(has(path), path);
      for (const [name, content] of Object.entries(manager.rebuild)) {
        assert.match(readFileSync(`${list}.rebuild/${name}`, 'utf8'), content, name);
        assert.ok(existsSync(join(tree, `${list}.rebuild/${name}`)), name);
      }
    });

    it('puts the files back after a restore, and then it is the system as it was', async () => {
      const to = join(world.base, 'restored');
      const words = ['restore', world.name, '--to', to, '--config', world.hostToml];
      const restored = await world.run('root', words);
      assert.equal(restored.status, 0, restored.stderr);
      const top = join(to, system.folder);
      const back = async (more: string[]): Promise<Result> =>
        await world.run('root', ['packages', '--root', top, '--put-back', list, ...more]);
      const needed = await back([]);
      assert.equal(needed.status, 0, needed.stderr);
      assert.match(needed.stdout, /^other[-=]2:1\.0-1\S*\ntool[-=]2:1\.0-1\S*\n$/);
      const done = await back(['--archives', system.archive]);
      assert.equal(done.status, 0, done.stderr);
      assert.match(done.stdout, new RegExp(` ${left.length} files`));
      assert.deepEqual(differences(original, manifest(top, { without: ['holes'] })), []);
      assert.deepEqual(
        readdirSync(top).filter(each => each.startsWith('.')),
        [],
      );
      const again = await world.run('root', ['packages', '--root', top, '--json']);
      assert.equal(again.status, 0, again.stderr);
      // root can also read the secret file.
      assert.equal((JSON.parse(again.stdout) as Found).left_out.files, left.length + 1);
    });

    it('refuses an archive with other files than the database says', async () => {
      const top = join(world.base, 'restored', system.folder);
      const path = join(top, 'usr/bin/tool');
      rmSync(path);
      const archives = join(world.base, 'damaged');
      mkdirSync(archives);
      const whole = readdirSync(system.archive).find(each => each.startsWith('tool')) ?? '';
      execFileSync('cp', [join(system.archive, whole), archives]);
      execFileSync('truncate', ['-s', '-200', join(archives, whole)]);
      const words = ['packages', '--root', top, '--put-back', list, '--archives', archives];
      const { status } = await world.run('root', words);
      assert.notEqual(status, 0);
      assert.ok(!existsSync(path));
    });

    more(() => system, ask);

    it('warns when packages have changed since the list was written', async () => {
      const finding = async (): Promise<{ state: string; next: string | null }> => {
        const words = ['doctor', '--client', '--json', '--config', world.clientToml];
        const { stdout } = await world.run(world.client, words);
        return JSON.parse(stdout).find((each: { check: string }) => each.check === 'client.packages');
      };
      await ask();
      assert.equal((await finding()).state, 'ok');
      system.install({ name: 'later', files: { '/usr/bin/later': 'later' } });
      const { state, next } = await finding();
      assert.equal(state, 'warning');
      const command = (next ?? '').replace(/^dialback /, `'${world.binary}' `);
      const { status, stderr } = await world.start(world.client, '/bin/sh', ['-c', command]).done;
      assert.equal(status, 0, stderr);
      assert.equal((await finding()).state, 'ok');
    });
  });
}

/**
 * Without the times of folders below one that is left out as a whole (docs/manual.md), and without the file by which SQLite's readers
 * share memory.
 */
function differences(before: Manifest, after: Manifest): string[] {
  for (const each of [before, after]) {
    each.delete('var/lib/rpm/rpmdb.sqlite-shm');
    const folder = each.get('usr/lib/tool/more');
    if (folder !== undefined) delete folder.mtimeNs;
  }
  return diffManifests(before, after);
}
