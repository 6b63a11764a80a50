import assert from 'node:assert/strict';
import { linkSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { describe, it, type TestContext } from 'node:test';
import { replaceNames } from '../src/store/replace-names.ts';
import { scratch } from './support/scratch.ts';

function make(context: TestContext): { folder: string; names: Buffer[]; old: Buffer; inode: bigint } {
  const folder = scratch(context);
  for (const each of ['work', 'tree', 'old']) mkdirSync(`${folder}/${each}`);
  writeFileSync(`${folder}/old/file`, 'content');
  const names = ['one', 'two', 'three'].map(each => `${folder}/tree/${each}`);
  writeFileSync(names[0] ?? '', 'content');
  for (const each of names.slice(1)) linkSync(names[0] ?? '', each);
  return {
    folder,
    names: names.map(each => Buffer.from(each)),
    old: Buffer.from(`${folder}/old/file`),
    inode: statSync(`${folder}/old/file`, { bigint: true }).ino,
  };
}

describe('replaceNames()', () => {
  it('makes all names links of the other file, and leaves no temporary name', context => {
    const { folder, names, old, inode } = make(context);
    assert.equal(replaceNames(names, old, { inode, work: `${folder}/work` }), true);
    for (const each of names) assert.equal(statSync(each, { bigint: true }).ino, inode);
    assert.equal(statSync(old).nlink, 4);
    assert.deepEqual(readdirSync(`${folder}/work`), []);
  });

  it('changes nothing when the old file is another one by now', context => {
    const { folder, names, old, inode } = make(context);
    assert.equal(replaceNames(names, old, { inode: inode + 1n, work: `${folder}/work` }), false);
    assert.equal(statSync(old).nlink, 1);
    assert.deepEqual(readdirSync(`${folder}/work`), []);
  });

  it('changes nothing when the old file is gone', context => {
    const { folder, names, inode } = make(context);
    const gone = Buffer.from(`${folder}/old/gone`);
    assert.throws(() => replaceNames(names, gone, { inode, work: `${folder}/work` }), { code: 'ENOENT' });
    assert.equal(statSync(names[0] ?? '').nlink, 3);
    assert.deepEqual(readdirSync(`${folder}/work`), []);
  });

  it('undoes what it has done when a name cannot be replaced', context => {
    const { folder, names, old, inode } = make(context);
    mkdirSync(`${folder}/tree/a folder`);
    const bad = [...names, Buffer.from(`${folder}/tree/a folder`)];
    assert.throws(() => replaceNames(bad, old, { inode, work: `${folder}/work` }), { code: 'EISDIR' });
    assert.equal(statSync(old).nlink, 1);
    for (const each of names) {
      assert.equal(statSync(each).nlink, 3);
      assert.equal(readFileSync(each, 'utf8'), 'content');
    }
    assert.deepEqual(readdirSync(`${folder}/work`), []);
  });

  it('links a single name without a second temporary one, and changes nothing when that fails', context => {
    const { folder, names, old, inode } = make(context);
    const [first = Buffer.alloc(0)] = names;
    const folderName = Buffer.from(`${folder}/tree/a folder`);
    mkdirSync(folderName);
    const options = { inode, work: `${folder}/work` };
    assert.throws(() => replaceNames([folderName], old, options), { code: 'EISDIR' });
    assert.equal(replaceNames([first], old, { ...options, inode: inode + 1n }), false);
    assert.equal(statSync(old).nlink, 1);
    assert.equal(statSync(first).nlink, 3);
    assert.deepEqual(readdirSync(`${folder}/work`), []);
    writeFileSync(`${folder}/work/kept`, ''); // it would be in the way of a second temporary name
    assert.equal(replaceNames([first], old, options), true);
    assert.equal(statSync(first, { bigint: true }).ino, inode);
    assert.deepEqual(readdirSync(`${folder}/work`), ['kept']);
  });
});
