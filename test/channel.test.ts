import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { decodeGo, GO, HANDSHAKE_LINE_LIMIT } from '../src/wire/channel.ts';
import { DAEMON_REQUEST } from '../src/wire/rsync.ts';
import { wording } from './support/wording.ts';

const REASON = { reason: wording('the-answer-is-not-go') };

describe('decodeGo()', () => {
  it('is true when all of it has come, and false when more must', () => {
    assert.deepEqual(decodeGo(Buffer.from(GO)), { value: true });
    for (const text of ['', 'g', 'go']) assert.deepEqual(decodeGo(Buffer.from(text)), { value: false });
  });

  const refused = [
    '\n',
    'o',
    'g\n',
    'go ',
    'go\r',
    'go\r\n',
    'go\0',
    'goo',
    'go go\n',
    'GO\n',
    'Go\n',
    ' go\n',
    '\ngo\n',
    'no\n',
    '\0go\n',
    '\ufeffgo\n',
    'ｇｏ\n',
    'go\u2028',
    'go\n\n',
    'go\n\0',
    'go\ngo\n',
    'go\n@RSYNCD: 31.0\n',
    '@RSYNCD: 31.0\n',
    'x'.repeat(1 << 20),
  ];
  for (const text of refused)
    it(`refuses ${JSON.stringify(text).slice(0, 40)}`, () =>
      assert.deepEqual(decodeGo(Buffer.from(text)), REASON));

  it('refuses letters with another high bit, which are others', () => {
    for (const [at] of [...GO].entries()) {
      const bytes = Buffer.from(GO);
      bytes.writeUInt8((bytes[at] ?? 0) | 0x80, at);
      assert.deepEqual(decodeGo(bytes), REASON);
    }
  });

  it('takes nothing but the three bytes, whatever else comes', () => {
    const near = fc
      .array(fc.constantFrom(...Buffer.from('go\n \r\0')), { maxLength: 5 })
      .map(each => Buffer.from(each));
    const any = fc.uint8Array({ maxLength: 8 }).map(each => Buffer.from(each));
    fc.assert(
      fc.property(fc.oneof(near, any), bytes => {
        const decoded = decodeGo(bytes);
        if ('reason' in decoded) assert.ok(!Buffer.from(GO).subarray(0, bytes.length).equals(bytes));
        else if (decoded.value) assert.ok(bytes.equals(Buffer.from(GO)));
        else assert.ok(bytes.length < GO.length && GO.startsWith(bytes.toString('latin1')));
      }),
      { numRuns: 2000 },
    );
  });

  it('stays with what it has refused, whatever follows', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 6 }), fc.uint8Array({ maxLength: 6 }), (first, more) => {
        if (!('reason' in decodeGo(Buffer.from(first)))) return;
        assert.deepEqual(decodeGo(Buffer.concat([first, more])), REASON);
      }),
    );
  });
});

describe('HANDSHAKE_LINE_LIMIT', () => {
  it('is enough for both lines of the host', () => {
    for (const line of [DAEMON_REQUEST, GO.trim()]) assert.ok(line.length <= HANDSHAKE_LINE_LIMIT);
  });
});
