import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { findNat, isFrom, parseFrom, parseListen, type Range, showRange } from '../src/client/addresses.ts';
import { unfold } from '../src/wire/text.ts';
import { ANY_CHARACTER } from './support/any-character.ts';

const ipv4 = fc.ipV4();
const ipv6 = fc.ipV6().filter(address => !address.includes('.'));

describe('unfold()', () => {
  for (const [address, expected] of [
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['::FFFF:192.0.2.1', '192.0.2.1'],
    ['192.0.2.1', '192.0.2.1'],
    ['::1', '::1'],
    ['::ffff:999.0.2.1', '::ffff:999.0.2.1'],
    ['::ffff:1.2.3', '::ffff:1.2.3'],
    ['::fffe:192.0.2.1', '::fffe:192.0.2.1'],
    ['x::ffff:192.0.2.1', 'x::ffff:192.0.2.1'],
    ['UNKNOWN', 'UNKNOWN'],
    ['', ''],
  ] as const)
    it(`makes "${expected}" of "${address}"`, () => assert.equal(unfold(address), expected));
});

describe('parseFrom()', () => {
  const refused = [
    '',
    ' ',
    '/',
    '*',
    'any',
    'localhost',
    'backup.example.org',
    '192.0.2',
    '192.0.2.256',
    '192.0.2.1.1',
    '192.0.2.01',
    '0x7f.1',
    '2130706433',
    ' 192.0.2.1',
    '192.0.2.1 ',
    '192.0.2.1\n',
    '192.0.2.1/',
    '192.0.2.0/33',
    '192.0.2.0/-1',
    '192.0.2.0/024',
    '192.0.2.0/ 24',
    '192.0.2.0/24 ',
    '192.0.2.0/24/24',
    '192.0.2.0/255.255.255.0',
    '192.0.2.0/2４',
    '192.0.2.*',
    '192.0.2.1-5',
    '192.0.2.1,192.0.2.2',
    '!192.0.2.1',
    '192.0.2.1:22',
    '"192.0.2.1"',
    '[::1]',
    ':::1',
    '::1/129',
    '::g',
    'fe80::%eth0/10',
    'fe80::1%',
    'fe80::1%a%b',
    'fe80::1%e"0',
    '2001:db8::1%eth0',
    '192.0.2.1%eth0',
    '1:2:3:4:5:6:7:8:9',
  ];
  for (const text of refused)
    it(`refuses ${JSON.stringify(text)}`, () => assert.equal(parseFrom(text), undefined));

  const accepted: [string, Range][] = [
    ['192.0.2.1', { address: '192.0.2.1', family: 'ipv4', bits: 32 }],
    ['192.0.2.0/24', { address: '192.0.2.0', family: 'ipv4', bits: 24 }],
    ['0.0.0.0/0', { address: '0.0.0.0', family: 'ipv4', bits: 0 }],
    ['::ffff:192.0.2.1', { address: '192.0.2.1', family: 'ipv4', bits: 32 }],
    ['::1', { address: '::1', family: 'ipv6', bits: 128 }],
    ['2001:db8::/32', { address: '2001:db8::', family: 'ipv6', bits: 32 }],
    ['::/0', { address: '::', family: 'ipv6', bits: 0 }],
  ];
  for (const [text, range] of accepted) it(`reads ${text}`, () => assert.deepEqual(parseFrom(text), range));

  it('reads again what showRange() makes of it', () => {
    fc.assert(
      fc.property(fc.oneof(ipv4, ipv6), fc.nat(32), fc.boolean(), (address, bits, isRange) => {
        const range = parseFrom(isRange ? `${address}/${bits}` : address);
        if (range) assert.deepEqual(parseFrom(showRange(range)), range);
        else assert.ok(isRange);
      }),
    );
  });

  it('never throws, and accepts nothing that would end the quotes of from=, when the text is arbitrary', () => {
    const near = fc.string({
      unit: fc.constantFrom('1', '2', '.', ':', '/', 'f', '%', '"', ','),
      maxLength: 12,
    });
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: ANY_CHARACTER }), near), text => {
        const range = parseFrom(text);
        if (range) assert.match(showRange(range), /^[0-9a-fA-F.:]+(\/\d{1,3})?$/);
      }),
      { numRuns: 2000 },
    );
  });
});

