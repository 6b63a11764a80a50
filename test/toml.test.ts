import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import * as v from 'valibot';
import { Fault } from '../src/fault.ts';
import { durationKey, parseConfig, pathKey, readConfig, sizeKey } from '../src/shared/toml.ts';
import { parseDuration, parseSize } from '../src/wire/quantity.ts';
import { ANY_CHARACTER } from './support/any-character.ts';
import { matching, says, wording } from './support/wording.ts';

const SCHEMA = v.strictObject({
  size: v.optional(sizeKey),
  time: v.optional(durationKey(1000)),
  path: v.optional(pathKey),
  table: v.optional(v.strictObject({ flag: v.optional(v.boolean()), many: v.optional(v.array(v.string())) })),
});

/** What is found wrong with a config; its form is the same for all. */
function found(text: string): string {
  try {
    parseConfig(text, '/etc/x.toml', SCHEMA);
  } catch (error) {
    assert.ok(error instanceof Fault, String(error));
    assert.equal(error.tried, 'use the config "/etc/x.toml"');
    assert.equal(error.exit, 'usage');
    assert.equal(error.code, 'config');
    assert.doesNotMatch(error.found, /[.\n]$|\p{Cc}/u);
    return error.found.replace(/^line \d+: /, '');
  }
  return 'accepted';
}

describe('parseConfig()', () => {
  for (const [text, reason] of [
    ['x = 1', 'unknown key "x"'],
    ['Size = "1G"', 'unknown key "Size" (did you mean "size"?)'],
    ['[table]\nx = 1', 'unknown key "table.x"'],
    ['"a\\u001bb" = 1', 'unknown key "a\\u001bb"'],
    ['hooks = 1', 'unknown key "hooks"'],
    ['size = 5', '"size" is 5, and should be a string'],
    ['size = true', '"size" is true, and should be a string'],
    ['size = ["1G"]', '"size" is a list, and should be a string'],
    ['size = 2026-01-01', '"size" is a date, and should be a string'],
    ['[size]', '"size" is a table, and should be a string'],
    ['table = 1', '"table" is 1, and should be a table'],
    ['table = "x"', '"table" is "x", and should be a table'],
    ['[table]\nflag = "yes"', '"table.flag" is "yes", and should be true or false'],
    ['[table]\nmany = "x"', '"table.many" is "x", and should be a list'],
    ['[table]\nmany = ["x", 1]', '"table.many.1" is 1, and should be a string'],
    ['time = "5"', `"time" ${wording('should-be-a-time-such-as')}`],
    ['time = "500ms"', `"time" ${wording('should-be-at-least-s', 1)} 24 days`],
    ['time = "25d"', `"time" ${wording('should-be-at-least-s', 1)} 24 days`],
    ['path = "x"', `"path" ${wording('should-be-an-absolute-path-or-one')} ~/`],
    ['path = ""', `"path" ${wording('should-be-an-absolute-path-or-one')} ~/`],
    ['path = "~x/y"', `"path" ${wording('should-be-an-absolute-path-or-one')} ~/`],
    ['path = "/a\\nb"', `"path" ${wording('has-a-control-character')}`],
  ] as const)
    it(`refuses ${JSON.stringify(text)} by key, and says what was expected`, () =>
      assert.equal(found(text), reason));

  for (const text of [
    '=',
    'a',
    'a =',
    'a = 1\na = 2',
    '[',
    '[a',
    'a = "',
    'a = 01',
    'a = 1 b = 2',
    'a = [1,,2]',
    '\0',
    'a = nul',
  ])
    it(`refuses ${JSON.stringify(text)}, which is not TOML, by line and column`, () =>
      assert.match(found(text), /^line \d+, column \d+: [a-z]/));

  it('accepts a good config, and a table left out', () => {
    assert.deepEqual({ ...parseConfig('', 'x', SCHEMA) }, {});
    const text = 'size = "1K"\ntime = "2s"\npath = "/x y"\n[table]\nflag = true\nmany = []\n';
    assert.deepEqual(JSON.parse(JSON.stringify(parseConfig(text, 'x', SCHEMA))), {
      size: 1024,
      time: 2000,
      path: '/x y',
      table: { flag: true, many: [] },
    });
  });

  it('throws nothing but a fault, when the text is arbitrary', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ unit: ANY_CHARACTER }),
          fc.string({ unit: fc.constantFrom('a', '=', '"', '[', ']', '\n', '1', '.') }),
        ),
        text => void found(text),
      ),
      { numRuns: 500 },
    );
  });
});

const UNITS = { '': 1, K: 1024, M: 1024 ** 2, G: 1024 ** 3, T: 1024 ** 4 };
const TIMES = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };
const anyText = fc.oneof(
  fc.string(),
  fc.string({ unit: fc.constantFrom('1', '0', 'K', 'm', 's', ' ', '.', '-'), maxLength: 6 }),
);

