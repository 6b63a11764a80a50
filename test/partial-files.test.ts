import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { completePartials } from '../src/store/partial-files.ts';

const KIB = 1024;
const BEGAN = new Date(Date.now() - 60_000);

/** An interrupted tree and an older version, in a folder with a blank in its name. */
function trees(t: TestContext): { tree: string; base: string } {
  const top = mkdtempSync(join(tmpdir(), 'dialback resume-'));
  t.after(() => rmSync(top, { recursive: true }));
  const [tree, base] = [join(top, 'tree'), join(top, 'base')];
  for (const each of [tree, base]) mkdirSync(join(each, 'a folder'), { recursive: true });
  return { tree, base };
}

/** Writes what rsync keeps of a file by --partial. */
function keep(path: string, bytes: number): Buffer {
  const content = randomBytes(bytes);
  writeFileSync(path, content);
  utimesSync(path, 0.25, 0.25);
  return content;
}

function old(path: string, bytes: number): Buffer {
  const content = randomBytes(bytes);
  writeFileSync(path, content);
  return content;
}

describe('completePartials()', () => {
  it('puts behind what has arrived what the older version has there, and leaves that one as it is', async t => {
    const { tree, base } = trees(t);
    const names = ['a folder/plain', 'a folder/*?[x] \\ "\n', 'a folder/-rf'];
    const fronts = names.map(name => keep(join(tree, name), 100 * KIB + 1));
    const olds = names.map(name => old(join(base, name), 300 * KIB));
    assert.equal(await completePartials(tree, BEGAN, [base]), 3);
    for (const [index, name] of names.entries()) {
      const [front = Buffer.alloc(0), before = Buffer.alloc(0)] = [fronts[index], olds[index]];
      const expected = Buffer.concat([front, before.subarray(front.length)]);
      assert.ok(readFileSync(join(tree, name)).equals(expected), name);
      assert.ok(readFileSync(join(base, name)).equals(before), name);
      const { mtimeMs } = statSync(join(tree, name));
      assert.ok(mtimeMs >= 0 && mtimeMs < 1000, 'of a time that no file of a client’s has');
    }
    assert.equal(await completePartials(tree, BEGAN, [base]), 0, 'once');
  });

  it('takes a name that is not UTF-8', async t => {
    const { tree, base } = trees(t);
    const name = Buffer.from([0x66, 0xff, 0xfe]);
    const at = (folder: string): Buffer => Buffer.concat([Buffer.from(`${folder}/`), name]);
    writeFileSync(at(tree), randomBytes(100 * KIB));
    utimesSync(at(tree), 0, 0);
    writeFileSync(at(base), randomBytes(200 * KIB));
    assert.equal(await completePartials(tree, BEGAN, [base]), 1);
    assert.equal(statSync(at(tree)).size, 200 * KIB);
  });

  it('goes to the next base where the first has nothing behind it', async t => {
    const { tree, base } = trees(t);
    keep(join(tree, 'f'), 100 * KIB);
    const better = join(base, '../better');
    mkdirSync(better);
    old(join(base, 'f'), 100 * KIB);
    old(join(better, 'f'), 150 * KIB);
    assert.equal(await completePartials(tree, BEGAN, [base, better]), 1);
    assert.equal(statSync(join(tree, 'f')).size, 150 * KIB);
  });

  it('never writes to an inode with another name, through a link, or of a file that is whole', async t => {
    const { tree, base } = trees(t);
    const outside = keep(join(tree, '../outside'), 100 * KIB);
    symlinkSync('../outside', join(tree, 'link'));
    const shared = keep(join(tree, 'shared'), 100 * KIB);
    linkSync(join(tree, 'shared'), join(tree, '../finished'));
    const whole = old(join(tree, 'whole'), 100 * KIB);
    const small = keep(join(tree, 'small'), 10);
    execFileSync('mkfifo', [join(tree, 'fifo')]);
    utimesSync(join(tree, 'fifo'), 0, 0);
    keep(join(tree, 'alone'), 100 * KIB);
    for (const name of ['link', 'shared', 'whole', 'small', 'fifo']) old(join(base, name), 300 * KIB);
    mkdirSync(join(base, 'alone'));
    assert.equal(await completePartials(tree, BEGAN, [base]), 0);
    for (const [name, content] of Object.entries({ '../outside': outside, shared, whole, small }))
      assert.ok(readFileSync(join(tree, name)).equals(content), name);
    assert.ok(readFileSync(join(tree, '../finished')).equals(shared));
  });

  it('reads through no link that lies in a base, and waits for no FIFO there', async t => {
    const { tree, base } = trees(t);
    old(join(base, '../secret'), 300 * KIB);
    symlinkSync('../secret', join(base, 'link'));
    execFileSync('mkfifo', [join(base, 'fifo')]);
    for (const name of ['link', 'fifo']) keep(join(tree, name), 100 * KIB);
    assert.equal(await completePartials(tree, BEGAN, [base]), 0);
    assert.equal(statSync(join(tree, 'link')).size, 100 * KIB);
  });

  it('puts what rsync was writing before what it was building on, under its name', async t => {
    const { tree, base } = trees(t);
    const before = keep(join(tree, 'f'), 300 * KIB);
    const front = old(join(tree, '.f.aB3dE6'), 200 * KIB);
    const last = old(join(base, 'f'), 400 * KIB);
    assert.equal(await completePartials(tree, BEGAN, [base]), 1);
    const expected = [front, before.subarray(front.length), last.subarray(before.length)];
    assert.ok(readFileSync(join(tree, 'f')).equals(Buffer.concat(expected)));
    assert.deepEqual(readdirSync(tree).sort(), ['a folder', 'f']);
  });

  it('gives what rsync was writing to its name, where no other file has it', async t => {
    const { tree, base } = trees(t);
    for (const name of ['.new.a1B2c3', '.taken.a1B2c3', '.dotted.a1B2c3', '.old.a1B2c3', '.short.a1'])
      old(join(tree, name), 100 * KIB);
    const taken = old(join(tree, 'taken'), 10);
    old(join(base, '.dotted'), 200 * KIB);
    const early = new Date(BEGAN.getTime() - 3_600_000);
    utimesSync(join(tree, '.old.a1B2c3'), early, early);
    assert.equal(await completePartials(tree, BEGAN, [base]), 1);
    assert.deepEqual(readdirSync(tree).sort(), [
      ...['.dotted', '.old.a1B2c3', '.short.a1', '.taken.a1B2c3', 'a folder', 'new', 'taken'],
    ]);
    assert.equal(statSync(join(tree, '.dotted')).size, 200 * KIB);
    assert.ok(readFileSync(join(tree, 'taken')).equals(taken));
  });
});
