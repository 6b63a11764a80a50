import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { createInterface } from 'node:readline';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { decodeEvent, encodeEvent, failedOutcome, type OutcomeEvent } from '../src/wire/events.ts';
import {
  DAEMON_REQUEST,
  daemonArguments,
  daemonConfig,
  ioniceArguments,
  type Niceness,
  nicer,
  parseGateCommand,
  pullArguments,
} from '../src/wire/rsync.ts';
import {
  knowsZstd,
  PullReader,
  readComplaint,
  readOversized,
  readOwnFailure,
} from '../src/wire/rsync-output.ts';
import { makeScratch, pull } from './daemon.ts';
import { ANY_CHARACTER } from './support/any-character.ts';
import { stretch } from './support/fair-time.ts';
import { wording } from './support/wording.ts';

/** Every command that a gate lets in, written down by counting and not by a pattern. */
const ALLOWED = new Map<string, Niceness>();
for (let nice = -1; nice <= 19; nice += 1) {
  const front = nice < 0 ? '' : `nice -n${nice} `;
  const put = (middle: string, ionice: Niceness['ionice']): void =>
    void ALLOWED.set(`${front}${middle}rsync --server --daemon .`, { nice: Math.max(nice, 0), ionice });
  put('', null);
  put('ionice -c3 ', { class: 'idle' });
  put('ionice -c2 ', { class: 'best-effort', level: 4 });
  for (let level = 0; level <= 7; level += 1) put(`ionice -c2 -n${level} `, { class: 'best-effort', level });
}

const PLAIN = 'rsync --server --daemon .';
const REFUSED: string[] = [
  '',
  ' ',
  '\n',
  '\0',
  ` ${PLAIN}`,
  `${PLAIN} `,
  `\t${PLAIN}`,
  `${PLAIN}\t`,
  `\n${PLAIN}`,
  `${PLAIN}\n`,
  `${PLAIN}\r`,
  `${PLAIN}\r\n`,
  `${PLAIN}\0`,
  `\0${PLAIN}`,
  `${PLAIN}\u2028`,
  `\ufeff${PLAIN}`,
  `${PLAIN}\u00a0`,
  'rsync  --server --daemon .',
  'rsync\t--server --daemon .',
  'rsync\n--server --daemon .',
  'rsync\u00a0--server --daemon .',
  'rsync --server\0 --daemon .',
  'RSYNC --server --daemon .',
  'rsync --SERVER --daemon .',
  'Rsync --server --daemon .',
  'rsync --server --daemon',
  'rsync --server --daemon . .',
  'rsync --server --daemon ./',
  'rsync --server --daemon ..',
  'rsync --server --daemon /',
  'rsync --server --daemon x',
  'rsync --daemon --server .',
  'rsync --daemon .',
  'rsync --server .',
  'rsync --server --daemon --config=/tmp/x .',
  'rsync --server --daemon . --config=/tmp/x',
  'rsync --server --daemon -v .',
  'rsync --server --daemon --daemon .',
  'rsync --server --sender -logDtpre.iLsfxCIvu . /',
  'rsync --server --sender --daemon .',
  'rsync --server -logDtpre.iLsfxCIvu . /tmp',
  'rsync --server --daemon --sender .',
  'rsync --server --daemon -s .',
  'rsync --version',
  'rsync',
  '/usr/bin/rsync --server --daemon .',
  './rsync --server --daemon .',
  '../rsync --server --daemon .',
  '\\rsync --server --daemon .',
  "'rsync' --server --daemon .",
  'rsync "--server" --daemon .',
  'rsync --server --daemon \\.',
  'rsync2 --server --daemon .',
  'xrsync --server --daemon .',
  'rsync-ssl --server --daemon .',
  `${PLAIN};id`,
  `${PLAIN}; id`,
  `id;${PLAIN}`,
  `${PLAIN}&`,
  `${PLAIN}&&id`,
  `${PLAIN}|sh`,
  `${PLAIN} >/tmp/x`,
  `${PLAIN} #`,
  `${PLAIN} $(id)`,
  `${PLAIN}$(id)`,
  `$(id)${PLAIN}`,
  `\`id\`${PLAIN}`,
  `exec ${PLAIN}`,
  `env ${PLAIN}`,
  `PATH=/tmp ${PLAIN}`,
  `sh -c '${PLAIN}'`,
  `${PLAIN}\n${PLAIN}`,
  `${PLAIN} ${PLAIN}`,
  `nice ${PLAIN}`,
  `nice -n ${PLAIN}`,
  `nice -n 5 ${PLAIN}`,
  `nice -5 ${PLAIN}`,
  `nice --adjustment=5 ${PLAIN}`,
  `nice -n20 ${PLAIN}`,
  `nice -n190 ${PLAIN}`,
  `nice -n-1 ${PLAIN}`,
  `nice -n-20 ${PLAIN}`,
  `nice -n+5 ${PLAIN}`,
  `nice -n05 ${PLAIN}`,
  `nice -n00 ${PLAIN}`,
  `nice -n5. ${PLAIN}`,
  `nice -n0x5 ${PLAIN}`,
  `nice -n1e1 ${PLAIN}`,
  `nice -n５ ${PLAIN}`,
  `nice -n٥ ${PLAIN}`,
  `nice -n5  ${PLAIN}`,
  ` nice -n5 ${PLAIN}`,
  `nice -n5\t${PLAIN}`,
  `nice -n5\n${PLAIN}`,
  `nice -n5 -n5 ${PLAIN}`,
  `nice -n5 nice -n5 ${PLAIN}`,
  `nice -n5`,
  `nice -n5 `,
  `nice -n5 id`,
  `/usr/bin/nice -n5 ${PLAIN}`,
  `Nice -n5 ${PLAIN}`,
  `nice -N5 ${PLAIN}`,
  `ionice ${PLAIN}`,
  `ionice -c ${PLAIN}`,
  `ionice -c0 ${PLAIN}`,
  `ionice -c1 ${PLAIN}`,
  `ionice -c1 -n0 ${PLAIN}`,
  `ionice -c4 ${PLAIN}`,
  `ionice -c33 ${PLAIN}`,
  `ionice -c3 -n1 ${PLAIN}`,
  `ionice -c3 -n7 ${PLAIN}`,
  `ionice -c2 -n8 ${PLAIN}`,
  `ionice -c2 -n-1 ${PLAIN}`,
  `ionice -c2 -n04 ${PLAIN}`,
  `ionice -c2 -n ${PLAIN}`,
  `ionice -c2 -n4 -n4 ${PLAIN}`,
  `ionice -c2-n4 ${PLAIN}`,
  `ionice -c2n4 ${PLAIN}`,
  `ionice -n4 ${PLAIN}`,
  `ionice -n4 -c2 ${PLAIN}`,
  `ionice -c 3 ${PLAIN}`,
  `ionice --class 3 ${PLAIN}`,
  `ionice -cidle ${PLAIN}`,
  `ionice -c3 -p1 ${PLAIN}`,
  `ionice -t -c3 ${PLAIN}`,
  `ionice -c3 ionice -c3 ${PLAIN}`,
  `ionice -c2 ionice -c3 ${PLAIN}`,
  `ionice -c3 nice -n5 ${PLAIN}`,
  `/usr/bin/ionice -c3 ${PLAIN}`,
  `nice -n5 ionice -c3`,
  `nice -n5 ionice -c3 nice -n5 ${PLAIN}`,
  `rsync ionice -c3 --server --daemon .`,
  'rѕync --server --daemon .',
  'rsync −−server −−daemon .',
  'rsync --server --daemon ․',
  'rsync --server --daemon 。',
  'ｒｓｙｎｃ --server --daemon .',
  'rsync --server --daemon .\u0301',
  'rsync\u200b --server --daemon .',
  'internal-sftp',
  'scp -f /etc/passwd',
  'cat /etc/passwd',
];

