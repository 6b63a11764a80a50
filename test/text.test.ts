import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  decodeName,
  encodeName,
  escapeText,
  jsonName,
  LOGIN,
  NAME,
  parseCallCommand,
  plainJson,
  quoteForShell,
  SNAPSHOT,
  showName,
  snapshotName,
  snapshotTime,
} from '../src/wire/text.ts';
import { ANY_CHARACTER } from './support/any-character.ts';

/** Letters that look like others, marks that turn text around, and what ends a line somewhere. */
const STRANGE = [
  '\u0430',
  '\uff41',
  'ａ',
  'é',
  '\u202e',
  '\u200b',
  '\u2028',
  '\u0000',
  '\u007f',
  '\ud800',
  '\ufeff',
];

/** Any text at all: with lone surrogates, control characters and what is outside the basic plane. */
const anyText = fc.oneof(
  fc.string({ unit: ANY_CHARACTER, maxLength: 200 }),
  fc
    .array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 100 })
    .map(codes => String.fromCharCode(...codes)),
  fc.string({ unit: fc.constantFrom(...STRANGE, 'a', '\\', '\n', '\r', '\t', '\u001b', '…'), maxLength: 60 }),
);

describe('NAME', () => {
  const refused = [
    '',
    '.',
    '..',
    '-',
    '-a',
    '_a',
    '.hidden',
    'A',
    'aB',
    'a b',
    ' a',
    'a ',
    'a\n',
    '\na',
    'a\r',
    'a\t',
    'a/b',
    '/a',
    'a/',
    '../a',
    'a\\b',
    "a'b",
    'a"b',
    'a$b',
    'a`b',
    'a;b',
    'a:b',
    'a@b',
    'a%b',
    'a*',
    'a+b',
    'a,b',
    'a~',
    'a'.repeat(64),
    ...STRANGE,
    ...STRANGE.map(each => `a${each}`),
  ];
  for (const name of refused) it(`refuses ${JSON.stringify(name)}`, () => assert.ok(!NAME.test(name)));
  for (const name of ['a', '0', '007', 'a.', 'a..b', 'a-_.', 'laptop.example.org', 'a'.repeat(63)])
    it(`accepts "${name}"`, () => assert.ok(NAME.test(name)));

  it('accepts nothing that is more than one component of a path, when the text is arbitrary', () => {
    fc.assert(
      fc.property(anyText, text => {
        if (NAME.test(text)) assert.match(text, /^(?![._-])[a-z0-9._-]{1,63}$/);
      }),
    );
  });
});

describe('LOGIN', () => {
  for (const name of [
    '',
    '0a',
    '-a',
    '.a',
    'a.b',
    'A',
    'a b',
    'a\n',
    'a$',
    'a@b',
    'a:b',
    'é',
    'a'.repeat(33),
  ])
    it(`refuses ${JSON.stringify(name)}`, () => assert.ok(!LOGIN.test(name)));
  for (const name of ['a', '_a', 'www-data', 'a_1', 'a'.repeat(32)])
    it(`accepts "${name}"`, () => assert.ok(LOGIN.test(name)));
});

