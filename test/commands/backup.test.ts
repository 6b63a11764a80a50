import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { outcomeJson, summaryText } from '../../src/commands/backup.ts';
import { Fault } from '../../src/fault.ts';
import { failedOutcome } from '../../src/wire/events.ts';
import { FULL, lacking, run } from '../support/outcomes.ts';
import { matching, says, wording } from '../support/wording.ts';

describe('summaryText()', () => {
  it('is one line on a success', () => {
    assert.equal(
      summaryText(run({ ...FULL, vanished: 2 })),
      'nas: backed up: 3 files and folders, 2.0 KiB, in snapshot 2026-11-23T00-12-00Z (10 B sent, in 1.2 s); 2 vanished before they were read\n',
    );
    assert.match(
      summaryText(run(lacking([{ path: '/x', errno: 13 }]))),
      matching`^nas: ${says('backed-up-in-part')}: 3 files`,
    );
  });
  it('says that no file was kept only of a dry run', () => {
    assert.equal(
      summaryText(run({ ...FULL, snapshot: null })),
      `nas: ${wording('dry-run-would-be-in', '3 files and folders, 2.0 KiB')}\n`,
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
