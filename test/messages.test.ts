import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { MESSAGES, messagesOf, messagesText } from '../tools/messages.ts';

const TOP = join(import.meta.dirname, '..');

describe(MESSAGES, () => {
  it('has each message of the source, and no other (node tools/messages.ts --write)', async () => {
    assert.deepEqual(
      readFileSync(join(TOP, MESSAGES), 'utf8').split('\n'),
      (await messagesText(TOP)).split('\n'),
    );
  });
});

describe('messagesOf()', () => {
  const find = async (text: string, file = 'src/a.ts'): Promise<string[] | undefined> =>
    (await messagesOf(new Map([[file, text]]))).get(file);

  it('puts an error together as it is printed', async () => {
    const template = '`read "$' + '{path}"`';
    for (const text of [
      `new Fault({ tried: ${template}, found: 'it is empty', next: 'fill it now' });`,
      `function f() { const tried = ${template}; return new Fault({ tried, found: 'it is empty', ...(x ? { next: 'fill it now' } : {}) }); }`,
      `function usage(tried: string, found: string, next: string) { return new Fault({ tried, found, next }); }\nusage(${template}, 'it is empty', 'fill it now');`,
      `const usage = (found: string) => new Fault({ tried: ${template}, found, next: 'fill it now' });\nusage('it is empty');`,
      `fileFault(error, ${template}, { next: 'fill it now' });`,
    ])
      assert.ok(
        (await find(text))?.some(each =>
          /^Cannot read "…": (?:it is empty|…)\nnext: fill it now$/.test(each),
        ),
        text,
      );
  });

  it('shows each text that a part can be', async () => {
    const text = "const found = x ? 'it is empty' : 'it is full';\nnew Fault({ tried: 'read it', found });";
    assert.deepEqual(await find(text), ['Cannot read it: it is empty | it is full']);
  });

  it('does not mix the values that a name has in two functions', async () => {
    const one = (found: string) =>
      `() => { const found = '${found}'; return new Fault({ tried: 'read it', found }); };\n`;
    assert.deepEqual(await find(`const a = ${one('it is empty')}const b = ${one('it is full')}`), [
      'Cannot read it: it is empty',
      'Cannot read it: it is full',
    ]);
  });

  it('has findings, and texts that stand for themselves', async () => {
    const text =
      "const T = new Topic('client.clock', 'a wrong clock breaks it');\nT.warning('it is 3 s late', 'set the clock');\nsay(1, 'all is well');";
    assert.deepEqual(await find(text), [
      'client.clock: a wrong clock breaks it',
      'warning: it is 3 s late\nnext: set the clock',
      'all is well',
    ]);
  });

  it('leaves out imports, single words, and statements in SQL', async () => {
    const text =
      "import { a } from './a and b.ts';\nconst b = ['word', 'SELECT a FROM b WHERE c', '--long-option'];";
    assert.deepEqual(await find(text), []);
  });

  it('reads C and shell', async () => {
    assert.deepEqual(await find('die("read it", "it has %zu bytes");', 'src/launcher/a.c'), [
      'read it',
      'it has … bytes',
    ]);
    assert.deepEqual(await find('fail "read $1: it is empty" \'fill it now\'', 'tools/a.sh'), [
      'read …: it is empty',
      'fill it now',
    ]);
  });
});
