import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Fault } from '../src/fault.ts';
import { peerAddress } from '../src/host/caller.ts';

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