describe('parseGateCommand()', () => {
  it('refuses a login, where no command is asked for', () => {
    assert.deepEqual(parseGateCommand(undefined), { reason: wording('a-login-was-asked-for') });
  });

  it(`accepts each of the ${ALLOWED.size} allowed commands, and reads them right`, () => {
    assert.equal(ALLOWED.size, 21 * 11);
    for (const [command, value] of ALLOWED) assert.deepEqual(parseGateCommand(command), { value }, command);
    assert.ok(ALLOWED.has(DAEMON_REQUEST));
  });

  assert.ok(REFUSED.length >= 60 && new Set(REFUSED).size === REFUSED.length);
  for (const command of REFUSED)
    it(`refuses ${JSON.stringify(command)}`, () => {
      assert.ok('reason' in parseGateCommand(command));
      assert.ok(!ALLOWED.has(command));
    });

  const allowed = fc.constantFrom(...ALLOWED.keys());
  const letter = fc.oneof(
    fc.string({ unit: ANY_CHARACTER, minLength: 1, maxLength: 1 }),
    fc.constantFrom(...' \n\t\0\r-.0123456789cnrsd;$`\'"\\/&|#'),
  );
  const check = (command: string): void => {
    assert.equal('value' in parseGateCommand(command), ALLOWED.has(command), JSON.stringify(command));
  };

  it('accepts an allowed command that was changed in one place only if it is allowed again', () => {
    fc.assert(
      fc.property(allowed, fc.nat(60), fc.nat(3), letter, (command, where, cut, put) => {
        const at = where % (command.length + 1);
        check(command.slice(0, at) + put + command.slice(at)); // put in
        check(command.slice(0, at) + put + command.slice(at + 1)); // put in the place of another
        check(command.slice(0, at) + command.slice(at + cut)); // left out
        check(command.slice(at) + command.slice(0, at)); // turned round
      }),
      { numRuns: 3000 },
    );
  });

  it('accepts an allowed command whose words were moved only if it is allowed again', () => {
    const words = fc.array(
      fc.constantFrom(
        'nice',
        '-n5',
        '-n19',
        '-n7',
        'ionice',
        '-c3',
        '-c2',
        'rsync',
        '--server',
        '--daemon',
        '.',
        '--sender',
        '',
      ),
      { maxLength: 9 },
    );
    fc.assert(
      fc.property(words, each => check(each.join(' '))),
      { numRuns: 3000 },
    );
    fc.assert(
      fc.property(allowed, fc.nat(8), fc.nat(8), (command, from, to) => {
        const list = command.split(' ');
        const [moved = ''] = list.splice(from % list.length, 1);
        list.splice(to % (list.length + 1), 0, moved);
        check(list.join(' '));
      }),
      { numRuns: 1000 },
    );
  });

  it('accepts two allowed commands put together only if that is allowed', () => {
    fc.assert(
      fc.property(
        allowed,
        allowed,
        fc.constantFrom('', ' ', '\n', ';', '\0', '&&'),
        (one, other, between) => {
          check(`${one}${between}${other}`);
        },
      ),
      { numRuns: 500 },
    );
  });

  it('refuses any text up to 128 KiB, and is quick about it', () => {
    fc.assert(fc.property(fc.string({ unit: ANY_CHARACTER, maxLength: 131_072, size: 'max' }), check), {
      numRuns: 40,
    });
    for (const piece of ['a', ' ', 'nice -n5 ', 'ionice -c2 ', 'rsync ', '\n', `${PLAIN} `, '1'])
      check(piece.repeat(131_072 / piece.length));
    for (const head of ['nice -n', 'ionice -c2 -n', 'rsync --server --daemon '])
      check(head.padEnd(131_072, '1'));
  });

  it('says nothing of the command in its reason', () => {
    const parsed = parseGateCommand('cat /etc/shadow');
    assert.deepEqual(parsed, { reason: wording('something-else-than-rsync-as') });
  });
});