describe('snapshotTime()', () => {
  const refused = [
    '',
    'latest',
    '2026-11-23',
    '2026-11-23T00-12-00',
    '2026-11-23T00:12:00Z',
    '2026-11-23t00-12-00z',
    '2026-11-23T00-12-00Z ',
    ' 2026-11-23T00-12-00Z',
    '2026-11-23T00-12-00Z\n',
    '2026-11-23T00-12-00.5Z',
    '2026-11-23T00-12-00Z-1234abcd',
    '../2026-11-23T00-12-00Z',
    '2026-13-01T00-00-00Z',
    '2026-00-01T00-00-00Z',
    '2026-01-00T00-00-00Z',
    '2026-01-32T00-00-00Z',
    '2026-02-29T00-00-00Z',
    '2026-02-30T00-00-00Z',
    '2026-04-31T00-00-00Z',
    '2026-11-31T00-00-00Z',
    '1900-02-29T00-00-00Z',
    '2026-01-01T24-00-00Z',
    '2026-01-01T25-00-00Z',
    '2026-01-01T00-60-00Z',
    '2026-01-01T00-00-60Z',
    '-026-01-01T00-00-00Z',
    '12026-01-01T00-00-00Z',
    '２026-01-01T00-00-00Z',
    '٢026-01-01T00-00-00Z',
  ];
  for (const name of refused)
    it(`refuses ${JSON.stringify(name)}`, () => assert.equal(snapshotTime(name), undefined));

  const accepted: [string, string][] = [
    ['2026-11-23T00-12-00Z', '2026-11-23T00:12:00.000Z'],
    ['2024-02-29T23-59-59Z', '2024-02-29T23:59:59.000Z'],
    ['2000-02-29T00-00-00Z', '2000-02-29T00:00:00.000Z'],
    ['1970-01-01T00-00-00Z', '1970-01-01T00:00:00.000Z'],
  ];
  for (const [name, time] of accepted)
    it(`tells the time of ${name}`, () => assert.equal(snapshotTime(name)?.toISOString(), time));

  it('gives back what snapshotName() was given, to the second', () => {
    const day = fc.date({ min: new Date(0), max: new Date('9999-12-31T23:59:59Z'), noInvalidDate: true });
    fc.assert(
      fc.property(day, time => {
        const name = snapshotName(time);
        assert.match(name, SNAPSHOT);
        assert.equal(snapshotTime(name)?.getTime(), Math.floor(time.getTime() / 1000) * 1000);
      }),
    );
  });

  it('accepts only what snapshotName() makes, when the digits are arbitrary', () => {
    const two = fc.integer({ min: 0, max: 99 }).map(number => String(number).padStart(2, '0'));
    fc.assert(
      fc.property(fc.array(two, { minLength: 7, maxLength: 7 }), ([a, b, c, d, e, f, g]) => {
        const name = `${a}${b}-${c}-${d}T${e}-${f}-${g}Z`;
        const time = snapshotTime(name);
        if (time) assert.equal(snapshotName(time), name);
      }),
    );
  });

  it('sorts by name as by time, when two times are given', () => {
    const day = fc.date({ min: new Date(0), max: new Date('9999-12-31T23:59:59Z'), noInvalidDate: true });
    fc.assert(
      fc.property(day, day, (one, other) => {
        if (one < other) assert.ok(snapshotName(one) <= snapshotName(other));
      }),
    );
  });
});

