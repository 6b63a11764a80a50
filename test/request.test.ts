import assert from 'node:assert/strict';
import { resolve } from 'node:path';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { isEd25519Key } from '../src/wire/key.ts';
import {
  type CommonHeader,
  type DirectHeader,
  decodeRequest,
  decodeRsync,
  encodeRequest,
  encodeRsync,
  isRoot,
  PATH_LIMIT,
  REQUEST_LIMITS,
  type Request,
  type RequestHeader,
  ROOTS_LIMIT,
} from '../src/wire/request.ts';
import { wording } from './support/wording.ts';

const REQUEST_VERSION = 'dialback-request 1';
const RSYNC_REMARKS = ['lists-names', 'vulnerable'] as const;
type ChannelHeader = Extract<RequestHeader, { confined: boolean }>;

/** A public key of type ssh-ed25519 with these 32 bytes (RFC 8709 section 4). */
function keyText(bytes: Uint8Array): string {
  const blob = Buffer.concat([Buffer.from('\0\0\0\x0bssh-ed25519\0\0\0\x20', 'latin1'), bytes]);
  return `ssh-ed25519 ${blob.toString('base64')}`;
}

const KEY = keyText(Buffer.alloc(32, 7));

/** A request that is accepted; the two lengths follow from the parts. */
function makeRequest(
  header: Partial<CommonHeader & DirectHeader> = {},
  parts: { key?: Buffer; excludes?: Buffer } = {},
): Request {
  const key = parts.key ?? Buffer.from('-----BEGIN OPENSSH PRIVATE KEY-----\n');
  const excludes = parts.excludes ?? Buffer.from('*.o\n');
  return {
    header: {
      transport: 'direct',
      user: 'backup',
      host_key: KEY,
      roots: ['/'],
      key_bytes: key.length,
      excludes_bytes: excludes.length,
      dry_run: false,
      rsync: '3.5.0',
      enumerated: ['/', '/var'],
      ...header,
    },
    key,
    excludes,
  };
}

/** The same for the call itself as the channel: without a key. */
function makeChannelRequest(header: Partial<CommonHeader & ChannelHeader> = {}): Request {
  const { user: _, host_key: __, ...common } = makeRequest().header as CommonHeader & DirectHeader;
  const key = Buffer.alloc(0);
  const excludes = Buffer.from('*.o\n');
  return {
    header: { ...common, transport: 'channel', confined: true, key_bytes: 0, ...header },
    key,
    excludes,
  };
}

/** The bytes of a request whose header is this text. */
function withHeader(text: string | Buffer, { key, excludes } = makeRequest()): Buffer {
  const header = Buffer.from(text as string);
  return Buffer.concat([
    Buffer.from(`${REQUEST_VERSION}\nheader ${header.length}\n`),
    header,
    Buffer.from(`key ${key.length}\n`),
    key,
    Buffer.from(`excludes ${excludes.length}\n`),
    excludes,
  ]);
}

/** What becomes of a request with these fields in its header. */
function outcome(bytes: Buffer): string {
  const decoded = decodeRequest(bytes);
  if ('reason' in decoded) return decoded.reason;
  return 'request' in decoded ? 'accepted' : 'incomplete';
}

const anyRoot = fc
  .array(
    fc
      .string({ unit: 'grapheme', minLength: 1, maxLength: 12 })
      .map(name => name.replace(/[/\p{Cc}\p{Cs}]/gu, '_'))
      .filter(name => name !== '.' && name !== '..'),
    { maxLength: 5 },
  )
  .map(names => `/${names.join('/')}`);

const anyBytes = (maxLength: number, minLength = 0): fc.Arbitrary<Buffer> =>
  fc.uint8Array({ minLength, maxLength }).map(each => Buffer.from(each));

const anyRequest: fc.Arbitrary<Request> = fc
  .record({
    user: fc.stringMatching(/^[a-z_][a-z0-9_-]{0,31}$/),
    host_key: fc.uint8Array({ minLength: 32, maxLength: 32 }).map(keyText),
    roots: fc.array(anyRoot, { minLength: 1, maxLength: 8 }),
    dry_run: fc.boolean(),
    more: fc.constantFrom<Pick<RequestHeader, 'checksum' | 'compress' | 'max_size'>>(
      {},
      { checksum: true },
      { compress: 'zstd' },
      { checksum: true, compress: 'zstd' },
      { max_size: 1 },
    ),
    rsync: fc.constantFrom('3.5.0', '3.2.7', 'unknown', '3.5.0+ds1'),
    key: anyBytes(400, 1),
    excludes: anyBytes(400),
  })
  .map(({ key, excludes, more, ...header }) => makeRequest({ ...header, ...more }, { key, excludes }));

