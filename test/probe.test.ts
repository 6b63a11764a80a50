import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { BLOCK_LIMIT, blockLine, ProbeReader } from '../src/wire/probe.ts';
import { wording } from './support/wording.ts';

const PROBE_LIMIT = 16 * 1024 * 1024;
const BLOCKS_LIMIT = 32;

/** What a reader says of pieces that come one after another. */
function readAll(pieces: (Buffer | string)[]): number[] | string {
  const reader = new ProbeReader();
  const found: number[] = [];
  for (const piece of pieces) {
    const taken = reader.take(Buffer.from(piece));
    if ('reason' in taken) return taken.reason;
    found.push(...taken.value);
  }
  return found;
}

describe('ProbeReader', () => {
  it('tells of each block when it is whole, however it was cut', () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 300 }), { maxLength: BLOCKS_LIMIT });
    fc.assert(
      fc.property(sizes, fc.array(fc.nat(10_000), { maxLength: 20 }), (blocks, cuts) => {
        const bytes = Buffer.concat(
          blocks.map(size => Buffer.concat([Buffer.from(blockLine(size)), Buffer.alloc(size, '\n')])),
        );
        const at = [0, ...cuts.map(cut => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
        const pieces = at.slice(1).map((end, index) => bytes.subarray(at[index], end));
        assert.deepEqual(readAll(pieces), blocks);
      }),
    );
  });

  it('does not tell of a block of which a byte is missing', () => {
    assert.deepEqual(readAll(['block 3\nab']), []);
    assert.deepEqual(readAll(['block 3\nab', 'c']), [3]);
    assert.deepEqual(readAll(['block 3\nabcblock 1\n']), [3]);
  });

  const expected = wording('the-line-block-length-was');
  for (const [text, reason] of [
    ['\n', expected],
    ['block\n', expected],
    ['block \n', expected],
    ['block 0\n', expected],
    ['block 01\n', expected],
    ['block -1\n', expected],
    ['block +1\n', expected],
    ['block 1.5\n', expected],
    ['block 1e3\n', expected],
    ['block 0x10\n', expected],
    ['block  1\n', expected],
    ['block 1 \n', expected],
    ['block 1\r\n', expected],
    [' block 1\n', expected],
    ['Block 1\n', expected],
    ['block 1\nxblock\n', expected],
    ['block 1\nx\nblock 1\nx', expected],
    ['dialback-request 1\n', wording('a-line-is-too-long')],
    ['x'.repeat(100), wording('a-line-is-too-long')],
    ['block 99999999\n', `${wording('a-block-has-more-than')} ${BLOCK_LIMIT} bytes`],
    [blockLine(BLOCK_LIMIT + 1), `${wording('a-block-has-more-than')} ${BLOCK_LIMIT} bytes`],
    ['block 1\nx'.repeat(BLOCKS_LIMIT + 1), `${wording('there-are-more-than')} ${BLOCKS_LIMIT} blocks`],
  ] as const) {
    it(`refuses ${JSON.stringify(text).slice(0, 40)}`, () => {
      assert.equal(readAll([text]), reason);
      assert.equal(readAll([...text]), reason);
    });
  }

  it('refuses more than all blocks may have, before it comes', () => {
    const block = Buffer.concat([Buffer.from(blockLine(BLOCK_LIMIT)), Buffer.alloc(BLOCK_LIMIT)]);
    const times = PROBE_LIMIT / BLOCK_LIMIT;
    const full = Array.from({ length: times }, () => block);
    assert.deepEqual(readAll(full), Array<number>(times).fill(BLOCK_LIMIT));
    assert.equal(
      readAll([...full, blockLine(1)]),
      `${wording('the-blocks-have-more-than')} ${PROBE_LIMIT} bytes`,
    );
  });
});
