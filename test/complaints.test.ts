import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Complaints } from '../src/host/complaints.ts';

const warning = (name: string): string =>
  `WARNING: ${name} failed verification -- update discarded (will try again).`;
const error = (name: string): string => `ERROR: ${name} failed verification -- update discarded.`;
const mapping = (name: string, errno: number): string =>
  `rsync: [sender] read errors mapping "/${name}" (in root): words (${errno})`;

function take(lines: string[], enumerated: string[] = []): Complaints {
  const complaints = new Complaints(enumerated, '/s/tree');
  for (const line of lines) complaints.take(line);
  complaints.finish();
  return complaints;
}

describe('Complaints', () => {
  it('counts a file as changed when it was shortened while it was read, and arrived in the second attempt', () => {
    for (const lines of [
      [mapping('srv/log', 61), warning('srv/log')],
      [warning('srv/log'), mapping('srv/log', 61)],
      [warning('srv/log')],
      [mapping('srv/log', 61)],
    ]) {
      const { changedDuringRun, missingCount, wordCount } = take(lines);
      assert.deepEqual([changedDuringRun, missingCount, wordCount], [1, 0, 0], lines.join('\n'));
    }
  });

  it('names a file as missing when it did not arrive in the second attempt either', () => {
    const { changedDuringRun, missing, missingCount, wordCount } = take([
      mapping('srv/log', 61),
      warning('srv/log'),
      mapping('srv/log', 61),
      error('srv/log'),
    ]);
    assert.deepEqual([changedDuringRun, missingCount, wordCount], [0, 1, 0]);
    assert.deepEqual(missing, [{ path: '/srv/log', errno: 61 }]);
  });

  it('names a file once when the disk cannot read it', () => {
    const { changedDuringRun, missing, missingCount, wordCount } = take([
      mapping('srv/bad', 5),
      warning('srv/bad'),
      error('srv/bad'),
    ]);
    assert.deepEqual([changedDuringRun, missingCount, wordCount], [0, 1, 0]);
    assert.deepEqual(missing, [{ path: '/srv/bad', errno: 5 }]);
  });

  it('keeps odd names apart', () => {
    const { changedDuringRun, missing } = take([
      warning('a failed verification -- update discarded.'),
      warning('b\\#012c'),
      error('b\\#012c'),
      mapping('\\#377', 61),
    ]);
    assert.equal(changedDuringRun, 2);
    assert.deepEqual(missing, [{ path: '/b\nc', errno: 61 }]);
  });

  it('counts a file that was replaced in an enumerated folder as changed', () => {
    const line = 'rsync: [sender] send_files failed to open "/srv/x" (in root): Permission denied (13)';
    assert.deepEqual([take([line], ['/srv']).changedDuringRun, take([line]).changedDuringRun], [1, 0]);
    assert.equal(take([line]).unopened, 1);
  });

  it('names as missing what the file system refuses in an enumerated folder, and the jail does not', () => {
    for (const call of ['readlink_stat(', 'opendir ', 'get_acl: sys_acl_get_file(', 'read errors mapping ']) {
      const line = `rsync: [sender] ${call}"/srv/x" (in root)${call.endsWith('(') ? ')' : ''} failed: Permission denied (13)`;
      const { changedDuringRun, missing } = take([line], ['/srv']);
      assert.deepEqual([changedDuringRun, missing], [0, [{ path: '/srv/x', errno: 13 }]], line);
    }
  });

  it('takes more names than it keeps', () => {
    const lines = Array.from({ length: 3000 }, (_, index) => warning(`f${index}`));
    const { changedDuringRun, missingCount, missing } = take(lines);
    assert.deepEqual([changedDuringRun, missingCount, missing.length], [1000, 2000, 100]);
  });

  it('keeps what the host itself could not do', () => {
    const full = 'rsync: [receiver] write failed on "x": No space left on device (28)';
    const xattr =
      'rsync: [receiver] rsync_xal_set: lsetxattr("x","user.a") failed: No space left on device (28)';
    assert.deepEqual([take([full]).isOutOfSpace, take([full]).wordCount], [true, 1]);
    assert.deepEqual([take([xattr]).isOutOfSpace, take([xattr]).words], [false, [xattr]]);
  });
});