describe('parseCallCommand()', () => {
  const refused = [
    '',
    ':',
    'a',
    'a:',
    ':1',
    'a:0',
    'a:01',
    'a:00080',
    'a:65536',
    'a:99999',
    'a:100000',
    'a:-1',
    'a:+1',
    'a:1.0',
    'a:1e3',
    'a:0x50',
    'a: 1',
    'a :1',
    ' a:1',
    'a:1 ',
    'a:1\n',
    'a:1\r\n',
    '\na:1',
    'a:1\0',
    'a:1:1',
    'a:b:1',
    'a::1',
    'A:1',
    'a/b:1',
    '../a:1',
    '.a:1',
    '-a:1',
    'a b:1',
    'a;id:1',
    'a$(id):1',
    'a:１',
    'a:١',
    'а:1',
    `${'a'.repeat(64)}:1`,
    'a:1 --config /etc/x',
    'dialback grab --client a',
    'channel',
    ':channel',
    'a:channel ',
    'a: channel',
    ' a:channel',
    'a:channel\n',
    '\na:channel',
    'a:channel\0',
    'a:Channel',
    'a:CHANNEL',
    'a:chan',
    'a:channels',
    'a:channel1',
    'a:1channel',
    'a:channel:1',
    'a:1:channel',
    'a:channel:channel',
    'a::channel',
    'a:channel --config /etc/x',
    'A:channel',
    'a/b:channel',
    '../a:channel',
    '-a:channel',
    'a;id:channel',
    'a:\u0441hannel',
    'a:\uff43hannel',
    'probe',
    ':probe',
    'a:probe ',
    'a:Probe',
    'a:probe\n',
    'a:probe:1',
    'a:1:probe',
    'a:probe 4194304',
    'a:direct',
    'a:local',
    `${'a'.repeat(64)}:channel`,
  ];
  for (const text of refused)
    it(`refuses ${JSON.stringify(text)}`, () => assert.ok('reason' in parseCallCommand(text)));

  for (const [text, value] of [
    ['a:1', { name: 'a', port: 1, purpose: 'run' }],
    ['laptop:65535', { name: 'laptop', port: 65_535, purpose: 'run' }],
    ['007:8022', { name: '007', port: 8022, purpose: 'run' }],
    [`${'a'.repeat(63)}:22`, { name: 'a'.repeat(63), port: 22, purpose: 'run' }],
    ['a:channel', { name: 'a', port: undefined, purpose: 'run' }],
    ['channel:channel', { name: 'channel', port: undefined, purpose: 'run' }],
    ['channel:7', { name: 'channel', port: 7, purpose: 'run' }],
    ['a:probe', { name: 'a', port: undefined, purpose: 'probe' }],
    ['probe:probe', { name: 'probe', port: undefined, purpose: 'probe' }],
    ['probe:7', { name: 'probe', port: 7, purpose: 'run' }],
    [`${'a'.repeat(63)}:channel`, { name: 'a'.repeat(63), port: undefined, purpose: 'run' }],
  ] as const)
    it(`reads "${text}"`, () => assert.deepEqual(parseCallCommand(text), { value }));

  it('accepts only what reads the same when written again, when the text is arbitrary', () => {
    const near = fc.string({
      unit: fc.constantFrom(
        'a',
        '0',
        '1',
        '9',
        ':',
        '.',
        '-',
        '\n',
        ' ',
        'A',
        'channel',
        ':channel',
        'probe',
      ),
      maxLength: 12,
    });
    fc.assert(
      fc.property(fc.oneof(anyText, near), text => {
        const parsed = parseCallCommand(text);
        if (!('value' in parsed)) return;
        const { name, port, purpose } = parsed.value;
        assert.equal(`${name}:${port ?? (purpose === 'run' ? 'channel' : purpose)}`, text);
        assert.match(name, NAME);
        assert.ok(port === undefined || (port >= 1 && port <= 65_535));
      }),
      { numRuns: 1000 },
    );
  });
});

