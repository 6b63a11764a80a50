import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { decodeFact, encodeFact, listedText, parseListed, parseListedText } from '../src/wire/listing.ts';

describe('parseListed()', () => {
  it('reads each type, and a hard link', () => {
    assert.deepEqual(parseListed('>f+++++++++ 10485760 0 rw-r--r-- 2026/11/30-19:20:00 a/b c'), {
      path: 'a/b c',
      type: 'file',
      isTwin: false,
      size: 10485760,
      uid: 0,
      mode: 0o644,
      mtime: Date.UTC(2026, 10, 30, 19, 20) / 1000,
    });
    const types = ['cd+++++++++ 4096 7 rwxrwxrwt', 'cL+++++++++ 6 7 rwxrwxrwx', 'cD+++++++++ 0 7 rw-r-----'];
    const found = types.map(each => parseListed(`${each} 1960/01/01-00:00:00 x`));
    assert.deepEqual(
      found.map(each => [each?.type, each?.mode]),
      [
        ['folder', 0o1777],
        ['link', 0o777],
        ['other', 0o640],
      ],
    );
    assert.equal(parseListed('hf+++++++++ 3 0 rw-r--r-- 2026/11/30-19:20:00 a')?.isTwin, true);
    assert.equal(parseListed('.d..t...... 4096 0 rwxr-xr-x 2026/11/30-19:20:00 .')?.path, '');
  });
  it('decodes names', () => {
    const line = String.raw`>f+++++++++ 1 0 rw-r--r-- 2026/11/30-19:20:00 /t/new\#012line\#377 \#134#001 => b`;
    assert.equal(parseListed(line)?.path, 't/new\nline\xff \\#001 => b');
  });
  it('has no time for a year that is not written with four digits', () => {
    assert.equal(parseListed('>f+++++++++ 1 0 rw-r--r-- 20260/11/30-19:20:00 a')?.mtime, undefined);
  });
  it('refuses other lines', () => {
    for (const line of [
      '',
      'sending incremental file list',
      '>f+++++++++ x 0 rw-r--r-- 2026/11/30-19:20:00 a',
      '>f+++++++++ 1 0 rw-r--r-- a',
      '*deleting   a',
      '>x+++++++++ 1 0 rw-r--r-- 2026/11/30-19:20:00 a',
    ])
      assert.equal(parseListed(line), undefined, line);
  });
});

/** A path of any bytes but NUL. */
const path = fc
  .array(
    fc.array(
      fc.integer({ min: 1, max: 255 }).filter(each => each !== 0x2f),
      { minLength: 1, maxLength: 4 },
    ),
    {
      minLength: 1,
      maxLength: 4,
    },
  )
  .map(names => names.map(each => String.fromCharCode(...each)).join('/'));

describe('encodeFact()', () => {
  it('is undone by decodeFact()', () => {
    fc.assert(
      fc.property(path, fc.constantFrom('a', 'p'), (each, kind) => {
        const fact = { kind, path: each, text: 'f- 1 0 420 5' };
        assert.deepEqual(decodeFact(encodeFact(fact)), fact);
      }),
    );
  });
  it('puts a folder right before everything below it', () => {
    fc.assert(
      fc.property(fc.uniqueArray(path, { minLength: 2, maxLength: 12 }), paths => {
        const all = [
          ...new Set(
            paths.flatMap(each => each.split('/').map((_, at, names) => names.slice(0, at + 1).join('/'))),
          ),
        ];
        const records = all.map(each => encodeFact({ kind: 'a', path: each, text: '' })).sort();
        const sorted = records.map(each => decodeFact(each).path);
        for (const folder of sorted) {
          const inside = sorted.flatMap((each, at) =>
            each === folder || each.startsWith(`${folder}/`) ? [at] : [],
          );
          assert.equal(inside[0], sorted.indexOf(folder));
          assert.equal((inside.at(-1) ?? 0) - (inside[0] ?? 0), inside.length - 1);
        }
      }),
    );
  });
});

describe('listedText()', () => {
  it('is undone by parseListedText()', () => {
    for (const type of ['file', 'folder', 'link', 'other'] as const)
      for (const mtime of [undefined, -5, 1_700_000_000]) {
        const listed = {
          type,
          isTwin: type === 'file',
          size: 2 ** 50,
          uid: 4_294_967_294,
          mode: 0o1755,
          mtime,
        };
        assert.deepEqual(parseListedText(listedText(listed)), listed);
      }
  });
});
