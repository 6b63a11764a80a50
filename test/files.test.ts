import assert from 'node:assert/strict';
import { chmodSync, statSync } from 'node:fs';
import { describe, it } from 'node:test';
import { makeFolder, whatFailed } from '../src/os/files.ts';
import { fault, scratch } from './support/scratch.ts';
import { matching, says, wording } from './support/wording.ts';

describe('makeFolder()', () => {
  it('makes a private folder, leaves one that is there, and says why it cannot', t => {
    const top = scratch(t);
    makeFolder(`${top}/a`);
    assert.equal(statSync(`${top}/a`).mode & 0o777, 0o700);
    chmodSync(`${top}/a`, 0o750);
    makeFolder(`${top}/a`);
    assert.equal(statSync(`${top}/a`).mode & 0o777, 0o750);
    assert.match(
      fault(() => makeFolder(`${top}/x/y`)).message,
      matching`^${says('cannot-create-the-folder')} ".*": ${says('there-is-no-such-file-or')}$`,
    );
    makeFolder(`${top}/x/y`, { parents: true });
    assert.equal(statSync(`${top}/x`).mode & 0o777, 0o700);
  });

  it('gives up where no folder can be made, with the parents too', () => {
    for (const path of ['/proc/x', '/proc/x/y/z'])
      assert.match(
        fault(() => makeFolder(path, { parents: true })).message,
        matching`^${says('cannot-create-the-folder')} "\/proc\/x": ${says('there-is-no-such-file-or')}$`,
      );
  });
});

describe('whatFailed()', () => {
  it('says it in words, without the path that Node adds', () => {
    const error = (code: string): Error =>
      Object.assign(new Error(`${code}: some words, open '/x'`), { code });
    assert.equal(whatFailed(error('ENOENT')), wording('there-is-no-such-file-or'));
    assert.equal(whatFailed(error('EACCES')), 'permission denied');
    assert.equal(whatFailed(error('EMFILE')), 'EMFILE: some words');
    assert.equal(whatFailed('x'), 'x');
  });
});
