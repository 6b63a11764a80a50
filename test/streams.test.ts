import assert from 'node:assert/strict';
import { closeSync, existsSync, openSync, readSync, writeSync } from 'node:fs';
import { describe, it, type TestContext } from 'node:test';
import { openFifo, readFifo } from '../src/os/fifo.ts';
import { readLineAlone } from '../src/os/streams.ts';
import { mkfifo, scratch } from './support/scratch.ts';

describe('openFifo() and readFifo()', () => {
  it('make a pipe without a name, and read one to its end', async t => {
    const top = scratch(t);
    mkfifo(`${top}/a`);
    const { reading, writing } = openFifo(`${top}/a`);
    assert.ok(!existsSync(`${top}/a`));
    writeSync(writing, 'hello');
    closeSync(writing);
    const bytes = Buffer.alloc(10);
    assert.equal(readSync(reading, bytes), 5);
    assert.equal(readSync(reading, bytes), 0);
    closeSync(reading);

    mkfifo(`${top}/b`);
    const { content } = readFifo(`${top}/b`, 100);
    const end = openSync(`${top}/b`, 'w');
    writeSync(end, 'x'.repeat(100));
    closeSync(end);
    assert.equal((await content).toString(), 'x'.repeat(100));
  });

  it('refuse more than the limit, and end when they are closed', async t => {
    const top = scratch(t);
    mkfifo(`${top}/a`);
    const first = readFifo(`${top}/a`, 10);
    const end = openSync(`${top}/a`, 'w');
    writeSync(end, 'x'.repeat(11));
    await assert.rejects(first.content, /more than 10 bytes/);
    closeSync(end);
    const second = readFifo(`${top}/a`, 10);
    second.close(); // nothing hangs on it
  });
});

describe('readLineAlone()', () => {
  /** A pipe with this in it; its writing end is closed unless it is kept. */
  function pipeWith(t: TestContext, text: string | Buffer, keepsOpen = false): { reading: number } {
    const top = scratch(t);
    mkfifo(`${top}/a`);
    const { reading, writing } = openFifo(`${top}/a`);
    t.after(() => closeSync(reading));
    writeSync(writing, Buffer.from(text as string));
    if (keepsOpen) t.after(() => closeSync(writing));
    else closeSync(writing);
    return { reading };
  }
  const rest = (descriptor: number): string => {
    const bytes = Buffer.alloc(100);
    return bytes.toString('latin1', 0, readSync(descriptor, bytes));
  };

  it('reads one line, and not a byte of what follows', async t => {
    const { reading } = pipeWith(t, 'first\nsecond\nthird');
    assert.equal(await readLineAlone(reading, 100), 'first');
    assert.equal(await readLineAlone(reading, 100), 'second');
    assert.equal(rest(reading), 'third');
  });

  it('reads an empty line, and does not wait for what may follow', async t => {
    const { reading } = pipeWith(t, '\n', true);
    assert.equal(await readLineAlone(reading, 100), '');
  });

  it('has each byte as one character', async t => {
    const { reading } = pipeWith(t, Buffer.from('61ff00c3a90d0a62', 'hex'));
    assert.equal(await readLineAlone(reading, 100), 'a\u00ff\0\u00c3\u00a9\r');
    assert.equal(rest(reading), 'b');
  });

  it('takes a line that is as long as it may be, and none that is longer', async t => {
    const { reading } = pipeWith(t, `${'x'.repeat(10)}\n${'y'.repeat(11)}\nz`, true);
    assert.equal(await readLineAlone(reading, 10), 'x'.repeat(10));
    assert.equal(await readLineAlone(reading, 10), undefined);
    // Not read on to the end of it.
    assert.equal(rest(reading), '\nz');
  });

  it('is undefined when the end comes first', async t => {
    for (const text of ['', 'go']) {
      const { reading } = pipeWith(t, text);
      assert.equal(await readLineAlone(reading, 100), undefined, JSON.stringify(text));
    }
  });

  it('waits for the rest of a line without holding up anything else', async t => {
    const top = scratch(t);
    mkfifo(`${top}/a`);
    const { reading, writing } = openFifo(`${top}/a`);
    t.after(() => closeSync(reading));
    const line = readLineAlone(reading, 100);
    for (const text of ['g', 'o', '\n']) {
      await new Promise(resolve => setImmediate(resolve));
      writeSync(writing, text);
    }
    closeSync(writing);
    assert.equal(await line, 'go');
  });

  it('fails with what is no open descriptor', async () => {
    await assert.rejects(readLineAlone(1_000_000, 10), { code: 'EBADF' });
  });
});