/** Ranges as they are told to us; some have bits below the mask. */
const RANGES = [
  '192.0.2.0/24',
  '192.0.2.77/24',
  '192.0.2.129/25',
  '127.0.0.5/8',
  '192.0.2.1',
  '2001:db8::/32',
  '2001:db8:1::5/48',
  '::1',
];
const PEERS = [
  '192.0.2.1',
  '192.0.2.200',
  '192.0.3.1',
  '127.9.9.9',
  '2001:db8::1',
  '2001:db8:1::7',
  '2001:db9::1',
  '::1',
];

/** sshd asks an ordinary user for less: `nobody` where root runs the tests. */
const ORDINARY = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {};

/** Whether the real sshd matches an address with a range; as it does for from= (match.c, addr_match_list). */
function sshdMatches(folder: string, range: string, peer: string): boolean {
  writeFileSync(`${folder}/config`, `HostKey "${folder}/key"\nMatch Address ${range}\n  Banner /matched\n`);
  const at = `user=x,host=x,addr=${peer},laddr=127.0.0.1,lport=22`;
  const { stdout, stderr } = spawnSync('/usr/sbin/sshd', ['-T', '-f', `${folder}/config`, '-C', at], {
    encoding: 'utf8',
    ...ORDINARY,
  });
  assert.match(stdout, /^banner /m, `sshd: ${stderr}`);
  return /^banner \/matched$/m.test(stdout);
}

describe('parseFrom() of a link-local address', () => {
  it('leaves out the zone', () => {
    assert.deepEqual(parseFrom('fe80::1%eth0'), { address: 'fe80::1', family: 'ipv6', bits: 128 });
  });
});