const anyNiceness: fc.Arbitrary<Niceness> = fc.constantFrom(...ALLOWED.values());
/** From the least nice to the nicest. */
const order = (ionice: Niceness['ionice']): number =>
  ionice === null ? 0 : ionice.class === 'idle' ? 9 : ionice.level + 1;

describe('nicer()', () => {
  it('takes the nicer number and the nicer class, when the two differ', () => {
    const idle = { class: 'idle' } as const;
    const level = (level: number) => ({ class: 'best-effort', level }) as const;
    assert.deepEqual(nicer({ nice: 10, ionice: null }, { nice: 5, ionice: idle }), {
      nice: 10,
      ionice: idle,
    });
    assert.deepEqual(nicer({ nice: 0, ionice: idle }, { nice: 19, ionice: level(7) }), {
      nice: 19,
      ionice: idle,
    });
    assert.deepEqual(nicer({ nice: 3, ionice: level(2) }, { nice: 3, ionice: level(5) }), {
      nice: 3,
      ionice: level(5),
    });
    assert.deepEqual(nicer({ nice: 3, ionice: null }, { nice: 3, ionice: level(0) }), {
      nice: 3,
      ionice: level(0),
    });
  });

  it('is never less nice than either, and the same either way round', () => {
    fc.assert(
      fc.property(anyNiceness, anyNiceness, (one, other) => {
        const both = nicer(one, other);
        assert.deepEqual(both, nicer(other, one));
        for (const each of [one, other]) {
          assert.ok(both.nice >= each.nice);
          assert.ok(order(both.ionice) >= order(each.ionice));
        }
        assert.deepEqual(nicer(both, one), both);
        assert.deepEqual(nicer(one, one), one);
      }),
      { numRuns: 1000 },
    );
  });
});

describe('ioniceArguments()', () => {
  it('is what the gate reads again, for each class and level', () => {
    for (const { ionice } of ALLOWED.values()) {
      const args = ioniceArguments(ionice);
      const command = args === undefined ? PLAIN : `ionice ${args.join(' ')} ${PLAIN}`;
      assert.deepEqual(parseGateCommand(command), { value: { nice: 0, ionice } });
    }
  });

  it('is taken by the real ionice, when classes can be set here at all', () => {
    for (const args of [
      ioniceArguments({ class: 'idle' }),
      ioniceArguments({ class: 'best-effort', level: 7 }),
    ]) {
      const { status, stderr } = spawnSync('ionice', ['-t', ...(args ?? []), 'true'], { encoding: 'utf8' });
      assert.equal(status, 0, stderr);
    }
  });
});