describe('parseSize()', () => {
  for (const text of [
    '',
    ' ',
    'K',
    '-1',
    '+1',
    '1.5G',
    '1,5G',
    '1 G',
    ' 1G',
    '1G ',
    '1G\n',
    '1k',
    '1g',
    '1KB',
    '1KiB',
    '1B',
    '1P',
    '0x10',
    '1e3',
    '１G',
    '9999999999999',
    '999999999999T',
    'ten',
  ])
    it(`refuses ${JSON.stringify(text)}`, () => assert.equal(parseSize(text), undefined));
  it('reads any number with any unit', () => {
    fc.assert(
      fc.property(fc.nat(8000), fc.constantFrom(...Object.entries(UNITS)), (count, [unit, factor]) => {
        assert.equal(parseSize(`${count}${unit}`), count * factor);
      }),
    );
  });
  it('is a whole number of bytes or nothing, whatever the text', () => {
    fc.assert(
      fc.property(anyText, text => {
        const size = parseSize(text);
        if (size !== undefined)
          assert.ok(Number.isSafeInteger(size) && size >= 0 && /^\d+[KMGT]?$/.test(text));
      }),
    );
  });
});

describe('parseDuration()', () => {
  for (const text of [
    '',
    ' ',
    '5',
    's',
    '-1s',
    '+1s',
    '1.5h',
    '1 h',
    ' 1h',
    '1h ',
    '1h\n',
    '1H',
    '1S',
    '1sec',
    '1h30m',
    '1y',
    '1e3s',
    '٣h',
    '9999999999s',
    'never',
    '00:10',
  ])
    it(`refuses ${JSON.stringify(text)}`, () => assert.equal(parseDuration(text), undefined));
  it('reads any number with any unit', () => {
    fc.assert(
      fc.property(fc.nat(10_000), fc.constantFrom(...Object.entries(TIMES)), (count, [unit, factor]) => {
        assert.equal(parseDuration(`${count}${unit}`), count * factor);
      }),
    );
  });
  it('is a whole number of milliseconds or nothing, whatever the text', () => {
    fc.assert(
      fc.property(anyText, text => {
        const ms = parseDuration(text);
        if (ms !== undefined) assert.ok(Number.isSafeInteger(ms) && ms >= 0 && /^\d+[a-z]+$/.test(text));
      }),
    );
  });
});

describe('readConfig()', () => {
  const folder = (context: { after(done: () => void): void }): string => {
    const path = mkdtempSync(`${tmpdir()}/dialback config `);
    context.after(() => rmSync(path, { recursive: true, force: true }));
    return path;
  };
  const failure = (path: string): Fault => {
    try {
      readConfig(path, SCHEMA, 'client.toml');
    } catch (error) {
      assert.ok(error instanceof Fault);
      assert.equal(error.exit, 'usage');
      return error;
    }
    throw new Error('it was accepted');
  };

  it('refuses what is not a plain file of a bearable size', t => {
    const top = folder(t);
    mkdirSync(`${top}/folder`);
    writeFileSync(`${top}/large`, '#'.repeat(1024 * 1024 + 1));
    assert.match(
      failure(`${top}/none`).message,
      matching`^${says('cannot-read-the-config-there', /.*none/)}$`,
    );
    assert.match(failure(`${top}/folder`).found, matching`^${says('it-is-not-a-plain')}$`);
    assert.match(failure('/dev/null').found, matching`^${says('it-is-not-a-plain')}$`);
    assert.match(failure(`${top}/large`).found, /at most 1048576 are taken$/);
  });

  it('tells where every key is to be found, when one is wrong', t => {
    const top = folder(t);
    writeFileSync(`${top}/x`, 'nmae = "x"\n');
    const { found, next } = failure(`${top}/x`);
    assert.match(found, /^line 1: unknown key "nmae"/);
    assert.match(next ?? '', /\/etc\/dialback\/client\.toml\.sample/);
  });

  it('refuses a file that others can write, or whose folder they can write', t => {
    const top = folder(t);
    mkdirSync(`${top}/open`);
    for (const path of [`${top}/x`, `${top}/open/x`]) writeFileSync(path, '');
    assert.deepEqual({ ...readConfig(`${top}/x`, SCHEMA, 'client.toml') }, {});
    symlinkSync(`${top}/x`, `${top}/open/link`);
    chmodSync(`${top}/x`, 0o646);
    chmodSync(`${top}/open`, 0o777);
    assert.match(failure(`${top}/x`).found, matching`x" ${says('can-be-written-by-others-mode')} 646\)$`);
    assert.match(
      failure(`${top}/open/link`).found,
      matching`x" ${says('can-be-written-by-others-mode')} 646\)$`,
    );
    assert.match(
      failure(`${top}/open/x`).found,
      matching`open" ${says('can-be-written-by-others-mode')} 777\)$`,
    );
  });
});
