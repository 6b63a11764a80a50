import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { GrowingBuffer } from '../src/host/growing-buffer.ts';

describe('GrowingBuffer', () => {
  it('holds all bytes, however they are cut, in at most twice their size', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 60 }), chunks => {
        const buffer = new GrowingBuffer();
        for (const each of chunks) buffer.add(Buffer.from(each));
        const whole = Buffer.concat(chunks);
        assert.deepEqual(buffer.content, whole);
        assert.equal(buffer.length, whole.length);
        assert.equal(buffer.content.buffer.byteLength <= Math.max(4096, 2 * whole.length), true);
        buffer.clear();
        assert.equal(buffer.content.length, 0);
      }),
    );
  });
});
