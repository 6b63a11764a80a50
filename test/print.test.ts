import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { helpText } from '../src/cli/args.ts';
import {
  differenceText,
  entryJson,
  entryText,
  listText,
  missingText,
  outcomeJson,
  summaryText,
  wordsText,
} from '../src/cli/print.ts';
import type { RunOutcome } from '../src/client/run-events.ts';
import { EXIT, Fault } from '../src/fault.ts';
import { hookJson, hookWordsText, newsText } from '../src/output/run-news.ts';
import { showBytes, showDuration, showTime } from '../src/output/units.ts';
import type { Difference } from '../src/store/diff.ts';
import type { TreeEntry } from '../src/store/fake-super.ts';
import type { Listed } from '../src/store/list.ts';
import { failedOutcome, type OutcomeEvent, type UnstoredEvent } from '../src/wire/events.ts';
import { jsonName } from '../src/wire/text.ts';

const FULL: OutcomeEvent = {
  ...failedOutcome('rsync'),
  outcome: 'full',
  code: null,
  snapshot: '2026-11-23T00-12-00Z',
  files: 3,
  bytes: 2048,
  transferred_bytes: 10,
};
const run = (outcome: OutcomeEvent | undefined, more: Partial<RunOutcome> = {}): RunOutcome => ({
  remote: 'nas',
  outcome,
  fault: undefined,
  exit: EXIT.done,
  durationMs: 1234,
  ...more,
});
const lacking = (missing: OutcomeEvent['missing'], count = missing.length): OutcomeEvent => ({
  ...FULL,
  outcome: 'incomplete',
  missing,
  missing_count: count,
});

describe('wordsText()', () => {
  it('is plain ASCII for who reads no UTF-8', () => {
    assert.equal(wordsText('run … and wait', true), 'run … and wait');
    assert.equal(wordsText('run … and …', false), 'run ... and ...');
  });
  it('leaves no other letter in the help', () => assert.match(wordsText(helpText(), false), /^[\n -~]+$/));
});

describe('showBytes()', () => {
  for (const [bytes, text] of [
    [0, '0 B'],
    [1, '1 B'],
    [1023, '1023 B'],
    [1024, '1.0 KiB'],
    [1536, '1.5 KiB'],
    [1024 ** 2, '1.0 MiB'],
    [1024 ** 3, '1.0 GiB'],
    [1024 ** 4, '1.0 TiB'],
    [1024 ** 5, '1024.0 TiB'],
  ] as const)
    it(`shows ${bytes} as ${text}`, () => assert.equal(showBytes(bytes), text));

  it('is within a twentieth of a unit of what it is told', () => {
    fc.assert(
      fc.property(fc.nat({ max: Number.MAX_SAFE_INTEGER }), bytes => {
        const [number = '', unit = ''] = showBytes(bytes).split(' ');
        const size = 1024 ** ['B', 'KiB', 'MiB', 'GiB', 'TiB'].indexOf(unit);
        assert.ok(Math.abs(Number(number) * size - bytes) <= size * 0.050001);
      }),
    );
  });
});

describe('showDuration()', () => {
  for (const [ms, text] of [
    [0, '0.0 s'],
    [1234, '1.2 s'],
    [59_900, '59.9 s'],
    [60_000, '1 min 0 s'],
    [185_000, '3 min 5 s'],
    [119_999, '2 min 0 s'],
  ] as const)
    it(`shows ${ms} ms as ${text}`, () => assert.equal(showDuration(ms), text));
});

describe('summaryText()', () => {
  it('is one line on a success', () => {
    assert.equal(
      summaryText(run({ ...FULL, vanished: 2 })),
      'nas: backed up: 3 files, 2.0 KiB, in snapshot 2026-11-23T00-12-00Z (10 B sent, in 1.2 s); 2 were gone before they were read\n',
    );
    assert.match(summaryText(run(lacking([{ path: '/x', errno: 13 }]))), /^nas: backed up in part: 3 files/);
  });
  it('says that nothing was kept only of a dry run', () => {
    assert.equal(
      summaryText(run({ ...FULL, snapshot: null })),
      'nas: dry run: 3 files, 2.0 KiB would be in the backup; nothing was kept\n',
    );
    assert.equal(summaryText(run(failedOutcome('rsync'))), '');
  });
  it('says nothing of a run without an outcome', () => assert.equal(summaryText(run(undefined)), ''));
});

