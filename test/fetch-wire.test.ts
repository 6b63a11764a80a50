import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  decodeFetchRequest,
  decodeOfferedEntry,
  decodeOfferHead,
  decodePieceLength,
  encodeFetchRequest,
  encodeOfferLine,
  encodePiece,
  FETCH_LINE_LIMIT,
  nameBytes,
  type OfferedEntry,
  PIECE_LIMIT,
} from '../src/wire/fetch.ts';
import { encodeCode } from '../src/wire/offer-code.ts';
import { jsonName } from '../src/wire/text.ts';

const CODE = encodeCode(Buffer.alloc(16, 9));
const HEAD = { snapshot: '2026-01-02T03-04-05Z', state: 'full', paths: ['/home/x'], hasManifest: true };
const ENTRY: OfferedEntry = {
  path: 'home/x/file',
  type: 'file',
  mode: 0o644,
  uid: 1000,
  gid: 1000,
  size: 3,
  mtime: '1700000000123456789',
  device: null,
  target: null,
  acl: 'u::rw-,u:5:r--,g::r--,m::r--,o::r--',
  xattrs: [['user.note', 'AAE=']],
  sha256: 'a'.repeat(64),
  damage: null,
};

describe('decodeFetchRequest()', () => {
  it('takes what encodeFetchRequest() writes, in one short line', () => {
    for (const action of ['list', 'files', 'done'] as const) {
      const line = encodeFetchRequest({ action, code: CODE });
      assert.ok(line.length <= FETCH_LINE_LIMIT);
      assert.deepEqual(decodeFetchRequest(line.slice(0, -1)), { value: { action, code: CODE } });
    }
  });

  it('refuses everything else', () => {
    for (const line of [
      '',
      'dialback-request 1',
      `dialback-fetch 2 list ${CODE}`,
      `dialback-fetch 1 LIST ${CODE}`,
      `dialback-fetch 1 list ${CODE} `,
      `dialback-fetch 1  list ${CODE}`,
      `dialback-fetch 1 list ${CODE.toLowerCase()}`,
      `dialback-fetch 1 list ${CODE.replaceAll('-', '')}`,
      'dialback-fetch 1 list',
      `dialback-fetch 1 list ${CODE}\r`,
    ])
      assert.ok('reason' in decodeFetchRequest(line), line);
  });
});

describe('decodePieceLength()', () => {
  it('takes a length up to the limit, in one way', () => {
    assert.deepEqual(decodePieceLength(String(PIECE_LIMIT)), { value: PIECE_LIMIT });
    assert.deepEqual(decodePieceLength('0'), { value: 0 });
    assert.equal(encodePiece(Buffer.from('ab')).toString(), '2\nab');
    for (const line of ['', '00', '01', '-1', '+1', '1 ', '1e3', '0x1', String(PIECE_LIMIT + 1), '99999999'])
      assert.ok('reason' in decodePieceLength(line), line);
  });
});

describe('decodeOfferedEntry()', () => {
  const decode = (more: object): ReturnType<typeof decodeOfferedEntry> =>
    decodeOfferedEntry(JSON.stringify({ ...ENTRY, ...more }));

  it('takes what encodeOfferLine() writes', () => {
    assert.deepEqual(decodeOfferedEntry(encodeOfferLine(ENTRY).trimEnd()), { value: ENTRY });
  });

  it('refuses a path that leads out of the folder it is joined to', () => {
    for (const path of [
      '/etc',
      '..',
      '../x',
      'a/../b',
      'a/./b',
      'a//b',
      'a/',
      '.',
      'a\0b',
      'x'.repeat(5000),
      { base64: 'Li4=' },
    ])
      assert.ok('reason' in decode({ path }), JSON.stringify(path));
  });

  it('refuses other values than an entry can have', () => {
    for (const more of [
      { type: 'door' },
      { mode: 0o10000 },
      { mode: -1 },
      { uid: 2 ** 32 },
      { size: 1.5 },
      { mtime: 5 },
      { mtime: '01' },
      { device: [1] },
      { target: 5 },
      { acl: 'u::rw-\x1b' },
      { xattrs: [['user.x']] },
      { xattrs: [['user.x', '\u0000']] },
      { sha256: 'A'.repeat(64) },
      { damage: 'much' },
      { command: 'x' },
    ])
      assert.ok('reason' in decode(more), JSON.stringify(more));
    for (const key of Object.keys(ENTRY)) {
      const { [key as keyof OfferedEntry]: _, ...rest } = ENTRY;
      assert.ok('reason' in decodeOfferedEntry(JSON.stringify(rest)), key);
    }
    for (const text of ['', '[]', 'null', '{}', '{"path":"a","path":"b"}'])
      assert.ok('reason' in decodeOfferedEntry(text));
  });

  it('keeps names of any bytes, each in one form', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 40 }), bytes => {
        const name = Buffer.from(
          bytes.map(byte => (byte === 0 || byte === 0x2f || byte === 0x2e ? 0x61 : byte)),
        );
        const decoded = decode({ path: jsonName(name) });
        assert.ok('value' in decoded);
        assert.deepEqual(nameBytes(decoded.value.path), name);
      }),
    );
    assert.equal(nameBytes({ base64: Buffer.from('plain').toString('base64') }), undefined);
    assert.equal(nameBytes('\ud800'), undefined);
  });

  it('returns a value or a reason for any text', () => {
    fc.assert(fc.property(fc.json(), text => void decodeOfferedEntry(text)));
  });
});

describe('decodeOfferHead()', () => {
  it('takes absolute paths only, at least one', () => {
    assert.ok('value' in decodeOfferHead(JSON.stringify(HEAD)));
    assert.ok('value' in decodeOfferHead(JSON.stringify({ ...HEAD, paths: ['/'] })));
    for (const more of [
      { paths: [] },
      { paths: ['x'] },
      { paths: ['/../x'] },
      { paths: ['//'] },
      { snapshot: 'x' },
      { state: 'none' },
    ])
      assert.ok('reason' in decodeOfferHead(JSON.stringify({ ...HEAD, ...more })), JSON.stringify(more));
  });
});
