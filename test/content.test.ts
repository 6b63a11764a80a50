import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { mkdirSync, readdirSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { digestFile, openPlain, readWhole, sameContent } from '../src/os/content.ts';
import { fault, mkfifo, scratch } from './support/scratch.ts';
import { says, wording } from './support/wording.ts';

describe('readWhole()', () => {
  it('reads a file that has exactly as many bytes as it may, and refuses one more', t => {
    const top = scratch(t);
    writeFileSync(`${top}/a`, 'x'.repeat(100));
    assert.equal(readWhole(`${top}/a`, 100).length, 100);
    assert.equal(
      fault(() => readWhole(`${top}/a`, 99)).message,
      `Cannot read "${top}/a": it has 100 bytes, at most 99 are taken`,
    );
    writeFileSync(`${top}/empty`, '');
    assert.equal(readWhole(`${top}/empty`, 0).length, 0);
  });

  it('refuses at once what is no plain file', t => {
    const top = scratch(t);
    mkfifo(`${top}/fifo`);
    mkdirSync(`${top}/folder`);
    symlinkSync('fifo', `${top}/link`);
    for (const name of ['fifo', 'folder', 'link'])
      assert.equal(fault(() => readWhole(`${top}/${name}`, 10)).found, wording('it-is-not-a-plain'), name);
    assert.equal(fault(() => readWhole('/dev/zero', 10)).found, wording('it-is-not-a-plain'));
    assert.equal(fault(() => readWhole(`${top}/none`, 10)).found, wording('there-is-no-such-file-or'));
    symlinkSync('loop', `${top}/loop`);
    assert.match(fault(() => readWhole(`${top}/loop`, 10)).found, /ELOOP/);
  });

  it('leaves no descriptor open, when it refuses', t => {
    const top = scratch(t);
    const count = (): number => readdirSync('/proc/self/fd').length;
    const before = count();
    for (let each = 0; each < 20; each += 1) {
      fault(() => readWhole(top, 10));
      fault(() => readWhole(`${top}/none`, 10));
    }
    assert.equal(count(), before);
  });
});

describe('digestFile()', () => {
  it('is right for files that are read at the same time', async t => {
    const top = scratch(t);
    const { signal } = new AbortController();
    // Each step seems to take so long that the call gives way to the others, in the middle of a file too.
    let ms = performance.now();
    t.mock.method(performance, 'now', () => {
      ms += 1000;
      return ms;
    });
    const contents = ['one', 'two two', '', 'x'.repeat(600_000), 'y'.repeat(600_001)];
    for (const [at, content] of contents.entries()) writeFileSync(`${top}/${at}`, content);
    const found = await Promise.all(contents.map((_, at) => digestFile(`${top}/${at}`, signal)));
    assert.deepEqual(
      found.map(each => each.sha256.toString('hex')),
      contents.map(each => hash('sha256', each)),
    );
  });
});

describe('openPlain() and sameContent()', () => {
  const MIB = 1024 * 1024;
  const { signal } = new AbortController();

  it('compare every byte, holes as zeros', async t => {
    const top = scratch(t);
    const write = (name: string, content: Buffer): Buffer => {
      writeFileSync(`${top}/${name}`, content);
      return Buffer.from(`${top}/${name}`);
    };
    for (const size of [0, 1, MIB - 1, MIB, MIB + 1, 3 * MIB]) {
      const content = Buffer.alloc(size, 'abc');
      const one = write('one', content);
      assert.equal(await sameContent(one, write('same', content), signal), true, `${size}`);
      assert.equal(await sameContent(one, write('longer', Buffer.alloc(size + 1, 'abc')), signal), false);
      for (const at of [0, size >> 1, size - 1].filter(each => each >= 0 && size > 0)) {
        const changed = Buffer.from(content);
        changed[at] = 0;
        assert.equal(await sameContent(one, write('changed', changed), signal), false, `${size} at ${at}`);
      }
    }
    write('hole', Buffer.alloc(0));
    truncateSync(`${top}/hole`, 2 * MIB);
    const zeros = write('zeros', Buffer.alloc(2 * MIB));
    assert.equal(await sameContent(Buffer.from(`${top}/hole`), zeros, signal), true);
  });

  it('follow no link, wait for no FIFO, and end when they are told', async t => {
    const top = scratch(t);
    writeFileSync(`${top}/file`, Buffer.alloc(3 * MIB));
    symlinkSync('file', `${top}/link`);
    mkfifo(`${top}/fifo`);
    const at = (name: string): Buffer => Buffer.from(`${top}/${name}`);
    assert.throws(() => openPlain(at('link')), /ELOOP/);
    assert.match(fault(() => openPlain(at('fifo'))).message, says('not-a-plain-file'));
    assert.match(fault(() => openPlain(at('.'))).message, says('not-a-plain-file'));
    await assert.rejects(sameContent(at('file'), at('link'), signal), /ELOOP/);
    const ended = AbortSignal.abort(new Error('enough'));
    await assert.rejects(sameContent(at('file'), at('file'), ended), /enough/);
    const open = readdirSync('/proc/self/fd').length;
    await assert.rejects(sameContent(at('file'), at('none'), signal), /ENOENT/);
    assert.equal(readdirSync('/proc/self/fd').length, open, 'nothing is left open');
  });
});
