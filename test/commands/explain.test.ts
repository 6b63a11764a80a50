import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { explain } from '../../src/commands/explain.ts';
import { explanationText } from '../../src/output/explanation.ts';
import type { Explanation } from '../../src/store/explain.ts';
import type { Snapshot } from '../../src/store/snapshot.ts';
import { record } from '../support/client-store.ts';
import { says } from '../support/wording.ts';

describe('explain.parse()', () => {
  const parsed = (...words: string[]): unknown[] => {
    const { client, snapshot, other, paths } = explain.parse(words);
    return [client, snapshot, other, paths];
  };
  it('takes one or two snapshots, then paths', () => {
    assert.deepEqual(parsed('oak'), ['oak', 'latest', undefined, []]);
    assert.deepEqual(parsed('oak@1', '/a'), ['oak', '1', undefined, ['/a']]);
    assert.deepEqual(parsed('oak@1', '2', '/a', '/b'), ['oak', '1', '2', ['/a', '/b']]);
    assert.deepEqual(parsed('oak@1', 'oak@2'), ['oak', '1', '2', []]);
  });
  it('refuses a snapshot of another client', () => {
    assert.throws(() => parsed('oak@1', 'elm@2'), says('the-two-snapshots-are-not'));
  });
});

describe('explanationText()', () => {
  const snapshot = (name: string, host: string): Snapshot => ({
    name,
    folder: '',
    tree: '',
    record: {
      ...record(name),
      rsync: { client: '3.5.0', host, exit: 0, options: [] },
      flags: [],
    },
    pinned: undefined,
    offered: undefined,
  });
  const EXPLAINED: Explanation = {
    client: 'oak',
    newer: snapshot('B', '3.5.0'),
    older: snapshot('A', '3.4.1'),
    by: 'basis',
    removedBasis: undefined,
    files: 9,
    linked: 7,
    linkedElsewhere: 0,
    causes: [
      {
        cause: 'attributes',
        what: ['owner', 'acl'],
        files: 2,
        bytes: 2048,
        example: { path: Buffer.from('etc/\u001b[31m'), from: null },
        shiftNs: null,
      },
    ],
    folders: [{ path: 'etc', cause: 'attributes', what: ['owner', 'acl'], files: 2, bytes: 2048 }],
    manifests: [],
  };
  it('shows counts, causes, folders and what the records add, and escapes names', () => {
    const text = explanationText(EXPLAINED);
    assert.match(text, /^oak@B, compared with A /);
    assert.match(text, /\b7 linked, 2 not linked \(2\.0 KiB\)\n/);
    assert.match(text, /: owner, ACL {2,}2 {2,}2\.0 KiB {2}\/etc\/\\u001b\[31m\n/);
    assert.match(text, /^\/etc {2,}/m);
    assert.match(text, /host was 3\.4\.1, and is 3\.5\.0\n$/);
  });
  it('tells how many moved files the host has linked', () => {
    const newer = snapshot('B', '3.5.0');
    newer.record.counts.moved = 42;
    const text = explanationText({ ...EXPLAINED, newer, linkedElsewhere: 42 });
    assert.match(text, /, 42 linked to another/);
    assert.match(text, /^42 moved files .*link_moved/m);
  });
  it('has no tables where every file is linked, and escapes versions', () => {
    const newer = snapshot('B', '\u001b[31m');
    const text = explanationText({ ...EXPLAINED, newer, causes: [], folders: [] });
    assert.match(text, /, 0 not linked \(0 B\)\n\n/);
    assert.ok(text.includes('\\u001b[31m') && !text.includes('\u001b'));
  });
});