describe('escapeText()', () => {
  for (const [text, shown] of [
    ['', ''],
    ['plain text, äöü €', 'plain text, äöü €'],
    ['a\nb', 'a\\nb'],
    ['a\r\nb', 'a\\r\\nb'],
    ['\t', '\\t'],
    ['\\', '\\\\'],
    ['\\n', '\\\\n'],
    ['\u001b[31m', '\\u001b[31m'],
    ['\u009b31m', '\\u009b31m'],
    ['\u202egnp.exe', '\\u202egnp.exe'],
    ['\u2066x\u2069', '\\u2066x\\u2069'],
    ['\0', '\\u0000'],
    ['\u007f', '\\u007f'],
    ['\ufffd', '\\ufffd'],
    ['a\u00adb', 'a\\u00adb'],
    ['\u{e0041}', '\\u{e0041}'],
    ['\ud800', '\\ud800'],
    ['😀', '😀'],
  ] as const)
    it(`shows ${JSON.stringify(text)} as ${shown}`, () => assert.equal(escapeText(text), shown));

  it('lets no control character, no line end and no bidirectional mark through, whatever the text', () => {
    fc.assert(
      fc.property(anyText, fc.integer({ min: 1, max: 500 }), (text, limit) => {
        const shown = escapeText(text, limit);
        assert.doesNotMatch(shown, /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u);
      }),
      { numRuns: 2000 },
    );
  });

  it('lets no control character through, for each of the 65536 code units', () => {
    for (let code = 0; code <= 0xffff; code += 1) {
      const shown = escapeText(`a${String.fromCharCode(code)}b`);
      assert.doesNotMatch(shown, /[\p{Cc}\p{Bidi_Control}\p{Zl}\p{Zp}]/u, `U+${code.toString(16)}`);
    }
  });

  it('leaves no lone surrogate, whatever the text and wherever it is cut', () => {
    fc.assert(
      fc.property(
        fc.oneof(anyText, fc.string({ unit: fc.constantFrom('😀', 'a', '\ud800', '\udc00') })),
        text => {
          for (const limit of [1, 2, 3, 10]) assert.ok(escapeText(text, limit).isWellFormed());
        },
      ),
    );
  });

  it('stays within its limit and the mark of the cut, whatever the text', () => {
    fc.assert(
      fc.property(anyText, fc.integer({ min: 0, max: 300 }), (text, limit) => {
        const shown = escapeText(text, limit);
        assert.ok(shown.length <= limit + 1);
        if (shown.length === limit + 1) assert.ok(shown.endsWith('…'));
      }),
    );
    assert.equal(escapeText('x'.repeat(10_000)).length, 401);
  });

  it('shows different texts differently, when nothing is cut', () => {
    const well = fc.string({
      unit: fc.constantFrom('\\', 'n', '\n', 'u', '0', 'a', '\u001b', '\ufffd'),
      maxLength: 8,
    });
    fc.assert(
      fc.property(well, well, (one, other) => {
        if (one !== other) assert.notEqual(escapeText(one), escapeText(other));
      }),
      { numRuns: 1000 },
    );
  });
});

/** What /bin/sh makes of some words, each ended by a NUL; `%s` takes no escapes. */
function wordsOfShell(words: string[]): Buffer {
  const script = `exec printf '%s\\000' ${words.map(quoteForShell).join(' ')}`;
  const { status, stdout, stderr } = spawnSync('/bin/sh', ['-c', script], { env: { PATH: '/usr/bin:/bin' } });
  assert.equal(status, 0, stderr.toString());
  return stdout;
}

