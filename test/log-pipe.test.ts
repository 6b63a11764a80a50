import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import fc from 'fast-check';
import { LogEnds } from '../src/os/log-ends.ts';
import { openLogPipe } from '../src/os/log-pipe.ts';
import { standard, start } from '../src/os/process.ts';

const folder = mkdtempSync(join(tmpdir(), 'log pipe '));
after(() => rmSync(folder, { recursive: true }));

function endsOf(...chunks: (string | Buffer)[]): string {
  const ends = new LogEnds();
  for (const each of chunks) ends.add(Buffer.from(each));
  return ends.text();
}

describe('LogEnds', () => {
  it('has a short log whole', () => {
    assert.equal(endsOf(), '');
    assert.equal(endsOf('ssh: Could not ', 'resolve hostname\n'), 'ssh: Could not resolve hostname');
    assert.equal(endsOf('a'.repeat(1000), 'b'.repeat(1000)), `${'a'.repeat(1000)}${'b'.repeat(1000)}`);
  });

  it('has the beginning and the end of a long one, and how much is left out', () => {
    const text = endsOf('first\n', 'x'.repeat(5000), '\nlast\n');
    assert.match(text, /^first\nx+\n\[3012 bytes left out\]\nx+\nlast$/);
  });

  it('holds the same however the log is cut, and no more than a few thousand characters', () => {
    fc.assert(
      fc.property(
        fc.string({ minLength: 0, maxLength: 6000, unit: fc.constantFrom('a', 'b', ' ', '\n') }),
        fc.array(fc.nat(6000)),
        (text, cuts) => {
          const places = [...cuts.map(cut => Math.min(cut, text.length)), text.length].sort((a, b) => a - b);
          const chunks = places.map((place, at) => text.slice(places[at - 1] ?? 0, place));
          assert.equal(endsOf(...chunks), endsOf(text));
          assert.equal(endsOf(text).length < 2100, true);
        },
      ),
    );
  });
});

describe('openLogPipe()', () => {
  it('gives what a program has written to its log, to the last byte', async () => {
    await using held = new AsyncDisposableStack();
    const log = await openLogPipe(held, join(folder, 'log'));
    const child = await start(
      standard('dd', ['if=/dev/zero', `of=${log.path}`, 'bs=1M', 'count=20', 'conv=notrunc']),
      ['nothing', 'nothing', 'nothing'],
    );
    assert.equal((await child.ended).status, 0);
    const left = 20 * 1024 * 1024 - 2000;
    assert.equal((await log.words()).includes(`[${left} bytes left out]`), true);
  });

  it('gives an empty text where nothing was written', async () => {
    await using held = new AsyncDisposableStack();
    const log = await openLogPipe(held, join(folder, 'empty'));
    assert.equal(await log.words(), '');
  });
});
