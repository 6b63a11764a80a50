// Goal: a snapshot shows what was there. Of a tree of every inode type `ls` tells the truth of the source, `cat` gives its
// bytes, `diff` names what was changed and nothing else, `find` each version once, `restore` gives one folder and one file
// back as they were and says beforehand what it would do; and none of those that only look writes to the store.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, describe } from 'node:test';
import { itLong, itShort } from '../../support/long.ts';
import {
  diffManifests,
  escapePath,
  type Manifest,
  type ManifestEntry,
  manifest,
} from '../../support/manifest.ts';
import { isRefusedToOldRsync } from '../../support/own-rsync.ts';
import { makeTortureTree } from '../../support/tree.ts';
import { matching, says } from '../../support/wording.ts';
import { NEEDS_ROOT, type Party, type Result, World } from '../../support/world.ts';

type JsonName = string | { base64: string };

interface Listed {
  path: JsonName;
  type: string;
  mode: string;
  uid: number;
  gid: number;
  size: number | null;
  device: { major: number; minor: number } | null;
  mtime: string;
  target: JsonName | null;
  acl: string | null;
  xattrs: { name: JsonName; value: { base64: string } }[];
}

interface Changed {
  path: JsonName;
  change: string;
  what: string[];
  before: Listed | null;
  after: Listed | null;
}

const bytesOf = (name: JsonName): Buffer =>
  typeof name === 'string' ? Buffer.from(name) : Buffer.from(name.base64, 'base64');

/** A program with arguments of any bytes, which node's own spawn cannot give. */
function runBytes(party: Party | 'root', program: string, args: (string | Buffer)[]) {
  const input = Buffer.concat(args.flatMap(each => [Buffer.from(each as string), Buffer.from([0])]));
  return spawnSync('/usr/bin/xargs', ['-0', program], {
    input,
    cwd: '/',
    env: { PATH: '/usr/bin:/bin', HOME: '/' },
    maxBuffer: 64 * 1024 * 1024,
    ...(party === 'root' ? {} : { uid: party.uid, gid: party.gid }),
  });
}

/** getfacl's own words of everything in a tree, as acl(5)'s short form; by escaped path. */
function readAcls(folder: string): Map<string, string> {
  const text = execFileSync('/usr/bin/getfacl', ['-R', '-P', '-n', '-s', '-p', '-E', folder], {
    encoding: 'latin1',
    maxBuffer: 64 * 1024 * 1024,
  });
  const acls = new Map<string, string>();
  for (const block of text.split('\n\n')) {
    const lines = block.split('\n');
    const path = lines.find(line => line.startsWith('# file: '))?.slice(8);
    if (path === undefined) continue;
    const entries = lines
      .filter(line => line !== '' && !line.startsWith('#'))
      .map(line =>
        line.replace(/^(default:)?([a-z])[a-z]*:/, (_, is, letter) => `${is ? 'd:' : ''}${letter}:`),
      );
    // An access ACL that says no more than the mode is none.
    const access = entries.filter(each => !each.startsWith('d:'));
    const kept = access.length > 3 ? entries : entries.filter(each => each.startsWith('d:'));
    const bytes = path.replace(/\\([0-7]{3})/g, (_, octal: string) =>
      String.fromCharCode(parseInt(octal, 8)),
    );
    if (kept.length > 0) acls.set(escapePath(Buffer.from(bytes, 'latin1')), kept.join(','));
  }
  return acls;
}