describe('outcomeJson()', () => {
  it('is one line of JSON with each key of the design, for a run that failed too', () => {
    const fault = new Fault({ tried: 'x', found: 'y' });
    for (const each of [run(FULL), run(undefined, { fault }), run(lacking([{ path: 'a\nb', errno: 13 }]))]) {
      const text = outcomeJson(each);
      assert.equal(text.indexOf('\n'), text.length - 1);
      const keys = Object.keys(JSON.parse(text));
      for (const key of [
        'event',
        'remote',
        'outcome',
        'snapshot',
        'files',
        'bytes',
        'transferred_bytes',
        'duration_ms',
        'missing',
      ])
        assert.ok(keys.includes(key), key);
    }
    assert.equal(JSON.parse(outcomeJson(run(undefined, { fault }))).error, 'Cannot x: y');
    assert.equal(JSON.parse(outcomeJson(run(undefined))).outcome, 'failed');
  });
});

describe('the words of a hook', () => {
  const hook = (more: object = {}): Parameters<typeof hookWordsText>[0] => ({
    ...{ event: 'hook', remote: 'nas', hook: 'before', program: '/x y', status: 0, signal: null },
    ...{ durationMs: 1234, words: ['one', 'two\\u001b'], wordsLost: 0, failed: undefined, ...more },
  });
  it('are not said of a hook that went well, unless they are asked for', () => {
    assert.equal(hookWordsText(hook(), false), '');
    assert.equal(hookWordsText(hook(), true), 'before: one\nbefore: two\\u001b\n');
    assert.equal(newsText(hook()), 'nas: the hook before ended well, in 1.2 s\n');
  });
  it('are said of one that failed, with how many there were before', () => {
    const failed = hook({ wordsLost: 7, status: 3, failed: 'ended with status 3' });
    assert.equal(
      hookWordsText(failed, false),
      'before: … 7 lines before these\nbefore: one\nbefore: two\\u001b\n',
    );
    assert.equal(newsText(failed), 'nas: the hook before ended with status 3, in 1.2 s\n');
  });
  it('are one line of JSON with the rest', () => {
    assert.deepEqual(JSON.parse(hookJson(hook({ failed: 'was odd' }))), {
      ...{ event: 'hook', remote: 'nas', hook: 'before', program: '/x y', status: 0, signal: null },
      ...{ words: ['one', 'two\\u001b'], duration_ms: 1234, words_lost: 0, error: 'was odd' },
    });
  });
  it('make a run that was left out "skipped", and one with a bad end "full" with an error', () => {
    const skipped = run(undefined, { skipped: 'the hook "before" said "not now"' });
    assert.equal(JSON.parse(outcomeJson(skipped)).outcome, 'skipped');
    assert.equal(summaryText(skipped), 'nas: skipped: the hook "before" said "not now"\n');
    const bad = JSON.parse(outcomeJson(run(FULL, { hookFault: new Fault({ tried: 'x', found: 'y' }) })));
    assert.deepEqual([bad.outcome, bad.error], ['full', 'Cannot x: y']);
  });
});