describe('decodeRequest()', () => {
  it('gives back what encodeRequest() was given', () => {
    fc.assert(
      fc.property(anyRequest, request =>
        assert.deepEqual(decodeRequest(encodeRequest(request)), { request }),
      ),
    );
  });

  it('is incomplete for every prefix of a request', () => {
    fc.assert(
      fc.property(anyRequest, request => {
        const bytes = encodeRequest(request);
        for (let length = 0; length < bytes.length; length += 1)
          assert.ok('incomplete' in decodeRequest(bytes.subarray(0, length)), `${length} bytes`);
      }),
      { numRuns: 20 },
    );
  });

  it('says how many bytes must come before there is more to say', () => {
    fc.assert(
      fc.property(anyRequest, request => {
        const bytes = encodeRequest(request);
        let looks = 0;
        for (let length = 0; length < bytes.length; looks += 1) {
          const decoded = decodeRequest(bytes.subarray(0, length));
          if (!('incomplete' in decoded)) return assert.fail(`${length} bytes`);
          const { least } = decoded;
          assert.equal(least > length && least <= bytes.length, true);
          for (let more = length; more < least; more += 1)
            assert.equal('incomplete' in decodeRequest(bytes.subarray(0, more)), true);
          length = least;
        }
        // However slowly it comes: a look for each byte of its four lines, and one for each part.
        assert.equal(looks < 4 * 32, true);
        assert.deepEqual(decodeRequest(bytes), { request });
      }),
      { numRuns: 20 },
    );
  });

  it('refuses what follows a request, whatever and however much it is', () => {
    fc.assert(
      fc.property(anyRequest, anyBytes(50, 1), (request, more) => {
        assert.equal(
          outcome(Buffer.concat([encodeRequest(request), more])),
          wording('something-follows-the-request'),
        );
      }),
    );
  });

  it('neither throws nor accepts another frame, when any one byte is any other', () => {
    const bytes = encodeRequest(makeRequest({ roots: ['/home', '/etc'] }));
    const payload = bytes.indexOf('-----BEGIN');
    for (let at = 0; at < bytes.length; at += 1) {
      for (let flip = 1; flip < 256; flip += at < payload ? 1 : 85) {
        const changed = Buffer.from(bytes);
        changed[at] = (changed[at] ?? 0) ^ flip;
        const decoded = decodeRequest(changed);
        if (!('request' in decoded)) continue;
        // What is accepted is again a request, and it is the one that the bytes say.
        const again = encodeRequest(decoded.request);
        assert.deepEqual(decodeRequest(again), decoded, `byte ${at} xor ${flip}`);
      }
    }
  });

  it('never throws, when the bytes are arbitrary', () => {
    const begun = Buffer.from(`${REQUEST_VERSION}\nheader `);
    fc.assert(
      fc.property(fc.boolean(), anyBytes(500), (isBegun, bytes) => {
        assert.notEqual(outcome(isBegun ? Buffer.concat([begun, bytes]) : bytes), 'accepted');
      }),
      { numRuns: 1000 },
    );
  });

  it('never throws, when the header is arbitrary JSON', () => {
    fc.assert(
      fc.property(fc.json(), text => assert.notEqual(outcome(withHeader(text)), 'accepted')),
      { numRuns: 500 },
    );
  });

  it('refuses a wrong first line at once, without the rest', () => {
    const wrong = [
      '\n',
      ' dialback-request 1\n',
      'dialback-request 1 \n',
      'dialback-request 1\r\n',
      'dialback-request 2\n',
      'dialback-request 01\n',
      'dialback-request 10\n',
      'dialback-request\n',
      'Dialback-request 1\n',
      'GET / HTTP/1.1\r\n',
      'SSH-2.0-OpenSSH\r\n',
      'x'.repeat(100),
    ];
    for (const text of wrong)
      assert.match(outcome(Buffer.from(text)), /first line|too long/, JSON.stringify(text));
  });

  it('does not wait for the end of a line that is too long already', () => {
    assert.match(outcome(Buffer.alloc(REQUEST_VERSION.length + 1, 'd')), /too long/);
    assert.match(outcome(Buffer.from(`${REQUEST_VERSION}\nheader ${'9'.repeat(40)}`)), /too long/);
  });

  const lengthLines = [
    'header\n',
    'header \n',
    'header  5\n',
    ' header 5\n',
    'header 5 \n',
    'header 5\r\n',
    'header +5\n',
    'header -5\n',
    'header 05\n',
    'header 5.0\n',
    'header 5e1\n',
    'header 0x5\n',
    'header 5,\n',
    'header NaN\n',
    'header ٥\n',
    'Header 5\n',
    'headers 5\n',
    'key 5\n',
    'excludes 5\n',
    'header 12345678901\n',
    'header\t5\n',
    'header 5\0\n',
    '\n',
  ];
  for (const line of lengthLines)
    it(`refuses the length line ${JSON.stringify(line)}`, () =>
      assert.equal(
        outcome(Buffer.from(`${REQUEST_VERSION}\n${line}{}`)),
        'the line "header LENGTH" was expected',
      ));

  it('refuses a part that is missing, doubled or out of its order', () => {
    const { header, key, excludes } = makeRequest();
    const text = JSON.stringify(header);
    const part = (name: string, content: string | Buffer): Buffer =>
      Buffer.concat([
        Buffer.from(`${name} ${Buffer.from(content as string).length}\n`),
        Buffer.from(content as string),
      ]);
    const parts = {
      header: part('header', text),
      key: part('key', key),
      excludes: part('excludes', excludes),
    };
    const orders: (keyof typeof parts)[][] = [
      ['key', 'header', 'excludes'],
      ['header', 'excludes', 'key'],
      ['header', 'header', 'key', 'excludes'],
      ['header', 'key', 'key', 'excludes'],
      ['key'],
      ['excludes'],
    ];
    for (const order of orders) {
      const bytes = Buffer.concat([Buffer.from(`${REQUEST_VERSION}\n`), ...order.map(name => parts[name])]);
      assert.match(outcome(bytes), /was expected/, order.join());
    }
  });

  for (const part of ['header', 'key', 'excludes'] as const) {
    const limit = REQUEST_LIMITS[part];
    it(`takes ${limit} bytes of ${part}, and refuses one more by its length line alone`, () => {
      const { header } = makeRequest();
      const text = JSON.stringify(header);
      const before = {
        header: '',
        key: `header ${text.length}\n${text}`,
        excludes: `header ${text.length}\n${text}key ${header.key_bytes}\n${'k'.repeat(header.key_bytes)}`,
      }[part];
      const line = (length: number): Buffer =>
        Buffer.from(`${REQUEST_VERSION}\n${before}${part} ${length}\n`);
      assert.equal(outcome(line(limit)), 'incomplete');
      assert.equal(outcome(line(limit + 1)), `${part} has more than ${limit} bytes`);
    });
  }

  it('takes parts that are as large as they may be', () => {
    const parts = {
      key: Buffer.alloc(REQUEST_LIMITS.key, 1),
      excludes: Buffer.alloc(REQUEST_LIMITS.excludes, '\n'),
    };
    const request = makeRequest({}, parts);
    assert.deepEqual(decodeRequest(encodeRequest(request)), { request });
    const text = JSON.stringify(makeRequest().header);
    assert.equal(outcome(withHeader(text.padEnd(REQUEST_LIMITS.header))), 'accepted');
  });

  it('refuses a part whose length is not the one that the header says', () => {
    assert.equal(outcome(encodeRequest(makeRequest({ key_bytes: 5 }))), wording('the-length-of-the-key'));
    assert.equal(
      outcome(encodeRequest(makeRequest({ excludes_bytes: 5 }))),
      wording('the-length-of-the-excludes'),
    );
  });

  for (const text of [
    '',
    ' ',
    '{',
    '{}x',
    '[]',
    '[{}]',
    'null',
    'true',
    '1',
    '"x"',
    "{'transport':'direct'}",
    '{"transport":"direct",}',
    '// {}',
    '\ufeff{}',
  ])
    it(`refuses the header ${JSON.stringify(text)}`, () =>
      assert.match(
        outcome(withHeader(text)),
        /^the header (is not JSON|is not an object|has no "transport")$/,
      ));

  it('refuses a header that is not UTF-8', () => {
    const text = Buffer.from(JSON.stringify(makeRequest({ roots: ['/x?'] }).header));
    text[text.indexOf('?')] = 0xff;
    assert.equal(outcome(withHeader(text)), wording('the-header-is-not-utf'));
  });

  const keys = Object.keys(makeRequest().header) as (keyof (CommonHeader & DirectHeader))[];
  for (const key of keys) {
    it(`refuses a header without "${key}"`, () => {
      const { [key]: _, ...rest } = makeRequest().header as CommonHeader & DirectHeader;
      assert.equal(outcome(withHeader(JSON.stringify(rest))), wording('the-header-has-no', key));
    });
  }

  const WRONG: Record<keyof (CommonHeader & DirectHeader), unknown[]> = {
    transport: ['', 'Direct', 'Channel', 'usb', 'direct ', ['direct'], true],
    user: ['', 'A', 'a b', 'a\n', '-l', '-oProxyCommand=x', 'a@b', 'a'.repeat(33), ['root'], 0],
    host_key: ['', `${KEY} comment`, `${KEY}\n`, ` ${KEY}`, KEY.replace('ssh-ed25519', 'ssh-rsa'), [KEY], {}],
    roots: ['/', [], [''], ['home'], ['/', '/a/../b'], [['/']], [null], { 0: '/' }, ['/a', '/b\n']],
    key_bytes: [0, -1, 1.5, '36', 2 ** 53, [36], true],
    excludes_bytes: [-1, 0.5, '4', 2 ** 53, [4], false],
    checksum: [false, 'true', '', 0, 1, [], {}],
    compress: [true, false, '', 'no', 'zlib', 'ZSTD', 'zstd ', 'zstd --copy-links', 3, ['zstd'], {}],
    max_size: [0, -1, 1.5, '1', '1T', 2 ** 53, [1], true, {}],
    dry_run: ['false', '', 0, 1, [], {}],
    enumerated: [
      '/',
      [''],
      ['var'],
      ['/var/'],
      ['/', '/a/../b'],
      [['/']],
      [null],
      { 0: '/' },
      ['/a', '/b\n'],
    ],
    rsync: ['', ' ', '3.5.0 ', '3/5', 'x'.repeat(41), 3.5, null, []],
  };
  for (const key of [...keys, 'checksum', 'compress', 'max_size'] as const) {
    for (const value of [...WRONG[key], null])
      it(`refuses "${key}" when it is ${JSON.stringify(value).slice(0, 60)}`, () => {
        const header = { ...makeRequest().header, [key]: value };
        assert.equal(
          outcome(withHeader(JSON.stringify(header))),
          wording('the-headers-is-not-acceptable', key),
        );
      });
  }

  for (const key of [
    '',
    'x',
    'never',
    'Transport',
    'transport ',
    'toString',
    'hasOwnProperty',
    'constructor',
    '__proto__',
  ])
    it(`refuses a header with the key "${key}"`, () => {
      const text = JSON.stringify(makeRequest().header);
      for (const value of ['1', '{}', '{"transport":"direct"}', 'null'])
        assert.equal(
          outcome(withHeader(`{${JSON.stringify(key)}:${value},${text.slice(1)}`)),
          wording('the-header-has-a-key'),
        );
    });

  it('takes no field from __proto__, when it is missing itself', () => {
    const found = (key: 'transport' | 'user'): string => {
      const { [key]: value, ...rest } = makeRequest().header as CommonHeader & DirectHeader;
      return outcome(withHeader(`{"__proto__":{"${key}":"${value}"},${JSON.stringify(rest).slice(1)}`));
    };
    assert.equal(found('transport'), wording('the-header-has-no-transport'));
    assert.equal(found('user'), wording('the-header-has-a-key'));
  });

  it('refuses a key that is there twice, whichever of the two is acceptable, and however it is written', () => {
    const text = JSON.stringify(makeRequest().header);
    const reason = `the header ${wording('has-the-key-twice', 'user')}`;
    for (const first of ['"root"', '"backup"', 'null', '{"user":1}', '[]'])
      for (const last of ['"backup"', '"-x"', '"root"'])
        for (const key of ['"user"', '"\\u0075ser"', '"user" \n']) {
          const twice = `{${key}:${first},${text.slice(1).replace('"backup"', last)}`;
          assert.equal(outcome(withHeader(twice)), reason);
        }
    for (const key of Object.keys(makeRequest().header))
      assert.equal(
        outcome(withHeader(`${text.slice(0, -1)},"${key}":1}`)),
        `the header ${wording('has-the-key-twice', key)}`,
      );
  });

  it(`takes ${ROOTS_LIMIT} roots, and refuses one more`, () => {
    const roots = (count: number): string[] => Array.from({ length: count }, (_, index) => `/r${index}`);
    assert.equal(outcome(encodeRequest(makeRequest({ roots: roots(ROOTS_LIMIT) }))), 'accepted');
    assert.equal(
      outcome(encodeRequest(makeRequest({ roots: roots(ROOTS_LIMIT + 1) }))),
      'the header\'s "roots" is not acceptable',
    );
  });

  it('says nothing in a reason that came in the request', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[g-z]{8,20}$/), word => {
        for (const text of [`{"${word}":1}`, JSON.stringify(makeRequest({ user: `-${word}` }).header), word])
          assert.ok(!outcome(withHeader(text)).includes(word));
        assert.ok(!outcome(Buffer.from(`${word}\n`)).includes(word));
      }),
    );
  });
});

