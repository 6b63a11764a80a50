// Unit: the headers of an archive (src/store/pax.ts). A decoder of this test's own reads them back.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  type ArchiveEntry,
  encodeHeader,
  encodeSparseMap,
  paddingOf,
  xattrRecord,
} from '../src/store/pax.ts';

interface Decoded {
  path: string;
  mode: number;
  uid: number;
  gid: number;
  size: number;
  mtimeNs: bigint;
  flag: string;
  target: string;
  devices: [number, number];
  records: Map<string, string>;
}

/** One character per byte. Fails where a header is malformed. */
function decode(bytes: Buffer): Decoded {
  const records = new Map<string, string>();
  let rest = bytes;
  if (flagOf(rest) === 'x') {
    const size = number(rest, 124, 12);
    readRecords(rest.subarray(512, 512 + size), records);
    const end = 512 + size + paddingOf(size);
    assert.ok(rest.subarray(512 + size, end).every(each => each === 0));
    rest = rest.subarray(end);
  }
  assert.equal(rest.length, 512);
  const text = (at: number, length: number): string =>
    rest
      .toString('latin1', at, at + length)
      .split('\0')[0]
      ?.toString() ?? '';
  const blank = Buffer.from(rest);
  blank.fill(' ', 148, 156);
  assert.equal(
    number(rest, 148, 8),
    blank.reduce((sum, byte) => sum + byte, 0),
  );
  assert.equal(rest.toString('latin1', 257, 265), 'ustar\x0000');
  const prefix = text(345, 155);
  return {
    path: records.get('path') ?? (prefix === '' ? '' : `${prefix}/`) + text(0, 100),
    mode: number(rest, 100, 8),
    uid: Number(records.get('uid') ?? number(rest, 108, 8)),
    gid: Number(records.get('gid') ?? number(rest, 116, 8)),
    size: Number(records.get('size') ?? number(rest, 124, 12)),
    mtimeNs: nanoseconds(records.get('mtime') ?? String(number(rest, 136, 12))),
    flag: flagOf(rest),
    target: records.get('linkpath') ?? text(157, 100),
    devices: [number(rest, 329, 8), number(rest, 337, 8)],
    records,
  };
}

function flagOf(header: Buffer): string {
  return header.toString('latin1', 156, 157);
}

function number(header: Buffer, at: number, length: number): number {
  if (header[at] === 0x80) return header.readUInt32BE(at + length - 4);
  return Number.parseInt(header.toString('latin1', at, at + length), 8);
}

function readRecords(bytes: Buffer, into: Map<string, string>): void {
  for (let at = 0; at < bytes.length; ) {
    const digits = /^\d+/.exec(bytes.toString('latin1', at, at + 20))?.[0] ?? '';
    const record = bytes.toString('latin1', at, at + Number(digits));
    const found = /^\d+ ([^=]+)=(.*)\n$/s.exec(record);
    assert.ok(found, record);
    into.set(found[1] ?? '', found[2] ?? '');
    at += record.length;
  }
}

function nanoseconds(text: string): bigint {
  const [, sign, seconds = '', fraction = ''] = /^(-?)(\d+)(?:\.(\d+))?$/.exec(text) ?? [];
  const size = BigInt(seconds) * 1_000_000_000n + BigInt(fraction.padEnd(9, '0'));
  return sign === '-' ? -size : size;
}

const bytes = (most: number): fc.Arbitrary<Buffer> =>
  fc.uint8Array({ minLength: 1, maxLength: most }).map(each => Buffer.from(each.map(byte => byte || 1)));
const path = fc
  .array(bytes(120), { minLength: 1, maxLength: 6 })
  .map(names =>
    Buffer.concat(
      names.flatMap((name, at) => [
        Buffer.from(at === 0 ? '' : '/'),
        Buffer.from(name.map(byte => (byte === 0x2f ? 0x2e : byte))),
      ]),
    ),
  );
const id = fc.integer({ min: 0, max: 0xffff_ffff });
const entry: fc.Arbitrary<ArchiveEntry> = fc.record({
  path,
  type: fc.constantFrom('file', 'folder', 'symlink', 'hard link', 'fifo', 'char device'),
  mode: fc.integer({ min: 0, max: 0o7777 }),
  uid: id,
  gid: id,
  mtimeNs: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 65n }),
  size: fc.maxSafeNat(),
  target: bytes(4000),
  device: fc.record({ major: id, minor: id }),
  records: fc.constant([]),
});