describe('missingText()', () => {
  it('says nothing of a run that is full or failed', () => {
    for (const each of [FULL, failedOutcome('rsync'), undefined]) assert.equal(missingText(run(each)), '');
  });
  it('names 15 and counts the rest', () => {
    const missing = Array.from({ length: 100 }, (_, index) => ({ path: `/f${index}`, errno: 13 }));
    const lines = missingText(run(lacking(missing, 250)))
      .trimEnd()
      .split('\n');
    assert.equal(lines[0], 'dialback: Cannot back up everything to "nas": 250 could not be read');
    assert.deepEqual(lines.slice(15), [
      '  /f14 (permission denied)',
      '  and 235 more',
      'next: let this account read them, or name them in `exclude` of client.toml',
    ]);
  });
  it('names the same list once for several remotes, and another one again', () => {
    const missing = [{ path: '/f', errno: 13 }];
    const [first, second] = [run(lacking(missing)), run(lacking(missing), { remote: 'away' })];
    assert.equal(
      missingText(second, [run(FULL), run(undefined), first]),
      'dialback: Cannot back up everything to "away": 1 could not be read\n  the same as to "nas"\n',
    );
    for (const other of [lacking([{ path: '/g', errno: 13 }]), lacking(missing, 2), FULL])
      assert.match(missingText(second, [run(other)]), /^ {2}\/f \(permission denied\)$/m);
  });
  const unstored = (count: number, files: UnstoredEvent['files']): UnstoredEvent => ({
    event: 'unstored',
    count,
    files,
  });
  it('names what the host could not store after what could not be read, and sends the user to the host', () => {
    const files: UnstoredEvent['files'] = [
      { path: '/a', errno: 28, part: 'attributes' },
      { path: '/b', errno: 27, part: 'entry' },
      { path: '/c', errno: 5, part: 'entry' },
      { path: '/d', errno: null, part: 'attributes' },
    ];
    const named = [
      '  /a (the backup host could not store all of its attributes: its file system has no room for them)',
      '  /b (the backup host could not store it: it is larger than a file can be there)',
      '  /c (the backup host could not store it: i/o error)',
      '  /d (the backup host could not store all of its attributes)',
    ];
    assert.deepEqual(missingText(run(lacking([]), { unstored: unstored(9, files) })).split('\n'), [
      'dialback: Cannot back up everything to "nas": the backup host could not store 9 completely',
      ...named,
      '  and 5 more',
      "next: ask the host's administrator: its log has the reason; or name them in `exclude` of client.toml",
      '',
    ]);
    const both = run(lacking([{ path: '/f', errno: 13 }]), { unstored: unstored(4, files) });
    assert.deepEqual(missingText(both).split('\n'), [
      'dialback: Cannot back up everything to "nas": 1 could not be read; the backup host could not store 4 completely',
      '  /f (permission denied)',
      ...named,
      'next: let this account read them, or name them in `exclude` of client.toml',
      '',
    ]);
    const { missing, missing_reasons: reasons, missing_count: count } = JSON.parse(outcomeJson(both));
    assert.deepEqual([missing, count], [['/f', '/a', '/b', '/c', '/d'], 5]);
    assert.deepEqual(reasons.slice(0, 2), ['permission denied', named[0]?.slice(6, -1)]);
  });
  it('names 15 of both together', () => {
    const missing = Array.from({ length: 10 }, (_, index) => ({ path: `/f${index}`, errno: 13 }));
    const files = Array.from({ length: 100 }, (_, index) => ({
      ...{ path: `/u${index}`, errno: 36, part: 'entry' as const },
    }));
    const lines = missingText(run(lacking(missing), { unstored: unstored(200, files) })).split('\n');
    assert.equal(lines[15], '  /u4 (the backup host could not store it: name too long)');
    assert.equal(lines[16], '  and 195 more');
  });
  it('does not take lists for the same that differ in what the host could not store', () => {
    const one = run(lacking([]), { unstored: unstored(1, [{ path: '/a', errno: 28, part: 'attributes' }]) });
    const other = run(lacking([]), { unstored: unstored(1, [{ path: '/a', errno: 5, part: 'entry' }]) });
    assert.match(missingText(one, [{ ...one, remote: 'away' }]), /the same as to "away"/);
    assert.doesNotMatch(missingText(one, [{ ...other, remote: 'away' }]), /the same/);
  });
  it('sends whoever has a disk that fails to the disk', () =>
    assert.match(missingText(run(lacking([{ path: '/f', errno: 5 }]))), /\nnext: .*\(dmesg\)/));
  const causes: [number, RegExp, RegExp][] = [
    [1, /\(operation not permitted\)/, /let this account read them/],
    [2, /\(not there\)/, /set `roots`/],
    [13, /\(permission denied\)/, /let this account read them/],
    [40, /\(too many symbolic links encountered\)/, /name them in `exclude`/],
    [61, /\(it changed while it was read, twice\)/, /back up again/],
    [107, /\(socket is not connected\)/, /mount their file system again/],
    [116, /\(its server has it no longer\)/, /mount their file system again/],
    [117, /\(the file system is damaged\)/, /fsck/],
    [999, /\(errno 999\)/, /let this account read them/],
  ];
  for (const [errno, words, next] of causes)
    it(`says what errno ${errno} is and what to do`, () => {
      const text = missingText(run(lacking([{ path: '/f', errno }])));
      assert.match(text, words);
      assert.match(text, next);
    });
  it('gives the advice for the most urgent cause', () => {
    const missing = [13, 2, 5, 61].map(errno => ({ path: `/f${errno}`, errno }));
    assert.match(missingText(run(lacking(missing))), /next: .*\(dmesg\)/);
  });
  it('lets no control character of a name through, and keeps a line a name', () => {
    const name = fc.uint8Array({ minLength: 1, maxLength: 40 }).map(bytes => jsonName(Buffer.from(bytes)));
    fc.assert(
      fc.property(fc.array(name, { minLength: 1, maxLength: 10 }), names => {
        const text = missingText(run(lacking(names.map(path => ({ path, errno: null })))));
        assert.equal(text.split('\n').length, names.length + 3);
        assert.doesNotMatch(text.replaceAll('\n', ''), /[\p{Cc}\p{Bidi_Control}]/u);
      }),
    );
  });
});

