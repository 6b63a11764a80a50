import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { suggestion } from '../src/shared/nearest.ts';
import { wording } from './support/wording.ts';

const KNOWN = ['exclude', 'exclude_from', 'nice', 'ionice', 'max_size', 'never', 'roots'];
const LETTERS = 'abcdefghijklmnopqrstuvwxyz_';

describe('suggestion()', () => {
  for (const [word, meant] of [
    ['excludes', 'exclude'],
    ['exlcude', 'exclude'],
    ['exclude-from', 'exclude_from'],
    ['NICE', 'nice'],
    ['nise', 'nice'],
    ['nic', 'nice'],
    ['maxsize', 'max_size'],
    ['mx_sise', undefined],
    ['root', 'roots'],
    ['colour', undefined],
    ['no', undefined],
    ['', undefined],
    ['nice', undefined],
    ['x'.repeat(100_000), undefined],
  ] as const)
    it(`is ${meant} for ${word.slice(0, 20) || 'nothing'}`, () =>
      assert.equal(suggestion(word, KNOWN), meant === undefined ? '' : wording('did-you-mean', meant)));

  it('finds a word of five letters and more with any one mistake', () => {
    const mistake = fc.record({ word: fc.constantFrom('exclude_from', 'max_size'), at: fc.nat(7) });
    fc.assert(
      fc.property(mistake, fc.constantFrom(...LETTERS), fc.nat(3), ({ word, at }, letter, kind) => {
        const [head, tail] = [word.slice(0, at), word.slice(at)];
        const swapped = `${tail[1] ?? ''}${tail[0] ?? ''}${tail.slice(2)}`;
        const wrong = [
          `${head}${letter}${tail}`,
          head + tail.slice(1),
          head + letter + tail.slice(1),
          head + swapped,
        ];
        const found = suggestion(wrong[kind] ?? '', KNOWN);
        assert.equal(found, wrong[kind] === word ? '' : wording('did-you-mean', word));
      }),
    );
  });
});