const PLAIN: ArchiveEntry = {
  path: Buffer.from('a'),
  type: 'file',
  mode: 0o644,
  uid: 1000,
  gid: 1000,
  mtimeNs: 1_000_000_000n,
  size: 3,
};

describe('encodeHeader()', () => {
  it('loses nothing', () => {
    fc.assert(
      fc.property(entry, each => {
        const found = decode(encodeHeader(each));
        const slash = each.type === 'folder' ? '/' : '';
        assert.equal(found.path, each.path.toString('latin1') + slash);
        assert.equal(found.target, each.target?.toString('latin1'));
        assert.deepEqual(found.devices, [each.device?.major, each.device?.minor]);
        for (const key of ['mode', 'uid', 'gid', 'size', 'mtimeNs'] as const)
          assert.equal(found[key], each[key], key);
      }),
      { numRuns: 500 },
    );
  });

  it('needs one block when a ustar header has room for everything', () => {
    const long = Buffer.from(`${'f'.repeat(155)}/${'n'.repeat(100)}`);
    for (const each of [PLAIN, { ...PLAIN, path: Buffer.from([0xff]) }, { ...PLAIN, path: long }])
      assert.equal(encodeHeader(each).length, 512);
    for (const each of [
      { ...PLAIN, path: Buffer.from(`${'f'.repeat(156)}/n`) },
      { ...PLAIN, path: Buffer.from('n'.repeat(101)) },
      { ...PLAIN, mtimeNs: -1_000_000_000n },
      { ...PLAIN, uid: 0o10000000 },
      { ...PLAIN, size: 8 ** 11 },
    ])
      assert.equal(encodeHeader(each).length, 3 * 512);
  });

  it('says that names are bytes only where a record has such a name', () => {
    const has = (each: Partial<ArchiveEntry>): boolean =>
      decode(encodeHeader({ ...PLAIN, ...each })).records.get('hdrcharset') === 'BINARY';
    assert.equal(has({ path: Buffer.alloc(100, 0xff) }), false);
    assert.equal(has({ path: Buffer.alloc(101, 0x61) }), false);
    assert.equal(has({ path: Buffer.alloc(101, 0xff) }), true);
    assert.equal(has({ type: 'symlink', target: Buffer.from('\u00e9'.repeat(51)) }), true);
  });

  it('calls the top `./`, and a sparse file by another name', () => {
    assert.equal(decode(encodeHeader({ ...PLAIN, type: 'folder', path: Buffer.alloc(0) })).path, './');
    const sparse = decode(encodeHeader({ ...PLAIN, sparseSize: 1_000_000 }));
    assert.equal(sparse.path, 'GNUSparseFile.0/a');
    assert.deepEqual(
      [...sparse.records],
      [
        ['GNU.sparse.major', '1'],
        ['GNU.sparse.minor', '0'],
        ['GNU.sparse.name', 'a'],
        ['GNU.sparse.realsize', '1000000'],
      ],
    );
  });
});

describe('a record', () => {
  /** The value as a reader finds it; fails where a length is wrong. */
  const valueIn = (value: Buffer): string | undefined =>
    decode(encodeHeader({ ...PLAIN, records: [xattrRecord(Buffer.from('user.k'), value)] })).records.get(
      'SCHILY.xattr.user.k',
    );
  it('has its own length in front, and any bytes as the value', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 1200 }), value => {
        assert.equal(valueIn(Buffer.from(value)), Buffer.from(value).toString('latin1'));
      }),
    );
    // Where the digits of the length make it longer: 99 and 100, 999 and 1000.
    for (let size = 60; size < 1000; size += 1)
      assert.equal(valueIn(Buffer.alloc(size, 'x')), 'x'.repeat(size));
  });
});

describe('xattrRecord()', () => {
  it('escapes what would end the key', () => {
    const { key } = xattrRecord(Buffer.from('user.a=b%3D\n\xff', 'latin1'), Buffer.alloc(0));
    assert.equal(key.toString('latin1'), 'SCHILY.xattr.user.a%3Db%253D\n\xff');
  });
});

describe('encodeSparseMap()', () => {
  const text = (map: Buffer): string => {
    assert.equal(map.length % 512, 0);
    return map.toString('latin1').replace(/\0+$/, '');
  };
  it('lists the parts, and the size where a hole is last', () => {
    assert.equal(text(encodeSparseMap([], 4096)), '1\n4096\n0\n');
    assert.equal(text(encodeSparseMap([{ start: 0, end: 10 }], 4096)), '2\n0\n10\n4096\n0\n');
    assert.equal(text(encodeSparseMap([{ start: 4096, end: 5000 }], 5000)), '1\n4096\n904\n');
  });
});
