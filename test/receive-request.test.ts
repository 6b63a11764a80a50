import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Fault } from '../src/fault.ts';
import { Gathered, obeyedVariables, peerAddress } from '../src/host/receive-request.ts';

describe('peerAddress()', () => {
  const accepted: [string, string][] = [
    ['192.0.2.1 4711 192.0.2.2 22', '192.0.2.1'],
    ['::ffff:192.0.2.1 4711 ::ffff:192.0.2.2 22', '192.0.2.1'],
    ['2001:db8::1 4711 2001:db8::2 22', '2001:db8::1'],
    ['fe80::1%eth0 4711 fe80::2%eth0 22', 'fe80::1%eth0'],
  ];
  for (const [connection, address] of accepted)
    it(`is ${address} for ${connection}`, () =>
      assert.equal(peerAddress({ SSH_CONNECTION: connection }), address));

  const refused = [
    undefined,
    '',
    'UNKNOWN 65535 UNKNOWN 65535',
    'backup.example.org 4711 192.0.2.2 22',
    ' 192.0.2.1',
    '-oProxyCommand=x 1 2 3',
    'fe80::1% 1 2 3',
    'fe80::1%eth0%x 1 2 3',
    'fe80::1%eth0% 1 2 3',
    'fe80::1%et/h 1 2 3',
    'fe80::1%an-interface-too 1 2 3',
    '192.0.2.1/24 1 2 3',
  ];
  for (const connection of refused)
    it(`refuses ${JSON.stringify(connection)}`, () =>
      assert.throws(
        () => peerAddress(connection === undefined ? {} : { SSH_CONNECTION: connection }),
        error => error instanceof Fault && error.code === 'address',
      ));
});

describe('obeyedVariables()', () => {
  it('names what node would obey, by its whole name', () => {
    const environment = (...each: string[]): string => each.map(one => `${one}\0`).join('');
    assert.deepEqual(obeyedVariables(''), []);
    assert.deepEqual(obeyedVariables(environment('HOME=/x', 'SSH_CONNECTION=NODE_DEBUG=fs')), []);
    assert.deepEqual(obeyedVariables(environment('MY_NODE_DEBUG=fs', 'NODE_DEBUGGER=1')), []);
    assert.deepEqual(obeyedVariables(environment('A=b', 'NODE_DEBUG=', 'NODE_CHANNEL_FD=0')), [
      'NODE_CHANNEL_FD',
      'NODE_DEBUG',
    ]);
  });
});

describe('Gathered', () => {
  it('holds what came, however it was cut, in no more than twice its room', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 60 }), chunks => {
        const gathered = new Gathered();
        for (const each of chunks) gathered.add(Buffer.from(each));
        const whole = Buffer.concat(chunks);
        assert.deepEqual(gathered.all, whole);
        assert.equal(gathered.length, whole.length);
        assert.equal(gathered.all.buffer.byteLength <= Math.max(4096, 2 * whole.length), true);
        gathered.drop();
        assert.equal(gathered.all.length, 0);
      }),
    );
  });
});
