import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { linkMissing } from '../src/store/link-limit.ts';
import { NEEDS_ROOT } from './support/world.ts';

describe('linkMissing()', () => {
  let base: string;
  let [from, to] = ['', ''];
  beforeEach(() => {
    base = mkdtempSync(join(tmpdir(), 'dialback link-'));
    [from, to] = [join(base, 'from'), join(base, 'to')];
    mkdirSync(join(from, 'a folder/deep'), { recursive: true });
    mkdirSync(to);
  });
  afterEach(() => {
    rmSync(base, { recursive: true });
  });

  const inode = (path: string): number => lstatSync(path).ino;

  it('links what is missing and leaves what is there', async () => {
    writeFileSync(join(from, 'a folder/deep/old'), 'old');
    writeFileSync(join(from, 'both'), 'old');
    writeFileSync(join(to, 'both'), 'new');
    const odd = Buffer.concat([Buffer.from(`${from}/a folder/`), Buffer.from([0xff, 0x0a, 0x2d])]);
    writeFileSync(odd, 'odd');
    await linkMissing(from, to);
    assert.equal(inode(join(to, 'a folder/deep/old')), inode(join(from, 'a folder/deep/old')));
    assert.equal(readFileSync(join(to, 'both'), 'utf8'), 'new');
    assert.deepEqual(
      readdirSync(join(to, 'a folder'), { encoding: 'buffer' }).map(each => each.toString('latin1')),
      readdirSync(join(from, 'a folder'), { encoding: 'buffer' }).map(each => each.toString('latin1')),
    );
  });

  it('leaves out what is below a file when the newer tree has one in the place of a folder', async () => {
    writeFileSync(join(from, 'a folder/file'), 'old');
    writeFileSync(join(from, 'z'), 'old');
    writeFileSync(join(to, 'a folder'), 'a file');
    await linkMissing(from, to);
    assert.equal(readFileSync(join(to, 'a folder'), 'utf8'), 'a file');
    assert.equal(inode(join(to, 'z')), inode(join(from, 'z')));
  });

  it('leaves out a file that takes no link, and copies nothing', { skip: NEEDS_ROOT }, async () => {
    for (const each of ['a', 'b', 'c']) writeFileSync(join(from, each), each);
    execFileSync('/usr/bin/chattr', ['+i', join(from, 'b')]);
    try {
      await linkMissing(from, to);
    } finally {
      execFileSync('/usr/bin/chattr', ['-i', join(from, 'b')]);
    }
    assert.equal(inode(join(to, 'a')), inode(join(from, 'a')));
    assert.ok(!existsSync(join(to, 'b')));
    assert.equal(inode(join(to, 'c')), inode(join(from, 'c')));
  });

  it('fails when the older tree has gone', async () => {
    rmSync(from, { recursive: true });
    await assert.rejects(linkMissing(from, to), /Cannot keep/);
  });
});
