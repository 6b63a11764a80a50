import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Fault } from '../src/fault.ts';
import { type AdoptOrder, decodeAnswer, decodeOrder, encodeAnswer, encodeOrder } from '../src/wire/adopt.ts';

const ORDER: AdoptOrder = {
  step: 'receive',
  store: '/srv/the store',
  client: 'oak',
  snapshot: '2026-05-01T03-15-00Z',
  at: '/',
  roots: ['/home'],
  from: '/var/cache/rsnapshot/daily.0/oak',
  basis: null,
  checksum: false,
  link: null,
  confined: true,
  senderConfined: true,
};

describe('decodeOrder()', () => {
  it('is the inverse of encodeOrder(), for names of any bytes', () => {
    const names = [Buffer.from('a\nb'), Buffer.from([0xff, 0x2f, 0x01])];
    const decoded = decodeOrder(Buffer.concat(encodeOrder(ORDER, names)));
    assert.deepEqual(decoded, { value: { order: ORDER, doubtful: names } });
  });

  it('refuses an order without an end, of another form, or with names that lead elsewhere', () => {
    const encode = (more: Partial<AdoptOrder>): Buffer =>
      Buffer.concat(encodeOrder({ ...ORDER, ...more }, []));
    for (const bytes of [
      Buffer.alloc(0),
      Buffer.from('{}'),
      Buffer.from('no JSON\0'),
      Buffer.from('null\0'),
      encode({ client: '../oak' }),
      encode({ snapshot: '../../x' }),
      encode({ basis: '..' }),
    ])
      assert.ok('reason' in decodeOrder(bytes), bytes.toString());
  });
});

describe('decodeAnswer()', () => {
  it('is the inverse of encodeAnswer()', () => {
    const counts = { files: 3, linked: 1, new_bytes: 17 };
    assert.deepEqual(decodeAnswer(encodeAnswer(counts).trimEnd()), counts);
    const fault = new Fault({ tried: 'adopt', found: 'full', next: 'free space', exit: 'noSpace' });
    const decoded = decodeAnswer(encodeAnswer(fault).trimEnd());
    assert.ok(decoded instanceof Fault);
    assert.deepEqual([decoded.text(), decoded.exit], [fault.text(), 'noSpace']);
  });

  it('takes no text from the child as it is, and no other line', () => {
    const decoded = decodeAnswer(
      encodeAnswer(new Fault({ tried: 'x', found: '\u001b[31m', exit: 'failed' })),
    );
    assert.ok(decoded instanceof Fault && !decoded.message.includes('\u001b'));
    for (const line of ['', 'dialback: Note', 'dialback-adopted: {', 'dialback-adopted: null'])
      assert.equal(decodeAnswer(line), undefined, line);
    const odd = decodeAnswer('dialback-adopted: {"found":"x","tried":"y","exit":"constructor"}');
    assert.equal(odd instanceof Fault && odd.exit, 'failed');
  });
});
