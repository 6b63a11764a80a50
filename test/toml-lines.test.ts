import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { parse, stringify } from 'smol-toml';
import { type KeyPath, keyLines } from '../src/shared/toml-lines.ts';

const TEXT = `# a comment with = and [brackets]
name = "a" # and one behind
text = """
[not.a.table]
key = "not a key"
"""

[[remote]]
target = "one"

[[remote]]
# nothing here
target = "two"
ssh_options = [
  "a=b", # ]
  "c=d",
]

[scope] # and one behind a table
exclude = ["#", "]"]
limits.nice = 5
"quoted key" = 1
inline = { a = 1, b = { c = 2 } }

[client."lap.top".retention]
daily = 7
[[remote.more]]
x = 1
`;

/** All paths of a value that are keys, the entries of lists too. */
function pathsOf(value: unknown): KeyPath[] {
  if (typeof value !== 'object' || value === null || value instanceof Date) return [];
  return Object.entries(value).flatMap(([key, inner]) => {
    const name = Array.isArray(value) ? Number(key) : key;
    return [[name], ...pathsOf(inner).map(path => [name, ...path])];
  });
}

describe('keyLines()', () => {
  for (const [path, line] of [
    [['name'], 2],
    [['text'], 3],
    [['remote', 0], 8],
    [['remote', 0, 'target'], 9],
    [['remote', 1], 11],
    [['remote', 1, 'target'], 13],
    [['remote', 1, 'ssh_options'], 14],
    [['remote', 1, 'ssh_options', 1], 14],
    [['remote', 1, 'more', 0, 'x'], 28],
    [['scope', 'exclude'], 20],
    [['scope', 'limits', 'nice'], 21],
    [['scope', 'quoted key'], 22],
    [['scope', 'inline', 'b', 'c'], 23],
    [['client', 'lap.top', 'retention', 'daily'], 26],
    // The table that would have it.
    [['scope', 'absent'], 19],
    [['remote', 1, 'absent'], 11],
    [['absent'], undefined],
    [[], undefined],
  ] as [KeyPath, number | undefined][])
    it(`finds ${JSON.stringify(path)} in line ${line}`, () => {
      assert.ok(parse(TEXT));
      assert.equal(keyLines(TEXT).lineOf(path), line);
    });

  it('reads lines that end with CR and LF', () => {
    const lines = keyLines(TEXT.replaceAll('\n', '\r\n'));
    assert.equal(lines.lineOf(['scope', 'inline', 'b', 'c']), 23);
  });

  it('ends also for a list of 20,000 entries; if these can end it, it knows only the lines before it', () => {
    for (const entry of ['some/pattern', '[a-z]*.tmp']) {
      const list = `exclude = [\n${`  "${entry}",\n`.repeat(20_000)}]\n`;
      const lines = keyLines(`first = 1\n${list}last = 1\n`);
      assert.equal(lines.lineOf(['first']), 1);
      assert.equal(lines.lineOf(['last']), entry.includes(']') ? undefined : 20_004);
    }
  });

  it('finds each key of any config in a line with its name', () => {
    const value = fc.oneof(
      fc.string(),
      fc.integer(),
      fc.boolean(),
      fc.array(fc.string({ unit: 'grapheme' })),
    );
    const table = fc.dictionary(fc.string({ minLength: 1, unit: 'binary-ascii' }), value, { minKeys: 1 });
    const config = fc.dictionary(
      fc.string({ minLength: 1 }),
      fc.oneof(value, table, fc.array(table, { minLength: 1 })),
    );
    fc.assert(
      fc.property(config, made => {
        const text = stringify(made);
        const lines = keyLines(text);
        for (const path of pathsOf(parse(text))) {
          const line = lines.lineOf(path) ?? 0;
          const name = String(path.findLast(each => typeof each === 'string'));
          const written = stringify({ [name]: 1 }).split(' = ')[0] ?? '';
          assert.ok(
            text.split('\n')[line - 1]?.includes(written),
            `${JSON.stringify(path)}: line ${line} of\n${text}`,
          );
        }
      }),
    );
  });
});
