// Unit: the parts of a sparse file that have data (src/store/sparse-ranges.ts).
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { SparseRanges } from '../src/store/sparse-ranges.ts';

const BLOCK = 4096;

/** A file of blocks, of which some are zeros, and its last one shorter. */
const file = fc
  .tuple(fc.array(fc.boolean(), { maxLength: 60 }), fc.integer({ min: 1, max: BLOCK }))
  .map(([blocks, last]) =>
    Buffer.concat(
      blocks.map((isData, at) => Buffer.alloc(at === blocks.length - 1 ? last : BLOCK, isData ? 'x' : 0)),
    ),
  );

function rangesOf(content: Buffer, most?: number): readonly { start: number; end: number }[] {
  const found = new SparseRanges(most);
  for (let at = 0; at < content.length; at += 4 * BLOCK) found.take(content.subarray(at, at + 4 * BLOCK), at);
  return found.ranges;
}

describe('SparseRanges', () => {
  it('leaves out zeros and nothing else', () => {
    fc.assert(
      fc.property(file, content => {
        const again = Buffer.alloc(content.length);
        for (const { start, end } of rangesOf(content)) {
          content.copy(again, start, start, end);
          assert.ok(content.subarray(start, end).every(byte => byte !== 0));
        }
        assert.ok(again.equals(content));
      }),
    );
  });

  it('keeps a limited number of parts when there are more, without losing data', () => {
    fc.assert(
      fc.property(file, fc.integer({ min: 1, max: 5 }), (content, most) => {
        const ranges = rangesOf(content, most);
        assert.ok(ranges.length <= most);
        const again = Buffer.alloc(content.length);
        let last = -1;
        for (const { start, end } of ranges) {
          assert.ok(start > last && end > start);
          last = end;
          content.copy(again, start, start, end);
        }
        assert.ok(again.equals(content));
      }),
    );
  });

  it('does not take a block with a single byte for a hole', () => {
    const content = Buffer.alloc(3 * BLOCK);
    content[2 * BLOCK - 1] = 1;
    assert.deepEqual(rangesOf(content), [{ start: BLOCK, end: 2 * BLOCK }]);
    assert.deepEqual(rangesOf(Buffer.alloc(5)), []);
  });
});
