import assert from 'node:assert/strict';
import { Duplex } from 'node:stream';
import { describe, it } from 'node:test';
import { AttributeReader } from '../src/web/attribute-reader.ts';

/** A companion that gives the same bytes for each request, in pieces. */
function companion(answer: Buffer, piece: number): Duplex {
  return new Duplex({
    read() {},
    write(chunk: Buffer, _, done) {
      for (let at = 0; at < chunk.length; at += 4 + chunk.readUInt32LE(at))
        for (let from = 0; from < answer.length; from += piece)
          this.push(answer.subarray(from, from + piece));
      done();
    },
  });
}

function record(error: number, words: (string | Buffer)[]): Buffer {
  const parts = words.flatMap(word => [number(Buffer.byteLength(word)), Buffer.from(word)]);
  const body = Buffer.concat(parts);
  return Buffer.concat([number(error), number(body.length), body]);
}

function number(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

describe('AttributeReader', () => {
  it('reads answers in the order of the requests, however they arrive', async () => {
    const answer = record(0, ['user.b', 'two', 'user.a', '']);
    for (const piece of [1, 3, 8, 9, 1000]) {
      const reader = new AttributeReader(companion(answer, piece), () => {});
      const found = await Promise.all([1, 2, 3].map(() => reader.read(Buffer.from('/x'))));
      for (const xattrs of found)
        assert.deepEqual(
          xattrs?.map(({ name, value }) => `${name}=${value}`),
          ['user.a=', 'user.b=two'],
        );
    }
  });

  it('returns undefined for an error and for malformed bytes', async () => {
    const whole = record(0, ['user.a', 'b']);
    const cut = Buffer.from(whole);
    cut.writeUInt32LE(100, 8);
    for (const answer of [record(2, []), record(0, ['user.a']), cut])
      assert.equal(
        await new AttributeReader(companion(answer, 99), () => {}).read(Buffer.from('/x')),
        undefined,
      );
  });

  it('fails when the companion ends, or answers with too much', async () => {
    for (const end of [
      (pair: Duplex) => pair.destroy(),
      (pair: Duplex) => pair.push(Buffer.alloc(8, 0xff)),
    ]) {
      const pair = companion(Buffer.alloc(0), 1);
      const losses: unknown[] = [];
      const reader = new AttributeReader(pair, fault => losses.push(fault));
      const reading = reader.read(Buffer.from('/x'));
      end(pair);
      await assert.rejects(reading, /read attributes/);
      await assert.rejects(reader.read(Buffer.from('/y')), /read attributes/);
      assert.equal(losses.length, 1);
    }
  });
});
