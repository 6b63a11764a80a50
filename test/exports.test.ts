import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { differences, findUnused } from '../tools/exports.ts';

const unused = async (files: Record<string, string>): Promise<string[]> =>
  await findUnused(new Map(Object.entries(files)));

describe('the exports of src/', () => {
  it('are used by the program, except for those in the list of tools/exports.ts', async () => {
    assert.deepEqual(await differences(join(import.meta.dirname, '..')), []);
  });
});

describe('findUnused()', () => {
  it('finds functions, constants and classes that no other file imports', async () => {
    const text =
      'export function a() { b(); }\nexport const b = 1, c = 2;\nexport class D {}\nexport async function e() {}';
    assert.deepEqual(
      await unused({ 'src/x.ts': text }),
      ['a', 'b', 'c', 'D', 'e'].map(each => `src/x.ts ${each}`),
    );
  });
  it('takes an import under another name, of a type and of the whole file as a use', async () => {
    const x = 'export const a = 1;\nexport class B {}';
    const of = async (text: string): Promise<string[]> => await unused({ 'src/x.ts': x, 'src/y/z.ts': text });
    assert.deepEqual(await of("import { a as b, type B } from '../x.ts'"), []);
    assert.deepEqual(await of("import type { B } from '../x.ts'"), ['src/x.ts a']);
    assert.deepEqual(await of("import * as x from '../x.ts'"), []);
  });
  it('takes an import() and an export of a name as a use of that name', async () => {
    const x = 'export const a = 1, b = 2, c = 3;';
    const of = async (text: string): Promise<string[]> => await unused({ 'src/x.ts': x, 'src/y/z.ts': text });
    assert.deepEqual(await of("const f = async () => (await import('../x.ts')).b"), [
      'src/x.ts a',
      'src/x.ts c',
    ]);
    assert.deepEqual(await of("async () => { const { a: d, c } = await import('../x.ts'); }"), [
      'src/x.ts b',
    ]);
    assert.deepEqual(await of("export { a, c as d } from '../x.ts'"), ['src/x.ts b']);
    assert.deepEqual(await of("import('../x.ts')"), ['src/x.ts a', 'src/x.ts b', 'src/x.ts c']);
  });
  it('does not take a file of the same name, or another name of the file, as a use', async () => {
    const x = 'export const a = 1;';
    for (const text of [
      "import { a } from './x.ts'",
      "import { c as a } from '../x.ts'",
      "// import { a } from '../x.ts'",
    ])
      assert.deepEqual(await unused({ 'src/x.ts': x, 'src/y/z.ts': text }), ['src/x.ts a'], text);
  });
  it('leaves out types, what is not exported, and files outside src/', async () => {
    const text = 'export interface A {}\nexport type B = 1;\nconst c = 1;\nfunction d() {}';
    assert.deepEqual(await unused({ 'src/x.ts': text, 'test/y.ts': 'export const e = 1;' }), []);
  });
});
