// Goal: no test is lost between `make test` and the soaks. A part for a soak runs only if a soak imports its file, and a part for
// `make test` never runs in a soak's own file.
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import { isLong } from './runner/plan.ts';

const TOP = join(import.meta.dirname, '..');
const FILES = globSync('test/**/*.test.ts', { cwd: TOP });
const textOf = (file: string): string => readFileSync(join(TOP, file), 'utf8');
/** What it has of test/support/long.ts. */
const marksOf = (file: string): string =>
  /^import \{(.*)\} from '[./]*support\/long\.ts';$/m.exec(textOf(file))?.[1] ?? '';

describe('soaks', () => {
  it('import each file that has a part for them', () => {
    const imported = FILES.filter(isLong).flatMap(file =>
      [...textOf(file).matchAll(/^import '(.*)';$/gm)].map(([, path = '']) => join(dirname(file), path)),
    );
    const inSoaks = FILES.filter(file => !isLong(file) && marksOf(file) !== '');
    assert.ok(inSoaks.length > 50, `${inSoaks.length} files`);
    assert.deepEqual(
      inSoaks.filter(file => !imported.includes(file)),
      [],
    );
  });

  it('have nothing in their own files that only `make test` runs', () => {
    const lost = FILES.filter(file => isLong(file) && /Short\b/.test(marksOf(file)));
    assert.deepEqual(lost, []);
  });
});
