import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { parsePattern } from '../src/store/name-pattern.ts';
import { decodeName } from '../src/wire/text.ts';
import { ANY_CHARACTER } from './support/any-character.ts';

const isMeant = (pattern: string, path: string | Buffer, ignoresCase = false): boolean =>
  parsePattern(pattern, ignoresCase)(Buffer.from(path as string));

describe('parsePattern()', () => {
  const CASES: [pattern: string, meant: string[], not: string[]][] = [
    ['*', ['a', 'a/b', '.hidden', 'new\nline'], []],
    ['a', ['a', 'x/a', 'x/y/a'], ['b', 'a/b', 'aa', 'A']],
    ['*.txt', ['a.txt', 'x/.txt', 'x/new\nline.txt'], ['a.txt/b', 'txt', 'a.txt ']],
    ['a*b*c', ['abc', 'x/aXbXc', 'abbbcc', 'abcbc'], ['ab', 'abcd', 'acb']],
    ['?', ['a', 'é', '\n', '💾', 'x/a'], ['', 'ab', 'x/ab']],
    ['??', ['ab', 'é💾'], ['a', 'abc']],
    ['[abc]', ['a', 'b'], ['d', '[', 'ab']],
    ['[a-cx]', ['b', 'x'], ['d', '-']],
    ['[!a-c]', ['d', '!'], ['a', 'b']],
    ['[^a]', ['b'], ['a']],
    ['[]a]', [']', 'a'], ['b']],
    ['[!]a]', ['b'], [']', 'a']],
    ['[a-]', ['a', '-'], ['b']],
    ['[', ['['], ['a']],
    ['[a', ['[a'], ['a']],
    ['\\*', ['*'], ['a', '\\*']],
    ['a\\', ['a\\'], ['a']],
    ['\\[a]', ['[a]'], ['a']],
    ['/a', ['a'], ['x/a', 'a/b']],
    ['/a/*', ['a/b', 'a/b/c'], ['a', 'x/a/b']],
    ['a/b', ['a/b', 'x/a/b'], ['xa/b', 'a/bc', 'a/x/b']],
    ['docs/*.txt', ['docs/a.txt', 'home/docs/x/a.txt'], ['xdocs/a.txt', 'docs/a']],
    ['/', [''], ['a']],
    ['/x[!a]y', ['xby'], ['x/y', 'xay']],
  ];
  for (const [pattern, meant, not] of CASES) {
    it(`takes "${pattern}" as fnmatch(3) does`, () => {
      for (const path of meant) assert.ok(isMeant(pattern, path), JSON.stringify(path));
      for (const path of not) assert.ok(!isMeant(pattern, path), JSON.stringify(path));
    });
  }

  it('ignores case only when told, and of letters beyond ASCII too', () => {
    assert.ok(isMeant('a*É', 'ABé', true));
    assert.ok(!isMeant('a*É', 'ABé'));
    assert.ok(isMeant('[A-C]', 'b', true));
  });

  it('knows a byte that is no UTF-8 from every other one', () => {
    const bytes = Buffer.from([0x66, 0xff]);
    assert.ok(isMeant('f?', bytes));
    assert.ok(isMeant(decodeName(bytes), bytes));
    assert.ok(!isMeant(decodeName(bytes), Buffer.from([0x66, 0xfe])));
    assert.ok(!isMeant('f\ufffd', bytes));
  });

  it('finds every name by itself, with all that is special escaped', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: ANY_CHARACTER, minLength: 1 }).filter(each => !/[/\0]/.test(each)),
        name => {
          const escaped = name.replace(/[*?[\\]/g, '\\$&');
          assert.ok(isMeant(escaped, name));
          assert.ok(!isMeant(escaped, `${name}x`));
          assert.ok(isMeant(`*${escaped}`, `folder/${name}`));
        },
      ),
    );
  });

  it('says at once what no name fits, however many stars there are', () => {
    const before = process.cpuUsage(); // a clock would count what else the machine does
    assert.ok(!isMeant(`${'a*'.repeat(60)}b`, 'a'.repeat(255)));
    assert.ok(process.cpuUsage(before).user < 500_000);
  });
});