describe('listText()', () => {
  const row = (more: Partial<Listed>): Listed => ({
    client: 'a',
    snapshot: '2026-11-23T00-12-00Z',
    started: '',
    finished: '',
    state: 'full',
    files: 1,
    bytes: 1,
    new_bytes: 0,
    pinned: false,
    flags: [],
    ...more,
  });
  it('is a table with a head, in columns', () => {
    const text = listText([
      row({ client: 'laptop', files: 12_345, bytes: 4096 }),
      row({ flags: ['x', 'y'] }),
    ]);
    assert.equal(
      text,
      [
        'client  snapshot              state  files     size  new  flags',
        'laptop  2026-11-23T00-12-00Z  full   12345  4.0 KiB  0 B',
        'a       2026-11-23T00-12-00Z  full       1      1 B  0 B  x,y',
        '',
      ].join('\n'),
    );
  });
  it('is the head alone when there is nothing', () =>
    assert.match(listText([]), /^client {2}snapshot.*flags\n$/));
});

describe('newsText()', () => {
  it('is one line a phase or warning, and none for progress', () => {
    assert.equal(newsText({ event: 'progress', remote: 'nas', bytes: 1024, percent: 5, files: null }), '');
    assert.equal(newsText({ event: 'phase', remote: 'nas', phase: 'copying' }), 'nas: copying\n');
    assert.equal(newsText({ event: 'warning', remote: 'nas', message: 'x' }), 'nas: warning: x\n');
    const waiting = { event: 'waiting', remote: 'nas', ms: 65_000, found: null } as const;
    assert.equal(newsText({ ...waiting, why: 'jitter' }), 'nas: waiting 1 min 5 s, by chance\n');
    assert.equal(
      newsText({ ...waiting, why: 'lock', ms: null }),
      'nas: waiting for the run that is under way\n',
    );
    assert.equal(
      newsText({ ...waiting, why: 'retry', found: 'Cannot x: y' }),
      'nas: Cannot x: y; again in 1 min 5 s\n',
    );
    assert.equal(
      newsText({ ...waiting, why: 'turn', ms: 900, found: 'Cannot x: y' }),
      'nas: Cannot x: y; its turn may come in 0.9 s\n',
    );
  });

  const rates = { link: 2.5 * 2 ** 20, processor: 200 * 2 ** 20 };
  for (const [compress, because, text] of [
    [true, 'set', 'compressed with zstd, as client.toml says'],
    [false, 'set', 'not compressed, as client.toml says'],
    [false, 'no-zstd', 'not compressed: rsync here does not know zstd'],
    [false, 'unmeasured', 'not compressed: how fast the link is could not be measured'],
    [
      true,
      'measured',
      'compressed with zstd: the link carries 2.5 MiB a second, the processor compresses 200.0 MiB',
    ],
  ] as const)
    it(`says "${text}"`, () => {
      const news = { event: 'compression', remote: 'nas', compress, because } as const;
      const found = because === 'measured' ? rates : undefined;
      assert.equal(newsText({ ...news, rates: found }), `nas: ${text}\n`);
    });
});

const ENTRY: TreeEntry = {
  path: Buffer.from('etc/a file'),
  type: 'file',
  mode: 0o644,
  uid: 0,
  gid: 42,
  device: null,
  size: 12,
  mtimeNs: 1_700_000_000_000_000_001n,
  inode: 1n,
  links: 1,
  target: null,
  acl: null,
  xattrs: [],
};

