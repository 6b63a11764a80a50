import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { addressOf, splitPath } from '../src/web/pages/address.ts';

const decode = (text: string): Buffer =>
  Buffer.from(
    text.replace(/%(..)/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16))),
    'latin1',
  );

/** A name in a folder: any bytes but a slash and a NUL. */
const name = fc
  .uint8Array({ min: 1, minLength: 1, maxLength: 20 })
  .map(bytes => Buffer.from(bytes))
  .filter(each => !each.includes('/') && !['.', '..'].includes(each.toString('latin1')));

describe('addressOf()', () => {
  it('carries names of any bytes through a browser', () => {
    fc.assert(
      fc.property(fc.array(name, { minLength: 1, maxLength: 5 }), names => {
        const path = Buffer.concat(
          names.flatMap((each, at) => (at === 0 ? [each] : [Buffer.from('/'), each])),
        );
        const address = addressOf('browse', ['oak', path], { after: path }) ?? '';
        const { pathname, search } = new URL(address, 'http://127.0.0.1:8030');
        assert.equal(pathname + search, address, 'a browser does not change it');
        assert.match(address, /^[\x21-\x7e]+$/);
        assert.deepEqual(pathname.split('/').slice(3).map(decode), names);
        assert.deepEqual(decode(search.slice('?after='.length)), path);
      }),
    );
  });

  it('encodes each character that has a meaning in an address', () => {
    assert.equal(
      addressOf('browse', ['oak', Buffer.from('a b+c?d#e%2e&=;\\"<')]),
      '/browse/oak/a%20b%2Bc%3Fd%23e%252e%26%3D%3B%5C%22%3C',
    );
  });

  it('leaves out what is absent', () => {
    assert.equal(addressOf('', []), '/');
    assert.equal(addressOf('', [], { q: undefined, page: '2' }), '/?page=2');
    assert.equal(addressOf('browse', ['oak', 'latest', Buffer.alloc(0)]), '/browse/oak/latest');
  });

  it('makes no address that is longer than the server accepts', () => {
    assert.notEqual(addressOf('browse', ['oak', Buffer.alloc(4095, 0xff)]), undefined);
    assert.equal(addressOf('browse', ['oak', Buffer.alloc(4500, 0xff)]), undefined);
  });
});

describe('splitPath()', () => {
  it('splits at each slash', () => {
    assert.deepEqual(splitPath(Buffer.from('a/b c/d')).map(String), ['a', 'b c', 'd']);
  });
});
