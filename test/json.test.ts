import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { parseJson } from '../src/wire/json.ts';
import { ANY_CHARACTER } from './support/any-character.ts';
import { matching, says, wording } from './support/wording.ts';

describe('parseJson()', () => {
  it('reads what JSON.parse reads, where no object has a key twice', () => {
    for (const text of [
      'null',
      '{}',
      '[]',
      '""',
      '{"a":{"a":{"a":1}},"b":[{"a":1},{"a":1}]}',
      '{"a":1,"A":2,"a ":3,"":4,"\\u0000a":5}',
      '["a","a",{"b":"b"}]',
      '{"a":"\\"b\\":1,\\"b\\":2","b":"}","c":"{"}',
      '{"a":"\\\\","b":"\\\\\\"","c":":"}',
      '{"a" \t\r\n: 1, "b":{}}',
    ])
      assert.deepEqual(parseJson(text), { value: JSON.parse(text) }, text);
    const whole = fc.property(fc.json(), fc.constantFrom(0, 1, '\t'), (text, indent) => {
      const value: unknown = JSON.parse(text);
      assert.deepEqual(parseJson(JSON.stringify(value, null, indent)), { value });
    });
    fc.assert(whole);
  });

  const twice: [text: string, key: string][] = [
    ['{"a":1,"a":1}', 'a'],
    ['{"a":1,"b":2,"a":3}', 'a'],
    ['{"a":1,"\\u0061":2}', 'a'],
    ['{"\\/":1,"/":2}', '/'],
    ['{"":1,"":2}', ''],
    ['{"__proto__":1,"__proto__":2}', '__proto__'],
    ['{"a" : 1 ,\n "a"\n:\t2}', 'a'],
    ['[{"a":[{"b":1,"c":{"b":1},"b":2}]}]', 'b'],
    ['{"a":{"b":1},"c":[],"a":{}}', 'a'],
    ['{"a":"}","a":1}', 'a'],
    ['{"a":"\\\\","a":1}', 'a'],
    ['{"a\\"":1,"a\\"":2}', 'a"'],
    ['{"\\u001b\\u202e\\n":1,"\\u001b\\u202e\\n":2}', '\\u001b\\u202e\\n'],
  ];
  for (const [text, key] of twice)
    it(`refuses ${text}, and names the key`, () =>
      assert.deepEqual(parseJson(text), { reason: wording('has-the-key-twice', key) }));

  it('refuses a key that is put in once more, wherever that is', () => {
    const object = fc.dictionary(fc.string({ unit: ANY_CHARACTER }), fc.jsonValue(), { minKeys: 1 });
    fc.assert(
      fc.property(object, fc.nat(), fc.jsonValue(), fc.boolean(), (value, at, other, isInside) => {
        const keys = Object.keys(value);
        const key = keys[at % keys.length] ?? '';
        const text = `${JSON.stringify(value).slice(0, -1)},${JSON.stringify(key)}:${JSON.stringify(other)}}`;
        const parsed = parseJson(isInside ? `{"x":[0,${text}]}` : text);
        assert.ok('reason' in parsed);
        assert.match(parsed.reason, matching`^${says('has-the-key-twice')}$`);
        assert.doesNotMatch(parsed.reason, /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u);
      }),
    );
  });

  it('refuses what is not JSON', () => {
    for (const text of [
      '',
      ' ',
      '{',
      '{"a":1,}',
      "{'a':1}",
      '{"a":1}{"a":1}',
      '\ufeff{}',
      'undefined',
      '"\n"',
    ])
      assert.deepEqual(parseJson(text), { reason: 'is not JSON' }, text);
  });

  it('takes what is deep, and what is long', () => {
    const deep = `${'{"a":'.repeat(2000)}1${'}'.repeat(2000)}`;
    assert.ok('value' in parseJson(deep));
    const long = `{${Array.from({ length: 50_000 }, (_, index) => `"${index}":"${'\\\\'.repeat(20)}"`).join(',')}}`;
    assert.ok('value' in parseJson(long));
    assert.ok('reason' in parseJson(`${long.slice(0, -1)},"7":1}`));
  });
});