describe('looking in and getting back', { skip: NEEDS_ROOT }, () => {
  let world: World;
  let top: string;
  let source: Manifest;
  before(async () => {
    world = await World.make({ launcher: true });
    top = world.data;
    rmSync(top, { recursive: true });
    const { uid, gid } = world.client;
    makeTortureTree(top, { asRoot: true, owner: { uid, gid } });
    // What the torture tree leaves out, since there the reader has no capability.
    mkdirSync(join(top, 'closed'), { mode: 0o000 });
    writeFileSync(join(top, 'closed/secret'), 'secret', { mode: 0o000 });
    chmodSync(join(top, 'closed'), 0o000);
    source = manifest(top);
    const { status, stderr } = await world.backup();
    assert.equal(status, 0, stderr);
  });
  after(async () => {
    await world.dispose();
  });

  const look = async (args: string[], party: Party | 'root' = world.host): Promise<Result> => {
    const [verb = '', ...rest] = args;
    return await world.run(party, [verb, '--config', world.hostToml, ...rest]);
  };
  const rows = async <T>(args: string[], party: Party | 'root' = world.host): Promise<T[]> => {
    const { status, stdout, stderr } = await look([...args, '--json'], party);
    assert.equal(stderr, '');
    assert.equal(status, 0);
    return JSON.parse(stdout) as T[];
  };
  /** As the manifest has it; without what it has no word for. */
  const asTruth = (row: Listed): ManifestEntry => {
    const [date = '', fraction = ''] = row.mtime.replace(/Z$/, '').split('.');
    return {
      type: row.type as NonNullable<ManifestEntry['type']>,
      mode: row.mode,
      uid: row.uid,
      gid: row.gid,
      ...(row.size === null ? {} : { size: row.size }),
      mtimeNs: BigInt(Date.parse(`${date}Z`)) * 1_000_000n + BigInt(fraction),
      ...(row.target === null ? {} : { target: escapePath(bytesOf(row.target)) }),
      ...(row.device === null ? {} : { rdev: `${row.device.major}:${row.device.minor}` }),
      xattrs: new Map(
        row.xattrs.map(({ name, value }) => [
          escapePath(bytesOf(name)),
          `0x${Buffer.from(value.base64, 'base64').toString('hex')}`,
        ]),
      ),
    };
  };
  const below = (path: JsonName): string =>
    escapePath(bytesOf(path).subarray(Buffer.byteLength(top) + 1)) || '.';

  describe('ls', () => {
    itShort('tells the truth of every inode type, name, owner, time, attribute and device', async () => {
      const listed = [
        ...(await rows<Listed>(['ls', world.name, top, '-d'])),
        ...(await rows<Listed>(['ls', world.name, top, '-R'])),
      ];
      const told: Manifest = new Map(listed.map(row => [below(row.path), asTruth(row)]));
      assert.equal(told.size, listed.length, 'each once');
      const truth = manifest(top, {
        without: ['sha256', 'holes', 'link', 'xattr:system.', 'xattr:trusted.'],
      });
      assert.deepEqual(diffManifests(truth, told), []);
      const paths = listed.slice(1).map(row => bytesOf(row.path));
      assert.deepEqual(paths, [...paths].sort(Buffer.compare), 'sorted');
    });

    itShort('tells ACLs as getfacl does', async () => {
      const listed = await rows<Listed>(['ls', world.name, join(top, 'acls'), '-R']);
      const told = new Map<string, string>();
      for (const { path, acl } of listed) if (acl !== null) told.set(escapePath(bytesOf(path)), acl);
      const truth = readAcls(join(top, 'acls'));
      assert.equal(truth.size, 10);
      assert.deepEqual(new Map([...told].sort()), new Map([...truth].sort()));
      // And it is text that setfacl takes.
      const acl = told.get(escapePath(join(top, 'acls/both'))) ?? '';
      const [copy, original] = [join(world.base, 'copy'), join(top, 'acls/both')];
      mkdirSync(copy);
      execFileSync('/usr/bin/setfacl', ['--set', acl, copy]);
      const xattrs = (path: string): unknown => manifest(path).get('.')?.xattrs;
      assert.deepEqual(xattrs(copy), xattrs(original));
    });

    itShort("says the same to root, and is the folder's own entries without -R", async () => {
      const own = await rows<Listed>(['ls', world.name, join(top, 'nodes')]);
      assert.deepEqual(await rows(['ls', world.name, join(top, 'nodes')], 'root'), own);
      const names = readdirSync(join(top, 'nodes')).map(name => join(top, 'nodes', name));
      assert.deepEqual(
        own.map(row => row.path),
        names.sort(),
      );
      assert.deepEqual(
        (await rows<Listed>(['ls', world.name])).map(row => row.path),
        ['/tmp'],
      );
    });

    itShort('as text: one line an entry, true type, mode, owner, size or device, and marks', async () => {
      const line = async (path: string): Promise<string> =>
        (await look(['ls', world.name, '-d', path])).stdout;
      const name = (path: string): string => path.replaceAll('.', '\\.');
      const path = (below: string): string => join(top, below);
      assert.match(await line(path('nodes/char, large numbers')), /^crw------- {3}\d+:\d+ +4000, 1000000 /);
      assert.match(await line(path('owners/setuid of stranger')), /^-rwsr-sr-x {3}12345:54321 +300 20\d\d-/);
      assert.match(await line(path('closed')), /^d--------- {3}0:0 +- /);
      assert.match(await line(path('acls/both')), /^drwxr-s---\+ /);
      assert.match(await line(path('attributes/binary')), /^-rw-r--r-- @ /);
      assert.match(await line(path('modes/folder 1777')), /^drwxrwxrwt {2}/);
      assert.match(
        await line(path('times/symlink before-1970')),
        new RegExp(
          `^lrwxrwxrwx .* 1969-12-31T23:59:59Z ${name(path('times/symlink before-1970'))} -> file before-1970\n$`,
        ),
      );
      const { stdout } = await look(['ls', world.name, path('nodes')]);
      assert.match(stdout, / fifo\\nwith newline\n/, 'names alone, escaped');
    });

    itShort('escapes what a terminal would obey, whatever a name has in it', async () => {
      for (const args of [
        ['ls', world.name, top, '-R'],
        ['ls', world.name, top, '-R', '--json'],
      ]) {
        const { stdout } = await look(args);
        assert.doesNotMatch(stdout.replaceAll('\n', ''), /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\ufffd]/u);
        if (!args.includes('--json')) assert.equal(stdout.split('\n').length, source.size); // all but the top, and the end
      }
    });

    itShort('takes PATHs of any bytes, several of them', async () => {
      const names = [
        Buffer.from([0xff]),
        Buffer.from('new\nline'),
        Buffer.alloc(255, 0xe9),
        Buffer.from('-rf'),
      ];
      const paths = names.map(name => Buffer.concat([Buffer.from(`${top}/names/files/`), name]));
      const { status, stdout } = runBytes(world.host, world.binary, [
        'ls',
        '--config',
        world.hostToml,
        '--json',
        world.name,
        ...paths,
      ]);
      assert.equal(status, 0);
      const listed = JSON.parse(stdout.toString()) as Listed[];
      assert.deepEqual(
        listed.map(row => bytesOf(row.path)),
        paths,
      );
    });
  });

  describe('cat', () => {
    const print = (path: string | Buffer, party: Party | 'root' = world.host) =>
      runBytes(party, world.binary, ['cat', '--config', world.hostToml, world.name, path]);

    itLong('gives the bytes of a file, whatever its name, mode and holes', () => {
      for (const path of [
        'contents/empty',
        'contents/one MiB',
        'sparse/holes everywhere',
        'links/a/five\nof five',
        'closed/secret',
        'names/files/ends in \\',
        'names/files/*',
        Buffer.concat([Buffer.from('names/files/'), Buffer.from([0x80, 0x0a, 0xfe, 0x20])]),
        Buffer.concat([Buffer.from('names/files/'), Buffer.alloc(255, 0xe9)]),
      ]) {
        const at = Buffer.concat([Buffer.from(`${top}/`), Buffer.from(path as string)]);
        for (const party of [world.host, 'root' as const]) {
          const { status, stdout, stderr } = print(at, party);
          assert.equal(String(stderr), '');
          assert.equal(status, 0);
          assert.ok(stdout.equals(readFileSync(at)), String(path));
        }
      }
    });

    itShort('refuses what has no content, and says what it is', async () => {
      for (const [path, message] of [
        ['nodes', /it is a folder\nnext: dialback ls 'acorn@latest' '\/tmp/],
        ['nodes/char', /it is a char device\n$/],
        ['nodes/fifo', /it is a fifo\n$/],
        ['nodes/socket', /it is a socket\n$/],
        [
          'symlinks/relative',
          /it is a symlink to "target"\nnext: dialback cat 'acorn@latest' '\/tmp.*\/symlinks\/target'\n$/,
        ],
        [
          'symlinks/absolute',
          /it is a symlink to "\/etc\/passwd"\nnext: dialback cat 'acorn@latest' '\/etc\/passwd'\n$/,
        ],
        ['symlinks/not UTF-8', matching`${says('it-is-a-symlink-to', '\\377\\376\\012\\200')}\n`],
      ] as const) {
        const { status, stdout, stderr } = await look(['cat', world.name, join(top, path)]);
        assert.equal(status, 1, path);
        assert.equal(stdout, '');
        assert.match(stderr, /^dialback: Cannot print "/);
        assert.match(stderr, message);
      }
    });

    itLong('is quiet when its reader goes away, and fails when the disk is full', async () => {
      const shell = async (line: string): Promise<Result> =>
        await world.start(world.host, '/bin/bash', [
          '-c',
          `set -o pipefail; ${line}`,
          'sh',
          world.binary,
          world.hostToml,
          top,
        ]).done;
      for (const args of ['cat acorn "$3/contents/one MiB"', 'ls acorn / -R', 'ls acorn / -R --json']) {
        const gone = await shell(`"$1" ${args} --config "$2" | head -c 1`);
        assert.equal(gone.stderr, '', args);
        assert.equal(gone.status, 0, args);
        assert.equal(gone.stdout.length, 1);
        const full = await shell(`"$1" ${args} --config "$2" > /dev/full`);
        assert.equal(full.status, 1, args);
      }
      const { stderr } = await shell('"$1" cat acorn "$3/contents/one byte" --config "$2" > /dev/full');
      assert.match(stderr, /^dialback: Cannot print ".*": write error: No space left on device\n$/);
    });
  });

  itShort('says what is wrong with a NAME, a SNAPSHOT, a PATH or an account', async () => {
    for (const [args, exit, message] of [
      [['ls', 'nobody'], 1, says('cannot-find-the-client-the', 'nobody')],
      [['ls', '../x'], 1, says('the-store-has-no-client')],
      [['cat', 'acorn@1999', '/x'], 1, matching`${says('cannot-find-there-is-no', 'acorn', 1999)} acorn`],
      [['diff', 'acorn@latest', '1999'], 1, says('there-is-no-such-snapshot')],
      [['find', 'nobody', 'x'], 1, says('the-store-has-no-client')],
      [['ls', 'acorn', 'tmp'], 2, matching`Cannot list "tmp": ${says('it-is-not-an-absolute')}`],
      [['ls', 'acorn', '/tmp/../tmp'], 2, says('not-an-absolute-path-without')],
      [['ls', 'acorn', '/a//b'], 2, says('not-an-absolute-path-without')],
      [['cat', 'acorn', `${'/x'.repeat(3000)}`], 2, says('not-an-absolute-path-without')],
      [
        ['ls', 'acorn', '/no\u001b[31mthing'],
        1,
        matching`Cannot list "\/no\\u001b\[31mthing": ${says('snapshot-does-not-have-it')}`,
      ],
      [['cat', 'acorn', '/tmp/x'.padEnd(300, 'x')], 1, /does not have it/],
      [['diff', 'acorn@latest', 'latest', '/nothing'], 1, /neither .* nor .* has it/],
    ] as const) {
      const { status, stdout, stderr } = await look([...args]);
      assert.equal(stderr.match(message) !== null, true, `${args.join(' ')}: ${stderr}`);
      assert.equal(status, exit, args.join(' '));
      assert.equal(stdout, '');
    }
    const toml = join(world.client.home, 'host.toml');
    world.write(world.client, toml, `store = "${world.store}"\n`);
    const stranger = await world.run(world.client, ['ls', world.name, '--config', toml]);
    assert.equal(stranger.status, 10);
    assert.match(stranger.stderr, says('it-does-not-exist-or'));
  });

  describe('restore', () => {
    const PARTS = [
      '',
      ...[
        'contents',
        'sparse',
        'modes',
        'symlinks',
        'links',
        'nodes',
        'names',
        'attributes',
        'acls',
        'owners',
        'times',
      ],
      ...['closed', 'contents/one MiB', 'sparse/holes everywhere', 'modes/file 4755', 'symlinks/not UTF-8'],
      ...[
        'nodes/fifo',
        'nodes/socket',
        'nodes/char',
        'nodes/block',
        'attributes/capability and more',
        'acls/both',
      ],
      ...['owners/setuid of largest', 'times/file before-1970', 'names/files/new\nline', 'modes/folder 3777'],
    ];
    /** What the source has at a path and below, as a manifest of `top`. */
    const part = (all: Manifest, path: string): Manifest => {
      const at = escapePath(path);
      const wanted = [...all].filter(([name]) => at === '' || name === at || name.startsWith(`${at}/`));
      const names = new Set(wanted.map(([name]) => name));
      // A partner that is not among them is no partner.
      const groups = Map.groupBy(
        wanted.filter(([, each]) => each.link !== undefined),
        ([, each]) => each.link,
      );
      const links = new Map<string, string | undefined>();
      for (const members of groups.values())
        for (const [name] of members) links.set(name, members.length > 1 ? members[0]?.[0] : undefined);
      assert.ok(names.size > 0, path);
      return new Map(
        wanted.map(([name, { link: _, ...entry }]) => {
          const link = links.get(name);
          return [name, link === undefined ? entry : { ...entry, link }];
        }),
      );
    };

    itLong('of one folder, one file, one node, one link equals the source', async () => {
      for (const [index, path] of PARTS.entries()) {
        const to = join(world.base, `part ${index}`);
        const { status, stderr } = await world.restore(to, [join(top, path)]);
        assert.equal(stderr, '', path);
        assert.equal(status, 0, path);
        const back = manifest(join(to, top));
        assert.deepEqual(diffManifests(part(source, path), part(back, path)), [], path);
        rmSync(to, { recursive: true });
      }
    });

    itShort('takes PATHs of any bytes', () => {
      const name = Buffer.from([0x80, 0x0a, 0xfe, 0x20]);
      const path = Buffer.concat([Buffer.from(`${top}/names/files/`), name]);
      const to = join(world.base, 'bytes');
      const args = ['restore', '--config', world.hostToml, '--to', to, world.name, path];
      const { status, stderr } = runBytes('root', world.binary, args);
      assert.equal(status, 0, String(stderr));
      assert.deepEqual(readdirSync(join(to, top, 'names/files'), 'buffer'), [name]);
      rmSync(to, { recursive: true });
    });

    itLong('--dry-run says what would be written, and makes nothing', async () => {
      for (const paths of [[], [join(top, 'links'), join(top, 'links/a'), join(top, 'nodes/char')]]) {
        const to = join(world.base, 'dry');
        const { status, stdout, stderr } = await world.restore(to, [...paths, '--dry-run', '--json']);
        assert.equal(stderr, '');
        assert.equal(status, 0);
        assert.ok(!existsSync(to));
        const plan = JSON.parse(stdout) as { paths: JsonName[]; files: number; bytes: number };
        const done = await world.restore(to, [...paths, '--json']);
        const { files, bytes } = JSON.parse(done.stdout) as { files: number; bytes: number };
        assert.deepEqual([plan.files, plan.bytes], [files, bytes]);
        const there = [...manifest(to).keys()].filter(name => name !== '.');
        assert.deepEqual(plan.paths.map(path => escapePath(bytesOf(path).subarray(1))).sort(), there.sort());
        rmSync(to, { recursive: true });
      }
    });

    itShort('--dry-run refuses what restore refuses, and names what would be replaced', async () => {
      const to = join(world.base, 'filled');
      mkdirSync(join(to, top, 'contents'), { recursive: true });
      writeFileSync(join(to, top, 'contents/empty'), 'mine');
      const before = manifest(to, { includeInode: true });
      const refused = await world.restore(to, ['--dry-run']);
      assert.equal(refused.status, 2);
      assert.match(refused.stderr, says('not-empty-name-an-empty'));
      const planned = await world.restore(to, [join(top, 'contents'), '--dry-run', '--force']);
      if (isRefusedToOldRsync(planned)) return;
      const { stdout } = planned;
      assert.deepEqual(
        stdout.split('\n').filter(line => line.includes('replaces')),
        [`${top}/contents/empty (replaces what is there)`],
      );
      assert.match(stdout, /\nwould restore 4 files, 1\.1 MiB, of .* to ".*filled"\n$/);
      assert.deepEqual(diffManifests(before, manifest(to, { includeInode: true })), []);
      rmSync(to, { recursive: true });
    });

    itLong('--dry-run tells an ordinary account what it could not give back', async () => {
      const to = join(world.host.home, 'mine');
      interface Told {
        differences: { kind: string; count: number; lacking: number; examples: JsonName[] }[];
      }
      for (const [path, status] of [
        ['owners', 3], // one of them is setuid
        ['nodes', 3], // devices are not made
        ['attributes', 0],
        ['contents', 0],
      ] as const) {
        const ask = async (more: string[]): Promise<Told> => {
          const found = await world.restore(to, [join(top, path), '--json', ...more], world.host);
          assert.equal(found.status, status, `${path}: ${found.stderr}`);
          const what = more.length > 0 ? 'would differ from' : 'differ from';
          if (status === 3)
            assert.match(found.stderr, new RegExp(`^dialback: Cannot give .*: \\d+ ${what} the snapshot\n`));
          // One line for each kind, however many entries there are.
          assert.ok(found.stderr.split('\n').length < 12, found.stderr);
          return JSON.parse(found.stdout) as Told;
        };
        const planned = await ask(['--dry-run']);
        assert.ok(!existsSync(to));
        const { differences } = await ask([]);
        assert.deepEqual(
          differences.map(each => JSON.stringify(each)).sort(),
          planned.differences.map(each => JSON.stringify(each)).sort(),
        );
        rmSync(to, { recursive: true });
      }
    });

    itLong('shows how far it is, on a terminal and nowhere else', async () => {
      const command = (to: string): string =>
        [world.binary, 'restore', world.name, '--config', world.hostToml, '--to', to]
          .map(each => `'${each}'`)
          .join(' ');
      const to = join(world.base, 'shown');
      const { stdout } = await world.start('root', '/usr/bin/script', ['-qec', command(to), '/dev/null'], {
        environment: { TERM: 'xterm' },
      }).done;
      const lines = stdout.split('\r\u001b[K');
      // It is over sooner than there is much to say.
      const shown = lines.slice(1, -1);
      assert.ok(
        shown.length > 0 &&
          shown.every(each => /^restoring(, \d{1,3}%, \d+ files, [\d.]+ [KM]?i?B(, .+)?)?$/.test(each)),
        stdout,
      );
      assert.match(lines.at(-1) ?? '', /^restored \d+ files/, 'the line is taken away');
      rmSync(to, { recursive: true });
      const piped = await world.restore(to);
      assert.equal(piped.stderr, '');
      assert.match(piped.stdout, /^restored .*\n$/);
      rmSync(to, { recursive: true });
    });

    itLong('leaves out no name at the top that looks like a comment, into a filled folder too', async () => {
      // Only as the root of a scope can such a name be at the top: with one of its own.
      const odd = ['/#dialback test', '/;dialback test'];
      for (const each of odd) {
        mkdirSync(each);
        writeFileSync(join(each, 'in it'), 'x');
      }
      try {
        world.configure({ scope: `roots = ["${odd.join('", "')}"]` });
        assert.equal((await world.backup()).status, 0);
        const snapshot = world.snapshots().at(-1);
        const to = join(world.base, 'odd');
        mkdirSync(to);
        writeFileSync(join(to, 'mine'), '');
        const args = [
          'restore',
          `${world.name}@${snapshot}`,
          '--config',
          world.hostToml,
          '--to',
          to,
          '--force',
        ];
        const { status, stderr } = await world.run('root', args);
        assert.equal(status, 0, stderr);
        assert.deepEqual(readdirSync(to).sort(), ['#dialback test', ';dialback test', 'mine']);
        rmSync(to, { recursive: true });
        rmSync(join(world.shelf, 'snapshots', snapshot ?? ''), { recursive: true });
      } finally {
        for (const each of odd) rmSync(each, { recursive: true });
        world.configure();
      }
    });
  });

  describe('diff and find', () => {
    let folder: string;
    let first: string;
    let second: string;
    /** What was done to each name, and what `diff` must say of it. */
    const CHANGES: [name: string | Buffer, line: RegExp, change: (path: string) => void][] = [
      ['content', /^M \S.*content \(content, time\)$/, path => writeFileSync(path, randomBytes(20))],
      [
        'content and mode',
        /^M .* \(content, mode 0644 -> 0600, time\)$/,
        path => {
          writeFileSync(path, 'longer than before');
          chmodSync(path, 0o600);
        },
      ],
      ['mode', /^U .*\/mode \(mode 0644 -> 4755\)$/, path => chmodSync(path, 0o4755)],
      ['owner', /^U .* \(owner 0:0 -> 12345:54321\)$/, path => chownSync(path, 12345, 54321)],
      ['time', /^U .*\/time \(time\)$/, path => lutimesSync(path, 1_500_000_000, 1_500_000_000.25)],
      [
        'acl',
        /^U .*\/acl \(acl\)$/,
        path => execFileSync('/usr/bin/setfacl', ['-m', 'u:12345:r--,m::r--', path]),
      ],
      [
        'xattr',
        /^U .*\/xattr \(xattrs\)$/,
        path => execFileSync('/usr/bin/setfattr', ['-n', 'user.x', '-v', 'y', path]),
      ],
      [
        'capability',
        /^U .*\/capability \(xattrs\)$/,
        path => execFileSync('setcap', ['cap_net_raw=ep', path]),
      ],
      [
        'target',
        /^M .*\/target \(target, time\)$/,
        path => {
          rmSync(path);
          symlinkSync('elsewhere', path);
        },
      ],
      [
        'type',
        /^T .*\/type \(file -> symlink\)$/,
        path => {
          rmSync(path);
          symlinkSync('x', path);
        },
      ],
      [
        'becomes a folder',
        /^T .*\/becomes a folder\/ \(file -> folder\)$/,
        path => {
          rmSync(path);
          mkdirSync(path);
        },
      ],
      [
        'device',
        /^M .*\/device \(device, time\)$/,
        path => {
          rmSync(path);
          execFileSync('/bin/mknod', ['-m', '644', path, 'c', '1', '5']);
        },
      ],
      ['gone', /^- .*\/gone$/, path => rmSync(path)],
      ['moved', /^- .*\/moved$/, path => renameSync(path, `${path} here`)],
      [
        'new\nline \x1b[31m',
        /^U .*\/new\\nline \\u001b\[31m \(mode 0644 -> 0600\)$/,
        path => chmodSync(path, 0o600),
      ],
    ];
    const OTHERS = [
      /^\+ .*\/moved here$/,
      /^\+ .*\/fresh\/$/,
      /^\+ .*\/fresh\/file$/,
      /^- .*\/old\/$/,
      /^- .*\/old\/file$/,
      /^U .*\/a folder\/ \(mode 0755 -> 0700\)$/,
      /^U .*\/changes\/ \(time\)$/,
      /^U .*\/\\377 \(mode 0644 -> 0600\)$/,
    ];
    before(async () => {
      folder = join(top, 'changes');
      mkdirSync(folder);
      for (const [name] of CHANGES) {
        const path = join(folder, String(name));
        if (name === 'target') symlinkSync('somewhere', path);
        else if (name === 'device') execFileSync('/bin/mknod', ['-m', '644', path, 'c', '1', '3']);
        else writeFileSync(path, randomBytes(20));
      }
      for (const each of ['unchanged', 'linked']) writeFileSync(join(folder, each), each);
      linkSync(join(folder, 'linked'), join(folder, 'linked too'));
      for (const each of ['old', 'a folder']) mkdirSync(join(folder, each));
      writeFileSync(join(folder, 'old/file'), 'x');
      writeFileSync(Buffer.concat([Buffer.from(`${folder}/`), Buffer.from([0xff])]), 'x');
      assert.equal((await world.backup()).status, 0);
      for (const [name, , change] of CHANGES) change(join(folder, String(name)));
      mkdirSync(join(folder, 'fresh'));
      writeFileSync(join(folder, 'fresh/file'), 'x');
      rmSync(join(folder, 'old'), { recursive: true });
      chmodSync(join(folder, 'a folder'), 0o700);
      chmodSync(Buffer.concat([Buffer.from(`${folder}/`), Buffer.from([0xff])]), 0o600);
      assert.equal((await world.backup()).status, 0);
      [first = '', second = ''] = world.snapshots().slice(-2);
    });

    itShort('diff names each change once, and nothing else', async () => {
      const { status, stdout, stderr } = await look(['diff', `${world.name}@${first}`, second, top]);
      assert.equal(stderr, '');
      assert.equal(status, 0);
      // Of the folders above, others change /tmp while this runs.
      const lines = stdout.split('\n').slice(0, -1);
      for (const pattern of [...CHANGES.map(([, line]) => line), ...OTHERS]) {
        const found = lines.filter(line => pattern.test(line));
        assert.equal(found.length, 1, `${pattern}: ${found.join(' | ')}\n${stdout}`);
      }
      assert.equal(lines.length, CHANGES.length + OTHERS.length, stdout);
      const paths = lines.map(line => line.slice(2));
      assert.equal(new Set(paths).size, paths.length);
    });

    itShort('diff the other way round is the same turned round', async () => {
      const there = await rows<Changed>(['diff', `${world.name}@${first}`, second]);
      const back = await rows<Changed>(['diff', `${world.name}@${second}`, `${world.name}@${first}`], 'root');
      const turned = { added: 'removed', removed: 'added' } as Record<string, string>;
      assert.deepEqual(
        back,
        there
          .map(({ change, before, after, ...rest }) => ({
            ...rest,
            change: turned[change] ?? change,
            before: after,
            after: before,
          }))
          .map(({ path, what, change, before, after }) => ({ path, change, what, before, after })),
      );
      const mode = there.find(({ path }) => path === join(folder, 'mode'));
      assert.deepEqual([mode?.before?.mode, mode?.after?.mode, mode?.what], ['0644', '4755', ['mode']]);
    });

    itShort(
      'diff of a snapshot with itself, and of what did not change, says nothing; of PATHs only theirs',
      async () => {
        assert.deepEqual(await rows(['diff', `${world.name}@${first}`, first]), []);
        assert.deepEqual(
          await rows([
            'diff',
            `${world.name}@${first}`,
            second,
            join(top, 'names'),
            join(folder, 'unchanged'),
          ]),
          [],
        );
        const some = await rows<Changed>([
          'diff',
          `${world.name}@${first}`,
          second,
          join(folder, 'gone'),
          join(folder, 'fresh'),
        ]);
        assert.deepEqual(
          some.map(({ path, change }) => [path, change]),
          [
            [join(folder, 'fresh'), 'added'],
            [join(folder, 'fresh/file'), 'added'],
            [join(folder, 'gone'), 'removed'],
          ],
        );
      },
    );

    itShort('find has each version of a file once, with the snapshots that hold it', async () => {
      interface Found {
        path: JsonName;
        folder: boolean;
        size: number | null;
        mtime: string | null;
        snapshots: string[];
      }
      const all = world.snapshots();
      const content = await rows<Found>(['find', world.name, 'content']);
      assert.deepEqual(
        content.map(({ path, size, snapshots }) => [path, size, snapshots]),
        [
          [join(folder, 'content'), 20, [first]],
          [join(folder, 'content'), 20, [second]],
        ],
      );
      const old = await rows<Found>(['find', world.name, '*/times/file *1970']);
      const truth = lstatSync(join(top, 'times/file before-1970'), { bigint: true });
      assert.equal(truth.mtimeNs, -1n);
      assert.deepEqual(
        old.map(({ path, mtime, snapshots }) => [path, mtime, snapshots]),
        [
          [join(top, 'times/file 1970'), '1970-01-01T00:00:00.000000000Z', all],
          [join(top, 'times/file before-1970'), '1969-12-31T23:59:59.999999999Z', all],
        ],
      );
      const text = await look(['find', world.name, 'FILE BEFORE-*', '-i'], 'root');
      assert.equal(text.stderr, '');
      assert.equal(
        text.stdout,
        `${top}/times/file before-1970  300 B  1969-12-31T23:59:59Z  ${all[0]} … ${all.at(-1)} (${all.length} snapshots)\n`,
      );
      const strange = await look(['find', world.name, 'new*31m']);
      assert.match(strange.stdout, /new\\nline \\u001b\[31m {2}20 B .*\n.*new\\nline/);
      assert.deepEqual(await rows(['find', world.name, 'there is none']), []);
      const folders = await look(['find', world.name, 'fresh']);
      assert.equal(folders.stdout, `${folder}/fresh  folder  ${second}\n`);
    });

    itLong('ls, cat, diff, export and a dry run write nothing to the store, whoever runs them', async () => {
      const state = (): Manifest => manifest(world.store, { includeInode: true });
      const before = state();
      for (const party of [world.host, 'root' as const]) {
        const to = join(party === 'root' ? world.base : party.home, 'nowhere');
        for (const args of [
          ['ls', world.name, '/', '-R'],
          ['ls', world.name, '/', '-R', '--json'],
          ['cat', world.name, join(top, 'contents/one MiB')],
          ['diff', `${world.name}@${first}`, second],
          ['export', world.name],
          ['restore', world.name, '--to', to, '--dry-run'],
        ]) {
          const { status } = await look(args, party);
          assert.ok(status === 0 || (args[0] === 'restore' && status === 3), args.join(' '));
        }
      }
      assert.deepEqual(diffManifests(before, state()), []);
      assert.deepEqual(world.leftovers(), []);
    });

    itLong('restore of the whole snapshot equals the source', async () => {
      const to = join(world.base, 'whole');
      const { status, stderr } = await world.restore(to);
      assert.equal(stderr, '');
      assert.equal(status, 0);
      assert.deepEqual(diffManifests(manifest(top), manifest(join(to, top))), []);
    });
  });
});
