import assert from 'node:assert/strict';
import { chmodSync, statSync } from 'node:fs';
import { describe, it } from 'node:test';
import { makeFolder, whatFailed } from '../src/os/files.ts';
import { fault, scratch } from './support/scratch.ts';

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
      /^Cannot create the folder ".*": there is no such file or folder$/,
    );
    makeFolder(`${top}/x/y`, { parents: true });
    assert.equal(statSync(`${top}/x`).mode & 0o777, 0o700);
  });

  it('gives up where no folder can be made, with the parents too', () => {
    for (const path of ['/proc/x', '/proc/x/y/z'])
      assert.match(
        fault(() => makeFolder(path, { parents: true })).message,
        /^Cannot create the folder "\/proc\/x": there is no such file or folder$/,
      );
  });
});

describe('whatFailed()', () => {
  it('says it in words, without the path that Node adds', () => {
    const error = (code: string): Error =>
      Object.assign(new Error(`${code}: some words, open '/x'`), { code });
    assert.equal(whatFailed(error('ENOENT')), 'there is no such file or folder');
    assert.equal(whatFailed(error('EACCES')), 'permission denied');
    assert.equal(whatFailed(error('EMFILE')), 'EMFILE: some words');
    assert.equal(whatFailed('x'), 'x');
  });
});