describe('isFrom()', () => {
  const cases: [string[], string, boolean][] = [
    [[], '192.0.2.1', false],
    [['192.0.2.1'], '192.0.2.1', true],
    [['192.0.2.1'], '::ffff:192.0.2.1', true],
    [['192.0.2.1'], '192.0.2.2', false],
    [['192.0.2.0/24'], '192.0.2.255', true],
    [['192.0.2.0/24'], '192.0.3.0', false],
    [['0.0.0.0/0'], '203.0.113.9', true],
    [['0.0.0.0/0'], '2001:db8::1', false],
    [['::/0'], '2001:db8::1', true],
    [['2001:db8::/32'], '2001:db8:ffff::1', true],
    [['2001:db8::/32'], '2001:db9::1', false],
    [['fe80::/10'], 'fe80::1%eth0', true],
    [['::1'], '127.0.0.1', false],
    [['127.0.0.1'], '::1', false],
    [['192.0.2.1', '2001:db8::1'], '2001:db8::1', true],
    [['0.0.0.0/0', '::/0'], '', false],
    [['0.0.0.0/0', '::/0'], 'UNKNOWN', false],
    [['0.0.0.0/0', '::/0'], 'localhost', false],
    [['0.0.0.0/0', '::/0'], '192.0.2.1 ', false],
    [['0.0.0.0/0', '::/0'], '192.0.2.300', false],
  ];
  for (const [ranges, peer, expected] of cases)
    it(`is ${expected} for "${peer}" when ${ranges.join(' and ') || 'nothing'} may connect`, () =>
      assert.equal(
        isFrom(
          ranges.flatMap(text => parseFrom(text) ?? []),
          peer,
        ),
        expected,
      ));

  it('agrees with a comparison of the leading bits, for any IPv4 address and range', () => {
    const number = (address: string): number =>
      address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
    fc.assert(
      fc.property(ipv4, ipv4, fc.nat(32), (address, peer, bits) => {
        const range = parseFrom(`${address}/${bits}`);
        assert.ok(range);
        const size = 2 ** (32 - bits);
        const expected = Math.floor(number(address) / size) === Math.floor(number(peer) / size);
        assert.equal(isFrom([range], peer), expected);
        assert.equal(isFrom([range], `::ffff:${peer}`), expected);
      }),
      { numRuns: 500 },
    );
  });

  it('agrees with the real sshd on what showRange() tells it', t => {
    const folder = mkdtempSync(`${tmpdir()}/dialback from `);
    t.after(() => rmSync(folder, { recursive: true, force: true }));
    chmodSync(folder, 0o755);
    assert.equal(spawnSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', `${folder}/key`]).status, 0);
    if (ORDINARY.uid !== undefined) chownSync(`${folder}/key`, ORDINARY.uid, ORDINARY.gid);
    for (const text of RANGES) {
      const range = parseFrom(text);
      assert.ok(range);
      for (const peer of PEERS)
        assert.equal(
          sshdMatches(folder, showRange(range), peer),
          isFrom([range], peer),
          `${peer} in ${text}`,
        );
    }
  });
});

describe('parseListen()', () => {
  const refused = [
    '',
    ':',
    ':22',
    '22',
    '0.0.0.0',
    '0.0.0.0:',
    '0.0.0.0:65536',
    '0.0.0.0:-1',
    '0.0.0.0:x',
    '0.0.0.0: 22',
    '0.0.0.0:22 ',
    ' 0.0.0.0:22',
    '0.0.0.0:22\n',
    '0.0.0.0:100000',
    '[0.0.0.0]:22',
    '::1:22',
    ':::22',
    '[::1]',
    '[::1]22',
    '[::1',
    '[]:22',
    '[[::1]]:22',
    '[::1]:22:22',
    '*:22',
    'localhost:22',
    'eth0:22',
    '192.0.2:22',
  ];
  for (const text of refused)
    it(`refuses ${JSON.stringify(text)}`, () => assert.equal(parseListen(text), undefined));
  for (const [text, address, port] of [
    ['0.0.0.0:0', '0.0.0.0', 0],
    ['192.0.2.1:8022', '192.0.2.1', 8022],
    ['[::]:0', '::', 0],
    ['[::1]:65535', '::1', 65_535],
  ] as const)
    it(`reads ${text}`, () => assert.deepEqual(parseListen(text), { address, port }));

  it('reads each address and port again', () => {
    fc.assert(
      fc.property(fc.oneof(ipv4, ipv6), fc.nat(65_535), (address, port) => {
        const text = address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
        assert.deepEqual(parseListen(text), { address, port });
      }),
    );
  });
});

describe('findNat()', () => {
  const PRIVATE = [
    '10.0.0.1',
    '10.255.255.254',
    '172.16.0.1',
    '172.31.255.254',
    '192.168.178.20',
    '100.64.0.1',
    '100.127.255.254',
    '192.0.0.2',
    'fc00::1',
    'fd12:3456::7',
    '::ffff:10.0.0.1',
  ];
  const PUBLIC = [
    '9.255.255.255',
    '11.0.0.1',
    '172.15.255.255',
    '172.32.0.1',
    '192.167.1.1',
    '192.169.1.1',
    '100.63.255.255',
    '100.128.0.1',
    '192.0.0.9',
    '203.0.113.5',
    '2001:db8::5',
    '2600::1',
    'fbff::1',
    '::ffff:203.0.113.5',
  ];
  const NEAR = ['127.0.0.1', '127.8.0.1', '::1', '169.254.3.4', 'fe80::1', 'fe80::1%eth0', '0.0.0.0', '::'];

  it('names both addresses when a private one calls a public one', () => {
    for (const source of PRIVATE)
      for (const peer of PUBLIC) {
        const reason = findNat({ source, peer }) ?? assert.fail(`${source} ${peer}`);
        assert.ok(reason.includes(` ${peer} `) && reason.includes(` ${source},`), reason);
      }
  });

  it('finds none when both ends are private, or public, or near', () => {
    const ways: [string[], string[]][] = [
      [PRIVATE, PRIVATE],
      [PRIVATE, NEAR],
      [PUBLIC, [...PRIVATE, ...PUBLIC, ...NEAR]],
      [NEAR, [...PRIVATE, ...PUBLIC, ...NEAR]],
    ];
    for (const [sources, peers] of ways)
      for (const source of sources)
        for (const peer of peers) assert.equal(findNat({ source, peer }), undefined, `${source} ${peer}`);
  });

  it('finds a translator between IPv6 and IPv4, whatever the source', () => {
    for (const source of ['2001:db8::7', 'fd00::7'])
      assert.match(findNat({ source, peer: '64:ff9b::cb00:7105' }) ?? '', /64:ff9b::cb00:7105.*NAT64/);
    assert.equal(findNat({ source: '2001:db8::7', peer: '64:ff9c::1' }), undefined);
  });

  it('finds none when an end is no address', () => {
    for (const other of ['', 'x', '10.0.0', '10.0.0.0/8', '999.1.1.1']) {
      assert.equal(findNat({ source: other, peer: '203.0.113.5' }), undefined);
      assert.equal(findNat({ source: '10.0.0.1', peer: other }), undefined);
    }
  });

  it('never finds one towards the very same address', () => {
    fc.assert(
      fc.property(fc.oneof(ipv4, ipv6), address => {
        const isTranslator = isFrom([parseFrom('64:ff9b::/96') as Range], address);
        assert.equal(findNat({ source: address, peer: address }) !== undefined, isTranslator);
      }),
    );
  });
});
