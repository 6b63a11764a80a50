// Goal: with `exclude_caches` and `exclude_if_present` a backup has only the tag of a folder with a tag. The client finds the tags, in
// root-only folders too. Another user's tag keeps no file out.
import assert from 'node:assert/strict';
import {
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { itLong, itShort } from '../../support/long.ts';
import { matching, says } from '../../support/wording.ts';
import { type Done, NEEDS_ROOT, World } from '../../support/world.ts';

const SIGNATURE = 'Signature: 8a477f597d28d172789f06886806bc55\n# a comment\n';
const NOBODY = 65_534;

interface Left extends Done {
  left_out_by_tag: { path: string; tag: string }[];
  left_out_by_tag_new: string[];
}

describe('folders with tags', { skip: NEEDS_ROOT }, () => {
  let world: World;
  const at = (...names: string[]): string => join(world.data, ...names);

  before(async () => {
    world = await World.make({ launcher: true });
    const folder = (name: string, mode: number, owner = 0): void => {
      mkdirSync(at(name), { recursive: true });
      chownSync(at(name), owner, owner);
      chmodSync(at(name), mode);
      for (const each of ['a file', 'sub/deep']) {
        mkdirSync(join(at(name), each, '..'), { recursive: true });
        writeFileSync(join(at(name), each), name);
      }
    };
    const tag = (name: string, file: string, content = SIGNATURE, owner = 0): void => {
      writeFileSync(at(name, file), content);
      chownSync(at(name, file), owner, owner);
    };
    folder('root only', 0o700);
    tag('root only', 'CACHEDIR.TAG');
    folder('odd [n]* name', 0o755, world.client.uid);
    tag('odd [n]* name', 'CACHEDIR.TAG', SIGNATURE, world.client.uid);
    folder('present', 0o755);
    tag('present', '.nobackup', '');
    folder('no signature', 0o755);
    tag('no signature', 'CACHEDIR.TAG', 'Signature: 00');
    folder('shared', 0o1777);
    tag('shared', 'CACHEDIR.TAG', SIGNATURE, NOBODY);
    tag('shared', '.nobackup', '');
    folder('of another', 0o755);
    tag('of another', '.nobackup', '', NOBODY);
    folder('linked', 0o755);
    symlinkSync('../present/.nobackup', at('linked', '.nobackup'));
    symlinkSync('../root only/CACHEDIR.TAG', at('linked', 'CACHEDIR.TAG'));
    folder('folder as tag', 0o755);
    mkdirSync(at('folder as tag', '.nobackup'));
    folder('hard link', 0o755);
    linkSync(at('root only', 'CACHEDIR.TAG'), at('hard link', 'CACHEDIR.TAG'));
    folder('kept back', 0o755);
    tag('kept back', '.nobackup', '');
    folder('named', 0o755);
    tag('named', '.nobackup', '');
  });
  after(async () => {
    await world.dispose();
  });

  const configure = (more: string): void =>
    world.configure({
      scope: `roots = ["${world.data}", "${at('named', 'sub')}"]\nnever = ["${at('kept back')}"]\n${more}`,
    });
  async function backup(status = 0): Promise<{ last: Left; has: (...names: string[]) => boolean }> {
    const result = await world.backup();
    assert.equal(result.status, status, result.stdout + result.stderr);
    const last = result.last as Left;
    return { last, has: (...names) => existsSync(world.tree(last.snapshot ?? '') + at(...names)) };
  }
  const ALL = [
    'root only',
    'odd [n]* name',
    'present',
    'no signature',
    'shared',
    'of another',
    'linked',
    'hard link',
  ];

  it('are backed up whole by default', async () => {
    configure('');
    const { last, has } = await backup();
    for (const name of ALL) assert.ok(has(name, 'sub/deep'), name);
    assert.deepEqual([last.left_out_by_tag, last.left_out_by_tag_new], [[], []]);
  });

  itShort(
    'keep only their tag with the two keys, if the tag belongs to the owner of the folder or to root',
    async () => {
      configure('exclude_caches = true\nexclude_if_present = [".nobackup"]');
      const { last, has } = await backup();
      const out = ['hard link', 'odd [n]* name', 'present', 'root only'];
      assert.deepEqual(
        last.left_out_by_tag.map(each => each.path),
        out.map(each => at(each)),
      );
      for (const name of out) {
        const [tag] = last.left_out_by_tag.filter(each => each.path === at(name)).map(each => each.tag);
        assert.ok(has(name, tag ?? ''), name);
        assert.ok(!has(name, 'a file') && !has(name, 'sub'), name);
      }
      for (const name of [...ALL, 'folder as tag', 'named'].filter(each => !out.includes(each)))
        assert.ok(has(name, 'a file') && has(name, 'sub/deep'), name);
      assert.ok(!has('kept back'));
      const list = readFileSync(join(world.shelf, 'snapshots', last.snapshot ?? '', 'excludes'), 'utf8');
      assert.ok(list.includes(`${at('present')}/**\n`), list);
      // A root in a folder with a tag is named by the config: the folder stays, and the run says so.
      const { stdout } = await world.run(world.client, ['backup', '-v', '--config', world.clientToml]);
      await world.settled();
      assert.match(stdout, matching`${says('cannot-leave-out')}.*named`);
    },
  );

  itShort('are reported as new only after a run that succeeded', async () => {
    mkdirSync(at('later'));
    writeFileSync(at('later', '.nobackup'), '');
    const dry = (await world.backup(['--dry-run'])).last as Left;
    assert.deepEqual(dry.left_out_by_tag_new, [at('later')]);
    chmodSync(world.store, 0o500);
    try {
      chownSync(world.store, 0, 0);
      await world.backup();
    } finally {
      world.own(world.host, world.store);
      chmodSync(world.store, 0o700);
    }
    assert.deepEqual((await backup()).last.left_out_by_tag_new, [at('later')]);
    assert.deepEqual((await backup()).last.left_out_by_tag_new, []);
    rmSync(at('present', '.nobackup'));
    const { last, has } = await backup();
    assert.ok(has('present', 'sub/deep'));
    assert.equal(last.left_out_by_tag.length, 4);
  });

  itShort('are weighed as left out, or as candidates', async () => {
    const weigh = async (): Promise<{
      left_out: Record<string, unknown>[];
      candidates: { path: string; cache: string }[];
    }> => {
      const { status, stdout, stderr } = await world.run(world.client, [
        'weigh',
        '--json',
        '--config',
        world.clientToml,
      ]);
      assert.equal(status, 0, stderr);
      return JSON.parse(stdout);
    };
    const left = (await weigh()).left_out;
    assert.equal(left.find(each => each.path === at('root only'))?.fate, 'tagged');
    configure('');
    const { candidates } = await weigh();
    assert.equal(candidates.find(each => each.path === at('root only'))?.cache, 'CACHEDIR.TAG');
    assert.ok(!candidates.some(each => [at('shared'), at('no signature'), at('linked')].includes(each.path)));
  });

  /** rsync prints local times, so `weigh` runs in another time zone, where the machine has its data. */
  const inKolkata = (): string[] => {
    const { uid, gid, home } = world.client;
    const zone = '/usr/share/zoneinfo/Asia/Kolkata';
    const enter = `[ ! -e ${zone} ] || mount --bind ${zone} /etc/localtime; exec setpriv --reuid=${uid} --regid=${gid} --clear-groups "$@"`;
    return [
      enter,
      'sh',
      'env',
      `HOME=${home}`,
      world.binary,
      'weigh',
      '--json',
      '--config',
      world.clientToml,
    ];
  };
  itLong('mark a large file that changed in most of the last runs', async () => {
    configure('');
    for (const name of ['changing', 'still']) writeFileSync(at(name), Buffer.alloc(2_000_000));
    const marks = async (): Promise<Record<string, unknown>> => {
      const { stdout } = await world.start('root', '/usr/bin/unshare', [
        '-m',
        '/bin/sh',
        '-c',
        ...inKolkata(),
      ]).done;
      const { biggest_files: files } = JSON.parse(stdout) as {
        biggest_files: { path: string; changes: unknown }[];
      };
      return Object.fromEntries(files.map(each => [each.path, each.changes]));
    };
    assert.equal((await marks())[at('changing')], null);
    for (const day of [1, 2]) {
      utimesSync(at('changing'), 1_700_000_000 + day, 1_700_000_000 + day);
      await backup();
    }
    const found = await marks();
    assert.deepEqual(found[at('changing')], { changed: 2, looks: 3 });
    assert.equal(found[at('still')], null);
  });

  itShort('refuses a name that is a path or a pattern', async () => {
    for (const name of ['a/b', '*.tag', '..', ' x', '']) {
      configure(`exclude_if_present = ["${name}"]`);
      const { status, stderr } = await world.run(world.client, ['backup', '--config', world.clientToml]);
      assert.equal(status, 2, name);
      assert.match(stderr, /exclude_if_present/);
    }
  });
});