describe('showTime()', () => {
  it('is RFC 3339 in UTC, down to the nanosecond before 1970 too', () => {
    assert.equal(showTime(0n, 9), '1970-01-01T00:00:00.000000000Z');
    assert.equal(showTime(-1n, 9), '1969-12-31T23:59:59.999999999Z');
    assert.equal(showTime(-1n, 0), '1969-12-31T23:59:59Z');
    assert.equal(showTime(1_700_000_000_123_456_789n, 9), '2023-11-14T22:13:20.123456789Z');
  });
  it('says the seconds where there is no year of four digits', () => {
    assert.equal(showTime(253_402_300_799_000_000_000n, 0), '9999-12-31T23:59:59Z');
    assert.equal(showTime(253_402_300_800_000_000_000n, 9), '@253402300800.000000000');
    assert.equal(showTime(2n ** 62n * 1_000_000_000n, 0), '@4611686018427387904');
    assert.equal(showTime(-62_167_219_201_000_000_000n, 0), '@-62167219201');
  });
});

describe('entryText() and entryJson()', () => {
  const line = (more: Partial<TreeEntry>, folder?: string): string =>
    entryText({ ...ENTRY, ...more }, folder === undefined ? undefined : Buffer.from(folder));
  it('show type and mode as ls does', () => {
    for (const [type, mode, shown] of [
      ['file', 0o644, '-rw-r--r--'],
      ['file', 0, '----------'],
      ['file', 0o7777, '-rwsrwsrwt'],
      ['file', 0o7666, '-rwSrwSrwT'],
      ['folder', 0o1755, 'drwxr-xr-t'],
      ['symlink', 0o777, 'lrwxrwxrwx'],
      ['fifo', 0o600, 'prw-------'],
      ['socket', 0o755, 'srwxr-xr-x'],
      ['char device', 0o600, 'crw-------'],
      ['block device', 0o060, 'b---rw----'],
    ] as const)
      assert.equal(line({ type, mode }).slice(0, 10), shown);
  });
  it('show the name alone below the folder that was asked for, else the whole path', () => {
    const head = '-rw-r--r--   0:42                  12 2023-11-14T22:13:20Z ';
    assert.equal(line({}), `${head}/etc/a file\n`);
    assert.equal(line({}, ''), `${head}etc/a file\n`);
    assert.equal(line({}, 'etc'), `${head}a file\n`);
    assert.equal(line({}, 'etc/a file'), `${head}/etc/a file\n`);
  });
  it('mark an ACL and xattrs, and escape a name and a target', () => {
    const xattrs = [{ name: Buffer.from('user.x'), value: Buffer.from([0, 255]) }];
    const odd = {
      path: Buffer.from('a\u001b[2J\n'),
      type: 'symlink',
      target: Buffer.from([0xff, 0x0a]),
    } as const;
    assert.match(line({ acl: 'u::rw-', xattrs }), /^-rw-r--r--\+@ /);
    assert.match(line(odd), / \/a\\u001b\[2J\\n -> \\377\\012\n$/);
    const json = entryJson({ ...ENTRY, ...odd, xattrs });
    assert.deepEqual(json.target, { base64: '/wo=' });
    assert.deepEqual(json.xattrs, [{ name: 'user.x', value: { base64: 'AP8=' } }]);
  });
  it('give a device its numbers, and a folder no size', () => {
    const device = { type: 'char device', device: { major: 4000, minor: 1 }, size: 0 } as const;
    assert.match(line(device), / 4000, 1 2023/);
    assert.match(line({ type: 'folder' }), / - 2023/);
    assert.equal(entryJson({ ...ENTRY, type: 'folder' }).size, null);
  });
});

describe('differenceText()', () => {
  const told = (what: Difference['what'], after: Partial<TreeEntry> = {}): string =>
    differenceText({
      path: ENTRY.path,
      change: 'changed',
      what,
      before: ENTRY,
      after: { ...ENTRY, ...after },
    });
  it('tells other content from other attributes, and from another type', () => {
    assert.equal(told(['time', 'acl']), 'U /etc/a file (time, acl)\n');
    assert.equal(told(['content', 'mode'], { mode: 0o4755 }), 'M /etc/a file (content, mode 0644 -> 4755)\n');
    assert.equal(told(['owner'], { uid: 7 }), 'U /etc/a file (owner 0:42 -> 7:42)\n');
    assert.equal(told(['type'], { type: 'folder' }), 'T /etc/a file/ (file -> folder)\n');
  });
  it('puts a sign before what only one has', () => {
    const one = { path: Buffer.from('\n'), what: [] };
    assert.equal(differenceText({ ...one, change: 'added', before: null, after: ENTRY }), '+ /\\n\n');
    const folder = { ...ENTRY, type: 'folder' as const };
    assert.equal(differenceText({ ...one, change: 'removed', before: folder, after: null }), '- /\\n/\n');
  });
});
