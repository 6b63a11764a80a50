import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { allNextSteps, nextSteps, shellSteps } from '../tools/next-steps.ts';

const TOP = join(import.meta.dirname, '..');
const ROWS = readFileSync(join(TOP, 'docs/next-steps.md'), 'utf8')
  .split('\n')
  .flatMap(line => {
    const [, file, text, by] = /^\| `([^`]+)` \| (.*) \| ([^|]*) \|$/.exec(line) ?? [];
    const plain = text?.replace(/\\([\\|])/g, '$1');
    return file === undefined || plain === undefined || by === undefined ? [] : [{ file, text: plain, by }];
  });

describe('docs/next-steps.md', () => {
  it('has each next step of the source, and no other', async () => {
    const key = ({ file, text }: { file: string; text: string }): string => `${file}: ${text}`;
    const source = (await allNextSteps(TOP)).map(key);
    assert.ok(source.length > 200, String(source.length));
    assert.deepEqual(ROWS.map(key).sort(), source.sort());
  });

  it('names a test that is there for each step that is a command', () => {
    for (const { by, text } of ROWS)
      if (by !== 'a choice')
        assert.ok(
          [`test/${by}.test.ts`, `test/${by}.ts`, by].some(path => existsSync(join(TOP, path))),
          `${text}: ${by}`,
        );
  });
});

describe('nextSteps()', () => {
  const find = async (text: string): Promise<string[]> =>
    (await nextSteps(new Map([['src/a.ts', text]]))).map(each => each.text);

  it('finds the step of a fault and of a finding, whatever it is made of', async () => {
    for (const text of [
      "new Fault({ tried, found, next: 'do this now' });",
      "new Fault({ tried, found, ...(x ? { next: 'do this now' } : {}) });",
      "TOPIC.warning(found, 'do this now');",
      "topic.fault(error, 'do this now');",
      "const next = 'do this now';",
      "const STEP = 'do this now';\nnew Fault({ tried, next: STEP });",
      "function step() { return 'do this now'; }\nTOPIC.critical(found, step());",
      "function step() { return `do this now`; }\nTOPIC.critical(found, all.map(each => step(each)).join(' '));",
      "const COPY_AGAIN = 'do this now';",
      "say('Cannot\\nnext: do this now');",
    ])
      assert.deepEqual(await find(text), ['do this now'], text);
    const template = '`do $' + '{this.name} now` : `or $' + '{that}`';
    assert.deepEqual(await find(`TOPIC.critical(found, x ? ${template});`), ['do … now', 'or …']);
  });

  it('finds none in what is no step', async () => {
    for (const text of [
      "const found = 'do this now';",
      "TOPIC.ok('do this now');",
      "x({ next: 'code' });",
      'x({ next })',
    ])
      assert.deepEqual(await find(text), [], text);
  });
});

describe('shellSteps()', () => {
  it('finds what a variable is set to, and is not led astray by quotes in a command', () => {
    const script = `a=/tmp close="chmod go-w \\"$at\\""\nclose='do that'\nfail "x \\"$(stat "$at")\\"" "$close"\necho "next: $close"`;
    assert.deepEqual(
      shellSteps('a.sh', script).map(each => each.text),
      ['chmod go-w "…"', 'do that'],
    );
  });

  it('finds the second word of fail, and what is echoed', () => {
    const script = `fail "do \\"$it\\"" \\\n  'do this now'\nfail 'x' "chmod $1 \\"$at\\""\necho "next: run $command"\nfail "y" "$next"`;
    assert.deepEqual(
      shellSteps('a.sh', script).map(each => each.text),
      ['chmod … "…"', 'do this now', 'next: run …'],
    );
  });
});
