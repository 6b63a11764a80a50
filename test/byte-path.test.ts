import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { asBytes, joinPath, parentOf, showPath, tailBehind } from '../src/os/byte-path.ts';
import { isWithin } from '../src/os/mounts.ts';
import { asText } from '../src/wire/text.ts';

describe('joinPath()', () => {
  const cases: [folder: string, tail: string, path: string][] = [
    ['/', '', '/'],
    ['/', '/a', '/a'],
    ['/a', '', '/a'],
    ['/a', '/b/c', '/a/b/c'],
  ];
  for (const [folder, tail, path] of cases)
    it(`makes ${path} of ${folder} and "${tail}", and tailBehind() takes it apart again`, () => {
      assert.equal(joinPath(folder, tail), path);
      assert.equal(tailBehind(folder, path), tail);
    });

  it('is the inverse of tailBehind() for each folder above a path', () => {
    const path = fc
      .array(fc.string({ unit: 'binary-ascii', minLength: 1 }).filter(name => !name.includes('/')))
      .map(names => `/${names.join('/')}`);
    fc.assert(
      fc.property(path, each => {
        for (let folder = each; ; folder = parentOf(folder)) {
          assert.ok(isWithin(folder, each));
          assert.equal(joinPath(folder, tailBehind(folder, each)), each);
          if (folder === '/') break;
        }
      }),
    );
  });
});

describe('parentOf()', () => {
  for (const [path, parent] of [
    ['/', '/'],
    ['/a', '/'],
    ['/a/b', '/a'],
    ['/a b/\\/c', '/a b/\\'],
  ] as const)
    it(`is ${parent} for ${path}`, () => assert.equal(parentOf(path), parent));
});

describe('asBytes()', () => {
  it('has one character for each byte, and asText() is its inverse', () => {
    assert.equal(asBytes('ä€').length, 5);
    assert.equal(asText(asBytes('ä€😀')), 'ä€😀');
  });
});

describe('showPath()', () => {
  it('escapes control characters and bytes that are not UTF-8', () => {
    assert.equal(showPath(asBytes('/ä\n')), '/ä\\n');
    assert.match(showPath('/a\xff'), /^\/a\\ufffd$/);
  });
});
