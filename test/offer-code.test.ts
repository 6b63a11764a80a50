import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  codeDigest,
  encodeCode,
  isCode,
  isSameDigest,
  parseCode,
  SECRET_BYTES,
} from '../src/wire/offer-code.ts';

const secret = fc
  .uint8Array({ minLength: SECRET_BYTES, maxLength: SECRET_BYTES })
  .map(bytes => Buffer.from(bytes));

describe('encodeCode()', () => {
  it('writes 128 bits as seven groups of four', () => {
    assert.equal(encodeCode(Buffer.alloc(16)), '0000-0000-0000-0000-0000-0000-00T7');
  });

  it('gives each secret a code of its own, which is read back however it is typed', () => {
    fc.assert(
      fc.property(secret, secret, (one, other) => {
        const code = encodeCode(one);
        assert.ok(isCode(code));
        assert.deepEqual(parseCode(code), { value: code });
        assert.deepEqual(parseCode(code.toLowerCase().replaceAll('-', ' ')), { value: code });
        assert.deepEqual(parseCode(code.replaceAll('0', 'o').replaceAll('1', 'l').replaceAll('-', '')), {
          value: code,
        });
        assert.equal(encodeCode(other) === code, one.equals(other));
      }),
    );
  });
});

describe('parseCode()', () => {
  const code = encodeCode(Buffer.alloc(16, 0x5a));

  it('refuses what is no code', () => {
    for (const text of [
      '',
      'x',
      code.slice(1),
      `${code}0`,
      code.replace(/^./, 'U'),
      `../${code}`,
      code.replace('-', '/'),
    ])
      assert.ok('reason' in parseCode(text), text);
  });

  it('finds one wrong character, and two that are exchanged', () => {
    let missed = 0;
    let tried = 0;
    const plain = code.replaceAll('-', '');
    for (let at = 0; at < plain.length; at += 1)
      for (const digit of '0123456789ABCDEFGHJKMNPQRSTVWXYZ') {
        if (digit === plain[at]) continue;
        tried += 1;
        if ('value' in parseCode(plain.slice(0, at) + digit + plain.slice(at + 1))) missed += 1;
      }
    assert.ok(missed <= tried / 200, `${missed} of ${tried}`);
  });

  it('returns a value or a reason for any text', () => {
    fc.assert(
      fc.property(fc.string(), text => {
        const parsed = parseCode(text);
        if ('value' in parsed) assert.ok(isCode(parsed.value));
      }),
    );
  });
});

describe('isSameDigest()', () => {
  it('holds for equal digests only', () => {
    const [one, other] = [codeDigest('a'), codeDigest('b')];
    assert.ok(isSameDigest(one, one));
    for (const wrong of [other, '', one.slice(2), `${one}00`, 'zz'])
      assert.ok(!isSameDigest(one, wrong), wrong);
  });
});