describe('daemonConfig()', () => {
  it('has one module, which is read only, hidden, and keeps to the filter', () => {
    const text = daemonConfig({ filter: '/run folder/filter', idleSeconds: 300, confined: false });
    const lines = text.trimEnd().split('\n');
    assert.deepEqual(
      lines.filter(line => line.startsWith('[')),
      ['[root]'],
    );
    for (const line of ['read only = yes', 'list = no', 'exclude from = /run folder/filter', 'timeout = 300'])
      assert.equal(lines.filter(each => each === line).length, 1, line);
    for (const line of lines) assert.match(line, /^(\[root\]|[a-z ]+ =( .*)?)$/);
  });

  it('refuses what a backup does not need, when a peer asks for it', () => {
    using scratch = makeScratch('options');
    const source = `${scratch.path}/source`;
    mkdirSync(source);
    writeFileSync(`${source}/file`, 'x');
    const refused = [
      '--compress',
      '--compress-choice=zstd',
      '--new-compress',
      '--old-compress',
      '--copy-links',
      '--copy-unsafe-links',
      '--checksum',
      '--remove-source-files',
      '--files-from=/dev/null',
      '--open-noatime',
      '--secluded-args',
    ];
    for (const option of refused) {
      const { status, stderr, tree } = pull({
        work: scratch.path,
        roots: [source],
        filter: '',
        more: [option],
      });
      assert.notEqual(status, 0, `${option} was accepted`);
      assert.deepEqual(readdirSync(tree), [], `${option}: ${stderr}`);
    }
  });

  it('lets contents be compared in a run that asks for it, and in no other', () => {
    const refused = (checksum: boolean): string[] => {
      const text = daemonConfig({ filter: '/f', idleSeconds: 1, confined: false, checksum });
      return (/^refuse options = (.*)$/m.exec(text)?.[1] ?? '').split(' ');
    };
    assert.ok(!refused(false).includes('!checksum'));
    assert.deepEqual(
      refused(true).filter(each => !refused(false).includes(each)),
      ['!checksum'],
    );
  });

  it('lets a run be compressed that may be, and not how hard', () => {
    using scratch = makeScratch('compressed');
    const source = `${scratch.path}/source`;
    mkdirSync(source);
    const content = 'the same words again. '.repeat(50_000);
    writeFileSync(`${source}/file`, content);
    const options = { work: scratch.path, roots: [source], filter: '' };
    const one = pull({ ...options, compress: true });
    assert.equal(one.status, 0, one.stderr);
    assert.equal(readFileSync(`${one.tree}${source}/file`, 'utf8'), content);
    const sent = read(one.stdout).counts;
    assert.equal(sent.bytes, content.length);
    assert.ok(sent.transferred_bytes < content.length / 10, `${sent.transferred_bytes} bytes`);
    const plain = read(pull(options).stdout).counts;
    assert.equal(plain.transferred_bytes, content.length);
    for (const more of [
      ['--compress-level=19'],
      ['-M--compress-threads=2'], // a pull does not pass it on by itself
      ['--checksum'],
      ['--copy-links'],
    ]) {
      const { status, tree } = pull({ ...options, compress: true, more });
      assert.notEqual(status, 0, `${more} was accepted`);
      assert.deepEqual(readdirSync(tree), []);
    }
    const { status, tree } = pull({ ...options, compress: true, mayCompress: false });
    assert.notEqual(status, 0);
    assert.deepEqual(readdirSync(tree), []);
  });

  it('lets nobody write, when a peer pushes', () => {
    using scratch = makeScratch('push');
    const target = `${scratch.path}/target`;
    mkdirSync(target);
    chmodSync(target, 0o777);
    pull({ work: scratch.path, roots: ['/nowhere'], filter: '' }); // writes the config and the shell
    const { status, stderr } = spawnSync(
      'rsync',
      ['-r', '-e', `'${scratch.path}/shell'`, `${scratch.path}/filter`, `client::root${target}/`],
      { encoding: 'utf8' },
    );
    assert.notEqual(status, 0);
    assert.match(stderr, /module is read only|refusing/);
    assert.deepEqual(readdirSync(target), []);
  });
});

describe('daemonArguments()', () => {
  it('has a limit only when there is one', () => {
    assert.deepEqual(daemonArguments('/r/c', 0), ['--server', '--daemon', '--config=/r/c', '.']);
    assert.deepEqual(daemonArguments('/r/c', 7), [
      '--server',
      '--daemon',
      '--config=/r/c',
      '--bwlimit=7',
      '.',
    ]);
  });
});

describe('knowsZstd()', () => {
  const words = (list: string): string =>
    `rsync  version 3.2.7  protocol version 31\nChecksum list:\n    xxh128 md5\nCompress list:\n    ${list}\nDaemon auth list:\n    zstd\n`;
  for (const list of ['zstd', 'zstd lz4 zlibx zlib none', 'lz4 zstd none'])
    it(`is so when the list is "${list}"`, () => assert.ok(knowsZstd(words(list))));
  for (const list of ['lz4 zlibx zlib none', 'none', '', 'zstd2 none', 'xzstd none'])
    it(`is not so when the list is "${list}"`, () => assert.ok(!knowsZstd(words(list))));
  it('is not so when there is no list', () => {
    for (const text of ['', 'rsync  version 3.1.3  protocol version 31\n', 'rsync: zstd\n'])
      assert.ok(!knowsZstd(text));
  });
  it('is so for the rsync that is here', () => {
    assert.ok(knowsZstd(spawnSync('rsync', ['--version'], { encoding: 'utf8' }).stdout));
  });
});

describe('pullArguments()', () => {
  it('names each root relative to the module, behind `--`', () => {
    const args = pullArguments({
      insecureLinks: false,
      roots: ['/', '/home/-x'],
      tree: '/store/t',
      linkDests: ['/a', '/b'],
      shell: 'sh',
      idleSeconds: 5,
      dryRun: false,
      checksum: false,
      compress: false,
      maxSize: 2 ** 50,
    });
    assert.deepEqual(args.slice(args.indexOf('--')), [
      '--',
      'client::root/',
      'client::root/home/-x',
      '/store/t/',
    ]);
    assert.deepEqual(
      args.filter(each => /^--(link-dest|dry-run|timeout)/.test(each)),
      ['--timeout=5', '--link-dest=/a', '--link-dest=/b'],
    );
  });
});

/** Reads what a pull printed, as the host does. */
function read(stdout: string): PullReader {
  const reader = new PullReader();
  for (const line of stdout.split(/[\r\n]/)) reader.line(line);
  return reader;
}

describe('readOversized()', () => {
  it('names what rsync leaves out for its size, and nothing else', () => {
    using scratch = makeScratch('oversized');
    const source = `${scratch.path}/source`;
    mkdirSync(source);
    const names = ['large', 'a\nline is over max-size', 'x is over max-size', 'ä', '  7 100%    0.00kB'];
    for (const name of names) writeFileSync(`${source}/${name}`, 'xxxxxx');
    writeFileSync(`${source}/bytes`, 'xxxxx');
    const { stdout, status } = pull({ work: scratch.path, roots: [source], filter: '', maxSize: 5 });
    assert.equal(status, 0);
    const found = stdout.split(/[\r\n]/).flatMap(line => readOversized(line) ?? []);
    assert.deepEqual(found.map(each => each.path).sort(), names.map(name => `${source}/${name}`).sort());
    assert.ok(found.every(each => each.errno === 27));
    assert.equal(readOversized(' is over max-size'), undefined);
    assert.equal(readOversized('x is over max-size '), undefined);
    const long = readOversized(`${'x'.repeat(20_000)} is over max-size`);
    assert.equal(typeof long?.path === 'string' && long.path.length, 4095);
  });
});

