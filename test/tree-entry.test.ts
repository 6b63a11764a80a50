import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { entryJson, entryText } from '../src/output/tree-entry.ts';
import type { TreeEntry } from '../src/store/fake-super.ts';
import { ENTRY } from './support/tree-entry.ts';

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
