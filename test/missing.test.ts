import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { outcomeJson } from '../src/commands/backup.ts';
import { missingText } from '../src/output/missing.ts';
import { failedOutcome, type UnstoredEvent } from '../src/wire/events.ts';
import { jsonName } from '../src/wire/text.ts';
import { FULL, lacking, run } from './support/outcomes.ts';
import { matching, says, wording } from './support/wording.ts';

describe('missingText()', () => {
  it('says nothing of a run that is full or failed', () => {
    for (const each of [FULL, failedOutcome('rsync'), undefined]) assert.equal(missingText(run(each)), '');
  });
  it('names 15 and counts the rest', () => {
    const missing = Array.from({ length: 100 }, (_, index) => ({ path: `/f${index}`, errno: 13 }));
    const lines = missingText(run(lacking(missing, 250)))
      .trimEnd()
      .split('\n');
    assert.equal(
      lines[0],
      `${wording('cannot-back-up-everything-to')} "nas": 250 ${wording('could-not-be-read')}`,
    );
    assert.deepEqual(lines.slice(15), [
      '  /f14 (permission denied)',
      '  and 235 more',
      `next: ${wording('let-this-account-read-them-or')}`,
    ]);
  });
  it('names the same list once for several remotes, and another one again', () => {
    const missing = [{ path: '/f', errno: 13 }];
    const [first, second] = [run(lacking(missing)), run(lacking(missing), { remote: 'away' })];
    assert.equal(
      missingText(second, [run(FULL), run(undefined), first]),
      `${wording('cannot-back-up-everything-to')} "away": 1 ${wording('could-not-be-read')}\n  the same as to "nas"\n`,
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
      `  /b (${wording('the-backup-host-could-not')} it: ${wording('it-is-larger-than-a')})`,
      `  /c (${wording('the-backup-host-could-not')} it: i/o error)`,
      '  /d (the backup host could not store all of its attributes)',
    ];
    assert.deepEqual(missingText(run(lacking([]), { unstored: unstored(9, files) })).split('\n'), [
      'dialback: Cannot back up everything to "nas": the backup host could not store 9 completely',
      ...named,
      '  and 5 more',
      `next: ${wording('ask-the-hosts-administrator-its')}`,
      '',
    ]);
    const both = run(lacking([{ path: '/f', errno: 13 }]), { unstored: unstored(4, files) });
    assert.deepEqual(missingText(both).split('\n'), [
      'dialback: Cannot back up everything to "nas": 1 could not be read; the backup host could not store 4 completely',
      '  /f (permission denied)',
      ...named,
      `next: ${wording('let-this-account-read-them-or')}`,
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
    [1, /\(operation not permitted\)/, says('let-this-account-read-them')],
    [2, /\(not there\)/, /set `roots`/],
    [13, /\(permission denied\)/, says('let-this-account-read-them')],
    [40, /\(too many symbolic links encountered\)/, says('name-them-in-exclude')],
    [61, matching`\(${says('it-changed-while-it-was')}\)`, /back up again/],
    [107, /\(socket is not connected\)/, says('mount-their-file-system-again')],
    [116, matching`\(${says('its-server-has-it-no')}\)`, says('mount-their-file-system-again')],
    [117, matching`\(${says('the-file-system-is-damaged')}\)`, /fsck/],
    [999, /\(errno 999\)/, says('let-this-account-read-them')],
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