describe('PullReader', () => {
  it('tells whether rsync has come to its statistics', () => {
    const reader = new PullReader();
    for (const line of ['>f+++++++++ 7', '  7 100%    0.00kB/s', '']) reader.line(line);
    assert.equal(reader.hasStatistics, false);
    reader.line('Number of files: 2 (reg: 1, dir: 1)');
    assert.equal(reader.hasStatistics, true);
  });

  it('counts what real runs did: first, unchanged, and changed in each way', () => {
    using scratch = makeScratch('counts');
    const { path: work } = scratch;
    const source = `${work}/source`;
    const at = (name: string): string => `${source}/${name}`;
    mkdirSync(at('folder'), { recursive: true });
    for (const name of ['same', 'content', 'mode', 'time', 'both']) writeFileSync(at(name), name);
    writeFileSync(at('folder/empty'), '');
    writeFileSync(at('one'), 'linked');
    linkSync(at('one'), at('two'));
    linkSync(at('one'), at('three'));
    symlinkSync('target', at('symlink'));
    symlinkSync('target', at('symlink changed'));
    assert.equal(spawnSync('mkfifo', [at('fifo')]).status, 0);
    writeFileSync(at('sparse'), '');
    truncateSync(at('sparse'), 1_000_000);
    const folders = work.split('/').length - 1 + 2; // those above the root are sent too

    const first = pull({ work, roots: [source], filter: '' });
    assert.equal(first.status, 0, first.stderr);
    assert.deepEqual(read(first.stdout).counts, {
      files: 13,
      folders,
      bytes: 1_000_000 + 4 + 7 + 4 + 4 + 4 + 3 * 6 + 2 * 'target'.length, // each hard link counts
      transferred_bytes: 1_000_000 + 4 + 7 + 4 + 4 + 4 + 6,
      linked: 0,
      new: 11,
      content_changed: 0,
      attributes_changed: 0,
      new_bytes: 1_000_000 + 4 + 7 + 4 + 4 + 4 + 6,
    });
    assert.equal(read(first.stdout).progress.bytes, 1_000_029);

    const second = pull({ work, roots: [source], filter: '', linkDests: [first.tree] });
    assert.equal(second.status, 0, second.stderr);
    const unchanged = read(second.stdout).counts;
    assert.deepEqual(unchanged, {
      ...read(first.stdout).counts,
      transferred_bytes: 0,
      linked: 13,
      new: 0,
      new_bytes: 0,
    });

    writeFileSync(at('content'), 'CONTENT');
    chmodSync(at('mode'), 0o600);
    utimesSync(at('time'), 1, 1);
    writeFileSync(at('both'), 'BOTH!');
    chmodSync(at('both'), 0o755);
    writeFileSync(at('new'), 'newfile');
    rmSync(at('symlink changed'));
    symlinkSync('other target', at('symlink changed'));
    linkSync(at('same'), at('same too'));
    chmodSync(at('mode'), 0o644 ^ 0o020);
    const third = pull({ work, roots: [source], filter: '', linkDests: [second.tree] });
    assert.equal(third.status, 0, third.stderr);
    const changed = read(third.stdout).counts;
    assert.deepEqual(
      { ...changed, bytes: 0, transferred_bytes: 0 },
      {
        files: 15,
        folders,
        bytes: 0,
        transferred_bytes: 0,
        linked: 8, // folder/empty, same, one, two, three, symlink, fifo, sparse
        new: 1,
        content_changed: 4, // content, both, time (sent again), symlink changed
        attributes_changed: 1,
        new_bytes: 7 + 4 + 4 + 5 + 7, // content, mode, time, both, new
      },
    );
    const { unlinked } = read(third.stdout);
    assert.equal(unlinked.new, 1);
    assert.equal(unlinked.mode, 2); // mode, both
    assert.equal(unlinked.content + unlinked.time, 4);
    assert.deepEqual([unlinked.owner, unlinked.acl, unlinked.xattrs], [0, 0, 0]);
  });

  it('counts why files are not linked, by the letters of rsync', () => {
    const reader = new PullReader();
    for (const line of ['>fcst.og... 1', '.f...p..... 1', '.f....og... 1', '.f...p...a. 1', '.f........x 1'])
      reader.line(line);
    for (const line of ['>f..t...... 1', 'cLc.T...... 1', '>f+++++++++ 1', 'hf+++++++++ 1', '.d...p..... 1'])
      reader.line(line);
    assert.deepEqual(reader.unlinked, { new: 1, content: 2, time: 1, mode: 2, owner: 2, acl: 1, xattrs: 1 });
  });

  it('takes progress lines and statistics as they are, and leaves out what is neither', () => {
    const reader = new PullReader();
    for (const line of [
      '',
      'x',
      '  0 0%',
      'Number of files: x',
      '>f+++++++++',
      '>f+++++++++ 1 2',
      '>f+++++++++ -5',
    ])
      reader.line(line);
    assert.deepEqual(reader.counts, new PullReader().counts);
    reader.line('         65,536  10%    1.00MB/s    0:00:01'); // with commas it would be human-readable
    assert.deepEqual(reader.progress, { bytes: 0, percent: 0 });
    reader.line('          65536  10%    1.00MB/s    0:00:01');
    assert.deepEqual(reader.progress, { bytes: 65_536, percent: 10 });
    reader.line('          65536 999%    1.00MB/s    0:00:01');
    assert.deepEqual(reader.progress, { bytes: 65_536, percent: 100 });
    reader.line('Number of files: 3');
    assert.deepEqual([reader.counts.files, reader.counts.folders], [3, 0]);
  });

  it('knows how many names rsync is done with, and whether it knows of all', () => {
    const reader = new PullReader();
    reader.line('          65536  10%    1.00MB/s    0:00:01');
    reader.line('          65536  10%    1.00MB/s    0:00:01 (xfr#1, to-chk=x/5)');
    assert.equal(reader.reached, undefined);
    reader.line('          65536  10%    1.00MB/s    0:00:01 (xfr#1, ir-chk=1208/1210)');
    assert.deepEqual(reader.reached, { done: 2, total: 1210, isWhole: false });
    reader.line('          65536  10%    1.00MB/s    0:00:01 (xfr#9, to-chk=10/3210)');
    reader.line('          65537  10%    1.00MB/s    0:00:01'); // within a file
    assert.deepEqual(reader.reached, { done: 3200, total: 3210, isWhole: true });
    reader.line('          65536  10%    1.00MB/s    0:00:01 (xfr#9, to-chk=7/5)');
    assert.deepEqual(reader.reached, { done: 0, total: 5, isWhole: true });
    const huge = '9'.repeat(400);
    reader.line(`          65536  10%    1.00MB/s    0:00:01 (xfr#9, to-chk=0/${huge})`);
    const most = Number.MAX_SAFE_INTEGER;
    assert.deepEqual(reader.reached, { done: most, total: most, isWhole: true });
  });

  it('keeps to numbers that a record and an event can hold, when a client claims others', () => {
    const most = Number.MAX_SAFE_INTEGER;
    const huge = '9'.repeat(400);
    const lines = [
      `>f+++++++++ ${huge}`,
      `>f+++++++++ ${huge}`,
      `  ${huge} 5% x`,
      `Number of files: ${huge} (reg: 1)`,
      'Total file size: 9223372036854775807 bytes',
      `Literal data: ${huge} bytes`,
    ];
    const reader = new PullReader();
    for (const line of lines) reader.line(line);
    const { files, bytes, transferred_bytes, new_bytes } = reader.counts;
    assert.deepEqual([files, bytes, transferred_bytes, new_bytes], [most, most, most, most]);
    assert.deepEqual(reader.progress, { bytes: most, percent: 5 });
    reader.line('Number of files: 1 (reg: 1, dir: 5)');
    assert.equal(reader.counts.files, 0);
    const outcome: OutcomeEvent = { ...failedOutcome('rsync'), files, bytes, transferred_bytes };
    assert.deepEqual(decodeEvent(encodeEvent(outcome).trimEnd()), { value: outcome });
  });

  it('never throws, and never counts below nothing, when the lines are arbitrary', () => {
    const near = fc.string({
      unit: fc.constantFrom('>', 'f', '+', '.', ' ', '1', '9', 'h', 'd', '%'),
      maxLength: 24,
    });
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.string(), near), { maxLength: 20 }), lines => {
        for (const count of Object.values(read(lines.join('\n')).counts)) assert.ok(count >= 0);
      }),
      { numRuns: 500 },
    );
  });
});