describe('plainJson()', () => {
  it('leaves nothing that a terminal obeys or hides, and means the same', () => {
    fc.assert(
      fc.property(
        fc.string({
          unit: fc.oneof(fc.constantFrom(...STRANGE, '\u009b', '\u00ad', '\u{e0001}'), fc.string()),
        }),
        text => {
          for (const indent of [undefined, 2]) {
            const json = plainJson({ text: [text] }, indent);
            assert.doesNotMatch(json, /(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u);
            assert.deepEqual(JSON.parse(json), { text: [text] });
          }
        },
      ),
    );
  });
});

describe('quoteForShell()', () => {
  const hard = [
    '',
    ' ',
    "'",
    "''",
    "'\\''",
    '\\',
    '\\\\',
    '"',
    '$HOME',
    '$(id)',
    '`id`',
    '!!',
    '*',
    '?',
    '[a-z]',
    '~',
    '~root',
    '#x',
    '-n',
    '--',
    'a;id',
    'a&b',
    'a|b',
    'a>b',
    '\n',
    'a\nb\n',
    '\t',
    '\u001b',
    'ä€😀',
    '%s\\n',
    '{a,b}',
    'it\'s a "test" of $everything `here`',
  ];
  it('comes through /bin/sh unchanged, when the words are hard', () => {
    assert.equal(wordsOfShell(hard).toString(), hard.map(word => `${word}\0`).join(''));
  });

  it('comes through /bin/sh unchanged, when the words are arbitrary', () => {
    const word = fc.oneof(
      fc.string({ unit: ANY_CHARACTER, maxLength: 40 }).map(text => text.replaceAll('\0', '')),
      fc.string({ unit: fc.constantFrom("'", '"', '\\', '$', '`', '\n', ' ', '!', '*', 'a'), maxLength: 20 }),
    );
    fc.assert(
      fc.property(fc.array(word, { minLength: 1, maxLength: 30 }), words => {
        assert.equal(wordsOfShell(words).toString(), words.map(each => `${each}\0`).join(''));
      }),
      { numRuns: 60 },
    );
  });
});

const bytes = fc.uint8Array({ maxLength: 255 }).map(each => Buffer.from(each));

describe('jsonName()', () => {
  it('is a string when the bytes are UTF-8, and base64 when they are not', () => {
    assert.equal(jsonName(Buffer.from('/a/ä\nb')), '/a/ä\nb');
    assert.equal(jsonName(Buffer.from('\ufeffx')), '\ufeffx');
    assert.equal(jsonName(Buffer.from('\ufffd')), '\ufffd');
    for (const wrong of ['ff', 'c3', 'eda080', 'c080', 'f4908080', '61ff62'])
      assert.deepEqual(jsonName(Buffer.from(wrong, 'hex')), {
        base64: Buffer.from(wrong, 'hex').toString('base64'),
      });
  });

  it('gives the bytes back after a way through JSON, whatever they are', () => {
    const mostlyText = fc.string({ unit: ANY_CHARACTER, maxLength: 60 }).map(text => Buffer.from(text));
    fc.assert(
      fc.property(fc.oneof(bytes, mostlyText), name => {
        const back = JSON.parse(JSON.stringify(jsonName(name))) as string | { base64: string };
        const got = typeof back === 'string' ? Buffer.from(back) : Buffer.from(back.base64, 'base64');
        assert.ok(got.equals(name));
      }),
      { numRuns: 500 },
    );
  });
});

describe('decodeName() and encodeName()', () => {
  it('lose no byte, and leave UTF-8 as it is', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), bytes => {
        assert.deepEqual(encodeName(decodeName(Buffer.from(bytes))), Buffer.from(bytes));
      }),
    );
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), text => {
        assert.equal(decodeName(Buffer.from(text)), text);
      }),
    );
  });

  it('know a byte from the mark that stands for any', () => {
    assert.equal(decodeName(Buffer.from([0x61, 0xff, 0xc3, 0xa9, 0xc3])), 'a\udcff\u00e9\udcc3');
    assert.equal(decodeName(Buffer.from('\ufffd')), '\ufffd');
    // What UTF-8 does not allow: an encoded surrogate, an encoding that is too long.
    assert.equal(decodeName(Buffer.from([0xed, 0xb3, 0xbf])), '\udced\udcb3\udcbf');
    assert.equal(decodeName(Buffer.from([0xc0, 0xaf])), '\udcc0\udcaf');
    assert.deepEqual(encodeName('\u{1f4be}x'), Buffer.from('\u{1f4be}x'));
  });
});

describe('showName()', () => {
  it('shows bytes that are not UTF-8 as octal, and text with its control characters escaped', () => {
    assert.equal(showName({ base64: Buffer.from('61ff5c0a', 'hex').toString('base64') }), 'a\\377\\134\\012');
    assert.equal(showName('/a b\n\u001b'), '/a b\\n\\u001b');
  });

  it('is printable and tells two names apart, whatever their bytes', () => {
    fc.assert(
      fc.property(bytes, bytes, (one, other) => {
        const shown = showName(jsonName(one));
        assert.doesNotMatch(shown, /[\p{Cc}\p{Bidi_Control}\p{Zl}\p{Zp}]/u);
        if (!one.equals(other) && typeof jsonName(one) === typeof jsonName(other))
          assert.notEqual(shown, showName(jsonName(other)));
      }),
      { numRuns: 500 },
    );
  });

  it('gives the bytes back when the octal is read again', () => {
    fc.assert(
      fc.property(bytes, name => {
        const shown = showName({ base64: name.toString('base64') });
        const back = shown.replace(/\\([0-7]{3})/g, (_, octal) =>
          String.fromCharCode(Number.parseInt(octal, 8)),
        );
        assert.ok(Buffer.from(back, 'latin1').equals(name));
      }),
    );
  });
});
