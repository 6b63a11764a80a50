import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { differenceText } from '../../src/commands/diff.ts';
import type { Difference } from '../../src/store/diff.ts';
import type { TreeEntry } from '../../src/store/fake-super.ts';
import { ENTRY } from '../support/tree-entry.ts';

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