/** Names of files that a line of text tells badly. */
const HARD_NAMES = [
  'plain',
  'two  blanks ',
  ' leading blank',
  'quote"inside',
  '"',
  'quoted"',
  '"both"',
  "apostrophe's",
  'new\nline',
  'return\rhere',
  'tab\there',
  '\\#123',
  '\\#012x',
  '\\',
  'back\\slash',
  '#123',
  'äöü€😀',
  'colon: (13)',
  '(in root)',
  ' (in root)',
  'a" (in root)',
  'a" (in root) b',
  'a" (in root) failed: No such file or directory (2)',
  'a",b',
  '","user.x",0) failed',
  'file has vanished: "x" (in root)',
  'rsync error: x',
  '%s%n',
  '\u001b[31m',
  '\u202e',
];

/** Complaints of a real pull, without those that say nothing. */
function complaintsOf(stderr: string): NonNullable<ReturnType<typeof readComplaint>>[] {
  return stderr.split('\n').flatMap(line => readComplaint(line) ?? []);
}

describe('readOwnFailure()', () => {
  const tree = '/srv/my "store/ü';
  const shown = '/srv/my "store/\\#303\\#274';
  const no = 'No space left on device (28)';
  const read = (line: string): unknown => {
    const found = readOwnFailure(line, tree);
    return found && [found.names.map(each => each.toString('latin1')), found.errno, found.part];
  };
  const cases: [line: string, names: string[], errno: number | null, part: string][] = [
    [
      `rsync: [receiver] rsync_xal_set: lsetxattr("${shown}/a/.b.AbC123","user.x") failed: ${no}`,
      ['a/b', 'a/.b', 'a/.b.AbC123'],
      28,
      'attributes',
    ],
    [
      `rsync: [receiver] rsync_xal_set: fsetxattr("${shown}/.b","c.AbC123","user." d") failed: ${no}`,
      ['b","c', '.b","c', '.b","c.AbC123'],
      28,
      'attributes',
    ],
    [
      `rsync: [generator] set_xattr_acl: lsetxattr("${shown}/d","user.rsync.%dacl") failed: ${no}`,
      ['d'],
      28,
      'attributes',
    ],
    [
      `rsync: [receiver] failed to write xattr user.rsync.%stat for "${shown}/d/f": ${no}`,
      ['d/f'],
      28,
      'attributes',
    ],
    [
      `rsync: [generator] failed to set times on "${shown}/d/.f.AbC123": Operation not permitted (1)`,
      ['d/.f.AbC123'],
      1,
      'attributes',
    ],
    [
      `rsync: [generator] recv_generator: mkdir "${shown}/\\#377" failed: Invalid argument (22)`,
      ['\xff'],
      22,
      'entry',
    ],
    [
      `rsync: [generator] recv_generator: failed to stat "${shown}/f": File name too long (36)`,
      ['f'],
      36,
      'entry',
    ],
    [
      `rsync: [receiver] mkstemp "${shown}/.f.AbC123" failed: Invalid argument (22)`,
      ['f', '.f', '.f.AbC123'],
      22,
      'entry',
    ],
    [
      `rsync: [generator] symlink "${shown}/l" -> "${shown}/x" failed: Invalid argument (22)`,
      ['l'],
      22,
      'entry',
    ],
    [
      `rsync: [receiver] rename "${shown}/.f.AbC123" -> "d/f": Invalid argument (22)`,
      ['f', '.f', '.f.AbC123'],
      22,
      'entry',
    ],
    [`rsync: [generator] link "${shown}/l" => d/f failed: Too many links (31)`, ['l'], 31, 'entry'],
  ];
  for (const [line, ...expected] of cases)
    it(`reads ${line.replace(shown, 'TREE')}`, () => assert.deepEqual(read(line), expected));

  const none = [
    '',
    'some words',
    `*** Skipping any contents from this failed directory ***`,
    `rsync: [receiver] write failed on "/elsewhere/f": ${no}`,
    `rsync: [receiver] write failed on "${shown}": ${no}`,
    `rsync: [receiver] write failed on "${shown}x/f": ${no}`,
    `rsync: [receiver] write failed on "${shown}/f`,
    `rsync: [sender] send_files failed to open "${shown}/f" (in root): Permission denied (13)`,
    `"${shown}/f": ${no}`,
  ];
  for (const line of none)
    it(`reads nothing in ${JSON.stringify(line)}`, () => assert.equal(read(line), undefined));

  it('throws for no text, and gives away nothing of the path of the tree', () => {
    const piece = fc.oneof(
      fc.constantFrom(
        `"${shown}/`,
        '","',
        '") failed: ',
        '" -> "',
        'rsync: [receiver] ',
        'fsetxattr(',
        '(28)',
      ),
      fc.string({ maxLength: 8 }),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 8 }), pieces => {
        const found = readOwnFailure(pieces.join(''), tree);
        // What the client itself has named so is its own.
        if (pieces.filter(each => each.includes(shown)).length > 1) return;
        for (const each of found?.names ?? []) assert.ok(!each.toString('utf8').includes(tree));
      }),
    );
  });
});