describe('decodeRequest(), of the transport channel', () => {
  const inChannel = (header: Record<string, unknown>): string =>
    outcome(withHeader(JSON.stringify({ ...makeChannelRequest().header, ...header }), makeChannelRequest()));

  it('gives back what encodeRequest() was given', () => {
    for (const header of [
      {},
      { confined: false },
      { dry_run: true },
      { checksum: true as const },
      { compress: 'zstd' as const },
      { max_size: 2 ** 50 },
    ]) {
      const request = makeChannelRequest(header);
      assert.deepEqual(decodeRequest(encodeRequest(request)), { request });
    }
  });

  it('is incomplete for every prefix of it', () => {
    const bytes = encodeRequest(makeChannelRequest());
    for (let length = 0; length < bytes.length; length += 1)
      assert.ok('incomplete' in decodeRequest(bytes.subarray(0, length)), `${length} bytes`);
  });

  it('is the same for a store on this machine, but for its name', () => {
    const request = makeChannelRequest({ transport: 'local' });
    assert.deepEqual(decodeRequest(encodeRequest(request)), { request });
    for (const transport of ['Local', 'local ', ['local']])
      assert.equal(inChannel({ transport }), wording('the-headers-transport-is-not'));
    for (const [key, value] of Object.entries({ confined: 1, key_bytes: 1 }))
      assert.equal(
        inChannel({ transport: 'local', [key]: value }),
        wording('the-headers-is-not-acceptable', key),
      );
    for (const key of ['user', 'host_key', 'store'])
      assert.equal(inChannel({ transport: 'local', [key]: 'x' }), wording('the-header-has-a-key'));
  });

  it('refuses what follows it, also what is said next in the handshake', () => {
    for (const more of ['g', 'go\n', '\n', '\0'])
      assert.equal(
        outcome(Buffer.concat([encodeRequest(makeChannelRequest()), Buffer.from(more)])),
        wording('something-follows-the-request'),
      );
  });

  const keys = Object.keys(makeChannelRequest().header) as (keyof (CommonHeader & ChannelHeader))[];
  for (const key of keys)
    it(`refuses a header without "${key}"`, () =>
      assert.equal(inChannel({ [key]: undefined }), wording('the-header-has-no', key)));

  const WRONG: Partial<Record<keyof (CommonHeader & ChannelHeader), unknown[]>> = {
    transport: ['', 'Channel', 'CHANNEL', 'channel ', 'channel\n', 'usb', ['channel'], true, null],
    confined: ['true', 'false', '', 0, 1, [], [true], {}, null],
    key_bytes: [1, 36, -1, 0.5, '0', '', [], [0], false, null, 2 ** 53],
    roots: ['/', [], ['home'], ['/a/../b'], null],
    checksum: [false, 'true', 1, null],
    compress: [true, 'no', 'zlib', null],
    max_size: [0, -1, '1', null],
    dry_run: ['false', 0, null],
  };
  for (const [key, values] of Object.entries(WRONG))
    for (const value of values)
      it(`refuses "${key}" when it is ${JSON.stringify(value)}`, () =>
        assert.equal(inChannel({ [key]: value }), wording('the-headers-is-not-acceptable', key)));

  for (const key of ['user', 'host_key', 'port', 'peer', 'Confined', '__proto__x'])
    it(`refuses a header with "${key}"`, () => {
      const { header } = makeRequest();
      const value = Object.hasOwn(header, key) ? (header as unknown as Record<string, unknown>)[key] : 'x';
      assert.equal(inChannel({ [key]: value }), wording('the-header-has-a-key'));
    });

  it('refuses what belongs to it in a request to be dialled back', () => {
    for (const confined of [true, false])
      assert.equal(
        outcome(withHeader(JSON.stringify({ ...makeRequest().header, confined }))),
        wording('the-header-has-a-key'),
      );
    assert.equal(
      outcome(withHeader(JSON.stringify({ ...makeRequest().header, transport: 'channel' }))),
      wording('the-header-has-a-key'),
    );
    assert.equal(inChannel({ transport: 'direct' }), wording('the-header-has-a-key'));
  });

  it('refuses a key that the header does not announce', () => {
    for (const length of [1, 36, REQUEST_LIMITS.key]) {
      const request = { ...makeChannelRequest(), key: Buffer.alloc(length, 'k') };
      assert.equal(outcome(encodeRequest(request)), wording('the-length-of-the-key'));
    }
    assert.equal(
      outcome(encodeRequest({ ...makeChannelRequest(), key: Buffer.alloc(REQUEST_LIMITS.key + 1) })),
      `key has more than ${REQUEST_LIMITS.key} bytes`,
    );
  });

  it('neither throws nor takes what is not asked for, when any one byte is any other', () => {
    const bytes = encodeRequest(makeChannelRequest());
    fc.assert(
      fc.property(fc.nat({ max: bytes.length - 1 }), fc.nat({ max: 255 }), (at, value) => {
        const changed = Buffer.from(bytes);
        changed.writeUInt8(value, at);
        const decoded = decodeRequest(changed);
        if (!('request' in decoded)) return;
        const { header, key } = decoded.request;
        assert.equal(header.transport, 'channel');
        assert.equal(typeof (header as ChannelHeader).confined, 'boolean');
        assert.equal(key.length, 0);
        assert.ok(!Object.hasOwn(header, 'user') && !Object.hasOwn(header, 'host_key'));
      }),
      { numRuns: 3000 },
    );
  });
});

