import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { commandTable, DOCUMENTS, withTable } from '../tools/command-table.ts';
import { COMMANDS } from './support/command-line.ts';

describe('the table of commands in the documentation', () => {
  it('is the one that the commands make, in one document', () => {
    const texts = DOCUMENTS.map(document => join(import.meta.dirname, '..', document))
      .filter(path => existsSync(path))
      .map(path => readFileSync(path, 'utf8'))
      .filter(text => withTable(text) !== undefined);
    assert.equal(texts.length, 1, 'the markers stand in one document');
    for (const text of texts) assert.equal(text, withTable(text), 'run: node tools/command-table.ts');
  });

  it('has a row for each command that help shows, and none for the others', () => {
    const names = [...commandTable().matchAll(/^\| `([a-z-]+)[ `]/gm)].map(([, name]) => name);
    assert.deepEqual(
      names,
      COMMANDS.map(each => each.name),
    );
  });
});
