import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { listText } from '../../src/commands/list.ts';
import type { Listed } from '../../src/store/list.ts';

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