describe('isRoot()', () => {
  const refused: unknown[] = [
    '',
    ' ',
    '.',
    '..',
    'home',
    './home',
    '~',
    '~/x',
    '//',
    '//home',
    '/home/',
    '/home//x',
    '/.',
    '/..',
    '/./x',
    '/../x',
    '/x/.',
    '/x/..',
    '/x/./y',
    '/x/../y',
    '/\n',
    '/x\n',
    '/x\ny',
    '/x\r',
    '/x\t',
    '/x\0',
    '/x\u001b[0m',
    '/x\u007f',
    ' /x',
    '/\ud800',
    '/\udc00x',
    `/${'x'.repeat(PATH_LIMIT)}`,
    `/${'é'.repeat(PATH_LIMIT / 2 + 1)}`,
    undefined,
    null,
    0,
    ['/'],
    { length: 1 },
  ];
  for (const value of refused)
    it(`refuses ${JSON.stringify(value)?.slice(0, 40)}`, () => assert.equal(isRoot(value), false));
  for (const value of [
    '/',
    '/a',
    '/a b',
    '/...',
    '/..a',
    '/.a',
    '/a.',
    '/-x',
    '/*',
    '/é😀',
    `/${'x'.repeat(PATH_LIMIT - 1)}`,
  ])
    it(`accepts ${value.slice(0, 40)}`, () => assert.equal(isRoot(value), true));

  it('accepts only what stays as it is when resolved, whatever the text', () => {
    const near = fc.string({ unit: fc.constantFrom('/', '.', 'a', '-', '\n', 'é', '\ud800'), maxLength: 10 });
    fc.assert(
      fc.property(near, text => {
        if (!isRoot(text)) return;
        assert.equal(resolve(text), text);
        assert.ok(!text.includes('\n') && text.isWellFormed());
      }),
      { numRuns: 2000 },
    );
  });

  it('accepts paths of plain names, whatever the names', () => {
    fc.assert(fc.property(anyRoot, root => assert.equal(isRoot(root), true)));
  });
});

