import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { describe, it } from 'node:test';
import { placeFile, replaceFile, writeNew } from '../src/os/replace.ts';
import { fault, scratch } from './support/scratch.ts';
import { matching, says, wording } from './support/wording.ts';

describe('writeNew()', () => {
  it('writes a private file, and refuses where there is one, or a link to nowhere', t => {
    const top = scratch(t);
    writeNew(`${top}/a`, 'x');
    assert.equal(statSync(`${top}/a`).mode & 0o777, 0o600);
    assert.match(fault(() => writeNew(`${top}/a`, 'y')).found, /EEXIST/);
    assert.equal(readFileSync(`${top}/a`, 'utf8'), 'x');
    symlinkSync(`${top}/elsewhere`, `${top}/link`);
    assert.match(fault(() => writeNew(`${top}/link`, 'y')).found, /EEXIST/);
    assert.ok(!existsSync(`${top}/elsewhere`));
  });
});

describe('replaceFile()', () => {
  it('makes a new inode with the mode it is told, and leaves nothing beside it', t => {
    const top = scratch(t);
    writeFileSync(`${top}/a`, 'old');
    linkSync(`${top}/a`, `${top}/b`);
    replaceFile(`${top}/a`, 'new', 0o644);
    assert.equal(readFileSync(`${top}/a`, 'utf8'), 'new');
    assert.equal(readFileSync(`${top}/b`, 'utf8'), 'old');
    assert.equal(statSync(`${top}/a`).mode & 0o777, 0o644);
    replaceFile(`${top}/a`, 'newer');
    assert.equal(statSync(`${top}/a`).mode & 0o777, 0o600);
    assert.deepEqual(readdirSync(top).sort(), ['a', 'b']);
  });

  it('removes what a killed one has left, and nothing else', t => {
    const top = scratch(t);
    const { pid } = spawnSync('/bin/true');
    const others = [`a.new-${process.ppid}`, 'a.new-', 'a.new-0', `a.new-${pid}x`, `b.new-${pid}`];
    for (const name of [...others, `a.new-${pid}`]) writeFileSync(`${top}/${name}`, '');
    replaceFile(`${top}/a`, 'new');
    assert.deepEqual(readdirSync(top).sort(), ['a', ...others].sort());
  });

  it('leaves the old file and nothing beside it, when it fails', t => {
    const top = scratch(t);
    mkdirSync(`${top}/folder/in`, { recursive: true });
    assert.match(fault(() => replaceFile(`${top}/folder`, 'x')).message, /^Cannot write ".*folder": /);
    assert.match(fault(() => replaceFile(`${top}/none/a`, 'x')).found, /no such file/);
    assert.deepEqual(readdirSync(top), ['folder']);
  });
});

describe('placeFile()', () => {
  it('puts a private file into place, over what a killed one left and whatever the umask', t => {
    const path = `${scratch(t)}/file`;
    writeFileSync(`${path}.new`, 'half');
    placeFile(path, 'content');
    assert.equal(readFileSync(path, 'utf8'), 'content');
    assert.equal(statSync(path).mode & 0o777, 0o600);
    assert.deepEqual(readdirSync(dirname(path)), ['file']);
  });

  it('leaves what is there as it is, a link to nowhere too', t => {
    const top = scratch(t);
    writeFileSync(`${top}/file`, 'old');
    symlinkSync('nowhere', `${top}/link`);
    for (const name of ['file', 'link'])
      assert.match(
        fault(() => placeFile(`${top}/${name}`, 'new')).message,
        matching`": ${says('it-is-there-already')}$`,
      );
    assert.equal(readFileSync(`${top}/file`, 'utf8'), 'old');
    assert.deepEqual(readdirSync(top).sort(), ['file', 'link']);
  });

  it('says why it cannot', t => {
    const path = `${scratch(t)}/none/file`;
    const { message } = fault(() => placeFile(path, 'new'));
    assert.equal(message, `Cannot write "${path}": ${wording('there-is-no-such-file-or')}`);
  });
});
