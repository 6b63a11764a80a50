// Goal: a restore does not take rsync's word for what can be looked at. A program in rsync's place reports success and writes
// nothing, a part, or elsewhere: the restore fails, names what is missing, and leaves no stage.
import assert from 'node:assert/strict';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { IN_CLEAN_MACHINE } from '../../support/checkout.ts';
import { itLong, itShort, some } from '../../support/long.ts';
import { matching, says } from '../../support/wording.ts';
import { NEEDS_ROOT, type Party, type Result, World } from '../../support/world.ts';

/** What the program does in the place of the rsync that fills the stage; `$real` is rsync, `$last` its destination. */
const FORMS: Record<string, { does: string; names: RegExp }> = {
  'writes nothing': { does: 'exit 0', names: says('did-not-write-into-its') },
  'writes elsewhere': { does: '"$real" "$@" "$elsewhere"; exit 0', names: says('did-not-write-into-its') },
  'leaves out one file': { does: 'run; rm "$data/b/two"', names: /my data\/b\/two" is missing/ },
  'leaves out a folder with all in it': {
    does: 'run; rm -r "$data/b"',
    names: /my data\/b" and 2 more are missing/,
  },
  'leaves out a link': { does: 'run; rm "$data/link"', names: /my data\/link" is missing/ },
  'cuts a file short': {
    does: 'run; truncate -s 3 "$data/b/two"',
    names: /my data\/b\/two" is missing or incomplete/,
  },
  'makes a file of a folder': {
    does: 'run; rmdir "$data/empty"; : >"$data/empty"',
    names: /my data\/empty" is/,
  },
  'makes the top alone': { does: 'run; rm -r "$stage"/*', names: /" and \d+ more are missing/ },
};

describe('an rsync that reports success', { skip: NEEDS_ROOT || IN_CLEAN_MACHINE }, () => {
  let world: World;
  let real: string;
  let stub: string;

  before(async () => {
    world = await World.make();
    const { client, data } = world;
    for (const folder of ['b', 'empty']) {
      mkdirSync(join(data, folder));
      world.own(client, join(data, folder));
    }
    for (const name of ['one', 'b/two', 'b/three'])
      world.write(client, join(data, name), `content of ${name}`);
    await world.start(client, '/bin/ln', ['-s', 'one', join(data, 'link')]).done;
    assert.equal((await world.backup()).status, 0);
    real = join(world.base, 'the real rsync');
    stub = join(world.base, 'stub');
    copyFileSync('/usr/bin/rsync', real);
  });
  after(async () => {
    await world.dispose();
  });

  /** A restore in a mount namespace of its own, with the program in rsync's place. */
  async function restore(
    program: string,
    to: string,
    more: string[] = [],
    party: Party | 'root' = 'root',
  ): Promise<Result> {
    const lines = [
      '#!/bin/sh',
      `real='${real}'`,
      `elsewhere='${world.base}/elsewhere'`,
      program,
      'exec "$real" "$@"',
    ];
    writeFileSync(stub, `${lines.join('\n')}\n`, { mode: 0o755 });
    const into = 'mount --bind "$0" /usr/bin/rsync && exec "$@"';
    const as =
      party === 'root' ? [] : ['setpriv', `--reuid=${party.uid}`, `--regid=${party.gid}`, '--clear-groups'];
    const home = party === 'root' ? '/root' : party.home;
    return await world.start('root', 'unshare', [
      ...['--mount', '--propagation', 'private', 'sh', '-c', into, stub],
      ...[
        ...as,
        'env',
        `HOME=${home}`,
        world.binary,
        'restore',
        world.name,
        '--config',
        world.hostToml,
        '--to',
        to,
      ],
      ...more,
    ]).done;
  }

  /** Only in the place of the rsync that fills the stage: it is the sender, and not told where from by --files-from. */
  const filling = (does: string): string => `
    for last; do :; done
    case "$* " in *" --server "* | *--version* | *--files-from=* | *--exclude=/*) exec "$real" "$@";; esac
    stage=\${last#dialback=restore:}; data="$stage${world.data}"
    run() { "$real" "$@"; }
    set -- "$@"
    ${does.replaceAll('run;', '"$real" "$@";')}
    exit 0`;

  for (const [at, [what, { does, names }]] of Object.entries(FORMS).entries())
    for (const who of some(['root', 'host'] as const, 2, at))
      it(`and ${what}, as ${who}`, async () => {
        const party = who === 'root' ? who : world.host;
        const to = join(who === 'root' ? world.base : world.host.home, `to ${what}`);
        const { status, stderr } = await restore(filling(does), to, [], party);
        assert.equal(status, 1, stderr);
        assert.match(stderr, /^dialback: Cannot restore to "/);
        assert.match(stderr, names);
        assert.deepEqual(readdirSync(to), []);
      });

  itShort('and writes all of it, is believed', async () => {
    const to = join(world.base, 'whole');
    const { status, stderr } = await restore(filling('run;'), to);
    assert.equal(status, 0, stderr);
    assert.equal(readFileSync(join(to, world.data, 'b/two'), 'utf8'), 'content of b/two');
  });

  itShort('or that a part has failed, and has said nothing: what is missing is listed, exit 3', async () => {
    const to = join(world.base, 'a part');
    const { status, stderr } = await restore(filling('run; rm "$data/b/two"; exit 23'), to);
    assert.equal(status, 3, stderr);
    assert.match(stderr, /my data\/b\/two: missing\n/);
    assert.ok(existsSync(join(to, world.data, 'b/three')));
  });

  itShort('and puts nothing into a folder that is not empty', async () => {
    for (const [what, does, names] of [
      ['nothing', 'exit 0', /missing or incomplete/],
      ['a part', '"$real" "$@"; rm "$last"/*/*/*/my*/b/two; exit 0', /my data\/b\/two" is missing/],
    ] as const) {
      const to = join(world.base, `not empty, ${what}`);
      mkdirSync(to);
      writeFileSync(join(to, 'mine'), 'mine');
      const program = `for last; do :; done\ncase "$* " in *--files-from=*) ${does};; esac`;
      const { status, stderr } = await restore(program, to, ['--force']);
      assert.equal(status, 1, stderr);
      assert.match(stderr, matching`^dialback: Cannot ${says('move-the-restored-files-into')} "`);
      assert.match(stderr, names);
    }
  });

  itLong('and leaves a file in place that has another content: it is listed, exit 3', async () => {
    const to = join(world.base, 'not replaced');
    mkdirSync(join(to, world.data, 'b'), { recursive: true });
    writeFileSync(join(to, world.data, 'b/two'), 'mine');
    const keep =
      'two="$last/$here/b/two"; mv "$two" "$two.mine"; "$real" "$@"; mv "$two.mine" "$two"; exit 0';
    const program = `for last; do :; done\nhere='${world.data}'\ncase "$* " in *--files-from=*) ${keep};; esac`;
    const { status, stderr } = await restore(program, to, ['--force']);
    assert.equal(status, 3, stderr);
    assert.match(stderr, matching`my data\/b\/two: ${says('its-content-differs-from-the')}\n`);
  });

  itLong('replaces a file of the same size and time on another file system', async () => {
    const to = join(world.base, 'another file system');
    const file = join(to, world.data, 'b/two');
    // Where something is mounted rsync cannot link, and compares.
    const script = `
      set -eu
      mount -t tmpfs there "$1/tmp"
      mkdir -p "$(dirname "$2")"
      printf 'CONTENT of b/two' >"$2"
      chown --reference="$3" "$2"
      chmod --reference="$3" "$2"
      touch -r "$3" "$2"
      to=$1; file=$2; shift 3
      "$@" --to "$to" --force >&2
      cat "$file"`;
    mkdirSync(join(to, 'tmp'), { recursive: true });
    const restoring = [world.binary, 'restore', world.name, '--config', world.hostToml];
    const place = ['--mount', '--propagation', 'private', 'sh', '-c', script, 'sh'];
    const words = [...place, to, file, join(world.data, 'b/two'), ...restoring];
    const { status, stdout, stderr } = await world.start('root', 'unshare', words).done;
    assert.equal(status, 0, stderr);
    assert.equal(stdout, 'content of b/two');
  });

  itLong('changes no mode of what an ordinary account has restored before', async () => {
    const to = join(world.host.home, 'twice');
    const modes = (): number[] =>
      ['one', 'b/two', 'b/three', 'b'].map(name => statSync(join(to, world.data, name)).mode);
    assert.equal((await world.restore(to, [], world.host)).status, 0);
    const before = modes();
    assert.equal((await world.restore(to, ['--force'], world.host)).status, 0);
    assert.deepEqual(modes(), before);
  });

  itShort('where links are followed, is kept from folders that others control', async () => {
    const older = 'case "$*" in *--insecure-links*) exit 1;; esac';
    const to = join(world.base, 'filled');
    const first = await world.restore(to);
    assert.equal(first.status, 0, first.stderr);
    const before = readdirSync(to);
    for (const more of [['--force'], ['--force', '--dry-run']]) {
      const { status, stderr } = await restore(older, to, more);
      assert.equal(status, 2, stderr);
      assert.match(stderr, /filled\/[^"]*" (can be written by others|belongs to uid)/);
      assert.match(stderr, matching`\n${says('restore-into-an-empty-folder')}`);
      assert.deepEqual(readdirSync(to), before);
    }
    const empty = await restore(older, join(world.base, 'empty'));
    assert.equal(empty.status, 0, empty.stderr);
  });
});
