import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  listText,
  missingText,
  newsText,
  notGivenBackText,
  outcomeJson,
  restoreText,
  showBytes,
  showDuration,
  summaryText,
} from '../src/cli/print.ts';
import type { RunOutcome } from '../src/client/backup.ts';
import { EXIT, Fault } from '../src/fault.ts';
import type { Listed } from '../src/host/listing.ts';
import type { RestoreResult } from '../src/host/restore.ts';
import { failedOutcome, type OutcomeEvent } from '../src/wire/events.ts';
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
      'nas: 2026-11-23T00-12-00Z: full, 3 files, 2.0 KiB, 10 B sent in 1.2 s; 2 vanished meanwhile\n',
    );
  });
  it('says that nothing was kept only of a dry run', () => {
    assert.match(summaryText(run({ ...FULL, snapshot: null })), /^nas: nothing kept \(dry run\): full/);
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

describe('missingText()', () => {
  it('says nothing of a run that is full or failed', () => {
    for (const each of [FULL, failedOutcome('rsync'), undefined]) assert.equal(missingText(run(each)), '');
  });
  it('names 20 and counts the rest', () => {
    const missing = Array.from({ length: 100 }, (_, index) => ({ path: `/f${index}`, errno: 13 }));
    const lines = missingText(run(lacking(missing, 250)))
      .trimEnd()
      .split('\n');
    assert.equal(lines[0], 'dialback: Cannot back up everything to "nas": 250 could not be read');
    assert.deepEqual(lines.slice(20), [
      '  /f19 (permission denied)',
      '  and 230 more',
      'next: let this account read them, or exclude them',
    ]);
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
  it('is one line for each kind of news', () => {
    assert.equal(
      newsText({ event: 'progress', remote: 'nas', bytes: 1024, percent: 5 }),
      'nas: 1.0 KiB, 5%\n',
    );
    assert.equal(newsText({ event: 'phase', remote: 'nas', phase: 'copying' }), 'nas: copying\n');
    assert.equal(newsText({ event: 'warning', remote: 'nas', message: 'x' }), 'nas: warning: x\n');
  });
});

describe('restoreText() and notGivenBackText()', () => {
  const result = (lines: string[]): RestoreResult =>
    ({
      snapshot: 's',
      state: 'incomplete',
      files: 2,
      bytes: 5,
      notGivenBack: lines,
      checked: true,
      damaged: [],
    }) as unknown as RestoreResult;
  it('tell what came back, and escape what did not', () => {
    assert.equal(
      restoreText('/to\n', result([])),
      'restored 2 files, 5 B, of s (the snapshot is incomplete) to "/to\\n"\n',
    );
    assert.equal(notGivenBackText(result([]), true), '');
    const text = notGivenBackText(result(['.f a\u001b[2J']), false);
    assert.match(
      text,
      /^dialback: Cannot give everything back: 1 differ from the snapshot\n {2}\.f a\\u001b\[2J\nnext: restore as root.*\n$/,
    );
  });
});
