// Goal: docs/performance.md is what tools/performance.ts makes of the results, and its plots are there.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';
import { makePerformance } from '../tools/performance.ts';

const DOCS = join(import.meta.dirname, '../docs');

it('docs/performance.md is made of the results', () => {
  const { text, plots } = makePerformance();
  assert.equal(readFileSync(join(DOCS, 'performance.md'), 'utf8'), text, 'next: node tools/performance.ts');
  for (const { name } of plots) assert.ok(existsSync(join(DOCS, 'performance', name)), name);
  assert.ok(plots.length > 0);
});
