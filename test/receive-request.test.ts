import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Fault } from '../src/fault.ts';
import { chooseTransport, refuseVariables } from '../src/host/receive-request.ts';

const call = (environment: NodeJS.ProcessEnv, isLocal = false) =>
  chooseTransport({ client: 'acorn', isLocal, environment });
const SSH_CONNECTION = '192.0.2.1 4711 192.0.2.2 22';

describe('chooseTransport()', () => {
  it('dials the port of the command at the address of the connection', () =>
    assert.deepEqual(call({ SSH_CONNECTION, SSH_ORIGINAL_COMMAND: 'acorn:7' }), {
      transport: 'direct',
      place: { peer: '192.0.2.1', port: 7 },
    }));
  for (const transport of ['channel', 'probe'])
    it(`dials no address for ${transport}, and needs none`, () =>
      assert.deepEqual(call({ SSH_CONNECTION: 'UNKNOWN', SSH_ORIGINAL_COMMAND: `acorn:${transport}` }), {
        transport,
        place: undefined,
      }));
  it('is local for --local without sshd', () =>
    assert.deepEqual(call({}, true), { transport: 'local', place: undefined }));

  const refused: [what: string, environment: NodeJS.ProcessEnv, isLocal: boolean, code: string][] = [
    ['--local with sshd', { SSH_CONNECTION }, true, 'config'],
    ['no command', { SSH_CONNECTION }, false, 'request'],
    ['a command that is none', { SSH_CONNECTION, SSH_ORIGINAL_COMMAND: 'id' }, false, 'request'],
    ['another name', { SSH_CONNECTION, SSH_ORIGINAL_COMMAND: 'beech:7' }, false, 'name'],
    ['no address to dial', { SSH_ORIGINAL_COMMAND: 'acorn:7' }, false, 'address'],
  ];
  for (const [what, environment, isLocal, code] of refused)
    it(`refuses ${what} with the code ${code}`, () =>
      assert.throws(
        () => call(environment, isLocal),
        error => error instanceof Fault && error.code === code,
      ));
  it('refuses a --client that is not a name with the code config', () =>
    assert.throws(
      () =>
        chooseTransport({
          client: '../acorn',
          isLocal: false,
          environment: { SSH_CONNECTION, SSH_ORIGINAL_COMMAND: '../acorn:7' },
        }),
      error => error instanceof Fault && error.code === 'config',
    ));
});

describe('the address that chooseTransport() dials', () => {
  const peerOf = (connection: string | undefined): string | undefined =>
    call({
      ...(connection === undefined ? {} : { SSH_CONNECTION: connection }),
      SSH_ORIGINAL_COMMAND: 'acorn:7',
    }).place?.peer;
  const accepted: [string, string][] = [
    ['192.0.2.1 4711 192.0.2.2 22', '192.0.2.1'],
    ['::ffff:192.0.2.1 4711 ::ffff:192.0.2.2 22', '192.0.2.1'],
    ['2001:db8::1 4711 2001:db8::2 22', '2001:db8::1'],
    ['fe80::1%eth0 4711 fe80::2%eth0 22', 'fe80::1%eth0'],
  ];
  for (const [connection, address] of accepted)
    it(`is ${address} for ${connection}`, () => assert.equal(peerOf(connection), address));

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
        () => peerOf(connection),
        error => error instanceof Fault && error.code === 'address',
      ));
});

describe('refuseVariables()', () => {
  const environment = (...each: string[]): string => each.map(one => `${one}\0`).join('');

  for (const accepted of [
    '',
    environment('HOME=/x', 'SSH_CONNECTION=NODE_DEBUG=fs'),
    environment('MY_NODE_DEBUG=fs', 'NODE_DEBUGGER=1'),
  ])
    it(`accepts ${JSON.stringify(accepted)}`, () => refuseVariables(accepted));

  for (const [refused, name] of [
    [environment('A=b', 'NODE_DEBUG='), 'NODE_DEBUG'],
    [environment('NODE_CHANNEL_FD=0', 'A=b'), 'NODE_CHANNEL_FD'],
    [environment('A=b', 'NODE_DEBUG=', 'NODE_CHANNEL_FD=0'), 'NODE_CHANNEL_FD'],
    [environment('NODE_CHANNEL_SERIALIZATION_MODE=json'), 'NODE_CHANNEL_SERIALIZATION_MODE'],
    [environment('NODE_UNIQUE_ID=1'), 'NODE_UNIQUE_ID'],
  ] as const)
    it(`refuses ${JSON.stringify(refused)}, and names ${name}`, () =>
      assert.throws(
        () => refuseVariables(refused),
        error => error instanceof Fault && error.code === 'config' && error.found.includes(`has ${name}:`),
      ));
});