describe('readComplaint()', () => {
  it('names each file and folder that real rsync could not read, whatever its name', () => {
    using scratch = makeScratch('complaints');
    const source = `${scratch.path}/source`;
    mkdirSync(source);
    for (const name of HARD_NAMES) {
      writeFileSync(`${source}/${name}`, 'x');
      chmodSync(`${source}/${name}`, 0);
      mkdirSync(`${source}/folder ${name}`);
      chmodSync(`${source}/folder ${name}`, 0);
    }
    const wild = Buffer.concat([Buffer.from(`${source}/`), Buffer.from('61fffe', 'hex')]);
    writeFileSync(wild, 'x');
    chmodSync(wild, 0);
    const { status, stderr } = pull({ work: scratch.path, roots: [source], filter: '' });
    assert.equal(status, 23);
    const missing = (path: unknown) => ({ missing: { path, errno: 13 } });
    const unopened = (path: unknown) => ({ ...missing(path), isUnopened: true });
    const expected = [
      ...HARD_NAMES.map(name => unopened(`${source}/${name}`)),
      ...HARD_NAMES.map(name => missing(`${source}/folder ${name}`)),
      unopened({ base64: wild.toString('base64') }),
    ];
    const sorted = (list: unknown[]): string[] => list.map(each => JSON.stringify(each)).sort();
    assert.deepEqual(sorted(complaintsOf(stderr)), sorted(expected));
  });

  it('names a root that is not there, and one that is not to be entered', () => {
    using scratch = makeScratch('roots');
    const { path: work } = scratch;
    mkdirSync(`${work}/closed/inner`, { recursive: true });
    chmodSync(`${work}/closed`, 0);
    const roots = [`${work}/not there`, `${work}/closed/inner`, `${work}/a" (in root)/b`];
    const { status, stderr } = pull({ work, roots, filter: '' });
    assert.equal(status, 23);
    // rsync 3.5.0 sometimes adds a broken pipe of its own, where no root could be read at all.
    const about = complaintsOf(stderr).filter(each => !('ours' in each && /Broken pipe/.test(each.ours)));
    assert.deepEqual(about, [
      { missing: { path: roots[0], errno: 2 } },
      { missing: { path: roots[1], errno: 13 } },
      { missing: { path: roots[2], errno: 2 } },
    ]);
  });

  it('names a file whose attributes real rsync could not read', t => {
    using scratch = makeScratch('attributes');
    const source = `${scratch.path}/source`;
    const file = `${source}/quote", here`;
    mkdirSync(source);
    writeFileSync(file, 'x');
    if (spawnSync('setfattr', ['-n', 'user.x', '-v', '1', file]).status !== 0) {
      t.diagnostic('no user attributes in this file system');
      return;
    }
    chmodSync(file, 0);
    const { stderr } = pull({ work: scratch.path, roots: [source], filter: '' });
    assert.match(stderr, /lgetxattr/);
    assert.deepEqual(complaintsOf(stderr), [{ missing: { path: file, errno: 13 } }]);
  });

  it('counts a file that vanished while real rsync ran', async () => {
    using scratch = makeScratch('vanished');
    const { path: work } = scratch;
    const source = `${work}/source`;
    mkdirSync(source);
    // At two seconds for the first file, on a busy machine more.
    writeFileSync(`${source}/a first`, Buffer.alloc(3_000_000 * Math.ceil(stretch()), 'x'));
    for (const name of ['z" (in root)', 'z "2"', 'z']) writeFileSync(`${source}/${name}`, 'x');
    // An empty pull writes the config and the shell, and shows where the next tree will be.
    pull({ work, roots: [`${work}/nothing`], filter: '' });
    const tree = `${work}/vanishing`;
    mkdirSync(tree);
    const args = pullArguments({
      insecureLinks: false,
      roots: [source],
      tree,
      linkDests: [],
      shell: `'${work}/shell'`,
      idleSeconds: 20,
      dryRun: false,
      checksum: false,
      compress: false,
      maxSize: 2 ** 50,
    });
    // All are in the list when its bytes arrive.
    const rsync = spawn('rsync', ['--bwlimit=1500', ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    const lines: string[] = [];
    createInterface({ input: rsync.stderr }).on('line', line => lines.push(line));
    rsync.stdout.resume();
    const closed = new Promise(resolve => rsync.on('close', resolve));
    const vanish = setInterval(() => {
      if (!existsSync(`${tree}${source}`)) return;
      if (!readdirSync(`${tree}${source}`).some(name => name.startsWith('.a first'))) return;
      for (const name of readdirSync(source)) if (name.startsWith('z')) rmSync(`${source}/${name}`);
      clearInterval(vanish);
    }, 5);
    const status = await closed;
    clearInterval(vanish);
    assert.equal(status, 24, lines.join('\n'));
    const complaints = lines.flatMap(line => readComplaint(line) ?? []);
    assert.deepEqual(complaints, Array(3).fill({ vanished: true }));
  });

  const others: [string, ReturnType<typeof readComplaint>][] = [
    ['', undefined],
    ['  ', undefined],
    [
      'rsync error: some files/attrs were not transferred (see previous errors) (code 23) at main.c(1956)',
      undefined,
    ],
    ['rsync warning: some files vanished before they could be transferred (code 24) at main.c(1)', undefined],
    ['rsync: [receiver] mkstemp "/store/x" failed: No space left on device (28)', { ours: '' }],
    ['rsync: [generator] recv_generator: mkdir "/store/x" failed: Permission denied (13)', { ours: '' }],
    ['rsync: [sender] something without a name', { ours: '' }],
    ['rsync: [sender] "/x" in no module', { ours: '' }],
    ['Permission denied (publickey).', { ours: '' }],
    ['file has vanished: "/x"', { ours: '' }],
    ['x file has vanished: "/x" (in root)', { ours: '' }],
    ['@ERROR: auth failed', { ours: '' }],
  ];
  for (const [line, expected] of others)
    it(`takes ${JSON.stringify(line)} for ${expected ? 'our own' : 'nothing'}`, () =>
      assert.deepEqual(readComplaint(line), expected ? { ours: line } : undefined));

  it('cuts a name that is longer than any, so that the client takes the outcome that has it', () => {
    const line = `rsync: [sender] send_files failed to open "/${'a'.repeat(20_000)}" (in root): x (13)`;
    const complaint = readComplaint(line);
    assert.ok(complaint && 'missing' in complaint);
    const { missing } = complaint;
    assert.equal(missing.path, `/${'a'.repeat(4094)}`);
    const outcome: OutcomeEvent = {
      ...failedOutcome('rsync'),
      ...{ outcome: 'incomplete', code: null, missing_count: 1, missing: [missing] },
    };
    assert.deepEqual(decodeEvent(encodeEvent(outcome).trimEnd()), { value: outcome });
  });

  it('never throws, when the line is arbitrary', () => {
    const near = fc
      .array(fc.constantFrom('rsync: [sender] ', '"', ' (in root)', '\\#377', '\\#', '(13)', 'a', ','), {
        maxLength: 10,
      })
      .map(parts => parts.join(''));
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ unit: ANY_CHARACTER }),
          near,
          near.map(each => `rsync: [sender] ${each}`),
        ),
        line => {
          const found = readComplaint(line);
          if (found && 'missing' in found)
            assert.ok(found.missing.errno === null || found.missing.errno < 1000);
        },
      ),
      { numRuns: 2000 },
    );
  });
});