describe('encodeRsync()', () => {
  /** What a host of 0.1.0 takes: it refuses every key of the header that it does not know. */
  const OF_FIRST_VERSION = /^[0-9A-Za-z.+~-]{1,40}$/;
  const version = fc.string({
    unit: fc.constantFrom(...'0123456789.+~-abz'),
    minLength: 1,
    maxLength: 40,
  });

  it('gives what a host of 0.1.0 takes, and decodeRsync() gives it back', () => {
    fc.assert(
      fc.property(version, fc.subarray([...RSYNC_REMARKS]), (text, remarks) => {
        const encoded = encodeRsync(text, remarks);
        assert.match(encoded, OF_FIRST_VERSION);
        const found = decodeRsync(encoded);
        assert.deepEqual(found.remarks, remarks);
        assert.ok(text.startsWith(found.version));
        assert.ok('request' in decodeRequest(encodeRequest(makeRequest({ rsync: encoded }))));
      }),
    );
  });
  it('is the version alone where there is nothing to remark', () => {
    assert.equal(encodeRsync('3.5.0', []), '3.5.0');
  });
});

describe('decodeRsync()', () => {
  const cases: [string, string, string[]][] = [
    ['3.5.0', '3.5.0', []], // what a client of 0.1.0 says
    ['3.2.7+lists-names', '3.2.7', ['lists-names']],
    ['3.2.7+vulnerable', '3.2.7', ['vulnerable']],
    ['3.2.7+lists-names+vulnerable', '3.2.7', ['lists-names', 'vulnerable']],
    ['3.2.7+something-newer', '3.2.7+something-newer', []],
    ['3.2.7+vulnerable+something-newer', '3.2.7+vulnerable+something-newer', []],
    ['3.2.7vulnerable', '3.2.7vulnerable', []],
    ['+vulnerable', 'unknown', ['vulnerable']],
  ];
  for (const [text, version, remarks] of cases)
    it(`reads "${text}"`, () => assert.deepEqual(decodeRsync(text), { version, remarks }));
});

