import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { encodeMetrics } from '../src/output/open-metrics.ts';
import { ANY_CHARACTER } from './support/any-character.ts';

const one = (value: string): string =>
  encodeMetrics([
    { name: 'dialback_x', help: 'Some number.', samples: [{ labels: { a: value }, value: 1 }] },
  ]);

/** Reads the label's value back, as the specification says. */
function labelOf(line: string): string {
  const found = /^dialback_x\{a="((?:[^"\\\n]|\\["\\n])*)"\} 1$/.exec(line)?.[1];
  assert.notEqual(found, undefined, line);
  return (found ?? '').replace(/\\(.)/g, (_, character: string) => (character === 'n' ? '\n' : character));
}

describe('encodeMetrics()', () => {
  it('writes each metric once with its help, and ends with EOF', () => {
    const text = encodeMetrics([
      { name: 'dialback_a', help: 'Some number.', samples: [{ labels: {}, value: 1.5 }] },
      { name: 'dialback_b', help: 'No sample.', samples: [] },
    ]);
    assert.equal(text, '# HELP dialback_a Some number.\n# TYPE dialback_a gauge\ndialback_a 1.5\n# EOF\n');
    assert.equal(encodeMetrics([]), '# EOF\n');
  });

  it('keeps a hostile label in its quotes', () => {
    for (const value of ['"} 0\ndialback_x{a="b', '\\', '\\"', '\n# EOF\n', '\\n'])
      assert.equal(labelOf(one(value).split('\n')[2] ?? ''), value);
  });

  it('gives back any label, in one line', () => {
    fc.assert(
      fc.property(fc.string({ unit: ANY_CHARACTER }), value => {
        const lines = one(value).split('\n');
        assert.equal(lines.length, 5);
        assert.equal(labelOf(lines[2] ?? ''), value.toWellFormed());
      }),
    );
  });
});
