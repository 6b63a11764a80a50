import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { isLoopback, loginAddress, namesOf, parseHosts, parsePort, portText } from '../src/web/listen.ts';
import { makeLog } from '../src/web/log.ts';

describe('parsePort()', () => {
  it('reads an address with a port', () => {
    for (const [text, address, port] of [
      ['127.0.0.1:8030', '127.0.0.1', 8030],
      ['localhost:1', '127.0.0.1', 1],
      ['[::1]:65535', '::1', 65_535],
      ['0.0.0.0:0', '0.0.0.0', 0],
    ] as const)
      assert.deepEqual(parsePort(text), { value: { address, port } });
    assert.equal(portText({ address: '::1', port: 5 }), '[::1]:5');
  });

  it('refuses everything else', () => {
    for (const text of [
      '',
      '8030',
      ':8030',
      '127.0.0.1',
      '127.0.0.1:',
      '127.0.0.1:65536',
      '127.0.0.1:-1',
      '1.2.3:4',
      '::1:8030',
      '[::1]',
      '[127.0.0.1]:1',
      'host:1',
      '127.0.0.1:8030 ',
      '/run/x',
    ])
      assert.ok('reason' in parsePort(text), text);
  });
});

describe('isLoopback()', () => {
  it('is true for 127.0.0.0/8 and ::1 only', () => {
    for (const address of ['127.0.0.1', '127.9.9.9', '::1']) assert.ok(isLoopback(address), address);
    for (const address of ['0.0.0.0', '::', '128.0.0.1', '10.0.0.1', '::ffff:127.0.0.1'])
      assert.ok(!isLoopback(address), address);
  });
});

describe('parseHosts()', () => {
  it('reads names and ports, and refuses what no Host header has', () => {
    assert.deepEqual(parseHosts('Backup.example.org,10.0.0.1:8443,[::1]:5'), {
      value: ['backup.example.org', '10.0.0.1:8443', '[::1]:5'],
    });
    for (const text of ['', ',', 'a,', 'http://a', 'a/b', 'a b', '*', 'a:', '-a', Array(30).fill('a').join()])
      assert.ok('reason' in parseHosts(text), text);
  });
});

describe('namesOf()', () => {
  it('has the names of the place, and those of the proxy', () => {
    assert.deepEqual(
      [...namesOf({ address: '127.0.0.1', port: 8030 }, ['b.example'], false).hosts],
      ['127.0.0.1:8030', 'localhost:8030', 'b.example'],
    );
    assert.deepEqual(
      [...namesOf({ address: '10.0.0.1', port: 80 }, [], false).hosts],
      ['10.0.0.1', '10.0.0.1:80'],
    );
    assert.deepEqual([...namesOf(undefined, [], false).hosts], ['localhost']);
  });
});

describe('loginAddress()', () => {
  it('uses the name of the proxy where there is one', () => {
    assert.equal(loginAddress({ address: '::1', port: 5 }, [], false, 't'), 'http://[::1]:5/login?token=t');
    assert.equal(loginAddress(undefined, ['b.example', 'c'], true, 't'), 'https://b.example/login?token=t');
  });
});

describe('makeLog()', () => {
  it('writes escaped lines, and a limited number of them in a time', () => {
    const lines: string[] = [];
    let now = 0;
    const log = makeLog(
      line => lines.push(line),
      () => now,
    );
    log('a\nb\u202e\u001b[31m');
    assert.deepEqual(lines, ['dialback web: a\\nb\\u202e\\u001b[31m\n']);
    for (let at = 0; at < 1000; at += 1) log('x'.repeat(10_000));
    assert.equal(lines.length, 30);
    assert.ok((lines.at(-1)?.length ?? 0) < 600);
    now = 20_000;
    log('later');
    const [gap = '', after] = lines.slice(30);
    assert.match(gap, /\b971\b/);
    assert.equal(after, 'dialback web: later\n');
  });
});