describe('isEd25519Key()', () => {
  const blob = KEY.slice('ssh-ed25519 '.length);
  const bytes = Buffer.from(blob, 'base64');
  const as = (change: (bytes: Buffer) => void, length = bytes.length): string => {
    const copy = Buffer.alloc(length);
    bytes.copy(copy);
    change(copy);
    return `ssh-ed25519 ${copy.toString('base64')}`;
  };
  const refused: [string, string][] = [
    ['nothing', ''],
    ['the type alone', 'ssh-ed25519'],
    ['an empty blob', 'ssh-ed25519 '],
    ['a comment', `${KEY} me@here`],
    ['a trailing blank', `${KEY} `],
    ['a trailing newline', `${KEY}\n`],
    ['a leading blank', ` ${KEY}`],
    ['two blanks', `ssh-ed25519  ${blob}`],
    ['a tab', `ssh-ed25519\t${blob}`],
    ['another type before it', `ssh-rsa ${blob}`],
    ['upper case', `SSH-ED25519 ${blob}`],
    ['options before it', `command="id" ${KEY}`],
    ['a marker before it', `@cert-authority * ${KEY}`],
    ['two keys', `${KEY}\n${KEY}`],
    ['two keys on one line', `${KEY} ${KEY}`],
    ['a shorter blob', as(() => {}, 50)],
    ['a longer blob', as(() => {}, 54)],
    ['another type in the blob', as(copy => copy.write('ssh-dss\0\0\0\0', 4, 'latin1'))],
    ['another length of the type', as(copy => copy.writeUInt32BE(12))],
    ['a huge length of the type', as(copy => copy.writeUInt32BE(0x0100000b))],
    ['another length of the key', as(copy => copy.writeUInt32BE(31, 15))],
    ['a huge length of the key', as(copy => copy.writeUInt32BE(0xffffffff, 15))],
    ['letters that are not base64', `ssh-ed25519 ${blob.slice(0, 67)}-`],
    ['url-safe base64', `ssh-ed25519 ${blob.slice(0, 67)}_`],
    ['padding', `ssh-ed25519 ${blob.slice(0, 66)}==`],
  ];
  for (const [what, text] of refused) it(`refuses ${what}`, () => assert.equal(isEd25519Key(text), false));

  it('accepts each key of 32 bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), key =>
        assert.equal(isEd25519Key(keyText(key)), true),
      ),
    );
  });

  it('refuses each other text that is one letter away in type or length', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 35 }),
        fc.string({ minLength: 1, maxLength: 1 }),
        (at, letter) => {
          const changed = KEY.slice(0, at) + letter + KEY.slice(at + 1);
          if (changed !== KEY) assert.equal(isEd25519Key(changed), false, changed);
        },
      ),
      { numRuns: 500 },
    );
  });
});
