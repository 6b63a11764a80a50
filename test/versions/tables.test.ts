import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { compareTable, formatTable, keepDocumented, readPart, replacePart, type Table } from './tables.ts';

function table(cells: Record<string, string>): Table {
  return {
    name: 'two machines',
    labels: ['client', 'host'],
    rows: [
      ['old', 'new'],
      ['new', 'old'],
    ],
    columns: ['direct', 'channel'],
    cells: new Map(Object.entries(cells)),
  };
}

const ALL = {
  'old|new|direct': 'works',
  'old|new|channel': 'works',
  'new|old|direct': 'works',
  'new|old|channel': 'refused',
};

describe('compareTable()', () => {
  it('finds nothing when the table says what ran', () => {
    assert.deepEqual(compareTable(formatTable(table(ALL)), table(ALL)), []);
  });

  it('ignores cells that did not run', () => {
    const { 'old|new|direct': _, ...rest } = ALL;
    assert.deepEqual(compareTable(formatTable(table(ALL)), table(rest)), []);
    assert.deepEqual(compareTable(formatTable(table(ALL)), table({})), []);
  });

  it('names a cell that says something else', () => {
    const ran = table({ ...ALL, 'new|old|channel': 'works' });
    assert.deepEqual(compareTable(formatTable(table(ALL)), ran), [
      'new|old|channel: says "refused", and it is "works"',
    ]);
  });

  it('names a row that is missing', () => {
    const lines = formatTable(table(ALL)).split('\n');
    const text = lines.filter(line => !line.startsWith('| old')).join('\n');
    assert.deepEqual(compareTable(text, table({})), [
      'old|new|direct: is missing',
      'old|new|channel: is missing',
    ]);
  });

  it('names a row and a column that are not planned any more', () => {
    const ran = table(ALL);
    const text = formatTable(ran);
    assert.deepEqual(compareTable(text, { ...ran, rows: ran.rows.slice(1) }), [
      'old|new|direct: is no longer tested',
      'old|new|channel: is no longer tested',
    ]);
    assert.deepEqual(compareTable(text, { ...ran, columns: ['direct'] }), [
      'old|new|channel: is no longer tested',
      'new|old|channel: is no longer tested',
    ]);
  });

  it('names all when the part is empty', () => {
    assert.equal(compareTable('', table(ALL)).length, 4);
  });
});

describe('keepDocumented()', () => {
  it('keeps what did not run, and takes what did', () => {
    const kept = keepDocumented(formatTable(table(ALL)), table({ 'new|old|channel': 'works' }));
    assert.deepEqual(Object.fromEntries(kept.cells), { ...ALL, 'new|old|channel': 'works' });
  });
});

describe('replacePart()', () => {
  const document = 'before\n<!-- generated: a -->\nold\n<!-- end: a -->\nafter\n';

  it('replaces what is between the markers alone', () => {
    const replaced = replacePart(document, 'a', 'new');
    assert.equal(replaced, document.replace('old', 'new'));
    assert.equal(readPart(replaced, 'a'), 'new');
  });

  it('throws when a marker is missing', () => {
    assert.throws(() => replacePart(document, 'b', 'new'), /Cannot find the part "b"/);
    assert.throws(() => readPart(document.replace('<!-- end: a -->', ''), 'a'), /Cannot find the part "a"/);
  });
});
