import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { PullReader } from '../src/wire/rsync-output.ts';

/** What the host tells after lines of rsync's --info=progress2. */
function percents(lines: string[], isFirst: boolean): (number | null | undefined)[] {
  const reader = new PullReader();
  return lines.map(line => {
    reader.line(line);
    return reader.filesDone(isFirst)?.percent;
  });
}

describe('PullReader.filesDone()', () => {
  it('counts bytes in a first run', () => {
    const lines = ['  1,0', '1000 10% 1.00MB/s 0:00:01 (xfr#1, to-chk=99/100)', '5000 50% 1.00MB/s 0:00:05'];
    assert.deepEqual(percents(lines, true), [undefined, 10, 50]);
  });

  it('moves on with the bytes of a large file in a later run, and never back', () => {
    const sent = [0, 1, 2, 5, 10].map(percent => `${percent}000000 ${percent}% 9.00MB/s 0:00:05`);
    const lines = ['0 0% 0.00kB/s 0:00:00 (xfr#1, to-chk=70/100)', ...sent];
    assert.deepEqual(percents(lines, false), [30, 30, 30, 31, 33, 37]);
  });

  it('ends at 100, however little was sent', () => {
    for (const percent of [0, 3, 100])
      assert.deepEqual(percents([`1 ${percent}% 1kB/s 0:00:00 (xfr#1, to-chk=0/100)`], false), [100]);
  });

  it('says nothing while names still come', () => {
    assert.deepEqual(percents(['1 1% 1kB/s 0:00:00 (xfr#1, ir-chk=5/10)'], false), [null]);
  });
});
